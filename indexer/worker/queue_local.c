/* The queue inside the process.
 *
 * A list of jobs in the order of their publication. A job is waiting (perhaps until a time), or
 * handed out. It leaves the list when it is acknowledged or passed on, or after its last attempt,
 * which is logged and counted: there is no dead-letter subject to look at. An id is in the list at
 * most once. No acknowledgement timer runs, because a worker of this process that is gone has taken
 * the queue with it. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "indexer/worker/queue.h"
#include "indexer/worker/worker.h"

struct local_job {
    struct worker_delivery delivery; /* first: what a worker holds */
    struct local_job *next;
    char id[WORKER_JOB_ID_BYTES];
    int64_t due_ns;
    bool handed_out;
};

struct local_queue {
    struct worker_queue queue; /* first */
    struct metrics *metrics;
    pthread_mutex_t lock;
    pthread_cond_t published; /* on the monotonic clock */
    struct local_job *jobs;   /* in order of publication */
    size_t job_count;
};

static int64_t now_ns(void)
{
    return io_monotonic_ns(io_posix());
}

static int local_publish(struct worker_queue *base, const struct worker_job *job,
                         struct error *error)
{
    struct local_queue *queue = (struct local_queue *)base;
    struct local_job *fresh = memory_new(1, sizeof(*fresh));
    struct local_job **end;

    (void)error;
    fresh->delivery.queue = base;
    fresh->delivery.job = *job;
    worker_job_id(job, fresh->id, sizeof(fresh->id));
    pthread_mutex_lock(&queue->lock);
    for (end = &queue->jobs; *end; end = &(*end)->next)
        if (strcmp((*end)->id, fresh->id) == 0)
            break;
    if (*end) {
        free(fresh); /* queued or under way already */
    } else {
        *end = fresh;
        queue->job_count++;
        pthread_cond_signal(&queue->published);
    }
    pthread_mutex_unlock(&queue->lock);
    return 0;
}

/* The first job that is due, or NULL and in *wake_ns when to look again. Under the lock. */
static struct local_job *next_due(struct local_queue *queue, int64_t *wake_ns)
{
    int64_t now = now_ns();

    for (struct local_job *job = queue->jobs; job; job = job->next) {
        if (job->handed_out)
            continue;
        if (job->due_ns <= now)
            return job;
        if (job->due_ns < *wake_ns)
            *wake_ns = job->due_ns;
    }
    return NULL;
}

static int local_fetch(struct worker_queue *base, int timeout_ms, const atomic_bool *stop,
                       struct worker_delivery **delivery, struct error *error)
{
    struct local_queue *queue = (struct local_queue *)base;
    int64_t deadline_ns = now_ns() + timeout_ms * INT64_C(1000000);
    struct local_job *job;

    pthread_mutex_lock(&queue->lock);
    for (;;) {
        int64_t wake_ns = deadline_ns;
        job = stop && atomic_load(stop) ? NULL : next_due(queue, &wake_ns);
        if (job || (stop && atomic_load(stop)) || now_ns() >= deadline_ns)
            break;
        (void)thread_condition_wait(&queue->published, &queue->lock, wake_ns);
    }
    if (job) {
        job->handed_out = true;
        job->delivery.attempt++;
        *delivery = &job->delivery;
    }
    pthread_mutex_unlock(&queue->lock);
    return job ? 0 : error_set(error, ERROR_TIMEOUT, "no job");
}

static void local_wake(struct worker_queue *base)
{
    struct local_queue *queue = (struct local_queue *)base;

    pthread_mutex_lock(&queue->lock);
    pthread_cond_broadcast(&queue->published);
    pthread_mutex_unlock(&queue->lock);
}

/* Takes a job that is handed out off the list. */
static void forget(struct local_job *job)
{
    struct local_queue *queue = (struct local_queue *)job->delivery.queue;
    struct local_job **place;

    pthread_mutex_lock(&queue->lock);
    for (place = &queue->jobs; *place != job; place = &(*place)->next)
        ;
    *place = job->next;
    queue->job_count--;
    pthread_mutex_unlock(&queue->lock);
    free(job);
}

static int local_ack(struct worker_delivery *delivery, struct error *error)
{
    (void)error;
    forget((struct local_job *)delivery);
    return 0;
}

static int local_retry(struct worker_delivery *delivery, int64_t delay_ms, const char *why,
                       struct error *error)
{
    struct local_job *job = (struct local_job *)delivery;
    struct local_queue *queue = (struct local_queue *)delivery->queue;

    (void)error;
    if (delivery->attempt >= WORKER_ATTEMPTS_MAX) {
        logger_write_event(LOGGER_ERROR, "indexer", "build_given_up",
                           "giving up on %s after %u attempts: %s", job->id, delivery->attempt,
                           why);
        metric_add(worker_queue_dead(queue->metrics, delivery->job.collection), 1);
        forget(job);
        return 0;
    }
    pthread_mutex_lock(&queue->lock);
    job->due_ns = now_ns() + delay_ms * INT64_C(1000000);
    job->handed_out = false;
    pthread_cond_signal(&queue->published);
    pthread_mutex_unlock(&queue->lock);
    return 0;
}

/* The shard is not open here, and there is nobody else: its reconciliation starts over when it is
 * opened again. */
static int local_pass(struct worker_delivery *delivery, struct error *error)
{
    return local_ack(delivery, error);
}

static int local_in_progress(struct worker_delivery *delivery, struct error *error)
{
    (void)delivery;
    (void)error;
    return 0;
}

static int64_t local_depth(struct worker_queue *base)
{
    struct local_queue *queue = (struct local_queue *)base;
    int64_t depth;

    pthread_mutex_lock(&queue->lock);
    depth = (int64_t)queue->job_count;
    pthread_mutex_unlock(&queue->lock);
    return depth;
}

static bool local_connected(struct worker_queue *base, char *why, size_t why_bytes)
{
    (void)base;
    (void)why;
    (void)why_bytes;
    return true;
}

static void local_close(struct worker_queue *base)
{
    struct local_queue *queue = (struct local_queue *)base;

    while (queue->jobs) {
        struct local_job *next = queue->jobs->next;
        free(queue->jobs);
        queue->jobs = next;
    }
    pthread_cond_destroy(&queue->published);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static const struct worker_queue_operations local_operations = {
    .publish = local_publish,
    .fetch = local_fetch,
    .wake = local_wake,
    .ack = local_ack,
    .retry = local_retry,
    .pass = local_pass,
    .in_progress = local_in_progress,
    .depth = local_depth,
    .connected = local_connected,
    .close = local_close,
};

int worker_queue_local(struct metrics *metrics, struct worker_queue **queue, struct error *error)
{
    struct local_queue *fresh = memory_new(1, sizeof(*fresh));

    (void)error;
    fresh->queue.operations = &local_operations;
    fresh->metrics = metrics;
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->published);
    *queue = &fresh->queue;
    return 0;
}
