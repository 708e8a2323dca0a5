/* Writes a table: payload blocks and vectors go out as they fill, the small columns stay in memory
 * (about 40 bytes a row and the keys) and follow in the end, then block index and footer.
 *
 * Happy path: open, add rows, finish: columns, index, footer, fdatasync of n.vectors and of the
 * index file, fsync of the folder. Any failure sticks: finish reports it and removes the files. A
 * crash leaves files that no manifest names. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/bytes.h"
#include "store/files/bloom.h"
#include "store/files/codec.h"
#include "store/files/table_file.h"
#include "store/files/table_internal.h"

enum {
    ZSTD_LEVEL = 3,
    /* A key is looked up in the runs of all windows: of 40 half are asked before the one that has
     * it, and at 10 bits every fifth lookup searched one in vain (1.19 tables a lookup, now 1.03).
     * It costs 0.75 bytes a row. Chunks are few and soon gone: they keep 10. */
    RUN_BLOOM_BITS_PER_KEY = 16
};

struct table_writer {
    struct io *io;
    struct table_description description;
    char directory[PATH_MAX];
    struct table_file index;
    struct table_file vectors; /* runs only */
    int failed;                /* the first error's code */

    /* Columns that wait in memory; payloads and vectors stay empty. */
    struct buffer columns[TABLE_COLUMN_COUNT];
    struct buffer blocks[TABLE_COLUMN_COUNT]; /* struct table_block each */
    struct buffer hashes;                     /* u64 a row, for the bloom filter */
    uint32_t row_count;
    uint32_t prefix_bytes; /* shared by all keys so far */
    bool has_ttl;
    struct table_info info;

    ZSTD_CCtx *compressor;
    struct buffer payload_ends; /* of the payload block being filled */
    struct buffer payload_bytes;
    struct buffer packed;
    uint32_t payload_first_row;

    const uint8_t *vector_start; /* the vector block being filled: of a chunk where the caller has
                                    it, of a run in vector_block */
    uint8_t *vector_block;       /* NULL: a chunk */
    size_t vector_size_bytes;
    uint32_t vector_block_rows; /* its capacity */
    uint32_t vector_rows;       /* in it */
    uint32_t vector_first_row;
    uint64_t vector_offset;        /* where its first row lies */
    struct codec_encoder *encoder; /* NULL: vectors stay raw */
};

static const uint8_t *key_of(const struct table_writer *writer, uint32_t row, size_t *key_bytes)
{
    const uint32_t *ends = (const uint32_t *)writer->columns[TABLE_COLUMN_KEY_OFFSETS].data;

    *key_bytes = ends[row + 1] - ends[row];
    return writer->columns[TABLE_COLUMN_KEYS].data + ends[row];
}

static int create_files(struct table_writer *writer, struct error *error)
{
    const struct table_description *description = &writer->description;
    bool is_run = description->kind == TABLE_RUN;
    struct table_header header;
    char path[PATH_MAX];
    int result;

    table_path(writer->directory, description->file_number, is_run ? "run" : "chunk", path,
               sizeof(path));
    result = table_file_open(&writer->index, writer->io, path, error);
    if (result)
        return result;
    table_header_fill(&header, is_run ? TABLE_MAGIC_RUN : TABLE_MAGIC_CHUNK, description);
    result = table_file_append(&writer->index, &header, sizeof(header), error);
    if (result || !is_run)
        return result;
    table_path(writer->directory, description->file_number, "vectors", path, sizeof(path));
    result = table_file_open(&writer->vectors, writer->io, path, error);
    if (result)
        return result;
    table_header_fill(&header, TABLE_MAGIC_VECTORS, description);
    return table_file_append(&writer->vectors, &header, sizeof(header), error);
}

static void writer_free(struct table_writer *writer)
{
    for (int i = 0; i < TABLE_COLUMN_COUNT; i++) {
        buffer_destroy(&writer->columns[i]);
        buffer_destroy(&writer->blocks[i]);
    }
    buffer_destroy(&writer->hashes);
    buffer_destroy(&writer->payload_ends);
    buffer_destroy(&writer->payload_bytes);
    buffer_destroy(&writer->packed);
    ZSTD_freeCCtx(writer->compressor);
    codec_encoder_delete(writer->encoder);
    free(writer->vector_block);
    free(writer);
}

void table_writer_abort(struct table_writer *writer)
{
    table_file_abort(&writer->index);
    table_file_abort(&writer->vectors);
    writer_free(writer);
}

int table_writer_open(struct io *io, const char *directory,
                      const struct table_description *description, struct table_writer **out,
                      struct error *error)
{
    struct table_writer *writer;
    const uint32_t zero = 0;
    int result;

    if (description->dim == 0 || description->dim > TABLE_DIM_MAX)
        return error_set(error, ERROR_INVALID, "dim %u is not in 1..%d", description->dim,
                         TABLE_DIM_MAX);
    if (description->kind == TABLE_CHUNK && description->codec != VECTOR_CODEC_RAW)
        return error_set(error, ERROR_INVALID, "the vectors of a chunk must be raw");
    writer = calloc(1, sizeof(*writer));
    if (!writer)
        return error_set(error, ERROR_MEMORY, "no memory to write a table");
    writer->io = io;
    writer->description = *description;
    writer->index = writer->vectors = TABLE_FILE_CLOSED;
    writer->vector_size_bytes = vector_row_bytes(description->codec, description->dim);
    writer->vector_block_rows = table_vector_block_rows(writer->vector_size_bytes);
    if (description->kind == TABLE_RUN)
        writer->vector_block = malloc(writer->vector_size_bytes * writer->vector_block_rows);
    writer->compressor = ZSTD_createCCtx();
    if ((description->kind == TABLE_RUN && !writer->vector_block) || !writer->compressor) {
        writer_free(writer);
        return error_set(error, ERROR_MEMORY, "no memory to write a table");
    }
    if (description->codec == VECTOR_CODEC_PACKED)
        writer->encoder = codec_encoder_new();
    buffer_append(&writer->columns[TABLE_COLUMN_KEY_OFFSETS], &zero, sizeof(zero));
    if ((size_t)snprintf(writer->directory, sizeof(writer->directory), "%s", directory) >=
        sizeof(writer->directory))
        result = error_set(error, ERROR_INVALID, "path too long: %s", directory);
    else
        result = create_files(writer, error);
    if (result) {
        table_writer_abort(writer);
        return result;
    }
    *out = writer;
    return 0;
}

/* Vectors. */

static int close_vector_block(struct table_writer *writer, struct error *error)
{
    struct buffer *blocks = &writer->blocks[TABLE_COLUMN_VECTORS];
    size_t size_bytes = writer->vector_rows * writer->vector_size_bytes;
    struct table_block block = {
        .offset = writer->vector_offset,
        .size_bytes = (uint32_t)size_bytes,
        .raw_bytes = (uint32_t)size_bytes,
        .first_row = writer->vector_first_row,
        .row_count = writer->vector_rows,
    };
    const uint8_t *stored = writer->vector_start;

    if (writer->vector_rows == 0)
        return 0;
    if (writer->encoder) {
        const uint8_t *packed;
        size_t packed_bytes = codec_encode(writer->encoder, (const void *)writer->vector_start,
                                           size_bytes / sizeof(float), &packed);
        stored = packed_bytes > 0 ? packed : stored;
        block.size_bytes = packed_bytes > 0 ? (uint32_t)packed_bytes : block.size_bytes;
    }
    block.checksum = checksum_block(stored, block.size_bytes, writer->description.file_number,
                                    TABLE_COLUMN_VECTORS, blocks->size / sizeof(block));
    buffer_append(blocks, &block, sizeof(block));
    writer->vector_rows = 0;
    if (writer->description.kind == TABLE_CHUNK)
        return 0;
    assert(table_file_offset(&writer->vectors) == block.offset);
    return table_file_append(&writer->vectors, stored, block.size_bytes, error);
}

/* Whether the row's vector lies behind the block being filled. */
static bool follows_block(const struct table_writer *writer, const struct table_row *row)
{
    size_t block_bytes = writer->vector_rows * writer->vector_size_bytes;

    return row->log_position == writer->vector_offset + block_bytes &&
           (const uint8_t *)row->vector == writer->vector_start + block_bytes;
}

static int add_vector(struct table_writer *writer, const struct table_row *row, struct error *error)
{
    bool is_chunk = writer->description.kind == TABLE_CHUNK;
    int result = 0;

    if (writer->vector_rows == writer->vector_block_rows ||
        (is_chunk && writer->vector_rows > 0 && !follows_block(writer, row)))
        result = close_vector_block(writer, error);
    if (result)
        return result;
    if (writer->vector_rows == 0) {
        writer->vector_first_row = writer->row_count;
        writer->vector_offset = is_chunk ? row->log_position : table_file_offset(&writer->vectors);
        writer->vector_start = is_chunk ? (const uint8_t *)row->vector : writer->vector_block;
    }
    if (!is_chunk &&
        !vector_row_encode(writer->description.codec, row->vector, writer->description.dim,
                           writer->vector_block + writer->vector_rows * writer->vector_size_bytes))
        return error_set(error, ERROR_UNSUPPORTED, "row %u has a value that %s cannot hold",
                         writer->row_count, vector_codec_name(writer->description.codec));
    writer->vector_rows++;
    return 0;
}

/* Payloads. */

static int close_payload_block(struct table_writer *writer, struct error *error)
{
    struct buffer *blocks = &writer->blocks[TABLE_COLUMN_PAYLOADS];
    struct buffer *raw = &writer->payload_ends; /* the bytes are appended to the offsets */
    uint32_t rows = (uint32_t)(raw->size / sizeof(uint32_t));
    struct table_block block = {.offset = table_file_offset(&writer->index),
                                .first_row = writer->payload_first_row,
                                .row_count = rows};
    const uint8_t *stored = NULL;
    size_t packed_bytes;
    int result;

    if (rows == 0)
        return 0;
    buffer_append(raw, writer->payload_bytes.data, writer->payload_bytes.size);
    block.raw_bytes = (uint32_t)raw->size;
    buffer_reserve(&writer->packed, ZSTD_compressBound(raw->size));
    packed_bytes = ZSTD_compressCCtx(writer->compressor, writer->packed.data,
                                     writer->packed.capacity, raw->data, raw->size, ZSTD_LEVEL);
    if (ZSTD_isError(packed_bytes))
        return error_set(error, ERROR_MEMORY, "compress payloads: %s",
                         ZSTD_getErrorName(packed_bytes));
    stored = packed_bytes < raw->size ? writer->packed.data : raw->data;
    block.size_bytes = (uint32_t)(packed_bytes < raw->size ? packed_bytes : raw->size);
    block.checksum = checksum_block(stored, block.size_bytes, writer->description.file_number,
                                    TABLE_COLUMN_PAYLOADS, blocks->size / sizeof(block));
    buffer_append(blocks, &block, sizeof(block));
    result = table_file_append(&writer->index, stored, block.size_bytes, error);
    writer->payload_ends.size = writer->payload_bytes.size = 0;
    return result;
}

static int add_payload(struct table_writer *writer, const struct table_row *row,
                       struct error *error)
{
    size_t used = writer->payload_ends.size + writer->payload_bytes.size;
    uint32_t end;
    int result = 0;

    if (used > 0 && used + row->payload_bytes > TABLE_PAYLOAD_BLOCK_BYTES)
        result = close_payload_block(writer, error);
    if (result)
        return result;
    if (writer->payload_ends.size == 0)
        writer->payload_first_row = writer->row_count;
    buffer_append(&writer->payload_bytes, row->payload, row->payload_bytes);
    end = (uint32_t)writer->payload_bytes.size;
    buffer_append(&writer->payload_ends, &end, sizeof(end));
    return 0;
}

/* Rows. */

static int check_row(const struct table_writer *writer, const struct table_row *row,
                     struct error *error)
{
    const struct buffer *keys = &writer->columns[TABLE_COLUMN_KEYS];
    size_t last_bytes;

    if (row->key_bytes == 0 || row->key_bytes > TABLE_KEY_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "a key of %u bytes is too long", row->key_bytes);
    if (row->payload_bytes > TABLE_PAYLOAD_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "a payload of %u bytes is too large",
                         row->payload_bytes);
    if (writer->row_count >= TABLE_ROWS_MAX || keys->size + row->key_bytes > TABLE_KEYS_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "%u rows or %zu key bytes are too many for a table",
                         writer->row_count, keys->size);
    if (writer->description.kind == TABLE_CHUNK)
        return row->log_position % sizeof(float)
                   ? error_set(error, ERROR_INVALID, "log position %llu is not aligned",
                               (unsigned long long)row->log_position)
                   : 0;
    if (writer->row_count > 0) {
        const uint8_t *last = key_of(writer, writer->row_count - 1, &last_bytes);
        if (bytes_compare(last, last_bytes, row->key, row->key_bytes) >= 0)
            return error_set(error, ERROR_INVALID, "row %u: keys are out of order",
                             writer->row_count);
    }
    return 0;
}

static void note_bounds(struct table_writer *writer, const struct table_row *row)
{
    struct table_info *info = &writer->info;
    bool first = writer->row_count == 0;

    if (first || row->event_time_ms < info->min_event_ms)
        info->min_event_ms = row->event_time_ms;
    if (first || row->event_time_ms > info->max_event_ms)
        info->max_event_ms = row->event_time_ms;
    if (first || row->offset < info->min_offset)
        info->min_offset = row->offset;
    if (first || row->offset > info->max_offset)
        info->max_offset = row->offset;
    if (row->ttl_ms > info->max_row_ttl_ms)
        info->max_row_ttl_ms = row->ttl_ms;
    writer->has_ttl |= row->ttl_ms != 0 || row->bare;
}

static void add_key(struct table_writer *writer, const struct table_row *row)
{
    struct buffer *keys = &writer->columns[TABLE_COLUMN_KEYS];
    uint64_t hash = table_key_hash(row->key, row->key_bytes);
    uint32_t end = (uint32_t)(keys->size + row->key_bytes);
    uint32_t shared = 0;

    if (writer->row_count == 0) {
        writer->prefix_bytes = row->key_bytes;
    } else {
        while (shared < writer->prefix_bytes && shared < row->key_bytes &&
               keys->data[shared] == row->key[shared])
            shared++;
        writer->prefix_bytes = shared;
    }
    buffer_append(keys, row->key, row->key_bytes);
    buffer_append(&writer->columns[TABLE_COLUMN_KEY_OFFSETS], &end, sizeof(end));
    buffer_append(&writer->hashes, &hash, sizeof(hash));
}

/* Room for a row in everything that is held until the end: what grows with the rows may run out of
 * memory, and that is no reason to die. */
static bool reserve_row(struct table_writer *writer, const struct table_row *row)
{
    return buffer_try_reserve(&writer->columns[TABLE_COLUMN_KEYS], row->key_bytes) &&
           buffer_try_reserve(&writer->columns[TABLE_COLUMN_KEY_OFFSETS], sizeof(uint32_t)) &&
           buffer_try_reserve(&writer->columns[TABLE_COLUMN_EVENT_TIMES], sizeof(int64_t)) &&
           buffer_try_reserve(&writer->columns[TABLE_COLUMN_OFFSETS], sizeof(int64_t)) &&
           buffer_try_reserve(&writer->columns[TABLE_COLUMN_TTLS], sizeof(int64_t)) &&
           buffer_try_reserve(&writer->hashes, sizeof(uint64_t)) &&
           buffer_try_reserve(&writer->payload_bytes, row->payload_bytes);
}

int table_writer_add(struct table_writer *writer, const struct table_row *row, struct error *error)
{
    const int64_t ttl = row->bare ? ~row->ttl_ms : row->ttl_ms;
    int result;

    assert(!row->bare || writer->description.has_bare);
    if (writer->failed)
        return error_set(error, writer->failed, "an earlier row could not be written");
    result = check_row(writer, row, error);
    if (result == 0 && !reserve_row(writer, row))
        result = error_set(error, ERROR_MEMORY, "no memory for row %u", writer->row_count);
    if (result == 0)
        result = add_vector(writer, row, error);
    if (result == 0)
        result = add_payload(writer, row, error);
    if (result) {
        writer->failed = result;
        return result;
    }
    note_bounds(writer, row);
    add_key(writer, row);
    buffer_append(&writer->columns[TABLE_COLUMN_EVENT_TIMES], &row->event_time_ms, 8);
    buffer_append(&writer->columns[TABLE_COLUMN_OFFSETS], &row->offset, 8);
    buffer_append(&writer->columns[TABLE_COLUMN_TTLS], &ttl, 8);
    writer->row_count++;
    return 0;
}

/* The end. */

struct sort_entry {
    uint64_t prefix;
    uint32_t row;
};

/* Key order; of one key the newest first. */
static int compare_entries(const void *a, const void *b, void *context)
{
    const struct table_writer *writer = context;
    const int64_t *offsets = (const int64_t *)writer->columns[TABLE_COLUMN_OFFSETS].data;
    const struct sort_entry *left = a, *right = b;
    const uint8_t *left_key, *right_key;
    size_t left_bytes, right_bytes;
    int order;

    if (left->prefix != right->prefix)
        return left->prefix < right->prefix ? -1 : 1;
    left_key = key_of(writer, left->row, &left_bytes);
    right_key = key_of(writer, right->row, &right_bytes);
    order = bytes_compare(left_key, left_bytes, right_key, right_bytes);
    if (order)
        return order;
    if (offsets[left->row] != offsets[right->row])
        return offsets[left->row] > offsets[right->row] ? -1 : 1;
    return left->row > right->row ? -1 : left->row < right->row;
}

static int build_permutation(struct table_writer *writer, struct error *error)
{
    struct buffer *permutation = &writer->columns[TABLE_COLUMN_PERMUTATION];
    struct sort_entry *entries = malloc(sizeof(*entries) * (writer->row_count + (size_t)1));

    if (!entries)
        return error_set(error, ERROR_MEMORY, "no memory to sort %u rows", writer->row_count);
    for (uint32_t row = 0; row < writer->row_count; row++) {
        size_t key_bytes;
        const uint8_t *key = key_of(writer, row, &key_bytes);
        entries[row].prefix = table_key_prefix(key, key_bytes, writer->prefix_bytes);
        entries[row].row = row;
    }
    qsort_r(entries, writer->row_count, sizeof(*entries), compare_entries, writer);
    for (uint32_t place = 0; place < writer->row_count; place++)
        buffer_append(permutation, &entries[place].row, sizeof(uint32_t));
    free(entries);
    return 0;
}

static void build_sparse(struct table_writer *writer)
{
    const uint32_t *permutation = (const uint32_t *)writer->columns[TABLE_COLUMN_PERMUTATION].data;
    bool is_chunk = writer->description.kind == TABLE_CHUNK;

    for (uint32_t place = 0; place < writer->row_count; place += TABLE_SPARSE_STEP) {
        size_t key_bytes;
        const uint8_t *key = key_of(writer, is_chunk ? permutation[place] : place, &key_bytes);
        uint64_t prefix = table_key_prefix(key, key_bytes, writer->prefix_bytes);
        buffer_append(&writer->columns[TABLE_COLUMN_SPARSE], &prefix, sizeof(prefix));
    }
}

static void build_bloom(struct table_writer *writer)
{
    const uint64_t *hashes = (const uint64_t *)writer->hashes.data;
    bool is_run = writer->description.kind == TABLE_RUN;
    uint32_t block_count =
        bloom_block_count(writer->row_count, is_run ? RUN_BLOOM_BITS_PER_KEY : BLOOM_BITS_PER_KEY);
    size_t size_bytes = (size_t)block_count * BLOOM_BLOCK_BYTES;
    struct buffer *bloom = &writer->columns[TABLE_COLUMN_BLOOM];

    if (size_bytes == 0)
        return;
    memset(buffer_reserve(bloom, size_bytes), 0, size_bytes);
    bloom->size = size_bytes;
    for (uint32_t row = 0; row < writer->row_count; row++)
        bloom_add(bloom->data, block_count, hashes[row]);
}

/* What follows a column's blocks: zeros, their checksums, zeros. */
static int write_checksums(struct table_file *file, const struct buffer *blocks,
                           struct error *error)
{
    const struct table_block *entries = (const struct table_block *)blocks->data;
    int result = table_file_pad(file, 8, error);

    for (size_t i = 0; result == 0 && i < blocks->size / sizeof(*entries); i++)
        result = table_file_append(file, &entries[i].checksum, sizeof(entries[i].checksum), error);
    return result ? result : table_file_pad(file, TABLE_ALIGNMENT, error);
}

static int write_column(struct table_writer *writer, enum table_column_id column,
                        struct error *error)
{
    const struct buffer *data = &writer->columns[column];
    struct buffer *blocks = &writer->blocks[column];
    int result = 0;

    for (size_t done = 0; result == 0 && done < data->size; done += TABLE_COLUMN_BLOCK_BYTES) {
        size_t left = data->size - done;
        uint32_t size_bytes =
            left < TABLE_COLUMN_BLOCK_BYTES ? (uint32_t)left : TABLE_COLUMN_BLOCK_BYTES;
        struct table_block block = {.offset = table_file_offset(&writer->index),
                                    .size_bytes = size_bytes,
                                    .raw_bytes = size_bytes};
        block.checksum =
            checksum_block(data->data + done, size_bytes, writer->description.file_number, column,
                           blocks->size / sizeof(block));
        buffer_append(blocks, &block, sizeof(block));
        result = table_file_append(&writer->index, data->data + done, size_bytes, error);
    }
    return result ? result : write_checksums(&writer->index, blocks, error);
}

static int write_columns(struct table_writer *writer, struct table_footer *footer,
                         struct error *error)
{
    int result = close_payload_block(writer, error);

    footer->columns[TABLE_COLUMN_PAYLOADS].offset = sizeof(struct table_header);
    footer->columns[TABLE_COLUMN_PAYLOADS].size_bytes =
        table_file_offset(&writer->index) - sizeof(struct table_header);
    if (result == 0)
        result = write_checksums(&writer->index, &writer->blocks[TABLE_COLUMN_PAYLOADS], error);
    for (int i = TABLE_COLUMN_PAYLOADS + 1; result == 0 && i < TABLE_COLUMN_VECTORS; i++) {
        footer->columns[i].offset = table_file_offset(&writer->index);
        footer->columns[i].size_bytes = writer->columns[i].size;
        result = write_column(writer, (enum table_column_id)i, error);
    }
    return result;
}

static int write_vectors_end(struct table_writer *writer, struct table_footer *footer,
                             struct error *error)
{
    struct table_extent *extent = &footer->columns[TABLE_COLUMN_VECTORS];
    int result = close_vector_block(writer, error);

    if (writer->description.kind == TABLE_CHUNK) {
        extent->size_bytes = writer->row_count * (uint64_t)writer->vector_size_bytes;
        footer->vector_bytes = extent->size_bytes;
        return result;
    }
    extent->offset = sizeof(struct table_header);
    extent->size_bytes = table_file_offset(&writer->vectors) - sizeof(struct table_header);
    if (result == 0)
        result = write_checksums(&writer->vectors, &writer->blocks[TABLE_COLUMN_VECTORS], error);
    footer->vector_bytes = table_file_offset(&writer->vectors);
    return result;
}

static int write_index(struct table_writer *writer, struct table_footer *footer,
                       struct error *error)
{
    struct buffer index = {0};
    int result;

    for (int i = 0; i < TABLE_COLUMN_COUNT; i++) {
        const struct buffer *blocks = &writer->blocks[i];
        footer->columns[i].first_block = footer->block_count;
        footer->columns[i].block_count = (uint32_t)(blocks->size / sizeof(struct table_block));
        footer->block_count += footer->columns[i].block_count;
        buffer_append(&index, blocks->data, blocks->size);
    }
    footer->index_offset = table_file_offset(&writer->index);
    footer->index_checksum = checksum_block(index.data, index.size, writer->description.file_number,
                                            TABLE_PART_INDEX, 0);
    result = table_file_append(&writer->index, index.data, index.size, error);
    buffer_destroy(&index);
    return result;
}

static int write_footer(struct table_writer *writer, struct table_footer *footer,
                        struct error *error)
{
    const struct table_description *description = &writer->description;
    struct table_info *info = &writer->info;

    memcpy(footer->magic, TABLE_MAGIC_FOOTER, TABLE_MAGIC_BYTES);
    footer->version = table_version(&writer->description);
    footer->kind = description->kind;
    footer->codec = description->codec;
    footer->dim = description->dim;
    footer->file_number = description->file_number;
    footer->log_file_number = description->kind == TABLE_CHUNK ? description->log_file_number : 0;
    footer->window_start_ms = description->window_start_ms;
    footer->window_length_ms = description->window_length_ms;
    footer->generation = description->generation;
    footer->row_count = writer->row_count;
    footer->min_event_ms = info->min_event_ms;
    footer->max_event_ms = info->max_event_ms;
    footer->min_offset = info->min_offset;
    footer->max_offset = info->max_offset;
    footer->max_row_ttl_ms = info->max_row_ttl_ms;
    footer->prefix_bytes = writer->prefix_bytes;
    footer->recall = vector_codec_is_float32(description->codec) ? 0 : description->recall;
    footer->checksum = checksum_block(footer, offsetof(struct table_footer, checksum),
                                      description->file_number, TABLE_PART_FOOTER, 0);
    return table_file_append(&writer->index, footer, sizeof(*footer), error);
}

static int write_end(struct table_writer *writer, struct table_footer *footer, struct error *error)
{
    int result = 0;

    if (writer->description.kind == TABLE_CHUNK)
        result = build_permutation(writer, error);
    if (result)
        return result;
    if (!writer->has_ttl)
        writer->columns[TABLE_COLUMN_TTLS].size = 0;
    build_sparse(writer);
    build_bloom(writer);
    result = write_columns(writer, footer, error);
    if (result == 0)
        result = write_vectors_end(writer, footer, error);
    if (result == 0)
        result = write_index(writer, footer, error);
    if (result == 0)
        result = write_footer(writer, footer, error);
    return result;
}

int table_writer_finish(struct table_writer *writer, struct table_info *info, struct error *error)
{
    struct table_footer footer = {0};
    int result = writer->failed;

    if (result) {
        (void)error_set(error, result, "an earlier row could not be written");
        goto out;
    }
    result = write_end(writer, &footer, error);
    if (result)
        goto out;
    writer->info.row_count = writer->row_count;
    writer->info.index_bytes = table_file_offset(&writer->index);
    writer->info.vector_bytes = footer.vector_bytes;
    writer->info.footer_checksum = footer.checksum;
    if (writer->description.kind == TABLE_RUN)
        result = table_file_finish(&writer->vectors, error);
    if (result == 0)
        result = table_file_finish(&writer->index, error);
    if (result == 0)
        result = io_sync_directory(writer->io, writer->directory, error);
out:
    if (result) {
        table_writer_abort(writer);
        return result;
    }
    *info = writer->info;
    writer_free(writer);
    return 0;
}
