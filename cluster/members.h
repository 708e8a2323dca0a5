/* members: the nodes of this cluster, as they announce themselves: once a second, and at once when a shard comes,
 * goes, or has read what it lacked. Inside the room only.
 *
 * An announcement is a message on the subject PREFIX.cluster.NAME.nodes (nats.prefix), in MessagePack:
 *
 *     {"v": 1, "cluster", "node", "incarnation", "address", "version", "protocol": [oldest, newest],
 *      "roles", "replica_set", "group", "leaving", "draining",
 *      "collections": [{"name", "dim", "shards": [[name, next offset, watermark, generation, handed over, end], ...],
 *                       "claims": (claims.h), "expected": [[name, label], ...]}, ...]}
 *
 * "expected" are the partitions that Kafka's metadata tells a node; processes that read no Kafka
 * learn from it which shards a collection has. The end is that of the shard's partition, as Kafka told the node; 0: not
 * known. */
#ifndef CLUSTER_MEMBERS_H
#define CLUSTER_MEMBERS_H

#include "base/arena.h"
#include "base/doc.h"
#include "cluster/cluster.h"

enum { MEMBERS_VERSION = 1 };

struct members;

/* A node that has a shard, in an order of preference. */
struct members_owner {
    const char *node;
    const char *address; /* HOST:PORT */
    int64_t next_offset;
    int64_t heard_ns; /* of io_monotonic_ns: when it said so */
    bool same_host;
    bool silent;      /* not heard of late: it may be dead */
    bool handed_over; /* it has given the shard up: what it has stands still */
};

int members_open(const struct cluster_options *options, struct members **members,
                 struct error *error);
int members_announce(struct members *members, uint16_t port, struct error *error);
void members_leave(struct members *members);
/** NULL is allowed. */
void members_close(struct members *members);

/** Who has the shard now, best first: the freshest, among equals the one on this host; then those who have given it up;
 * those who have fallen silent (node.h) last. Of one consumer group only the newest generation counts (claims.h). Up to `max`, texts in `arena`. Any
 * thread. */
size_t members_owners(struct members *members, const char *collection, const char *shard,
                      struct arena *arena, struct members_owner *owners, size_t max);

/** From now on announcements say that this node gives its shards up. Any thread. */
void members_set_draining(struct members *members);
/** How many other nodes of this one's replica set read Kafka and do not drain. Any thread. */
size_t members_successors(struct members *members);
/** Whether one of them serves the shard, does not hand it over, and has everything below `next_offset`. Of two that hand
 * it over each would close its copy because of the other's. Any thread. */
bool members_taken_over(struct members *members, const char *collection, const char *shard,
                        int64_t next_offset);
/** Whether a node of any replica set that is heard serves the shard, does not hand it over, and has something from
 * `next_offset` on. Any thread. */
bool members_ahead(struct members *members, const char *collection, const char *shard,
                   int64_t next_offset);
/** The newest version of the exchange that all nodes who are heard understand. Any thread. */
int members_protocol(struct members *members);

/** Whether to wait for an answer to what the node at that address was asked then: it is heard, or has answered others
 * of late, or was asked just now. Any thread. */
bool members_expects(struct members *members, const char *address, int64_t asked_ns);
/** A request to that address was answered, or it failed: says of a silent node whether it lives. Any thread. */
void members_note(struct members *members, const char *address, bool answered);

/** Whether NATS is reached: others hear this process, and it hears them. Any thread. */
bool members_connected(struct members *members);

/** Whether there is a node that is not silent, or has not failed to answer since. Any thread. */
bool members_reaches_others(struct members *members);

/** GET /cluster: {"name", "connected", "nodes": [...], "shards": [...]}. Any thread. */
void members_describe(struct members *members, struct arena *arena, struct doc *out);

#endif
