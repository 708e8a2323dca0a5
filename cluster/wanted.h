/* A shard that an exchange asks for, and its owners in the order in which they are asked. */
#ifndef CLUSTER_WANTED_H
#define CLUSTER_WANTED_H

#include "cluster/latency.h"
#include "cluster/nodes.h"

enum { WANTED_OWNERS_MAX = 8 }; /* that are tried */

struct wanted {
    const char *name;
    struct nodes_owner owners[WANTED_OWNERS_MAX];
    size_t owner_count;
    size_t next_owner; /* the first that was not asked yet */
    bool served;
    bool asked;   /* some request under way wants it */
    bool refused; /* an owner is there that cannot answer now: nobody else is waited for */
    int64_t moves_until_ns; /* its next owner is waited for; 0: nobody said that it moved */
};

/** Takes over owners that are new. `again`: those that were asked, too, if they have announced the shard since. */
void wanted_add(struct wanted *wanted, const struct nodes_owner *owners, size_t count, bool again);
/** If the owner was not asked for the shard yet, it counts as asked from now on. */
bool wanted_take(struct wanted *wanted, const char *address);
/** Whether the owner can be asked for the shard still. */
bool wanted_may_take(const struct wanted *wanted, const char *address);
/** The owner was asked for nothing: it is the next one. */
void wanted_put_back(struct wanted *wanted, const char *address);
/** Puts nodes that did not answer of late behind the others of each shard, and silent ones behind those. A node is
 * judged once, so that all of its shards are asked for together. */
void wanted_avoid_suspects(struct wanted *all, size_t count, struct latency *latency,
                           int64_t now_ns);

#endif
