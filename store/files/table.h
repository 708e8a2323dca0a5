/* table: an immutable set of rows of one window on disk; what chunks and runs have in common.
 *
 *   chunk  n.chunk: sorted index beside the log file that holds its vectors; rows in arrival order
 * plus a permutation in key order run    n.run and n.vectors: columns of a sealed (or tiered)
 * window; rows in key order
 *
 * Both: columns for keys, event times, offsets, record TTLs, payloads (zstd 3 blocks), a blocked
 * bloom filter (10 bits a key, runs 16), a sparse key index, zone maps, a vector block index,
 * footer last. Every block carries a checksum over its data and its identity (file number, column,
 * block) that stands in the index entry too. Times, offsets, TTLs and key offsets are mapped raw:
 * row access costs an array read. Vector blocks are verified on first touch (one bit each),
 * everything else when opened or read. */
#ifndef STORE_FILES_TABLE_H
#define STORE_FILES_TABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "base/vector_row.h"

enum table_kind { TABLE_CHUNK = 1, TABLE_RUN = 2 };

struct table_description {
    enum table_kind kind;
    enum vector_codec codec; /* runs only */
    double recall;  /* for the writer: of other types than float32, the recall that they keep */
    bool has_parts; /* rows may have parts (parts.h). A reader learns it from the file */
    bool has_bare;  /* rows may lack a vector, and zeros stand in its place. Likewise */
    uint64_t file_number;
    uint64_t log_file_number; /* chunks only: n.log with the vectors */
    uint32_t dim;
    int64_t window_start_ms, window_length_ms;
    uint64_t generation; /* of a sealed run, 0 otherwise */
};

/** Whether the window can be one: of positive length, or the unbounded one, which has start and
 * length 0. */
static inline bool table_window_valid(const struct table_description *description)
{
    return description->window_length_ms > 0 ||
           (description->window_length_ms == 0 && description->window_start_ms == 0);
}

/* Known after writing, kept in the footer and the manifest. */
struct table_info {
    uint64_t row_count;
    uint64_t index_bytes;  /* n.chunk or n.run */
    uint64_t vector_bytes; /* n.vectors; for a chunk its share of the log file */
    uint64_t footer_checksum;
    int64_t min_event_ms, max_event_ms;
    int64_t min_offset, max_offset;
    int64_t max_row_ttl_ms; /* largest record TTL; 0: none has one */
};

struct table_row {
    const uint8_t *key;
    uint16_t key_bytes;
    int64_t event_time_ms;
    int64_t offset;
    int64_t ttl_ms;
    const uint8_t *payload; /* MessagePack */
    uint32_t payload_bytes;
    /* The values, zeros of a bare row. Of a chunk only their checksum is taken, where they lie: they stay
     * there until the writer is finished. */
    const float *vector;
    bool bare;             /* it has no vector */
    uint64_t log_position; /* chunks: byte offset of the vector in the log file */
};

/* Writing. */

struct table_writer;

/** Starts DIR/n.chunk or DIR/n.run (+ n.vectors). Files are written under their final names: until
 * the manifest names them they are orphans. */
int table_writer_open(struct io *io, const char *directory,
                      const struct table_description *description, struct table_writer **writer,
                      struct error *error);
/** Adds a row: arrival order for chunks, strictly ascending keys for runs. Bytes are copied. */
int table_writer_add(struct table_writer *writer, const struct table_row *row, struct error *error);
/** Writes what is left, footer last, syncs files and folder, closes. The writer is freed either
 * way; on error its files are removed. */
int table_writer_finish(struct table_writer *writer, struct table_info *info, struct error *error);
void table_writer_abort(struct table_writer *writer);

/* Reading. */

struct table;
struct key_residues;

/** Opens and checks footer, index and all small columns (not vectors and payloads). Description and
 * footer checksum must be those the manifest has. ERROR_CORRUPT names file, column and block. */
int table_open(struct io *io, const char *directory, const struct table_description *description,
               const struct table_info *info, struct table **table, struct error *error);
void table_close(struct table *table);

uint32_t table_row_count(const struct table *table);
const struct table_description *table_describe(const struct table *table);
const int64_t *table_event_times(const struct table *table); /* row_count values, mapped */
const int64_t *table_offsets(const struct table *table);
/** What table_ttl_ms and table_ttl_bare read; NULL: no row has a TTL of its own, and all have a vector. */
const int64_t *table_ttls(const struct table *table);
static inline int64_t table_ttl_ms(int64_t stored)
{
    return stored < 0 ? ~stored : stored;
}
/** Whether the row has no vector. */
static inline bool table_ttl_bare(int64_t stored)
{
    return stored < 0;
}
const uint8_t *table_key(const struct table *table, uint32_t row, size_t *key_bytes);
/** Row number at a place of the key order: the permutation of a chunk, the identity for a run. */
uint32_t table_row_at(const struct table *table, uint32_t place);
/** First place whose key is >= key (row_count past the end). */
uint32_t table_lower_bound(const struct table *table, const uint8_t *key, size_t key_bytes);

/** Hash that the bloom filters use; computed once per key and given to all tables. */
uint64_t table_key_hash(const uint8_t *key, size_t key_bytes);
void table_prefetch(const struct table *table, uint64_t key_hash);
/** False: the key is certainly not there. */
bool table_may_contain(const struct table *table, uint64_t key_hash);
/** What its ids have in common, dead ones among them. */
const struct key_residues *table_residues(const struct table *table);
/** Newest row of the key (a chunk may hold several versions). */
bool table_find(const struct table *table, const uint8_t *key, size_t key_bytes, uint64_t key_hash,
                uint32_t *row);

int table_payload(const struct table *table, uint32_t row, struct arena *arena,
                  const uint8_t **payload, size_t *payload_bytes, struct error *error);
/** Payloads of `count` rows in any order, copied into `arena`; each block that holds some of them
 * is decoded once. For merges: ask for as many rows at a time as memory allows. */
int table_gather_payloads(const struct table *table, const uint32_t *rows, uint32_t count,
                          struct arena *arena, const uint8_t **payloads, uint32_t *payload_bytes,
                          struct error *error);
/** Decoded size of all payload blocks: tells how many rows' payloads a merge may hold at a time. */
uint64_t table_payload_bytes(const struct table *table);
/** Asks for all columns but payloads and vectors to be in memory soon: somebody is about to read all of them. */
void table_fetch_columns(const struct table *table);
/** As store_row_alone. */
int table_row_alone(const struct table *table, uint32_t row, struct vector_row *stored,
                    struct error *error);
/** As store_row_stored. */
int table_rows(const struct table *table, uint32_t row, struct vector_row *rows, uint32_t *count,
               struct error *error);
/** As store_row_vectors. */
int table_vectors(const struct table *table, uint32_t row, const float **vectors, uint32_t *count,
                  struct error *error);
/** The recall that rows of another type than float32 kept when they were written; 1 for float32. */
double table_recall(const struct table *table);
/** Gathers the vectors of `count` rows into `out` (count x dim floats); for merges. */
int table_gather(const struct table *table, const uint32_t *rows, uint32_t count, float *out,
                 struct error *error);

/** Memory that holds decoded blocks of a packed run; 0 when it is raw. */
uint64_t table_decoded_bytes(const struct table *table);
/** Counts that memory in `*total` as well, until the table is closed. Before it is read. */
void table_count_decoded(struct table *table, _Atomic uint64_t *total);
/** Gives that memory back. The caller knows that no one holds a pointer from table_rows. */
void table_trim(struct table *table);

/** Reads every byte and checks every checksum; appends one line a finding and goes on. Returns
 * ERROR_CORRUPT when there are any. */
int table_verify(struct table *table, struct buffer *findings, struct error *error);

/* Masks: n.mask, which rows of a table died and at which offset. */

struct mask_entry {
    uint32_t row;
    uint32_t reserved;
    int64_t dead_at_offset;
};

/** Writes DIR/n.mask for table `table_number` and syncs it (not the folder). Rows ascending. */
int mask_write(struct io *io, const char *directory, uint64_t file_number, uint64_t table_number,
               const struct mask_entry *entries, uint32_t count, uint64_t *size_bytes,
               struct error *error);
/** Reads it back into malloc'ed `entries`. */
int mask_read(struct io *io, const char *directory, uint64_t file_number, uint64_t table_number,
              uint32_t row_count, struct mask_entry **entries, uint32_t *count,
              struct error *error);

/** DIR/000042.chunk: the one place that knows how files are named. `out` has PATH_MAX bytes. */
void table_path(const char *directory, uint64_t file_number, const char *extension, char *out,
                size_t out_bytes);

/** Blocks of packed tables decoded for searches, and how often a block was found damaged: in all
 * tables, since the process began. */
uint64_t table_decoded_blocks(void);
uint64_t table_damaged_blocks(void);

#endif
