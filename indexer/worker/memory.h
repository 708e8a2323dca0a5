/* memory: what builds may take. Private to indexer/worker.
 *
 * A file's segment gets the kind that fits: worker_fitting_kind decides from numbers that every
 * process with the same config knows, so that nobody asks for a kind that nobody can build. A build
 * takes its share of indexer.build_memory_max_bytes before it begins and waits while others have
 * it. */
#ifndef INDEXER_WORKER_MEMORY_H
#define INDEXER_WORKER_MEMORY_H

#include "indexer/worker/pool.h"

/** The kind that can be built within the bound: the wanted one, "ivf_pq" instead of a graph, or
 * "flat": none. `copies`: the vectors do not lie in one mapped piece. */
const char *worker_fitting_kind(const struct config *config,
                                const struct config_collection *collection, const char *wanted,
                                uint64_t rows, bool copies);
/** Whether builders have to copy the vectors of such a file. */
bool worker_copies_vectors(const struct config *config, const struct config_collection *collection,
                           bool sealed);

/** What a build of `row_count` vectors with these options takes. */
uint64_t worker_build_bytes(const struct index_build_options *options, bool lists,
                            uint64_t row_count, bool copies);

/** Sets options->thread_count to as many as fit, at most `thread_count`, and takes the memory into
 * *taken, waiting for other builds. ERROR_UNSUPPORTED when one thread is too much already;
 * ERROR_CANCELLED. */
int worker_memory_take(struct worker_task *task, struct index_build_options *options, bool lists,
                       uint64_t row_count, bool copies, uint64_t *taken, struct error *error);
/** Gives it back; 0 is fine. */
void worker_memory_give(struct worker_pool *pool, uint64_t *taken);

#endif
