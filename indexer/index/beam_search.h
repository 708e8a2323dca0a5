/* beam_search: the search along the links of one or several graphs. Private to this folder.
 *
 * A step takes the nearest items of the search list that were not expanded yet, and offers the list
 * all unseen items they link to. The search ends when the nearest `depth` are expanded.
 * graph_search.c says where it begins, how wide it is and what becomes of what it found.
 *
 * A step has two halves, so that searches of several segments can take turns while memory is on its
 * way: first links are read and the codes behind them are prefetched, later keys are computed. */
#ifndef INDEXER_INDEX_BEAM_SEARCH_H
#define INDEXER_INDEX_BEAM_SEARCH_H

#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    INDEX_EXPANDED_TOGETHER = 3, /* items followed at once */
    INDEX_INTERLEAVED_MAX = 4    /* segments searched side by side */
};

/* One search: on a level of one segment, or on level 0 of the whole group. Items are numbered from
 * the base of their segment. */
struct index_beam {
    const struct index_group *group;
    const struct index_group_slot *slot; /* whose items are offered or followed now */
    const struct index_level *level;     /* NULL: level 0 */
    struct index_visited *visited;
    struct index_search_list *list; /* decides where to go */
    struct index_search_list
        *accepted;   /* NULL: candidates are not asked whether they are accepted */
    uint32_t *fresh; /* items whose codes are on the way, not offered yet */
    uint32_t fresh_count;
    uint32_t at, depth; /* places before `at` were followed; `depth` of them shall be */
    uint64_t bound;     /* candidates behind `depth` and behind it are of no use */
    uint32_t seen;
};

/** Whether the filter leaves the row of a node. */
static inline bool index_is_matching(const struct index_group_slot *slot, uint32_t node)
{
    uint32_t row = slot->graph->rows[node];

    return !slot->member->matching || slot->member->matching[row / 64] >> row % 64 & 1;
}

/** Whether a node of a slot may be a hit. */
static inline bool index_is_accepted(const struct index_group_slot *slot, uint32_t node)
{
    const struct index_group_member *member = slot->member;

    return index_is_matching(slot, node) &&
           (!member->accept || member->accept(member->accept_context, slot->graph->rows[node]));
}

/** Keys of four rows of codes of a slot, on the scale of the group. */
void index_slot_keys_4(const struct index_group_slot *slot, const uint8_t *const rows[4],
                       int32_t keys[4]);

/** Instead of a walk: the nearest `keep` of all rows that match and are accepted, by codes, into
 * scratch->nearest, sorted. The slots are planned and queries encoded (graph_scan.c). */
void index_graph_scan(struct index_scratch *scratch, uint32_t keep);

/** Makes items fresh that were not seen. */
void index_beam_enter(struct index_beam *beam, const uint32_t *items, uint32_t count);

/** Writes unseen matching nodes that a node is linked with, directly or through one that does not
 * match, to `fresh`, which has room for four times the links of a node of level 1. */
uint32_t index_beam_expand_matching(struct index_beam *beam, uint32_t item, uint32_t *fresh);

/** Asks for the codes of the first fresh items. */
void index_beam_prefetch_fresh(const struct index_beam *beam);

/** Computes the keys of the fresh items, of which the first were prefetched, and puts them into the
 * lists; returns the best place taken. */
uint32_t index_beam_offer_fresh(struct index_beam *beam);

/** Offers what all were entered by. */
void index_beam_start(struct index_beam *beams, uint32_t count);

/** Follows the links of the nearest items not yet followed, until the nearest `depth` in the list
 * are. */
void index_beam_run(struct index_beam *beam);

/** The same for searches through different slots, at most INDEX_INTERLEAVED_MAX, in turns: what one
 * asked for arrives while another is at work. Each goes where it would go alone. */
void index_beam_run_interleaved(struct index_beam *beams, uint32_t count);

#endif
