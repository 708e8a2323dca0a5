/* Collecting garbage: closing and unlinking what was dropped, taking log files back to be used
 * again.
 *
 * The background thread does it, or whoever next flushes, compacts or drops. It runs under
 * collect_lock and no other lock: unlinking 100 MB takes milliseconds, and an item that is deleted
 * may make the next one (a chunk holds its log file), so the list is taken until it stays empty.
 *
 * A file that was dropped is in the manifest's list of dropped files until it is unlinked
 * (manifest_forget). What a crash leaves in between is removed by the next opening. */
#include "store/operations.h"

#include <stdlib.h>

#include "base/logger.h"

enum { SPARE_LOGS_MIN = 2 };

/* How many bytes of spare files are worth keeping. A sealed window gives back all its log files at
 * once, and the next window takes as many: what is removed here is zero-written again there. A
 * twentieth of what is stored is room for that, with the twenty and more windows that a TTL should
 * have, and keeps space amplification below 1.1. */
static uint64_t spare_max_bytes(struct store_shard *shard)
{
    struct version *version = version_acquire(shard);
    uint64_t min_bytes = SPARE_LOGS_MIN * shard->store->memtable_max_bytes;
    uint64_t bytes = 0;

    for (size_t i = 0; i < version->entry_count; i++)
        if (version->entries[i].sstable->description.kind == TABLE_RUN)
            bytes += version->entries[i].sstable->info.vector_bytes;
    version_unref(version);
    return bytes / 20 > min_bytes ? bytes / 20 : min_bytes;
}

/* Unlinks a file; true when it is gone. What cannot be removed stays among the dropped files of the
 * manifest and is tried again at the next opening. */
static bool remove_file(struct store_shard *shard, uint64_t number, const char *extension)
{
    struct error error;
    char path[LOG_PATH_BYTES];

    table_path(shard->directory, number, extension, path, sizeof(path));
    if (io_unlink(shard->io, path, &error) == 0)
        return true;
    log_warning("store", "%s", error.text);
    return false;
}

static void drop_log(struct store_shard *shard, struct log_file *log)
{
    struct manifest_edit edit = {0};
    struct error error;
    int code;

    manifest_edit_log_drop(&edit, log->number);
    code = manifest_commit(shard->manifest, &edit, &error);
    if (code == 0) {
        if (remove_file(shard, log->number, "log"))
            manifest_forget(shard->manifest, log->number);
        log_file_set_allocated(log, 0);
    } else {
        (void)shard_check_stop(shard, code, &error); /* else stays: found when opened again */
    }
    manifest_edit_destroy(&edit);
}

/* Makes a spare of it, or removes it when there are enough. Files of oversized groups would keep
 * too much. */
static void collect_log(struct store_shard *shard, struct log_file *log)
{
    bool closing = atomic_load(&shard->garbage.closing);
    bool oversized = log->allocated_bytes > shard->store->memtable_max_bytes + LOG_FRAME_ALIGNMENT;

    if (!closing && !oversized &&
        log_space_put_spare(&shard->logs, log, shard->durability == STORE_DURABILITY_LOG,
                            spare_max_bytes(shard)))
        return;
    if (!closing && !atomic_load(&shard->stop.reason))
        drop_log(shard, log);
    log_file_delete(log);
}

static void collect_sstable(struct store_shard *shard, struct sstable *sstable)
{
    bool dropped = atomic_load(&sstable->dropped);
    uint64_t number = sstable->description.file_number;
    uint64_t mask_number = sstable->mask_number;
    bool chunk = sstable->description.kind == TABLE_CHUNK;

    sstable_delete(sstable);
    if (!dropped)
        return;
    if (!chunk && !remove_file(shard, number, "columns"))
        return; /* the number stays among the dropped: the next opening removes all files of it */
    if (chunk ? remove_file(shard, number, "chunk")
              : remove_file(shard, number, "vectors") && remove_file(shard, number, "run"))
        manifest_forget(shard->manifest, number);
    if (mask_number != 0 && remove_file(shard, mask_number, "mask"))
        manifest_forget(shard->manifest, mask_number);
}

static void collect_attachment(struct store_shard *shard, struct attachment *attachment)
{
    bool dropped = atomic_load(&attachment->dropped);
    uint64_t number = attachment->segment.info.file_number;

    attachment_delete(attachment);
    if (dropped && number != 0 && remove_file(shard, number, "segment"))
        manifest_forget(shard->manifest, number);
}

void garbage_collect(struct store_shard *shard)
{
    struct garbage_item *items;

    pthread_mutex_lock(&shard->garbage.collect_lock);
    versions_collect(&shard->versions);
    while ((items = garbage_take(&shard->garbage)) != NULL)
        while (items) {
            struct garbage_item *item = items;
            items = item->next;
            if (item->kind == GARBAGE_SSTABLE)
                collect_sstable(shard, (struct sstable *)item);
            else if (item->kind == GARBAGE_ATTACHMENT)
                collect_attachment(shard, (struct attachment *)item);
            else
                collect_log(shard, (struct log_file *)item);
        }
    pthread_mutex_unlock(&shard->garbage.collect_lock);
}

void garbage_collect_behind(struct store_shard *shard)
{
    if (shard->store->background)
        background_wake(shard->store->background);
    else
        garbage_collect(shard);
}

static uint64_t sstable_bytes(const struct sstable *sstable)
{
    if (!atomic_load(&sstable->dropped))
        return 0;
    return sstable->info.index_bytes +
           (sstable->description.kind == TABLE_RUN ? sstable->info.vector_bytes : 0) +
           atomic_load_explicit(&sstable->mask_bytes, memory_order_relaxed) +
           atomic_load_explicit(&sstable->columns_bytes, memory_order_relaxed);
}

static uint64_t attachment_bytes(const struct attachment *attachment)
{
    return atomic_load(&attachment->dropped) ? attachment->segment.info.bytes : 0;
}

uint64_t garbage_bytes(struct store_shard *shard)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&shard->garbage.lock);
    for (const struct garbage_item *item = shard->garbage.items; item; item = item->next) {
        if (item->kind == GARBAGE_SSTABLE)
            bytes += sstable_bytes((const struct sstable *)item);
        else if (item->kind == GARBAGE_ATTACHMENT)
            bytes += attachment_bytes((const struct attachment *)item);
    }
    pthread_mutex_unlock(&shard->garbage.lock);
    return bytes;
}
