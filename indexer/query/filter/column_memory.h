/* column_memory: the columns of the whole process, as operators see and bound them. */
#ifndef INDEXER_QUERY_FILTER_COLUMN_MEMORY_H
#define INDEXER_QUERY_FILTER_COLUMN_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"

/* The columns of payloads that filters use, of the whole process. */
struct query_columns_info {
    uint64_t hits, misses; /* a filter asked for the column of a table */
    uint64_t passes;       /* over all payloads of a table, to make columns */
    uint64_t bytes, max_bytes;
    uint64_t mapped_bytes; /* of files beside runs; not among `bytes` */
};

void query_columns_describe(struct query_columns_info *info);
/** Columns that are not mapped take at most so much memory, and what searches hold besides. */
void query_columns_limit(uint64_t max_bytes);

/** Forgets all columns that no search holds. Files stay. */
void query_columns_forget(void);

/** Reads a file of columns whole, for `windrow verify`; matches store_columns_check. */
int query_columns_check(struct io *io, const char *path, uint64_t file_number, uint32_t row_count,
                        struct error *error);
/** Human or JSON description for `windrow inspect`. */
int query_columns_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                          struct error *error);

#endif
