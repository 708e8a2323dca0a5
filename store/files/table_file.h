/* A file being written front to back, in large writes. The first error sticks.
 *
 * A small file goes through the page cache, where whoever opens it next finds it. Of a large one
 * all whole blocks go past it (IO_UNCACHED): what the page cache holds back is written out in one
 * burst by the sync in the end, and each synced group of an appender waits behind that. Measured
 * beside appends of 200 KiB: these go on at twice to three times the rate, and the file is written
 * no slower. It is read back into the cache once it is durable, for it is searched next. Both
 * handles are of one file: a sync of either covers what came through the other. */
#ifndef STORE_FILES_TABLE_FILE_H
#define STORE_FILES_TABLE_FILE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"

struct table_file {
    struct io *io;
    int handle;             /* -1: not open */
    int uncached;           /* the second handle of a large file; -1: not needed so far */
    uint64_t written_bytes; /* handed to the file system, a multiple of a block until the end */
    uint8_t *block;         /* aligned; what comes next */
    size_t pending_bytes;   /* in it */
    char path[PATH_MAX];
};

/** A file that is not open: what table_file_abort leaves. */
#define TABLE_FILE_CLOSED ((struct table_file){.handle = -1, .uncached = -1})

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
