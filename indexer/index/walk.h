/* walk: how a search goes along the links of graphs. A walk offers items to a pool, follows the
 * links of the nearest that were not followed, and so on; search.c says where it begins, how wide
 * it is and what becomes of what it found.
 *
 * A step has two halves, so that several walks can take turns: links are followed and the codes of
 * what they lead to are asked for; later their keys are computed. Private to this folder. */
#ifndef INDEXER_INDEX_WALK_H
#define INDEXER_INDEX_WALK_H

#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    INDEX_ITEMS_TOGETHER = 3, /* items followed at once */
    INDEX_TREES_TOGETHER = 4  /* trees walked side by side */
};

/* One level as the walk sees it: of one tree, or level 0 of the whole forest. Its items are
 * numbered from the tree's base. */
struct index_walk {
    const struct index_forest *forest;
    const struct index_tree *tree;   /* whose items are offered or followed now */
    const struct index_level *level; /* NULL: level 0 */
    struct index_marks *marks;
    struct index_pool *pool;     /* decides where to go */
    struct index_pool *accepted; /* NULL: candidates are not asked whether they are accepted */
    uint32_t *fresh;             /* items whose codes are on the way, not offered yet */
    uint32_t fresh_count;
    uint32_t at, depth; /* places before `at` were followed; `depth` of them shall be */
    uint64_t bound;     /* candidates behind `depth` and behind it are of no use */
    uint32_t seen;
};

/** Whether the filter leaves the row of a node. */
static inline bool index_is_matching(const struct index_tree *tree, uint32_t node)
{
    uint32_t row = tree->graph->rows[node];

    return !tree->member->matching || tree->member->matching[row / 64] >> row % 64 & 1;
}

/** Makes items fresh that were not seen. */
void index_walk_enter(struct index_walk *walk, const uint32_t *items, uint32_t count);

/** Writes unseen matching nodes that a node is linked with, directly or through one that does not
 * match, to `fresh`, which has room for four times the links of a node of level 1. */
uint32_t index_walk_matching_items(struct index_walk *walk, uint32_t item, uint32_t *fresh);

/** Asks for the codes of the first fresh items. */
void index_walk_prefetch_fresh(const struct index_walk *walk);

/** Computes the keys of the fresh items, of which the first were prefetched, and puts them into the
 * pools; returns the best place taken. */
uint32_t index_walk_offer_fresh(struct index_walk *walk);

/** Offers what all were entered by. */
void index_walk_start(struct index_walk *walks, uint32_t count);

/** Follows the links of the nearest items not yet followed, until the nearest `depth` in the pool
 * are. */
void index_walk_links(struct index_walk *walk);

/** The same for walks through different trees, at most INDEX_TREES_TOGETHER, in turns: what one
 * asked for arrives while another is at work. Each goes where it would go alone. */
void index_walk_side_by_side(struct index_walk *walks, uint32_t count);

#endif
