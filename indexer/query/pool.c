/* The caller of a job works on it itself and never waits for a helper to begin: helpers take tasks
 * as long as there are some, and only those that took one are waited for. */
#include "indexer/query/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/thread.h"

/* Waking a helper costs tens of microseconds; so much work takes a tenth of a millisecond or more.
 */
static const uint64_t THRESHOLD = 2000000;

struct pool_job {
    struct pool_job *next;
    atomic_size_t taken;
    size_t count;
    pool_task_function function;
    void *context;
    uint32_t helpers; /* at work on it; under the pool's lock */
};

struct query_pool {
    pthread_mutex_t lock;
    pthread_cond_t work; /* a job came, or the end */
    pthread_cond_t done; /* a helper left its job */
    struct pool_job *jobs;
    bool ending;
    uint64_t threshold;
    uint32_t thread_count;
    pthread_t threads[];
};

static void job_work(struct pool_job *job)
{
    for (size_t task; (task = atomic_fetch_add(&job->taken, 1)) < job->count;)
        job->function(job->context, task);
}

static struct pool_job *open_job(const struct query_pool *pool)
{
    for (struct pool_job *job = pool->jobs; job; job = job->next)
        if (atomic_load(&job->taken) < job->count)
            return job;
    return NULL;
}

static void *helper_run(void *context)
{
    struct query_pool *pool = context;

    (void)pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct pool_job *job = open_job(pool);
        if (job) {
            job->helpers++;
            (void)pthread_mutex_unlock(&pool->lock);
            job_work(job);
            (void)pthread_mutex_lock(&pool->lock);
            if (--job->helpers == 0)
                (void)pthread_cond_broadcast(&pool->done);
        } else if (pool->ending) {
            break;
        } else {
            (void)pthread_cond_wait(&pool->work, &pool->lock);
        }
    }
    (void)pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct query_pool *query_pool_new(uint32_t thread_count)
{
    struct query_pool *pool;

    if (thread_count == 0)
        return NULL;
    pool = calloc(1, sizeof(*pool) + thread_count * sizeof(pool->threads[0]));
    if (!pool || pthread_mutex_init(&pool->lock, NULL) || pthread_cond_init(&pool->work, NULL) ||
        pthread_cond_init(&pool->done, NULL))
        abort();
    pool->threshold = THRESHOLD;
    /* Fewer threads than asked for are fewer helpers, nothing worse. */
    while (pool->thread_count < thread_count &&
           thread_start(&pool->threads[pool->thread_count], "query", helper_run, pool) == 0)
        pool->thread_count++;
    return pool;
}

void query_pool_delete(struct query_pool *pool)
{
    if (!pool)
        return;
    (void)pthread_mutex_lock(&pool->lock);
    assert(!pool->jobs);
    pool->ending = true;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        (void)pthread_join(pool->threads[i], NULL);
    (void)pthread_cond_destroy(&pool->work);
    (void)pthread_cond_destroy(&pool->done);
    (void)pthread_mutex_destroy(&pool->lock);
    free(pool);
}

void query_pool_run(struct query_pool *pool, size_t count, pool_task_function function,
                    void *context)
{
    struct pool_job job = {.count = count, .function = function, .context = context};
    struct pool_job **place;

    if (!pool || count < 2) {
        job_work(&job);
        return;
    }
    (void)pthread_mutex_lock(&pool->lock);
    job.next = pool->jobs;
    pool->jobs = &job;
    (void)pthread_cond_broadcast(&pool->work);
    (void)pthread_mutex_unlock(&pool->lock);
    job_work(&job);
    (void)pthread_mutex_lock(&pool->lock);
    for (place = &pool->jobs; *place != &job; place = &(*place)->next)
        ;
    *place = job.next;
    while (job.helpers > 0)
        (void)pthread_cond_wait(&pool->done, &pool->lock);
    (void)pthread_mutex_unlock(&pool->lock);
}

uint64_t query_pool_threshold(const struct query_pool *pool)
{
    return pool->threshold;
}

void query_pool_set_threshold(struct query_pool *pool, uint64_t threshold)
{
    pool->threshold = threshold;
}
