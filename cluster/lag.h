/* lag: how far each copy of a shard is behind what is known of the shard. Inside the room only.
 *
 * Known is the furthest copy that any node announced, and the end of the partition that Kafka told an owner. */
#ifndef CLUSTER_LAG_H
#define CLUSTER_LAG_H

#include "base/arena.h"
#include "base/doc.h"

struct lags;

/** In `arena`; the announcements that are noted must live as long. */
struct lags *lags_new(struct arena *arena);
/** The collections of a node's announcement. */
void lags_note(struct lags *lags, const struct doc *collections);
/** Puts "behind_records", and "behind_seconds": by the watermarks, so of event time; null where either has none. INT64_MIN:
 * no watermark. */
void lags_describe(const struct lags *lags, const struct doc *collection, const struct doc *shard,
                   int64_t next_offset, int64_t watermark_ms, struct doc *entry);

#endif
