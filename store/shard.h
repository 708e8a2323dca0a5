/* The inside of a store and its shards.
 *
 * Locks of a shard, in the order in which they may be taken:
 *
 *     flush_lock    one flush at a time
 *     commit_lock   flush, seal, tier, drop, attach: from choosing what an edit says until the
 *                   version that shows it is published
 *     append_lock   one append at a time; versions are published and rows die under it
 *     window_notes_lock  the counts by window, in memtables and in the shard
 *     manifest lock, garbage lock: leaves
 *
 * Readers take none of them. No lock but flush_lock is held while a chunk or run is written; an
 * edit is synced under the commit lock, never under the append lock (but for the one that brings a
 * log file into use). */
#ifndef STORE_SHARD_H
#define STORE_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/io.h"
#include "base/metrics.h"
#include "store/buffers.h"
#include "store/events.h"
#include "store/garbage.h"
#include "store/manifest.h"
#include "store/memtable.h"
#include "store/sstable.h"
#include "store/store.h"
#include "store/version.h"

enum { SHARD_TEXT_BYTES = 1100, SHARD_SPARE_LOGS = 2 };
#define SHARD_LEAVING (UINT32_C(1) << 31)

struct store {
    struct io *io;
    struct metrics *metrics;
    char *data_dir;
    char *lock_path;
    int lock_file;
    uint64_t memory_max_bytes;
    uint64_t memtable_max_bytes;
    uint32_t merge_threads;             /* of all merges together, as far as each has one */
    _Atomic uint32_t merge_running;     /* of them at work */
    _Atomic uint64_t memory_used_bytes; /* memtables with their log buffers, kept buffers */
    _Atomic uint64_t decoded_bytes;     /* blocks of packed runs that searches asked for */
    struct buffers buffers;
    struct store_events events;
    _Atomic uint32_t shard_count;
    pthread_mutex_t shadow_lock;           /* while folders of rebuilds are made or removed */
    struct log_preallocator *preallocator; /* NULL: logs are too small for one */
};

/* What is known of a window apart from its files. */
struct shard_window {
    int64_t start_ms, length_ms;
    int64_t last_arrival_wall_ms;
    uint64_t last_generation; /* highest seen: a window that comes again goes on from there */
    bool busy;                /* a major, a tier or a drop is under way */
};

/* A table that could not be opened; its whole window is left out of every version. */
struct shard_damage {
    uint64_t file_number;
    int64_t window_start_ms, window_length_ms;
    int64_t min_offset;
    uint64_t generation;
    bool sealed;
    uint64_t bytes;
    struct log_file *log; /* of a chunk; referenced */
};

struct shard_metrics {
    struct metric *bytes_log;
    struct metric *bytes_chunk;
    struct metric *bytes_run;
    struct metric *bytes_mask;
    struct metric *bytes_manifest;
    struct metric *user_bytes;
    struct metric *fsync_seconds;
    struct metric *stall_memory_seconds;
    struct metric *stall_compaction_seconds;
    struct metric *stall_held_seconds;
    struct metric *stall_cap_seconds;
    struct metric *memtable_bytes;
    struct metric *tables;
    struct metric *compactions;
    struct metric *write_amplification;
    struct metric *space_amplification;
    struct metric *lookups;
    struct metric *lookup_reads;
};

struct store_shard {
    struct store *store;
    struct store_shard *preallocator_next; /* in the preallocator's list */
    struct io *io;
    char *directory;
    char *collection;
    char *name;
    uint32_t dim;
    enum store_metric metric;
    enum store_durability durability;
    enum store_codec codec;
    _Atomic int64_t window_ms;
    _Atomic int64_t ttl_ms;
    atomic_bool over_cap;          /* appends of records wait */
    uint32_t level0_files_max;     /* 0: any number */
    _Atomic uint32_t level0_files; /* of the window without bounds, in the current version */

    struct manifest *manifest;
    struct epoch *epoch;
    _Atomic(struct version *) current;
    _Atomic int64_t visible; /* first offset that is not visible; -1: nothing was ever stored */
    _Atomic int64_t watermark_ms;
    _Atomic int64_t last_record_wall_ms;
    _Atomic int64_t safe_wall_ms;
    _Atomic uint32_t snapshot_count; /* and SHARD_LEAVING once the shard closes */
    bool snapshots_left;             /* the last one is released; events lock */
    _Atomic bool waits_ended;        /* store_shard_end_waits */
    _Atomic uint64_t room_seen;      /* events.room before the last append looked for room */
    _Atomic bool trimming;           /* decoded blocks are given back: a snapshot waits for it */

    pthread_mutex_t flush_lock;
    pthread_mutex_t commit_lock;
    pthread_mutex_t append_lock;
    pthread_cond_t publishers_served;    /* with the append lock: none waits any more */
    _Atomic uint32_t publishers_waiting; /* for the append lock: shard_publish_lock */
    pthread_mutex_t window_notes_lock;

    uint64_t extend_min_bytes; /* LOG_EXTEND_MIN_BYTES, but for tests */
    struct memtable *active;   /* takes appends; NULL between a rotation and the next append */
    int64_t next_sequence;     /* of the next frame; append lock */
    struct store_topic_fingerprint topic; /* below the visible offset; append lock */
    int64_t flushed_offset;               /* everything below is in chunks and runs; commit lock */
    _Atomic uint32_t immutable_count;
    _Atomic uint64_t active_bytes; /* memory of the active memtable */
    _Atomic uint64_t frames_bytes; /* written to logs since the opening */
    uint64_t zeros_bytes;          /* written by the preallocator since the opening; its own */
    _Atomic bool bulk;             /* the last frame was a large one (LOG_BULK_BYTES) */
    _Atomic bool many_windows;     /* the active memtable touches more than the bound */
    _Atomic bool closing;
    _Atomic bool held; /* appends wait: a rebuild swaps its window in */

    struct shard_window *windows; /* window lock */
    size_t window_count, window_capacity;

    pthread_mutex_t garbage_lock;
    struct sstable *garbage_sstables;
    struct attachment *garbage_attachments;
    struct log_file *garbage_logs;
    struct log_file *spare_logs;
    struct log_file *active_log;  /* of the active memtable, which holds the reference */
    _Atomic uint64_t log_bytes;   /* of all log files, spares included */
    pthread_mutex_t collect_lock; /* one collector at a time */

    uint64_t *pending; /* numbers of files being written or reserved for segments; window lock */
    size_t pending_count, pending_capacity;

    struct shard_damage *damages; /* filled when opened; commit lock later */
    size_t damage_count;
    char *damage_text;                  /* NULL: none; kept until the end, readers may hold it */
    _Atomic(const char *) damage_shown; /* it, until the last window is mended or dropped */

    _Atomic(const char *) stopped; /* points to stopped_text once it is filled */
    int64_t stalled_since_ns;      /* first append that had to wait; 0: none; append lock */
    struct metric *stalled_for;    /* what it waits for */
    char stopped_text[SHARD_TEXT_BYTES];
    pthread_mutex_t stop_lock;

    struct shard_metrics metrics;
};

/** How much of the memory decoded blocks may hold before they are given back. */
static inline uint64_t store_decoded_max(const struct store *store)
{
    return store->memory_max_bytes / 4;
}

/** What counts against memory_max_bytes. Decoded blocks go when no search is under way, so that
 * more of them than their share must not hold the writer back. */
static inline uint64_t store_memory_used(const struct store *store)
{
    uint64_t decoded = atomic_load_explicit(&store->decoded_bytes, memory_order_relaxed);
    uint64_t most = store_decoded_max(store);

    return atomic_load_explicit(&store->memory_used_bytes, memory_order_relaxed) +
           (decoded < most ? decoded : most);
}

/** Stops writes for good when `code` says that the device failed (ERROR_IO); returns `code`. */
int shard_check_stop(struct store_shard *shard, int code, const struct error *error);
/** ERROR_IO when the shard is stopped. */
int shard_check_running(const struct store_shard *shard, struct error *error);

/** The shard's note of a window, made when missing. Under the window lock; the pointer is valid
 * until it is released. */
struct shard_window *shard_window(struct store_shard *shard, int64_t start_ms, int64_t length_ms);
/** Marks a window as being worked on. ERROR_BUSY when it is already. */
int window_lock_take(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                     struct error *error);
void window_lock_release(struct store_shard *shard, int64_t start_ms, int64_t length_ms);

/** Reserves the number of a file about to be written; it counts as temporary until
 * shard_pending_done. */
int shard_pending_reserve(struct store_shard *shard, uint64_t *number, struct error *error);
void shard_pending_done(struct store_shard *shard, uint64_t number);

/** Whether a memtable holds rows of the window. */
bool shard_memtables_touch(struct store_shard *shard, int64_t start_ms, int64_t length_ms);

/** Takes the append lock to publish a version. The mutex is not fair: a writer that appends without
 * a pause holds it through every sync and took it again before a flush woke up (three merges in
 * twenty seconds), so the writer lets those go first that wait here. */
void shard_publish_lock(struct store_shard *shard);
/** The writer's way to the append lock. */
void shard_append_lock(struct store_shard *shard);

/** Creates the shard's metric series; no-op without a registry. */
void shard_metrics_create(struct store_shard *shard);
void shard_metrics_remove(struct store_shard *shard);
/** Windows dropped for this cause ("ttl", "fifo"). */
struct metric *shard_metrics_drops(struct store_shard *shard, const char *cause);

/** Replays logs into memtables; the first version is published. Called once, while opening. */
int recovery_run(struct store_shard *shard, struct error *error);

/** Puts the rows of a frame that lies in the memtable's buffer into the memtable and marks what
 * they replace as dead. Under the append lock. */
void append_apply_frame(struct store_shard *shard, struct memtable *memtable,
                        const struct version *version, const struct log_frame *frame,
                        int64_t arrival_wall_ms);
/** Publishes next offset, topic and clock. Under the append lock. */
void append_publish(struct store_shard *shard, int64_t next_offset,
                    const struct store_topic_fingerprint *topic, const struct store_clock *clock);
/** Makes the active memtable immutable. Under the append lock. */
void append_rotate(struct store_shard *shard);

/** When a row expires: event time and the shorter of the shard's TTL and its own (0: none).
 * INT64_MAX: never. */
static inline int64_t shard_row_expiry_ms(int64_t event_time_ms, int64_t row_ttl_ms, int64_t ttl_ms)
{
    int64_t shorter = row_ttl_ms > 0 && (ttl_ms == 0 || row_ttl_ms < ttl_ms) ? row_ttl_ms : ttl_ms;
    int64_t expiry;

    if (shorter == 0 || __builtin_add_overflow(event_time_ms, shorter, &expiry))
        return INT64_MAX;
    return expiry;
}

/** Whether a row expired at `now_ms`: TTL of the shard (0: none) and its own (0: none). */
static inline bool shard_row_expired(int64_t event_time_ms, int64_t row_ttl_ms, int64_t ttl_ms,
                                     int64_t now_ms)
{
    int64_t expiry = shard_row_expiry_ms(event_time_ms, row_ttl_ms, ttl_ms);

    return expiry <= now_ms && expiry != INT64_MAX;
}

#endif
