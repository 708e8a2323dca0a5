/* codebook: which tables the lists of a window are built with. Windows of one codebook are searched
 * as one, so the codebook of the window before goes on, whichever shard of the collection that is
 * in: rows of one topic are spread over its partitions by a hash, and look alike in all. Private to
 * indexer/worker. */
#ifndef INDEXER_WORKER_CODEBOOK_H
#define INDEXER_WORKER_CODEBOOK_H

#include "indexer/index/index.h"
#include "indexer/worker/pool.h"

/** A copy of the codebook of the youngest window up to `start_ms` that has lists, in any shard that
 * is open here, or else of the oldest behind it; NULL when there is none. Of several the one with
 * the smallest number: shards whose first windows were built side by side come together that way.
 * Deleted with index_codebook_delete. */
struct index_ivf_codebook *worker_codebook_find(const struct worker_pool *pool,
                                                const char *collection, int64_t start_ms);

#endif
