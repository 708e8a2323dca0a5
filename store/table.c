/* Opening a table, and what it has in memory.
 *
 * Opening maps n.chunk or n.run whole, checks footer, block index, every block of the small columns
 * and what they say together, then maps n.vectors or n.log. Payload blocks are checked each time
 * they are read, vector blocks once. Any doubt is ERROR_CORRUPT with file, column and block. */
#include "store/table.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/table_internal.h"

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
    header->version = TABLE_VERSION;
    header->kind = description->kind;
    header->codec = description->codec;
    header->dim = description->dim;
    header->file_number = description->file_number;
    header->checksum = checksum_block(header, offsetof(struct table_header, checksum),
                                      description->file_number, TABLE_PART_HEADER, 0);
}

int table_map_path(struct io *io, uint64_t min_bytes, struct table_map *map, struct error *error)
{
    const void *bytes = NULL;
    uint64_t size_bytes = 0;
    int handle;
    int result = io_open(io, map->path, IO_READ, &handle, error);

    if (result)
        return result;
    result = io_size(io, handle, map->path, &size_bytes, error);
    if (result == 0 && (size_bytes < min_bytes || size_bytes > INT64_MAX))
        result =
            error_set(error, ERROR_CORRUPT, "%s: %llu bytes, at least %llu expected", map->path,
                      (unsigned long long)size_bytes, (unsigned long long)min_bytes);
    if (result == 0 && size_bytes > 0)
        result = io_map(io, handle, map->path, size_bytes, &bytes, error);
    if (result == 0)
        result = io_close(io, handle, map->path, error);
    else
        (void)io_close(io, handle, map->path, NULL);
    if (result && bytes)
        io_unmap(io, bytes, size_bytes);
    if (result)
        return result;
    map->bytes = bytes;
    map->size_bytes = size_bytes;
    return 0;
}

int table_map_open(struct io *io, const char *directory, uint64_t file_number,
                   const char *extension, uint64_t min_bytes, struct table_map *map,
                   struct error *error)
{
    table_path(directory, file_number, extension, map->path, sizeof(map->path));
    return table_map_path(io, min_bytes, map, error);
}

void table_map_close(struct io *io, struct table_map *map)
{
    if (map->bytes)
        io_unmap(io, map->bytes, map->size_bytes);
    map->bytes = NULL;
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
        result = open_vectors(table, directory, error);
    if (result == 0)
        result = table_check_ranges(table, error);
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
    table->description = *description;
    result = open_checked(table, directory, description, info, error);
    if (result) {
        table_close(table);
        return result;
    }
    *out = table;
    return 0;
}

void table_close(struct table *table)
{
    if (!table)
        return;
    table_map_close(table->io, &table->index);
    table_map_close(table->io, &table->vectors);
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

uint32_t table_row_at(const struct table *table, uint32_t place)
{
    assert(place < table->row_count);
    return table->permutation ? table->permutation[place] : place;
}
