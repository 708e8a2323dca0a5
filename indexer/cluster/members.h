/* members: the nodes of this cluster, as they announce themselves: once a second, and at once when a shard comes,
 * goes, or has read what it lacked. Inside the room only.
 *
 * An announcement is a message on the subject PREFIX.cluster.NAME.nodes (nats.prefix), in MessagePack:
 *
 *     {"v": 1, "cluster", "node", "incarnation", "address", "version", "protocol": [oldest, newest],
 *      "roles", "replica_set", "leaving", "draining", "collections": [{"name", "dim", "shards": [[name, next offset, watermark], ...],
 *                                  "expected": [[name, label], ...]}, ...]}
 *
 * "expected" are the partitions that Kafka's metadata tells a node; processes that read no Kafka
 * learn from it which shards a collection has. */
#ifndef INDEXER_CLUSTER_MEMBERS_H
#define INDEXER_CLUSTER_MEMBERS_H

#include "base/arena.h"
#include "base/doc.h"
#include "indexer/cluster/cluster.h"

enum { MEMBERS_VERSION = 1 };

struct members;

/* A node that has a shard, in an order of preference. */
struct members_owner {
    const char *node;
    const char *address; /* HOST:PORT */
    int64_t next_offset;
    bool same_host;
};

int members_open(const struct cluster_options *options, struct members **members,
                 struct error *error);
int members_announce(struct members *members, uint16_t port, struct error *error);
void members_leave(struct members *members);
/** NULL is allowed. */
void members_close(struct members *members);

/** Who has the shard now, best first: the freshest, among equals the one on this host. Up to `max`,
 * texts in `arena`. Any thread. */
size_t members_owners(struct members *members, const char *collection, const char *shard,
                      struct arena *arena, struct members_owner *owners, size_t max);

/** From now on announcements say that this node gives its shards up. Any thread. */
void members_set_draining(struct members *members);
/** How many other nodes of this one's replica set read Kafka and do not drain. Any thread. */
size_t members_successors(struct members *members);
/** Whether one of them serves the shard and has everything below `next_offset`. Any thread. */
bool members_taken_over(struct members *members, const char *collection, const char *shard,
                        int64_t next_offset);
/** The newest version of the exchange that all nodes who are heard understand. Any thread. */
int members_protocol(struct members *members);

/** Whether a node at that address has announced itself and is not silent. Any thread. */
bool members_hears(struct members *members, const char *address);

/** GET /cluster: {"name", "connected", "nodes": [...], "shards": [...]}. Any thread. */
void members_describe(struct members *members, struct arena *arena, struct doc *out);

#endif
