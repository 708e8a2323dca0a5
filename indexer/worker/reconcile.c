/* Reconciliation: the manifest is the truth, the queue only delivers. What is sealed, or large and
 * still open, is compared with what is indexed; what lacks a segment is queued. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/span.h"
#include "indexer/worker/state.h"
#include "store/attach.h"
#include "store/describe.h"
#include "store/store.h"

enum {
    /* A job that was published and is not done: perhaps it waits behind others. */
    REPUBLISH_MS = 10 * 60 * 1000,
    PATH_BYTES = 4096
};

void worker_fill_job(struct worker_job *job, const struct worker_pool *pool,
                     const struct config_collection *collection, struct store_shard *shard,
                     const struct store_window_info *window, const struct store_file_info *file)
{
    memset(job, 0, sizeof(*job));
    (void)snprintf(job->group, sizeof(job->group), "%s", pool->group);
    (void)snprintf(job->collection, sizeof(job->collection), "%s", store_shard_collection(shard));
    (void)snprintf(job->shard, sizeof(job->shard), "%s", store_shard_name(shard));
    job->window_start_ms = window->start_ms;
    job->window_length_ms = window->length_ms;
    job->generation = file == &window->run ? window->generation : 0;
    job->run_file_number = file->file_number;
    job->run_checksum = file->checksum;
    job->rows = file->rows;
    job->bytes = file->bytes;
    job->min_offset = file->min_offset;
    job->max_offset = file->max_offset;
    job->kind =
        worker_job_kind(pool->options.config, collection, job, io_wall_ms(pool->options.io));
}

static int64_t now_ms(const struct worker_pool *pool)
{
    return io_monotonic_ns(pool->options.io) / 1000000;
}

static int publish(struct worker_pool *pool, const struct worker_job *job, struct error *error)
{
    struct worker_queue *queue = pool->options.queue;
    int code;

    /* Before the publication: what a worker makes of it must not be overwritten. */
    if (job_tracker_get(&pool->tracker, job).state != JOB_BUILDING)
        job_tracker_set(&pool->tracker, job, JOB_PUBLISHED, now_ms(pool));
    code = queue->operations->publish(queue, job, error);
    if (code != 0)
        job_tracker_set(&pool->tracker, job, JOB_NONE, 0);
    return code;
}

int worker_pool_submit(struct worker_pool *pool, struct store_shard *shard,
                       const struct store_window_info *window, struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(pool->options.config, store_shard_collection(shard));
    struct worker_job job;
    bool too_large;

    if (!collection ||
        !worker_file_lacks_segment(pool->options.config, collection, window, &window->run,
                                   io_wall_ms(pool->options.io), &too_large))
        return 0;
    worker_fill_job(&job, pool, collection, shard, window, &window->run);
    return publish(pool, &job, error);
}

static bool is_given_up(const struct job_entry *entry, int64_t now)
{
    return entry->state == JOB_GIVEN_UP && now < entry->time_ms;
}

static bool is_taken_care_of(struct worker_pool *pool, const struct worker_job *job, int64_t depth)
{
    struct job_entry entry = job_tracker_get(&pool->tracker, job);
    int64_t now = now_ms(pool);

    switch (entry.state) {
    case JOB_BUILDING:
        return true;
    case JOB_GIVEN_UP:
        return is_given_up(&entry, now);
    case JOB_PUBLISHED:
        /* With an empty queue it is lost; with an unknown one it may wait. */
        return depth != 0 && now - entry.time_ms < REPUBLISH_MS;
    default:
        return false;
    }
}

/* A round over one shard. `depth` was read before the description: a job that was gone from the
 * queue then has its segment in the description, because the attach comes before the
 * acknowledgement. */
struct round {
    struct worker_pool *pool;
    struct store_shard *shard;
    const struct config_collection *collection;
    int64_t depth, now_ms;
    uint32_t *too_large; /* files that no build fits */
    uint32_t *given_up;  /* files whose build was given up */
    bool *lacking;       /* set when a file has not the segment it should have */
};

static int reconcile_file(const struct round *round, const struct store_window_info *window,
                          const struct store_file_info *file, struct error *error)
{
    struct job_entry entry;
    struct worker_job job;
    bool too_large;
    int code;

    if (!worker_file_lacks_segment(round->pool->options.config, round->collection, window, file,
                                   round->now_ms, &too_large)) {
        *round->too_large += too_large;
        return 0;
    }
    *round->lacking = true;
    worker_fill_job(&job, round->pool, round->collection, round->shard, window, file);
    entry = job_tracker_get(&round->pool->tracker, &job);
    *round->given_up += file->segment.file_number == 0 && is_given_up(&entry, now_ms(round->pool));
    if (is_taken_care_of(round->pool, &job, round->depth))
        return 0;
    code = publish(round->pool, &job, error);
    if (code == 0)
        log_debug("indexer", "queued file %llu of window %lld of %s/%s",
                  (unsigned long long)job.run_file_number, (long long)job.window_start_ms,
                  job.collection, job.shard);
    return code;
}

/* One build a shard at a time, behind what its files lack: a store that has just got spans must not
 * keep the segments of new windows waiting. */
static int reconcile_spans(const struct round *round, const struct store_shard_info *info,
                           struct arena *arena, struct error *error)
{
    struct worker_pool *pool = round->pool;
    const struct worker_span_plan plan =
        worker_spans_plan(pool->options.config, round->collection, info, round->now_ms, arena);
    struct worker_job job;
    int code = 0;

    for (size_t i = 0; i < plan.dropped_count && code == 0; i++)
        code = store_shard_load_span(round->shard, plan.dropped[i], NULL, NULL, error);
    if (code == ERROR_NOT_FOUND) /* its last part went meanwhile */
        code = 0;
    for (size_t i = 0; i < plan.wanted_count && code == 0; i++) {
        worker_span_job(&plan.wanted[i], pool, round->collection, round->shard, &job);
        if (job_tracker_get(&pool->tracker, &job).state == JOB_GIVEN_UP &&
            is_taken_care_of(pool, &job, round->depth))
            continue;
        *round->lacking = true;
        return is_taken_care_of(pool, &job, round->depth) ? 0 : publish(pool, &job, error);
    }
    return code;
}

/* Files of a collection that are scanned for good. */
struct unindexed {
    uint32_t too_large, given_up;
};

static int reconcile_shard(struct worker_pool *pool, struct store_shard *shard, int64_t depth,
                           struct unindexed *unindexed, bool *lacking, struct error *error)
{
    struct round round = {
        .pool = pool,
        .shard = shard,
        .collection = config_collection_find(pool->options.config, store_shard_collection(shard)),
        .depth = depth,
        .now_ms = io_wall_ms(pool->options.io),
        .too_large = &unindexed->too_large,
        .given_up = &unindexed->given_up,
        .lacking = lacking};
    struct store_shard_info info;
    struct arena arena;
    int code = 0;

    if (!round.collection)
        return 0;
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count && code == 0; i++) {
        const struct store_window_info *window = &info.windows[i];
        if (window->busy && window->length_ms > 0) {
            *lacking = true; /* its files are about to be replaced */
            continue;
        }
        code = reconcile_file(&round, window, &window->run, error);
        for (size_t j = 0; j < window->chunk_count && code == 0; j++)
            code = reconcile_file(&round, window, &window->chunks[j], error);
    }
    if (code == 0)
        code = reconcile_spans(&round, &info, &arena, error);
    arena_destroy(&arena);
    return code;
}

void worker_pool_reconcile_shard(struct worker_pool *pool, struct store_shard *shard)
{
    struct worker_queue *queue = pool->options.queue;
    int64_t depth = queue->operations->depth(queue);
    struct error error = {0};
    struct unindexed unindexed = {0};
    bool lacking = false;

    if (reconcile_shard(pool, shard, depth, &unindexed, &lacking, &error) != 0)
        log_debug("indexer", "cannot queue files without a segment, retrying: %s", error.text);
}

/* Said when the number changes: such files are scanned until the config or their rows do. */
static void report_too_large(struct worker_pool *pool, const char *collection, uint32_t files)
{
    struct metric_label labels[] = {{"collection", collection}};
    struct metric *gauge = metrics_gauge(pool->options.metrics, "windrow_index_too_large_files",
                                         "Files that are scanned because no build of them fits "
                                         "indexer.build_memory_max_bytes",
                                         labels, 1);

    if (files > 0 && metric_value(gauge) != (double)files)
        log_warning("indexer",
                    "%s: %u files have no segment because building it takes more than "
                    "indexer.build_memory_max_bytes: searches scan them",
                    collection, files);
    metric_set(gauge, files);
}

/* Each was logged when it was given up. */
static void report_given_up(struct worker_pool *pool, const char *collection, uint32_t files)
{
    const struct metric_label label = {"collection", collection};

    metric_set(metrics_gauge(pool->options.metrics, "windrow_index_given_up_files",
                             "Files that are scanned because their segments were below "
                             "index.recall_floor or could not be built: GET /windows says why",
                             &label, 1),
               files);
}

bool worker_pool_why_scanned(struct worker_pool *pool, struct store_shard *shard,
                             const struct store_window_info *window, char *why, size_t why_bytes)
{
    const struct config_collection *collection =
        config_collection_find(pool->options.config, store_shard_collection(shard));
    struct job_entry entry;
    struct worker_job job;
    bool too_large, lacks;

    if (!collection || !window->sealed || window->run.segment.file_number != 0)
        return false;
    lacks = worker_file_lacks_segment(pool->options.config, collection, window, &window->run,
                                      io_wall_ms(pool->options.io), &too_large);
    if (too_large)
        (void)snprintf(why, why_bytes,
                       "no index: building it takes more than indexer.build_memory_max_bytes; the "
                       "window is scanned");
    if (!lacks)
        return too_large;
    worker_fill_job(&job, pool, collection, shard, window, &window->run);
    entry = job_tracker_get(&pool->tracker, &job);
    if (!is_given_up(&entry, now_ms(pool)))
        return false;
    if (entry.reason == JOB_LOW_RECALL && entry.recall > 0)
        (void)snprintf(why, why_bytes,
                       "no index: its recall of %.3f is below index.recall_floor, %.3f; the window "
                       "is scanned",
                       (double)entry.recall, collection->recall_floor);
    else if (entry.reason == JOB_LOW_RECALL)
        (void)snprintf(why, why_bytes,
                       "no index: its recall is below index.recall_floor, %.3f; the window is "
                       "scanned",
                       collection->recall_floor);
    else
        (void)snprintf(why, why_bytes, "no index: %s; the log says why; the window is scanned",
                       entry.reason == JOB_FAILED ? "building it failed, and is tried again later"
                                                  : "it cannot be built");
    return true;
}

bool worker_pool_reconcile(struct worker_pool *pool)
{
    struct store_registry *registry = pool->options.registry;
    const struct config *config = pool->options.config;
    struct worker_queue *queue = pool->options.queue;
    int64_t depth = queue->operations->depth(queue);
    bool lacking = false;
    struct arena arena;
    int code = 0;

    arena_create(&arena, 0);
    for (size_t i = 0; i < config->collection_count; i++) {
        struct store_lease *leases;
        struct unindexed unindexed = {0};
        size_t count =
            config->collections[i].removed
                ? 0
                : store_registry_acquire(registry, config->collections[i].name, &arena, &leases);
        for (size_t j = 0; j < count; j++) {
            struct error error = {0};
            /* One failure is NATS being away: the others would fail, too. */
            if (code == 0)
                code = reconcile_shard(pool, leases[j].shard, depth, &unindexed, &lacking, &error);
            store_registry_release(registry, &leases[j]);
        }
        report_too_large(pool, config->collections[i].name, unindexed.too_large);
        report_given_up(pool, config->collections[i].name, unindexed.given_up);
    }
    arena_destroy(&arena);
    return lacking || code != 0;
}

/* Maps a segment file; NULL when it is damaged: it will be built again. */
static struct index_segment *open_segment(struct worker_pool *pool, struct store_shard *shard,
                                          const struct config_collection *collection,
                                          uint64_t file_number, uint64_t rows)
{
    struct index_segment *segment = NULL;
    struct error error = {0};
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof(path), "%s/%06llu.segment", store_shard_directory(shard),
                   (unsigned long long)file_number);
    if (index_segment_open(pool->options.io, path, file_number,
                           vector_metric_ranking(collection->metric), collection->dim,
                           (uint32_t)rows, &segment, &error) != 0)
        log_warning("indexer", "rebuilding a segment: %s", error.text);
    return segment;
}

/* What was merged or dropped meanwhile needs none. */
static int finish_load(struct index_segment *segment, int code)
{
    if (code != 0 && segment)
        index_segment_close(segment);
    return code == ERROR_NOT_FOUND ? 0 : code;
}

static int load_segment(struct worker_pool *pool, struct store_shard *shard,
                        const struct config_collection *collection,
                        const struct store_file_info *file, struct error *error)
{
    struct index_segment *segment;

    if (file->segment.file_number == 0)
        return 0;
    segment = open_segment(pool, shard, collection, file->segment.file_number, file->rows);
    return finish_load(segment,
                       store_shard_load_segment(shard, file->file_number, segment,
                                                segment ? index_segment_close : NULL, error));
}

static int load_span(struct worker_pool *pool, struct store_shard *shard,
                     const struct config_collection *collection, const struct store_span_info *span,
                     struct error *error)
{
    struct index_segment *segment =
        open_segment(pool, shard, collection, span->segment.file_number, span->rows);

    return finish_load(segment, store_shard_load_span(shard, span->segment.file_number, segment,
                                                      segment ? index_segment_close : NULL, error));
}

int worker_pool_load_segments(struct worker_pool *pool, struct store_shard *shard,
                              struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(pool->options.config, store_shard_collection(shard));
    struct store_shard_info info;
    struct arena arena;
    int code = 0;

    if (!collection)
        return 0;
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count && code == 0; i++) {
        const struct store_window_info *window = &info.windows[i];
        code = load_segment(pool, shard, collection, &window->run, error);
        for (size_t j = 0; j < window->chunk_count && code == 0; j++)
            code = load_segment(pool, shard, collection, &window->chunks[j], error);
    }
    for (size_t i = 0; i < info.span_count && code == 0; i++)
        code = load_span(pool, shard, collection, &info.spans[i], error);
    arena_destroy(&arena);
    return code;
}
