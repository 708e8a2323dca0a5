/* Reading every byte of a data folder that no process has open. */
#ifndef STORE_TOOLS_VERIFY_H
#define STORE_TOOLS_VERIFY_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"

/* Checks a segment file of a run: its structure is the indexer's. ERROR_UNSUPPORTED: its format is
 * of another version, which is no damage: a service builds it again. */
typedef int (*store_segment_check)(struct io *io, const char *path, uint64_t file_number,
                                   uint32_t dim, uint32_t row_count, struct error *error);
/* The same for the columns of a run, whose structure is that of the query side. */
typedef int (*store_columns_check)(struct io *io, const char *path, uint64_t file_number,
                                   uint32_t row_count, struct error *error);

struct store_verify_checks {
    store_segment_check segment; /* may be NULL */
    store_columns_check columns; /* may be NULL */
};

/** Reads every byte of a data folder that no process has open and checks every checksum and
 * cross-reference. Appends one line a finding; returns ERROR_CORRUPT when there are any. Segment
 * files are checked for presence, size and checksum here, and by `checks` (may be NULL) when these
 * are right; files of columns by `checks` alone, where there are any. */
int store_verify(struct io *io, const char *data_dir, const struct store_verify_checks *checks,
                 struct buffer *findings, struct error *error);

#endif
