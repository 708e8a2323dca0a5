/* row_reads: rows and codes of files that do not fit into memory.
 *
 * A search that touches mapped bytes waits for each page that is not there, one after the other. So
 * once a thread has seen that pages had to be read, its searches ask for what they are about to touch:
 * rows for exact scores are read together, past the page cache, and lists and codes are asked for before
 * the first is used. While everything is in memory, all of this costs one system call a search. */
#ifndef INDEXER_INDEX_ROW_READS_H
#define INDEXER_INDEX_ROW_READS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/io.h"
#include "base/vector_row.h"

enum {
    INDEX_ROW_READS_MAX = 128, /* rows at once */
    INDEX_FETCH_MAX = 64
};

/** A search of this thread begins. */
void index_reads_begin(void);
/** Whether it has to expect that rows are not in memory. */
bool index_reads_expected(void);
/** Whether it waited for pages lately that no one had asked for. */
bool index_waits_expected(void);

/* Ranges that are asked for together. */
struct index_fetch {
    struct io *io;
    uint32_t count;
    struct io_range ranges[INDEX_FETCH_MAX];
};
static inline void index_fetch_begin(struct index_fetch *fetch, struct io *io)
{
    fetch->io = io;
    fetch->count = 0;
}
/** Adds mapped bytes; those in pages of the range before cost nothing more. */
void index_fetch_add(struct index_fetch *fetch, const void *bytes, size_t size_bytes);
/** Asks for what is left. */
void index_fetch_end(struct index_fetch *fetch);

/** Puts copies of the rows that are not in memory in the place of those in the mapping: until the next call
 * in this thread. At most INDEX_ROW_READS_MAX. */
void index_rows_read(struct vector_row *rows, uint32_t count, uint32_t dim);

#endif
