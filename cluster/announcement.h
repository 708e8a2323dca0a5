/* announcement: what this process says of itself and its shards; members.h draws it. Inside the room only. */
#ifndef CLUSTER_ANNOUNCEMENT_H
#define CLUSTER_ANNOUNCEMENT_H

#include "base/arena.h"
#include "base/doc.h"
#include "cluster/cluster.h"
#include "cluster/lag.h"

struct announcement {
    const struct cluster_options *options;
    const char *address; /* HOST:PORT */
    uint64_t incarnation;
    bool leaving, draining;
};

/** All of it. Like what the parts below return, it lies in `arena` and refers to the config. */
struct doc announcement_doc(const struct announcement *announcement, struct arena *arena);
struct doc announcement_collections(const struct cluster_options *options, struct arena *arena);
struct doc announcement_roles(unsigned roles, struct arena *arena);
struct doc announcement_protocol(int64_t oldest, int64_t newest, struct arena *arena);

/** Whether an entry of "collections" is sound; nothing of it is used otherwise. */
bool announcement_is_collection(const struct doc *doc);
/** A text, in `arena`. */
struct doc announcement_copy(struct arena *arena, const struct doc *from);
/** [{"collection", "shard", "next_offset", "watermark_ms", "generation", and as lags_describe}, ...] of a node's
 * collections, which are checked. */
struct doc announcement_describe_shards(const struct doc *collections, const struct lags *lags,
                                        struct arena *arena);

/** An array of items that lie elsewhere. */
struct doc announcement_list(const struct doc *items, size_t count);

#endif
