/* A store and its shards: what all operations (append, flush, compact, drop, attach, describe)
 * share.
 *
 * Each part of a shard says who writes it. Locks of a shard, in the order in which they may be
 * taken:
 *
 *     flush_lock     one flush at a time
 *     commit.lock    the commit lock. Flush, compaction, drop, attach, rebuild hold it from
 *                    choosing what an edit says until the version that shows it is published
 *     writer.lock    the append lock. One append at a time. Versions are published and rows die
 *                    under it
 *     windows.lock   the notes lock. Counts by window, in memtables and in the shard
 *     leaves         manifest, garbage.lock, logs.lock, stop.lock; the store's memory and events
 *
 * The window lock (window_lock_take) is no mutex: a compaction, a drop or a rebuild takes it before
 * all of these and keeps it while it reads and writes files. Readers take no lock at all.
 *
 * No mutex but flush_lock is held while a chunk or run is written. An edit is synced under the
 * commit lock, never under the append lock (but for the one that brings a log file into use). */
#ifndef STORE_SHARD_H
#define STORE_SHARD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "base/metrics.h"
#include "store/events.h"
#include "store/files/background.h"
#include "store/files/log.h"
#include "store/files/manifest.h"
#include "store/files/record.h"
#include "store/memory.h"
#include "store/memtable.h"
#include "store/shard_metrics.h"
#include "store/sstable.h"
#include "store/version.h"
#include "store/windows.h"

struct store {
    struct io *io;
    struct metrics *metrics;
    char *data_dir;
    char *collections; /* the folder of the collections' folders */
    char *lock_path;
    int lock_file;
    uint64_t memtable_max_bytes;
    uint32_t merge_threads;          /* of one merge at most */
    struct thread_pool *mergers;     /* join merges; NULL: each has its own thread only */
    struct thread_pool *log_readers; /* read ahead while a shard opens */
    _Atomic uint32_t shard_count;
    pthread_mutex_t shadow_lock; /* while folders of rebuilds are made or removed */
    struct store_memory memory;
    struct store_events events;
    struct background *background; /* NULL: logs are too small for one */
    _Atomic int64_t full_seen_ns;  /* when a write last found the disk full; 0: never did */
};

/* What a reload changes; any thread. */
struct shard_settings {
    _Atomic int64_t ttl_ms;
    atomic_bool over_cap;      /* appends of records wait */
    uint32_t level0_files_max; /* 0: any number; never changes */
};

/* What is visible. Written under the append lock, read by anyone. `visible` is the last to move. */
struct shard_progress {
    _Atomic int64_t visible; /* first offset that is not visible; -1: nothing was ever stored */
    _Atomic int64_t watermark_ms;
    _Atomic int64_t last_record_wall_ms;
    _Atomic int64_t safe_wall_ms;
    /* struct store_log_clock; together only while nothing is appended */
    atomic_bool log_known;
    _Atomic int64_t log_time_ms, log_stamp_ms, log_watermark_ms;
    _Atomic int64_t settled_ms; /* store_shard_settle; not durable */
};

/* refusals.c */
struct shard_refusals {
    pthread_mutex_t lock;       /* a leaf */
    struct store_refusal *ring; /* NULL: nothing was refused */
    int64_t known_from;         /* no refusal from this offset on is forgotten */
    size_t count;               /* ever */
};

/** Nothing is known of what was refused before the shard was opened. */
void refusals_begin(struct store_shard *shard, int64_t next_offset);
/** Keeps a group's refusals, before its offsets are visible. */
void refusals_note(struct store_shard *shard, const struct store_refusal *noted, size_t count);

/* Counted by readers. */
struct shard_snapshots {
    _Atomic uint32_t count; /* and SHARD_LEAVING once the shard closes */
    bool all_released;      /* events lock */
    _Atomic bool trimming;  /* decoded blocks are given back: a snapshot waits for it */
};

/* Set in the count of snapshots: the shard waits for the last of them. */
#define SHARD_LEAVING (UINT32_C(1) << 31)

/* The way of a record into the log and the memtable. */
struct shard_writer {
    pthread_mutex_t lock;                /* the append lock */
    pthread_cond_t publishers_served;    /* none waits any more */
    _Atomic uint32_t publishers_waiting; /* for the lock: shard_publish_lock */
    uint64_t extend_min_bytes;           /* LOG_EXTEND_MIN_BYTES, but for tests */

    /* Under the lock: */
    struct memtable *active; /* takes appends; NULL between a rotation and the next append */
    int64_t next_sequence;   /* of the next frame */
    struct store_topic_fingerprint topic; /* below the visible offset */
    int64_t stalled_since_ns;             /* first append that had to wait; 0: none */
    struct metric *stalled_for;           /* what it waits for */

    /* Written under the lock, read by anyone: */
    _Atomic uint32_t immutable_count; /* memtables that wait for their flush */
    _Atomic uint64_t active_bytes;    /* memory of the active memtable */
    _Atomic uint64_t frames_bytes;    /* written to logs since the opening */
    _Atomic bool bulk;                /* the last frame was a large one (LOG_BULK_BYTES) */
    _Atomic bool many_windows;        /* the active memtable touches more than the bound */
    _Atomic uint64_t room_seen;       /* events.room before the last append looked for room */

    _Atomic bool held; /* appends wait: a rebuild, which sets it, swaps its window in */
};

/* What is durable in the manifest. */
struct shard_commit {
    pthread_mutex_t lock;   /* the commit lock */
    int64_t flushed_offset; /* everything below is in chunks and runs */
};

enum { SHARD_TEXT_BYTES = 1100 };

/* Why writes have stopped for good, if they have. */
struct shard_stop {
    pthread_mutex_t lock;         /* a leaf */
    _Atomic(const char *) reason; /* NULL, or `text` once it is filled */
    char text[SHARD_TEXT_BYTES];
};

struct store_shard {
    /* Set when the shard is opened. */
    struct store *store;
    struct io *io;
    char *directory;
    char *collection;
    char *name;
    char *folder; /* the last part of the directory */
    uint32_t dim;
    enum vector_metric metric;
    enum store_durability durability;
    enum vector_codec codec; /* of sealed runs */
    double storage_recall;   /* a codec that keeps less of it than this is refused */
    int64_t window_ms;       /* of new memtables */
    struct sstable_home sstables;
    struct manifest *manifest; /* has a lock of its own, a leaf */
    struct shard_metrics metrics;

    struct shard_settings settings;
    struct shard_progress progress;
    struct shard_versions versions;
    struct shard_snapshots snapshots;
    struct shard_writer writer;
    struct log_space logs;
    pthread_mutex_t flush_lock;
    struct shard_commit commit;
    struct shard_damages damages; /* commit lock */
    struct shard_windows windows;
    struct garbage garbage;
    struct background_member background;
    struct shard_stop stop;
    struct shard_refusals refusals;
    _Atomic bool waits_ended; /* store_shard_end_waits */
    _Atomic bool still;       /* store_shard_set_still */
};

/** Stops writes for good when `code` says that the device failed (ERROR_IO), and notes a full disk
 * (ERROR_NO_SPACE); returns `code`. */
int shard_check_stop(struct store_shard *shard, int code, const struct error *error);
/** ERROR_IO when the shard is stopped. */
int shard_check_running(const struct store_shard *shard, struct error *error);

/** The current version with a reference. Lock-free, any thread. */
static inline struct version *version_acquire(struct store_shard *shard)
{
    return versions_acquire(&shard->versions);
}

/** Makes it the current one; takes over the caller's reference. Under the append lock. */
static inline void version_publish(struct store_shard *shard, struct version *version)
{
    versions_publish(&shard->versions, version);
}

/** Whether a memtable holds rows of the window. */
bool shard_memtables_touch(struct store_shard *shard, int64_t start_ms, int64_t length_ms);

/** Takes the append lock to publish a version. The mutex is not fair: a writer that appends without
 * a pause holds it through every sync and took it again before a flush woke up (three merges in
 * twenty seconds), so the writer lets those go first that wait here. */
void shard_publish_lock(struct store_shard *shard);
/** The writer's way to the append lock. */
void shard_append_lock(struct store_shard *shard);

/* Telling listeners and waiting threads. Under no lock. */

/** After an append, whether it succeeded (`visible`) or found no room. */
void shard_appended(struct store_shard *shard, bool visible);
/** After a flush, a compaction, a drop, an attach or a rebuild. */
void shard_windows_changed(struct store_shard *shard);

#endif
