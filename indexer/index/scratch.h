/* scratch: what one search writes to; kept by each thread from search to search. */
#ifndef INDEXER_INDEX_SCRATCH_H
#define INDEXER_INDEX_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "indexer/index/graph.h"

/* Nodes already looked at: one bit each, so that the marks of a window stay in the nearest cache
 * (25 kB for 200,000 nodes; epoch numbers of 16 bits would take sixteen times that and miss). Words
 * that were touched are remembered, and clearing them is cheaper than any epoch bookkeeping. */
struct index_marks {
    uint64_t *words;
    uint32_t word_limit;
    uint32_t *touched; /* words with a bit set; room for one more than there are words */
    uint32_t touched_count;
};

/* A sorted array of candidates, nearest first. Entry: key (order-preserving) in the upper half,
 * node times two in the lower, plus one once its links were followed. Nodes are numbered through
 * all trees of a forest, keys are on one scale. */
struct index_pool {
    uint64_t *entries;
    uint32_t count, limit;
    uint32_t room;
};

/* One segment of a search. */
struct index_tree {
    const struct index_graph *graph;
    const struct index_member *member;
    const uint8_t *query;       /* encoded for it */
    float key_scale, key_shift; /* from its keys to the scale of the forest; 1, 0 when alone */
    uint32_t base;              /* number of its node 0 */
    uint32_t first_entry, entry_count; /* ways into level 0, among the forest's */
    bool sparse;                       /* only matching nodes are walked over */
};

enum { INDEX_TREE_BLOCK = 4096 }; /* bases are multiples: the block tells the tree */

struct index_forest {
    struct index_tree *trees;
    uint32_t tree_count, tree_room;
    uint32_t *owners; /* tree by block of nodes */
    uint32_t owner_room;
    uint32_t *entries;
    uint32_t entry_room;
    uint32_t node_count; /* of all trees */
    /* For trees that are walked side by side: their pools, and what each is about to look at. */
    struct index_pool *pools;
    uint32_t pool_count, pool_room;
    uint64_t *places; /* pool after pool */
    uint32_t place_count, place_room;
    uint32_t *fresh; /* tree after tree, `fresh_each` items */
    uint32_t fresh_room, fresh_each;
};

struct index_scratch {
    struct index_forest forest;
    struct index_marks marks;
    struct index_pool walk;     /* all nodes: decides where to go */
    struct index_pool accepted; /* what may be returned */
    struct index_pool spare;    /* room for merging walks of several trees */
    uint8_t *query;             /* encoded; 64-byte aligned */
    uint32_t query_room;
    uint8_t *tables; /* of a search through lists (ivf_search.c); 64-byte aligned */
    size_t tables_room;
};

/** This thread's, freed when the thread ends. */
struct index_scratch *index_scratch_get(void);

void index_scratch_marks(struct index_scratch *scratch, uint32_t node_count);
void index_scratch_query(struct index_scratch *scratch, uint32_t bytes);
void index_scratch_tables(struct index_scratch *scratch, size_t bytes);
void index_pool_limit(struct index_pool *pool, uint32_t limit);
void index_marks_clear(struct index_marks *marks);

/** Sets a node's mark; true if it was not set. */
static inline bool index_mark(struct index_marks *marks, uint32_t node)
{
    uint64_t *word = &marks->words[node / 64];
    uint64_t bit = UINT64_C(1) << node % 64;

    if (*word & bit)
        return false;
    if (*word == 0)
        marks->touched[marks->touched_count++] = node / 64;
    *word |= bit;
    return true;
}

/* Marking nodes one after another. */
struct index_marking {
    uint64_t *words;
    uint32_t *touched, touched_count;
    uint32_t *fresh, fresh_count; /* those that were not */
};

static inline struct index_marking index_marking_begin(struct index_marks *marks, uint32_t *fresh)
{
    return (struct index_marking){marks->words, marks->touched, marks->touched_count, fresh, 0};
}

/** Whether a node is new is a coin's toss to the processor's branch predictor, so there is no
 * branch: a third of the time of a walk went here. `fresh` has room for one more. */
static inline void index_marking_next(struct index_marking *marking, uint32_t node)
{
    uint64_t word = marking->words[node / 64], bit = UINT64_C(1) << node % 64;

    marking->touched[marking->touched_count] = node / 64;
    marking->touched_count += word == 0;
    marking->words[node / 64] = word | bit;
    marking->fresh[marking->fresh_count] = node;
    marking->fresh_count += (word & bit) == 0;
}

static inline uint32_t index_marking_end(const struct index_marking *marking,
                                         struct index_marks *marks)
{
    marks->touched_count = marking->touched_count;
    return marking->fresh_count;
}

/** Marks every node first + links[i] and writes those that were not marked to `fresh`, which has
 * room for count + 1; returns how many. */
static inline uint32_t index_mark_all(struct index_marks *marks, const uint32_t *links,
                                      uint32_t count, uint32_t first, uint32_t *fresh)
{
    struct index_marking marking = index_marking_begin(marks, fresh);

    for (uint32_t i = 0; i < count; i++)
        index_marking_next(&marking, first + links[i]);
    return index_marking_end(&marking, marks);
}

/** The same with packed links. */
static inline uint32_t index_mark_run(struct index_marks *marks, const struct index_link_run *run,
                                      uint32_t first, uint32_t *fresh)
{
    struct index_marking marking = index_marking_begin(marks, fresh);

    for (uint32_t at = 0; index_link_is_at(run, at); at += run->bits)
        index_marking_next(&marking, first + index_link_at(run, at));
    return index_marking_end(&marking, marks);
}

static inline bool index_is_marked(const struct index_marks *marks, uint32_t node)
{
    return marks->words[node / 64] >> node % 64 & 1;
}

static inline uint64_t index_candidate(int32_t key, uint32_t node)
{
    return (uint64_t)((uint32_t)key ^ UINT32_C(0x80000000)) << 32 | node << 1;
}
static inline int32_t index_candidate_key(uint64_t candidate)
{
    return (int32_t)((uint32_t)(candidate >> 32) ^ UINT32_C(0x80000000));
}
static inline uint32_t index_candidate_node(uint64_t candidate)
{
    return (uint32_t)candidate >> 1;
}

/** Room for so many trees (with so many ways into each), blocks of nodes. */
void index_forest_room(struct index_forest *forest, uint32_t trees, uint32_t entries,
                       uint32_t blocks);

/** Room for so many pools with so many places together; those there were are gone. */
void index_forest_places(struct index_forest *forest, uint32_t pools, uint64_t places);
/** An empty one of them. */
struct index_pool *index_forest_pool(struct index_forest *forest, uint32_t limit);
void index_forest_fresh(struct index_forest *forest, uint32_t trees, uint32_t each);

static inline const struct index_tree *index_forest_tree(const struct index_forest *forest,
                                                         uint32_t node)
{
    return forest->tree_count == 1 ? forest->trees
                                   : &forest->trees[forest->owners[node / INDEX_TREE_BLOCK]];
}

/* What a search by codes found: candidates (see index_candidate), nearest first. */
struct index_candidates {
    const uint32_t *rows; /* node to row; NULL: nodes take the place of rows, in hits, too */
    enum index_metric metric;
    uint32_t dim;
    float score_per_key; /* score = constant + this * key, about; 0: codes are the vectors */
    uint32_t patience; /* when so many in a row were not among the best, the rest are not either */
    float reach;       /* a candidate may be wrong by so many standard deviations of the error */
    /* Coarse codes, and a filter that accepts few rows: how little is known. 0: not used. */
    float constant;     /* the score of a row whose key is 0 */
    float error_square; /* mean square of the length of what codes leave out of a row */
    const uint64_t *entries;
    uint32_t count;
};

/** Exact float32 scores of candidates, as many as are needed: the best k in `hits`, those above the
 * floor only. *open (may be NULL): even the last candidate might have been among them, there may be
 * better ones that are no candidates. */
int index_rerank(const struct index_candidates *candidates, const struct index_search *search,
                 struct index_hit *hits, uint32_t *hit_count, bool *open, struct error *error);

/** Puts a candidate in its place; returns it, or pool->limit when the pool is full of nearer. The
 * search for the place has no branch that depends on candidates: none could be foretold. */
static inline uint32_t index_pool_insert(struct index_pool *pool, uint64_t candidate)
{
    const uint64_t *entries = pool->entries;
    uint32_t low = 0, left = pool->count;

    if (pool->count == pool->limit && candidate >= entries[pool->count - 1])
        return pool->limit;
    while (left > 1) {
        uint32_t half = left / 2;
        low += half & -(uint32_t)(entries[low + half - 1] < candidate);
        left -= half;
    }
    low += left == 1 && entries[low] < candidate;
    if (pool->count < pool->limit)
        pool->count++;
    __builtin_memmove(&pool->entries[low + 1], &pool->entries[low],
                      (pool->count - 1 - low) * sizeof(uint64_t));
    pool->entries[low] = candidate;
    return low;
}

#endif
