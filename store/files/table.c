/* Opening a table, and what it has in memory.
 *
 * Opening maps n.chunk or n.run whole, checks footer, block index, every block of the small columns
 * and what they say together, then maps n.vectors or n.log. Payload blocks are checked each time
 * they are read, vector blocks once. Any doubt is ERROR_CORRUPT with file, column and block. */
#include "store/files/table.h"
#include "base/bytes.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/bloom.h"
#include "store/files/table_internal.h"

const char *table_column_name(enum table_column_id column)
{
    static const char *const names[] = {
        [TABLE_COLUMN_PAYLOADS] = "payloads",
        [TABLE_COLUMN_EVENT_TIMES] = "event_times",
        [TABLE_COLUMN_OFFSETS] = "offsets",
        [TABLE_COLUMN_TTLS] = "ttls",
        [TABLE_COLUMN_KEY_OFFSETS] = "key_offsets",
        [TABLE_COLUMN_KEYS] = "keys",
        [TABLE_COLUMN_PERMUTATION] = "permutation",
        [TABLE_COLUMN_SPARSE] = "sparse",
        [TABLE_COLUMN_BLOOM] = "bloom",
        [TABLE_COLUMN_VECTORS] = "vectors",
        [TABLE_PART_INDEX] = "block index",
        [TABLE_PART_FOOTER] = "footer",
        [TABLE_PART_HEADER] = "header",
        [TABLE_PART_MASK] = "mask",
    };

    assert((size_t)column < sizeof(names) / sizeof(names[0]));
    return names[column];
}

static _Atomic uint64_t damaged_blocks;

uint64_t table_damaged_blocks(void)
{
    return atomic_load_explicit(&damaged_blocks, memory_order_relaxed);
}

int table_corrupt(const struct table *table, enum table_column_id column, uint32_t block,
                  struct error *error, const char *format, ...)
{
    const struct table_map *map =
        column == TABLE_COLUMN_VECTORS && table->vectors.bytes ? &table->vectors : &table->index;
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void)atomic_fetch_add_explicit(&damaged_blocks, 1, memory_order_relaxed);
    if (block == UINT32_MAX)
        return error_set(error, ERROR_CORRUPT, "%s: %s: %s", map->path, table_column_name(column),
                         text);
    return error_set(error, ERROR_CORRUPT, "%s: %s: block %u: %s", map->path,
                     table_column_name(column), block, text);
}

void table_path(const char *directory, uint64_t file_number, const char *extension, char *out,
                size_t out_bytes)
{
    int length = snprintf(out, out_bytes, "%s/%06llu.%s", directory,
                          (unsigned long long)file_number, extension);

    /* A cut name could be another file's: an empty one is nobody's. */
    if (length < 0 || (size_t)length >= out_bytes)
        out[0] = '\0';
}

void table_header_fill(struct table_header *header, const char *magic,
                       const struct table_description *description)
{
    memset(header, 0, sizeof(*header));
    memcpy(header->magic, magic, TABLE_MAGIC_BYTES);
    header->version = table_version(description);
    header->kind = description->kind;
    header->codec = description->codec;
    header->dim = description->dim;
    header->file_number = description->file_number;
    header->checksum = checksum_block(header, offsetof(struct table_header, checksum),
                                      description->file_number, TABLE_PART_HEADER, 0);
}

/* n.vectors begins with its header and has exactly the size the footer says; a log file has its own
 * format, in which only the ranges of our blocks are our business. */
static int open_vectors(struct table *table, const char *directory, struct error *error)
{
    const struct table_description *description = &table->description;
    bool is_run = description->kind == TABLE_RUN;
    struct table_header header;
    int result;

    result = table_map_open(
        table->io, directory, is_run ? description->file_number : description->log_file_number,
        is_run ? "vectors" : "log", is_run ? sizeof(header) : 0, &table->vectors, error);
    if (result || !is_run)
        return result;
    if (table->vectors.size_bytes != table->footer->vector_bytes)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, UINT32_MAX, error,
                             "%llu bytes, the footer says %llu",
                             (unsigned long long)table->vectors.size_bytes,
                             (unsigned long long)table->footer->vector_bytes);
    table_header_fill(&header, TABLE_MAGIC_VECTORS, description);
    if (memcmp(table->vectors.bytes, &header, sizeof(header)) != 0)
        return table_corrupt(table, TABLE_COLUMN_VECTORS, UINT32_MAX, error,
                             "the header is not this file's");
    return 0;
}

/* Searches touch a row here and a row there, merges, builds and scans all of them. With one mapping for
 * both, a search of a table that does not fit into memory reads a hundred pages for each that it wants,
 * or a merge waits for each page. */
static int open_random(struct table *table, struct error *error)
{
    struct io_mapping *random = &table->random;
    struct table_map again;
    int result;

    if (!table->vectors.bytes || !io_reads_mappings(table->io))
        return 0;
    memcpy(again.path, table->vectors.path, sizeof(again.path));
    result = table_map_path(table->io, table->vectors.size_bytes, &again, error);
    if (result)
        return result;
    random->io = table->io;
    random->path = table->vectors.path;
    random->bytes = again.bytes;
    random->size_bytes = again.size_bytes;
    io_expect_random(table->io, again.bytes, again.size_bytes);
    return 0;
}

/* Keys, times and offsets of rows here and there; opening looked at all of them. */
static struct io_range small_columns(const struct table *table)
{
    const struct table_extent *columns = table->footer->columns;
    uint64_t first = UINT64_MAX, end = 0;

    for (int i = TABLE_COLUMN_EVENT_TIMES; i < TABLE_COLUMN_VECTORS; i++) {
        if (columns[i].size_bytes == 0)
            continue;
        first = columns[i].offset < first ? columns[i].offset : first;
        end = table_extent_end(&columns[i]) > end ? table_extent_end(&columns[i]) : end;
    }
    return (struct io_range){table->index.bytes + (first < end ? first : 0),
                             first < end ? (size_t)(end - first) : 0};
}

void table_fetch_columns(const struct table *table)
{
    const struct io_range columns = small_columns(table);

    io_fetch(table->io, &columns, 1);
}

static void collect_residues(struct table *table)
{
    table->residues = KEY_RESIDUES_NONE;
    for (uint32_t row = 0; row < table->row_count; row++) {
        size_t key_bytes;
        const uint8_t *key = table_key(table, row, &key_bytes);
        key_residues_add(&table->residues, key, key_bytes);
    }
}

static int open_checked(struct table *table, const char *directory,
                        const struct table_description *description, const struct table_info *info,
                        struct error *error)
{
    int result;

    result = table_map_open(table->io, directory, description->file_number,
                            description->kind == TABLE_RUN ? "run" : "chunk",
                            sizeof(struct table_header) + sizeof(struct table_footer),
                            &table->index, error);
    if (result == 0)
        result = table_check_structure(table, description, info, error);
    for (int i = TABLE_COLUMN_EVENT_TIMES; result == 0 && i < TABLE_COLUMN_VECTORS; i++)
        result = table_check_column(table, (enum table_column_id)i, error);
    if (result == 0)
        result = table_check_content(table, error);
    if (result == 0)
        collect_residues(table);
    if (result == 0)
        result = open_vectors(table, directory, error);
    if (result == 0)
        result = table_check_ranges(table, error);
    if (result == 0)
        result = open_random(table, error);
    return result ? result : table_vectors_create(table, error);
}

int table_open(struct io *io, const char *directory, const struct table_description *description,
               const struct table_info *info, struct table **out, struct error *error)
{
    struct table *table = calloc(1, sizeof(*table));
    int result;

    if (!table)
        return error_set(error, ERROR_MEMORY, "no memory to open a table");
    table->io = io;
    atomic_init(&table->random.file, -1);
    table->description = *description;
    result = open_checked(table, directory, description, info, error);
    if (result) {
        table_close(table);
        return result;
    }
    io_expect_random(io, small_columns(table).bytes, small_columns(table).size_bytes);
    *out = table;
    return 0;
}

void table_close(struct table *table)
{
    if (!table)
        return;
    table_map_close(table->io, &table->index);
    table_map_close(table->io, &table->vectors);
    if (table->random.bytes)
        io_unmap(table->io, table->random.bytes, table->random.size_bytes);
    io_mapping_close(&table->random);
    table_vectors_destroy(table);
    free(table);
}

uint32_t table_row_count(const struct table *table)
{
    return table->row_count;
}

const struct table_description *table_describe(const struct table *table)
{
    return &table->description;
}

const int64_t *table_event_times(const struct table *table)
{
    return table->event_times;
}

const int64_t *table_offsets(const struct table *table)
{
    return table->offsets;
}

const int64_t *table_ttls(const struct table *table)
{
    return table->ttls;
}

const uint8_t *table_key(const struct table *table, uint32_t row, size_t *key_bytes)
{
    assert(row < table->row_count);
    *key_bytes = table->key_offsets[row + 1] - table->key_offsets[row];
    return table->keys + table->key_offsets[row];
}

const struct key_residues *table_residues(const struct table *table)
{
    return &table->residues;
}

uint32_t table_row_at(const struct table *table, uint32_t place)
{
    assert(place < table->row_count);
    return table->permutation ? table->permutation[place] : place;
}

/* Finding keys: bloom filter, then the sparse index, then a binary search of at most a few dozen
 * places. */

uint64_t table_key_hash(const uint8_t *key, size_t key_bytes)
{
    return XXH3_64bits(key, key_bytes);
}

uint64_t table_key_prefix(const uint8_t *key, size_t key_bytes, size_t prefix_bytes)
{
    uint8_t bytes[8] = {0};
    uint64_t value;

    if (key_bytes >= prefix_bytes + 8) {
        memcpy(&value, key + prefix_bytes, sizeof(value));
        return __builtin_bswap64(value);
    }
    if (key_bytes > prefix_bytes) {
        size_t left = key_bytes - prefix_bytes;
        memcpy(bytes, key + prefix_bytes, left < 8 ? left : 8);
    }
    memcpy(&value, bytes, sizeof(value));
    return __builtin_bswap64(value);
}

/* First sparse entry that is >= (or, with `past`, >) the prefix. Without branches on the data. */
static uint32_t sparse_bound(const struct table *table, uint64_t prefix, bool past)
{
    uint32_t first = 0;
    uint32_t count = table->sparse_count;

    while (count > 0) {
        uint32_t half = count / 2;
        uint64_t value = table->sparse[first + half];
        bool right = past ? value <= prefix : value < prefix;
        first = right ? first + half + 1 : first;
        count = right ? count - half - 1 : half;
    }
    return first;
}

/* Places [*first, *end) hold the lower bound of the key, or it is *end. */
static void narrow(const struct table *table, const uint8_t *key, size_t key_bytes, uint32_t *first,
                   uint32_t *end)
{
    uint32_t prefix_bytes = table->footer->prefix_bytes;
    size_t head_bytes = key_bytes < prefix_bytes ? key_bytes : prefix_bytes;
    size_t any_bytes;
    const uint8_t *any = table_key(table, 0, &any_bytes);
    int order = memcmp(key, any, head_bytes);
    uint32_t below, above;

    if (order == 0 && key_bytes < prefix_bytes)
        order = -1;
    if (order) {
        *first = *end = order < 0 ? 0 : table->row_count;
        return;
    }
    /* Keys of equal sparse prefixes may differ behind them: all of those places are searched. */
    below = sparse_bound(table, table_key_prefix(key, key_bytes, prefix_bytes), false);
    above = sparse_bound(table, table_key_prefix(key, key_bytes, prefix_bytes), true);
    *first = below == 0 ? 0 : (below - 1) * TABLE_SPARSE_STEP;
    *end = above >= table->sparse_count ? table->row_count : above * TABLE_SPARSE_STEP;
}

uint32_t table_lower_bound(const struct table *table, const uint8_t *key, size_t key_bytes)
{
    uint32_t first, end;

    if (table->row_count == 0)
        return 0;
    narrow(table, key, key_bytes, &first, &end);
    while (first < end) {
        uint32_t middle = first + (end - first) / 2;
        size_t other_bytes;
        const uint8_t *other = table_key(table, table_row_at(table, middle), &other_bytes);
        if (bytes_compare(other, other_bytes, key, key_bytes) < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

void table_prefetch(const struct table *table, uint64_t key_hash)
{
    if (table->bloom_block_count > 0)
        bloom_prefetch(table->bloom, table->bloom_block_count, key_hash);
}

bool table_may_contain(const struct table *table, uint64_t key_hash)
{
    return bloom_may_contain(table->bloom, table->bloom_block_count, key_hash);
}

bool table_find(const struct table *table, const uint8_t *key, size_t key_bytes, uint64_t key_hash,
                uint32_t *row)
{
    const uint8_t *other;
    size_t other_bytes;
    uint32_t place, found;

    if (!table_may_contain(table, key_hash))
        return false;
    place = table_lower_bound(table, key, key_bytes);
    if (place == table->row_count)
        return false;
    found = table_row_at(table, place);
    other = table_key(table, found, &other_bytes);
    if (!bytes_equal(other, other_bytes, key, key_bytes))
        return false;
    *row = found;
    return true;
}
