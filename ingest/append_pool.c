#include "ingest/append_pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/thread.h"

struct append_pool {
    struct io *io;
    void (*wake)(void *context);
    void *context;
    pthread_mutex_t lock;
    pthread_cond_t work;             /* a job was queued, or the end has come */
    pthread_cond_t done;             /* a job is done */
    struct append_job *first, *last; /* queued */
    bool stop;
    atomic_bool asleep;          /* the consumer waits elsewhere */
    _Atomic uint64_t done_count; /* ever */
    uint64_t seen_count;         /* the consumer's: as of its last look */
    pthread_t threads[APPEND_THREADS];
    uint32_t thread_count;
};

static void run(struct append_pool *pool, struct append_job *job)
{
    job->error = (struct error){0};
    job->code = store_shard_append(job->shard, &job->group, &job->error);
    job->done_wall_ms = io_wall_ms(pool->io);
}

static void *work(void *context)
{
    struct append_pool *pool = context;

    pthread_mutex_lock(&pool->lock);
    while (!pool->stop) {
        struct append_job *job = pool->first;
        if (!job) {
            pthread_cond_wait(&pool->work, &pool->lock);
            continue;
        }
        pool->first = job->next;
        pthread_mutex_unlock(&pool->lock);
        run(pool, job);
        pthread_mutex_lock(&pool->lock);
        job->under_way = false;
        atomic_fetch_add(&pool->done_count, 1);
        pthread_cond_signal(&pool->done); /* only the consumer waits */
        /* Either it sees the count before it sleeps, or is seen here to sleep. */
        if (atomic_exchange(&pool->asleep, false))
            pool->wake(pool->context);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void append_pool_submit(struct append_pool *pool, struct append_job *job)
{
    pthread_mutex_lock(&pool->lock);
    assert(!job->under_way);
    job->under_way = true;
    job->next = NULL;
    if (pool->first)
        pool->last->next = job;
    else
        pool->first = job;
    pool->last = job;
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->lock);
}

bool append_pool_is_done(struct append_pool *pool, struct append_job *job)
{
    bool done;

    pthread_mutex_lock(&pool->lock);
    done = !job->under_way;
    pthread_mutex_unlock(&pool->lock);
    return done;
}

void append_pool_wait(struct append_pool *pool, struct append_job *job)
{
    pthread_mutex_lock(&pool->lock);
    while (job->under_way)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

void append_pool_wait_any(struct append_pool *pool, int64_t limit_ns)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += limit_ns;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->done_count) == pool->seen_count)
        if (pthread_cond_timedwait(&pool->done, &pool->lock, &until) != 0)
            break;
    pthread_mutex_unlock(&pool->lock);
}

bool append_pool_news(struct append_pool *pool)
{
    uint64_t count = atomic_load(&pool->done_count);
    bool news = count != pool->seen_count;

    pool->seen_count = count;
    return news;
}

bool append_pool_may_sleep(struct append_pool *pool, bool sleeps)
{
    atomic_store(&pool->asleep, sleeps);
    return atomic_load(&pool->done_count) == pool->seen_count;
}

int append_pool_new(struct io *io, void (*wake)(void *context), void *context,
                    struct append_pool **pool, struct error *error)
{
    struct append_pool *fresh = calloc(1, sizeof(*fresh));
    pthread_condattr_t attributes;

    if (!fresh)
        abort();
    fresh->io = io;
    fresh->wake = wake;
    fresh->context = context;
    pthread_mutex_init(&fresh->lock, NULL);
    pthread_cond_init(&fresh->work, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&fresh->done, &attributes);
    pthread_condattr_destroy(&attributes);
    for (; fresh->thread_count < APPEND_THREADS; fresh->thread_count++) {
        int code = thread_start(&fresh->threads[fresh->thread_count], "append", work, fresh);
        if (code != 0) {
            append_pool_delete(fresh);
            return error_set_errno(error, code, "ingest: start an appending thread");
        }
    }
    *pool = fresh;
    return 0;
}

void append_pool_delete(struct append_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    assert(!pool->first);
    pool->stop = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
