#include "store/log_preallocator.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/logger.h"
#include "base/thread.h"
#include "store/shard.h"

struct log_preallocator {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;        /* something is due, or it is time to stop */
    pthread_cond_t done;        /* `busy` changed */
    struct store_shard *shards; /* under the lock, as all that follows */
    struct store_shard *busy;   /* the one that is worked on outside the lock */
    bool stopping;
    _Atomic bool due;
};

/* How far zeros should go: twice as far as what is written, and a step more. */
static uint64_t zeros_target(uint64_t used_bytes)
{
    return 2 * used_bytes + LOG_GROW_BYTES;
}

static bool may_write_zeros(const struct store_shard *shard)
{
    return shard->zeros_bytes <
           atomic_load_explicit(&shard->frames_bytes, memory_order_relaxed) /
                   LOG_PREALLOCATOR_ZEROS_SHARE +
               LOG_PREALLOCATOR_ZEROS_FREE_LOGS * shard->store->memtable_max_bytes;
}

/* A step at a time: an appender that comes to the end of the zeros waits for one step at most. */
static int write_zeros(struct store_shard *shard, struct log_file *log, uint64_t target,
                       struct error *error)
{
    uint64_t at = atomic_load(&log->allocated_bytes);
    int code = 0;

    while (code == 0 && at < target && may_write_zeros(shard)) {
        uint64_t end = target - at > LOG_GROW_BYTES ? at + LOG_GROW_BYTES : target;
        code = log_file_grow(log, end, end, error);
        if (code == 0)
            shard->zeros_bytes += end - at;
        at = end;
    }
    return code;
}

/* A file for the memtable after the active one. It stands in the manifest as one that nothing
 * refers to, which is what a spare is. */
static int create_spare(struct store_shard *shard, struct error *error)
{
    struct manifest_edit edit = {0};
    struct manifest_log use = {.durable = 1};
    struct log_file *log;
    int code = manifest_reserve(shard->manifest, &use.number, error);

    if (code != 0)
        return code;
    log = log_file_new(shard, shard->io, shard->directory, use.number);
    code = log_file_open(log, true, shard->durability, 0, error);
    if (code != 0) {
        log_file_delete(log);
        return code;
    }
    code = io_sync_directory(shard->io, shard->directory, error);
    if (code == 0) {
        use.log_generation = manifest_take_log_generation(shard->manifest);
        manifest_edit_log_use(&edit, &use);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    manifest_edit_destroy(&edit);
    (void)log_file_close(log, NULL); /* nothing was written */
    if (code == 0) {
        log_file_unref(log);
        garbage_collect(shard); /* puts it among the spares */
        return 0;
    }
    if (code == ERROR_NO_SPACE) {
        (void)io_unlink(shard->io, log->path, NULL); /* else an orphan */
        log_file_set_allocated(log, 0);
    }
    log_file_delete(log);
    return code;
}

static int prepare_next(struct store_shard *shard, uint64_t target, struct error *error)
{
    struct log_file *spare = garbage_next_spare(shard);
    int code = 0;

    if (!spare && may_write_zeros(shard)) {
        code = create_spare(shard, error);
        spare = code == 0 ? garbage_next_spare(shard) : NULL;
    }
    if (!spare)
        return code;
    code = write_zeros(shard, spare, target, error);
    log_file_unref(spare);
    return code;
}

static void prepare_logs(struct store_shard *shard)
{
    uint64_t capacity = shard->store->memtable_max_bytes;
    uint64_t target = zeros_target(atomic_load(&shard->active_bytes));
    struct error error = {0};
    struct log_file *log;
    int code = 0;

    if (shard->durability != STORE_DURABILITY_LOG || atomic_load(&shard->stopped) ||
        atomic_load_explicit(&shard->bulk, memory_order_relaxed))
        return;
    log = garbage_active_log(shard);
    if (!log)
        return;
    code = write_zeros(shard, log, target < capacity ? target : capacity, &error);
    log_file_unref(log);
    if (code == 0 && target > capacity)
        code = prepare_next(shard, target - capacity < capacity ? target - capacity : capacity,
                            &error);
    /* Without space the appender finds out by itself, with the frame that does not fit. */
    if (code != ERROR_NO_SPACE)
        (void)shard_check_stop(shard, code, &error);
}

static void *log_preallocator_loop(void *context)
{
    struct log_preallocator *preallocator = context;
    const struct sched_param ordinary = {0};

    /* Whoever wakes it goes on: with two busy processors the unmapping of a dropped window (2.6 ms
     * for 10^6 rows) took the processor from the drop itself. Refused: only slower. */
    (void)pthread_setschedparam(pthread_self(), SCHED_BATCH, &ordinary);
    pthread_mutex_lock(&preallocator->lock);
    while (!preallocator->stopping) {
        if (!atomic_exchange(&preallocator->due, false)) {
            pthread_cond_wait(&preallocator->wake, &preallocator->lock);
            continue;
        }
        for (struct store_shard *shard = preallocator->shards; shard;
             shard = shard->preallocator_next) {
            preallocator->busy = shard;
            pthread_mutex_unlock(&preallocator->lock);
            prepare_logs(shard);
            garbage_collect(shard);
            pthread_mutex_lock(&preallocator->lock);
            preallocator->busy = NULL;
            pthread_cond_broadcast(&preallocator->done);
            /* Who waits to take this shard out of the list gets the lock after the next one is
             * busy. */
        }
    }
    pthread_mutex_unlock(&preallocator->lock);
    return NULL;
}

struct log_preallocator *log_preallocator_start(void)
{
    struct log_preallocator *preallocator = calloc(1, sizeof(*preallocator));

    if (!preallocator || pthread_mutex_init(&preallocator->lock, NULL) != 0 ||
        pthread_cond_init(&preallocator->wake, NULL) != 0 ||
        pthread_cond_init(&preallocator->done, NULL) != 0)
        abort();
    if (thread_start(&preallocator->thread, "log-prealloc", log_preallocator_loop, preallocator) !=
        0) {
        /* Appends do without. */
        log_warning("store", "no thread for the preallocator");
        free(preallocator);
        return NULL;
    }
    return preallocator;
}

void log_preallocator_stop(struct log_preallocator *preallocator)
{
    if (!preallocator)
        return;
    pthread_mutex_lock(&preallocator->lock);
    preallocator->stopping = true;
    pthread_cond_signal(&preallocator->wake);
    pthread_mutex_unlock(&preallocator->lock);
    pthread_join(preallocator->thread, NULL);
    pthread_cond_destroy(&preallocator->wake);
    pthread_cond_destroy(&preallocator->done);
    pthread_mutex_destroy(&preallocator->lock);
    free(preallocator);
}

void log_preallocator_add(struct log_preallocator *preallocator, struct store_shard *shard)
{
    if (!preallocator)
        return;
    pthread_mutex_lock(&preallocator->lock);
    shard->preallocator_next = preallocator->shards;
    preallocator->shards = shard;
    pthread_mutex_unlock(&preallocator->lock);
}

void log_preallocator_remove(struct log_preallocator *preallocator, struct store_shard *shard)
{
    struct store_shard **link;

    if (!preallocator)
        return;
    pthread_mutex_lock(&preallocator->lock);
    while (preallocator->busy == shard)
        pthread_cond_wait(&preallocator->done, &preallocator->lock);
    for (link = &preallocator->shards; *link; link = &(*link)->preallocator_next)
        if (*link == shard) {
            *link = shard->preallocator_next;
            break;
        }
    pthread_mutex_unlock(&preallocator->lock);
}

void log_preallocator_wake(struct log_preallocator *preallocator)
{
    if (!preallocator || atomic_exchange(&preallocator->due, true))
        return;
    /* The flag is looked at under the lock: the signal cannot come between that and the wait. */
    pthread_mutex_lock(&preallocator->lock);
    pthread_cond_signal(&preallocator->wake);
    pthread_mutex_unlock(&preallocator->lock);
}
