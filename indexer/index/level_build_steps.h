/* The steps of building a level, in their order: see level_build.h. */
#ifndef INDEXER_INDEX_LEVEL_BUILD_STEPS_H
#define INDEXER_INDEX_LEVEL_BUILD_STEPS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "indexer/index/candidate_lists.h"
#include "indexer/index/codes.h"

#define INDEX_NO_LINK UINT32_MAX

/** How many of a row's links lie before the first INDEX_NO_LINK, `most` at most. */
static inline uint32_t index_links_used(const uint32_t *links, uint32_t most)
{
    uint32_t used = 0;

    while (used < most && links[used] != INDEX_NO_LINK)
        used++;
    return used;
}

struct index_level_options {
    uint32_t degree;       /* most links of a row */
    uint32_t ef_construct; /* effort: how many balls a row is in, how many it keeps from each */
    uint32_t thread_count;
    uint64_t seed;
    const atomic_bool *cancel;
    void (*progress)(void *context, double part); /* 0..1, any thread; may be NULL */
    void *progress_context;
};

bool index_ball_carving_run(const struct index_codes *codes,
                            const struct index_level_options *options,
                            struct index_candidate_lists *lists);
bool index_prune_links(const struct index_codes *codes, const struct index_level_options *options,
                       struct index_candidate_lists *lists, uint32_t *links);
/** What these two take while they run, at most; `per_thread` of it for each thread. */
uint64_t index_ball_carving_bytes(uint32_t count, uint32_t stride, uint32_t ef_construct,
                                  uint64_t *per_thread);
uint64_t index_prune_bytes(uint32_t count, uint32_t degree);
/** Adds links until every row is reachable from row 0. Links may leave out others, none that a row
 * needs to be reached. */
void index_repair_links(const struct index_codes *codes, uint32_t degree, uint32_t *links);

/** order[i]: the row to be put at place i, so that rows of one neighbourhood lie together. */
bool index_neighbourhood_order(const struct index_codes *codes,
                               const struct index_level_options *options, uint32_t *order);

#endif
