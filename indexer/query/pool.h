/* pool: helpers for work that is cut into tasks. Inside the room only. */
#ifndef INDEXER_QUERY_POOL_H
#define INDEXER_QUERY_POOL_H

#include "indexer/query/query.h"

typedef void (*pool_task_function)(void *context, size_t task);

/** Calls `function` once for each task in [0, count), in about that order, from this thread and
 * from idle threads of the pool (NULL: this one only). Returns when all are done. */
void query_pool_run(struct query_pool *pool, size_t count, pool_task_function function,
                    void *context);

/** Work below this (multiplications) is not worth waking a helper: 2,000,000 unless set. */
uint64_t query_pool_threshold(const struct query_pool *pool);
void query_pool_set_threshold(struct query_pool *pool, uint64_t threshold);

#endif
