/* parallel: one loop over [0, count) by several threads, in pieces of `grain`. */
#ifndef INDEXER_INDEX_PARALLEL_H
#define INDEXER_INDEX_PARALLEL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* `thread` is below thread_count: an index for scratch memory of its own. */
typedef void (*index_parallel_function)(void *context, uint32_t thread, uint32_t first,
                                        uint32_t end);

/** Runs `function` over all pieces and returns when they are done: true, or false when *cancel
 * (may be NULL) became true and pieces were left out. The caller's thread takes part; a thread
 * that cannot be started is done without. */
bool index_parallel_for(uint32_t thread_count, uint32_t count, uint32_t grain,
                        index_parallel_function function, void *context, const atomic_bool *cancel);

#endif
