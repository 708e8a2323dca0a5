/* A file being written front to back, in large writes. The first error sticks. */
#ifndef STORE_TABLE_FILE_H
#define STORE_TABLE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"

struct table_file {
    struct io *io;
    int handle;             /* -1: not open */
    uint64_t written_bytes; /* handed to the file system */
    struct buffer pending;  /* not yet */
    char path[PATH_MAX];
};

/** Creates or empties the file at `path`. */
int table_file_open(struct table_file *file, struct io *io, const char *path, struct error *error);

/** Offset of the next byte. */
uint64_t table_file_offset(const struct table_file *file);

int table_file_append(struct table_file *file, const void *bytes, size_t size_bytes,
                      struct error *error);
/** Zeros up to the next multiple of `alignment` (at most 4096). */
int table_file_pad(struct table_file *file, size_t alignment, struct error *error);

/** Writes what is pending, syncs and closes. */
int table_file_finish(struct table_file *file, struct error *error);
/** Closes and removes, errors ignored: an orphan is removed on the next start as well. */
void table_file_abort(struct table_file *file);

#endif
