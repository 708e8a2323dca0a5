/* What a shard knows of its windows apart from their files.
 *
 *     notes    one a window: when the last record came, the latest generation, who works on it
 *     pending  numbers of files that are being written, which no edit names yet
 *     damages  files that could not be opened; their windows are left out of every version */
#ifndef STORE_WINDOWS_H
#define STORE_WINDOWS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/files/manifest.h"

struct log_file;
struct merge_progress;

struct window_note {
    int64_t start_ms, length_ms;
    int64_t last_arrival_wall_ms;
    uint64_t last_generation; /* highest seen: a window that comes again goes on from there */
    bool locked;              /* a compaction, a drop or a rebuild has it to itself */
    const struct merge_progress *merge; /* of who has it; NULL: nothing is merged */
};

struct shard_windows {
    pthread_mutex_t lock; /* the notes lock: all below, and the counts by window in memtables */
    struct window_note *notes;
    size_t count, capacity;
    _Atomic uint64_t locks_released; /* counts window_lock_release */
    uint64_t *pending;
    size_t pending_count, pending_capacity;
};

void windows_create(struct shard_windows *windows);
void windows_destroy(struct shard_windows *windows);

/** The note of a window, made when missing. Under the notes lock; valid until it is released. */
struct window_note *windows_note(struct shard_windows *windows, int64_t start_ms,
                                 int64_t length_ms);

/** Takes the window lock, which a thread holds for as long as it works on the window's files.
 * ERROR_BUSY when another one has it. */
int window_lock_take(struct shard_windows *windows, int64_t start_ms, int64_t length_ms,
                     struct error *error);
/** Whoever waits for the window is told with events_notify. */
void window_lock_release(struct shard_windows *windows, int64_t start_ms, int64_t length_ms);
/** Shows a merge to descriptions until NULL takes its place. Under the window lock. */
void windows_set_merge(struct shard_windows *windows, int64_t start_ms, int64_t length_ms,
                       const struct merge_progress *merge);
bool window_lock_is_free(struct shard_windows *windows, int64_t start_ms, int64_t length_ms);

/** Reserves the number of a file about to be written; it counts as temporary until
 * windows_pending_done. */
int windows_pending_reserve(struct shard_windows *windows, struct manifest *manifest,
                            uint64_t *number, struct error *error);
void windows_pending_done(struct shard_windows *windows, uint64_t number);

/* A table that could not be opened. */
struct damaged_table {
    uint64_t file_number;
    int64_t window_start_ms, window_length_ms;
    int64_t min_offset;
    uint64_t generation;
    bool sealed;
    uint64_t bytes;
    struct log_file *log; /* of a chunk; referenced */
};

/* Filled when the shard is opened; the commit lock later. */
struct shard_damages {
    struct damaged_table *items;
    size_t count;
    char *text;                  /* NULL: none; kept until the end, readers may hold it */
    _Atomic(const char *) shown; /* it, until the last window is mended or dropped */
};

void damages_destroy(struct shard_damages *damages);

/** Whether the table belongs to this window. */
bool damage_is_of(const struct damaged_table *damage, int64_t start_ms, int64_t length_ms);
/** Drops the window's tables in the edit; returns how many. */
size_t damages_edit_drop(const struct shard_damages *damages, int64_t start_ms, int64_t length_ms,
                         struct manifest_edit *edit);
/** The edit is durable: forgets them; their files go now. */
void damages_forget(struct shard_damages *damages, struct io *io, const char *directory,
                    int64_t start_ms, int64_t length_ms);

#endif
