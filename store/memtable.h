/* The memtable: the rows of one log file while they are in memory.
 *
 * Its buffer is an anonymous mapping of the log file's capacity; frames are built in it and written
 * from it. Keys, payloads and vectors stay where they lie in the frames; a row is a few pointers
 * into them. The skip list finds a key's newest row; `older` leads to the versions before it.
 *
 * Threads: one writer (the shard's append lock), readers without locks. A row is complete before
 * row_count is raised (release). What the writer changes later is dead_at alone. A reader that took
 * its visible offset with acquire sees every dead_at below it. */
#ifndef STORE_MEMTABLE_H
#define STORE_MEMTABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "store/files/log.h"
#include "store/files/log_frame.h"
#include "store/files/record.h"
#include "store/files/residues.h"
#include "store/memory.h"
#include "store/skiplist.h"

#define MEMTABLE_ALIVE INT64_MAX  /* dead_at of a row that nothing has replaced */
#define MEMTABLE_NONE  UINT32_MAX /* no row */

enum {
    MEMTABLE_FIRST_SEGMENT_ROWS = 1024,
    MEMTABLE_SEGMENTS = 22, /* each twice the one before: 4 G rows */
    MEMTABLE_WINDOWS_MAX = 25
};

struct memtable_row {
    const uint8_t *key;
    const uint8_t *payload;
    const float *vector;
    int64_t event_time_ms;
    int64_t offset;
    int64_t ttl_ms;
    _Atomic int64_t dead_at; /* offset of the record that replaced or deleted it */
    uint32_t older;          /* the version before, or MEMTABLE_NONE */
    uint32_t payload_bytes;
    uint32_t contiguous; /* rows from this one on whose vectors follow without a gap */
    uint32_t window;     /* index into windows */
    uint16_t key_bytes;
    bool bare; /* it has no vector: zeros stand in its place */
};

/* What the memtable holds of one window. */
struct memtable_window {
    int64_t start_ms;
    uint64_t rows;
    uint64_t dead_rows;
    int64_t min_event_ms, max_event_ms;
    int64_t last_arrival_wall_ms; /* 0: replayed */
};

struct memtable {
    _Atomic uint32_t refs;
    struct store_memory *memory; /* where its own is accounted */
    struct log_file *log;        /* until the flush is committed */
    uint8_t *buffer;
    uint64_t buffer_bytes;
    uint64_t used_bytes; /* frames end here */
    struct arena arena;
    struct skiplist list;
    _Atomic(struct memtable_row *) segments[MEMTABLE_SEGMENTS];
    _Atomic uint32_t row_count;
    uint8_t *filter; /* bloom filter of the keys; the writer's own: it asks all memtables for each
                        key, and nearly always none has it */
    uint32_t filter_blocks;
    uint32_t filter_keys;                /* it is made for so many */
    struct key_residues_shared residues; /* of all rows */
    uint64_t segment_bytes;
    uint64_t accounted_bytes;      /* as told to the store; touched by the writer only */
    _Atomic uint64_t memory_bytes; /* the same, for readers */
    int64_t window_ms;
    struct memtable_window *windows; /* guarded by the shard's notes lock */
    uint32_t window_count;
    uint32_t window_capacity;
    uint32_t window_last;   /* where the last row went */
    bool has_parts;         /* of a row: what is flushed says so */
    bool has_bare;          /* likewise */
    int64_t first_sequence; /* of its first frame */
    uint64_t frame_count;
    int64_t next_offset; /* after the last frame */
    struct store_topic_fingerprint topic;
    struct store_clock clock;
};

/** Size of the buffer of a memtable that is to hold so much: whole frames fit. */
static inline uint64_t memtable_buffer_bytes(uint64_t memtable_max_bytes)
{
    return (memtable_max_bytes + LOG_FRAME_ALIGNMENT - 1) / LOG_FRAME_ALIGNMENT *
           LOG_FRAME_ALIGNMENT;
}

/** Takes over the reference to `log`, which may be set later. NULL without memory. */
struct memtable *memtable_new(struct store_memory *memory, struct log_file *log,
                              uint64_t buffer_bytes, int64_t window_ms, uint64_t seed);
void memtable_ref(struct memtable *memtable);
void memtable_unref(struct memtable *memtable);

/** Row by number; the number must be below row_count. */
struct memtable_row *memtable_row(const struct memtable *memtable, uint32_t row);

/** Adds a row that points into the buffer; returns its number. `key_hash` is table_key_hash of its
 * key. `*previous` gets the number of the key's newest row before (MEMTABLE_NONE: first of this key
 * here). The caller holds the notes lock. */
uint32_t memtable_insert(struct memtable *memtable, const struct memtable_row *row,
                         uint64_t key_hash, int64_t arrival_wall_ms, uint32_t *previous);

/** Makes room for `count` more rows, so that adding them cannot fail for it. They lie in a frame of
 * `frame_bytes`, which tells how many may follow. False: no memory. */
bool memtable_reserve_rows(struct memtable *memtable, uint32_t count, uint64_t frame_bytes);

/** Gives back the memory behind the last frame: nothing more is written (a replayed log). */
void memtable_release_tail(struct memtable *memtable);

/** Tells the store's memory how much is in use now. Writer only. */
void memtable_account(struct memtable *memtable);

/** False: no row has the key. Writer only (the shard's append lock). */
bool memtable_may_contain(const struct memtable *memtable, uint64_t key_hash);
void memtable_prefetch(const struct memtable *memtable, uint64_t key_hash);

/** Newest row of the key, or MEMTABLE_NONE. Any thread; the row may be newer than a snapshot. */
uint32_t memtable_find(const struct memtable *memtable, const uint8_t *key, size_t key_bytes);

/** Marks a row dead at an offset. The caller holds the append and notes locks. */
void memtable_kill(struct memtable *memtable, uint32_t row, int64_t offset);

/** Start of the window of length `window_ms` that holds the time: floor, also before 1970. 0 when
 * there is only one window, without bounds (`window_ms` 0). */
int64_t memtable_window_start(int64_t event_time_ms, int64_t window_ms);

#endif
