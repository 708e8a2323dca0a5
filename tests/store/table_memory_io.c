#include "tests/store/table_memory_io.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct memory_io *memory_of(struct io *io)
{
    return (struct memory_io *)io;
}

static int find(const struct memory_io *memory, const char *path)
{
    for (int i = 0; i < MEMORY_IO_FILES; i++) {
        if (strcmp(memory->files[i].path, path) == 0)
            return i;
    }
    return -1;
}

static int spend(struct memory_io *memory)
{
    if (memory->fail_after < 0)
        return 0;
    if (memory->fail_after == 0)
        return -ENOSPC;
    memory->fail_after--;
    return 0;
}

static int memory_open(struct io *io, const char *path, unsigned flags)
{
    struct memory_io *memory = memory_of(io);
    int file = find(memory, path);

    assert(path[0] != '\0' && strlen(path) < sizeof(memory->files[0].path));
    if (file < 0) {
        if (!(flags & IO_CREATE))
            return -ENOENT;
        file = find(memory, "");
        assert(file >= 0);
        (void)snprintf(memory->files[file].path, sizeof(memory->files[file].path), "%s", path);
    }
    if (flags & IO_TRUNCATE)
        memory->files[file].bytes.size = 0;
    return file;
}

static int memory_close(struct io *io, int file)
{
    (void)io;
    return file >= 0 && file < MEMORY_IO_FILES ? 0 : -EBADF;
}

static int64_t memory_pread(struct io *io, int file, void *bytes, size_t size_bytes,
                            uint64_t offset)
{
    struct buffer *content = &memory_of(io)->files[file].bytes;

    if (offset >= content->size)
        return 0;
    if (size_bytes > content->size - offset)
        size_bytes = content->size - (size_t)offset;
    memcpy(bytes, content->data + offset, size_bytes);
    return (int64_t)size_bytes;
}

static int64_t memory_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                             uint64_t offset)
{
    struct buffer *content = &memory_of(io)->files[file].bytes;
    size_t end = (size_t)offset + size_bytes;

    if (spend(memory_of(io)))
        return -ENOSPC;
    if (end > content->size) {
        memset(buffer_reserve(content, end - content->size), 0, end - content->size);
        content->size = end;
    }
    memcpy(content->data + offset, bytes, size_bytes);
    return (int64_t)size_bytes;
}

static int memory_datasync(struct io *io, int file)
{
    (void)file;
    return spend(memory_of(io));
}

static int memory_sync_directory(struct io *io, const char *path)
{
    (void)path;
    return spend(memory_of(io));
}

static int64_t memory_size(struct io *io, int file)
{
    return (int64_t)memory_of(io)->files[file].bytes.size;
}

static int memory_map(struct io *io, int file, uint64_t size_bytes, const void **bytes)
{
    struct buffer *content = &memory_of(io)->files[file].bytes;
    void *copy = NULL;

    if (posix_memalign(&copy, 4096, (size_t)size_bytes) != 0)
        return -ENOMEM;
    assert(size_bytes <= content->size);
    memcpy(copy, content->data, (size_t)size_bytes);
    *bytes = copy;
    return 0;
}

static int memory_unmap(struct io *io, const void *bytes, uint64_t size_bytes)
{
    (void)io;
    (void)size_bytes;
    free((void *)(uintptr_t)bytes);
    return 0;
}

static int memory_unlink(struct io *io, const char *path)
{
    struct memory_io *memory = memory_of(io);
    int file = find(memory, path);

    if (file < 0)
        return -ENOENT;
    buffer_destroy(&memory->files[file].bytes);
    memory->files[file].path[0] = '\0';
    return 0;
}

void memory_io_create(struct memory_io *memory)
{
    static const struct io_operations operations = {
        .open = memory_open,
        .close = memory_close,
        .pread = memory_pread,
        .pwrite = memory_pwrite,
        .datasync = memory_datasync,
        .sync_directory = memory_sync_directory,
        .size = memory_size,
        .map = memory_map,
        .unmap = memory_unmap,
        .unlink = memory_unlink,
    };

    memset(memory, 0, sizeof(*memory));
    memory->io.operations = &operations;
    memory->fail_after = -1;
}

void memory_io_destroy(struct memory_io *memory)
{
    for (int i = 0; i < MEMORY_IO_FILES; i++)
        buffer_destroy(&memory->files[i].bytes);
}

struct buffer *memory_io_file(struct memory_io *memory, const char *path)
{
    int file = find(memory, path);

    return file < 0 ? NULL : &memory->files[file].bytes;
}

void memory_io_put(struct memory_io *memory, const char *path, const void *bytes, size_t size_bytes)
{
    int file = memory_open(&memory->io, path, IO_CREATE | IO_TRUNCATE);

    buffer_append(&memory->files[file].bytes, bytes, size_bytes);
}
