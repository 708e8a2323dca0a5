/* Appending, for the operations of the store that need parts of it: replay and flush. */
#ifndef STORE_APPEND_H
#define STORE_APPEND_H

#include <stdint.h>

#include "store/log_frame.h"
#include "store/memtable.h"
#include "store/store.h"
#include "store/version.h"

/** Puts the rows of a frame that lies in the memtable's buffer into the memtable and marks what
 * they replace as dead. Under the append lock. */
void append_apply_frame(struct store_shard *shard, struct memtable *memtable,
                        const struct version *version, const struct log_frame *frame,
                        int64_t arrival_wall_ms);
/** Publishes next offset, topic and clock. Under the append lock. */
void append_publish(struct store_shard *shard, int64_t next_offset,
                    const struct store_topic_fingerprint *topic, const struct store_clock *clock);
/** Makes the active memtable immutable. Under the append lock. */
void append_rotate(struct store_shard *shard);

#endif
