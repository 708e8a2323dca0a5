/* One job: is there work, and what came of it. */
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "indexer/worker/build.h"

const struct store_window_info *worker_window_find(const struct store_shard_info *info,
                                                   int64_t start_ms, int64_t length_ms)
{
    for (size_t i = 0; i < info->window_count; i++)
        if (info->windows[i].start_ms == start_ms && info->windows[i].length_ms == length_ms)
            return &info->windows[i];
    return NULL;
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

const char *worker_window_kind(const struct config_collection *collection,
                               const struct store_window_info *window, int64_t now_ms)
{
    /* A shard without windows is one window that does not age. */
    int64_t age_ms = collection->window_ms > 0 ? now_ms - window->start_ms - window->length_ms : 0;

    return worker_wanted_kind(collection, window->run.rows, age_ms);
}

bool worker_window_lacks_segment(const struct config_collection *collection,
                                 const struct store_window_info *window, int64_t now_ms)
{
    const char *wanted;

    if (!window->sealed || window->run.rows == 0 || window->run.rows > UINT32_MAX)
        return false;
    wanted = worker_window_kind(collection, window, now_ms);
    if (strcmp(wanted, "flat") == 0)
        return false;
    return window->segment.file_number == 0 || strcmp(window->segment.kind, wanted) != 0;
}

bool worker_lease_take(const struct indexer_host *host, const char *collection, const char *shard,
                       struct arena *arena, struct indexer_shard_lease *lease)
{
    struct indexer_shard_lease *leases;
    size_t count = host->shards_acquire(host->context, collection, arena, &leases);
    bool found = false;

    for (size_t i = 0; i < count; i++) {
        if (!found && strcmp(store_shard_name(leases[i].shard), shard) == 0) {
            *lease = leases[i];
            found = true;
        } else {
            host->shard_release(host->context, &leases[i]);
        }
    }
    return found;
}

static bool take_lease(struct worker_task *task, struct arena *arena)
{
    const struct worker_job *job = &task->delivery->job;
    struct indexer_shard_lease lease;

    if (!worker_lease_take(task->pool->options.host, job->collection, job->shard, arena, &lease))
        return false;
    /* The keeper looks at it. */
    pthread_mutex_lock(&task->pool->lock);
    task->lease = lease;
    pthread_mutex_unlock(&task->pool->lock);
    return true;
}

static void observe_build(struct worker_task *task, const struct store_window_info *window,
                          int64_t start_ns)
{
    struct worker_pool *pool = task->pool;
    struct metric_label labels[] = {{"collection", task->collection->name}};
    double seconds = (double)(io_monotonic_ns(pool->options.io) - start_ns) * 1e-9;
    char start[TEXT_TIME_BYTES];

    metric_observe(metrics_histogram(pool->options.metrics, "windrow_index_build_seconds",
                                     "Time to build and attach a segment", labels, 1,
                                     metrics_seconds_bounds, metrics_seconds_bound_count),
                   seconds);
    log_info("indexer", "indexed window %s of %s/%s: generation %llu, %llu rows, %.2f s",
             text_format_time(window->start_ms, start), task->collection->name,
             store_shard_name(task->lease.shard), (unsigned long long)window->generation,
             (unsigned long long)window->run.rows, seconds);
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
    case ERROR_NO_SPACE:
    case ERROR_MEMORY:
    case ERROR_BUSY:
        return WORKER_POSTPONED;
    default:
        return WORKER_FAILED;
    }
}

static enum worker_outcome build_window(struct worker_task *task,
                                        const struct store_window_info *window, struct error *error)
{
    struct worker_pool *pool = task->pool;
    const struct worker_job *job = &task->delivery->job;
    int64_t start_ns = io_monotonic_ns(pool->options.io);
    bool low_recall = false;
    int code;

    if (!ledger_claim(&pool->ledger, job))
        return WORKER_DONE; /* another thread has a copy of this job */
    atomic_fetch_add(&pool->building, 1);
    code = worker_build(task, window, &low_recall, error);
    atomic_fetch_sub(&pool->building, 1);
    ledger_set(&pool->ledger, job, LEDGER_NONE, 0);
    if (code == 0 && !low_recall)
        observe_build(task, window, start_ns);
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

    if (!ledger_claim(&pool->ledger, job))
        return WORKER_DONE;
    atomic_fetch_add(&pool->building, 1);
    code = worker_build_remote(task, &low_recall, error);
    atomic_fetch_sub(&pool->building, 1);
    ledger_set(&pool->ledger, job, LEDGER_NONE, 0);
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
    const struct store_window_info *window;
    enum worker_outcome outcome = WORKER_NOT_HERE;
    struct store_shard_info info;
    struct arena arena;

    arena_create(&arena, 0);
    task->collection = config_collection_find(pool->options.config, job->collection);
    if (task->collection && take_lease(task, &arena)) {
        store_shard_describe(task->lease.shard, &arena, &info);
        window = worker_window_find(&info, job->window_start_ms, job->window_length_ms);
        if (window && window->generation == job->generation &&
            worker_window_lacks_segment(task->collection, window, io_wall_ms(pool->options.io)))
            outcome = build_window(task, window, error);
        else
            outcome = WORKER_DONE;
    } else if (task->collection && job->owner[0] && strcmp(job->owner, pool->address) != 0) {
        outcome = build_for_owner(task, error);
    }
    arena_destroy(&arena);
    return outcome;
}
