/* Reading: a snapshot, the sources of rows in it, and the rows. */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/vector_row.h"
#include "store/files/residues.h"
#include "store/files/segment.h"

struct store_shard;

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
    bool has_bare;  /* some rows may have no vector: store_row_is_bare */
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

/* What a reader worked out of a snapshot's version and keeps beside it, for the next reader of that version.
 * The first member of what is kept. */
struct store_note {
    struct store_note *next;
    void (*release)(struct store_note *note); /* with the version, on any thread */
};

/** The notes beside the snapshot's version, newest first, or NULL. Valid until release. */
const struct store_note *store_snapshot_notes(const struct store_snapshot *snapshot);
/** Puts a note beside the version and takes it over. What it says has to be true of every snapshot of the
 * version. Any thread. */
void store_snapshot_add_note(const struct store_snapshot *snapshot, struct store_note *note);

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
/** Whether the row has no vector. It is there for everything but what ranks; zeros are read as its vector. */
bool store_row_is_bare(const struct store_source *source, uint32_t row);
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

/** What the ids of all sources have in common, dead ones among them: others are certainly not there. */
struct key_residues store_snapshot_residues(const struct store_snapshot *snapshot);

/** The visible version of an id. ERROR_NOT_FOUND when there is none. */
int store_snapshot_find(const struct store_snapshot *snapshot, const uint8_t *key, size_t key_bytes,
                        const struct store_source **source, uint32_t *row, struct error *error);
/** The same, where older events than `since_ms` are of no interest: their tables are not looked at, and the
 * version may be one of them or not be found. */
int store_snapshot_find_since(const struct store_snapshot *snapshot, const uint8_t *key,
                              size_t key_bytes, int64_t since_ms,
                              const struct store_source **source, uint32_t *row,
                              struct error *error);

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

#endif
