#include "indexer/worker/span.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/memory.h"
#include "indexer/worker/choice.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/source.h"
#include "store/attach.h"
#include "store/describe.h"
#include "store/files/segment.h"
#include "store/snapshot.h"
#include "store/store.h"
#include "twcs/twcs.h"

static_assert((int)TWCS_HISTORY_WINDOWS_MAX == (int)STORE_SPAN_PARTS_MAX,
              "what is decided can be stored");
static_assert((int)TWCS_SPAN_TIERS == (int)STORE_SPAN_TIERS, "what is decided can be stored");
static_assert((int)TWCS_SPAN_FANOUT == (int)CONFIG_SPAN_WINDOWS, "config tells how many wait");

/* Whether the collection's spans may be a base and a tail of lists. */
static bool may_have_history(const struct config_collection *collection)
{
    return config_has_spans(collection) && (collection->index_kind == CONFIG_INDEX_AUTO ||
                                            collection->index_kind == CONFIG_INDEX_IVF_PQ);
}

static bool is_settled(const struct store_window_info *window)
{
    return window->sealed && !window->busy && window->chunk_count == 0 &&
           window->memtable_rows == 0 && window->run.rows > 0 && window->run.rows <= INT32_MAX;
}

/* Windows and parts are both in the order of time. */
static void mark_covered(const struct store_shard_info *info, const struct store_span_info *span,
                         struct twcs_span_window *windows)
{
    size_t at = 0;

    if (span->segment.kind != SEGMENT_IVF_PQ)
        return;
    for (uint32_t i = 0; i < span->part_count; i++) {
        const struct store_span_part *part = &span->parts[i];
        if (!span->live[i])
            continue;
        while (at < info->window_count && info->windows[at].start_ms < part->window_start_ms)
            at++;
        for (size_t j = at;
             j < info->window_count && info->windows[j].start_ms == part->window_start_ms; j++) {
            if (info->windows[j].run.file_number != part->file_number)
                continue;
            windows[j].in_base |= span->tier == TWCS_BASE_TIER;
            windows[j].in_tail |= span->tier == TWCS_TAIL_TIER;
        }
    }
}

static struct twcs_span_window *describe_windows(const struct store_shard_info *info,
                                                 struct arena *arena)
{
    struct twcs_span_window *windows =
        memory_checked(arena_calloc(arena, info->window_count + 1, sizeof(*windows)));

    for (size_t i = 0; i < info->window_count; i++) {
        const struct store_window_info *window = &info->windows[i];
        windows[i] = (struct twcs_span_window){.start_ms = window->start_ms,
                                               .length_ms = window->length_ms,
                                               .rows = window->run.rows + window->memtable_rows,
                                               .settled = is_settled(window),
                                               .max_expiry_ms = window->max_expiry_ms};
        for (size_t j = 0; j < window->chunk_count; j++)
            windows[i].rows += window->chunks[j].rows;
    }
    for (size_t i = 0; i < info->span_count; i++)
        mark_covered(info, &info->spans[i], windows);
    return windows;
}

static struct twcs_span *describe_spans(const struct store_shard_info *info, struct arena *arena)
{
    struct twcs_span *spans =
        memory_checked(arena_calloc(arena, info->span_count + 1, sizeof(*spans)));

    for (size_t i = 0; i < info->span_count; i++) {
        const struct store_span_info *span = &info->spans[i];
        const struct store_span_part *last = &span->parts[span->part_count - 1];
        spans[i] = (struct twcs_span){.tier = span->tier,
                                      .start_ms = span->parts[0].window_start_ms,
                                      .end_ms = last->window_start_ms + span->window_length_ms,
                                      .rows = span->rows,
                                      .live_rows = span->live_rows,
                                      .lists = span->segment.kind == SEGMENT_IVF_PQ};
    }
    return spans;
}

/* The kind goes by the oldest window: with tiers of days that is the kind which most of them have, or
 * will have soon. A span keeps it. */
static enum segment_kind kind_of(const struct config *config,
                                 const struct config_collection *collection,
                                 const struct worker_span *span, int64_t now_ms)
{
    int64_t age_ms = now_ms - span->parts[0].window_start_ms - span->window_length_ms;
    enum segment_kind wanted = worker_wanted_kind(collection, span->rows, age_ms);

    if (span->rows > INT32_MAX)
        return SEGMENT_FLAT;
    if (span->history && span->tier == TWCS_BASE_TIER && wanted == SEGMENT_FLAT)
        return SEGMENT_FLAT;
    if (span->history) /* vectors are read piece by piece */
        return worker_fitting_kind(config, collection, SEGMENT_IVF_PQ, span->rows, false);
    return worker_fitting_kind(config, collection, wanted, span->rows, true);
}

/* Where either will do, lists once there are many windows. */
static bool takes_lists(const struct config_collection *collection,
                        const struct twcs_span_window *windows, size_t count)
{
    size_t settled = 0;

    for (size_t i = 0; i < count; i++)
        settled += windows[i].settled;
    return may_have_history(collection) &&
           (collection->index_kind == CONFIG_INDEX_IVF_PQ || settled > TWCS_HISTORY_GRAPHS_MAX);
}

static struct worker_span make_span(const struct twcs_span_decision *decision,
                                    const struct store_shard_info *info,
                                    const struct twcs_span_window *described, struct arena *arena)
{
    const struct store_window_info *windows = &info->windows[decision->first_window];
    struct worker_span span = {.tier = decision->tier,
                               .start_ms = decision->start_ms,
                               .end_ms = decision->end_ms,
                               .window_length_ms = windows[0].length_ms};

    span.parts = memory_checked(arena_calloc(arena, decision->window_count, sizeof(*span.parts)));
    for (size_t i = 0; i < decision->window_count && span.part_count < STORE_SPAN_PARTS_MAX; i++) {
        if (!is_settled(&windows[i]) || windows[i].length_ms != span.window_length_ms ||
            (decision->beside_base && described[decision->first_window + i].in_base))
            continue;
        span.parts[span.part_count++] =
            (struct store_span_part){.window_start_ms = windows[i].start_ms,
                                     .file_number = windows[i].run.file_number,
                                     .row_count = (uint32_t)windows[i].run.rows};
        span.rows += windows[i].run.rows;
    }
    span.parts_hash =
        checksum_block(span.parts, span.part_count * sizeof(*span.parts), span.tier, 0, 0);
    return span;
}

struct worker_span_plan worker_spans_plan(const struct config *config,
                                          const struct config_collection *collection,
                                          const struct store_shard_info *info, int64_t now_ms,
                                          struct arena *arena)
{
    const struct twcs_policy policy = {.window_ms = collection->window_ms,
                                       .ttl_ms = collection->ttl_ms,
                                       .late_allowed_ms = collection->late_allowed_ms,
                                       .max_bytes = collection->max_bytes};
    const struct twcs_clock clock = {.watermark_ms = info->clock.watermark_ms,
                                     .safe_wall_ms = info->clock.safe_wall_ms};
    size_t max = info->window_count * TWCS_SPAN_TIERS + info->span_count + 2;
    struct twcs_span_decision *decisions =
        memory_checked(arena_calloc(arena, max + 1, sizeof(*decisions)));
    const struct twcs_span_window *windows = describe_windows(info, arena);
    const struct twcs_span *spans = describe_spans(info, arena);
    const bool history = takes_lists(collection, windows, info->window_count);
    struct worker_span_plan plan = {0};
    size_t count = 0;

    plan.wanted = memory_checked(arena_calloc(arena, max + 1, sizeof(*plan.wanted)));
    plan.dropped = memory_checked(arena_calloc(arena, max + 1, sizeof(*plan.dropped)));
    if (history)
        count = twcs_decide_history(windows, info->window_count, spans, info->span_count, decisions,
                                    max);
    else if (config_has_spans(collection))
        count = twcs_decide_spans(&policy, &clock, windows, info->window_count, spans,
                                  info->span_count, decisions, max);
    else /* switched off: the shard is as if there never were any */
        for (size_t i = 0; i < info->span_count; i++)
            plan.dropped[plan.dropped_count++] = info->spans[i].segment.file_number;
    for (size_t i = 0; i < count; i++) {
        struct worker_span span;
        if (decisions[i].action == TWCS_SPAN_DROP) {
            plan.dropped[plan.dropped_count++] = info->spans[decisions[i].span].segment.file_number;
            continue;
        }
        span = make_span(&decisions[i], info, windows, arena);
        span.history = history;
        span.kind = kind_of(config, collection, &span, now_ms);
        if (span.kind != SEGMENT_FLAT)
            plan.wanted[plan.wanted_count++] = span;
    }
    return plan;
}

void worker_span_job(const struct worker_span *span, const struct worker_pool *pool,
                     const struct config_collection *collection, const struct store_shard *shard,
                     struct worker_job *job)
{
    memset(job, 0, sizeof(*job));
    (void)snprintf(job->group, sizeof(job->group), "%s", pool->group);
    (void)snprintf(job->collection, sizeof(job->collection), "%s", collection->name);
    (void)snprintf(job->shard, sizeof(job->shard), "%s", store_shard_name(shard));
    job->span_tier = span->tier;
    job->window_start_ms = span->start_ms;
    job->window_length_ms = span->end_ms - span->start_ms;
    job->run_checksum = span->parts_hash;
    job->rows = span->rows;
    job->kind = span->kind;
}

const struct worker_span *worker_span_find(const struct config *config,
                                           const struct config_collection *collection,
                                           const struct store_shard_info *info, int64_t now_ms,
                                           const struct worker_job *job, struct arena *arena)
{
    const struct worker_span_plan plan = worker_spans_plan(config, collection, info, now_ms, arena);
    const struct worker_span *span = plan.wanted; /* in the arena */

    for (size_t i = 0; i < plan.wanted_count; i++, span++)
        if (job->span_tier == span->tier && job->window_start_ms == span->start_ms &&
            job->run_checksum == span->parts_hash)
            return span;
    return NULL;
}

int worker_span_reserve(struct build *build, struct error *error)
{
    (void)error;
    store_shard_reserve_segment(build->reserve_context, &build->file_number, build->path,
                                sizeof(build->path));
    return 0;
}

static const struct store_source *find_part(const struct store_source *sources, size_t count,
                                            const struct store_span_part *part)
{
    for (size_t i = 0; i < count; i++)
        if (sources[i].kind != STORE_SOURCE_MEMTABLE &&
            sources[i].file_number == part->file_number && sources[i].row_count == part->row_count)
            return &sources[i];
    return NULL;
}

int worker_span_rows(const struct worker_span *span, struct store_snapshot *snapshot,
                     struct arena *arena, struct worker_rows *rows, struct error *error)
{
    size_t count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);

    *rows = (struct worker_rows){.file_count = span->part_count, .row_count = (uint32_t)span->rows};
    rows->files =
        memory_checked(arena_calloc(arena, span->part_count, sizeof(const struct store_source *)));
    for (uint32_t i = 0; i < span->part_count; i++) {
        rows->files[i] = find_part(sources, count, &span->parts[i]);
        if (!rows->files[i])
            return error_set(error, ERROR_NOT_FOUND, "a run of the span has gone");
    }
    return 0;
}

/* The vectors of all parts, one after another. */
static int gather(struct worker_task *task, const struct worker_span *span,
                  struct store_snapshot *snapshot, struct build *build, struct error *error)
{
    uint32_t dim = task->collection->dim;
    struct worker_rows rows;
    struct arena arena;
    int code;

    build->copy = malloc((size_t)span->rows * dim * sizeof(float));
    if (!build->copy)
        return error_set(error, ERROR_MEMORY, "no memory for %llu vectors",
                         (unsigned long long)span->rows);
    build->vectors = build->copy;
    arena_create(&arena, 0);
    code = worker_span_rows(span, snapshot, &arena, &rows, error);
    if (code == 0)
        code = worker_rows_copy(&rows, 0, rows.row_count, dim, &task->cancel, build->copy, error);
    arena_destroy(&arena);
    return code;
}

int worker_span_build(struct worker_task *task, const struct worker_span *span, bool *low_recall,
                      struct error *error)
{
    struct store_shard *shard = task->lease.shard;
    const struct worker_pool_options *options = &task->pool->options;
    int64_t now_ms = io_wall_ms(options->io);
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    struct build build = worker_task_build(task);
    struct worker_job wanted = task->delivery->job;
    int code;

    build.reserve = worker_span_reserve;
    build.reserve_context = shard;
    build.span = span;
    wanted.kind = span->kind;
    worker_choose(options->registry, task->collection, now_ms, &wanted);
    worker_build_choose(&build, &wanted);
    build.row_count = (uint32_t)span->rows;
    build.copies = true;
    code = worker_build_begin(&build, error);
    if (code == 0)
        code = gather(task, span, snapshot, &build, error);
    store_snapshot_release(snapshot); /* the runs may go: their vectors were copied */
    if (code == 0)
        code = worker_build_chosen(&build, low_recall, error);
    if (code == 0 && !*low_recall && atomic_load(&task->cancel))
        code = error_set(error, ERROR_CANCELLED, "cancelled");
    if (code == 0 && !*low_recall)
        code = worker_build_attach(&build, shard, 0, error);
    worker_build_end(&build);
    return code;
}
