/* Opening and closing a shard. */
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "store/collect.h"
#include "store/log_preallocator.h"
#include "store/recovery.h"
#include "store/shard.h"

/* Names become folders. */
static int check_name(const char *what, const char *name, struct error *error)
{
    if (!name || name[0] == '\0' || name[0] == '.' || strchr(name, '/') || strlen(name) > 200)
        return error_set(error, ERROR_INVALID, "%s '%s' is not a valid folder name", what,
                         name ? name : "");
    return 0;
}

static int check_options(const struct store_shard_options *options, struct error *error)
{
    int code = check_name("collection", options->collection, error);

    if (code == 0)
        code = check_name("shard", options->name, error);
    if (code == 0 && (options->dim == 0 || options->dim > 65536))
        code = error_set(error, ERROR_INVALID, "invalid dimension %u", options->dim);
    if (code == 0 && (options->window_ms < 0 || options->ttl_ms < 0))
        code = error_set(error, ERROR_INVALID, "invalid window of %lld ms or TTL of %lld ms",
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
    if (code == 0 && shard->manifest->state.dim != shard->dim)
        code = error_set(error, ERROR_INVALID, "dimension is %u on disk and %u in the config",
                         shard->manifest->state.dim, shard->dim);
    if (code == 0) {
        shard_metrics_create(&shard->metrics, store->metrics, shard->collection, shard->name);
        shard->logs.written_bytes = shard->metrics.bytes_log;
        manifest_count_bytes(shard->manifest, shard->metrics.bytes_manifest);
        code = recovery_run(shard, error);
    }
    if (code != 0) {
        if (error)
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

    if (flush && !store_shard_stopped(shard))
        code = store_shard_flush(shard, error);
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
