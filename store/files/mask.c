/* n.mask: the rows of one table that died before the table did. Small, read whole.
 *
 *     mask_header | mask_entry[count], rows ascending | u64 checksum of all before it
 *
 * A mask is never changed. The next flush writes a new file with all dead rows and one edit puts it
 * in the place of the old one, which then goes. The checksum is bound to the mask's number and to
 * the table's: a mask that was put beside another table, or another file under this name, fails.
 *
 * An entry has the offset at which its row died, as memory has: sstable.h says what it is for. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "store/files/table.h"
#include "store/files/table_format.h"
#include "store/files/wire.h"

static_assert(sizeof(struct mask_entry) == 16, "mask_entry");
static_assert(offsetof(struct mask_entry, row) == 0, "mask_entry.row");
static_assert(offsetof(struct mask_entry, reserved) == 4, "mask_entry.reserved");
static_assert(offsetof(struct mask_entry, dead_at_offset) == 8, "mask_entry.dead_at_offset");

static int write_file(struct io *io, const char *path, const struct buffer *bytes,
                      struct error *error)
{
    int handle;
    int result = io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &handle, error);

    if (result)
        return result;
    result = io_write(io, handle, path, bytes->data, bytes->size, 0, error);
    if (result == 0)
        result = io_datasync(io, handle, path, error);
    if (result == 0)
        result = io_close(io, handle, path, error);
    else
        (void)io_close(io, handle, path, ERROR_IGNORED);
    if (result)
        (void)io_unlink(io, path, ERROR_IGNORED);
    return result;
}

int mask_write(struct io *io, const char *directory, uint64_t file_number, uint64_t table_number,
               const struct mask_entry *entries, uint32_t count, uint64_t *size_bytes,
               struct error *error)
{
    struct mask_header header = {.version = TABLE_VERSION,
                                 .count = count,
                                 .file_number = file_number,
                                 .table_number = table_number};
    struct buffer bytes = {0};
    char path[PATH_MAX];
    uint64_t checksum;
    int result;

    memcpy(header.magic, MASK_MAGIC, TABLE_MAGIC_BYTES);
    buffer_append(&bytes, &header, sizeof(header));
    for (uint32_t i = 0; i < count; i++) {
        assert(i == 0 || entries[i - 1].row < entries[i].row);
        assert(entries[i].reserved == 0);
        buffer_append(&bytes, &entries[i], sizeof(entries[i]));
    }
    checksum = checksum_block(bytes.data, bytes.size, file_number, TABLE_PART_MASK, table_number);
    buffer_append(&bytes, &checksum, sizeof(checksum));
    table_path(directory, file_number, "mask", path, sizeof(path));
    result = write_file(io, path, &bytes, error);
    if (result == 0)
        *size_bytes = bytes.size;
    buffer_destroy(&bytes);
    return result;
}

static int mask_corrupt(const char *path, const char *what, struct error *error)
{
    return error_set(error, ERROR_CORRUPT, "%s: %s", path, what);
}

static int check(const char *path, const uint8_t *bytes, uint64_t size_bytes, uint64_t file_number,
                 uint64_t table_number, uint32_t row_count, struct error *error)
{
    struct mask_header header;
    struct mask_entry entry;
    uint64_t checksum;
    uint64_t last_row = 0;

    memcpy(&header, bytes, sizeof(header));
    if (memcmp(header.magic, MASK_MAGIC, TABLE_MAGIC_BYTES) != 0)
        return mask_corrupt(path, "it is not a mask", error);
    memcpy(&checksum, bytes + size_bytes - sizeof(checksum), sizeof(checksum));
    if (header.version > TABLE_VERSION &&
        checksum_block(bytes, size_bytes - sizeof(checksum), file_number, TABLE_PART_MASK,
                       table_number) == checksum)
        return error_set(error, ERROR_UNSUPPORTED, "%s: " NEWER_FORMAT, path, header.version,
                         TABLE_VERSION);
    if (header.version != TABLE_VERSION)
        return mask_corrupt(path, "unknown version", error);
    if (size_bytes != sizeof(header) + (uint64_t)header.count * sizeof(entry) + sizeof(checksum))
        return mask_corrupt(path, "its size is not that of its entries", error);
    if (header.file_number != file_number || header.table_number != table_number ||
        checksum_block(bytes, size_bytes - sizeof(checksum), file_number, TABLE_PART_MASK,
                       table_number) != checksum)
        return mask_corrupt(path, "checksum mismatch", error);
    for (uint32_t i = 0; i < header.count; i++) {
        memcpy(&entry, bytes + sizeof(header) + (size_t)i * sizeof(entry), sizeof(entry));
        if (entry.row >= row_count || (i > 0 && entry.row <= last_row) || entry.reserved != 0)
            return mask_corrupt(path, "its rows do not ascend or are not the table's", error);
        last_row = entry.row;
    }
    return 0;
}

static int read_file(struct io *io, const char *path, uint32_t row_count, uint8_t **bytes,
                     uint64_t *size_bytes, struct error *error)
{
    uint64_t most =
        sizeof(struct mask_header) + (uint64_t)row_count * sizeof(struct mask_entry) + 8;
    int handle;
    int result = io_open(io, path, IO_READ, &handle, error);

    if (result)
        return result;
    result = io_size(io, handle, path, size_bytes, error);
    if (result == 0 && (*size_bytes < sizeof(struct mask_header) + 8 || *size_bytes > most))
        result = mask_corrupt(path, "its size cannot be right", error);
    if (result == 0) {
        *bytes = malloc((size_t)*size_bytes);
        if (!*bytes)
            abort();
        result = io_read(io, handle, path, *bytes, (size_t)*size_bytes, 0, error);
    }
    if (result == 0)
        result = io_close(io, handle, path, error);
    else
        (void)io_close(io, handle, path, ERROR_IGNORED);
    return result;
}

int mask_read(struct io *io, const char *directory, uint64_t file_number, uint64_t table_number,
              uint32_t row_count, struct mask_entry **entries, uint32_t *count, struct error *error)
{
    char path[PATH_MAX];
    uint8_t *bytes = NULL;
    uint64_t size_bytes = 0;
    int result;

    table_path(directory, file_number, "mask", path, sizeof(path));
    result = read_file(io, path, row_count, &bytes, &size_bytes, error);
    if (result == 0)
        result = check(path, bytes, size_bytes, file_number, table_number, row_count, error);
    if (result) {
        free(bytes);
        return result;
    }
    *count = (uint32_t)((size_bytes - sizeof(struct mask_header) - 8) / sizeof(**entries));
    /* The entries take the place of the whole file in its own memory. */
    memmove(bytes, bytes + sizeof(struct mask_header), (size_t)*count * sizeof(**entries));
    *entries = (struct mask_entry *)bytes;
    return 0;
}
