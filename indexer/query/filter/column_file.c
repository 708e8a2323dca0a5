/* Writing, opening and describing n.columns. */
#include "indexer/query/filter/column_file.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/checksum.h"
#include "base/memory.h"

enum { PART_HEADER = 0, PART_DATA = 1 }; /* in the checksums */

static uint64_t header_checksum(const struct column_file_header *header)
{
    return checksum_block(header, offsetof(struct column_file_header, checksum),
                          header->file_number, PART_HEADER, 0);
}

/* Reading. */

static int check_header(const struct column_file *file, const struct column_file_header *header,
                        struct error *error)
{
    if (file->size_bytes < sizeof(*header) ||
        memcmp(header->magic, COLUMN_FILE_MAGIC, sizeof(header->magic)) != 0 ||
        header->checksum != header_checksum(header))
        return error_set(error, ERROR_CORRUPT, "the header does not match its checksum");
    if (header->version != COLUMN_FILE_VERSION)
        return error_set(error, ERROR_UNSUPPORTED, "format version %u, this windrow knows %d",
                         header->version, COLUMN_FILE_VERSION);
    if (header->size_bytes != file->size_bytes || header->column_count > COLUMN_FILE_MAX)
        return error_set(error, ERROR_CORRUPT,
                         "%" PRIu64 " bytes and %u columns, the header says %" PRIu64 " bytes",
                         file->size_bytes, header->column_count, header->size_bytes);
    if (checksum_block(header + 1, (size_t)(file->size_bytes - sizeof(*header)),
                       header->file_number, PART_DATA,
                       header->column_count) != header->data_checksum)
        return error_set(error, ERROR_CORRUPT, "the columns do not match their checksum");
    return 0;
}

static int check_columns(struct column_file *file, const struct column_file_header *header,
                         struct error *error)
{
    uint64_t at = sizeof(*header);

    for (; file->column_count < header->column_count; file->column_count++) {
        struct column_image *image = &file->columns[file->column_count];
        if (at > file->size_bytes ||
            column_image_check((const uint8_t *)file->bytes + at, file->size_bytes - at,
                               header->row_count, image, error) != 0)
            return at > file->size_bytes ? error_set(error, ERROR_CORRUPT, "columns are missing")
                                         : error->code;
        at = bytes_align(at + image->head->size_bytes, COLUMN_FILE_ALIGNMENT);
    }
    return at == file->size_bytes
               ? 0
               : error_set(error, ERROR_CORRUPT, "bytes that belong to no column");
}

static int map_file(struct column_file *file, const char *path, struct error *error)
{
    int handle;
    int code = io_open(file->io, path, IO_READ, &handle, error);

    if (code != 0)
        return code;
    code = io_size(file->io, handle, path, &file->size_bytes, error);
    if (code == 0 && file->size_bytes == 0)
        code = error_set(error, ERROR_CORRUPT, "%s: empty", path);
    if (code == 0)
        code = io_map(file->io, handle, path, file->size_bytes, &file->bytes, error);
    (void)io_close(file->io, handle, path, ERROR_IGNORED); /* nothing was written */
    return code;
}

/* With whatever numbers the header says. */
static int open_any(struct io *io, const char *path, struct column_file **out, struct error *error)
{
    struct column_file *file = memory_new(1, sizeof(*file));
    int code;

    file->io = io;
    atomic_init(&file->references, 1);
    code = map_file(file, path, error);
    if (code == 0) {
        const struct column_file_header *header = file->bytes;
        code = check_header(file, header, error);
        if (code == 0)
            code = check_columns(file, header, error);
    }
    if (code != 0) {
        column_file_unref(file);
        return code;
    }
    *out = file;
    return 0;
}

int column_file_open(struct io *io, const char *path, uint64_t file_number, uint32_t row_count,
                     struct column_file **file, struct error *error)
{
    const struct column_file_header *header;

    if (open_any(io, path, file, error) != 0)
        return error->code;
    header = (*file)->bytes;
    if (header->file_number == file_number && header->row_count == row_count)
        return 0;
    (void)error_set(error, ERROR_CORRUPT,
                    "columns of run %" PRIu64 " with %u rows, not of %" PRIu64 " with %u",
                    header->file_number, header->row_count, file_number, row_count);
    column_file_unref(*file);
    *file = NULL;
    return error->code;
}

void column_file_ref(struct column_file *file)
{
    atomic_fetch_add_explicit(&file->references, 1, memory_order_relaxed);
}

void column_file_unref(struct column_file *file)
{
    if (!file || atomic_fetch_sub_explicit(&file->references, 1, memory_order_acq_rel) > 1)
        return;
    if (file->bytes)
        io_unmap(file->io, file->bytes, file->size_bytes);
    free(file);
}

/* Writing. */

/* The whole file: columns are a few bytes a row. */
static void compose(uint64_t file_number, uint32_t row_count, const struct buffer *images,
                    size_t count, struct buffer *out)
{
    struct column_file_header header = {.version = COLUMN_FILE_VERSION,
                                        .column_count = (uint32_t)count,
                                        .file_number = file_number,
                                        .row_count = row_count};

    memcpy(header.magic, COLUMN_FILE_MAGIC, sizeof(header.magic));
    buffer_append(out, &header, sizeof(header));
    for (size_t i = 0; i < count; i++) {
        size_t gap = (size_t)(bytes_align(images[i].size, COLUMN_FILE_ALIGNMENT) - images[i].size);
        buffer_append(out, images[i].data, images[i].size);
        memset(buffer_reserve(out, gap), 0, gap);
        out->size += gap;
    }
    header.size_bytes = out->size;
    header.data_checksum = checksum_block(out->data + sizeof(header), out->size - sizeof(header),
                                          file_number, PART_DATA, header.column_count);
    header.checksum = header_checksum(&header);
    memcpy(out->data, &header, sizeof(header));
}

int column_file_write(struct io *io, const char *temporary, const char *path, uint64_t file_number,
                      uint32_t row_count, const struct buffer *images, size_t count,
                      uint64_t *size_bytes, struct error *error)
{
    struct buffer bytes = {0};
    int handle, code;

    assert(count <= COLUMN_FILE_MAX);
    compose(file_number, row_count, images, count, &bytes);
    *size_bytes = bytes.size;
    code = io_open(io, temporary, IO_WRITE | IO_CREATE | IO_TRUNCATE, &handle, error);
    if (code == 0) {
        code = io_write(io, handle, temporary, bytes.data, bytes.size, 0, error);
        if (code == 0)
            code = io_datasync(io, handle, temporary, error);
        if (io_close(io, handle, temporary, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
            code = error->code;
        if (code == 0)
            code = io_rename(io, temporary, path, error);
        if (code != 0)
            (void)io_unlink(io, temporary, ERROR_IGNORED); /* removed at the next start, too */
    }
    buffer_destroy(&bytes);
    return code;
}

/* Tools. */

int query_columns_check(struct io *io, const char *path, uint64_t file_number, uint32_t row_count,
                        struct error *error)
{
    struct column_file *file = NULL;
    int code = column_file_open(io, path, file_number, row_count, &file, error);

    column_file_unref(file);
    return code;
}

static struct doc describe(const struct column_file *file, struct arena *arena)
{
    const struct column_file_header *header = file->bytes;
    struct doc *items = doc_items(arena, file->column_count);
    struct doc map = doc_map(arena, 6);

    for (uint32_t i = 0; i < file->column_count; i++) {
        const struct column_image *image = &file->columns[i];
        const struct column_head *head = image->head;
        items[i] = doc_map(arena, 8);
        doc_put(&items[i], "path",
                (struct doc){.type = DOC_STRING, .count = head->path_bytes, .string = image->path});
        doc_put(&items[i], "fit", doc_bool(column_image_is_fit(image)));
        doc_put(&items[i], "bytes", doc_integer((int64_t)head->size_bytes));
        doc_put(&items[i], "values", doc_integer(head->value_count));
        doc_put(&items[i], "numbers", doc_integer(head->number_count));
        doc_put(&items[i], "strings", doc_integer(head->string_count));
        if (head->number_count > 0) {
            doc_put(&items[i], "min", doc_number(image->numbers[0]));
            doc_put(&items[i], "max", doc_number(image->numbers[head->number_count - 1]));
        }
    }
    doc_put(&map, "kind", doc_string(arena, "columns"));
    doc_put(&map, "version", doc_integer(header->version));
    doc_put(&map, "file_number", doc_integer((int64_t)header->file_number));
    doc_put(&map, "rows", doc_integer(header->row_count));
    doc_put(&map, "bytes", doc_integer((int64_t)file->size_bytes));
    doc_put(&map, "columns",
            (struct doc){.type = DOC_ARRAY, .count = file->column_count, .items = items});
    return map;
}

static void write_pairs(const struct doc *map, const char *after, struct buffer *out)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct doc *value = &map->items[2 * i + 1];
        if (value->type == DOC_ARRAY)
            continue;
        buffer_append_text(out, map->items[2 * i].string);
        buffer_append_text(out, ": ");
        if (value->type == DOC_STRING)
            buffer_append(out, value->string, value->count);
        else
            doc_write_json(out, value);
        buffer_append_text(out, i + 1 < map->count ? after : "\n");
    }
}

int query_columns_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                          struct error *error)
{
    struct column_file *file;
    struct arena arena;
    struct doc map;

    if (open_any(io, path, &file, error) != 0)
        return error_wrap(error, "%s", path);
    arena_create(&arena, 0);
    map = describe(file, &arena);
    if (json) {
        doc_write_json(out, &map);
        buffer_append_byte(out, '\n');
    } else {
        write_pairs(&map, "\n", out);
        for (uint32_t i = 0; i < file->column_count; i++)
            write_pairs(&doc_get(&map, "columns")->items[i], ", ", out);
    }
    arena_destroy(&arena);
    column_file_unref(file);
    return 0;
}
