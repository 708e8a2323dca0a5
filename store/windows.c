/* Notes of windows are never removed: a window that comes again after it was dropped goes on with
 * the next generation, and there are few of them (one a window that this process has seen).
 *
 * The window lock is a flag in the note, not a mutex: work on a window takes minutes, moves between
 * threads of a pool, and whoever finds it taken does something else (ERROR_BUSY) or sleeps in
 * store_shard_wait_window. Whoever releases it first counts locks_released, then notifies, so that
 * a wait that began between the two sees one of them.
 *
 * Pending numbers close a gap between two truths. A file that is being written is in no edit, so
 * the manifest alone would call it an orphan; describe counts such files as temporary bytes.
 * Orphans are only removed while a shard opens, when nothing is pending. */
#include "store/windows.h"

#include <stdlib.h>

#include "base/memory.h"
#include "store/files/log.h"

void windows_create(struct shard_windows *windows)
{
    if (pthread_mutex_init(&windows->lock, NULL) != 0)
        abort();
}

void windows_destroy(struct shard_windows *windows)
{
    pthread_mutex_destroy(&windows->lock);
    free(windows->notes);
    free(windows->pending);
}

/* From the end: the newest windows are asked for most. */
struct window_note *windows_note(struct shard_windows *windows, int64_t start_ms, int64_t length_ms)
{
    struct window_note *grown;

    for (size_t i = windows->count; i-- > 0;)
        if (windows->notes[i].start_ms == start_ms && windows->notes[i].length_ms == length_ms)
            return &windows->notes[i];
    if (windows->count == windows->capacity) {
        windows->capacity = windows->capacity ? windows->capacity * 2 : 16;
        grown = memory_resize(windows->notes, windows->capacity, sizeof(*grown));
        windows->notes = grown;
    }
    windows->notes[windows->count] =
        (struct window_note){.start_ms = start_ms, .length_ms = length_ms};
    return &windows->notes[windows->count++];
}

int window_lock_take(struct shard_windows *windows, int64_t start_ms, int64_t length_ms,
                     struct error *error)
{
    struct window_note *note;
    int code = 0;

    if (length_ms < 0 || (length_ms == 0 && start_ms != 0))
        return error_set(error, ERROR_INVALID, "invalid window length of %lld ms",
                         (long long)length_ms);
    pthread_mutex_lock(&windows->lock);
    note = windows_note(windows, start_ms, length_ms);
    if (note->locked)
        code = error_set(error, ERROR_BUSY, "the window is in use by another job");
    else
        note->locked = true;
    pthread_mutex_unlock(&windows->lock);
    return code;
}

void window_lock_release(struct shard_windows *windows, int64_t start_ms, int64_t length_ms)
{
    pthread_mutex_lock(&windows->lock);
    windows_note(windows, start_ms, length_ms)->locked = false;
    pthread_mutex_unlock(&windows->lock);
    atomic_fetch_add(&windows->locks_released, 1);
}

void windows_set_merge(struct shard_windows *windows, int64_t start_ms, int64_t length_ms,
                       const struct merge_progress *merge)
{
    pthread_mutex_lock(&windows->lock);
    windows_note(windows, start_ms, length_ms)->merge = merge;
    pthread_mutex_unlock(&windows->lock);
}

bool window_lock_is_free(struct shard_windows *windows, int64_t start_ms, int64_t length_ms)
{
    bool locked;

    pthread_mutex_lock(&windows->lock);
    locked = windows_note(windows, start_ms, length_ms)->locked;
    pthread_mutex_unlock(&windows->lock);
    return !locked;
}

/* The number is durable in the manifest before the file exists: a crash leaves an orphan that the
 * next opening may remove, never a file whose number is given out again. */
int windows_pending_reserve(struct shard_windows *windows, struct manifest *manifest,
                            uint64_t *number, struct error *error)
{
    int code = manifest_reserve(manifest, number, error);

    if (code != 0)
        return code;
    pthread_mutex_lock(&windows->lock);
    if (windows->pending_count == windows->pending_capacity) {
        uint64_t *grown;
        windows->pending_capacity = windows->pending_capacity ? windows->pending_capacity * 2 : 16;
        grown = memory_resize(windows->pending, windows->pending_capacity, sizeof(*grown));
        windows->pending = grown;
    }
    windows->pending[windows->pending_count++] = *number;
    pthread_mutex_unlock(&windows->lock);
    return 0;
}

void windows_pending_done(struct shard_windows *windows, uint64_t number)
{
    pthread_mutex_lock(&windows->lock);
    for (size_t i = 0; i < windows->pending_count; i++)
        if (windows->pending[i] == number) {
            windows->pending[i] = windows->pending[--windows->pending_count];
            break;
        }
    pthread_mutex_unlock(&windows->lock);
}

void damages_destroy(struct shard_damages *damages)
{
    for (size_t i = 0; i < damages->count; i++)
        log_file_unref(damages->items[i].log);
    free(damages->items);
    free(damages->text);
}

bool damage_is_of(const struct damaged_table *damage, int64_t start_ms, int64_t length_ms)
{
    return damage->window_start_ms == start_ms && damage->window_length_ms == length_ms;
}

size_t damages_edit_drop(const struct shard_damages *damages, int64_t start_ms, int64_t length_ms,
                         struct manifest_edit *edit)
{
    size_t count = 0;

    for (size_t i = 0; i < damages->count; i++) {
        if (!damage_is_of(&damages->items[i], start_ms, length_ms))
            continue;
        manifest_edit_table_drop(edit, damages->items[i].file_number);
        count++;
    }
    return count;
}

/* Mask and segment of a damaged table keep their files until the next opening, which removes what
 * no edit names. */
void damages_forget(struct shard_damages *damages, struct io *io, const char *directory,
                    int64_t start_ms, int64_t length_ms)
{
    static const char *const extensions[] = {"chunk", "run", "vectors"};
    char path[LOG_PATH_BYTES];
    size_t kept = 0;

    for (size_t i = 0; i < damages->count; i++) {
        const struct damaged_table *damage = &damages->items[i];
        if (!damage_is_of(damage, start_ms, length_ms)) {
            damages->items[kept++] = *damage;
            continue;
        }
        for (size_t e = 0; e < sizeof(extensions) / sizeof(extensions[0]); e++) {
            table_path(directory, damage->file_number, extensions[e], path, sizeof(path));
            (void)io_unlink(io, path, ERROR_IGNORED); /* else removed at the next opening */
        }
        log_file_unref(damage->log);
    }
    damages->count = kept;
    if (kept == 0)
        atomic_store(&damages->shown, NULL);
}
