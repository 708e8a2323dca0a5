/* source: what a build reads from the store. Private to indexer/worker. */
#ifndef INDEXER_WORKER_SOURCE_H
#define INDEXER_WORKER_SOURCE_H

#include <stdatomic.h>

#include "indexer/index/index.h"
#include "store/registry.h"
#include "store/store.h"

/* The file that a segment is built over. */
struct worker_run {
    const char *collection, *shard;
    int64_t start_ms, length_ms;
    uint64_t generation;  /* of the sealed run; 0: an unsealed file */
    uint64_t file_number; /* the unsealed file; else not looked at */
};

/** The file in a snapshot. ERROR_NOT_FOUND when it was replaced or dropped. */
int worker_source_find(const struct worker_run *run, struct store_snapshot *snapshot,
                       const struct store_source **source, struct error *error);

/** All vectors of a file, one after another, their checksums taken: in place when they lie so, else
 * in *copy, which the caller frees in any case (NULL: in place). */
int worker_source_vectors(const struct store_source *source, uint32_t dim,
                          const atomic_bool *cancel, const float **vectors, float **copy,
                          struct error *error);

/** Copies all vectors to `out`, row after row, their checksums taken. */
int worker_source_copy(const struct store_source *source, uint32_t dim, const atomic_bool *cancel,
                       float *out, struct error *error);

/** A copy of the codebook that the lists of a window are built with, so that the windows can be
 * searched as one: that of the youngest window up to `start_ms` that has lists, in any shard that is
 * open here, or else of the oldest behind it; NULL when there is none. Rows of one topic are spread
 * over its partitions by a hash, and look alike in all. Of several the one with the smallest number:
 * shards whose first windows were built side by side come together that way. Deleted with
 * index_codebook_delete. */
struct index_ivf_codebook *worker_source_codebook(struct store_registry *registry,
                                                  const char *collection, int64_t start_ms,
                                                  int64_t now_ms);

#endif
