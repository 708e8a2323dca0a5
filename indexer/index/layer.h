/* layer: one level of the graph over rows of codes. Internal to the builder.
 *
 *     carve     overlapping balls around random leaders, recursively, until a ball is a leaf
 *     leaf      all pairs of a leaf at once (a matrix product); each row keeps its nearest few
 *     pool      what all leaves found for a row, nearest first
 *     prune     relative-neighbourhood rule, then the reverse of every link, then prune again
 *     repair    every row reachable from row 0
 *
 * After PiPNN (arXiv 2602.21247). Why not by insertion: see the measurement in layer.c. */
#ifndef INDEXER_INDEX_LAYER_H
#define INDEXER_INDEX_LAYER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "indexer/index/codes.h"

#define INDEX_NO_LINK UINT32_MAX

struct index_layer_options {
    uint32_t degree;       /* most links of a row */
    uint32_t ef_construct; /* effort: how many balls a row is in, how many it keeps from each */
    uint32_t thread_count;
    uint64_t seed;
    const atomic_bool *cancel;
    void (*progress)(void *context, double part); /* 0..1, any thread; may be NULL */
    void *progress_context;
};

/** Fills links[count][degree], nearest first, INDEX_NO_LINK behind the last. False: cancelled. The
 * outcome does not depend on the number of threads. Rows should be distinct and lie in an order
 * that keeps neighbours together (index_layer_order); neither is needed for correctness. */
bool index_layer_build(const struct index_codes *codes, const struct index_layer_options *options,
                       uint32_t *links);

/** order[i]: the row to be put at place i, so that rows of one neighbourhood lie together. */
bool index_layer_order(const struct index_codes *codes, const struct index_layer_options *options,
                       uint32_t *order);

/* ---- between the steps ---- */

/* For each row its nearest found so far: key in the upper half, row in the lower, sorted. */
struct index_pools {
    uint64_t *entries; /* count x capacity */
    uint32_t *sizes;
    atomic_uchar *locks; /* a byte a row */
    uint32_t count, capacity;
};

void index_pools_create(struct index_pools *pools, uint32_t count, uint32_t capacity);
void index_pools_destroy(struct index_pools *pools);
/** Merges sorted entries into a row's pool. Takes the row's lock. The order of merges does not
 * matter: the pool is always the smallest `capacity` of all entries ever given. */
void index_pools_merge(struct index_pools *pools, uint32_t row, const uint64_t *sorted,
                       uint32_t count);

static inline uint64_t index_pool_entry(int32_t key, uint32_t row)
{
    return (uint64_t)(uint32_t)key << 32 | row;
}
static inline int32_t index_entry_key(uint64_t entry)
{
    return (int32_t)(entry >> 32);
}
static inline uint32_t index_entry_row(uint64_t entry)
{
    return (uint32_t)entry;
}

bool index_leaves_fill(const struct index_codes *codes, const struct index_layer_options *options,
                       struct index_pools *pools);
bool index_prune_links(const struct index_codes *codes, const struct index_layer_options *options,
                       struct index_pools *pools, uint32_t *links);
/** Adds links until every row is reachable from row 0. Links may leave out others, none that a row
 * needs to be reached. */
void index_repair_links(const struct index_codes *codes, uint32_t degree, uint32_t *links);

/** splitmix64 step. */
static inline uint64_t index_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
