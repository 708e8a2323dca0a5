/* What a shard consists of at one instant: windows, their files, spans, bytes on the disk. */
#ifndef STORE_DESCRIBE_H
#define STORE_DESCRIBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/vector_row.h"
#include "store/files/record.h"
#include "store/files/segment.h"

struct store;
struct store_shard;

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
    int64_t log_passed_ms; /* of store_shard_log_passed_ms */
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

/** Text about windows taken out because of damaged bytes, or NULL. */
const char *store_shard_damage(const struct store_shard *shard);

#endif
