/* view: the shards of a collection at one instant. Inside the room only. */
#ifndef INDEXER_QUERY_VIEW_H
#define INDEXER_QUERY_VIEW_H

#include "indexer/query/query.h"

struct view_shard {
    struct store_lease *lease;
    const char *name;
    struct store_snapshot *snapshot;
    const struct store_source *sources;
    size_t source_count;
};

struct query_view {
    struct arena arena;
    struct io *io;
    const struct config_collection *collection;
    struct store_registry *registry;
    struct thread_pool *pool;
    uint64_t shared_work_min;
    struct view_shard *shards;
    struct query_shard_freshness *freshness;
    size_t shard_count;
    struct store_coverage coverage;
    int64_t now_ms;      /* wall clock of the snapshots */
    int64_t deadline_ns; /* monotonic */
};

bool query_view_expired(const struct query_view *view);
/** For work that takes long: ERROR_TIMEOUT at the deadline, ERROR_CANCELLED when a shard is wanted
 * back, else 0. */
int query_view_check(const struct query_view *view, struct error *error);

/** The row as the outside sees it. */
struct query_row query_view_row(const struct query_view *view, size_t shard,
                                const struct store_source *source, uint32_t row);

/** Stored payload bytes of the row to a document; ERROR_CORRUPT when they are none. */
int query_payload_decode(const struct query_row *row, const uint8_t *bytes, size_t size_bytes,
                         struct arena *arena, struct doc *payload, struct error *error);

/** Says once per file and process that a source was left out because its bytes are damaged. */
void query_view_report(const struct query_view *view, size_t shard,
                       const struct store_source *source, const struct error *error);

/* Windows of a view, counted while an operation runs over its sources. */

struct window_stats {
    struct window_entry *entries;
    size_t count, room;
};

/** Room for every window of the view, in `arena`. */
void query_window_stats_start(struct window_stats *stats, const struct query_view *view,
                              struct arena *arena);
/** Notes a chunk or run: searched or pruned. */
void query_window_stats_table(struct window_stats *stats, size_t shard,
                              const struct store_source *source, bool searched);
/** Notes the windows of a memtable's rows inside [from, to). */
void query_window_stats_memtable(struct window_stats *stats, const struct query_view *view,
                                 size_t shard, const struct store_source *source, int64_t from_ms,
                                 int64_t to_ms);
void query_window_stats_finish(const struct window_stats *stats, struct query_result *result);

/** Whether the source can hold rows of [from, to). */
static inline bool query_source_overlaps(const struct store_source *source, int64_t from_ms,
                                         int64_t to_ms)
{
    return source->row_count > 0 && source->max_event_ms >= from_ms &&
           (source->min_event_ms < to_ms || to_ms == INT64_MAX);
}

#endif
