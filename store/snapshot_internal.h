/* The inside of a snapshot, for cursors. */
#ifndef STORE_SNAPSHOT_INTERNAL_H
#define STORE_SNAPSHOT_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "store/shard.h"
#include "store/snapshot.h"

struct store_snapshot {
    struct store_shard *shard;
    struct version *version;
    int64_t visible;
    int64_t now_ms;
    int64_t ttl_ms;
    int64_t watermark_ms;
    size_t source_count;
    struct store_span *spans; /* behind the sources */
    size_t span_count;
    struct store_source sources[]; /* memtables in the version's order, then its entries */
};

/** store_snapshot_acquire, for a test of its race: `between` (may be NULL) is called where the
 * version is loaded and the visible offset is not. */
struct store_snapshot *snapshot_acquire_between(struct store_shard *shard, int64_t now_ms,
                                                void (*between)(void *context), void *context);

#endif
