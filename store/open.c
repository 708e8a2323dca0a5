/* Opening and closing a shard.
 *
 *     open    folder -> manifest (made when there is none) -> recovery -> the background thread may
 *             work for it
 *     close   flush when asked -> waits end -> the last snapshot is released -> the background
 * thread leaves it -> everything is freed
 *
 * Who closes has seen to it that no append and no operation is under way (the registry's leases).
 * Only snapshots may still be there: a search releases its own when it is done. */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/append.h"
#include "store/compaction.h"
#include "store/listen.h"
#include "store/operations.h"
#include "store/settings.h"
#include "store/store.h"

static void init_lock(pthread_mutex_t *lock)
{
    if (pthread_mutex_init(lock, NULL) != 0)
        abort();
}

/* A shard without manifest and files. */
static struct store_shard *shard_new(struct store *store, const struct store_shard_options *options)
{
    struct store_shard *shard = calloc(1, sizeof(*shard));
    const char *folder = options->folder ? options->folder : options->name;

    if (!shard || asprintf(&shard->directory, "%s/%s/%s", store->collections, options->collection,
                           folder) < 0)
        abort();
    shard->store = store;
    shard->io = store->io;
    shard->collection = strdup(options->collection);
    shard->name = strdup(options->name);
    shard->folder = strdup(folder);
    if (!shard->collection || !shard->name || !shard->folder)
        abort();
    shard->dim = options->dim;
    shard->metric = options->metric;
    shard->durability = options->durability;
    shard->codec = options->codec;
    shard->storage_recall = options->storage_recall;
    shard->sstables = (struct sstable_home){.io = shard->io,
                                            .directory = shard->directory,
                                            .dim = shard->dim,
                                            .garbage = &shard->garbage,
                                            .decoded_bytes = &store->memory.decoded_bytes,
                                            .ttl_ms = &shard->settings.ttl_ms};
    shard->window_ms = options->window_ms;
    atomic_init(&shard->settings.ttl_ms, options->ttl_ms);
    shard->settings.level0_files_max = options->level0_files_max;
    atomic_init(&shard->progress.visible, -1);
    shard->writer.extend_min_bytes = LOG_EXTEND_MIN_BYTES;
    versions_create(&shard->versions);
    garbage_create(&shard->garbage, store->background);
    log_space_create(&shard->logs, &shard->garbage);
    windows_create(&shard->windows);
    init_lock(&shard->flush_lock);
    init_lock(&shard->commit.lock);
    init_lock(&shard->writer.lock);
    init_lock(&shard->stop.lock);
    init_lock(&shard->refusals.lock);
    if (pthread_cond_init(&shard->writer.publishers_served, NULL) != 0)
        abort();
    return shard;
}

/* Frees everything; no snapshot is left. No file is touched but to close it. */
static void shard_delete(struct store_shard *shard)
{
    atomic_store(&shard->garbage.closing, true);
    shard->logs.active = NULL;
    memtable_unref(shard->writer.active);
    damages_destroy(&shard->damages);
    versions_publish(&shard->versions, NULL);
    garbage_collect(shard); /* the last version, then what only it held */
    versions_destroy(&shard->versions);
    log_space_destroy(&shard->logs);
    garbage_destroy(&shard->garbage);
    manifest_close(shard->manifest);
    windows_destroy(&shard->windows);
    pthread_mutex_destroy(&shard->flush_lock);
    pthread_mutex_destroy(&shard->commit.lock);
    pthread_cond_destroy(&shard->writer.publishers_served);
    pthread_mutex_destroy(&shard->writer.lock);
    pthread_mutex_destroy(&shard->stop.lock);
    pthread_mutex_destroy(&shard->refusals.lock);
    free(shard->refusals.ring);
    free(shard->directory);
    free(shard->collection);
    free(shard->name);
    free(shard->folder);
    free(shard);
}

/* Names become folders. */
static int check_name(const char *what, const char *name, struct error *error)
{
    if (!name || name[0] == '\0' || name[0] == '.' || strchr(name, '/') || strlen(name) > NAME_MAX)
        return error_set(error, ERROR_INVALID, "%s '%s' is not a valid folder name", what,
                         name ? name : "");
    return 0;
}

static int check_options(const struct store_shard_options *options, struct error *error)
{
    int code = check_name("collection", options->collection, error);

    if (code == 0)
        code = check_name("shard", options->folder ? options->folder : options->name, error);
    if (code == 0 && (options->dim == 0 || options->dim > 65536))
        code = error_set(error, ERROR_INVALID, "invalid dimension %u", options->dim);
    if (code == 0 && (options->window_ms < 0 || options->ttl_ms < 0))
        code = error_set(error, ERROR_INVALID, "invalid window of %lld ms or TTL of %lld ms",
                         (long long)options->window_ms, (long long)options->ttl_ms);
    return code;
}

/* A shard of 0.2.0 does not keep the rule: it takes over the one it is opened with. */
static int check_settings(struct store_shard *shard, uint16_t key_rule, struct error *error)
{
    const struct store_settings stored = store_settings_stored(&shard->manifest->state);
    const struct store_settings wanted = {shard->dim, shard->metric, key_rule};
    int code = store_settings_check(&stored, &wanted, error);

    if (code == 0 && stored.key_rule == 0 && key_rule != 0)
        code = manifest_keep_key_rule(shard->manifest, key_rule, error);
    return code;
}

static int make_directories(struct store_shard *shard, struct error *error)
{
    struct io *io = shard->io;
    char path[PATH_MAX];
    int code;

    snprintf(path, sizeof(path), "%s/%s", shard->store->collections, shard->collection);
    code = io_make_directory(io, path, error);
    if (code == 0)
        code = io_sync_directory(io, shard->store->collections, error);
    if (code == 0)
        code = io_make_directory(io, shard->directory, error);
    if (code == 0)
        code = io_sync_directory(io, path, error);
    return code;
}

/* What the background thread does for the shard. */
static void work_behind(struct background_member *member)
{
    struct store_shard *shard =
        (struct store_shard *)((char *)member - offsetof(struct store_shard, background));

    log_preallocate(shard);
    garbage_collect(shard);
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
    if (code == 0)
        code = check_settings(shard, options->key_rule, error);
    if (code == 0) {
        shard_metrics_create(&shard->metrics, store->metrics, shard->collection, shard->name);
        shard->logs.written_bytes = shard->metrics.bytes_log;
        manifest_count_bytes(shard->manifest, shard->metrics.bytes_manifest);
        code = recovery_run(shard, error);
    }
    if (code == 0)
        refusals_begin(shard, store_shard_next_offset(shard));
    if (code != 0) {
        error_wrap(error, "%s/%s: open", options->collection, options->name);
        shard_metrics_remove(&shard->metrics);
        shard_delete(shard);
        return code;
    }
    atomic_fetch_add(&store->shard_count, 1);
    shard->background.work = work_behind;
    background_add(store->background, &shard->background);
    *out = shard;
    return 0;
}

static bool snapshots_left(const void *context)
{
    return ((const struct store_shard *)context)->snapshots.all_released;
}

int store_shard_close(struct store_shard *shard, bool flush, struct error *error)
{
    struct store *store = shard->store;
    struct error unused = {0};
    int code = 0;

    if (flush)
        code = store_shard_flush(shard, error);
    if (flush && code == 0 && !store_shard_stopped(shard))
        (void)manifest_leave_spans(shard->manifest, ERROR_IGNORED); /* it is as good as it was */
    store_shard_end_waits(shard);
    if (atomic_fetch_or(&shard->snapshots.count, SHARD_LEAVING) > 0)
        (void)events_wait(&store->events, snapshots_left, shard, INT64_MAX, NULL, &unused);
    background_remove(store->background, &shard->background);
    garbage_collect(shard);
    shard_metrics_remove(&shard->metrics);
    shard_delete(shard);
    atomic_fetch_sub(&store->shard_count, 1);
    return code;
}
