/* thread_future: a result that somebody will need. Work for a pool, or for whoever waits for it if no thread has begun
 * it by then, so it never waits in a queue behind other work. */
#ifndef BASE_THREAD_FUTURE_H
#define BASE_THREAD_FUTURE_H

#include "base/thread_pool.h"

/* It lies inside what it belongs to, zeroed before the first start; it may be started again after a wait. */
struct thread_future {
    struct thread_task task;
    struct thread_pool *pool; /* where it is queued; NULL: nowhere */
    void (*run)(struct thread_future *future);
    bool started; /* and not waited for; the owner's */
    atomic_bool done;
};

/** Hands it to the pool. `pool` NULL, or full: it runs inside thread_future_wait. */
void thread_future_start(struct thread_future *future, struct thread_pool *pool,
                         void (*run)(struct thread_future *future));
/** Returns when it has run, once for each start. */
void thread_future_wait(struct thread_future *future);
/** Returns when it has run or will not run. Does nothing when it was not started. */
void thread_future_cancel(struct thread_future *future);

#endif
