/* store: the log-structured home of records. One store a data folder, one shard a Kafka partition.
 *
 *     append -> log frame (durable) -> memtable -> visible
 *     flush  -> one chunk a window: a small sorted index beside the log file, which holds the
 * vectors seal   -> one columnar run a window: newest version per id, masked and expired rows left
 * out drop   -> one manifest edit for the whole window; files go when their last reader leaves
 *
 * The store knows nothing of Kafka, NATS, HTTP or what an index is; it carries out what twcs
 * decides.
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
 * Layout: DATA_DIR/LOCK, DATA_DIR/<collection>/<shard>/{CURRENT, MANIFEST-n, n.log, n.chunk, n.run,
 * n.vectors, n.mask, n.segment, n.columns}. docs/formats.md draws every byte. */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "base/vector_row.h"

/* Ids. */

enum { STORE_ID_TEXT_MAX_BYTES = 255, STORE_KEY_MAX_BYTES = 256 };

/* An id as the bytes it is sorted by: kind, then content. Numbers (0x01 + 8 bytes big-endian) come
 * before UUIDs (0x02 + 16 bytes) before other strings (0x03 + UTF-8). */
struct store_key {
    uint16_t size_bytes;
    uint8_t bytes[STORE_KEY_MAX_BYTES];
};

void store_key_from_u64(uint64_t number, struct store_key *key);
/** A UUID in any of its spellings becomes the UUID; decimal digits stay a string here unless
 * `digits_are_number`. ERROR_INVALID when empty, too long or not UTF-8. */
int store_key_from_text(const char *text, size_t length, bool digits_are_number,
                        struct store_key *key, struct error *error);
/** From a document: an unsigned integer, or a string as above (digits stay a string). */
int store_key_from_doc(const struct doc *doc, struct store_key *key, struct error *error);
/** The id as a document: an integer or a string in `arena`. */
struct doc store_key_to_doc(const uint8_t *key, size_t key_bytes, struct arena *arena);

/* Opening. */

struct store;
struct store_shard;

enum store_durability { STORE_DURABILITY_LOG, STORE_DURABILITY_KAFKA };

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
    const char *name; /* "3", or "topic-3" for topics after the first */
    uint32_t dim;
    enum vector_metric metric; /* cosine: the caller normalises; recorded for checks only */
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

/** Locks and opens the data folder (created when missing). Another live process on it: ERROR_BUSY.
 */
int store_open(const struct store_options *options, struct store **store, struct error *error);
/** All shards must be closed. */
void store_close(struct store *store);

/** Opens one shard: reads the manifest, replays the log tail, removes files that the manifest
 * proves orphaned. A dim that differs from what is stored is ERROR_INVALID. Damage that takes out
 * one window is reported (store_shard_damage) and does not fail the opening. */
int store_shard_open(struct store *store, const struct store_shard_options *options,
                     struct store_shard **shard, struct error *error);
/** Flushes what is in memory when `flush`, waits for snapshots to be released, closes. */
int store_shard_close(struct store_shard *shard, bool flush, struct error *error);

/** Removes a shard that is closed, with everything it stored. After a crash in between the shard is
 * either all there or gone. A shard that is not there is not an error. */
int store_shard_remove(struct store *store, const char *collection, const char *name,
                       struct error *error);

/** Names of shards of a collection that exist on disk, as an array of strings in `arena`. */
int store_shard_list(struct store *store, const char *collection, struct arena *arena,
                     const char ***names, size_t *count, struct error *error);

const char *store_shard_name(const struct store_shard *shard);
const char *store_shard_collection(const struct store_shard *shard);
/** Folder of the shard, for segment files (store_shard_reserve_file). */
const char *store_shard_directory(const struct store_shard *shard);

/* Writing. */

struct store_record {
    const uint8_t *key; /* store_key bytes */
    uint16_t key_bytes;
    bool is_delete; /* vector and payload are NULL */
    int64_t offset; /* Kafka offset; records of one batch message share it */
    int64_t event_time_ms;
    int64_t ttl_ms;         /* the record's own, 0: the shard's */
    const float *vector;    /* dim values; copied once, into the log buffer */
    const uint8_t *payload; /* a MessagePack map, or NULL for an empty one */
    uint32_t payload_bytes;
    /* Stored only while `expected_offset` is the offset of the id's living version; STORE_EXPECT_NONE:
     * while none lives. Otherwise the record is refused, as "superseded" or "exists". */
    bool expects;
    int64_t expected_offset;
};

enum { STORE_EXPECT_NONE = -1, STORE_EXPECT_NEVER = -2 }; /* the latter is always refused */

/* Persisted with each group; the meaning is twcs's (struct twcs_clock). */
struct store_clock {
    int64_t watermark_ms;
    int64_t last_record_wall_ms;
    int64_t safe_wall_ms;
};

/* The last record of Kafka below a next offset: whether the topic still holds it tells whether it
 * is still the same topic. The store only keeps it; what the fingerprint is made of is the
 * caller's.
 */
struct store_topic_fingerprint {
    int64_t offset; /* below the next offset */
    uint64_t hash;  /* 0: not known */
};

/* A record of Kafka that a group leaves out. */
struct store_refusal {
    int64_t offset;
    const char *reason; /* a literal, one word */
};

struct store_group {
    /* In offset order; of one id and offset only the last counts. */
    const struct store_record *records;
    size_t record_count; /* 0 is allowed: only next offset, topic and clock move */
    int64_t next_offset; /* where Kafka is to be read on; >= every record's offset + 1 */
    /* Goes with the next offset, in place of the one before. */
    struct store_topic_fingerprint topic;
    struct store_clock clock;
    const struct store_refusal *refusals; /* below the next offset, in any order */
    size_t refusal_count;
    struct store_unmet *unmet; /* filled; may be NULL */
};

/* Records of a group that were refused for what they expected. */
struct store_unmet {
    size_t records; /* deletes among them */
    size_t deletes;
};

/** Appends one group: durable under the shard's mode and visible when this returns 0. All of it or
 * nothing. ERROR_BUSY: memory quota reached or level 0 full, flush or compaction is behind, try
 * again (stall). ERROR_MEMORY: the system has none left, likewise. ERROR_NO_SPACE: nothing was
 * written, may be tried again later. ERROR_IO: the shard is stopped for writing until it is opened
 * again (store_shard_stopped). */
int store_shard_append(struct store_shard *shard, const struct store_group *group,
                       struct error *error);

enum { STORE_REFUSALS_MAX = 4096 };

/* What is told about an offset whose refusal may be forgotten. */
#define STORE_REFUSAL_UNKNOWN "unknown"

/** Why the record at a visible offset was not stored; NULL: it was. The last STORE_REFUSALS_MAX of
 * the shard since it was opened are known; before those it is STORE_REFUSAL_UNKNOWN. Any thread with
 * a lease. */
const char *store_shard_refusal(struct store_shard *shard, int64_t offset);

/** Next offset to read from Kafka; -1 when nothing was ever stored. Any thread, lock-free. */
int64_t store_shard_next_offset(const struct store_shard *shard);
/** What came with the next offset; not known when nothing was. Any thread; waits for an append that
 * is under way. */
struct store_topic_fingerprint store_shard_topic_fingerprint(struct store_shard *shard);
struct store_clock store_shard_clock(const struct store_shard *shard);
/** Makes the safe clock durable without a group: what a start finds is then at least this.
 * Watermark and arrivals stay what they are. Any thread. */
int store_shard_keep_clock(struct store_shard *shard, int64_t safe_wall_ms, struct error *error);
/** Non-NULL text when a failed sync or manifest write stopped writes. */
const char *store_shard_stopped(const struct store_shard *shard);
/** Whether a flush is due: memtable full, or it touches too many windows, or memory is short. */
bool store_shard_needs_flush(const struct store_shard *shard);
/** Whether appends wait for a compaction: level 0 is full, another flush must wait too. */
bool store_shard_compaction_behind(const struct store_shard *shard);
/* Under which assignment a shard is written: of a Kafka consumer group, in one of its generations. */
struct store_ownership {
    uint32_t group;     /* lower half of the checksum of its name */
    int32_t generation; /* 0: not known */
};

/** What the manifest holds from now on is written under it. Any thread. */
void store_shard_set_ownership(struct store_shard *shard, struct store_ownership ownership);

/** Changes what applies from now on (reload). */
void store_shard_set_ttl(struct store_shard *shard, int64_t ttl_ms);
/** While `over`, appends of records are ERROR_BUSY: the byte cap is passed and nothing may be
 * dropped. Returns what it was. Any thread. */
bool store_shard_set_over_cap(struct store_shard *shard, bool over);

/* Events.
 *
 * A thread that waits sleeps until it is told. An append that nobody waits for pays one look at a
 * count. */

/* Functions that the store calls as soon as something happened, under no lock of the store, in the
 * thread that did it. They may be called without need. They must return at once (set a flag, wake a
 * thread) and not call store_listen or store_unlisten. NULL: not interested. */
struct store_listener {
    /* A flush of this shard, or of another one when memory is short, is due
     * (store_shard_needs_flush). One that a shard brings along when it is opened is not told. */
    void (*flush_due)(void *context, struct store_shard *shard);
    /* Files of the shard's windows changed: after flush, seal, compaction, drop, attach, rebuild.
     */
    void (*windows_changed)(void *context, struct store_shard *shard);
    /* A group was appended: next offset, clock and memtable moved. */
    void (*appended)(void *context, struct store_shard *shard);
    /* An append that was ERROR_BUSY may succeed now, in any shard (store_shard_room_changed). Called
     * under locks of the store, by any thread: it may wake somebody and nothing else. */
    void (*room)(void *context);
    void *context;
    struct store_listener *next; /* the store's */
};

/** The listener stays where it is until store_unlisten, which waits for calls under way. */
void store_listen(struct store *store, struct store_listener *listener);
void store_unlisten(struct store *store, struct store_listener *listener);

/** Sleeps until a search sees the record at `offset`. `deadline_ns` is of io_monotonic_ns,
 * INT64_MAX: none. ERROR_TIMEOUT; ERROR_CANCELLED when *cancel (may be NULL) became true and
 * store_wake_waits was called, or when the waits of the shard have ended. Any thread with a lease.
 */
int store_shard_wait_visible(struct store_shard *shard, int64_t offset, int64_t deadline_ns,
                             const atomic_bool *cancel, struct error *error);
/** After an append that was ERROR_BUSY: sleeps until the next one may succeed. Results as above. By
 * the thread that appends. */
int store_shard_wait_room(struct store_shard *shard, int64_t deadline_ns, const atomic_bool *cancel,
                          struct error *error);
/** After an append that was ERROR_BUSY: whether store_shard_wait_room would return at once. */
bool store_shard_room_changed(const struct store_shard *shard);
/** After a compaction, drop or rebuild that was ERROR_BUSY: sleeps until no other work holds the
 * window. Results as above. Any thread with a lease. */
int store_shard_wait_window(struct store_shard *shard, int64_t window_start_ms,
                            int64_t window_length_ms, int64_t deadline_ns,
                            const atomic_bool *cancel, struct error *error);
/** Lets all who wait look at their `cancel`. */
void store_wake_waits(struct store *store);
/** The shard is about to close: waits on it are ERROR_CANCELLED from now on. */
void store_shard_end_waits(struct store_shard *shard);
/** Whether no record comes any more: store_shard_wait_visible does not wait for one, it is ERROR_CANCELLED. */
void store_shard_set_still(struct store_shard *shard, bool still);

/* Carrying out decisions. */

enum { STORE_LEVELS = 7 };

struct store_segment_info {
    uint64_t file_number; /* 0: none */
    uint64_t bytes;
    enum segment_kind kind;
    double recall;     /* measured at build; -1: not measured */
    uint64_t checksum; /* of the whole file, taken when it was attached; 0: before that was done */
};

struct store_file_info {
    uint64_t file_number;
    uint64_t bytes; /* index and vectors; a log file shared by chunks counts by rows */
    uint64_t rows;
    int64_t min_event_ms, max_event_ms;
    int64_t min_offset, max_offset;
    uint8_t level;         /* of unsealed runs */
    uint64_t dead_rows;    /* masked for good: a merge leaves them out */
    int64_t max_expiry_ms; /* of the rows that live; INT64_MAX: never, INT64_MIN: none lives */
    const uint8_t *first_key, *last_key; /* in the describe arena */
    uint16_t first_key_bytes, last_key_bytes;
    uint64_t checksum; /* of the footer */
    enum vector_codec codec;
    double recall; /* that `codec` kept when it was chosen; 1: float32 keeps all */
    enum vector_codec
        refused; /* not chosen, for its recall; RAW: none, or before the shard was opened */
    double refused_recall; /* -1: not measured, a value did not fit */
    struct store_segment_info segment;
};

struct store_window_info {
    int64_t start_ms, length_ms;
    bool sealed, busy;
    uint64_t generation;            /* of the sealed run, 1 for the first; 0 without */
    struct store_file_info run;     /* valid when sealed */
    uint64_t masked_rows;           /* of the run, for good: a reseal leaves them out */
    struct store_file_info *chunks; /* unsealed files, in the describe arena, oldest first */
    size_t chunk_count;
    uint64_t memtable_rows;
    int64_t min_event_ms, max_event_ms;   /* over everything */
    int64_t max_expiry_ms;                /* of rows that live, memtables included */
    uint64_t live_rows;                   /* not masked; expired ones still count */
    uint64_t total_bytes;                 /* every file of the window, segment included */
    int64_t last_arrival_wall_ms;         /* 0 when unknown after a restart */
    uint64_t merge_rows, merge_rows_done; /* of a merge under way: its inputs' rows; 0: none is */
};

/* Spans: one index over several sealed runs of neighbouring windows. */

enum { STORE_SPAN_TIERS = 2, STORE_SPAN_PARTS_MAX = 1024 };

/* What a span covers of one window. Its rows are [first_row, first_row + row_count) of the span, in
 * the order that they have in the run. */
struct store_span_part {
    int64_t window_start_ms;
    uint64_t file_number; /* of the sealed run */
    uint32_t first_row;   /* the store fills it in */
    uint32_t row_count;
};

struct store_span_info {
    struct store_segment_info segment;
    uint8_t tier; /* 1: few windows; each further tier has more */
    int64_t window_length_ms;
    const struct store_span_part *parts; /* by time, in the describe arena */
    const bool *live;                    /* by part: its run is still the window's */
    uint32_t part_count;
    uint64_t rows, live_rows; /* of all parts, of the live ones */
};

/* A window that is taken out because of damaged bytes. */
struct store_damage_info {
    int64_t start_ms, length_ms;
};

/* What the files of a shard take on the disk. */
enum store_bytes_kind {
    STORE_BYTES_LOG,     /* vectors of chunks and of memtables */
    STORE_BYTES_CHUNK,   /* their indexes, ids and payloads */
    STORE_BYTES_RUN,     /* sealed and merged */
    STORE_BYTES_MASK,    /* which rows died */
    STORE_BYTES_SEGMENT, /* indexes */
    STORE_BYTES_COLUMNS, /* of payloads, for filters */
    STORE_BYTES_MANIFEST,
    STORE_BYTES_PINNED,    /* dropped, and still read by a search, a build or a backup */
    STORE_BYTES_TEMPORARY, /* being written */
    STORE_BYTES_DAMAGED,   /* of windows that are left out of answers */
    STORE_BYTES_COUNT
};

/** "log", "chunk", ... */
const char *store_bytes_kind_name(enum store_bytes_kind kind);

struct store_shard_info {
    struct store_window_info *windows; /* ascending by start */
    size_t window_count;
    uint64_t bytes[STORE_BYTES_COUNT];
    uint64_t total_bytes;         /* all of them */
    uint32_t immutable_memtables; /* full ones that a flush has yet to write */
    struct store_damage_info *damages;
    size_t damage_count;
    struct store_span_info *spans;
    size_t span_count;
    uint64_t memtable_bytes;
    uint64_t log_bytes;
    int64_t next_offset;
    struct store_clock clock;
};

/** "open", "sealing", "sealed", or "indexed" once a segment hangs on the run. */
const char *store_window_state(const struct store_window_info *window);

/* Memory that the shards of a store share; store.memory_max_bytes bounds their sum. */
struct store_memory_info {
    uint64_t memtable_bytes, buffer_bytes, decoded_bytes, max_bytes;
};

void store_memory_describe(struct store *store, struct store_memory_info *info);
/** Blocks of packed runs that this process has decoded because a search asked for them. */
uint64_t store_decoded_blocks(void);
/** How often this process has found a block of a table damaged. */
uint64_t store_damaged_blocks(void);

/** A description at this instant, allocated in `arena`. Any thread. */
void store_shard_describe(struct store_shard *shard, struct arena *arena,
                          struct store_shard_info *info);
/** One window, for who has just changed it: without chunks and keys, which would need an arena, and
 * never busy. All zero but start and length when it holds nothing. */
void store_shard_describe_window(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                                 struct store_window_info *window);

/** Rotates the memtable and writes its chunks; nothing to do is fine. */
int store_shard_flush(struct store_shard *shard, struct error *error);

/** Writes what store_shard_needs_flush means, if anything: full memtables, and the one that takes
 * appends only when it is due itself. What keeps a shard flushed in the background. */
int store_shard_flush_due(struct store_shard *shard, struct error *error);

enum store_compaction_kind {
    /* The window's one major: its unsealed files, and its run when it is sealed already, become one
     * run of the next generation. Rows in the memtable are flushed first. A window left without
     * rows is dropped. */
    STORE_COMPACTION_SEAL,
    /* Some unsealed files become as many of one level as target_file_bytes asks for. No key comes
     * into two of them; without a row that survives there is no output. */
    STORE_COMPACTION_MERGE,
    /* One unsealed file changes its level as it is. */
    STORE_COMPACTION_MOVE
};

/* One compaction of one window. */
struct store_compaction_request {
    enum store_compaction_kind kind;
    int64_t window_start_ms, window_length_ms;
    const uint64_t *file_numbers; /* merge: any unsealed files of the window; move: one */
    size_t file_count;
    uint8_t output_level;            /* merge, move */
    uint64_t target_file_bytes;      /* merge; 0: one output */
    int64_t now_ms;                  /* rows expired by then go; INT64_MIN: all stay */
    const struct store_clock *clock; /* becomes durable with the edit; may be NULL */
    unsigned jobs;                   /* threads, over ranges of keys; 0: the store's limit */
    const atomic_bool *cancel;       /* looked at between blocks; may be NULL */
};

struct store_compaction_result {
    struct store_window_info window; /* after it, without chunks and keys */
    uint64_t rows_in, bytes_in;      /* of the files that were merged */
    uint64_t rows_out, bytes_out;    /* of those in their place */
};

/** Carries a request out, with one manifest edit at its end. Newest version per id wins; masked
 * rows go. Nothing has changed after an error: ERROR_CANCELLED; ERROR_BUSY: other work holds the
 * window; ERROR_NOT_FOUND: a file is no longer there, the description is out of date;
 * ERROR_CORRUPT: the window is damaged. `result` may be NULL. Any thread. */
int store_shard_compact(struct store_shard *shard, const struct store_compaction_request *request,
                        struct store_compaction_result *result, struct error *error);

/** Drops a whole window (run, chunks, masks, segment) in one manifest edit. Rows of it that are
 * still in a memtable are flushed first. `cause` ("ttl", "fifo") is for the log and the metric. */
int store_shard_drop(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     const char *cause, struct error *error);
/** The same for the TTL: ERROR_BUSY and nothing changed when a row of it, also one that came a
 * moment ago, lives past `now_ms`. */
int store_shard_drop_expired(struct store_shard *shard, int64_t window_start_ms,
                             int64_t window_length_ms, int64_t now_ms, struct error *error);

/* Rebuilding a window from the records it was made of. */

/* One window anew, beside the shard that goes on: records from the first of the window on are
 * appended to a shadow shard, where what lies in other windows counts as a delete, so that what is
 * left is what the window should hold. Then appends to the shard wait for a moment, and one edit
 * swaps the window in. A window that is damaged comes back. One thread. */
struct store_rebuild;

/** Claims the window. Records of the offsets [*from_offset, *to_offset) must be given to
 * store_rebuild_append in order. ERROR_NOT_FOUND: no such window; ERROR_BUSY: it is being worked
 * on.
 */
int store_rebuild_begin(struct store_shard *shard, int64_t window_start_ms,
                        int64_t window_length_ms, struct store_rebuild **rebuild,
                        int64_t *from_offset, int64_t *to_offset, struct error *error);
/** Records that the shard took when they were appended, those of all windows: what they expect is
 * not looked at again. Everything below `next_offset`
 * has been given after it. */
int store_rebuild_append(struct store_rebuild *rebuild, const struct store_record *records,
                         size_t count, int64_t next_offset, const atomic_bool *cancel,
                         struct error *error);
/** Writes the window; rows expired at `now_ms` go. *to_offset: what came to the shard meanwhile, up
 * to which records must be given now, to see what they hide. */
int store_rebuild_write(struct store_rebuild *rebuild, int64_t now_ms, const atomic_bool *cancel,
                        int64_t *to_offset, struct error *error);
/** Appends to the shard wait from here to the end; *to_offset: the last records to be given. */
int store_rebuild_hold(struct store_rebuild *rebuild, int64_t *to_offset, struct error *error);
/** Swaps the window in. */
int store_rebuild_commit(struct store_rebuild *rebuild, struct error *error);
/** Frees it; without a commit nothing has changed. */
void store_rebuild_end(struct store_rebuild *rebuild);

/** A number and path ("DIR/000042.segment.tmp") for a segment file about to be built. */
void store_shard_reserve_segment(struct store_shard *shard, uint64_t *file_number, char *path,
                                 size_t path_bytes);

/* What an index attaches to a run or chunk: an opaque object with its release function. */
struct store_segment {
    struct store_segment_info info;
    void *object; /* the opened index; searches get it through store_source_segment */
    void (*release)(void *object); /* when the last snapshot that sees it is gone */
};

/** Attaches a segment to a file of the shard, a sealed run or an unsealed chunk or run:
 * DIR/n.segment must be complete and synced under its final name. One manifest edit, then
 * published: searches from now on see it (the hot swap); a former segment of that file goes when
 * its last reader leaves, and this one goes with its file when that is merged or dropped.
 * ERROR_NOT_FOUND when the file is no longer part of the shard: the caller removes the segment's.
 * Takes over `segment->object` on success only. */
int store_shard_attach(struct store_shard *shard, uint64_t file_number,
                       const struct store_segment *segment, struct error *error);

/** After opening: gives the object of a segment the manifest knows (the indexer maps its file).
 * With `object` NULL the segment is forgotten and its file removed (it was damaged): reconciliation
 * then finds the file without one. */
int store_shard_load_segment(struct store_shard *shard, uint64_t file_number, void *object,
                             void (*release)(void *object), struct error *error);

/** Attaches a span of this tier over the runs that `parts` name, by time: DIR/n.segment must be
 * complete as for store_shard_attach. One manifest edit, which also drops spans of the tier that
 * share a window with it. Parts whose run has gone meanwhile are dead from the start;
 * ERROR_NOT_FOUND when they have more than half of the rows. Takes over `segment->object` on success
 * only. */
int store_shard_attach_span(struct store_shard *shard, const struct store_segment *segment,
                            uint8_t tier, int64_t window_length_ms,
                            const struct store_span_part *parts, uint32_t part_count,
                            struct error *error);

/** As store_shard_load_segment, for a span, told by the number of its file. With `object` NULL the
 * span is dropped: it was damaged, or pays no longer. */
int store_shard_load_span(struct store_shard *shard, uint64_t file_number, void *object,
                          void (*release)(void *object), struct error *error);

/** Text about windows taken out because of damaged bytes, or NULL. */
const char *store_shard_damage(const struct store_shard *shard);

/* Reading. */

struct store_snapshot;

enum store_source_kind { STORE_SOURCE_MEMTABLE, STORE_SOURCE_CHUNK, STORE_SOURCE_RUN };

/* Why rows of a source may be hidden from a snapshot: bits. */
enum store_hidden {
    STORE_HIDDEN_LATER = 1,  /* some offsets are not below the visible one */
    STORE_HIDDEN_DEAD = 2,   /* some rows have died */
    STORE_HIDDEN_EXPIRED = 4 /* some rows have expired */
};

/* One holder of rows inside a snapshot. A memtable may hold rows of many windows; a chunk or run
 * holds rows of one. Rows are numbered 0..row_count-1: in arrival order in memtables and chunks, in
 * key order in runs. */
struct store_source {
    enum store_source_kind kind;
    int64_t window_start_ms, window_length_ms; /* 0, 0 for a memtable */
    bool sealed;                               /* a sealed run, not a tiered one */
    uint64_t generation;                       /* of a sealed run */
    uint64_t file_number;
    uint32_t row_count;
    uint8_t hidden; /* of enum store_hidden, what a row has to be asked about; 0: all are visible */
    int64_t min_event_ms, max_event_ms;
    uint64_t masked_rows;                /* about; for statistics */
    const struct store_segment *segment; /* attached index with its object, or NULL */
    void *inner;                         /* the store's own */
};

/** Takes a snapshot as of now (`now_ms`: wall clock, for expiry). Lock-free, never NULL. */
struct store_snapshot *store_snapshot_acquire(struct store_shard *shard, int64_t now_ms);
void store_snapshot_release(struct store_snapshot *snapshot);
/** First offset that is not visible in the snapshot; -1 when nothing was ever stored. */
int64_t store_snapshot_next_offset(const struct store_snapshot *snapshot);
int64_t store_snapshot_watermark_ms(const struct store_snapshot *snapshot);
/** Sources, memtables newest first, then windows ascending. Valid until release. */
const struct store_source *store_snapshot_sources(const struct store_snapshot *snapshot,
                                                  size_t *count);

#define STORE_SPAN_DEAD UINT32_MAX

/* A span inside a snapshot, with its index loaded. */
struct store_span {
    const struct store_segment *segment;
    uint8_t tier;
    uint32_t row_count, part_count;
    const struct store_span_part *parts;
    const uint32_t
        *places; /* by part: its source, counted from `first_source`, or STORE_SPAN_DEAD */
    size_t first_source;
};

/** Spans, in no order. Valid until release. */
const struct store_span *store_snapshot_spans(const struct store_snapshot *snapshot, size_t *count);

/** Whether a row may be returned: below the visible offset, not dead, not expired. A few ns. */
bool store_row_visible(const struct store_snapshot *snapshot, const struct store_source *source,
                       uint32_t row);
/** Whether every row of a chunk or run may be returned, so that none has to be asked about. False
 * where that is not known. What is true stays true while the snapshot is held. */
static inline bool store_source_all_visible(const struct store_source *source)
{
    return source->hidden == 0;
}
int64_t store_row_event_time_ms(const struct store_source *source, uint32_t row);
int64_t store_row_offset(const struct store_source *source, uint32_t row);
/** The record's own TTL, 0: none. */
int64_t store_row_ttl_ms(const struct store_source *source, uint32_t row);
/** The key's bytes; valid until release. */
const uint8_t *store_row_key(const struct store_source *source, uint32_t row, size_t *key_bytes);

/** Vectors where they lie, in the type that the source stores: `row`'s and in *count how many rows
 * from `row` on follow it without a gap (vector_row_bytes each, at least 1). ERROR_CORRUPT when the
 * block's checksum fails (checked on first touch). Valid until release. */
int store_row_stored(const struct store_source *source, uint32_t row, struct vector_row *rows,
                     uint32_t *count, struct error *error);
/** The same for one row that is looked at without its neighbours: of a file that is not in memory its pages
 * alone are read, when they are touched. */
int store_row_alone(const struct store_source *source, uint32_t row, struct vector_row *stored,
                    struct error *error);
/** The row's `dim` values: where they lie when they are float32, else in `arena`. */
int store_row_vector(const struct store_source *source, uint32_t row, struct arena *arena,
                     const float **vector, struct error *error);
/** The type of all rows of the source. */
enum vector_codec store_source_codec(const struct store_source *source);
/** As store_row_stored, for sources whose rows are float32: ERROR_UNSUPPORTED for others. */
int store_row_vectors(const struct store_source *source, uint32_t row, const float **vectors,
                      uint32_t *count, struct error *error);

/** The payload's MessagePack bytes (a map; empty payload: one 0x80 byte), decompressed into `arena`
 * if need be. */
int store_row_payload(const struct store_source *source, uint32_t row, struct arena *arena,
                      const uint8_t **payload, size_t *payload_bytes, struct error *error);

/** As store_row_payload for `count` rows in any order: each block is read once. */
int store_rows_payloads(const struct store_source *source, const uint32_t *rows, uint32_t count,
                        struct arena *arena, const uint8_t **payloads, uint32_t *payload_bytes,
                        struct error *error);

/** Where the columns that filters use of a run lie, or are written: DIR/n.columns and
 * DIR/n.columns.tmp. The file belongs to the run, goes with it and is brought along by backups. Its
 * format is the writer's, and no edit names it: who finds none, or a damaged one, makes it again. It
 * is renamed over a former one, while a snapshot holds the run. */
void store_source_columns_path(const struct store_source *source, bool temporary, char *path,
                               size_t path_bytes);
/** Says that DIR/n.columns has so many bytes now, for accounts of the disk. */
void store_source_columns_written(const struct store_source *source, uint64_t size_bytes);

/** The visible version of an id. ERROR_NOT_FOUND when there is none. */
int store_snapshot_find(const struct store_snapshot *snapshot, const uint8_t *key, size_t key_bytes,
                        const struct store_source **source, uint32_t *row, struct error *error);

/* Visible rows in key order over all sources. */
struct store_cursor;
/** Starts at the first key >= `from` (NULL: the smallest). */
struct store_cursor *store_cursor_open(const struct store_snapshot *snapshot, const uint8_t *from,
                                       size_t from_bytes);
/** The next visible row; false at the end. */
bool store_cursor_next(struct store_cursor *cursor, const struct store_source **source,
                       uint32_t *row);
void store_cursor_close(struct store_cursor *cursor);

/** Number of visible rows with event times in [from_ms, to_ms). */
uint64_t store_snapshot_count(const struct store_snapshot *snapshot, int64_t from_ms,
                              int64_t to_ms);

/* Backup. */

/* A backup is a data folder of its own: a manifest a shard that names what was flushed at one
 * instant, files that never change as hard links (copies where the file system refuses), log files
 * as copies, because they are written over later. BACKUP, written last, makes it one; until then
 * there is BACKUP.begun with a token. Clocks and offsets are those of the shards: what has expired
 * stays so, and Kafka is read on from where the copy ends. */

enum { STORE_BACKUP_TOKEN_BYTES = 33 };

struct store_backup_shard {
    const char *collection, *name; /* those of the shard */
    int64_t next_offset;           /* filled: everything below is in the copy; -1: nothing */
    uint64_t file_count, bytes;    /* filled */
    uint64_t copied_bytes;         /* filled: of these; the others are hard links */
};

/** Makes the folder, whose parent must exist. One that is there must be empty (ERROR_EXISTS). The
 * token is what proves to another process that the caller may write there. */
int store_backup_begin(struct io *io, const char *folder, char token[STORE_BACKUP_TOKEN_BYTES],
                       struct error *error);
/** ERROR_INVALID unless the folder was begun with this token and is not finished. */
int store_backup_check(struct io *io, const char *folder, const char *token, struct error *error);
/** Flushes the shard and puts a copy of what is flushed into the folder; the shard goes on
 * meanwhile. ERROR_CORRUPT: windows are damaged; ERROR_CANCELLED. Any thread with a lease. */
int store_shard_backup(struct store_shard *shard, const char *folder, const atomic_bool *cancel,
                       struct store_backup_shard *done, struct error *error);
/** Says durably that these shards are in it. */
int store_backup_finish(struct io *io, const char *folder, const struct store_backup_shard *shards,
                        size_t count, struct error *error);

/** Puts a finished backup into a data folder that is missing or empty (ERROR_EXISTS), in the same
 * way: the backup stays as it is. One that is not finished or not whole: ERROR_CORRUPT. A folder
 * that a crash left half restored is refused by store_open. *shard_count and *bytes are filled. */
int store_restore(struct io *io, const char *folder, const char *data_dir, size_t *shard_count,
                  uint64_t *bytes, struct error *error);

/* Copies of shards between processes: store_shard_backup into an outgoing folder, files one by one to the
 * other process, verified and installed there. */

struct store_copy_wanted {
    const char *collection, *name;
    uint32_t dim;
    enum vector_metric metric;
    int64_t next_offset;
};

/** Makes the folder for a copy of one shard on its way out, or in; `folder` has PATH_MAX bytes. Files of an
 * incoming one belong into COLLECTION/SHARD below it. */
int store_copy_outgoing(struct io *io, const char *data_dir, const char *id, char *folder,
                        struct error *error);
int store_copy_incoming(struct io *io, const char *data_dir, const char *collection,
                        const char *name, char *folder, struct error *error);
/** Removes a folder with all below it; one that is not there is no error. */
int store_copy_remove(struct io *io, const char *folder, struct error *error);
/** Removes the copies that an earlier process left. */
int store_copy_clean(struct io *io, const char *data_dir, struct error *error);
/** ERROR_NO_SPACE unless so many bytes and a reserve are free. */
int store_copy_check_room(const char *data_dir, uint64_t bytes, struct error *error);
/** Reads every byte of an incoming folder. ERROR_CORRUPT, or ERROR_INVALID when it is not what was wanted,
 * with what is wrong. */
int store_copy_verify(struct io *io, const char *folder, const struct store_copy_wanted *wanted,
                      struct error *error);
/** Puts a verified copy in the place of the shard's folder, which no process has open. That one lies below
 * `folder` until store_copy_remove, or until store_shard_uninstall puts it back, whatever the install came to. */
int store_shard_install(struct store *store, const char *folder, const char *collection,
                        const char *name, struct error *error);
int store_shard_uninstall(struct store *store, const char *folder, const char *collection,
                          const char *name, struct error *error);
/** The offset up to which a shard that is not open was flushed; -1: there is none, or nothing in it. */
int64_t store_shard_peek(struct store *store, const char *collection, const char *name);

/* Tools. */

/** Decodes any file the store wrote, told by its first bytes, for `windrow inspect`. */
int store_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                  struct error *error);

/* Checks a segment file of a run: its structure is the indexer's. ERROR_UNSUPPORTED: its format is
 * of another version, which is no damage: a service builds it again. */
typedef int (*store_segment_check)(struct io *io, const char *path, uint64_t file_number,
                                   uint32_t dim, uint32_t row_count, struct error *error);
/* The same for the columns of a run, whose structure is that of the query side. */
typedef int (*store_columns_check)(struct io *io, const char *path, uint64_t file_number,
                                   uint32_t row_count, struct error *error);

struct store_verify_checks {
    store_segment_check segment; /* may be NULL */
    store_columns_check columns; /* may be NULL */
};

/** Reads every byte of a data folder that no process has open and checks every checksum and
 * cross-reference. Appends one line a finding; returns ERROR_CORRUPT when there are any. Segment
 * files are checked for presence, size and checksum here, and by `checks` (may be NULL) when these
 * are right; files of columns by `checks` alone, where there are any. */
int store_verify(struct io *io, const char *data_dir, const struct store_verify_checks *checks,
                 struct buffer *findings, struct error *error);

#endif
