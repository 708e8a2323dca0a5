#include "ingest/append_pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/memory.h"
#include "base/thread_pool.h"
#include "store/append.h"

struct append_pool {
    struct io *io;
    void (*wake)(void *context);
    void *context;
    struct thread_pool *threads;
    pthread_mutex_t lock; /* held while a job becomes done and the consumer is woken for it */
    atomic_bool asleep;   /* the consumer waits elsewhere */
    _Atomic uint64_t done_count; /* ever */
    uint64_t seen_count;         /* the consumer's: as of its last look */
};

static void run(struct thread_task *task, uint32_t thread)
{
    struct append_job *job = (struct append_job *)task;
    struct append_pool *pool = job->pool;

    (void)thread;
    job->error = (struct error){0};
    job->code = store_shard_append(job->shard, &job->group, &job->error);
    job->done_wall_ms = io_wall_ms(pool->io);
    pthread_mutex_lock(&pool->lock);
    job->under_way = false;
    atomic_fetch_add(&pool->done_count, 1);
    /* Either it sees the count before it sleeps, or is seen here to sleep. */
    if (atomic_exchange(&pool->asleep, false))
        pool->wake(pool->context);
    pthread_mutex_unlock(&pool->lock);
}

void append_pool_submit(struct append_pool *pool, struct append_job *job)
{
    assert(!job->under_way);
    job->task.run = run;
    job->pool = pool;
    job->under_way = true;
    if (!thread_pool_submit(pool->threads, &job->task))
        abort(); /* there is no limit, and nobody submits to a pool that is deleted */
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
    for (;;) {
        uint64_t seen = thread_pool_completed(pool->threads);
        if (append_pool_is_done(pool, job))
            return;
        (void)thread_pool_wait_completed(pool->threads, seen, -1);
    }
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

struct append_pool *append_pool_new(struct io *io, void (*wake)(void *context), void *context)
{
    struct append_pool *pool = memory_new(1, sizeof(*pool));

    pool->io = io;
    pool->wake = wake;
    pool->context = context;
    pthread_mutex_init(&pool->lock, NULL);
    pool->threads = thread_pool_new(&(struct thread_pool_options){
        .name = "append", .class = THREAD_BLOCKING, .threads_max = APPEND_THREADS});
    return pool;
}

void append_pool_delete(struct append_pool *pool)
{
    if (!pool)
        return;
    thread_pool_delete(pool->threads);
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}
