/* The scheduler: looks at a shard when something about it changed or became due, never otherwise.
 *
 *     store events, registry events, clocks -> items that are ready -> a thread of a pool takes the
 *     item that waited longest, does one turn of it, and comes back for the next
 *
 * An item is a shard, the byte cap of a collection, or the reconciliation of segments. One thread at a
 * time has an item. A turn of a shard carries out the drops and one merge: then it is another
 * shard's turn. The thread "scheduler" only watches clocks and hands out work; it sleeps until the
 * next due time, and for CLOCK_CHECK_MS at most, because the wall clock may jump.
 *
 * Locking. `lock` guards all fields but the constant ones. A lease is taken under it, so that the
 * shard of an item in the list is open: the registry calls on_closing, which takes the item out,
 * when no lease is left and before it closes the shard. Order: registry's listen lock, `lock`,
 * registry lock. */
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "base/thread_pool.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/lease.h"
#include "store/listen.h"
#include "store/registry.h"
#include "store/store.h"
#include "twcs/compaction/compaction_internal.h"

#define MS INT64_C(1000000) /* nanoseconds */

enum {
    JOBS_MAX = 64,
    COMPACTIONS_A_FLUSH = 4, /* as many flushes at a time, at least one */
    APPENDED_MS = 500,       /* a look follows an append after so long */
    CLOCK_CHECK_MS = 5000,
    LOOK_MS = 60 * 1000, /* space debts of levels grow while rows expire one by one */
    RECONCILE_MS = 5000, /* a burst of changes is looked at once */
    FLUSH_RETRY_MS = 1000,
    FAILURE_MS = 2000
};

enum item_kind { ITEM_SHARD, ITEM_BYTE_CAP, ITEM_RECONCILE };

struct item {
    struct item *next;
    enum item_kind kind;
    struct store_shard *shard; /* of ITEM_SHARD; open while the item is in the list */
    const struct config_collection *collection;
    bool running;          /* a thread has the item */
    bool urgent;           /* look as soon as not_before_ns allows */
    int64_t not_before_ns; /* after a failure */
    int64_t look_ns;       /* look then at the latest */
    int64_t due_ms;        /* the wall clock at which something becomes due */
    int64_t ended_ns;      /* of the last turn: who waited longest goes first */
    /* Flushes of ITEM_SHARD: */
    bool flushing;
    bool flush_wanted;
    bool flush_deferred; /* until a compaction makes room in level 0 */
    int64_t flush_not_before_ns;
};

struct worker {
    struct thread_task task; /* first */
    struct compaction_scheduler *scheduler;
    bool at_work;
};

struct worker_set {
    struct thread_pool *pool;
    struct worker workers[JOBS_MAX];
    uint32_t count;
};

struct compaction_scheduler {
    struct compaction_scheduler_options options;
    struct store_listener listener;
    struct store_registry_listener watch;
    pthread_t thread;
    struct worker_set flushes, compactions;
    pthread_mutex_t lock;
    pthread_cond_t woken;
    struct item *items;
    uint32_t flushes_running;
    bool awake; /* something changed since the scheduler's thread last looked */
    atomic_bool stopping;
    _Atomic int64_t alive_ns;
};

static int64_t now_ns(const struct compaction_scheduler *scheduler)
{
    return io_monotonic_ns(scheduler->options.io);
}

/* Under the lock. */
static void wake(struct compaction_scheduler *scheduler)
{
    if (scheduler->awake)
        return;
    scheduler->awake = true;
    pthread_cond_signal(&scheduler->woken);
}

/* Under the lock. */
static struct item *find_item(struct compaction_scheduler *scheduler, enum item_kind kind,
                              const struct store_shard *shard,
                              const struct config_collection *collection)
{
    struct item *item = scheduler->items;

    while (item && (item->kind != kind || item->shard != shard ||
                    (collection && item->collection != collection)))
        item = item->next;
    return item;
}

/* Under the lock; does nothing when the item is there. */
static void add_item(struct compaction_scheduler *scheduler, enum item_kind kind,
                     struct store_shard *shard, const struct config_collection *collection)
{
    struct item *item;

    if (find_item(scheduler, kind, shard, collection))
        return;
    item = memory_new(1, sizeof(*item));
    *item = (struct item){.next = scheduler->items,
                          .kind = kind,
                          .shard = shard,
                          .collection = collection,
                          .urgent = kind != ITEM_RECONCILE,
                          .look_ns = now_ns(scheduler) + RECONCILE_MS * MS,
                          .due_ms = INT64_MAX,
                          .flush_wanted = kind == ITEM_SHARD};
    scheduler->items = item;
}

/* Under the lock. The item is looked at within `within_ms`. */
static void look_within(struct compaction_scheduler *scheduler, struct item *item,
                        int64_t within_ms)
{
    int64_t look_ns = now_ns(scheduler) + within_ms * MS;

    if (!item || item->look_ns <= look_ns)
        return;
    item->look_ns = look_ns;
    wake(scheduler);
}

/* What the store and the registry tell. */

static void on_appended(void *context, struct store_shard *shard)
{
    struct compaction_scheduler *scheduler = context;
    struct item *item;

    pthread_mutex_lock(&scheduler->lock);
    item = find_item(scheduler, ITEM_SHARD, shard, NULL);
    look_within(scheduler, item, APPENDED_MS);
    if (item && item->collection->max_bytes > 0)
        look_within(scheduler, find_item(scheduler, ITEM_BYTE_CAP, NULL, item->collection),
                    APPENDED_MS);
    pthread_mutex_unlock(&scheduler->lock);
}

static void on_windows_changed(void *context, struct store_shard *shard)
{
    struct compaction_scheduler *scheduler = context;
    struct item *item;

    pthread_mutex_lock(&scheduler->lock);
    item = find_item(scheduler, ITEM_SHARD, shard, NULL);
    if (item) {
        item->urgent = true;
        item->flush_wanted |= item->flush_deferred;
        item->flush_deferred = false;
        look_within(scheduler, find_item(scheduler, ITEM_BYTE_CAP, NULL, item->collection), 0);
        look_within(scheduler, find_item(scheduler, ITEM_RECONCILE, NULL, NULL), RECONCILE_MS);
        wake(scheduler);
    }
    pthread_mutex_unlock(&scheduler->lock);
}

/* Memory that one shard takes may make another one due: all are asked. */
static void on_flush_due(void *context, struct store_shard *shard)
{
    struct compaction_scheduler *scheduler = context;

    (void)shard;
    pthread_mutex_lock(&scheduler->lock);
    for (struct item *item = scheduler->items; item; item = item->next)
        item->flush_wanted |= item->kind == ITEM_SHARD && !item->flush_deferred;
    wake(scheduler);
    pthread_mutex_unlock(&scheduler->lock);
}

static void on_opened(void *context, struct store_shard *shard,
                      const struct config_collection *collection)
{
    struct compaction_scheduler *scheduler = context;

    pthread_mutex_lock(&scheduler->lock);
    add_item(scheduler, ITEM_SHARD, shard, collection);
    if (collection->max_bytes > 0)
        add_item(scheduler, ITEM_BYTE_CAP, NULL, collection);
    look_within(scheduler, find_item(scheduler, ITEM_RECONCILE, NULL, NULL), RECONCILE_MS);
    wake(scheduler);
    pthread_mutex_unlock(&scheduler->lock);
}

static void on_closing(void *context, struct store_shard *shard)
{
    struct compaction_scheduler *scheduler = context;
    struct item **link = &scheduler->items;
    struct item *item;

    pthread_mutex_lock(&scheduler->lock);
    while (*link && (*link)->shard != shard)
        link = &(*link)->next;
    item = *link;
    if (item)
        *link = item->next;
    pthread_mutex_unlock(&scheduler->lock);
    free(item);
}

/* Flushes. */

static bool flush_is_ready(const struct item *item, int64_t at_ns)
{
    return item->flush_wanted && !item->flushing && at_ns >= item->flush_not_before_ns;
}

/* Under the lock: an item of a shard that needs a flush and may have one, with a lease. */
static struct item *take_flush(struct compaction_scheduler *scheduler, struct store_lease *lease)
{
    int64_t at_ns = now_ns(scheduler);

    for (struct item *item = scheduler->items; item; item = item->next) {
        if (!flush_is_ready(item, at_ns))
            continue;
        item->flush_wanted = false;
        if (!store_shard_needs_flush(item->shard))
            continue;
        item->flush_deferred = store_shard_compaction_behind(item->shard);
        if (item->flush_deferred ||
            !store_registry_acquire_shard(scheduler->options.registry, item->collection->name,
                                          store_shard_name(item->shard), lease))
            continue;
        item->flushing = true;
        return item;
    }
    return NULL;
}

static void end_flush(struct compaction_scheduler *scheduler, struct item *item, int code,
                      const struct error *error)
{
    if (code != 0 && code != ERROR_BUSY)
        logger_write_event(LOGGER_ERROR, "compaction", "flush_failed", "flush: %s", error->text);
    pthread_mutex_lock(&scheduler->lock);
    item->flushing = false;
    if (code != 0) {
        item->flush_wanted = true;
        item->flush_not_before_ns =
            now_ns(scheduler) + (code == ERROR_BUSY ? FLUSH_RETRY_MS : FAILURE_MS) * MS;
    }
    pthread_mutex_unlock(&scheduler->lock);
}

/* The worker goes on while there is something to do, but lets the pool choose in between: work of a
 * higher class may come first. */
static void end_work(struct worker *worker, struct worker_set *set, bool did_something)
{
    struct compaction_scheduler *scheduler = worker->scheduler;

    pthread_mutex_lock(&scheduler->lock);
    worker->at_work =
        did_something && !scheduler->stopping && thread_pool_submit(set->pool, &worker->task);
    wake(scheduler);
    pthread_mutex_unlock(&scheduler->lock);
}

static void run_flush(struct thread_task *task, uint32_t thread)
{
    struct worker *worker = (struct worker *)task;
    struct compaction_scheduler *scheduler = worker->scheduler;
    struct store_lease lease;
    struct item *item;

    (void)thread;
    pthread_mutex_lock(&scheduler->lock);
    item = scheduler->stopping ? NULL : take_flush(scheduler, &lease);
    scheduler->flushes_running += item != NULL;
    pthread_mutex_unlock(&scheduler->lock);
    if (item) {
        struct error error = {0};
        int code = store_shard_flush_due(lease.shard, &error);
        end_flush(scheduler, item, code, &error);
        store_registry_release(scheduler->options.registry, &lease);
        pthread_mutex_lock(&scheduler->lock);
        scheduler->flushes_running--;
        pthread_mutex_unlock(&scheduler->lock);
        atomic_store(&scheduler->alive_ns, now_ns(scheduler));
    }
    end_work(worker, &scheduler->flushes, item != NULL);
}

/* Turns. */

static bool turn_is_ready(const struct item *item, int64_t at_ns, int64_t wall_ms)
{
    return !item->running && at_ns >= item->not_before_ns &&
           (item->urgent || at_ns >= item->look_ns || wall_ms >= item->due_ms);
}

/* Under the lock: the ready item that waited longest, with a lease if it is a shard's. */
static struct item *take_turn(struct compaction_scheduler *scheduler, struct store_lease *lease)
{
    int64_t at_ns = now_ns(scheduler);
    int64_t wall_ms = io_wall_ms(scheduler->options.io);
    struct item *longest = NULL;

    for (struct item *item = scheduler->items; item; item = item->next)
        if (turn_is_ready(item, at_ns, wall_ms) && (!longest || item->ended_ns < longest->ended_ns))
            longest = item;
    if (!longest)
        return NULL;
    longest->urgent = false;
    longest->look_ns = at_ns + LOOK_MS * MS;
    longest->due_ms = INT64_MAX;
    longest->ended_ns = at_ns;
    if (longest->kind == ITEM_SHARD &&
        !store_registry_acquire_shard(scheduler->options.registry, longest->collection->name,
                                      store_shard_name(longest->shard), lease))
        return take_turn(scheduler, lease); /* it is about to close: the next one */
    longest->running = true;
    return longest;
}

static void end_turn(struct compaction_scheduler *scheduler, struct item *item,
                     const struct compaction_turn *turn)
{
    int64_t at_ns = now_ns(scheduler);

    pthread_mutex_lock(&scheduler->lock);
    item->running = false;
    item->ended_ns = at_ns;
    item->urgent |= turn->again || turn->failed;
    if (turn->failed)
        item->not_before_ns = at_ns + FAILURE_MS * MS;
    if (turn->due_ms < item->due_ms)
        item->due_ms = turn->due_ms;
    if (at_ns + turn->look_ms * MS < item->look_ns)
        item->look_ns = at_ns + turn->look_ms * MS;
    pthread_mutex_unlock(&scheduler->lock);
}

static void run_turn(struct thread_task *task, uint32_t thread)
{
    struct worker *worker = (struct worker *)task;
    struct compaction_scheduler *scheduler = worker->scheduler;
    struct compaction_turn turn = {.due_ms = INT64_MAX, .look_ms = LOOK_MS};
    struct store_lease lease = {0};
    struct arena arena;
    struct item *item;

    (void)thread;
    pthread_mutex_lock(&scheduler->lock);
    item = scheduler->stopping ? NULL : take_turn(scheduler, &lease);
    pthread_mutex_unlock(&scheduler->lock);
    arena_create(&arena, 0);
    if (item && item->kind == ITEM_SHARD)
        turn_of_shard(scheduler, &lease, item->collection, &arena, &turn);
    if (item && item->kind == ITEM_BYTE_CAP)
        turn_of_byte_cap(scheduler, item->collection, &arena, &turn);
    if (item && item->kind == ITEM_RECONCILE &&
        scheduler->options.reconcile(scheduler->options.context))
        turn.look_ms = RECONCILE_MS;
    arena_destroy(&arena);
    if (item)
        end_turn(scheduler, item, &turn); /* the lease keeps the item in the list */
    if (lease.shard)
        store_registry_release(scheduler->options.registry, &lease);
    end_work(worker, &scheduler->compactions, item != NULL);
}

/* The thread that watches clocks. */

/* Under the lock: one more worker for each item that is ready, as far as there are. */
static void hand_out(struct worker_set *set, uint32_t ready)
{
    uint32_t at_work = 0;

    for (uint32_t i = 0; i < set->count; i++)
        at_work += set->workers[i].at_work;
    for (uint32_t i = 0; i < set->count && at_work < ready; i++) {
        struct worker *worker = &set->workers[i];
        if (worker->at_work)
            continue;
        worker->at_work = thread_pool_submit(set->pool, &worker->task);
        at_work += worker->at_work;
    }
}

static void earliest(int64_t *wake_ns, int64_t at_ns)
{
    if (at_ns < *wake_ns)
        *wake_ns = at_ns;
}

/* Under the lock. Hands out what is ready; returns when something will be, unless an event comes
 * before. */
static int64_t look_around(struct compaction_scheduler *scheduler)
{
    int64_t at_ns = now_ns(scheduler);
    int64_t wall_ms = io_wall_ms(scheduler->options.io);
    int64_t wake_ns = at_ns + CLOCK_CHECK_MS * MS;
    uint32_t flushes = scheduler->flushes_running;
    uint32_t turns = 0;

    for (const struct item *item = scheduler->items; item; item = item->next) {
        flushes += flush_is_ready(item, at_ns);
        turns += item->running || turn_is_ready(item, at_ns, wall_ms);
        if (item->flush_wanted && item->flush_not_before_ns > at_ns)
            earliest(&wake_ns, item->flush_not_before_ns);
        if (item->running)
            continue;
        if (item->not_before_ns > at_ns) {
            earliest(&wake_ns, item->not_before_ns);
        } else if (!item->urgent) {
            if (item->look_ns > at_ns)
                earliest(&wake_ns, item->look_ns);
            if (item->due_ms > wall_ms && item->due_ms - wall_ms < CLOCK_CHECK_MS)
                earliest(&wake_ns, at_ns + (item->due_ms - wall_ms) * MS);
        }
    }
    hand_out(&scheduler->flushes, flushes);
    hand_out(&scheduler->compactions, turns);
    if (scheduler->flushes_running == 0)
        atomic_store(&scheduler->alive_ns, at_ns);
    return wake_ns - at_ns;
}

static void *schedule(void *context)
{
    struct compaction_scheduler *scheduler = context;

    pthread_mutex_lock(&scheduler->lock);
    while (!scheduler->stopping) {
        int64_t deadline_ns;
        scheduler->awake = false;
        deadline_ns = thread_deadline(look_around(scheduler));
        while (!scheduler->awake && !scheduler->stopping &&
               thread_condition_wait(&scheduler->woken, &scheduler->lock, deadline_ns))
            ;
    }
    pthread_mutex_unlock(&scheduler->lock);
    return NULL;
}

/* Start and stop. */

const struct compaction_scheduler_options *compaction_scheduler_options(
    const struct compaction_scheduler *scheduler)
{
    return &scheduler->options;
}

static void start_pool(struct compaction_scheduler *scheduler, struct worker_set *set,
                       const char *name, enum thread_class class, uint32_t count,
                       void (*run)(struct thread_task *, uint32_t))
{
    const struct thread_pool_options options = {
        .name = name, .class = class, .threads_min = 1, .threads_max = count};

    set->count = count;
    set->pool = thread_pool_new(&options);
    for (uint32_t i = 0; i < count; i++)
        set->workers[i] = (struct worker){.task = {.run = run}, .scheduler = scheduler};
}

/* Shards that were opened before the watch began. The lease keeps each open until it has an item.
 */
static void add_open_shards(struct compaction_scheduler *scheduler)
{
    struct store_registry *registry = scheduler->options.registry;
    struct store_registry_position position = {0};
    struct store_lease lease;

    while (store_registry_acquire_next(registry, &position, &lease)) {
        on_opened(scheduler, lease.shard, store_lease_collection(&lease));
        store_registry_release(registry, &lease);
    }
}

int compaction_scheduler_start(const struct compaction_scheduler_options *options,
                               struct compaction_scheduler **scheduler, struct error *error)
{
    struct compaction_scheduler *fresh = memory_new(1, sizeof(*fresh));
    uint32_t jobs = options->job_count < 1          ? 1
                    : options->job_count > JOBS_MAX ? JOBS_MAX
                                                    : options->job_count;
    uint32_t flushes = jobs / COMPACTIONS_A_FLUSH;

    fresh->options = *options;
    fresh->options.job_count = jobs;
    fresh->alive_ns = now_ns(fresh);
    pthread_mutex_init(&fresh->lock, NULL);
    thread_condition_create(&fresh->woken);
    start_pool(fresh, &fresh->flushes, "flush", THREAD_FLUSH, flushes > 0 ? flushes : 1, run_flush);
    start_pool(fresh, &fresh->compactions, "compact", THREAD_COMPACTION, jobs, run_turn);
    if (options->reconcile)
        add_item(fresh, ITEM_RECONCILE, NULL, NULL);
    fresh->listener = (struct store_listener){.flush_due = on_flush_due,
                                              .windows_changed = on_windows_changed,
                                              .appended = on_appended,
                                              .context = fresh};
    fresh->watch = (struct store_registry_listener){
        .opened = on_opened, .closing = on_closing, .context = fresh};
    store_registry_listen(options->registry, &fresh->watch);
    add_open_shards(fresh);
    store_listen(options->store, &fresh->listener);
    if (thread_start(&fresh->thread, "scheduler", schedule, fresh) != 0) {
        fresh->thread = 0;
        compaction_scheduler_stop(fresh);
        return error_set(error, ERROR_MEMORY, "cannot start the compaction scheduler");
    }
    *scheduler = fresh;
    return 0;
}

void compaction_scheduler_stop(struct compaction_scheduler *scheduler)
{
    if (!scheduler)
        return;
    store_unlisten(scheduler->options.store, &scheduler->listener);
    pthread_mutex_lock(&scheduler->lock);
    scheduler->stopping = true;
    pthread_cond_signal(&scheduler->woken);
    pthread_mutex_unlock(&scheduler->lock);
    if (scheduler->thread)
        pthread_join(scheduler->thread, NULL);
    thread_pool_delete(scheduler->flushes.pool);
    thread_pool_delete(scheduler->compactions.pool);
    store_registry_unlisten(scheduler->options.registry, &scheduler->watch);
    while (scheduler->items) {
        struct item *item = scheduler->items;
        scheduler->items = item->next;
        free(item);
    }
    pthread_mutex_destroy(&scheduler->lock);
    pthread_cond_destroy(&scheduler->woken);
    free(scheduler);
}

void compaction_scheduler_wake(struct compaction_scheduler *scheduler)
{
    pthread_mutex_lock(&scheduler->lock);
    for (struct item *item = scheduler->items; item; item = item->next)
        item->urgent = true;
    wake(scheduler);
    pthread_mutex_unlock(&scheduler->lock);
}

int64_t compaction_scheduler_alive_ns(const struct compaction_scheduler *scheduler)
{
    return atomic_load(&scheduler->alive_ns);
}
