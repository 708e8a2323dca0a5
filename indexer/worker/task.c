/* One job: is there work, and what came of it. */
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "indexer/worker/build.h"
#include "indexer/worker/memory.h"

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

static bool is_wanted(const struct worker_task *task, const struct store_shard_info *info)
{
    const struct worker_pool_options *options = &task->pool->options;
    bool too_large;
    const struct worker_job *job = &task->delivery->job;

    for (size_t i = 0; i < info->window_count; i++) {
        const struct store_window_info *window = &info->windows[i];
        const struct store_file_info *file;
        if (window->start_ms != job->window_start_ms || window->length_ms != job->window_length_ms)
            continue;
        file = find_file(window, job);
        return file && worker_file_lacks_segment(options->config, task->collection, window, file,
                                                 io_wall_ms(options->io), &too_large);
    }
    return false;
}

enum { IVF_PQ_ROWS = 10 * 1000 * 1000 }; /* a graph over more takes too much memory to build */

const char *worker_wanted_kind(const struct config_collection *collection, uint64_t rows,
                               int64_t age_ms)
{
    switch (collection->index_kind) {
    case CONFIG_INDEX_FLAT:
        return "flat";
    case CONFIG_INDEX_HNSW:
        return "hnsw";
    case CONFIG_INDEX_IVF_PQ:
        return "ivf_pq";
    default:
        break;
    }
    if (rows < collection->flat_below_rows)
        return "flat";
    if (rows >= IVF_PQ_ROWS ||
        (collection->ivf_pq_after_ms > 0 && age_ms > collection->ivf_pq_after_ms))
        return "ivf_pq";
    return "hnsw";
}

const char *worker_chunk_kind(const struct config_collection *collection, uint64_t rows)
{
    if (collection->chunk_above_rows == 0 || rows < collection->chunk_above_rows)
        return "flat";
    return worker_wanted_kind(collection, rows, 0);
}

/* The kind that is wanted, and the one that can be built. */
struct kinds {
    const char *wanted, *fitting;
};

static struct kinds file_kinds(const struct config *config,
                               const struct config_collection *collection, bool sealed,
                               int64_t end_ms, uint64_t rows, int64_t now_ms)
{
    /* A shard without windows is one window that does not age. */
    int64_t age_ms = collection->window_ms > 0 ? now_ms - end_ms : 0;
    struct kinds kinds;

    kinds.wanted =
        sealed ? worker_wanted_kind(collection, rows, age_ms) : worker_chunk_kind(collection, rows);
    kinds.fitting = worker_fitting_kind(config, collection, kinds.wanted, rows,
                                        worker_copies_vectors(config, collection, sealed));
    return kinds;
}

const char *worker_job_kind(const struct config *config, const struct config_collection *collection,
                            const struct worker_job *job, int64_t now_ms)
{
    return file_kinds(config, collection, job->generation > 0,
                      job->window_start_ms + job->window_length_ms, job->rows, now_ms)
        .fitting;
}

bool worker_file_lacks_segment(const struct config *config,
                               const struct config_collection *collection,
                               const struct store_window_info *window,
                               const struct store_file_info *file, int64_t now_ms, bool *too_large)
{
    bool sealed = file == &window->run;
    struct kinds kinds;

    *too_large = false;
    if ((sealed && !window->sealed) || file->rows == 0 || file->rows > UINT32_MAX)
        return false;
    kinds = file_kinds(config, collection, sealed, window->start_ms + window->length_ms, file->rows,
                       now_ms);
    *too_large = file->segment.file_number == 0 && strcmp(kinds.wanted, "flat") != 0 &&
                 strcmp(kinds.fitting, "flat") == 0;
    if (strcmp(kinds.fitting, "flat") == 0)
        return false;
    return file->segment.file_number == 0 || strcmp(file->segment.kind, kinds.fitting) != 0;
}

static bool take_lease(struct worker_task *task)
{
    const struct worker_job *job = &task->delivery->job;
    struct store_lease lease;

    if (!store_registry_acquire_shard(task->pool->options.registry, job->collection, job->shard,
                                      &lease))
        return false;
    /* The monitor looks at it. */
    pthread_mutex_lock(&task->pool->lock);
    task->lease = lease;
    pthread_mutex_unlock(&task->pool->lock);
    return true;
}

static void observe_build(struct worker_task *task, int64_t start_ns)
{
    struct worker_pool *pool = task->pool;
    const struct worker_job *job = &task->delivery->job;
    struct metric_label labels[] = {{"collection", task->collection->name}};
    double seconds = (double)(io_monotonic_ns(pool->options.io) - start_ns) * 1e-9;
    char start[TEXT_TIME_BYTES];

    metric_observe(metrics_histogram(pool->options.metrics, "windrow_index_build_seconds",
                                     "Time to build and attach a segment", labels, 1,
                                     metrics_seconds_bounds, metrics_seconds_bound_count),
                   seconds);
    log_info("indexer", "indexed %s %llu of window %s of %s/%s: %llu rows, %.2f s",
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

static enum worker_outcome build_file(struct worker_task *task, struct error *error)
{
    struct worker_pool *pool = task->pool;
    const struct worker_job *job = &task->delivery->job;
    int64_t start_ns = io_monotonic_ns(pool->options.io);
    bool low_recall = false;
    enum worker_outcome outcome;
    int code;

    if (!claim(task, &outcome))
        return outcome;
    atomic_fetch_add(&pool->building, 1);
    code = worker_build(task, &low_recall, error);
    atomic_fetch_sub(&pool->building, 1);
    job_tracker_set(&pool->tracker, job, JOB_NONE, 0);
    if (code == 0 && !low_recall)
        observe_build(task, start_ns);
    return outcome_of(code, low_recall);
}

/* The shard is elsewhere, and its owner can be asked for the run. Whoever cannot be reached now may
 * be later, or the shard has moved. */
static enum worker_outcome build_for_owner(struct worker_task *task, struct error *error)
{
    struct worker_pool *pool = task->pool;
    const struct worker_job *job = &task->delivery->job;
    bool low_recall = false;
    enum worker_outcome outcome;
    int code;

    if (!claim(task, &outcome))
        return outcome;
    atomic_fetch_add(&pool->building, 1);
    code = worker_build_remote(task, &low_recall, error);
    atomic_fetch_sub(&pool->building, 1);
    job_tracker_set(&pool->tracker, job, JOB_NONE, 0);
    if (code == ERROR_NOT_FOUND)
        log_info("indexer", "window %lld of %s/%s is no longer wanted: %s",
                 (long long)job->window_start_ms, job->collection, job->shard, error->text);
    outcome = code == ERROR_PEER ? WORKER_POSTPONED : outcome_of(code, low_recall);
    if (code == 0 && !low_recall)
        log_info("indexer", "indexed window %lld of %s/%s for %s: generation %llu, %llu rows",
                 (long long)job->window_start_ms, job->collection, job->shard, job->owner,
                 (unsigned long long)job->generation, (unsigned long long)job->rows);
    return outcome;
}

enum worker_outcome worker_task_run(struct worker_task *task, struct error *error)
{
    struct worker_pool *pool = task->pool;
    const struct worker_job *job = &task->delivery->job;
    enum worker_outcome outcome = WORKER_NOT_HERE;
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    task->collection = config_collection_find(pool->options.config, job->collection);
    if (task->collection && take_lease(task)) {
        store_shard_describe(task->lease.shard, &arena, &info);
        outcome = is_wanted(task, &info) ? build_file(task, error) : WORKER_DONE;
    } else if (task->collection && job->owner[0] && strcmp(job->owner, pool->address) != 0) {
        outcome = build_for_owner(task, error);
    }
    arena_destroy(&arena);
    return outcome;
}
