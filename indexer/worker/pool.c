/* Threads that turn jobs into segments.
 *
 *     worker  fetch -> task (task.c, build.c) -> answer to the queue
 *     monitor  one thread: tells the queue that builds are still under way, passes cancellation on,
 *             refreshes the depth gauge
 *
 * Cancellation. A build looks at one flag only. The monitor sets it when the pool stops or when the
 * shard is wanted back (the lease's `closing`), so that a rebalance waits for a fraction of a
 * second and not for a build.
 *
 * Race: the monitor reports progress on a delivery that its worker is about to acknowledge, which
 * frees it. The worker takes its task off the active list, under the lock, before it answers; the
 * monitor touches deliveries under the same lock. */
#include "indexer/worker/build.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/logger.h"
#include "base/thread.h"

enum {
    FETCH_TIMEOUT_MS = 500,
    MONITOR_POLL_MS = 20,
    PROGRESS_INTERVAL_MAX_MS = 5000, /* when the queue waits long, or for ever */
    PROGRESS_PER_ACK_WAIT = 6,
    DEPTH_INTERVAL_MS = 5000,
    RETRY_DELAY_MS = 250, /* doubles with each attempt */
    GIVE_UP_MS = 3600 * 1000
};

static void pause_ms(int64_t duration_ms)
{
    struct timespec pause = {duration_ms / 1000, duration_ms % 1000 * 1000000};

    (void)nanosleep(&pause, NULL);
}

static int64_t now_ms(const struct worker_pool *pool)
{
    return io_monotonic_ns(pool->options.io) / 1000000;
}

/* ---- the monitor
 * ----------------------------------------------------------------------------------- */

/* Some reports may come late or get lost before the job is taken for abandoned. */
static int64_t progress_interval_ms(const struct worker_pool *pool)
{
    int64_t interval_ms = pool->options.queue->ack_wait_ms / PROGRESS_PER_ACK_WAIT;

    return interval_ms > 0 && interval_ms < PROGRESS_INTERVAL_MAX_MS ? interval_ms
                                                                     : PROGRESS_INTERVAL_MAX_MS;
}

static void watch_task(struct worker_pool *pool, struct worker_task *task)
{
    int64_t now_ns = io_monotonic_ns(pool->options.io);
    struct error error = {0};

    if (pool->stopping || (task->lease.shard && atomic_load(task->lease.closing)))
        atomic_store(&task->cancel, true);
    if (now_ns - task->reported_ns < progress_interval_ms(pool) * INT64_C(1000000))
        return;
    task->reported_ns = now_ns;
    if (task->delivery->queue->operations->in_progress(task->delivery, &error) != 0)
        log_debug("indexer", "%s", error.text);
}

static void *monitor_loop(void *context)
{
    struct worker_pool *pool = context;
    struct worker_queue *queue = pool->options.queue;
    int64_t depth_ms = 0;

    while (!pool->monitor_stops) {
        pthread_mutex_lock(&pool->lock);
        for (struct worker_task *task = pool->active; task; task = task->next)
            watch_task(pool, task);
        pthread_mutex_unlock(&pool->lock);
        if (!pool->stopping && now_ms(pool) - depth_ms >= DEPTH_INTERVAL_MS) {
            int64_t depth = queue->operations->depth(queue);
            if (depth >= 0)
                metric_set(pool->queue_depth, (double)depth);
            depth_ms = now_ms(pool);
        }
        pause_ms(MONITOR_POLL_MS);
    }
    return NULL;
}

static void put_on_list(struct worker_pool *pool, struct worker_task *task)
{
    task->reported_ns = io_monotonic_ns(pool->options.io);
    pthread_mutex_lock(&pool->lock);
    task->next = pool->active;
    pool->active = task;
    pthread_mutex_unlock(&pool->lock);
}

static void take_off_list(struct worker_pool *pool, struct worker_task *task)
{
    struct worker_task **place;

    pthread_mutex_lock(&pool->lock);
    for (place = &pool->active; *place != task; place = &(*place)->next)
        ;
    *place = task->next;
    pthread_mutex_unlock(&pool->lock);
}

/* ---- the workers
 * ---------------------------------------------------------------------------------- */

static void count_failure(struct worker_pool *pool, const struct worker_job *job, int code)
{
    struct metric_label labels[] = {{"collection", job->collection},
                                    {"reason", error_code_name(code)}};

    metric_add(metrics_counter(pool->options.metrics, "windrow_index_build_failures_total",
                               "Attempts to build a segment that failed", labels, 2),
               1);
}

/* The last attempt's job ends as a dead letter; the window is tried again after a while. */
static int answer_failure(struct worker_pool *pool, struct worker_delivery *delivery,
                          const struct error *failure, struct error *error)
{
    const struct worker_queue_operations *operations = delivery->queue->operations;
    uint32_t attempt = delivery->attempt;

    log_warning("indexer", "%s/%s window %lld, attempt %u: %s", delivery->job.collection,
                delivery->job.shard, (long long)delivery->job.window_start_ms, attempt,
                failure->text);
    count_failure(pool, &delivery->job, failure->code);
    if (attempt >= WORKER_ATTEMPTS_MAX)
        job_tracker_set(&pool->tracker, &delivery->job, JOB_GIVEN_UP, now_ms(pool) + GIVE_UP_MS);
    return operations->retry(delivery, (int64_t)RETRY_DELAY_MS << attempt, failure->text, error);
}

static void answer(struct worker_pool *pool, struct worker_delivery *delivery,
                   enum worker_outcome outcome, const struct error *failure)
{
    const struct worker_queue_operations *operations = delivery->queue->operations;
    struct error error = {0};
    int code = 0;

    switch (outcome) {
    case WORKER_REFUSED:
        log_warning("indexer", "%s/%s window %lld: %s", delivery->job.collection,
                    delivery->job.shard, (long long)delivery->job.window_start_ms, failure->text);
        count_failure(pool, &delivery->job, failure->code);
        job_tracker_set(&pool->tracker, &delivery->job, JOB_GIVEN_UP, INT64_MAX);
        code = operations->ack(delivery, &error);
        break;
    case WORKER_LOW_RECALL:
        job_tracker_set(&pool->tracker, &delivery->job, JOB_GIVEN_UP, INT64_MAX);
        code = operations->ack(delivery, &error);
        break;
    case WORKER_DONE:
        code = operations->ack(delivery, &error);
        break;
    case WORKER_POSTPONED:
        log_warning("indexer", "%s/%s window %lld is indexed later: %s", delivery->job.collection,
                    delivery->job.shard, (long long)delivery->job.window_start_ms, failure->text);
        count_failure(pool, &delivery->job, failure->code);
        code = operations->pass(delivery, &error);
        break;
    case WORKER_NOT_HERE:
        code = operations->pass(delivery, &error);
        break;
    case WORKER_FAILED:
        code = answer_failure(pool, delivery, failure, &error);
        break;
    }
    /* It will be delivered again, and found done. */
    if (code != 0)
        log_debug("indexer", "%s", error.text);
}

static void work(struct worker_pool *pool, struct worker_delivery *delivery)
{
    struct store_registry *registry = pool->options.registry;
    struct worker_task task = {.pool = pool, .delivery = delivery};
    enum worker_outcome outcome;
    struct error error = {0};

    put_on_list(pool, &task);
    outcome = worker_task_run(&task, &error);
    take_off_list(pool, &task);
    if (task.lease.shard)
        store_registry_release(registry, &task.lease);
    answer(pool, delivery, outcome, &error);
}

static void *worker_loop(void *context)
{
    struct worker_pool *pool = context;
    struct worker_queue *queue = pool->options.queue;

    /* Linux: of this thread, and inherited by the builder's threads. Searches come first. */
    (void)setpriority(PRIO_PROCESS, 0, (int)pool->options.config->build_nice);
    while (!pool->stopping) {
        struct worker_delivery *delivery = NULL;
        struct error error = {0};
        int code = queue->operations->fetch(queue, FETCH_TIMEOUT_MS, &delivery, &error);
        if (code == 0)
            work(pool, delivery);
        else if (code != ERROR_TIMEOUT)
            pause_ms(MONITOR_POLL_MS);
    }
    return NULL;
}

/* ---- starting and stopping
 * ------------------------------------------------------------------------ */

static int start_threads(struct worker_pool *pool, uint32_t wanted, struct error *error)
{
    int failure = thread_start(&pool->monitor, "index-monitor", monitor_loop, pool);

    pool->monitor_runs = failure == 0;
    while (failure == 0 && pool->thread_count < wanted) {
        failure = thread_start(&pool->threads[pool->thread_count], "index", worker_loop, pool);
        pool->thread_count += failure == 0;
    }
    if (failure != 0)
        return error_set_errno(error, failure, "start the index workers");
    return 0;
}

int worker_pool_start(const struct worker_pool_options *options, struct worker_pool **pool,
                      struct error *error)
{
    struct worker_pool *fresh = calloc(1, sizeof(*fresh));
    uint32_t wanted = options->thread_count ? options->thread_count : 1;

    if (!fresh)
        abort();
    fresh->options = *options;
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_mutex_init(&fresh->upload_lock, NULL);
    job_tracker_create(&fresh->tracker);
    fresh->threads = calloc(wanted, sizeof(*fresh->threads));
    if (!fresh->threads)
        abort();
    fresh->queue_depth = metrics_gauge(options->metrics, "windrow_index_queue_depth",
                                       "Index jobs waiting or under way", NULL, 0);
    fresh->memory = metrics_gauge(options->metrics, "windrow_index_build_memory_bytes",
                                  "Memory that builds under way have taken, of "
                                  "indexer.build_memory_max_bytes",
                                  NULL, 0);
    if (options->build)
        worker_remote_clean(fresh);
    if (options->build && start_threads(fresh, wanted, error) != 0) {
        worker_pool_stop(fresh);
        return error->code;
    }
    *pool = fresh;
    return 0;
}

void worker_pool_set_address(struct worker_pool *pool, const char *address)
{
    (void)snprintf(pool->address, sizeof(pool->address), "%s", address);
}

void worker_pool_describe(struct worker_pool *pool, uint32_t *threads, uint32_t *building,
                          uint64_t *memory_bytes)
{
    *threads = pool->thread_count;
    *building = atomic_load(&pool->building);
    pthread_mutex_lock(&pool->lock);
    *memory_bytes = pool->memory_bytes;
    pthread_mutex_unlock(&pool->lock);
}

void worker_pool_quiesce(struct worker_pool *pool)
{
    if (!pool)
        return;
    pool->stopping = true;
    for (uint32_t i = 0; i < pool->thread_count; i++)
        (void)pthread_join(pool->threads[i], NULL);
    pool->thread_count = 0;
    pool->monitor_stops = true;
    if (pool->monitor_runs)
        (void)pthread_join(pool->monitor, NULL);
    pool->monitor_runs = false;
}

void worker_pool_stop(struct worker_pool *pool)
{
    if (!pool)
        return;
    worker_pool_quiesce(pool);
    worker_remote_close(pool);
    pthread_mutex_destroy(&pool->upload_lock);
    job_tracker_destroy(&pool->tracker);
    pthread_mutex_destroy(&pool->lock);
    free(pool->threads);
    free(pool);
}
