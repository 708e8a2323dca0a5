/* nodes: the table of the other nodes of this cluster, and what is asked of it: who has a shard, who could take one over,
 * who is expected to answer. Inside the room only. */
#ifndef CLUSTER_NODES_H
#define CLUSTER_NODES_H

#include "base/arena.h"
#include "base/doc.h"
#include "cluster/cluster.h"
#include "cluster/node.h"

struct nodes;

/* A node that has a shard, in an order of preference. */
struct nodes_owner {
    const char *node;
    const char *address; /* HOST:PORT */
    int64_t next_offset;
    int64_t heard_ns; /* of io_monotonic_ns: when it said so */
    bool same_host;
    bool silent;      /* not heard of late: it may be dead */
    bool handed_over; /* it has given the shard up: what it has stands still */
    bool late;        /* it says that others have more */
};

struct nodes *nodes_new(const struct cluster_options *options);
/** NULL is allowed. */
void nodes_delete(struct nodes *nodes);

/** Takes what another node announced, read into `fresh`. True: the table keeps `fresh`; else it is the caller's. *is_new:
 * the node was not heard before. Any thread. */
bool nodes_take(struct nodes *nodes, struct node *fresh, const struct doc *announcement,
                enum node_outcome *outcome, bool *is_new);
/** Once a second: who has fallen silent, who is gone. `hears`: this process hears others, so that their silence is their
 * own. Fills how many are heard and silent now. */
void nodes_judge(struct nodes *nodes, bool hears, size_t *heard, size_t *silent);

/** Who has the shard now, best first: the freshest, among equals the one on this host; then those who have given it up;
 * then those who know that others have more; those who have fallen silent (node.h) last. Of one consumer group only the newest generation counts (claims.h). Up to `max`, texts in `arena`. Any
 * thread. */
size_t nodes_owners(struct nodes *nodes, const char *collection, const char *shard,
                    struct arena *arena, struct nodes_owner *owners, size_t max);

/** How many announcements were taken: what nodes_superseded says changes with them alone. Any thread. */
uint64_t nodes_taken_count(const struct nodes *nodes);
/** Whether a node of that one's consumer group is heard that answers for the shard in a newer generation. Any thread. */
bool nodes_superseded(struct nodes *nodes, const char *collection, const char *shard,
                      const char *node, int32_t generation);

/** How many other nodes of this one's replica set read Kafka and do not drain. Any thread. */
size_t nodes_successors(struct nodes *nodes);
/** Whether one of them serves the shard, does not hand it over, and has everything below `next_offset`. Of two that hand
 * it over each would close its copy because of the other's. Any thread. */
bool nodes_taken_over(struct nodes *nodes, const char *collection, const char *shard,
                      int64_t next_offset);
/** Whether a node of any replica set that is heard serves the shard, does not hand it over, and has something from
 * `next_offset` on. Any thread. */
bool nodes_ahead(struct nodes *nodes, const char *collection, const char *shard,
                 int64_t next_offset);
/** The newest version of the exchange that all nodes who are heard understand. Any thread. */
int nodes_protocol(struct nodes *nodes);

/** Whether to wait for an answer to what the node at that address was asked then: it is heard, or has answered others
 * of late, or was asked just now. Any thread. */
bool nodes_expects(struct nodes *nodes, const char *address, int64_t asked_ns);
/** A request to that address was answered, or it failed: says of a silent node whether it lives. Any thread. */
void nodes_note(struct nodes *nodes, const char *address, bool answered);

/** Whether there is a node that reads Kafka and is not silent, or has not failed to answer since. Any thread. */
bool nodes_reaches_readers(struct nodes *nodes);

/** Puts "nodes" and "gaps" of GET /cluster; `self` is this process, which was heard now. Any thread. */
void nodes_describe(struct nodes *nodes, const struct node *self, struct arena *arena,
                    struct doc *out);

#endif
