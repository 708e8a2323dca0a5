/* memory: the share of indexer.build_memory_max_bytes that builds under way have. Private to
 * indexer/worker. A build takes its share before it begins, and waits while others have it. */
#ifndef INDEXER_WORKER_MEMORY_H
#define INDEXER_WORKER_MEMORY_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"
#include "base/thread_pool.h"

struct build_memory {
    pthread_mutex_t lock;        /* guards the rest */
    pthread_cond_t given;        /* some was given back, or a build that may wait was cancelled */
    const uint64_t *limit_bytes; /* of the configuration */
    uint64_t taken_bytes;
    bool turn_taken; /* build_memory_take_turn */
    struct metric *gauge;
};

void build_memory_create(struct build_memory *memory, const uint64_t *limit_bytes,
                         struct metrics *metrics);
void build_memory_destroy(struct build_memory *memory);

/** Waits until `bytes`, at most the limit, are free and takes them; false when *cancel is true. A
 * task of `pool` (may be NULL) leaves its place in it to others meanwhile. */
bool build_memory_take(struct build_memory *memory, uint64_t bytes, const atomic_bool *cancel,
                       struct thread_pool *pool);
/** 0 is fine. */
void build_memory_give(struct build_memory *memory, uint64_t bytes);
/** Waits for its turn among builds of which one goes on at a time; otherwise as build_memory_take. The caller takes
 * its memory afterwards: who has memory must not wait for those who wait for it. */
bool build_memory_take_turn(struct build_memory *memory, const atomic_bool *cancel,
                            struct thread_pool *pool);
void build_memory_give_turn(struct build_memory *memory);
/** After a cancel flag was set: whoever waits looks at it. */
void build_memory_wake(struct build_memory *memory);
uint64_t build_memory_taken(struct build_memory *memory);

#endif
