#include "store/shard.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/flush.h"
#include "store/log_preallocator.h"

int shard_check_stop(struct store_shard *shard, int code, const struct error *error)
{
    if (code != ERROR_IO)
        return code;
    pthread_mutex_lock(&shard->stop_lock);
    if (!atomic_load(&shard->stopped)) {
        snprintf(shard->stopped_text, sizeof(shard->stopped_text), "writes stopped: %s",
                 error ? error->text : "the device failed");
        atomic_store(&shard->stopped, shard->stopped_text);
        log_error("store", "%s/%s: %s", shard->collection, shard->name, shard->stopped_text);
    }
    pthread_mutex_unlock(&shard->stop_lock);
    return code;
}

int shard_check_running(const struct store_shard *shard, struct error *error)
{
    const char *stopped = atomic_load(&shard->stopped);

    return stopped ? error_set(error, ERROR_IO, "%s", stopped) : 0;
}

struct shard_window *shard_window(struct store_shard *shard, int64_t start_ms, int64_t length_ms)
{
    struct shard_window *grown;

    for (size_t i = shard->window_count; i-- > 0;)
        if (shard->windows[i].start_ms == start_ms && shard->windows[i].length_ms == length_ms)
            return &shard->windows[i];
    if (shard->window_count == shard->window_capacity) {
        shard->window_capacity = shard->window_capacity ? shard->window_capacity * 2 : 16;
        grown = realloc(shard->windows, shard->window_capacity * sizeof(*grown));
        if (!grown)
            abort();
        shard->windows = grown;
    }
    shard->windows[shard->window_count] =
        (struct shard_window){.start_ms = start_ms, .length_ms = length_ms};
    return &shard->windows[shard->window_count++];
}

int window_lock_take(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                     struct error *error)
{
    struct shard_window *window;
    int code = 0;

    if (length_ms < 0 || (length_ms == 0 && start_ms != 0))
        return error_set(error, ERROR_INVALID, "a window of %lld ms", (long long)length_ms);
    pthread_mutex_lock(&shard->window_notes_lock);
    window = shard_window(shard, start_ms, length_ms);
    if (window->busy)
        code = error_set(error, ERROR_BUSY, "the window is being worked on");
    else
        window->busy = true;
    pthread_mutex_unlock(&shard->window_notes_lock);
    return code;
}

void window_lock_release(struct store_shard *shard, int64_t start_ms, int64_t length_ms)
{
    pthread_mutex_lock(&shard->window_notes_lock);
    shard_window(shard, start_ms, length_ms)->busy = false;
    pthread_mutex_unlock(&shard->window_notes_lock);
}

int shard_pending_reserve(struct store_shard *shard, uint64_t *number, struct error *error)
{
    int code = manifest_reserve(shard->manifest, number, error);

    if (code != 0)
        return code;
    pthread_mutex_lock(&shard->window_notes_lock);
    if (shard->pending_count == shard->pending_capacity) {
        uint64_t *grown;
        shard->pending_capacity = shard->pending_capacity ? shard->pending_capacity * 2 : 16;
        grown = realloc(shard->pending, shard->pending_capacity * sizeof(*grown));
        if (!grown)
            abort();
        shard->pending = grown;
    }
    shard->pending[shard->pending_count++] = *number;
    pthread_mutex_unlock(&shard->window_notes_lock);
    return 0;
}

void shard_pending_done(struct store_shard *shard, uint64_t number)
{
    pthread_mutex_lock(&shard->window_notes_lock);
    for (size_t i = 0; i < shard->pending_count; i++)
        if (shard->pending[i] == number) {
            shard->pending[i] = shard->pending[--shard->pending_count];
            break;
        }
    pthread_mutex_unlock(&shard->window_notes_lock);
}

bool shard_memtables_touch(struct store_shard *shard, int64_t start_ms, int64_t length_ms)
{
    struct version *version = version_acquire(shard);
    bool touches = false;

    pthread_mutex_lock(&shard->window_notes_lock);
    for (size_t i = 0; i < version->memtable_count; i++) {
        const struct memtable *memtable = version->memtables[i];
        for (uint32_t j = 0; j < memtable->window_count && memtable->window_ms == length_ms; j++)
            touches |= memtable->windows[j].start_ms == start_ms;
    }
    pthread_mutex_unlock(&shard->window_notes_lock);
    version_unref(version);
    return touches;
}

static void init_lock(pthread_mutex_t *lock)
{
    if (pthread_mutex_init(lock, NULL) != 0)
        abort();
}

static struct store_shard *shard_new(struct store *store, const struct store_shard_options *options)
{
    struct store_shard *shard = calloc(1, sizeof(*shard));

    if (!shard || asprintf(&shard->directory, "%s/%s/%s", store->data_dir, options->collection,
                           options->name) < 0)
        abort();
    shard->store = store;
    shard->io = store->io;
    shard->collection = strdup(options->collection);
    shard->name = strdup(options->name);
    if (!shard->collection || !shard->name)
        abort();
    shard->dim = options->dim;
    shard->metric = options->metric;
    shard->durability = options->durability;
    shard->codec = options->codec;
    atomic_init(&shard->window_ms, options->window_ms);
    atomic_init(&shard->ttl_ms, options->ttl_ms);
    shard->level0_files_max = options->level0_files_max;
    atomic_init(&shard->visible, -1);
    shard->extend_min_bytes = LOG_EXTEND_MIN_BYTES;
    shard->epoch = epoch_new();
    init_lock(&shard->flush_lock);
    init_lock(&shard->commit_lock);
    init_lock(&shard->append_lock);
    if (pthread_cond_init(&shard->publishers_served, NULL) != 0)
        abort();
    init_lock(&shard->window_notes_lock);
    init_lock(&shard->garbage_lock);
    init_lock(&shard->collect_lock);
    init_lock(&shard->stop_lock);
    return shard;
}

/* Frees everything; no snapshot is left. No file is touched but to close it. */
static void shard_delete(struct store_shard *shard)
{
    atomic_store(&shard->closing, true);
    shard->active_log = NULL;
    memtable_unref(shard->active);
    for (size_t i = 0; i < shard->damage_count; i++)
        log_file_unref(shard->damages[i].log);
    version_publish(shard, NULL);
    epoch_collect(shard->epoch);
    garbage_collect(shard);
    garbage_destroy(shard);
    epoch_delete(shard->epoch);
    manifest_close(shard->manifest);
    pthread_mutex_destroy(&shard->flush_lock);
    pthread_mutex_destroy(&shard->commit_lock);
    pthread_cond_destroy(&shard->publishers_served);
    pthread_mutex_destroy(&shard->append_lock);
    pthread_mutex_destroy(&shard->window_notes_lock);
    pthread_mutex_destroy(&shard->garbage_lock);
    pthread_mutex_destroy(&shard->collect_lock);
    pthread_mutex_destroy(&shard->stop_lock);
    free(shard->windows);
    free(shard->pending);
    free(shard->damages);
    free(shard->damage_text);
    free(shard->directory);
    free(shard->collection);
    free(shard->name);
    free(shard);
}

/* Names become folders. */
static int check_name(const char *what, const char *name, struct error *error)
{
    if (!name || name[0] == '\0' || name[0] == '.' || strchr(name, '/') || strlen(name) > 200)
        return error_set(error, ERROR_INVALID, "%s '%s' cannot be a folder", what,
                         name ? name : "");
    return 0;
}

static int check_options(const struct store_shard_options *options, struct error *error)
{
    int code = check_name("collection", options->collection, error);

    if (code == 0)
        code = check_name("shard", options->name, error);
    if (code == 0 && (options->dim == 0 || options->dim > 65536))
        code = error_set(error, ERROR_INVALID, "dimension %u", options->dim);
    if (code == 0 && (options->window_ms < 0 || options->ttl_ms < 0))
        code = error_set(error, ERROR_INVALID, "window of %lld ms, TTL of %lld ms",
                         (long long)options->window_ms, (long long)options->ttl_ms);
    return code;
}

static int make_directories(struct store_shard *shard, struct error *error)
{
    struct io *io = shard->io;
    char path[PATH_MAX];
    int code;

    snprintf(path, sizeof(path), "%s/%s", shard->store->data_dir, shard->collection);
    code = io_make_directory(io, path, error);
    if (code == 0)
        code = io_sync_directory(io, shard->store->data_dir, error);
    if (code == 0)
        code = io_make_directory(io, shard->directory, error);
    if (code == 0)
        code = io_sync_directory(io, path, error);
    return code;
}

int store_shard_open(struct store *store, const struct store_shard_options *options,
                     struct store_shard **out, struct error *error)
{
    struct store_shard *shard;
    int code = check_options(options, error);

    if (code != 0)
        return code;
    shard = shard_new(store, options);
    code = make_directories(shard, error);
    if (code == 0)
        code = manifest_open(shard->io, shard->directory, shard->dim, (uint32_t)shard->metric,
                             &shard->manifest, error);
    if (code == 0 && shard->manifest->state.dim != shard->dim)
        code = error_set(error, ERROR_INVALID, "dimension is %u on disk and %u in the config",
                         shard->manifest->state.dim, shard->dim);
    if (code == 0) {
        shard_metrics_create(shard);
        manifest_count_bytes(shard->manifest, shard->metrics.bytes_manifest);
        code = recovery_run(shard, error);
    }
    if (code != 0) {
        if (error)
            error_wrap(error, "%s/%s: open", options->collection, options->name);
        shard_metrics_remove(shard);
        shard_delete(shard);
        return code;
    }
    atomic_fetch_add(&store->shard_count, 1);
    log_preallocator_add(store->preallocator, shard);
    *out = shard;
    return 0;
}

static bool snapshots_left(const void *context)
{
    return ((const struct store_shard *)context)->snapshots_left;
}

int store_shard_close(struct store_shard *shard, bool flush, struct error *error)
{
    struct store *store = shard->store;
    struct error unused = {0};
    int code = 0;

    if (flush && !store_shard_stopped(shard))
        code = store_shard_flush(shard, error);
    store_shard_end_waits(shard);
    if (atomic_fetch_or(&shard->snapshot_count, SHARD_LEAVING) > 0)
        (void)events_wait(&store->events, snapshots_left, shard, INT64_MAX, NULL, &unused);
    log_preallocator_remove(store->preallocator, shard);
    garbage_collect(shard);
    shard_metrics_remove(shard);
    shard_delete(shard);
    atomic_fetch_sub(&store->shard_count, 1);
    return code;
}

const char *store_shard_name(const struct store_shard *shard)
{
    return shard->name;
}

const char *store_shard_collection(const struct store_shard *shard)
{
    return shard->collection;
}

uint32_t store_shard_dim(const struct store_shard *shard)
{
    return shard->dim;
}

const char *store_shard_directory(const struct store_shard *shard)
{
    return shard->directory;
}

int64_t store_shard_next_offset(const struct store_shard *shard)
{
    return atomic_load(&shard->visible);
}

struct store_topic_fingerprint store_shard_topic_fingerprint(struct store_shard *shard)
{
    struct store_topic_fingerprint topic;

    pthread_mutex_lock(&shard->append_lock);
    topic = shard->topic;
    pthread_mutex_unlock(&shard->append_lock);
    return topic;
}

struct store_clock store_shard_clock(const struct store_shard *shard)
{
    return (struct store_clock){
        atomic_load_explicit(&shard->watermark_ms, memory_order_relaxed),
        atomic_load_explicit(&shard->last_record_wall_ms, memory_order_relaxed),
        atomic_load_explicit(&shard->safe_wall_ms, memory_order_relaxed)};
}

const char *store_shard_stopped(const struct store_shard *shard)
{
    return atomic_load(&shard->stopped);
}

void store_shard_set_ttl(struct store_shard *shard, int64_t ttl_ms)
{
    atomic_store_explicit(&shard->ttl_ms, ttl_ms, memory_order_relaxed);
}

bool store_shard_set_over_cap(struct store_shard *shard, bool over)
{
    bool was_over = atomic_exchange(&shard->over_cap, over);

    if (was_over && !over)
        events_room(&shard->store->events);
    return was_over;
}

void store_shard_set_window(struct store_shard *shard, int64_t window_ms)
{
    assert(window_ms >= 0);
    atomic_store_explicit(&shard->window_ms, window_ms, memory_order_relaxed);
}

const char *store_shard_damage(const struct store_shard *shard)
{
    return atomic_load(&shard->damage_shown);
}

void shard_publish_lock(struct store_shard *shard)
{
    atomic_fetch_add(&shard->publishers_waiting, 1);
    pthread_mutex_lock(&shard->append_lock);
    if (atomic_fetch_sub(&shard->publishers_waiting, 1) == 1)
        pthread_cond_signal(&shard->publishers_served); /* goes on when this lock is free */
}

void shard_append_lock(struct store_shard *shard)
{
    pthread_mutex_lock(&shard->append_lock);
    while (atomic_load(&shard->publishers_waiting) > 0)
        pthread_cond_wait(&shard->publishers_served, &shard->append_lock);
}
