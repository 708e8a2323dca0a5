/* The bytes of n.chunk, n.run and n.vectors. Little endian; every gap is zeros.
 *
 *   n.chunk, n.run                                  n.vectors (runs only)
 *   0    struct table_header                        0    struct table_header
 *   64   column payloads     zstd blocks            64   rows x dim float32, packed blocks, or
 *                                                      rows of another type (vector_row.h)
 *        column event_times  i64 x rows                  zeros to a multiple of 8
 *        column offsets      i64 x rows                  u64 checksum per block
 *        column ttls         i64 x rows; absent          zeros to a multiple of 64
 *                            when no row has one.
 *                            Of a row without a vector
 *                            its complement, ~ttl
 *        column key_offsets  u32 x (rows + 1)
 *        column keys         bytes
 *        column permutation  u32 x rows; chunks only: place in key order -> row
 *        column sparse       u64 x ceil(rows / TABLE_SPARSE_STEP)
 *        column bloom        64 bytes x ceil(rows x bits a key / 512): 10 in chunks, 16 in runs;
 *                            a reader takes any
 *        block index         struct table_block x block_count, the columns in this order,
 *                            the vectors' blocks last
 *        struct table_footer the last bytes of the file
 *
 *   a column: its blocks without a gap | zeros to 8 | u64 checksum per block | zeros to 64
 *
 * Columns of fixed width and keys are cut into blocks of TABLE_COLUMN_BLOCK_BYTES and are used
 * where they are mapped. A payload block decodes to u32 end offset per row, then the rows' bytes:
 * a MessagePack map, and from TABLE_VERSION_PARTS on the row's parts behind it (parts.h). A block that
 * zstd does not shrink is stored as it is (size_bytes == raw_bytes). A chunk has no
 * n.vectors: its vector blocks are ranges of n.log, cut where the rows' positions leave a gap.
 *
 * A block's checksum is taken over its stored bytes with (file number, column, block) as the seed
 * and stands after its column and in the block index, so that a block that is stale, misplaced or
 * of another file fails; the index is covered by the footer, the footer by itself and by the
 * manifest.
 *
 * Rows are numbered as they lie. Key order is bytewise, the shorter first, and of one key the
 * newest row first (larger offset, then larger row). `sparse` holds, for every TABLE_SPARSE_STEP-th
 * place of the key order, the eight key bytes after the prefix that all keys of the table share, as
 * a big-endian number, padded with zeros. */
#ifndef STORE_FILES_TABLE_FORMAT_H
#define STORE_FILES_TABLE_FORMAT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the formats are mapped, not decoded");

#define TABLE_MAGIC_CHUNK   "wdrCHUNK"
#define TABLE_MAGIC_RUN     "wdrRUN\0\0"
#define TABLE_MAGIC_VECTORS "wdrVECT\0"
#define TABLE_MAGIC_FOOTER  "wdrFOOT\0"
#define MASK_MAGIC          "wdrMASK\0"

enum {
    TABLE_VERSION = 1,       /* of tables whose vectors are float32 */
    TABLE_VERSION_TYPES = 2, /* of others: builds before them refuse it */
    TABLE_VERSION_PARTS = 3, /* of tables whose rows may have parts (parts.h), of any type */
    TABLE_VERSION_BARE = 4,  /* of tables with rows without a vector, of any type, parts or not */
    TABLE_MAGIC_BYTES = 8,
    TABLE_ALIGNMENT = 64,               /* of columns: a cache line */
    TABLE_COLUMN_BLOCK_BYTES = 65536,   /* of a column that is used in place */
    TABLE_VECTOR_BLOCK_BYTES = 262144,  /* verified on first touch: 25 us; at least one row */
    TABLE_PAYLOAD_BLOCK_BYTES = 16384,  /* before compression; a larger payload has its own */
    TABLE_PAYLOAD_MAX_BYTES = 67108864, /* one record's */
    TABLE_DIM_MAX = 65536,              /* as in config.h */
    TABLE_KEY_MAX_BYTES = 256,          /* STORE_KEY_MAX_BYTES */
    TABLE_SPARSE_STEP = 32,
};

/* Key offsets and row numbers are 32 bits wide. */
#define TABLE_KEYS_MAX_BYTES UINT32_MAX
#define TABLE_ROWS_MAX       (UINT32_MAX - 1)

/* The number is part of each block's checksum: never renumber. */
enum table_column_id {
    TABLE_COLUMN_PAYLOADS = 0,
    TABLE_COLUMN_EVENT_TIMES,
    TABLE_COLUMN_OFFSETS,
    TABLE_COLUMN_TTLS,
    TABLE_COLUMN_KEY_OFFSETS,
    TABLE_COLUMN_KEYS,
    TABLE_COLUMN_PERMUTATION,
    TABLE_COLUMN_SPARSE,
    TABLE_COLUMN_BLOOM,
    TABLE_COLUMN_VECTORS,
    TABLE_COLUMN_COUNT,
    /* not columns, but checksummed like them */
    TABLE_PART_INDEX = TABLE_COLUMN_COUNT,
    TABLE_PART_FOOTER,
    TABLE_PART_HEADER,
    TABLE_PART_MASK
};

/* First bytes of n.chunk, n.run and n.vectors. */
struct table_header {
    uint8_t magic[TABLE_MAGIC_BYTES];
    uint32_t version;
    uint32_t kind;  /* enum table_kind */
    uint32_t codec; /* enum vector_codec of the vectors */
    uint32_t dim;
    uint64_t file_number;
    uint8_t reserved[24]; /* zeros */
    uint64_t checksum;    /* of the bytes before, part HEADER */
};

static_assert(sizeof(struct table_header) == 64, "table_header");
static_assert(offsetof(struct table_header, version) == 8, "table_header.version");
static_assert(offsetof(struct table_header, kind) == 12, "table_header.kind");
static_assert(offsetof(struct table_header, codec) == 16, "table_header.codec");
static_assert(offsetof(struct table_header, dim) == 20, "table_header.dim");
static_assert(offsetof(struct table_header, file_number) == 24, "table_header.file_number");
static_assert(offsetof(struct table_header, reserved) == 32, "table_header.reserved");
static_assert(offsetof(struct table_header, checksum) == 56, "table_header.checksum");

/* One entry of the block index. */
struct table_block {
    uint64_t offset;     /* in the file that holds the column: this one, n.vectors or n.log */
    uint32_t size_bytes; /* as stored */
    uint32_t raw_bytes;  /* decoded */
    uint32_t first_row;  /* payloads and vectors; 0 in other columns */
    uint32_t row_count;  /* payloads and vectors; 0 in other columns */
    uint64_t checksum;
};

static_assert(sizeof(struct table_block) == 32, "table_block");
static_assert(offsetof(struct table_block, offset) == 0, "table_block.offset");
static_assert(offsetof(struct table_block, size_bytes) == 8, "table_block.size_bytes");
static_assert(offsetof(struct table_block, raw_bytes) == 12, "table_block.raw_bytes");
static_assert(offsetof(struct table_block, first_row) == 16, "table_block.first_row");
static_assert(offsetof(struct table_block, row_count) == 20, "table_block.row_count");
static_assert(offsetof(struct table_block, checksum) == 24, "table_block.checksum");

/* Where a column lies. */
struct table_extent {
    uint64_t offset;      /* a multiple of 64; 0 for the vectors of a chunk */
    uint64_t size_bytes;  /* of its blocks, without what follows them */
    uint32_t first_block; /* in the block index */
    uint32_t block_count;
    uint64_t reserved; /* zero */
};

static_assert(sizeof(struct table_extent) == 32, "table_extent");
static_assert(offsetof(struct table_extent, offset) == 0, "table_extent.offset");
static_assert(offsetof(struct table_extent, size_bytes) == 8, "table_extent.size_bytes");
static_assert(offsetof(struct table_extent, first_block) == 16, "table_extent.first_block");
static_assert(offsetof(struct table_extent, block_count) == 20, "table_extent.block_count");
static_assert(offsetof(struct table_extent, reserved) == 24, "table_extent.reserved");

/* Last bytes of n.chunk and n.run. */
struct table_footer {
    uint8_t magic[TABLE_MAGIC_BYTES];
    uint32_t version;
    uint32_t kind;
    uint32_t codec;
    uint32_t dim;
    uint64_t file_number;
    uint64_t log_file_number; /* chunks: n.log with the vectors; 0 for runs */
    int64_t window_start_ms;
    int64_t window_length_ms;
    uint64_t generation; /* of a sealed run, else 0 */
    uint64_t row_count;
    int64_t min_event_ms, max_event_ms; /* 0 without rows, as the next three */
    int64_t min_offset, max_offset;
    int64_t max_row_ttl_ms; /* 0: no row has its own */
    uint64_t vector_bytes;  /* file size of n.vectors; chunks: rows x dim x 4 */
    uint32_t prefix_bytes;  /* of the key prefix that all rows share */
    uint32_t block_count;   /* entries of the block index */
    uint64_t index_offset;  /* of the block index */
    uint64_t index_checksum;
    struct table_extent columns[TABLE_COLUMN_COUNT]; /* by enum table_column_id */
    double recall;     /* version 2: measured when it was written; 0 in version 1 */
    uint64_t checksum; /* of the bytes before, part FOOTER */
};

static_assert(sizeof(struct table_footer) == 480, "table_footer");
static_assert(offsetof(struct table_footer, version) == 8, "table_footer.version");
static_assert(offsetof(struct table_footer, kind) == 12, "table_footer.kind");
static_assert(offsetof(struct table_footer, codec) == 16, "table_footer.codec");
static_assert(offsetof(struct table_footer, dim) == 20, "table_footer.dim");
static_assert(offsetof(struct table_footer, file_number) == 24, "table_footer.file_number");
static_assert(offsetof(struct table_footer, log_file_number) == 32, "table_footer.log_file_number");
static_assert(offsetof(struct table_footer, window_start_ms) == 40, "table_footer.window_start_ms");
static_assert(offsetof(struct table_footer, window_length_ms) == 48, "table_footer.window_length");
static_assert(offsetof(struct table_footer, generation) == 56, "table_footer.generation");
static_assert(offsetof(struct table_footer, row_count) == 64, "table_footer.row_count");
static_assert(offsetof(struct table_footer, min_event_ms) == 72, "table_footer.min_event_ms");
static_assert(offsetof(struct table_footer, max_event_ms) == 80, "table_footer.max_event_ms");
static_assert(offsetof(struct table_footer, min_offset) == 88, "table_footer.min_offset");
static_assert(offsetof(struct table_footer, max_offset) == 96, "table_footer.max_offset");
static_assert(offsetof(struct table_footer, max_row_ttl_ms) == 104, "table_footer.max_row_ttl_ms");
static_assert(offsetof(struct table_footer, vector_bytes) == 112, "table_footer.vector_bytes");
static_assert(offsetof(struct table_footer, prefix_bytes) == 120, "table_footer.prefix_bytes");
static_assert(offsetof(struct table_footer, block_count) == 124, "table_footer.block_count");
static_assert(offsetof(struct table_footer, index_offset) == 128, "table_footer.index_offset");
static_assert(offsetof(struct table_footer, index_checksum) == 136, "table_footer.index_checksum");
static_assert(offsetof(struct table_footer, columns) == 144, "table_footer.columns");
static_assert(offsetof(struct table_footer, recall) == 464, "table_footer.recall");
static_assert(offsetof(struct table_footer, checksum) == 472, "table_footer.checksum");

/* n.mask: this header, `count` struct mask_entry (table.h) with ascending rows, u64 checksum of all
 * bytes before with (file number, part MASK, table number) as the seed. */
struct mask_header {
    uint8_t magic[TABLE_MAGIC_BYTES];
    uint32_t version;
    uint32_t count;
    uint64_t file_number;
    uint64_t table_number;
};

static_assert(sizeof(struct mask_header) == 32, "mask_header");
static_assert(offsetof(struct mask_header, version) == 8, "mask_header.version");
static_assert(offsetof(struct mask_header, count) == 12, "mask_header.count");
static_assert(offsetof(struct mask_header, file_number) == 16, "mask_header.file_number");
static_assert(offsetof(struct mask_header, table_number) == 24, "mask_header.table_number");

/** End of a column in its file: its data, its checksums and both gaps. The caller has bounded
 * `offset + size_bytes` by a file size, so that nothing wraps. */
static inline uint64_t table_extent_end(const struct table_extent *extent)
{
    uint64_t data_end = bytes_align(extent->offset + extent->size_bytes, 8);

    return bytes_align(data_end + (uint64_t)extent->block_count * 8, TABLE_ALIGNMENT);
}

/** Rows of a full vector block. */
static inline uint32_t table_vector_block_rows(size_t row_bytes)
{
    uint32_t rows = (uint32_t)(TABLE_VECTOR_BLOCK_BYTES / row_bytes);

    return rows ? rows : 1;
}

#endif
