/* segment_kind: which segment a file gets, and what building it takes. Private to indexer/worker.
 *
 * Everything is decided from the configuration and from numbers that every process knows, so that
 * nobody asks for a kind that nobody can build. */
#ifndef INDEXER_WORKER_SEGMENT_KIND_H
#define INDEXER_WORKER_SEGMENT_KIND_H

#include "indexer/index/index.h"
#include "indexer/worker/worker.h"

struct store_file_info;
struct store_window_info;

/** Whether builders have to copy the vectors of such a file: they do not lie in one mapped piece. */
bool worker_copies_vectors(const struct config *config, const struct config_collection *collection,
                           bool sealed);

/** Bytes that a build of `row_count` vectors with these options takes, at most. */
uint64_t worker_build_bytes(const struct index_build_options *options, bool lists,
                            uint64_t row_count, bool copies);

/** The kind that can be built within the bound: the wanted one, SEGMENT_IVF_PQ instead of a graph,
 * or SEGMENT_FLAT: none. */
enum segment_kind worker_fitting_kind(const struct config *config,
                                      const struct config_collection *collection,
                                      enum segment_kind wanted, uint64_t rows, bool copies);

/** The kind that the segment of the job's file should be of at that wall clock time; SEGMENT_FLAT:
 * none.
 */
enum segment_kind worker_job_kind(const struct config *config,
                                  const struct config_collection *collection,
                                  const struct worker_job *job, int64_t now_ms);

/** Whether lists serve as well as the graph that is wanted, so that either may be built. */
bool worker_kind_is_free(const struct config_collection *collection, enum segment_kind wanted);
/** Whether a segment of the kind does where the other one is wanted. */
bool worker_kind_serves(const struct config_collection *collection, enum segment_kind wanted,
                        enum segment_kind kind);

/** Whether a file of the window, its sealed run or one of its chunks, should have a segment and has
 * none of the wanted kind. *too_large when it has none because no build of it fits the memory. */
bool worker_file_lacks_segment(const struct config *config,
                               const struct config_collection *collection,
                               const struct store_window_info *window,
                               const struct store_file_info *file, int64_t now_ms, bool *too_large);

#endif
