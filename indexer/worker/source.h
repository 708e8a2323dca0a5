/* source: what a build reads from the store. Private to indexer/worker. */
#ifndef INDEXER_WORKER_SOURCE_H
#define INDEXER_WORKER_SOURCE_H

#include <stdatomic.h>

#include "indexer/index/index.h"

struct store_registry;

struct store_snapshot;
struct store_source;

/* The file that a segment is built over, or the files of a span. */
struct worker_run {
    const char *collection, *shard;
    int64_t start_ms, length_ms;
    uint64_t generation; /* of the sealed run; 0: an unsealed file; of a span: a hash of its runs */
    uint64_t file_number; /* the unsealed file; else not looked at */
    uint8_t span_tier;    /* 0: no span */
};

/* Rows that a segment is built over: of one file, or of the files of a span one after another. */
struct worker_rows {
    const struct store_source **files;
    uint32_t file_count, row_count;
};

/** The file in a snapshot. ERROR_NOT_FOUND when it was replaced or dropped. */
int worker_source_find(const struct worker_run *run, struct store_snapshot *snapshot,
                       const struct store_source **source, struct error *error);

/** All vectors of a file, one after another, their checksums taken: in place when they are float32 and lie so, else
 * in *copy, which the caller frees in any case (NULL: in place). */
int worker_source_vectors(const struct store_source *source, uint32_t dim,
                          const atomic_bool *cancel, const float **vectors, float **copy,
                          struct error *error);

/** As store_row_stored, for a row of all files; struct recall_sample takes it with the rows as
 * context. */
int worker_rows_stored(void *rows, uint32_t row, struct vector_row *stored, uint32_t *count,
                       struct error *error);
/** Copies `count` vectors from row `first` on to `out` as float32, their checksums taken. */
int worker_rows_copy(const struct worker_rows *rows, uint32_t first, uint32_t count, uint32_t dim,
                     const atomic_bool *cancel, void *out, struct error *error);

/** A copy of the codebook that the lists of a window are built with, so that the windows can be
 * searched as one: that of the youngest window up to `start_ms` that has lists, in any shard that is
 * open here, or else of the oldest behind it; NULL when there is none. Rows of one topic are spread
 * over its partitions by a hash, and look alike in all. Of several the one with the smallest number:
 * shards whose first windows were built side by side come together that way. Deleted with
 * index_codebook_delete. */
struct index_ivf_codebook *worker_source_codebook(struct store_registry *registry,
                                                  const char *collection, int64_t start_ms,
                                                  int64_t now_ms);
/** The same of the bases (history.h). */
struct index_ivf_codebook *worker_source_base_codebook(struct store_registry *registry,
                                                       const char *collection, int64_t now_ms);

#endif
