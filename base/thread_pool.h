/* thread_pool: the one implementation of worker threads.
 *
 * Happy path. A pool has a queue of tasks and makes its threads when they are first needed.
 *
 *     thread_pool_submit -> queue -> a thread calls task->run(task, thread) -> completed + 1
 *
 * A loop (thread_team_for) is cut into pieces. The caller works on the pieces itself, idle threads
 * of the pool join it, and the caller waits only for threads that have joined. So a loop may be
 * called from a task of the same pool, and a busy pool only costs its help. Threads look for open
 * loops first: somebody waits for those.
 *
 * Priorities. All pools of a process share one budget of processors. A class is search (ingestion
 * too), flush, compaction or build; THREAD_BLOCKING is for tasks that mostly wait for a device and
 * is not counted. A pool may always run `threads_min` tasks, so that nothing starves. Beyond that,
 * up to `threads_max`, it starts a task only while its own class and the classes above it leave a
 * processor free. A task that has begun is never stopped; `nice` makes the kernel prefer others.
 * Search pools never wait for the budget.
 *
 * Waiting. A task that waits for somebody else (an offset, an acknowledgement) calls
 * thread_pool_wait_begin and thread_pool_wait_end around it. Its place and its processor go to
 * another task meanwhile, on another thread: a pool has up to threads_max + waiting_max threads.
 *
 * Lanes. A queue may have lanes, one for each of those who send tasks. Tasks of a lane are taken in
 * order, lanes take turns, and each has a limit of its own, so that no sender keeps others waiting.
 * A task that has run for long may step aside (thread_pool_step_aside): it goes on, but its place is
 * free for another one.
 *
 * Locking. One mutex for each pool guards its queue, its loops and its counts. The budget's counts
 * are atomic. The budget's mutex guards its list of pools; it may be held when a pool's mutex is
 * taken, never the other way round. The same holds for the mutex of the list of all pools. A pool that is refused by the budget first says so (`starved`),
 * then asks again; whoever gives a processor back first gives it back, then looks for starved
 * pools. One of the two sees the other, so no pool sleeps on a free processor. */
#ifndef BASE_THREAD_POOL_H
#define BASE_THREAD_POOL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Highest priority first. */
enum thread_class {
    THREAD_SEARCH, /* searches and ingestion */
    THREAD_FLUSH,
    THREAD_COMPACTION,
    THREAD_BUILD,
    THREAD_BLOCKING, /* outside the budget */
};

/** Sets the processors of this process; 0: as many as it may run on. Call it before the first pool
 * is made; without a call the budget is what 0 gives. */
void thread_budget_set(uint32_t processors);
/** At least 1. Sizes of pools derive from it. */
uint32_t thread_budget_processors(void);

/* One piece of work. It lies inside what it belongs to. */
struct thread_task {
    struct thread_task *next; /* in the queue */
    uint32_t lane;            /* below the pool's `lanes` */
    uint32_t place;           /* how many of its lane were queued when it came; the pool's */
    int64_t queued_ns;        /* when it was submitted; the pool's */
    /* `thread` is below thread_pool_thread_limit: an index for scratch memory. The pool does not
     * touch the task once `run` was called: `run` may free it, or set a flag as its last act. */
    void (*run)(struct thread_task *task, uint32_t thread);
};

enum { THREAD_LANES_MAX = 64 };

struct thread_pool_options {
    const char *name; /* of the threads, 15 bytes at most; NULL: the creator's */
    enum thread_class class;
    uint32_t threads_min;    /* run at any time; 0: 1. Search and blocking pools: threads_max */
    uint32_t threads_max;    /* compute at a time; 0: thread_budget_processors() */
    uint32_t waiting_max;    /* tasks between wait_begin and wait_end */
    uint32_t queue_max;      /* submit refuses when so many are queued; 0: no limit */
    uint32_t lanes;          /* at most THREAD_LANES_MAX; 0: 1 */
    uint32_t lane_queue_max; /* of one lane; 0: no limit */
    uint32_t
        lane_running_max; /* tasks of one lane that run, waiting ones not counted; 0: no limit */
    uint32_t aside_max;   /* tasks that have stepped aside */
    int nice;             /* of the threads; 0: the creator's */
    /* Called for each accepted task before any thread can see it, under the pool's lock; or NULL.
     */
    void (*on_accept)(struct thread_task *task);
};

struct thread_pool;

struct thread_pool *thread_pool_new(const struct thread_pool_options *options);
/** Stops the pool first. NULL is allowed. */
void thread_pool_delete(struct thread_pool *pool);

/** False when the queue is full or the pool stops; the task is then the caller's. Any thread. */
bool thread_pool_submit(struct thread_pool *pool, struct thread_task *task);

/** How long a task that comes now is expected to wait: what tasks of its lane waited lately for each
 * place in the queue, times its place. 0 when none of the lane is queued: that one finds out. */
int64_t thread_pool_wait_ns(struct thread_pool *pool, uint32_t lane);

/** Takes `task` (NULL: the first one) out of the queue, for the caller to run or to drop. NULL when
 * it is not queued: a thread has it, or had it. */
struct thread_task *thread_pool_unqueue(struct thread_pool *pool, struct thread_task *task);

/** How many tasks threads of the pool have finished since it was made. */
uint64_t thread_pool_completed(const struct thread_pool *pool);
/** Waits until thread_pool_completed differs from `seen`, for `limit_ns` at most (-1: no limit).
 * Returns whether it does. To wait for a task of your own: read the count, look whether the task is
 * done, wait for the next count. */
bool thread_pool_wait_completed(struct thread_pool *pool, uint64_t seen, int64_t limit_ns);

/** Called by a task that waits for something from now on. False when too many wait already: it must
 * not wait then, and not call wait_end. */
bool thread_pool_wait_begin(struct thread_pool *pool);
/** The task goes on at once, so for a moment more than threads_max may compute. */
void thread_pool_wait_end(struct thread_pool *pool);

/** The calling thread, which is none of a pool's, becomes a guest: it takes a place of the pool for a task that it runs
 * itself, without a hand-over. Only in search pools. False, and nothing has changed: tasks are queued, whose turn it
 * is first, or no place is free, or the lane has its share, or the pool stops. */
bool thread_pool_enter(struct thread_pool *pool, uint32_t lane);
/** The guest's task is done. A guest cannot wait: thread_pool_wait_begin refuses. */
void thread_pool_leave(struct thread_pool *pool);

/** Called by a thread of a pool that works for long: if tasks are queued, one of them may run
 * beside it. Does nothing on other threads, while the task waits, the second time, and when too many
 * did so. */
void thread_pool_step_aside(void);

/* All pools of one name since the process began, those that were deleted too. */
struct thread_pool_usage {
    const char *name;
    uint64_t tasks;       /* begun */
    double queue_seconds; /* that those had waited for a thread */
    uint32_t queued, running;
};

enum { THREAD_POOLS_MAX = 16 }; /* names; pools without a name and further names are not counted */

/** Fills `out` and returns how many names there are. Any thread. */
uint32_t thread_pool_usage_list(struct thread_pool_usage out[THREAD_POOLS_MAX]);

/* Who works on the loops of one caller. */
struct thread_team {
    struct thread_pool *pool;  /* whose idle threads join; NULL: the caller works alone */
    uint32_t threads;          /* take part at most, the caller among them; 0: no limit */
    const atomic_bool *cancel; /* true: no further piece is begun; may be NULL */
};

/** A team with a pool of its own, for work of a class in many loops; `threads` must not be 0. The
 * pool's threads have the name and the nice value of the thread that calls the first loop. */
void thread_team_create(struct thread_team *team, enum thread_class class, uint32_t threads,
                        const atomic_bool *cancel);
void thread_team_destroy(struct thread_team *team);

bool thread_team_cancelled(const struct thread_team *team);

/* Works on [first, end). `thread` is below team->threads (no limit: at most
 * thread_pool_thread_limit): an index for scratch memory; the caller has 0. */
typedef void (*thread_loop_function)(void *context, uint32_t thread, uint32_t first, uint32_t end);

/** Calls `function` for [0, count) in pieces of `grain`, in about that order, and returns when all
 * are done: true, or false when *team->cancel became true. Any thread. */
bool thread_team_for(const struct thread_team *team, uint32_t count, uint32_t grain,
                     thread_loop_function function, void *context);

/** Threads that the pool ever has at most. */
uint32_t thread_pool_thread_limit(const struct thread_pool *pool);

/** Refuses new tasks, runs what is queued and returns when all threads have ended. */
void thread_pool_stop(struct thread_pool *pool);

#endif
