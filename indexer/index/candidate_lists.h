/* What a build found so far for each row. */
#ifndef INDEXER_INDEX_CANDIDATE_LISTS_H
#define INDEXER_INDEX_CANDIDATE_LISTS_H

#include <stdatomic.h>
#include <stdint.h>

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

static inline uint64_t index_neighbour(int32_t key, uint32_t row)
{
    return (uint64_t)(uint32_t)key << 32 | row;
}
static inline int32_t index_neighbour_key(uint64_t entry)
{
    return (int32_t)(entry >> 32);
}
static inline uint32_t index_neighbour_row(uint64_t entry)
{
    return (uint32_t)entry;
}

#endif
