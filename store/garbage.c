#include "store/garbage.h"

#include <stdlib.h>

#include "base/logger.h"
#include "store/log_preallocator.h"
#include "store/shard.h"

void garbage_add_sstable(struct store_shard *shard, struct sstable *sstable)
{
    pthread_mutex_lock(&shard->garbage_lock);
    sstable->next = shard->garbage_sstables;
    shard->garbage_sstables = sstable;
    pthread_mutex_unlock(&shard->garbage_lock);
    log_preallocator_wake(shard->store->preallocator);
}

void garbage_add_attachment(struct store_shard *shard, struct attachment *attachment)
{
    pthread_mutex_lock(&shard->garbage_lock);
    attachment->next = shard->garbage_attachments;
    shard->garbage_attachments = attachment;
    pthread_mutex_unlock(&shard->garbage_lock);
    log_preallocator_wake(shard->store->preallocator);
}

void garbage_add_log(struct store_shard *shard, struct log_file *log)
{
    pthread_mutex_lock(&shard->garbage_lock);
    log->next = shard->garbage_logs;
    shard->garbage_logs = log;
    pthread_mutex_unlock(&shard->garbage_lock);
    log_preallocator_wake(shard->store->preallocator);
}

struct log_file *garbage_take_spare(struct store_shard *shard)
{
    struct log_file *log;

    pthread_mutex_lock(&shard->garbage_lock);
    log = shard->spare_logs;
    if (log) {
        shard->spare_logs = log->next;
        log->next = NULL;
    }
    pthread_mutex_unlock(&shard->garbage_lock);
    return log;
}

/* A reference to the log that `place` holds, if any. */
static struct log_file *log_of(struct store_shard *shard, struct log_file *const *place)
{
    struct log_file *log;

    pthread_mutex_lock(&shard->garbage_lock);
    log = *place;
    if (log)
        log_file_ref(log);
    pthread_mutex_unlock(&shard->garbage_lock);
    return log;
}

struct log_file *garbage_next_spare(struct store_shard *shard)
{
    return log_of(shard, &shard->spare_logs);
}

struct log_file *garbage_active_log(struct store_shard *shard)
{
    return log_of(shard, &shard->active_log);
}

/* How many bytes of spare files are worth keeping. A sealed window gives back all its log files at
 * once, and the next window takes as many: what is removed here is zero-written again there. A
 * twentieth of what is stored is room for that, with the twenty and more windows that a TTL should
 * have, and keeps space amplification below 1.1. */
static uint64_t spare_max_bytes(struct store_shard *shard)
{
    struct version *version = version_acquire(shard);
    uint64_t min_bytes = SHARD_SPARE_LOGS * shard->store->memtable_max_bytes;
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

void garbage_put_spare(struct store_shard *shard, struct log_file *log)
{
    struct manifest_edit edit = {0};
    uint64_t max_bytes = spare_max_bytes(shard);
    uint64_t bytes = log->allocated_bytes;
    bool spare;

    pthread_mutex_lock(&shard->garbage_lock);
    for (const struct log_file *other = shard->spare_logs; other; other = other->next)
        bytes += other->allocated_bytes;
    /* Files of oversized groups would keep too much. */
    spare = bytes <= max_bytes &&
            log->allocated_bytes <= shard->store->memtable_max_bytes + LOG_FRAME_ALIGNMENT;
    if (spare) {
        log->durable = shard->durability == STORE_DURABILITY_LOG;   /* as it will be opened */
        atomic_store_explicit(&log->refs, 1, memory_order_relaxed); /* of whoever takes it */
        log->next = shard->spare_logs;
        shard->spare_logs = log;
    }
    pthread_mutex_unlock(&shard->garbage_lock);
    if (spare)
        return;
    if (!atomic_load(&shard->stopped)) {
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
    struct sstable *sstables;
    struct attachment *attachments;
    struct log_file *logs;

    pthread_mutex_lock(&shard->collect_lock);
    epoch_collect(shard->epoch);
    for (;;) {
        pthread_mutex_lock(&shard->garbage_lock);
        sstables = shard->garbage_sstables;
        attachments = shard->garbage_attachments;
        logs = shard->garbage_logs;
        shard->garbage_sstables = NULL;
        shard->garbage_attachments = NULL;
        shard->garbage_logs = NULL;
        pthread_mutex_unlock(&shard->garbage_lock);
        if (!sstables && !attachments && !logs)
            break;
        while (sstables) {
            struct sstable *next = sstables->next;
            collect_sstable(shard, sstables);
            sstables = next;
        }
        while (attachments) {
            struct attachment *next = attachments->next;
            collect_attachment(shard, attachments);
            attachments = next;
        }
        while (logs) {
            struct log_file *next = logs->next;
            if (atomic_load(&shard->closing))
                log_file_delete(logs);
            else
                garbage_put_spare(shard, logs);
            logs = next;
        }
    }
    pthread_mutex_unlock(&shard->collect_lock);
}

void garbage_collect_behind(struct store_shard *shard)
{
    if (shard->store->preallocator)
        log_preallocator_wake(shard->store->preallocator);
    else
        garbage_collect(shard);
}

uint64_t garbage_bytes(struct store_shard *shard)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&shard->garbage_lock);
    for (const struct sstable *sstable = shard->garbage_sstables; sstable; sstable = sstable->next)
        if (atomic_load(&sstable->dropped))
            bytes += sstable->info.index_bytes +
                     (sstable->description.kind == TABLE_RUN ? sstable->info.vector_bytes : 0) +
                     atomic_load_explicit(&sstable->mask_bytes, memory_order_relaxed);
    for (const struct attachment *attachment = shard->garbage_attachments; attachment;
         attachment = attachment->next)
        if (atomic_load(&attachment->dropped))
            bytes += attachment->segment.info.bytes;
    pthread_mutex_unlock(&shard->garbage_lock);
    return bytes;
}

void garbage_destroy(struct store_shard *shard)
{
    struct log_file *log;

    while ((log = garbage_take_spare(shard)) != NULL)
        log_file_delete(log);
}
