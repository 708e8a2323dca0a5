/* Files in memory behind the I/O seam: tests damage them byte by byte without touching a disk. Maps
 * are exact copies, so that a sanitizer sees a read past the end. Not thread-safe but for reading
 * what is mapped. */
#ifndef TESTS_STORE_TABLE_MEMORY_IO_H
#define TESTS_STORE_TABLE_MEMORY_IO_H

#include "base/buffer.h"
#include "base/io.h"

enum { MEMORY_IO_FILES = 16 };

struct memory_file {
    char path[128]; /* empty: free */
    struct buffer bytes;
};

struct memory_io {
    struct io io;
    struct memory_file files[MEMORY_IO_FILES];
    int64_t fail_after; /* this many writes and syncs succeed, then -ENOSPC; negative: never fail */
};

void memory_io_create(struct memory_io *memory);
void memory_io_destroy(struct memory_io *memory);
/** The content of a file, or NULL. */
struct buffer *memory_io_file(struct memory_io *memory, const char *path);
/** Creates or replaces a file. */
void memory_io_put(struct memory_io *memory, const char *path, const void *bytes,
                   size_t size_bytes);

#endif
