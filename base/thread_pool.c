#include "base/thread_pool.h"

#include <assert.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/memory.h"
#include "base/thread.h"

enum { PLACES_MEAN = 8 }; /* tasks, about, whose waits make lane.place_ns */

/* A loop under way; on its caller's stack. */
struct open_loop {
    struct open_loop *next;
    const struct thread_team *team;
    thread_loop_function function;
    void *context;
    uint32_t count, grain;
    uint32_t threads;            /* of use at most */
    atomic_uint_least64_t taken; /* first index that nobody has taken */
    uint32_t joined;             /* ever, the caller among them; under the pool's lock */
    uint32_t helpers;            /* at work on it now; under the pool's lock */
    pthread_cond_t left;         /* the last helper left */
};

struct pool_thread {
    struct thread_pool *pool;
    uint32_t index;
    pthread_t handle;
    struct lane *lane; /* of its task; NULL: none. Under the pool's lock */
    bool aside, waits; /* the same */
};

/* Tasks of one sender. */
struct lane {
    struct thread_task *first; /* queued */
    struct thread_task *last;  /* valid while `first` is set */
    uint32_t queued, running;
    int64_t place_ns; /* that tasks waited for each place in the queue, a moving mean */
};

static _Thread_local struct pool_thread *self; /* NULL: no thread of a pool, and no guest */
static _Thread_local struct pool_thread guest; /* `self` between enter and leave */

struct thread_pool {
    struct thread_pool_options options; /* with limits filled in */
    struct thread_pool *next_known;     /* under known.lock */
    struct thread_pool *next_of_budget; /* under the budget's lock */
    atomic_bool starved;                /* has work that the budget refused */
    _Atomic uint64_t completed;         /* changes under `lock` */
    _Atomic uint32_t senders;           /* threads that send signals, holding no lock */

    pthread_mutex_t lock;        /* guards all below */
    pthread_cond_t work;         /* a task or a loop came, or the end */
    pthread_cond_t done;         /* `completed` grew, or the last guest left */
    uint32_t completion_waiters; /* threads that sleep on `done` */
    struct lane *lanes;
    uint64_t lanes_queued;   /* a bit for each lane that has queued tasks */
    uint64_t lanes_full;     /* for each that runs as many tasks as it may */
    uint32_t turn;           /* the lane that was served last */
    uint32_t queued;         /* tasks */
    uint64_t begun;          /* tasks, ever */
    int64_t queue_ns;        /* that those waited for a thread, together */
    struct open_loop *loops; /* newest first */
    uint32_t running;        /* threads with a task or in a loop, waiting tasks too */
    uint32_t waiting;        /* of them, those between wait_begin and wait_end */
    uint32_t aside;          /* of them, those that stepped aside; none of these waits */
    uint32_t guests;         /* of those that run, threads that are not the pool's */
    uint32_t idle;           /* threads that sleep on `work` */
    uint32_t woken;          /* of them, those that a signal is on its way to */
    uint32_t unsent;         /* of those signals, the ones that pool_unlock sends */
    bool stopping;
    uint32_t thread_count;
    uint32_t thread_limit;
    struct pool_thread threads[];
};

/* The processors of the process. */
static struct {
    _Atomic uint32_t processors; /* 0: not looked up yet */
    _Atomic uint32_t running[THREAD_BLOCKING];
    _Atomic uint32_t starved; /* pools with `starved` set */
    pthread_mutex_t lock;
    struct thread_pool *pools; /* those that may be refused; under `lock` */
} budget = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Pools with a name, for thread_pool_usage_list. */
static struct {
    pthread_mutex_t lock;
    struct thread_pool *pools;
    struct thread_pool_usage gone[THREAD_POOLS_MAX]; /* what deleted pools counted, by name */
    uint32_t count;
} known = {.lock = PTHREAD_MUTEX_INITIALIZER};

void thread_budget_set(uint32_t processors)
{
    cpu_set_t usable;

    if (processors == 0 && sched_getaffinity(0, sizeof(usable), &usable) == 0)
        processors = (uint32_t)CPU_COUNT(&usable);
    atomic_store(&budget.processors, processors ? processors : 1);
}

uint32_t thread_budget_processors(void)
{
    if (atomic_load(&budget.processors) == 0)
        thread_budget_set(0);
    return atomic_load(&budget.processors);
}

static bool budget_has_room(enum thread_class class)
{
    uint32_t running = 0;

    for (int higher = 0; higher <= (int)class; higher++)
        running += atomic_load(&budget.running[higher]);
    return running < thread_budget_processors();
}

static void budget_take(const struct thread_pool *pool)
{
    if (pool->options.class != THREAD_BLOCKING)
        atomic_fetch_add(&budget.running[pool->options.class], 1);
}

/* Returns whether some pool may wait for what was given back: the caller then calls
 * wake_starved_pools once it holds no lock. */
static bool budget_give_back(const struct thread_pool *pool)
{
    if (pool->options.class == THREAD_BLOCKING)
        return false;
    atomic_fetch_sub(&budget.running[pool->options.class], 1);
    return atomic_load(&budget.starved) > 0;
}

/* Lets the lock go and sends the signals that `wake` counted. A thread that is woken under the lock
 * runs at once on a busy machine, finds the lock taken and sleeps again: a third of the switches of
 * a server under small searches were that. */
static void pool_unlock(struct thread_pool *pool)
{
    uint32_t unsent = pool->unsent;

    pool->unsent = 0;
    if (unsent > 0)
        atomic_fetch_add(&pool->senders, 1);
    pthread_mutex_unlock(&pool->lock);
    if (unsent == 0)
        return;
    while (unsent-- > 0)
        pthread_cond_signal(&pool->work);
    atomic_fetch_sub(&pool->senders, 1);
}

/* Under the pool's lock. */
static void set_starved(struct thread_pool *pool, bool starved)
{
    if (atomic_load(&pool->starved) == starved)
        return;
    atomic_store(&pool->starved, starved);
    if (starved)
        atomic_fetch_add(&budget.starved, 1);
    else
        atomic_fetch_sub(&budget.starved, 1);
}

/* Under the pool's lock: threads that hold a place. */
static uint32_t places_taken(const struct thread_pool *pool)
{
    assert(pool->waiting + pool->aside <= pool->running);
    return pool->running - pool->waiting - pool->aside;
}

/* Under the pool's lock: lanes whose first task may begin. */
static uint64_t lanes_ready(const struct thread_pool *pool)
{
    return pool->lanes_queued & ~pool->lanes_full;
}

/* Under the pool's lock: a task of the lane begins or goes on (1), ends or waits (-1). */
static void lane_count(struct thread_pool *pool, struct lane *lane, int change)
{
    uint64_t bit = UINT64_C(1) << (lane - pool->lanes);
    uint32_t most = pool->options.lane_running_max;

    lane->running += (uint32_t)change;
    if (most > 0 && lane->running >= most)
        pool->lanes_full |= bit;
    else
        pool->lanes_full &= ~bit;
}

/* Under the pool's lock. */
static bool budget_allows(struct thread_pool *pool)
{
    if (places_taken(pool) < pool->options.threads_min || pool->stopping ||
        budget_has_room(pool->options.class)) {
        set_starved(pool, false);
        return true;
    }
    set_starved(pool, true);
    if (!budget_has_room(pool->options.class))
        return false;
    set_starved(pool, false);
    return true;
}

bool thread_team_cancelled(const struct thread_team *team)
{
    return team->cancel && atomic_load_explicit(team->cancel, memory_order_relaxed);
}

/* Under the pool's lock: a loop that has use for one more thread. */
static struct open_loop *find_loop(const struct thread_pool *pool)
{
    for (struct open_loop *open = pool->loops; open; open = open->next)
        if (open->joined < open->threads && atomic_load(&open->taken) < open->count &&
            !thread_team_cancelled(open->team))
            return open;
    return NULL;
}

/* Under the pool's lock: there is work, and a thread may begin with it. A task that comes back from
 * a wait goes on at once, so for a moment more than threads_max may compute. */
static bool may_run(struct thread_pool *pool)
{
    return (lanes_ready(pool) || (pool->loops && find_loop(pool))) &&
           places_taken(pool) < pool->options.threads_max && budget_allows(pool);
}

static void work_on_loop(struct open_loop *open, uint32_t thread)
{
    while (!thread_team_cancelled(open->team)) {
        uint64_t first = atomic_fetch_add(&open->taken, open->grain);
        uint64_t end = first + open->grain;
        if (first >= open->count)
            break;
        open->function(open->context, thread, (uint32_t)first,
                       end < open->count ? (uint32_t)end : open->count);
    }
}

/* Under the pool's lock, which is let go meanwhile. */
static void join_loop(struct thread_pool *pool, struct open_loop *open)
{
    uint32_t thread = open->joined++;

    open->helpers++;
    pool_unlock(pool);
    work_on_loop(open, thread);
    pthread_mutex_lock(&pool->lock);
    if (--open->helpers == 0)
        pthread_cond_signal(&open->left);
}

/* Under the pool's lock: takes the task that `place` leads to, with the one before it, out. */
static struct thread_task *lane_take(struct thread_pool *pool, struct lane *lane,
                                     struct thread_task **place, struct thread_task *before)
{
    struct thread_task *task = *place;

    *place = task->next;
    if (lane->last == task)
        lane->last = before;
    lane->queued--;
    pool->queued--;
    if (!lane->first)
        pool->lanes_queued &= ~(UINT64_C(1) << (lane - pool->lanes));
    return task;
}

/* Under the pool's lock: the lane behind the one that was served last. */
static struct lane *next_lane(struct thread_pool *pool, uint64_t ready)
{
    uint64_t behind = pool->turn < 63 ? ready & (UINT64_MAX << (pool->turn + 1)) : 0;

    pool->turn = (uint32_t)__builtin_ctzll(behind ? behind : ready);
    return &pool->lanes[pool->turn];
}

/* Under the pool's lock, which is let go meanwhile. */
static void run_first(struct thread_pool *pool, uint32_t thread)
{
    struct lane *lane = next_lane(pool, lanes_ready(pool));
    struct thread_task *task = lane_take(pool, lane, &lane->first, NULL);
    int64_t waited_ns = thread_deadline(0) - task->queued_ns;

    self->lane = lane;
    pool->begun++;
    pool->queue_ns += waited_ns;
    lane->place_ns += (waited_ns / ((int64_t)task->place + 1) - lane->place_ns) / PLACES_MEAN;
    lane_count(pool, lane, 1);
    pool_unlock(pool);
    task->run(task, thread);
    pthread_mutex_lock(&pool->lock);
    lane_count(pool, lane, -1);
    self->lane = NULL;
    atomic_fetch_add(&pool->completed, 1);
    if (pool->completion_waiters > 0)
        pthread_cond_broadcast(&pool->done);
}

static void *thread_main(void *context);

/* Under the pool's lock, which pool_unlock lets go: `wanted` more threads find work. Wakes sleeping
 * ones, then makes new ones. A thread that cannot be made is done without, but for the first one. */
static void wake(struct thread_pool *pool, uint32_t wanted)
{
    /* While stopping nobody sleeps, and thread_pool_stop counts on thread_count. */
    for (; wanted > 0 && !pool->stopping && may_run(pool); wanted--) {
        struct pool_thread *fresh = &pool->threads[pool->thread_count];
        if (pool->idle > pool->woken) {
            pool->woken++;
            pool->unsent++;
            continue;
        }
        if (pool->thread_count == pool->thread_limit ||
            pool->thread_count - pool->waiting - pool->aside >= pool->options.threads_max)
            return; /* busy threads look for work when they are through */
        *fresh = (struct pool_thread){.pool = pool, .index = pool->thread_count};
        if (thread_start(&fresh->handle, pool->options.name, thread_main, fresh) == 0)
            pool->thread_count++;
        else if (pool->thread_count == 0 && pool->queued > 0)
            abort(); /* not one thread: the process cannot work */
        else
            return;
    }
}

/* Holding no lock: a processor was given back. */
static void wake_starved_pools(void)
{
    pthread_mutex_lock(&budget.lock);
    for (struct thread_pool *pool = budget.pools; pool; pool = pool->next_of_budget) {
        if (!atomic_load(&pool->starved) || !budget_has_room(pool->options.class))
            continue;
        pthread_mutex_lock(&pool->lock);
        wake(pool, 1);
        pool_unlock(pool);
    }
    pthread_mutex_unlock(&budget.lock);
}

/* Under the pool's lock: the calling thread runs nothing any more. Returns what budget_give_back says. */
static bool give_place_back(struct thread_pool *pool)
{
    pool->running--;
    pool->aside -= self->aside;
    self->aside = false;
    return budget_give_back(pool);
}

/* Under the pool's lock, which is let go meanwhile. */
static void run_one(struct thread_pool *pool, uint32_t thread)
{
    struct open_loop *open = find_loop(pool);

    if (!open && !lanes_ready(pool))
        return; /* others took the loop's last pieces since may_run looked */
    pool->running++;
    budget_take(pool);
    /* More than one processor may have become free at once: each thread wakes the next. */
    if (pool->options.class != THREAD_SEARCH && pool->options.class != THREAD_BLOCKING)
        wake(pool, 1);
    if (open)
        join_loop(pool, open);
    else
        run_first(pool, thread);
    if (give_place_back(pool)) {
        pool_unlock(pool);
        wake_starved_pools();
        pthread_mutex_lock(&pool->lock);
    }
}

static void *thread_main(void *context)
{
    struct pool_thread *thread = context;
    struct thread_pool *pool = thread->pool;

    self = thread;
    /* On Linux this is of the calling thread. */
    if (pool->options.nice != 0)
        (void)setpriority(PRIO_PROCESS, 0, pool->options.nice);
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        if (may_run(pool)) {
            run_one(pool, thread->index);
        } else if (pool->stopping) {
            break; /* if tasks are left, the threads that run are enough to finish them */
        } else {
            pool->idle++;
            pthread_cond_wait(&pool->work, &pool->lock);
            pool->idle--;
            if (pool->woken > 0)
                pool->woken--;
        }
    }
    pool_unlock(pool);
    return NULL;
}

/* Under known.lock. NULL: there are too many names. */
static struct thread_pool_usage *usage_of(const char *name)
{
    for (uint32_t i = 0; i < known.count; i++)
        if (strcmp(known.gone[i].name, name) == 0)
            return &known.gone[i];
    if (known.count == THREAD_POOLS_MAX)
        return NULL;
    known.gone[known.count] = (struct thread_pool_usage){.name = name};
    return &known.gone[known.count++];
}

static void usage_add(struct thread_pool_usage *sum, struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    sum->tasks += pool->begun;
    sum->queue_seconds += (double)pool->queue_ns * 1e-9;
    sum->queued += pool->queued;
    sum->running += pool->running;
    pool_unlock(pool);
}

static void usage_join(struct thread_pool *pool)
{
    pthread_mutex_lock(&known.lock);
    if (pool->options.name && usage_of(pool->options.name)) {
        pool->next_known = known.pools;
        known.pools = pool;
    }
    pthread_mutex_unlock(&known.lock);
}

static void usage_leave(struct thread_pool *pool)
{
    struct thread_pool **place = &known.pools;

    pthread_mutex_lock(&known.lock);
    while (*place && *place != pool)
        place = &(*place)->next_known;
    if (*place) {
        *place = pool->next_known;
        usage_add(usage_of(pool->options.name), pool);
    }
    pthread_mutex_unlock(&known.lock);
}

uint32_t thread_pool_usage_list(struct thread_pool_usage out[THREAD_POOLS_MAX])
{
    uint32_t count;

    pthread_mutex_lock(&known.lock);
    count = known.count;
    memcpy(out, known.gone, count * sizeof(*out));
    for (struct thread_pool *pool = known.pools; pool; pool = pool->next_known)
        usage_add(&out[usage_of(pool->options.name) - known.gone], pool);
    pthread_mutex_unlock(&known.lock);
    return count;
}

static bool may_be_refused(const struct thread_pool *pool)
{
    return pool->options.threads_min < pool->options.threads_max;
}

static void fill_in(struct thread_pool_options *options)
{
    if (options->threads_max == 0)
        options->threads_max = thread_budget_processors();
    if (options->threads_min == 0)
        options->threads_min = 1;
    if (options->lanes == 0)
        options->lanes = 1;
    assert(options->lanes <= THREAD_LANES_MAX);
    if (options->threads_min > options->threads_max || options->class == THREAD_SEARCH ||
        options->class == THREAD_BLOCKING)
        options->threads_min = options->threads_max;
}

struct thread_pool *thread_pool_new(const struct thread_pool_options *options)
{
    struct thread_pool_options filled = *options;
    struct thread_pool *pool;
    uint32_t limit;

    fill_in(&filled);
    limit = filled.threads_max + filled.waiting_max + filled.aside_max;
    pool = memory_new(1, sizeof(*pool) + limit * sizeof(pool->threads[0]));
    pool->options = filled;
    pool->thread_limit = limit;
    pool->lanes = memory_new(filled.lanes, sizeof(*pool->lanes));
    if (pthread_mutex_init(&pool->lock, NULL) || pthread_cond_init(&pool->work, NULL))
        abort();
    thread_condition_create(&pool->done);
    if (may_be_refused(pool)) {
        pthread_mutex_lock(&budget.lock);
        pool->next_of_budget = budget.pools;
        budget.pools = pool;
        pthread_mutex_unlock(&budget.lock);
    }
    usage_join(pool);
    return pool;
}

bool thread_pool_submit(struct thread_pool *pool, struct thread_task *task)
{
    const struct thread_pool_options *options = &pool->options;
    struct lane *lane = &pool->lanes[task->lane];
    bool accepted;

    assert(task->lane < options->lanes);
    pthread_mutex_lock(&pool->lock);
    accepted = !pool->stopping && (options->queue_max == 0 || pool->queued < options->queue_max) &&
               (options->lane_queue_max == 0 || lane->queued < options->lane_queue_max);
    if (accepted) {
        if (options->on_accept)
            options->on_accept(task);
        task->next = NULL;
        task->queued_ns = thread_deadline(0);
        task->place = lane->queued;
        if (lane->first)
            lane->last->next = task;
        else
            lane->first = task;
        lane->last = task;
        lane->queued++;
        pool->queued++;
        pool->lanes_queued |= UINT64_C(1) << task->lane;
        wake(pool, 1);
    }
    pool_unlock(pool);
    return accepted;
}

bool thread_pool_enter(struct thread_pool *pool, uint32_t lane)
{
    struct lane *entered = &pool->lanes[lane];
    bool may_enter;

    assert(lane < pool->options.lanes && pool->options.class == THREAD_SEARCH && !self);
    pthread_mutex_lock(&pool->lock);
    may_enter = !pool->stopping && pool->queued == 0 &&
                places_taken(pool) < pool->options.threads_max &&
                !(pool->lanes_full & UINT64_C(1) << lane);
    if (may_enter) {
        guest = (struct pool_thread){.pool = pool, .lane = entered};
        self = &guest;
        pool->guests++;
        pool->running++;
        pool->begun++;
        budget_take(pool);
        lane_count(pool, entered, 1);
    }
    pool_unlock(pool);
    return may_enter;
}

void thread_pool_leave(struct thread_pool *pool)
{
    bool others_starve;

    assert(self == &guest && guest.pool == pool);
    pthread_mutex_lock(&pool->lock);
    lane_count(pool, guest.lane, -1);
    others_starve = give_place_back(pool);
    self = NULL;
    if (--pool->guests == 0 && pool->stopping)
        pthread_cond_broadcast(&pool->done);
    wake(pool, 1); /* what came meanwhile may have found no place */
    pool_unlock(pool);
    if (others_starve)
        wake_starved_pools();
}

int64_t thread_pool_wait_ns(struct thread_pool *pool, uint32_t lane)
{
    const struct lane *asked = &pool->lanes[lane];
    int64_t wait_ns;

    assert(lane < pool->options.lanes);
    pthread_mutex_lock(&pool->lock);
    wait_ns = asked->queued > 0 ? asked->place_ns * ((int64_t)asked->queued + 1) : 0;
    pthread_mutex_unlock(&pool->lock);
    return wait_ns;
}

struct thread_task *thread_pool_unqueue(struct thread_pool *pool, struct thread_task *task)
{
    struct thread_task *before = NULL, *found = NULL;

    pthread_mutex_lock(&pool->lock);
    if (task || pool->lanes_queued) {
        struct lane *lane = task ? &pool->lanes[task->lane] : next_lane(pool, pool->lanes_queued);
        struct thread_task **place = &lane->first;
        while (task && *place && *place != task) {
            before = *place;
            place = &before->next;
        }
        if (*place)
            found = lane_take(pool, lane, place, before);
    }
    pool_unlock(pool);
    return found;
}

uint64_t thread_pool_completed(const struct thread_pool *pool)
{
    return atomic_load(&pool->completed);
}

bool thread_pool_wait_completed(struct thread_pool *pool, uint64_t seen, int64_t limit_ns)
{
    int64_t deadline_ns = limit_ns < 0 ? INT64_MAX : thread_deadline(limit_ns);
    bool grew;

    pthread_mutex_lock(&pool->lock);
    pool->completion_waiters++;
    while (atomic_load(&pool->completed) == seen &&
           thread_condition_wait(&pool->done, &pool->lock, deadline_ns))
        ;
    pool->completion_waiters--;
    grew = atomic_load(&pool->completed) != seen;
    pool_unlock(pool);
    return grew;
}

bool thread_pool_wait_begin(struct thread_pool *pool)
{
    bool others_starve = false;
    bool may_wait;

    pthread_mutex_lock(&pool->lock);
    may_wait = self != &guest && pool->waiting < pool->options.waiting_max;
    if (may_wait) {
        assert(pool->waiting < pool->running);
        pool->waiting++;
        if (self && self->pool == pool) {
            pool->aside -= self->aside;
            self->aside = false;
            self->waits = true;
            if (self->lane)
                lane_count(pool, self->lane, -1);
        }
        others_starve = budget_give_back(pool);
        wake(pool, 1);
    }
    pool_unlock(pool);
    if (others_starve)
        wake_starved_pools();
    return may_wait;
}

void thread_pool_wait_end(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    assert(pool->waiting > 0);
    pool->waiting--;
    if (self && self->pool == pool) {
        self->waits = false;
        if (self->lane)
            lane_count(pool, self->lane, 1);
    }
    budget_take(pool);
    pool_unlock(pool);
}

void thread_pool_step_aside(void)
{
    struct thread_pool *pool = self ? self->pool : NULL;

    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    if (!self->aside && !self->waits && pool->queued > 0 && pool->aside < pool->options.aside_max) {
        self->aside = true;
        pool->aside++;
        wake(pool, 1);
    }
    pool_unlock(pool);
}

bool thread_team_for(const struct thread_team *team, uint32_t count, uint32_t grain,
                     thread_loop_function function, void *context)
{
    struct thread_pool *pool = team->pool;
    struct open_loop open = {.team = team,
                             .function = function,
                             .context = context,
                             .count = count,
                             .grain = grain,
                             .joined = 1};
    uint64_t pieces = ((uint64_t)count + grain - 1) / grain;
    struct open_loop **place;

    assert(grain > 0);
    open.threads = team->threads && team->threads < pieces ? team->threads
                   : pieces < UINT32_MAX                   ? (uint32_t)pieces
                                                           : UINT32_MAX;
    if (!pool || open.threads < 2) {
        work_on_loop(&open, 0);
        return !thread_team_cancelled(team);
    }
    if (pthread_cond_init(&open.left, NULL) != 0)
        abort();
    pthread_mutex_lock(&pool->lock);
    open.next = pool->loops;
    pool->loops = &open;
    wake(pool, open.threads - 1);
    pool_unlock(pool);
    work_on_loop(&open, 0);
    pthread_mutex_lock(&pool->lock);
    for (place = &pool->loops; *place != &open; place = &(*place)->next)
        ;
    *place = open.next;
    while (open.helpers > 0)
        pthread_cond_wait(&open.left, &pool->lock);
    pool_unlock(pool);
    pthread_cond_destroy(&open.left);
    return !thread_team_cancelled(team);
}

void thread_team_create(struct thread_team *team, enum thread_class class, uint32_t threads,
                        const atomic_bool *cancel)
{
    assert(threads > 0);
    *team = (struct thread_team){.threads = threads, .cancel = cancel};
    if (threads > 1)
        team->pool = thread_pool_new(
            &(struct thread_pool_options){.class = class, .threads_max = threads - 1});
}

void thread_team_destroy(struct thread_team *team)
{
    thread_pool_delete(team->pool);
}

uint32_t thread_pool_thread_limit(const struct thread_pool *pool)
{
    return pool->thread_limit;
}

void thread_pool_stop(struct thread_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pool_unlock(pool);
    /* No thread is made any more, so thread_count stands still. */
    for (uint32_t i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i].handle, NULL);
    pool->thread_count = 0;
    pthread_mutex_lock(&pool->lock);
    while (pool->guests > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    while (atomic_load(&pool->senders) > 0)
        sched_yield(); /* between the lock and the end of a signal */
    assert(pool->queued == 0 && pool->running == 0);
}

void thread_pool_delete(struct thread_pool *pool)
{
    if (!pool)
        return;
    thread_pool_stop(pool);
    assert(!pool->loops);
    usage_leave(pool);
    if (may_be_refused(pool)) {
        struct thread_pool **place = &budget.pools;
        pthread_mutex_lock(&budget.lock);
        while (*place != pool)
            place = &(*place)->next_of_budget;
        *place = pool->next_of_budget;
        pthread_mutex_unlock(&budget.lock);
        set_starved(pool, false);
    }
    pthread_cond_destroy(&pool->done);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->lanes);
    free(pool);
}
