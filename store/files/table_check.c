/* Whether the bytes of a table are one. Everything here is read before it is trusted: counts and
 * offsets are bounded by the file's size before they are multiplied or followed, and what the
 * writer asserted is asserted again from the other side. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "store/files/bloom.h"
#include "store/files/table_internal.h"
#include "store/files/wire.h"

#define WHOLE UINT32_MAX

static bool all_zero(const uint8_t *bytes, uint64_t size_bytes)
{
    for (uint64_t i = 0; i < size_bytes; i++) {
        if (bytes[i] != 0)
            return false;
    }
    return true;
}

static bool same_identity(const struct table_footer *footer,
                          const struct table_description *description)
{
    uint64_t log_file_number = description->kind == TABLE_CHUNK ? description->log_file_number : 0;

    return footer->kind == (uint32_t)description->kind &&
           footer->codec == (uint32_t)description->codec && footer->dim == description->dim &&
           footer->file_number == description->file_number &&
           footer->log_file_number == log_file_number &&
           footer->window_start_ms == description->window_start_ms &&
           footer->window_length_ms == description->window_length_ms &&
           footer->generation == description->generation;
}

static bool same_info(const struct table_footer *footer, const struct table_info *info)
{
    return footer->checksum == info->footer_checksum && footer->row_count == info->row_count &&
           footer->vector_bytes == info->vector_bytes &&
           footer->min_event_ms == info->min_event_ms &&
           footer->max_event_ms == info->max_event_ms && footer->min_offset == info->min_offset &&
           footer->max_offset == info->max_offset && footer->max_row_ttl_ms == info->max_row_ttl_ms;
}

static bool recall_is_sound(const struct table_footer *footer)
{
    return vector_codec_is_float32((enum vector_codec)footer->codec)
               ? !(footer->recall < 0 || footer->recall > 0)
               : footer->recall >= 0 && footer->recall <= 1;
}

static int check_footer(struct table *table, const struct table_description *description,
                        const struct table_info *info, struct error *error)
{
    const struct table_footer *footer = table->footer;
    uint64_t checksum = checksum_block(footer, offsetof(struct table_footer, checksum),
                                       description->file_number, TABLE_PART_FOOTER, 0);
    struct table_header header;

    if (memcmp(footer->magic, TABLE_MAGIC_FOOTER, TABLE_MAGIC_BYTES) != 0 ||
        footer->checksum != checksum)
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error, "checksum mismatch");
    if (footer->version > TABLE_VERSION_BARE)
        return error_set(error, ERROR_UNSUPPORTED, "%s: " NEWER_FORMAT, table->index.path,
                         footer->version, TABLE_VERSION_BARE);
    table->description.has_bare = footer->version == TABLE_VERSION_BARE;
    table->description.has_parts = footer->version >= TABLE_VERSION_PARTS;
    if (footer->version != table_version(&table->description))
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error,
                             "version %u with vectors stored as %s", footer->version,
                             vector_codec_name(description->codec));
    if (!recall_is_sound(footer) || !same_identity(footer, description))
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error,
                             "it belongs to another table than the manifest's");
    if (info && !same_info(footer, info))
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error,
                             "it is not the footer that the manifest knows");
    if (info && info->index_bytes != table->index.size_bytes)
        return table_corrupt(
            table, TABLE_PART_FOOTER, WHOLE, error, "%llu bytes, the manifest says %llu",
            (unsigned long long)table->index.size_bytes, (unsigned long long)info->index_bytes);
    if (footer->dim == 0 || footer->dim > TABLE_DIM_MAX || footer->row_count > TABLE_ROWS_MAX ||
        footer->codec >= VECTOR_CODEC_COUNT ||
        (footer->kind == TABLE_CHUNK && footer->codec != VECTOR_CODEC_RAW))
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error,
                             "dim, rows or codec out of range");
    table_header_fill(&header, description->kind == TABLE_RUN ? TABLE_MAGIC_RUN : TABLE_MAGIC_CHUNK,
                      &table->description);
    if (memcmp(table->index.bytes, &header, sizeof(header)) != 0)
        return table_corrupt(table, TABLE_PART_HEADER, WHOLE, error, "it is not this file's");
    return 0;
}

static int check_index(struct table *table, struct error *error)
{
    const struct table_footer *footer = table->footer;
    uint64_t footer_offset = table->index.size_bytes - sizeof(*footer);
    uint64_t index_bytes = (uint64_t)footer->block_count * sizeof(struct table_block);

    if (footer->index_offset % TABLE_ALIGNMENT != 0 || footer->index_offset > footer_offset ||
        footer_offset - footer->index_offset != index_bytes)
        return table_corrupt(table, TABLE_PART_INDEX, WHOLE, error,
                             "%u blocks at byte %llu do not end at the footer", footer->block_count,
                             (unsigned long long)footer->index_offset);
    table->blocks = (const struct table_block *)(table->index.bytes + footer->index_offset);
    if (checksum_block(table->blocks, index_bytes, footer->file_number, TABLE_PART_INDEX, 0) !=
        footer->index_checksum)
        return table_corrupt(table, TABLE_PART_INDEX, WHOLE, error, "checksum mismatch");
    return 0;
}

/* The columns lie in order, each begins where the one before ends, the last ends at the index; the
 * blocks of each tile it. */
static int check_extent(struct table *table, enum table_column_id column, uint64_t offset,
                        uint64_t limit, struct error *error)
{
    const struct table_extent *extent = &table->footer->columns[column];
    const struct table_block *blocks = table_column_blocks(table, column);
    uint64_t place = offset;

    if (extent->offset != offset || extent->reserved != 0 || extent->offset > limit ||
        extent->size_bytes > limit - extent->offset ||
        extent->block_count > limit / sizeof(uint64_t) || table_extent_end(extent) > limit)
        return table_corrupt(table, column, WHOLE, error, "%llu bytes at byte %llu do not fit",
                             (unsigned long long)extent->size_bytes,
                             (unsigned long long)extent->offset);
    for (uint32_t i = 0; i < extent->block_count; i++) {
        if (blocks[i].offset != place || blocks[i].size_bytes == 0 ||
            blocks[i].size_bytes > extent->offset + extent->size_bytes - place)
            return table_corrupt(table, column, i, error, "it leaves a gap or does not fit");
        place += blocks[i].size_bytes;
    }
    if (place != extent->offset + extent->size_bytes)
        return table_corrupt(table, column, WHOLE, error, "its blocks do not cover it");
    return 0;
}

static int check_extents(struct table *table, struct error *error)
{
    const struct table_footer *footer = table->footer;
    uint64_t offset = sizeof(struct table_header);
    uint32_t first_block = 0;

    for (int i = 0; i < TABLE_COLUMN_COUNT; i++) {
        const struct table_extent *extent = &footer->columns[i];
        int result;
        if (extent->first_block != first_block ||
            extent->block_count > footer->block_count - first_block)
            return table_corrupt(table, (enum table_column_id)i, WHOLE, error,
                                 "its part of the block index is out of range");
        first_block += extent->block_count;
        if (i == TABLE_COLUMN_VECTORS)
            continue; /* they lie in another file: table_check_ranges */
        result = check_extent(table, (enum table_column_id)i, offset, footer->index_offset, error);
        if (result)
            return result;
        offset = table_extent_end(extent);
    }
    if (offset != footer->index_offset || first_block != footer->block_count)
        return table_corrupt(table, TABLE_PART_INDEX, WHOLE, error, "the columns leave a gap");
    return 0;
}

/* Points at a column of `count` values of `width` bytes. */
static int column_values(const struct table *table, enum table_column_id column, uint64_t count,
                         uint64_t width, const void **values, struct error *error)
{
    const struct table_extent *extent = &table->footer->columns[column];

    if (extent->size_bytes != count * width)
        return table_corrupt(table, column, WHOLE, error, "%llu bytes for %llu values",
                             (unsigned long long)extent->size_bytes, (unsigned long long)count);
    *values = table->index.bytes + extent->offset;
    return 0;
}

static int locate_columns(struct table *table, struct error *error)
{
    const struct table_footer *footer = table->footer;
    uint64_t rows = footer->row_count;
    uint64_t bloom_blocks = footer->columns[TABLE_COLUMN_BLOOM].size_bytes / BLOOM_BLOCK_BYTES;
    bool has_ttls = footer->columns[TABLE_COLUMN_TTLS].size_bytes > 0;
    bool is_chunk = footer->kind == TABLE_CHUNK;
    const void *values[TABLE_COLUMN_COUNT];
    const struct {
        enum table_column_id column;
        uint64_t count, width;
    } expected[] = {
        {TABLE_COLUMN_EVENT_TIMES, rows, 8},
        {TABLE_COLUMN_OFFSETS, rows, 8},
        {TABLE_COLUMN_TTLS, has_ttls ? rows : 0, 8},
        {TABLE_COLUMN_KEY_OFFSETS, rows + 1, 4},
        {TABLE_COLUMN_KEYS, footer->columns[TABLE_COLUMN_KEYS].size_bytes, 1},
        {TABLE_COLUMN_PERMUTATION, is_chunk ? rows : 0, 4},
        {TABLE_COLUMN_SPARSE, (rows + TABLE_SPARSE_STEP - 1) / TABLE_SPARSE_STEP, 8},
        {TABLE_COLUMN_BLOOM, bloom_blocks, BLOOM_BLOCK_BYTES},
    };

    /* How many bits a key has is the writer's choice. */
    if (bloom_blocks > UINT32_MAX || (bloom_blocks == 0) != (rows == 0))
        return table_corrupt(table, TABLE_COLUMN_BLOOM, WHOLE, error, "%llu blocks for %llu rows",
                             (unsigned long long)bloom_blocks, (unsigned long long)rows);

    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        int result = column_values(table, expected[i].column, expected[i].count, expected[i].width,
                                   &values[expected[i].column], error);
        if (result)
            return result;
    }
    table->row_count = (uint32_t)rows;
    table->vector_size_bytes = vector_row_bytes((enum vector_codec)footer->codec, footer->dim);
    table->event_times = values[TABLE_COLUMN_EVENT_TIMES];
    table->offsets = values[TABLE_COLUMN_OFFSETS];
    table->ttls = has_ttls ? values[TABLE_COLUMN_TTLS] : NULL;
    table->key_offsets = values[TABLE_COLUMN_KEY_OFFSETS];
    table->keys = values[TABLE_COLUMN_KEYS];
    table->permutation = is_chunk ? values[TABLE_COLUMN_PERMUTATION] : NULL;
    table->sparse = values[TABLE_COLUMN_SPARSE];
    table->sparse_count = (uint32_t)((rows + TABLE_SPARSE_STEP - 1) / TABLE_SPARSE_STEP);
    table->bloom = values[TABLE_COLUMN_BLOOM];
    table->bloom_block_count = (uint32_t)bloom_blocks;
    return 0;
}

int table_check_structure(struct table *table, const struct table_description *description,
                          const struct table_info *info, struct error *error)
{
    uint64_t footer_offset = table->index.size_bytes - sizeof(struct table_footer);
    int result;

    assert(table->index.size_bytes >= sizeof(struct table_header) + sizeof(struct table_footer));
    /* Everything before the footer has a size that is a multiple of 32. */
    if (footer_offset % sizeof(struct table_block) != 0)
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error,
                             "a file of %llu bytes cannot be complete",
                             (unsigned long long)table->index.size_bytes);
    table->footer = (const struct table_footer *)(table->index.bytes + footer_offset);
    result = check_footer(table, description, info, error);
    if (result == 0)
        result = check_index(table, error);
    if (result == 0)
        result = check_extents(table, error);
    if (result == 0)
        result = locate_columns(table, error);
    return result;
}

int table_check_column(const struct table *table, enum table_column_id column, struct error *error)
{
    const struct table_extent *extent = &table->footer->columns[column];
    const struct table_block *blocks = table_column_blocks(table, column);
    const uint8_t *bytes =
        column == TABLE_COLUMN_VECTORS ? table->vectors.bytes : table->index.bytes;
    uint64_t data_end = extent->offset + extent->size_bytes;
    uint64_t checksums = bytes_align(data_end, 8);
    uint64_t checksums_end = checksums + (uint64_t)extent->block_count * 8;

    for (uint32_t i = 0; i < extent->block_count; i++) {
        uint64_t stored;
        uint64_t checksum = checksum_block(bytes + blocks[i].offset, blocks[i].size_bytes,
                                           table->footer->file_number, column, i);
        memcpy(&stored, bytes + checksums + (uint64_t)i * 8, sizeof(stored));
        if (checksum != blocks[i].checksum || checksum != stored)
            return table_corrupt(table, column, i, error, "checksum mismatch");
    }
    if (!all_zero(bytes + data_end, checksums - data_end) ||
        !all_zero(bytes + checksums_end, table_extent_end(extent) - checksums_end))
        return table_corrupt(table, column, WHOLE, error, "a gap is not zero");
    return 0;
}

static int check_keys(const struct table *table, struct error *error)
{
    uint64_t keys_bytes = table->footer->columns[TABLE_COLUMN_KEYS].size_bytes;
    uint32_t rows = table->row_count;

    if (table->key_offsets[0] != 0 || table->key_offsets[rows] != keys_bytes)
        return table_corrupt(table, TABLE_COLUMN_KEY_OFFSETS, WHOLE, error,
                             "they do not span the keys");
    for (uint32_t row = 0; row < rows; row++) {
        uint32_t first = table->key_offsets[row], end = table->key_offsets[row + 1];
        if (end <= first || end - first > TABLE_KEY_MAX_BYTES || end > keys_bytes)
            return table_corrupt(table, TABLE_COLUMN_KEY_OFFSETS, WHOLE, error,
                                 "the key of row %u is empty, too long or out of range", row);
    }
    return 0;
}

static int check_permutation(const struct table *table, struct error *error)
{
    uint64_t *seen;
    int result = 0;

    if (!table->permutation)
        return 0;
    seen = calloc(table->row_count / 64 + 1, sizeof(*seen));
    if (!seen)
        return error_set(error, ERROR_MEMORY, "%s: no memory to check %u rows", table->index.path,
                         table->row_count);
    for (uint32_t place = 0; place < table->row_count; place++) {
        uint32_t row = table->permutation[place];
        if (row >= table->row_count || seen[row / 64] >> (row % 64) & 1) {
            result = table_corrupt(table, TABLE_COLUMN_PERMUTATION, WHOLE, error,
                                   "row %u at place %u is out of range or there twice", row, place);
            break;
        }
        seen[row / 64] |= UINT64_C(1) << (row % 64);
    }
    free(seen);
    return result;
}

/* Whether the row before may come before the row in key order. */
static bool in_order(const struct table *table, uint32_t before, uint32_t row)
{
    size_t before_bytes, key_bytes;
    const uint8_t *before_key = table_key(table, before, &before_bytes);
    const uint8_t *key = table_key(table, row, &key_bytes);
    int order = bytes_compare(before_key, before_bytes, key, key_bytes);

    if (order || table->description.kind == TABLE_RUN)
        return order < 0;
    if (table->offsets[before] != table->offsets[row])
        return table->offsets[before] > table->offsets[row];
    return before > row;
}

static int check_order(const struct table *table, struct error *error)
{
    uint32_t prefix_bytes = table->footer->prefix_bytes;
    size_t first_bytes = 0;
    const uint8_t *first = NULL;

    if (table->row_count > 0)
        first = table_key(table, table_row_at(table, 0), &first_bytes);
    if (prefix_bytes > first_bytes)
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error, "a shared prefix of %u bytes",
                             prefix_bytes);
    for (uint32_t place = 0; place < table->row_count; place++) {
        uint32_t row = table_row_at(table, place);
        size_t key_bytes;
        const uint8_t *key = table_key(table, row, &key_bytes);
        if (place > 0 && !in_order(table, table_row_at(table, place - 1), row))
            return table_corrupt(table, TABLE_COLUMN_KEYS, WHOLE, error,
                                 "places %u and %u are not in order", place - 1, place);
        if (key_bytes < prefix_bytes || memcmp(key, first, prefix_bytes) != 0)
            return table_corrupt(table, TABLE_COLUMN_KEYS, WHOLE, error,
                                 "row %u does not share the prefix", row);
        if (place % TABLE_SPARSE_STEP == 0 && table->sparse[place / TABLE_SPARSE_STEP] !=
                                                  table_key_prefix(key, key_bytes, prefix_bytes))
            return table_corrupt(table, TABLE_COLUMN_SPARSE, WHOLE, error,
                                 "the entry of place %u is not its key's", place);
    }
    return 0;
}

static void bounds_of(const int64_t *values, uint32_t count, int64_t *min, int64_t *max)
{
    *min = *max = count > 0 ? values[0] : 0;
    for (uint32_t i = 1; i < count; i++) {
        *min = values[i] < *min ? values[i] : *min;
        *max = values[i] > *max ? values[i] : *max;
    }
}

static int check_zone_maps(const struct table *table, struct error *error)
{
    const struct table_footer *footer = table->footer;
    int64_t min_event, max_event, min_offset, max_offset;
    int64_t max_ttl = 0;

    bounds_of(table->event_times, table->row_count, &min_event, &max_event);
    bounds_of(table->offsets, table->row_count, &min_offset, &max_offset);
    for (uint32_t row = 0; table->ttls && row < table->row_count; row++) {
        int64_t ttl_ms = table_ttl_ms(table->ttls[row]);
        max_ttl = ttl_ms > max_ttl ? ttl_ms : max_ttl;
        if (table_ttl_bare(table->ttls[row]) && !table->description.has_bare)
            return table_corrupt(table, TABLE_COLUMN_TTLS, WHOLE, error,
                                 "row %u has no vector, in a table of version %u", row,
                                 footer->version);
    }
    if (footer->min_event_ms != min_event || footer->max_event_ms != max_event ||
        footer->min_offset != min_offset || footer->max_offset != max_offset ||
        footer->max_row_ttl_ms != max_ttl)
        return table_corrupt(table, TABLE_PART_FOOTER, WHOLE, error,
                             "its smallest and largest values are not the columns'");
    return 0;
}

int table_check_content(const struct table *table, struct error *error)
{
    int result = check_keys(table, error);

    if (result == 0)
        result = check_permutation(table, error);
    if (result == 0)
        result = check_order(table, error);
    if (result == 0)
        result = check_zone_maps(table, error);
    return result;
}

/* Rows of the blocks follow one another from 0 to row_count. */
static int check_row_ranges(const struct table *table, enum table_column_id column,
                            struct error *error)
{
    const struct table_block *blocks = table_column_blocks(table, column);
    uint32_t block_count = table->footer->columns[column].block_count;
    uint32_t row = 0;

    for (uint32_t i = 0; i < block_count; i++) {
        if (blocks[i].first_row != row || blocks[i].row_count == 0 ||
            blocks[i].row_count > table->row_count - row)
            return table_corrupt(table, column, i, error, "rows %u+%u are out of order",
                                 blocks[i].first_row, blocks[i].row_count);
        row += blocks[i].row_count;
    }
    if (row != table->row_count)
        return table_corrupt(table, column, WHOLE, error, "%u rows of %u", row, table->row_count);
    return 0;
}

static int check_payload_blocks(const struct table *table, struct error *error)
{
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_PAYLOADS);
    uint32_t block_count = table->footer->columns[TABLE_COLUMN_PAYLOADS].block_count;

    for (uint32_t i = 0; i < block_count; i++) {
        uint64_t ends_bytes = (uint64_t)blocks[i].row_count * sizeof(uint32_t);
        if (blocks[i].raw_bytes < ends_bytes ||
            blocks[i].raw_bytes > TABLE_PAYLOAD_MAX_BYTES + ends_bytes ||
            blocks[i].size_bytes > blocks[i].raw_bytes)
            return table_corrupt(table, TABLE_COLUMN_PAYLOADS, i, error, "%u bytes decode to %u",
                                 blocks[i].size_bytes, blocks[i].raw_bytes);
    }
    return check_row_ranges(table, TABLE_COLUMN_PAYLOADS, error);
}

/* Blocks of a chunk: float32 rows somewhere in the log file. */
static int check_log_ranges(const struct table *table, struct error *error)
{
    const struct table_extent *extent = &table->footer->columns[TABLE_COLUMN_VECTORS];
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_VECTORS);

    if (extent->offset != 0 || extent->reserved != 0 ||
        extent->size_bytes != (uint64_t)table->row_count * table->vector_size_bytes ||
        table->footer->vector_bytes != extent->size_bytes)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, WHOLE, error, "not the rows' size");
    for (uint32_t i = 0; i < extent->block_count; i++) {
        if (blocks[i].offset % sizeof(float) != 0 || blocks[i].offset > table->vectors.size_bytes ||
            blocks[i].size_bytes > table->vectors.size_bytes - blocks[i].offset)
            return table_corrupt(table, TABLE_COLUMN_VECTORS, i, error,
                                 "%u bytes at byte %llu do not fit", blocks[i].size_bytes,
                                 (unsigned long long)blocks[i].offset);
    }
    return 0;
}

int table_check_ranges(struct table *table, struct error *error)
{
    const struct table_extent *extent = &table->footer->columns[TABLE_COLUMN_VECTORS];
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_VECTORS);
    bool is_run = table->description.kind == TABLE_RUN;
    uint32_t block_rows = table_vector_block_rows(table->vector_size_bytes);
    int result = check_payload_blocks(table, error);

    if (result == 0)
        result = check_row_ranges(table, TABLE_COLUMN_VECTORS, error);
    if (result == 0 && is_run)
        result = check_extent(table, TABLE_COLUMN_VECTORS, sizeof(struct table_header),
                              table->vectors.size_bytes, error);
    else if (result == 0)
        result = check_log_ranges(table, error);
    if (result)
        return result;
    if (is_run && table_extent_end(extent) != table->vectors.size_bytes)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, WHOLE, error,
                             "bytes follow its last block");
    for (uint32_t i = 0; i < extent->block_count; i++) {
        bool full = i + 1 == extent->block_count || blocks[i].row_count == block_rows;
        bool packed = table->description.codec == VECTOR_CODEC_PACKED;
        if (blocks[i].row_count > block_rows ||
            blocks[i].raw_bytes != blocks[i].row_count * table->vector_size_bytes ||
            blocks[i].size_bytes > blocks[i].raw_bytes ||
            (!packed && blocks[i].size_bytes != blocks[i].raw_bytes) || (is_run && !full) ||
            blocks[i].offset % sizeof(float) != 0)
            return table_corrupt(table, TABLE_COLUMN_VECTORS, i, error,
                                 "%u rows do not take %u bytes", blocks[i].row_count,
                                 blocks[i].raw_bytes);
    }
    table->uniform_rows = is_run ? block_rows : 0;
    return 0;
}

/* Reads every byte of an open table again, whatever was checked before, and goes on after damage so
 * that one report names all of it. */

struct verification {
    const struct table *table;
    struct buffer *findings;
    bool found;
};

static void note(struct verification *verification, int result, const struct error *error)
{
    if (result == 0)
        return;
    buffer_append_text(verification->findings, error->text);
    buffer_append_byte(verification->findings, '\n');
    verification->found = true;
}

/* Zeros around the checksums that follow a column, and those checksums against the block index. */
static void verify_tail(struct verification *verification, enum table_column_id column,
                        const uint8_t *file)
{
    const struct table_extent *extent = &verification->table->footer->columns[column];
    const struct table_block *blocks = table_column_blocks(verification->table, column);
    uint64_t place = extent->offset + extent->size_bytes;
    uint64_t checksums = bytes_align(place, 8);
    uint64_t checksums_end = checksums + (uint64_t)extent->block_count * 8;
    struct error error;

    for (; place < table_extent_end(extent); place++) {
        if ((place < checksums || place >= checksums_end) && file[place] != 0) {
            note(verification,
                 table_corrupt(verification->table, column, UINT32_MAX, &error,
                               "byte %llu in a gap is not zero", (unsigned long long)place),
                 &error);
            break;
        }
    }
    for (uint32_t i = 0; i < extent->block_count; i++) {
        uint64_t stored;
        memcpy(&stored, file + checksums + (uint64_t)i * 8, sizeof(stored));
        if (stored != blocks[i].checksum)
            note(verification,
                 table_corrupt(verification->table, column, i, &error,
                               "the checksum behind the column is not the block index's"),
                 &error);
    }
}

static void verify_payloads(struct verification *verification)
{
    const struct table *table = verification->table;
    const struct table_block *blocks = table_column_blocks(table, TABLE_COLUMN_PAYLOADS);
    struct buffer raw = {0};
    struct error error;

    for (uint32_t i = 0; i < table->footer->columns[TABLE_COLUMN_PAYLOADS].block_count; i++)
        note(verification,
             table_payload_block(table, i, buffer_reserve(&raw, blocks[i].raw_bytes), &error),
             &error);
    buffer_destroy(&raw);
    verify_tail(verification, TABLE_COLUMN_PAYLOADS, table->index.bytes);
}

static void verify_vectors(struct verification *verification)
{
    const struct table *table = verification->table;
    struct error error;

    for (uint32_t i = 0; i < table->footer->columns[TABLE_COLUMN_VECTORS].block_count; i++)
        note(verification, table_vector_block_check(table, i, &error), &error);
    if (table->description.kind == TABLE_RUN)
        verify_tail(verification, TABLE_COLUMN_VECTORS, table->vectors.bytes);
}

int table_verify(struct table *table, struct buffer *findings, struct error *error)
{
    struct verification verification = {.table = table, .findings = findings};
    struct error found;

    for (int i = TABLE_COLUMN_EVENT_TIMES; i < TABLE_COLUMN_VECTORS; i++)
        note(&verification, table_check_column(table, (enum table_column_id)i, &found), &found);
    note(&verification, table_check_content(table, &found), &found);
    verify_payloads(&verification);
    verify_vectors(&verification);
    if (verification.found)
        return error_set(error, ERROR_CORRUPT, "%s: damaged", table->index.path);
    return 0;
}
