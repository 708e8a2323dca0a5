/* announcement: the wire format of what a node says of itself and its shards. Inside the room only.
 *
 * An announcement is a message on the subject PREFIX.cluster.NAME.nodes (nats.prefix), in MessagePack:
 *
 *     {"v": 1, "cluster", "node", "incarnation", "address", "version", "protocol": [oldest, newest],
 *      "roles", "replica_set", "group", "leaving", "draining", "pauses",
 *      "collections": [{"name", "dim", "begin", "shards": [[name, next offset, watermark, generation, handed over, end], ...],
 *                       "claims": (claims.h), "expected": [[name, label], ...]}, ...]}
 *
 * "expected" are the partitions that Kafka's metadata tells a node; processes that read no Kafka
 * learn from it which shards a collection has. The end is that of the shard's partition, as Kafka told the node; 0: not
 * known. "pauses" is for the node itself, which hears what it says: how often it had stood still before. "begin" tells
 * the collection from a former one of its name (begin_identity of the config); it is left out where it is 0. */
#ifndef CLUSTER_ANNOUNCEMENT_H
#define CLUSTER_ANNOUNCEMENT_H

#include "base/arena.h"
#include "base/doc.h"
#include "cluster/cluster.h"
#include "cluster/node.h"

enum { ANNOUNCEMENT_VERSION = 1 };

struct announcement {
    const struct cluster_options *options;
    const char *address; /* HOST:PORT */
    uint64_t incarnation;
    uint64_t pauses; /* of store_registry_pauses, before the rest was looked at */
    bool leaving, draining;
};

/** All of it. Like what the parts below return, it lies in `arena` and refers to the config. */
struct doc announcement_doc(const struct announcement *announcement, struct arena *arena);
struct doc announcement_collections(const struct cluster_options *options, struct arena *arena);
struct doc announcement_roles(unsigned roles, struct arena *arena);
struct doc announcement_protocol(int64_t oldest, int64_t newest, struct arena *arena);

/** Reads the bytes of an announcement, which is untrusted, into a new node. *announcement lies in the node's arena, too. */
enum node_outcome announcement_read(struct node *node, const void *bytes, size_t size_bytes,
                                    const char *cluster, struct doc *announcement);
/** Whether one that was taken says that its node goes. */
bool announcement_is_leaving(const struct doc *announcement);
/** Its "pauses"; UINT64_MAX: it does not say. */
uint64_t announcement_pauses(const struct doc *announcement);
/** A text of a map, in `arena`; NULL when it is missing, empty or too long. */
const char *announcement_text(struct arena *arena, const struct doc *map, const char *key);

/** A text, in `arena`. */
struct doc announcement_copy(struct arena *arena, const struct doc *from);
/** An array of items that lie elsewhere. */
struct doc announcement_list(const struct doc *items, size_t count);

#endif
