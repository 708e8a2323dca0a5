/* An open table as its parts see it (table.c, table_check.c, table_payload.c,
 * table_vectors.c). Read-only after table_open but for what is known of vector
 * blocks. */
#ifndef STORE_FILES_TABLE_INTERNAL_H
#define STORE_FILES_TABLE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/checksum.h"
#include "store/files/residues.h"
#include "store/files/table.h"
#include "store/files/table_format.h"
#include "store/files/table_map.h"

enum { TABLE_DECODE_LOCKS = 8 };

struct table {
    struct io *io;
    struct table_description description;
    struct table_map index;   /* n.chunk or n.run */
    struct table_map vectors; /* n.vectors or n.log */
    /* The same bytes for single rows, mapped again where pages are read when they are touched: the
     * kernel reads ahead in the other mapping, and not in this one. Not mapped where mappings are not read. */
    struct io_mapping random;
    const struct table_footer *footer;
    const struct table_block *blocks; /* the block index */
    uint32_t row_count;
    size_t vector_size_bytes; /* of a stored row */
    const int64_t *event_times;
    const int64_t *offsets;
    const int64_t *ttls; /* NULL: no row has one */
    const uint32_t *key_offsets;
    const uint8_t *keys;
    const uint32_t *permutation; /* NULL in a run */
    const uint64_t *sparse;
    uint32_t sparse_count;
    uint32_t bloom_block_count;
    const uint8_t *bloom;
    struct key_residues residues;
    uint32_t uniform_rows; /* rows of each vector block but the last; 0: search for the block */
    _Atomic uint64_t *vectors_ready; /* a bit per vector block: checked, and decoded when packed */
    uint8_t *decoded;                /* address range of all vectors; NULL when they are raw */
    _Atomic uint64_t decoded_bytes;  /* of it in use */
    _Atomic uint64_t *decoded_total; /* counts it too; NULL: nobody does */
    pthread_mutex_t decode_locks[TABLE_DECODE_LOCKS]; /* by block number; when packed */
};

/** "000042.chunk: column keys: block 3: what is wrong", as ERROR_CORRUPT. `block` UINT32_MAX: none.
 */
int table_corrupt(const struct table *table, enum table_column_id column, uint32_t block,
                  struct error *error, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

const char *table_column_name(enum table_column_id column);

/** The version that a table of this description is written in. */
static inline uint32_t table_version(const struct table_description *description)
{
    if (description->has_bare)
        return TABLE_VERSION_BARE;
    if (description->has_parts)
        return TABLE_VERSION_PARTS;
    return vector_codec_is_float32(description->codec) ? TABLE_VERSION : TABLE_VERSION_TYPES;
}

/** The header that the first 64 bytes of a file of this description must equal. */
void table_header_fill(struct table_header *header, const char *magic,
                       const struct table_description *description);

static inline const struct table_block *table_column_blocks(const struct table *table,
                                                            enum table_column_id column)
{
    return table->blocks + table->footer->columns[column].first_block;
}

/** Eight key bytes from `prefix_bytes` on as a big-endian number, zeros behind the end. */
uint64_t table_key_prefix(const uint8_t *key, size_t key_bytes, size_t prefix_bytes);

/* table_check.c: all of them treat the bytes as hostile. */

/** Footer and block index: sets footer, blocks, row_count and the column pointers. */
int table_check_structure(struct table *table, const struct table_description *description,
                          const struct table_info *info, struct error *error);
/** Checksums and gaps of a column of this file. */
int table_check_column(const struct table *table, enum table_column_id column, struct error *error);
/** What the columns say together: keys ascend, the permutation is one, zone maps are true. */
int table_check_content(const struct table *table, struct error *error);
/** Block ranges of payloads and vectors cover the rows; vector blocks lie inside their file. */
int table_check_ranges(struct table *table, struct error *error);

/** Decodes payload block `block` into `raw` (raw_bytes of the block) after checking its checksum.
 * `ends` and `bytes` point into it. */
int table_payload_block(const struct table *table, uint32_t block, uint8_t *raw,
                        struct error *error);

/** Bits and, for a packed table, memory of the vector blocks. */
int table_vectors_create(struct table *table, struct error *error);
void table_vectors_destroy(struct table *table);

/** Checks a vector block now, whether it was checked before or not; a packed one is decoded too. */
int table_vector_block_check(const struct table *table, uint32_t block, struct error *error);

#endif
