/* Making masks durable: the rows that died in sstables since their masks were last written.
 *
 *     masks_persist   writes a mask file (n.mask) and names it in the edit
 *     commit          the caller's manifest edit
 *     masks_written   or masks_abandoned
 *
 * A mask file replaces the one before: it holds all rows of its table that died below an offset,
 * which is the flushed offset after the edit. What died later is found again by the replay of the
 * log. All of it happens under the commit lock. */
#include <stdlib.h>

#include "store/operations.h"

int masks_persist(struct store_shard *shard, struct sstable *sstable, int64_t below,
                  struct manifest_edit *edit, struct mask_update *update, struct error *error)
{
    struct mask_entry *entries;
    uint32_t seen = atomic_load_explicit(&sstable->masked_rows, memory_order_acquire);
    int code = 0;

    *update = (struct mask_update){.sstable = sstable, .masked_seen = seen};
    if (seen == sstable->masked_last)
        return 0;
    entries = sstable_collect_masks(sstable, below, &update->rows);
    if (update->rows > sstable->persisted_rows) {
        code = windows_pending_reserve(&shard->windows, shard->manifest, &update->number, error);
        if (code == 0)
            code = mask_write(shard->io, shard->directory, update->number,
                              sstable->description.file_number, entries, update->rows,
                              &update->bytes, error);
        if (code == 0)
            manifest_edit_mask(edit, sstable->description.file_number, update->number,
                               update->bytes);
    }
    free(entries);
    return code;
}

void masks_written(struct store_shard *shard, const struct mask_update *update)
{
    struct sstable *sstable = update->sstable;
    char path[LOG_PATH_BYTES];

    /* All that is marked is persisted: nothing to collect until more rows die. */
    if (update->rows == update->masked_seen)
        sstable->masked_last = update->masked_seen;
    if (update->number == 0)
        return;
    if (sstable->mask_number != 0) {
        table_path(shard->directory, sstable->mask_number, "mask", path, sizeof(path));
        if (io_unlink(shard->io, path, ERROR_IGNORED) ==
            0) /* else dropped: removed at the next opening */
            manifest_forget(shard->manifest, sstable->mask_number);
    }
    sstable->mask_number = update->number;
    sstable->persisted_rows = update->rows;
    atomic_store_explicit(&sstable->mask_bytes, update->bytes, memory_order_relaxed);
    windows_pending_done(&shard->windows, update->number);
    metric_add(shard->metrics.bytes_mask, (double)update->bytes);
}

void masks_abandoned(struct store_shard *shard, const struct mask_update *update, bool remove)
{
    char path[LOG_PATH_BYTES];

    if (update->number == 0)
        return;
    table_path(shard->directory, update->number, "mask", path, sizeof(path));
    if (remove)
        (void)io_unlink(shard->io, path,
                        ERROR_IGNORED); /* else an orphan, removed at the next opening */
    windows_pending_done(&shard->windows, update->number);
}

int masks_persist_all(struct store_shard *shard, struct version *version, int64_t below,
                      struct manifest_edit *edit, struct mask_update **updates, size_t *count,
                      struct error *error)
{
    bool written = false;
    int code = 0;

    *updates = calloc(version->entry_count ? version->entry_count : 1, sizeof(**updates));
    if (!*updates)
        abort();
    *count = 0;
    for (size_t i = 0; i < version->entry_count && code == 0; i++) {
        code = masks_persist(shard, version->entries[i].sstable, below, edit, &(*updates)[*count],
                             error);
        written |= (*updates)[*count].number != 0;
        *count += 1;
    }
    if (code == 0 && written)
        code = io_sync_directory(shard->io, shard->directory, error);
    return code;
}
