/* Drop: a whole window goes with one edit. What it costs does not depend on how many rows it has:
 * files are unlinked later, when the last reader has left (garbage.c). */
#include <stdlib.h>

#include "base/logger.h"
#include "store/compaction.h"
#include "store/operations.h"

static void publish_without(struct store_shard *shard, int64_t start_ms, int64_t length_ms)
{
    struct version *next;
    size_t first;

    shard_publish_lock(shard);
    next = version_copy(atomic_load(&shard->versions.current));
    while (version_window(next, start_ms, length_ms, &first) > 0)
        version_drop_sstable(next, next->entries[first].sstable);
    version_drop_dead_spans(shard, next);
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->writer.lock);
}

struct drop_work {
    struct store_shard *shard;
    int64_t start_ms, length_ms;
    int64_t now_ms; /* nothing that lives longer may go; INT64_MAX: everything may */
    size_t dropped; /* filled: files */
};

/* A record can arrive between the description that asked for the drop and the drop. Under the
 * commit lock, after the flush: what comes later is in no file that goes. */
static int check_expired(const struct drop_work *work, const struct version *version, size_t first,
                         size_t count, struct error *error)
{
    for (size_t i = 0; i < count; i++) {
        struct sstable *sstable = version->entries[first + i].sstable;
        if (sstable_max_expiry_ms(sstable, work->shard->commit.flushed_offset) > work->now_ms)
            return error_set(error, ERROR_BUSY, "some of its rows have not expired");
    }
    return 0;
}

static int drop(void *context, struct error *error)
{
    struct drop_work *work = context;
    struct store_shard *shard = work->shard;
    int64_t start_ms = work->start_ms, length_ms = work->length_ms;
    struct manifest_edit edit = {0};
    struct version *version;
    size_t first;
    int code = 0;

    if (shard_memtables_touch(shard, start_ms, length_ms))
        code = flush_all(shard, error);
    if (code != 0)
        return code;
    pthread_mutex_lock(&shard->commit.lock);
    version = version_acquire(shard);
    work->dropped = version_window(version, start_ms, length_ms, &first);
    if (work->now_ms != INT64_MAX)
        code = check_expired(work, version, first, work->dropped, error);
    for (size_t i = 0; i < work->dropped; i++)
        manifest_edit_table_drop(&edit,
                                 version->entries[first + i].sstable->description.file_number);
    work->dropped += damages_edit_drop(&shard->damages, start_ms, length_ms, &edit);
    if (code == 0 && work->dropped > 0) {
        code = manifest_commit(shard->manifest, &edit, error);
        if (code == 0) {
            publish_without(shard, start_ms, length_ms);
            damages_forget(&shard->damages, shard->io, shard->directory, start_ms, length_ms);
        }
    }
    version_unref(version);
    pthread_mutex_unlock(&shard->commit.lock);
    manifest_edit_destroy(&edit);
    return code;
}

static int drop_window(struct drop_work *work, const char *cause, struct error *error)
{
    struct store_shard *shard = work->shard;
    int code = window_lock_run(shard, "drop", work->start_ms, work->length_ms, drop, work, error);

    if (code == 0 && work->dropped > 0) {
        metric_add(shard_metrics_drops(&shard->metrics, cause), 1);
        logger_write_event(LOGGER_INFO, "store", "window_dropped",
                           "%s/%s: dropped window %lld: %s, %zu files", shard->collection,
                           shard->name, (long long)work->start_ms, cause, work->dropped);
    }
    return code;
}

int store_shard_drop(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     const char *cause, struct error *error)
{
    struct drop_work work = {.shard = shard,
                             .start_ms = window_start_ms,
                             .length_ms = window_length_ms,
                             .now_ms = INT64_MAX};

    return drop_window(&work, cause, error);
}

int store_shard_drop_expired(struct store_shard *shard, int64_t window_start_ms,
                             int64_t window_length_ms, int64_t now_ms, struct error *error)
{
    struct drop_work work = {.shard = shard,
                             .start_ms = window_start_ms,
                             .length_ms = window_length_ms,
                             .now_ms = now_ms};

    return drop_window(&work, "ttl", error);
}
