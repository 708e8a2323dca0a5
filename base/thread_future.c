#include "base/thread_future.h"

#include <assert.h>

static void run_future(struct thread_task *task, uint32_t thread)
{
    struct thread_future *future = (struct thread_future *)task;

    (void)thread;
    future->run(future);
    atomic_store(&future->done, true); /* the owner may free it from here on */
}

void thread_future_start(struct thread_future *future, struct thread_pool *pool,
                         void (*run)(struct thread_future *future))
{
    assert(!future->started);
    future->task.run = run_future;
    future->run = run;
    future->started = true;
    atomic_store(&future->done, false);
    future->pool = pool && thread_pool_submit(pool, &future->task) ? pool : NULL;
}

/* Returns whether no thread has begun it, and none will. */
static bool take_back(struct thread_future *future)
{
    future->started = false;
    return !future->pool || thread_pool_unqueue(future->pool, &future->task);
}

/* The flag is set before the count grows: whoever misses the flag sees the count change. */
static void wait_until_done(const struct thread_future *future)
{
    uint64_t seen = thread_pool_completed(future->pool);

    while (!atomic_load(&future->done)) {
        (void)thread_pool_wait_completed(future->pool, seen, -1);
        seen = thread_pool_completed(future->pool);
    }
}

void thread_future_wait(struct thread_future *future)
{
    assert(future->started);
    if (take_back(future))
        future->run(future);
    else
        wait_until_done(future);
}

void thread_future_cancel(struct thread_future *future)
{
    if (future->started && !take_back(future))
        wait_until_done(future);
}
