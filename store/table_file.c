#include "store/table_file.h"

#include <assert.h>
#include <stdio.h>

enum { WRITE_BYTES = 1 << 20, PAD_MAX_BYTES = 4096 };

int table_file_open(struct table_file *file, struct io *io, const char *path, struct error *error)
{
    int length = snprintf(file->path, sizeof(file->path), "%s", path);

    file->io = io;
    file->handle = -1;
    file->written_bytes = 0;
    buffer_create(&file->pending);
    if (length < 0 || (size_t)length >= sizeof(file->path))
        return error_set(error, ERROR_INVALID, "path too long: %s", path);
    return io_open(io, path, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file->handle, error);
}

uint64_t table_file_offset(const struct table_file *file)
{
    return file->written_bytes + file->pending.size;
}

static int write_out(struct table_file *file, const void *bytes, size_t size_bytes,
                     struct error *error)
{
    int result =
        io_write(file->io, file->handle, file->path, bytes, size_bytes, file->written_bytes, error);

    if (result == 0)
        file->written_bytes += size_bytes;
    return result;
}

static int flush(struct table_file *file, struct error *error)
{
    int result;

    if (file->pending.size == 0)
        return 0;
    result = write_out(file, file->pending.data, file->pending.size, error);
    file->pending.size = 0;
    return result;
}

int table_file_append(struct table_file *file, const void *bytes, size_t size_bytes,
                      struct error *error)
{
    int result;

    if (file->pending.size + size_bytes >= WRITE_BYTES) {
        result = flush(file, error);
        if (result)
            return result;
        /* A large piece goes out from where it lies. */
        if (size_bytes >= WRITE_BYTES / 4)
            return write_out(file, bytes, size_bytes, error);
    }
    buffer_append(&file->pending, bytes, size_bytes);
    return 0;
}

int table_file_pad(struct table_file *file, size_t alignment, struct error *error)
{
    static const uint8_t zeros[PAD_MAX_BYTES];
    uint64_t rest = table_file_offset(file) % alignment;

    assert(alignment <= PAD_MAX_BYTES);
    return rest ? table_file_append(file, zeros, (size_t)(alignment - rest), error) : 0;
}

int table_file_finish(struct table_file *file, struct error *error)
{
    int handle = file->handle;
    int result = flush(file, error);

    buffer_destroy(&file->pending);
    if (result == 0)
        result = io_datasync(file->io, handle, file->path, error);
    if (result) {
        table_file_abort(file);
        return result;
    }
    file->handle = -1;
    return io_close(file->io, handle, file->path, error);
}

void table_file_abort(struct table_file *file)
{
    buffer_destroy(&file->pending);
    if (file->handle >= 0)
        (void)io_close(file->io, file->handle, file->path, NULL);
    file->handle = -1;
    if (file->path[0] != '\0')
        (void)io_unlink(file->io, file->path, NULL);
}
