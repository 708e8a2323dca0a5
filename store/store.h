/* store: the log-structured home of records. One store a data folder, one shard a Kafka partition.
 *
 *     append   log frame (durable), then memtable, then visible
 *     flush    one chunk a window: a small sorted index beside the log file, which holds the vectors
 *     seal     one columnar run a window: newest version per id; masked and expired rows left out
 *     drop     one manifest edit for the whole window; files go when their last reader leaves
 *
 * The store knows nothing of Kafka, NATS, HTTP or what an index is; it carries out what twcs
 * decides. This header opens and closes stores and shards. The others, by what they are for:
 *
 *     append.h       groups of records        snapshot.h   searches and scans
 *     compaction.h   flush, seal, drop        describe.h   windows, files, bytes
 *     rebuild.h      a window anew            attach.h     indexes of files
 *     listen.h       listeners and waits      registry.h   the shards that are open
 *     backup.h       a copy that leaves       lease.h      their use, and who lacks which
 *     install.h      a copy that comes
 *
 * Newest wins. Append finds the older live version of each id (memtables, chunks and runs, bloom
 * filter first) and marks it dead at the new record's offset: a mask. A delete is only a mask.
 * Masks are durable with the flush that follows and rebuilt from the log before it, so no tombstone
 * is kept and no window ever waits for another one to expire.
 *
 * Reading. A snapshot is a version (memtables, chunks, runs, attached segments) and a visible
 * offset that were current at one instant. A row is visible when its offset is below the
 * snapshot's, it was not dead below it, and it has not expired. Snapshots never block and are never
 * blocked; files they pin stay until they are released.
 *
 * Threads. Append: one thread a shard at a time. Snapshots: any thread. Flush, seal, merge, drop,
 * attach: any thread; the store serialises what must be (one major a window, one flush a shard).
 *
 * Layout: DATA_DIR/LOCK, DATA_DIR/collections.d/<collection>/<shard>/{CURRENT, MANIFEST-n, n.log,
 * n.chunk, n.run, n.vectors, n.mask, n.segment, n.columns}. docs/formats.md draws every byte. No
 * collection can be named like a file of windrow's: they have a folder of their own, whose name none
 * of them can have. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "base/vector_row.h"
#include "store/files/record.h"

struct store;
struct store_shard;

/* Below the data folder: the collections' folders. */
#define STORE_COLLECTIONS "collections.d"
/* In DATA_DIR/COLLECTION, where an earlier windrow looks: no shard (store/places.c). */
#define STORE_NOTICE "moved-to-" STORE_COLLECTIONS

struct store_options {
    const char *data_dir;
    uint64_t memory_max_bytes;   /* all memtables, log buffers and caches of all shards */
    uint64_t memtable_max_bytes; /* a memtable with its log buffer rotates past this */
    uint32_t merge_threads;      /* of one merge; those beside its own are shared by all; 0: 1 */
    struct io *io;               /* NULL: io_posix() */
    struct metrics *metrics;     /* may be NULL */
};

struct store_shard_options {
    const char *collection;
    const char *name;   /* "3", or "topic-3" for topics after the first */
    const char *folder; /* of the shard: does not depend on the order of topics; NULL: its name */
    uint32_t dim;
    enum vector_metric metric; /* cosine: the caller normalises */
    uint16_t key_rule;         /* enum config_key_rule + 1; 0: not checked and not kept */
    int64_t window_ms;         /* length of new windows; windows that exist keep theirs; 0: one
                                  window without bounds, which has start and length 0 */
    int64_t ttl_ms;            /* 0: none; applied at read */
    uint32_t level0_files_max; /* of the window without bounds: appends wait before it has more;
                                  0: any number */
    enum store_durability durability;
    enum vector_codec codec; /* of the runs of sealed windows, from now on */
    double storage_recall;   /* the least share of the nearest rows that a codec of fewer bytes than
                                float32 has to keep, or the run stays float32 */
};

/** Locks and opens the data folder (created when missing). Another live process on it: ERROR_BUSY. Collections that
 * an earlier windrow left beside LOCK move to their place; ERROR_EXISTS when both places have one. */
int store_open(const struct store_options *options, struct store **store, struct error *error);
/** All shards must be closed. */
void store_close(struct store *store);

/** Opens one shard: reads the manifest, replays the log tail, removes files that the manifest
 * proves orphaned. What contradicts the stored settings (settings.h) is ERROR_INVALID. Damage that takes out
 * one window is reported (store_shard_damage) and does not fail the opening. */
int store_shard_open(struct store *store, const struct store_shard_options *options,
                     struct store_shard **shard, struct error *error);
/** Flushes what is in memory when `flush`, waits for snapshots to be released, closes. An error says that not
 * everything was flushed: the flush failed, or writes had stopped before. The shard is closed all the same. */
int store_shard_close(struct store_shard *shard, bool flush, struct error *error);

/** Gives the folder of a shard, which is closed, another name; ERROR_EXISTS when that one is taken. */
int store_shard_rename(struct store *store, const char *collection, const char *folder,
                       const char *to, struct error *error);

/** Removes a shard that is closed, with everything it stored. After a crash in between the shard is
 * either all there or gone. A shard that is not there is not an error. */
int store_shard_remove(struct store *store, const char *collection, const char *folder,
                       struct error *error);

/** Removes the folder of a collection that has no shards any more, if nothing else is in it. */
void store_collection_forget(struct store *store, const char *collection);

/** Folders of the shards of a collection that exist on disk, as an array of strings in `arena`. */
int store_shard_list(struct store *store, const char *collection, struct arena *arena,
                     const char ***folders, size_t *count, struct error *error);

const char *store_shard_name(const struct store_shard *shard);
const char *store_shard_collection(const struct store_shard *shard);
/** Folder of the shard, for segment files (store_shard_reserve_file). */
const char *store_shard_directory(const struct store_shard *shard);

/** Changes what applies from now on (reload). */
void store_shard_set_ttl(struct store_shard *shard, int64_t ttl_ms);

#endif
