/* Jobs become segments.
 *
 *     monitor   one thread: fetches a job while fewer than thread_count are under way, tells the
 *               queue that builds go on, refreshes the depth gauge
 *     index     a pool: job -> task (task.c, build.c) -> answer to the queue
 *
 * Cancellation. A build looks at one flag. It is set when the pool stops, and by the registry's
 * call when the shard is wanted back, so that a rebalance waits for a fraction of a second and not
 * for a build.
 *
 * Race: the monitor reports progress on a delivery that a task is about to answer, which frees it.
 * The task leaves the active list, under the lock, before it answers; the monitor touches
 * deliveries under the same lock. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "indexer/worker/queue.h"
#include "indexer/worker/remote.h"
#include "indexer/worker/state.h"

enum {
    PROGRESS_INTERVAL_MAX_MS = 5000, /* when the queue waits long, or for ever */
    PROGRESS_PER_ACK_WAIT = 6,
    DEPTH_INTERVAL_MS = 5000,
    QUEUE_PAUSE_MS = 20,  /* after an error of the queue */
    RETRY_DELAY_MS = 250, /* doubles with each attempt */
    GIVE_UP_MS = 3600 * 1000
};

static int64_t now_ms(const struct worker_pool *pool)
{
    return io_monotonic_ns(pool->options.io) / 1000000;
}

/* Under the lock. */
static void cancel(struct worker_pool *pool, const struct store_shard *shard)
{
    for (struct worker_task *task = pool->active; task; task = task->next)
        if (!shard || task->lease.shard == shard)
            atomic_store(&task->cancel, true);
    build_memory_wake(&pool->memory);
}

/* Under the registry's lock, so that nothing here may ask the registry. */
static void on_leaving(void *context, struct store_shard *shard)
{
    struct worker_pool *pool = context;

    pthread_mutex_lock(&pool->lock);
    cancel(pool, shard);
    pthread_mutex_unlock(&pool->lock);
}

/* A job is answered. */

static struct metric *failures(struct metrics *metrics, const char *collection, int code)
{
    struct metric_label labels[] = {{"collection", collection}, {"reason", error_code_name(code)}};

    return metrics_counter(metrics, "windrow_index_build_failures_total",
                           "Attempts to build a segment that failed", labels, 2);
}

void worker_metrics_begin(struct metrics *metrics, const char *collection)
{
    for (int code = -1; code >= ERROR_LAST; code--)
        (void)failures(metrics, collection, code);
    (void)worker_queue_dead(metrics, collection);
    (void)worker_build_seconds(metrics, collection, false);
    (void)worker_build_seconds(metrics, collection, true);
}

static void count_failure(struct worker_pool *pool, const struct worker_job *job, int code)
{
    metric_add(failures(pool->options.metrics, job->collection, code), 1);
}

/* The last attempt's job ends as a dead letter; the window is tried again after a while. */
static int answer_failure(struct worker_pool *pool, struct worker_delivery *delivery,
                          const struct error *failure, struct error *error)
{
    const struct worker_queue_operations *operations = delivery->queue->operations;
    uint32_t attempt = delivery->attempt;

    logger_write_event(LOGGER_WARNING, "indexer", "build_failed",
                       "%s/%s window %lld, attempt %u: %s", delivery->job.collection,
                       delivery->job.shard, (long long)delivery->job.window_start_ms, attempt,
                       failure->text);
    count_failure(pool, &delivery->job, failure->code);
    if (attempt >= WORKER_ATTEMPTS_MAX)
        job_tracker_give_up(&pool->tracker, &delivery->job, now_ms(pool) + GIVE_UP_MS, JOB_FAILED,
                            0);
    return operations->retry(delivery, (int64_t)RETRY_DELAY_MS << attempt, failure->text, error);
}

/* What became of a job decides what the queue is told, and what this process remembers of it.
 *
 *     done, no longer wanted         acknowledged
 *     recall too low, impossible     acknowledged, given up while this process runs
 *     the shard is not here          passed on: another process, or this one later
 *     no space, memory or owner now  passed on, with a warning
 *     failed                         again after a pause, a dead letter after the last attempt
 *
 * An answer may get lost with the connection. Then the job comes again, and its work is found done
 * or found wanted. */
static void answer(struct worker_pool *pool, struct worker_delivery *delivery,
                   enum worker_outcome outcome, double recall, const struct error *failure)
{
    const struct worker_queue_operations *operations = delivery->queue->operations;
    struct error error = {0};
    int code = 0;

    switch (outcome) {
    case WORKER_REFUSED:
        log_warning("indexer", "%s/%s window %lld: %s", delivery->job.collection,
                    delivery->job.shard, (long long)delivery->job.window_start_ms, failure->text);
        count_failure(pool, &delivery->job, failure->code);
        job_tracker_give_up(&pool->tracker, &delivery->job, INT64_MAX, JOB_IMPOSSIBLE, 0);
        code = operations->ack(delivery, &error);
        break;
    case WORKER_LOW_RECALL:
        job_tracker_give_up(&pool->tracker, &delivery->job, INT64_MAX, JOB_LOW_RECALL, recall);
        code = operations->ack(delivery, &error);
        break;
    case WORKER_DONE:
        code = operations->ack(delivery, &error);
        break;
    case WORKER_POSTPONED:
        log_warning("indexer", "%s/%s window %lld will be indexed later: %s",
                    delivery->job.collection, delivery->job.shard,
                    (long long)delivery->job.window_start_ms, failure->text);
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

/* A job is under way. */

/* The lease goes back before the answer: the queue may make its caller wait, and a shard that has to
 * close must not. `unanswered` falls last, so that the monitor, which waits for it, still finds the
 * queue open. */
static void run_task(struct thread_task *work, uint32_t thread)
{
    struct worker_task *task = (struct worker_task *)work;
    struct worker_pool *pool = task->pool;
    struct error error = {0};
    enum worker_outcome outcome = worker_task_run(task, &error);
    struct worker_task **place;

    (void)thread;
    pthread_mutex_lock(&pool->lock);
    for (place = &pool->active; *place != task; place = &(*place)->next)
        ;
    *place = task->next;
    pthread_mutex_unlock(&pool->lock);
    if (task->lease.shard)
        store_registry_release(pool->options.registry, &task->lease);
    answer(pool, task->delivery, outcome, task->recall, &error);
    free(task);
    pthread_mutex_lock(&pool->lock);
    pool->unanswered--;
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
}

static void start_task(struct worker_pool *pool, struct worker_delivery *delivery)
{
    struct worker_task *task = memory_new(1, sizeof(*task));

    task->work.run = run_task;
    task->pool = pool;
    task->delivery = delivery;
    task->reported_ms = now_ms(pool);
    pthread_mutex_lock(&pool->lock);
    atomic_store(&task->cancel, atomic_load(&pool->stopping));
    task->next = pool->active;
    pool->active = task;
    pool->unanswered++;
    pthread_mutex_unlock(&pool->lock);
    /* The pool is stopped after the monitor has ended. */
    (void)thread_pool_submit(pool->threads, &task->work);
}

/* Some reports may come late or get lost before the job is taken for abandoned. */
static int64_t progress_interval_ms(const struct worker_pool *pool)
{
    int64_t interval_ms = pool->options.queue->ack_wait_ms / PROGRESS_PER_ACK_WAIT;

    return interval_ms > 0 && interval_ms < PROGRESS_INTERVAL_MAX_MS ? interval_ms
                                                                     : PROGRESS_INTERVAL_MAX_MS;
}

/* Under the lock. Returns when the next report is due. */
static int64_t report_progress(struct worker_pool *pool, int64_t now)
{
    int64_t interval_ms = progress_interval_ms(pool), due_ms = now + interval_ms;

    for (struct worker_task *task = pool->active; task; task = task->next) {
        struct error error = {0};
        if (now - task->reported_ms >= interval_ms) {
            task->reported_ms = now;
            if (task->delivery->queue->operations->in_progress(task->delivery, &error) != 0)
                log_debug("indexer", "%s", error.text);
        }
        if (task->reported_ms + interval_ms < due_ms)
            due_ms = task->reported_ms + interval_ms;
    }
    return due_ms;
}

static void refresh_depth(struct worker_pool *pool, int64_t now, int64_t *refreshed_ms)
{
    struct worker_queue *queue = pool->options.queue;
    char why[256];
    int64_t depth;

    if (now - *refreshed_ms < DEPTH_INTERVAL_MS)
        return;
    *refreshed_ms = now;
    metric_set(pool->queue_connected, queue->operations->connected(queue, why, sizeof(why)));
    depth = queue->operations->depth(queue);
    if (depth >= 0)
        metric_set(pool->queue_depth, (double)depth);
}

/* Under the lock. The I/O table's monotonic clock is the condition's, but for tests that bend it. */
static void wait_until(struct worker_pool *pool, int64_t due_ms)
{
    (void)thread_condition_wait(&pool->changed, &pool->lock,
                                thread_deadline((due_ms - now_ms(pool)) * 1000000));
}

static void fetch(struct worker_pool *pool, int64_t timeout_ms)
{
    struct worker_queue *queue = pool->options.queue;
    struct worker_delivery *delivery = NULL;
    struct error error = {0};
    int code = queue->operations->fetch(queue, timeout_ms > 0 ? (int)timeout_ms : 0,
                                        &pool->stopping, &delivery, &error);

    if (code == 0) {
        start_task(pool, delivery);
    } else if (code != ERROR_TIMEOUT) {
        pthread_mutex_lock(&pool->lock);
        if (!pool->stopping)
            wait_until(pool, now_ms(pool) + QUEUE_PAUSE_MS);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Ends when the pool stops and every job was answered: until then the queue is told about it. */
static void *monitor_loop(void *context)
{
    struct worker_pool *pool = context;
    int64_t refreshed_ms = -DEPTH_INTERVAL_MS;
    bool ends = false;

    while (!ends) {
        int64_t now = now_ms(pool), due_ms;
        bool stopping, full;
        pthread_mutex_lock(&pool->lock);
        due_ms = report_progress(pool, now);
        stopping = pool->stopping;
        full = pool->unanswered >= pool->thread_count;
        ends = stopping && pool->unanswered == 0;
        if (!ends && (stopping || full))
            wait_until(pool, due_ms);
        pthread_mutex_unlock(&pool->lock);
        if (stopping)
            continue;
        refresh_depth(pool, now, &refreshed_ms);
        if (refreshed_ms + DEPTH_INTERVAL_MS < due_ms)
            due_ms = refreshed_ms + DEPTH_INTERVAL_MS;
        if (!full)
            fetch(pool, due_ms - now_ms(pool));
    }
    return NULL;
}

/* Starting and stopping. */

static int start_threads(struct worker_pool *pool, struct error *error)
{
    const struct thread_pool_options options = {
        .name = "index",
        .class = THREAD_BUILD,
        .threads_max = pool->thread_count,
        .waiting_max = pool->thread_count, /* every job may wait, for memory or for an owner */
        .nice = (int)pool->options.config->build_nice};
    int failure;

    worker_remote_clean(pool);
    pool->threads = thread_pool_new(&options);
    failure = thread_start(&pool->monitor, "index-monitor", monitor_loop, pool);
    pool->monitor_runs = failure == 0;
    return failure ? error_set_errno(error, failure, "start the index workers") : 0;
}

int worker_pool_start(const struct worker_pool_options *options, struct worker_pool **pool,
                      struct error *error)
{
    struct worker_pool *fresh = memory_new(1, sizeof(*fresh));

    fresh->options = *options;
    config_consumer_group(options->config, fresh->group);
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->changed);
    pthread_mutex_init(&fresh->upload_lock, NULL);
    job_tracker_create(&fresh->tracker);
    build_memory_create(&fresh->memory, &options->config->build_memory_max_bytes, options->metrics);
    fresh->queue_depth = metrics_gauge(options->metrics, "windrow_index_queue_depth",
                                       "Jobs in the queue, waiting or under way", NULL, 0);
    fresh->queue_connected = metrics_gauge(options->metrics, "windrow_index_queue_connected",
                                           "Whether the queue of index jobs is reached, by NATS "
                                           "or in this process (1), or not (0)",
                                           NULL, 0);
    fresh->listener = (struct store_registry_listener){.leaving = on_leaving, .context = fresh};
    store_registry_listen(options->registry, &fresh->listener);
    if (options->build) {
        fresh->thread_count = options->thread_count ? options->thread_count : 1;
        if (start_threads(fresh, error) != 0) {
            worker_pool_stop(fresh);
            return error->code;
        }
    }
    *pool = fresh;
    return 0;
}

void worker_pool_set_address(struct worker_pool *pool, const char *address)
{
    struct worker_queue *queue = pool->options.queue;
    struct error error = {0};

    (void)snprintf(pool->address, sizeof(pool->address), "%s", address);
    if (queue->operations->answer &&
        queue->operations->answer(queue, worker_claim_job, pool, &error) != 0)
        log_warning("indexer", "builders elsewhere do not find this process: %s", error.text);
}

void worker_pool_describe(struct worker_pool *pool, uint32_t *threads, uint32_t *building,
                          uint64_t *memory_bytes)
{
    *threads = pool->thread_count;
    *building = atomic_load(&pool->building);
    *memory_bytes = build_memory_taken(&pool->memory);
}

uint32_t worker_pool_builds(struct worker_pool *pool, struct worker_build_info *builds,
                            uint32_t room)
{
    uint32_t count = 0;

    pthread_mutex_lock(&pool->lock);
    for (struct worker_task *task = pool->active; task && count < room; task = task->next) {
        const struct worker_job *job = &task->delivery->job;
        struct worker_build_info *info = &builds[count];
        info->rows = atomic_load(&task->progress.rows);
        info->rows_done = atomic_load(&task->progress.done);
        info->window_start_ms = job->window_start_ms;
        (void)snprintf(info->collection, sizeof(info->collection), "%s", job->collection);
        (void)snprintf(info->shard, sizeof(info->shard), "%s", job->shard);
        count += info->rows > 0;
    }
    pthread_mutex_unlock(&pool->lock);
    return count;
}

void worker_pool_quiesce(struct worker_pool *pool)
{
    struct worker_queue *queue;

    if (!pool)
        return;
    queue = pool->options.queue;
    if (queue->operations->answer)
        (void)queue->operations->answer(queue, NULL, NULL, ERROR_IGNORED);
    pthread_mutex_lock(&pool->lock);
    atomic_store(&pool->stopping, true);
    cancel(pool, NULL);
    pthread_cond_signal(&pool->changed);
    pthread_mutex_unlock(&pool->lock);
    if (!pool->monitor_runs)
        return;
    queue->operations->wake(queue);
    (void)pthread_join(pool->monitor, NULL);
    pool->monitor_runs = false;
    thread_pool_stop(pool->threads);
}

void worker_pool_stop(struct worker_pool *pool)
{
    if (!pool)
        return;
    worker_pool_quiesce(pool);
    store_registry_unlisten(pool->options.registry, &pool->listener);
    thread_pool_delete(pool->threads);
    worker_remote_close(pool);
    pthread_mutex_destroy(&pool->upload_lock);
    job_tracker_destroy(&pool->tracker);
    build_memory_destroy(&pool->memory);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
