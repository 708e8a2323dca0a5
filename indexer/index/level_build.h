/* level_build: one level of a graph over rows of codes, after PiPNN ("Pick in Partitions Nearest
 * Neighbors", arXiv 2602.21247). Private to the builders.
 *
 *     ball carving      overlapping balls around random leaders, recursively, until a ball is small
 *                       enough: a leaf
 *     distance matrix   all pairs of a leaf at once; each row keeps its nearest few
 *     candidate lists   what all leaves found for a row, nearest first
 *     prune             relative-neighbourhood rule, then the reverse of every link, then again
 *     repair            from each row links lead to every other row
 *
 * level_build.c says why rows are not inserted one by one, as in hnswlib. */
#ifndef INDEXER_INDEX_LEVEL_BUILD_H
#define INDEXER_INDEX_LEVEL_BUILD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/thread_pool.h"
#include "indexer/index/links.h"
#include "indexer/index/quantiser.h"

struct index_level_options {
    uint32_t degree;       /* most links of a row */
    uint32_t ef_construct; /* effort: how many balls a row is in, how many it keeps from each */
    uint64_t seed;
    struct thread_team team;                      /* with a number of threads */
    void (*progress)(void *context, double part); /* 0..1, any thread; may be NULL */
    void *progress_context;
};

/** Fills links[count][degree], nearest first, INDEX_NO_LINK behind the last. False: cancelled. The
 * outcome does not depend on the number of threads. Rows should be distinct and lie in an order
 * that keeps neighbours together (index_neighbourhood_order); neither is needed for correctness. */
bool index_level_build(const struct index_codes *codes, const struct index_level_options *options,
                       uint32_t *links);

/** What that takes besides `codes` and `links`, at most. */
uint64_t index_level_build_bytes(uint32_t count, uint32_t stride,
                                 const struct index_level_options *options);

/* For each row its nearest found so far: key in the upper half, row in the lower, sorted. */
struct index_candidate_lists {
    uint64_t *entries; /* count x capacity */
    uint32_t *sizes;
    atomic_uchar *locks; /* a byte a row */
    uint32_t count, capacity;
};

void index_candidate_lists_create(struct index_candidate_lists *lists, uint32_t count,
                                  uint32_t capacity);
void index_candidate_lists_destroy(struct index_candidate_lists *lists);
/** Asks for a row's list ahead of the merge. */
void index_candidate_lists_prefetch(const struct index_candidate_lists *lists, uint32_t row);
/** Merges sorted entries, none twice, into a row's list; there is room for one more behind them,
 * which is overwritten. Takes the row's lock. The order of merges does not matter: the list is
 * always the smallest `capacity` of all entries ever given. */
void index_candidate_lists_merge(struct index_candidate_lists *lists, uint32_t row,
                                 uint64_t *sorted, uint32_t count);

/* The steps, in their order. */

bool index_ball_carving_run(const struct index_codes *codes,
                            const struct index_level_options *options,
                            struct index_candidate_lists *lists);
bool index_prune_links(const struct index_codes *codes, const struct index_level_options *options,
                       struct index_candidate_lists *lists, uint32_t *links);
/** What these two take while they run, at most; `per_thread` of it for each thread. */
uint64_t index_ball_carving_bytes(uint32_t count, uint32_t stride, uint32_t ef_construct,
                                  uint64_t *per_thread);
uint64_t index_prune_bytes(uint32_t count, uint32_t degree);
/** Adds links until from each row links lead to every other row. Links may leave out others, none
 * that a row needs to be reached. */
void index_repair_links(const struct index_codes *codes, uint32_t degree, uint32_t *links);

/** order[i]: the row to be put at place i, so that rows of one neighbourhood lie together. */
bool index_neighbourhood_order(const struct index_codes *codes,
                               const struct index_level_options *options, uint32_t *order);

#endif
