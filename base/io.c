/* Turns the raw operations' errno values into errors that name the operation and the path, and goes
 * on after short reads and writes. Nothing else is retried: after EIO the page cache may lie. */
#include "base/io.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

enum { READ_FILE_MAX_BYTES = 16 * 1024 * 1024 };

static int fail(struct error *error, int64_t negative_errno, const char *operation,
                const char *path)
{
    assert(negative_errno < 0);
    return error_set_errno(error, (int)-negative_errno, "%s %s", operation, path);
}

int io_open(struct io *io, const char *path, unsigned flags, int *file, struct error *error)
{
    int handle = io->operations->open(io, path, flags);

    if (handle < 0)
        return fail(error, handle, "open", path);
    *file = handle;
    return 0;
}

int io_close(struct io *io, int file, const char *path, struct error *error)
{
    int result = io->operations->close(io, file);

    return result < 0 ? fail(error, result, "close", path) : 0;
}

int io_read(struct io *io, int file, const char *path, void *bytes, size_t size_bytes,
            uint64_t offset, struct error *error)
{
    uint8_t *to = bytes;
    size_t done = 0;

    while (done < size_bytes) {
        int64_t got = io->operations->pread(io, file, to + done, size_bytes - done, offset + done);
        if (got < 0)
            return fail(error, got, "read", path);
        if (got == 0)
            return error_set(error, ERROR_CORRUPT,
                             "read %s: the file ends at byte %llu, %zu bytes short", path,
                             (unsigned long long)(offset + done), size_bytes - done);
        assert((uint64_t)got <= size_bytes - done);
        done += (size_t)got;
    }
    return 0;
}

int io_write(struct io *io, int file, const char *path, const void *bytes, size_t size_bytes,
             uint64_t offset, struct error *error)
{
    const uint8_t *from = bytes;
    size_t done = 0;

    while (done < size_bytes) {
        int64_t put =
            io->operations->pwrite(io, file, from + done, size_bytes - done, offset + done);
        if (put < 0)
            return fail(error, put, "write", path);
        /* POSIX allows it for no reason we could wait for: treat it as a device that stopped. */
        if (put == 0)
            return fail(error, -EIO, "write", path);
        assert((uint64_t)put <= size_bytes - done);
        done += (size_t)put;
    }
    return 0;
}

int io_datasync(struct io *io, int file, const char *path, struct error *error)
{
    int result = io->operations->datasync(io, file);

    return result < 0 ? fail(error, result, "fdatasync", path) : 0;
}

int io_sync_directory(struct io *io, const char *path, struct error *error)
{
    int result = io->operations->sync_directory(io, path);

    return result < 0 ? fail(error, result, "fsync folder", path) : 0;
}

int io_allocate(struct io *io, int file, const char *path, uint64_t size_bytes, struct error *error)
{
    int result = io->operations->allocate(io, file, size_bytes);

    return result < 0 ? fail(error, result, "allocate", path) : 0;
}

int io_truncate(struct io *io, int file, const char *path, uint64_t size_bytes, struct error *error)
{
    int result = io->operations->truncate(io, file, size_bytes);

    return result < 0 ? fail(error, result, "truncate", path) : 0;
}

int io_size(struct io *io, int file, const char *path, uint64_t *size_bytes, struct error *error)
{
    int64_t size = io->operations->size(io, file);

    if (size < 0)
        return fail(error, size, "stat", path);
    *size_bytes = (uint64_t)size;
    return 0;
}

void io_read_ahead(struct io *io, int file, uint64_t size_bytes)
{
    if (io->operations->read_ahead)
        io->operations->read_ahead(io, file, size_bytes);
}

int io_map(struct io *io, int file, const char *path, uint64_t size_bytes, const void **bytes,
           struct error *error)
{
    int result = io->operations->map(io, file, size_bytes, bytes);

    return result < 0 ? fail(error, result, "map", path) : 0;
}

void io_unmap(struct io *io, const void *bytes, uint64_t size_bytes)
{
    int result = io->operations->unmap(io, bytes, size_bytes);

    /* It fails only for a range that was never mapped. */
    assert(result == 0);
    (void)result;
}

void io_expect_random(struct io *io, const void *bytes, uint64_t size_bytes)
{
    if (io->operations->expect_random && size_bytes > 0)
        io->operations->expect_random(io, bytes, size_bytes);
}

void io_fetch(struct io *io, const struct io_range *ranges, uint32_t count)
{
    if (io->operations->fetch)
        io->operations->fetch(io, ranges, count);
}

bool io_reads_mappings(const struct io *io)
{
    return io->operations->fetch != NULL;
}

int io_rename(struct io *io, const char *from, const char *to, struct error *error)
{
    int result = io->operations->rename(io, from, to);

    if (result < 0)
        return error_set_errno(error, -result, "rename %s to %s", from, to);
    return 0;
}

int io_unlink(struct io *io, const char *path, struct error *error)
{
    int result = io->operations->unlink(io, path);

    return result < 0 && result != -ENOENT ? fail(error, result, "unlink", path) : 0;
}

int io_link(struct io *io, const char *from, const char *to, struct error *error)
{
    int result = io->operations->link(io, from, to);

    if (result < 0)
        return error_set_errno(error, -result, "link %s to %s", from, to);
    return 0;
}

int io_make_directory(struct io *io, const char *path, struct error *error)
{
    int result = io->operations->make_directory(io, path);

    return result < 0 ? fail(error, result, "create folder", path) : 0;
}

int io_remove_directory(struct io *io, const char *path, struct error *error)
{
    int result = io->operations->remove_directory(io, path);

    return result < 0 ? fail(error, result, "remove folder", path) : 0;
}

int io_list(struct io *io, const char *path, io_list_function function, void *context,
            struct error *error)
{
    int result = io->operations->list(io, path, function, context);

    return result < 0 ? fail(error, result, "list folder", path) : 0;
}

int io_lock(struct io *io, int file, const char *path, struct error *error)
{
    int result = io->operations->lock(io, file);

    if (result == -EWOULDBLOCK)
        return error_set(error, ERROR_BUSY, "lock %s: another process holds it", path);
    return result < 0 ? fail(error, result, "lock", path) : 0;
}

static int join_path(const char *folder, const char *name, const char *ending, char path[PATH_MAX],
                     struct error *error)
{
    int length = snprintf(path, PATH_MAX, "%s/%s%s", folder, name, ending);

    return length < PATH_MAX ? 0
                             : error_set(error, ERROR_INVALID, "the path of %s is too long", name);
}

int io_replace_file(struct io *io, const char *folder, const char *name, const void *bytes,
                    size_t size_bytes, struct error *error)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    int file = -1;
    int code = join_path(folder, name, "", path, error);

    if (code == 0)
        code = join_path(folder, name, ".tmp", temporary, error);
    if (code == 0)
        code = io_open(io, temporary, IO_WRITE | IO_CREATE | IO_TRUNCATE, &file, error);
    if (code != 0)
        return code;
    code = io_write(io, file, temporary, bytes, size_bytes, 0, error);
    if (code == 0)
        code = io_datasync(io, file, temporary, error);
    if (io_close(io, file, temporary, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
        code = ERROR_IO;
    if (code == 0)
        code = io_rename(io, temporary, path, error);
    if (code == 0 && io_sync_directory(io, folder, error) != 0)
        code = io_failed(error); /* nobody knows which of the two files a crash would leave */
    return code;
}

int io_read_file(struct io *io, const char *folder, const char *name, struct buffer *bytes,
                 struct error *error)
{
    uint64_t size_bytes = 0;
    char path[PATH_MAX];
    int file = -1;
    int code = join_path(folder, name, "", path, error);

    if (code == 0)
        code = io_open(io, path, IO_READ, &file, error);
    if (code != 0)
        return code;
    code = io_size(io, file, path, &size_bytes, error);
    if (code == 0 && size_bytes > READ_FILE_MAX_BYTES)
        code = error_set(error, ERROR_CORRUPT, "%s has %" PRIu64 " bytes", path, size_bytes);
    if (code == 0) {
        char *text = memory_checked(malloc(size_bytes + 1));
        code = io_read(io, file, path, text, size_bytes, 0, error);
        if (code == 0)
            buffer_append(bytes, text, size_bytes);
        free(text);
    }
    (void)io_close(io, file, path, ERROR_IGNORED); /* only read */
    return code;
}

int64_t io_wall_ms(struct io *io)
{
    return io->operations->wall_ms(io);
}

int64_t io_monotonic_ns(struct io *io)
{
    return io->operations->monotonic_ns(io);
}

void io_random(struct io *io, void *bytes, size_t size_bytes)
{
    io->operations->random(io, bytes, size_bytes);
}
