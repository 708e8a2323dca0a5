/* span: which spans a shard should have, and building one. Private to indexer/worker.
 *
 * A job names the group of windows, the tier and a hash of the runs. What the group consists of is
 * looked up when the job is taken up, and with each request of a builder on another machine: with
 * other runs it is another job, which reconciliation queues. Builders that do not know spans pass such
 * jobs on. */
#ifndef INDEXER_WORKER_SPAN_H
#define INDEXER_WORKER_SPAN_H

#include "indexer/worker/source.h"
#include "indexer/worker/state.h"

struct store_shard_info;
struct store_snapshot;
struct store_span_part;

/* A span that is wanted. */
struct worker_span {
    uint8_t tier;
    int64_t start_ms, end_ms; /* of the group of windows */
    int64_t window_length_ms;
    struct store_span_part *parts; /* by time */
    uint32_t part_count;
    uint64_t rows;
    uint64_t parts_hash;
    enum segment_kind kind;
    bool history; /* base or tail: put together from lists (history.h) */
};

struct worker_span_plan {
    struct worker_span *wanted; /* those to build first come first */
    size_t wanted_count;
    uint64_t *dropped; /* files of spans that no longer pay */
    size_t dropped_count;
};

/** What twcs decides for the shard, in `arena`: without spans that no build fits, or whose rows are
 * better scanned. */
struct worker_span_plan worker_spans_plan(const struct config *config,
                                          const struct config_collection *collection,
                                          const struct store_shard_info *info, int64_t now_ms,
                                          struct arena *arena);

/** The job of a span as the pool has it. */
void worker_span_job(const struct worker_span *span, const struct worker_pool *pool,
                     const struct config_collection *collection, const struct store_shard *shard,
                     struct worker_job *job);
/** The span of the job, in `arena`, if it is wanted as it was when the job was queued; else NULL. */
const struct worker_span *worker_span_find(const struct config *config,
                                           const struct config_collection *collection,
                                           const struct store_shard_info *info, int64_t now_ms,
                                           const struct worker_job *job, struct arena *arena);
/** Its rows in a snapshot, in `arena`. ERROR_NOT_FOUND when a run has gone. */
int worker_span_rows(const struct worker_span *span, struct store_snapshot *snapshot,
                     struct arena *arena, struct worker_rows *rows, struct error *error);

/** build.reserve of a span that is built where the shard is open; the context is the shard. */
int worker_span_reserve(struct build *build, struct error *error);
/** As for the segment of one file: snapshot, build, recall, attach. ERROR_NOT_FOUND when a run has
 * gone. */
int worker_span_build(struct worker_task *task, const struct worker_span *span, bool *low_recall,
                      struct error *error);

#endif
