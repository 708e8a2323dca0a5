#include "indexer/http/executors.h"

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/thread.h"

enum {
    RUNNING_MIN = 4,
    RUNNING_MAX = 64,
    WAITING_MAX = 192,
    THREADS_MAX = RUNNING_MAX + WAITING_MAX,
    QUEUE_MAX = 256
};

struct executors {
    executors_run_function run;
    pthread_mutex_t lock; /* guards all below but `cancelled` */
    pthread_cond_t wake;
    struct executors_job *first, *last;
    size_t queued;
    unsigned running_max; /* jobs that may compute at a time */
    unsigned running;     /* jobs on a thread, waiting ones too */
    unsigned waiting;     /* of them, those between wait_begin and wait_end */
    unsigned idle;        /* threads without a job */
    unsigned thread_count;
    bool stopping;
    atomic_bool cancelled;
    pthread_t threads[THREADS_MAX];
};

static unsigned running_max(void)
{
    long count = 2 * sysconf(_SC_NPROCESSORS_ONLN);

    if (count < RUNNING_MIN)
        count = RUNNING_MIN;
    return (unsigned)(count > RUNNING_MAX ? RUNNING_MAX : count);
}

struct executors *executors_new(executors_run_function run)
{
    struct executors *executors = calloc(1, sizeof(*executors));

    if (!executors)
        abort();
    executors->run = run;
    executors->running_max = running_max();
    pthread_mutex_init(&executors->lock, NULL);
    pthread_cond_init(&executors->wake, NULL);
    return executors;
}

/* Under the lock. A job that wakes up from its wait runs at once, so for a moment there may be more
 * of them than running_max. */
static bool may_run(const struct executors *executors)
{
    assert(executors->waiting <= executors->running);
    return executors->first && executors->running - executors->waiting < executors->running_max;
}

static struct executors_job *take(struct executors *executors)
{
    struct executors_job *job = executors->first;

    executors->first = job->next;
    if (!executors->first)
        executors->last = NULL;
    executors->queued--;
    return job;
}

static void *thread_loop(void *context)
{
    struct executors *executors = context;

    pthread_mutex_lock(&executors->lock);
    for (;;) {
        struct executors_job *job;
        if (!may_run(executors)) {
            /* With jobs left while stopping, the threads that run are enough to finish them. */
            if (executors->stopping)
                break;
            executors->idle++;
            pthread_cond_wait(&executors->wake, &executors->lock);
            executors->idle--;
            continue;
        }
        job = take(executors);
        executors->running++;
        pthread_mutex_unlock(&executors->lock);
        executors->run(job); /* the job is gone after this */
        pthread_mutex_lock(&executors->lock);
        executors->running--;
    }
    pthread_mutex_unlock(&executors->lock);
    return NULL;
}

/* Under the lock: somebody may take a job now. An idle thread that was woken for another job still
 * counts as idle, hence the comparison with the whole queue. */
static void wake_one(struct executors *executors)
{
    if (!may_run(executors))
        return;
    if (executors->idle >= executors->queued || executors->thread_count == THREADS_MAX) {
        pthread_cond_signal(&executors->wake);
        return;
    }
    if (thread_start(&executors->threads[executors->thread_count], "http", thread_loop,
                     executors) == 0)
        executors->thread_count++;
    else if (executors->thread_count == 0)
        abort(); /* not one thread: the process cannot work */
    else
        pthread_cond_signal(&executors->wake);
}

bool executors_submit(struct executors *executors, struct executors_job *job,
                      void (*accepted)(struct executors_job *job))
{
    bool is_accepted;

    pthread_mutex_lock(&executors->lock);
    is_accepted = !executors->stopping && executors->queued < QUEUE_MAX;
    if (is_accepted) {
        accepted(job);
        job->next = NULL;
        if (executors->last)
            executors->last->next = job;
        else
            executors->first = job;
        executors->last = job;
        executors->queued++;
        wake_one(executors);
    }
    pthread_mutex_unlock(&executors->lock);
    return is_accepted;
}

bool executors_wait_begin(struct executors *executors)
{
    bool may_wait;

    pthread_mutex_lock(&executors->lock);
    may_wait = executors->waiting < WAITING_MAX;
    if (may_wait) {
        executors->waiting++;
        if (!executors->stopping)
            wake_one(executors);
    }
    pthread_mutex_unlock(&executors->lock);
    return may_wait;
}

void executors_wait_end(struct executors *executors)
{
    pthread_mutex_lock(&executors->lock);
    assert(executors->waiting > 0);
    executors->waiting--;
    pthread_mutex_unlock(&executors->lock);
}

const atomic_bool *executors_cancelled(const struct executors *executors)
{
    return &executors->cancelled;
}

void executors_stop(struct executors *executors)
{
    atomic_store(&executors->cancelled, true);
    pthread_mutex_lock(&executors->lock);
    executors->stopping = true;
    pthread_cond_broadcast(&executors->wake);
    pthread_mutex_unlock(&executors->lock);
    /* No thread is made any more, so thread_count stands still. */
    for (unsigned i = 0; i < executors->thread_count; i++)
        pthread_join(executors->threads[i], NULL);
    executors->thread_count = 0;
    assert(!executors->first && executors->running == 0);
}

void executors_delete(struct executors *executors)
{
    if (!executors)
        return;
    pthread_cond_destroy(&executors->wake);
    pthread_mutex_destroy(&executors->lock);
    free(executors);
}
