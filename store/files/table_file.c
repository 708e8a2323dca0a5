#include "store/files/table_file.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_BYTES = 1 << 20, BLOCK_ALIGNMENT = 4096, PAD_MAX_BYTES = 4096 };

int table_file_open(struct table_file *file, struct io *io, const char *path, struct error *error)
{
    int length;

    *file = TABLE_FILE_CLOSED;
    file->io = io;
    length = snprintf(file->path, sizeof(file->path), "%s", path);
    if (length < 0 || (size_t)length >= sizeof(file->path))
        return error_set(error, ERROR_INVALID, "path too long: %s", path);
    file->block = aligned_alloc(BLOCK_ALIGNMENT, BLOCK_BYTES);
    if (!file->block)
        return error_set(error, ERROR_MEMORY, "no memory to write %s", path);
    return io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file->handle, error);
}

uint64_t table_file_offset(const struct table_file *file)
{
    return file->written_bytes + file->pending_bytes;
}

/* The block is full, or the file ends in it. */
static int write_block(struct table_file *file, struct error *error)
{
    bool whole = file->pending_bytes == BLOCK_BYTES;
    int code = 0;

    assert(file->written_bytes % BLOCK_BYTES == 0);
    if (whole && file->uncached < 0)
        code = io_open(file->io, file->path, IO_WRITE | IO_UNCACHED, &file->uncached, error);
    if (code == 0)
        code = io_write(file->io, whole ? file->uncached : file->handle, file->path, file->block,
                        file->pending_bytes, file->written_bytes, error);
    if (code == 0) {
        file->written_bytes += file->pending_bytes;
        file->pending_bytes = 0;
    }
    return code;
}

int table_file_append(struct table_file *file, const void *bytes, size_t size_bytes,
                      struct error *error)
{
    const uint8_t *from = bytes;

    while (size_bytes > 0) {
        size_t room = BLOCK_BYTES - file->pending_bytes;
        size_t piece_bytes = size_bytes < room ? size_bytes : room;
        memcpy(file->block + file->pending_bytes, from, piece_bytes);
        file->pending_bytes += piece_bytes;
        from += piece_bytes;
        size_bytes -= piece_bytes;
        if (file->pending_bytes == BLOCK_BYTES) {
            int code = write_block(file, error);
            if (code != 0)
                return code;
        }
    }
    return 0;
}

int table_file_pad(struct table_file *file, size_t alignment, struct error *error)
{
    static const uint8_t zeros[PAD_MAX_BYTES];
    uint64_t rest = table_file_offset(file) % alignment;

    assert(alignment <= PAD_MAX_BYTES);
    return rest ? table_file_append(file, zeros, (size_t)(alignment - rest), error) : 0;
}

/* Closes what is open; the first error counts. */
static int close_handles(struct table_file *file, struct error *error)
{
    int handles[] = {file->uncached, file->handle};
    int code = 0;

    file->handle = file->uncached = -1;
    for (int i = 0; i < 2; i++) {
        int closed = handles[i] < 0 ? 0
                                    : io_close(file->io, handles[i], file->path,
                                               code == 0 ? error : ERROR_IGNORED);
        code = code == 0 ? closed : code;
    }
    free(file->block);
    file->block = NULL;
    return code;
}

int table_file_finish(struct table_file *file, struct error *error)
{
    int code = file->pending_bytes > 0 ? write_block(file, error) : 0;

    if (code == 0)
        code = io_datasync(file->io, file->handle, file->path, error);
    if (code != 0) {
        table_file_abort(file);
        return code;
    }
    if (file->uncached >= 0)
        io_read_ahead(file->io, file->handle, file->written_bytes);
    return close_handles(file, error);
}

void table_file_abort(struct table_file *file)
{
    (void)close_handles(file, ERROR_IGNORED);
    if (file->path[0] != '\0')
        (void)io_unlink(file->io, file->path, ERROR_IGNORED);
}
