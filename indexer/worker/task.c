/* One job: is there work, and what came of it.
 *
 *     the shard is open here      lease it; is the file still there, without the segment that it
 *                                 should have? claim it in the job tracker; build and attach
 *     it is open elsewhere, or    ask who has it; fetch the file from there, build, send the
 *     another group's is meant    segment back
 *     nobody has it now           the queue passes the job on
 *
 * A job is a hint, not an order: everything that it says is looked up again, because it may be old,
 * come twice, or name a shard that has moved since. So a job may be lost or doubled anywhere. */
#include <stdio.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "indexer/worker/choice.h"
#include "indexer/worker/history.h"
#include "indexer/worker/remote.h"
#include "indexer/worker/segment_kind.h"
#include "indexer/worker/source.h"
#include "indexer/worker/span.h"
#include "indexer/worker/state.h"
#include "store/attach.h"
#include "store/describe.h"
#include "store/snapshot.h"
#include "store/store.h"

/* The file of the window that the job is of, when it is still there. */
static const struct store_file_info *find_file(const struct store_window_info *window,
                                               const struct worker_job *job)
{
    if (job->generation > 0)
        return window->sealed && window->generation == job->generation ? &window->run : NULL;
    /* Chunks of a busy window are about to be replaced; a store of levels is always busy. */
    if (window->busy && window->length_ms > 0)
        return NULL;
    for (size_t i = 0; i < window->chunk_count; i++)
        if (window->chunks[i].file_number == job->run_file_number)
            return &window->chunks[i];
    return NULL;
}

/* The file that lacks the segment of the job, and its window; NULL: none does. */
static const struct store_file_info *find_wanted(const struct worker_pool *pool,
                                                 const struct config_collection *collection,
                                                 const struct worker_job *job,
                                                 const struct store_shard_info *info,
                                                 const struct store_window_info **in)
{
    const struct worker_pool_options *options = &pool->options;
    bool too_large;

    for (size_t i = 0; i < info->window_count; i++) {
        const struct store_window_info *window = &info->windows[i];
        const struct store_file_info *file;
        if (window->start_ms != job->window_start_ms || window->length_ms != job->window_length_ms)
            continue;
        file = find_file(window, job);
        *in = window;
        return file && worker_file_lacks_segment(options->config, collection, window, file,
                                                 io_wall_ms(options->io), &too_large)
                   ? file
                   : NULL;
    }
    return NULL;
}

/* Fills the job as it is wanted now; false: nothing is to be built. */
static bool fill_wanted(struct worker_pool *pool, const struct config_collection *collection,
                        struct store_shard *shard, struct worker_job *job, struct arena *arena)
{
    const struct worker_pool_options *options = &pool->options;
    const struct store_window_info *window;
    const struct store_file_info *file;
    const struct worker_span *span;
    struct store_shard_info info;

    store_shard_describe(shard, arena, &info);
    if (job->span_tier > 0) {
        span = worker_span_find(options->config, collection, &info, io_wall_ms(options->io), job,
                                arena);
        if (span) {
            worker_span_job(span, pool, collection, shard, job);
            worker_choose(options->registry, collection, io_wall_ms(options->io), job);
        }
        return span != NULL;
    }
    file = find_wanted(pool, collection, job, &info, &window);
    if (file) {
        worker_fill_job(job, pool, collection, shard, window, file);
        worker_choose(options->registry, collection, io_wall_ms(options->io), job);
    }
    return file != NULL;
}

/* A shard that is handed over is built for by its next owner's word. */
enum worker_claim worker_claim_job(void *context, struct worker_job *job)
{
    struct worker_pool *pool = context;
    const struct config_collection *collection =
        config_collection_find(pool->options.config, job->collection);
    struct store_lease lease;
    struct arena arena;
    bool mine, wanted;

    if (!collection ||
        !store_registry_acquire_shard(pool->options.registry, job->collection, job->shard, &lease))
        return WORKER_NOT_MINE;
    mine = !lease.handed_over && !atomic_load(lease.closing);
    arena_create(&arena, 0);
    wanted = fill_wanted(pool, collection, lease.shard, job, &arena);
    if (wanted)
        (void)snprintf(job->owner, sizeof(job->owner), "%s", pool->address);
    arena_destroy(&arena);
    store_registry_release(pool->options.registry, &lease);
    if (!mine)
        return WORKER_NOT_MINE;
    return wanted ? WORKER_MINE : WORKER_UNWANTED;
}

static bool take_lease(struct worker_task *task)
{
    const struct worker_job *job = &task->delivery->job;
    struct store_lease lease;

    /* Another group has the same shards and windows in files of its own. */
    if ((job->group[0] && strcmp(job->group, task->pool->group) != 0) ||
        !store_registry_acquire_shard(task->pool->options.registry, job->collection, job->shard,
                                      &lease))
        return false;
    /* Race: the registry sets `closing`, then tells the pool, which looks for the lease. Either it
     * finds the lease, or `closing` is seen here. */
    pthread_mutex_lock(&task->pool->lock);
    task->lease = lease;
    if (atomic_load(lease.closing))
        atomic_store(&task->cancel, true);
    pthread_mutex_unlock(&task->pool->lock);
    return true;
}

struct metric *worker_build_seconds(struct metrics *metrics, const char *collection, bool span)
{
    const struct metric_label label = {"collection", collection};

    return metrics_histogram(
        metrics, span ? "windrow_index_span_build_seconds" : "windrow_index_build_seconds",
        span ? "Time to build and attach a segment over several windows"
             : "Time to build and attach a segment",
        &label, 1, metrics_seconds_bounds, metrics_seconds_bound_count);
}

/* Returns the seconds since the start. */
static double observe_build(const struct worker_task *task, int64_t start_ns)
{
    struct worker_pool *pool = task->pool;
    double seconds = (double)(io_monotonic_ns(pool->options.io) - start_ns) * 1e-9;
    bool span = task->delivery->job.span_tier > 0;

    metric_observe(worker_build_seconds(pool->options.metrics, task->collection->name, span),
                   seconds);
    return seconds;
}

static void report_build(const struct worker_task *task, int64_t start_ns)
{
    const struct worker_job *job = &task->delivery->job;
    double seconds = observe_build(task, start_ns);
    char start[TEXT_TIME_BYTES];

    if (job->span_tier > 0)
        logger_write_event(
            LOGGER_INFO, "indexer", "span_built",
            "indexed windows from %s on of %s/%s together: tier %u, %llu rows, %.2f s",
            text_format_time(job->window_start_ms, start), task->collection->name,
            store_shard_name(task->lease.shard), job->span_tier, (unsigned long long)job->rows,
            seconds);
    else
        logger_write_event(
            LOGGER_INFO, "indexer", "segment_built",
            "indexed %s %llu of window %s of %s/%s: %llu rows, %.2f s",
            job->generation > 0 ? "generation" : "chunk",
            (unsigned long long)(job->generation > 0 ? job->generation : job->run_file_number),
            text_format_time(job->window_start_ms, start), task->collection->name,
            store_shard_name(task->lease.shard), (unsigned long long)job->rows, seconds);
}

static enum worker_outcome outcome_of(int code, bool low_recall)
{
    switch (code) {
    case 0:
        return low_recall ? WORKER_LOW_RECALL : WORKER_DONE;
    case ERROR_NOT_FOUND: /* dropped, or replaced by a newer generation with a job of its own */
        return WORKER_DONE;
    case ERROR_CANCELLED:
        return WORKER_NOT_HERE;
    case ERROR_UNSUPPORTED:
        return WORKER_REFUSED;
    case ERROR_NO_SPACE:
    case ERROR_NO_FILES:
    case ERROR_MEMORY:
    case ERROR_BUSY:
        return WORKER_POSTPONED;
    default:
        return WORKER_FAILED;
    }
}

/* False with the outcome when another thread of this process is at the file. */
static bool claim(struct worker_task *task, enum worker_outcome *outcome)
{
    switch (job_tracker_claim(&task->pool->tracker, &task->delivery->job)) {
    case JOB_CLAIMED:
        return true;
    case JOB_SAME:
        *outcome = WORKER_DONE; /* it has a copy of this job */
        return false;
    default:
        *outcome = WORKER_NOT_HERE; /* and builds another kind: for a while nothing to do here */
        return false;
    }
}

static int reserve_here(struct build *build, struct error *error)
{
    (void)error;
    store_shard_reserve_segment(build->reserve_context, &build->file_number, build->path,
                                sizeof(build->path));
    return 0;
}

/* snapshot of the shard (keeps the file while it is read) -> build -> attach. ERROR_NOT_FOUND when
 * the file is no longer part of the shard; *low_recall when it was built but not attached. */
static int build_here(struct worker_task *task, bool *low_recall, struct error *error)
{
    struct store_shard *shard = task->lease.shard;
    const struct worker_pool_options *options = &task->pool->options;
    const struct worker_job *job = &task->delivery->job;
    const struct worker_run run = {.start_ms = job->window_start_ms,
                                   .length_ms = job->window_length_ms,
                                   .generation = job->generation,
                                   .file_number = job->run_file_number};
    int64_t now_ms = io_wall_ms(options->io);
    struct store_snapshot *snapshot = store_snapshot_acquire(shard, now_ms);
    struct build build = worker_task_build(task);
    const struct store_source *source = NULL;
    int code = worker_source_find(&run, snapshot, &source, error);

    build.reserve = reserve_here;
    build.reserve_context = shard;
    if (code == 0) {
        struct worker_job wanted = *job;
        wanted.rows = source->row_count;
        wanted.kind = worker_job_kind(options->config, task->collection, job, now_ms);
        worker_choose(options->registry, task->collection, now_ms, &wanted);
        worker_build_choose(&build, &wanted);
        build.row_count = source->row_count;
        build.copies =
            worker_copies_vectors(options->config, task->collection, run.generation > 0) ||
            store_source_codec(source) != VECTOR_CODEC_RAW; /* sealed under another setting */
        code = worker_build_begin(&build, error);
    }
    if (code == 0)
        code = worker_source_vectors(source, task->collection->dim, &task->cancel, &build.vectors,
                                     &build.copy, error);
    if (code == 0)
        code = worker_build_chosen(&build, low_recall, error);
    if (code == 0 && !*low_recall && atomic_load(&task->cancel))
        code = error_set(error, ERROR_CANCELLED, "cancelled");
    if (code == 0 && !*low_recall)
        code = worker_build_attach(&build, shard, source->file_number, error);
    task->recall = build.recall;
    worker_build_end(&build);
    store_snapshot_release(snapshot);
    return code;
}

/* Holds the claim while `build` runs, whose code and recall it returns. */
static int build_claimed(struct worker_task *task,
                         int (*build)(struct worker_task *, bool *, struct error *),
                         bool *low_recall, struct error *error)
{
    struct worker_pool *pool = task->pool;
    int code;

    atomic_fetch_add(&pool->building, 1);
    code = build(task, low_recall, error);
    atomic_fetch_sub(&pool->building, 1);
    job_tracker_set(&pool->tracker, &task->delivery->job, JOB_NONE, 0);
    return code;
}

static enum worker_outcome build_file(struct worker_task *task, struct error *error)
{
    int64_t start_ns = io_monotonic_ns(task->pool->options.io);
    bool low_recall = false;
    enum worker_outcome outcome;
    int code;

    if (!claim(task, &outcome))
        return outcome;
    code = build_claimed(task, build_here, &low_recall, error);
    if (code == 0 && !low_recall)
        report_build(task, start_ns);
    return outcome_of(code, low_recall);
}

/* The span of the job, if it is wanted as it was when the job was queued. */
static enum worker_outcome build_span(struct worker_task *task, const struct store_shard_info *info,
                                      struct arena *arena, struct error *error)
{
    const struct worker_pool_options *options = &task->pool->options;
    const struct worker_span *span =
        worker_span_find(options->config, task->collection, info, io_wall_ms(options->io),
                         &task->delivery->job, arena);
    int64_t start_ns = io_monotonic_ns(options->io);
    bool low_recall = false;
    enum worker_outcome outcome;
    int code;

    if (!span)
        return WORKER_DONE;
    if (!claim(task, &outcome))
        return outcome;
    atomic_fetch_add(&task->pool->building, 1);
    code = span->history ? worker_history_build(task, span, &low_recall, error)
                         : worker_span_build(task, span, &low_recall, error);
    atomic_fetch_sub(&task->pool->building, 1);
    job_tracker_set(&task->pool->tracker, &task->delivery->job, JOB_NONE, 0);
    if (code == 0 && !low_recall)
        report_build(task, start_ns);
    return outcome_of(code, low_recall);
}

/* Jobs of windrow 0.2 and before carry an address and no group. False with the outcome when there is
 * nobody to build for. */
static bool locate(struct worker_task *task, enum worker_outcome *outcome, struct error *error)
{
    struct worker_queue *queue = task->delivery->queue;
    struct worker_job *job = &task->delivery->job;
    bool waits;
    int code;

    *outcome = WORKER_NOT_HERE;
    if (!job->group[0] || !queue->operations->locate)
        return job->owner[0] && strcmp(job->owner, task->pool->address) != 0;
    waits = thread_pool_wait_begin(task->pool->threads);
    code = queue->operations->locate(queue, job, error);
    if (waits)
        thread_pool_wait_end(task->pool->threads);
    if (code == ERROR_NOT_FOUND)
        *outcome = WORKER_DONE;
    else if (code != 0 && code != ERROR_BUSY)
        *outcome = WORKER_POSTPONED;
    return code == 0;
}

/* The shard is elsewhere, and its owner can be asked for the run. Whoever cannot be reached now may
 * be later, or the shard has moved. */
static enum worker_outcome build_for_owner(struct worker_task *task, struct error *error)
{
    const struct worker_job *job = &task->delivery->job;
    const char *what = job->span_tier > 0 ? "windows from" : "window";
    int64_t start_ns = io_monotonic_ns(task->pool->options.io);
    bool low_recall = false;
    enum worker_outcome outcome;
    int code;

    if (!locate(task, &outcome, error) || !claim(task, &outcome))
        return outcome;
    code = build_claimed(task, worker_build_remote, &low_recall, error);
    if (code == ERROR_NOT_FOUND)
        log_info("indexer", "%s %lld of %s/%s %s no longer needed: %s", what,
                 (long long)job->window_start_ms, job->collection, job->shard,
                 job->span_tier > 0 ? "are" : "is", error->text);
    if (code == 0 && !low_recall)
        (void)observe_build(task, start_ns);
    if (code == 0 && !low_recall)
        log_info("indexer", "indexed %s %lld of %s/%s for %s: generation %llu, %llu rows", what,
                 (long long)job->window_start_ms, job->collection, job->shard, job->owner,
                 (unsigned long long)job->generation, (unsigned long long)job->rows);
    return code == ERROR_PEER ? WORKER_POSTPONED : outcome_of(code, low_recall);
}

enum worker_outcome worker_task_run(struct worker_task *task, struct error *error)
{
    struct worker_pool *pool = task->pool;
    const struct worker_job *job = &task->delivery->job;
    enum worker_outcome outcome = WORKER_NOT_HERE;
    const struct store_window_info *window;
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    task->collection = config_collection_find(pool->options.config, job->collection);
    if (task->collection && take_lease(task)) {
        store_shard_describe(task->lease.shard, &arena, &info);
        if (job->span_tier > 0)
            outcome = build_span(task, &info, &arena, error);
        else if (find_wanted(pool, task->collection, job, &info, &window))
            outcome = build_file(task, error);
        else
            outcome = WORKER_DONE;
    } else if (task->collection) {
        outcome = build_for_owner(task, error);
    }
    arena_destroy(&arena);
    return outcome;
}
