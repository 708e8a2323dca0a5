/* scratch: what one search writes to; kept by each thread from search to search. */
#ifndef INDEXER_INDEX_SCRATCH_H
#define INDEXER_INDEX_SCRATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "indexer/index/graph.h"

/* The visited set: one bit a node, so that it stays in the nearest cache (25 kB for 200,000 nodes;
 * visit numbers of 16 bits, as in hnswlib, would take sixteen times that and miss). The words that
 * were touched are remembered: clearing them is cheaper than keeping visit numbers. */
struct index_visited {
    uint64_t *words;
    uint32_t word_limit;
    uint32_t *touched; /* words with a bit set; room for one more than there are words */
    uint32_t touched_count;
};

/* A sorted array of candidates, nearest first. Entry: key (order-preserving) in the upper half,
 * node times two in the lower, plus one once its links were followed. Nodes are numbered through
 * all segments of a group, keys are on one scale. */
struct index_search_list {
    uint64_t *entries;
    uint32_t count, limit;
    uint32_t room;
};

/* One segment of a group, while it is searched. */
struct index_group_slot {
    const struct index_graph *graph;
    const struct index_group_member *member;
    const uint8_t *query;       /* encoded for it */
    float key_scale, key_shift; /* from its keys to the scale of the group; 1, 0 when alone */
    uint32_t base;              /* number of its node 0 */
    uint32_t first_entry, entry_count; /* entry points to level 0, among the group's */
    uint32_t hidden;                   /* its node that is never met; INDEX_NO_ROW: none */
    bool sparse;                       /* only the predicate subgraph is visited */
    bool far; /* and hardly any of it is near the query: entered from all over the segment */
};

enum { INDEX_GROUP_BLOCK = 4096 }; /* bases are multiples: the block tells the segment */

struct index_group {
    struct index_group_slot *slots;
    uint32_t slot_count, slot_room;
    uint32_t *owners; /* segment by block of nodes */
    uint32_t owner_room;
    uint32_t *entries;
    uint32_t entry_room;
    uint32_t node_count; /* of all segments */
    /* For segments that are searched side by side: their lists, and what each is about to look at.
     */
    struct index_search_list *lists;
    uint32_t list_count, list_room;
    uint64_t *places; /* list after list */
    uint32_t place_count, place_room;
    uint32_t *fresh; /* slot after slot, `fresh_each` items */
    uint32_t fresh_room, fresh_each;
    const struct index_search
        *scored;           /* it has a score of its own; NULL: keys are those of codes */
    bool waits;            /* codes and links are asked for before they are touched */
    struct error *failure; /* of a score's vector; its code is 0 until there is one */
};

struct index_scratch {
    struct index_group group;
    struct index_visited visited;
    struct index_search_list nearest;  /* all nodes: decides where to go */
    struct index_search_list accepted; /* what may be returned */
    struct index_search_list spare;    /* room for merging searches of several segments */
    uint8_t *query;                    /* encoded; 64-byte aligned */
    uint32_t query_room;
    uint8_t *tables; /* of a search through lists (ivf_search.c); 64-byte aligned */
    size_t tables_room;
    uint8_t *pages; /* of index_rows_read; begins on a page's border */
    size_t pages_room;
    float *row; /* of index_row_values */
    uint32_t row_room;
    struct index_scratch **more; /* of searches that run together with this one */
    uint32_t more_count;
};

/** This thread's, freed when the thread ends. */
struct index_scratch *index_scratch_get(void);

/** This thread's for the index-th of several searches that run together; 0 is index_scratch_get's. */
struct index_scratch *index_scratch_of(uint32_t index);

void index_scratch_visited(struct index_scratch *scratch, uint32_t node_count);
void index_scratch_query(struct index_scratch *scratch, uint32_t bytes);
/** Whole pages, on the border of one. */
uint8_t *index_scratch_pages(struct index_scratch *scratch, size_t bytes);
void index_scratch_tables(struct index_scratch *scratch, size_t bytes);
void index_search_list_limit(struct index_search_list *list, uint32_t limit);
void index_visited_clear(struct index_visited *visited);

/** Sets a node's mark; true if it was not set. */
static inline bool index_visit(struct index_visited *visited, uint32_t node)
{
    uint64_t *word = &visited->words[node / 64];
    uint64_t bit = UINT64_C(1) << node % 64;

    if (*word & bit)
        return false;
    if (*word == 0)
        visited->touched[visited->touched_count++] = node / 64;
    *word |= bit;
    return true;
}

/* Marking nodes one after another. */
struct index_visiting {
    uint64_t *words;
    uint32_t *touched, touched_count;
    uint32_t *fresh, fresh_count; /* those that were not */
};

static inline struct index_visiting index_visiting_begin(struct index_visited *visited,
                                                         uint32_t *fresh)
{
    return (struct index_visiting){visited->words, visited->touched, visited->touched_count, fresh,
                                   0};
}

/** Whether a node is new is a coin's toss to the processor's branch predictor, so there is no
 * branch: a third of the time of a search went here. `fresh` has room for one more. */
static inline void index_visiting_next(struct index_visiting *marking, uint32_t node)
{
    uint64_t word = marking->words[node / 64], bit = UINT64_C(1) << node % 64;

    marking->touched[marking->touched_count] = node / 64;
    marking->touched_count += word == 0;
    marking->words[node / 64] = word | bit;
    marking->fresh[marking->fresh_count] = node;
    marking->fresh_count += (word & bit) == 0;
}

static inline uint32_t index_visiting_end(const struct index_visiting *marking,
                                          struct index_visited *visited)
{
    visited->touched_count = marking->touched_count;
    return marking->fresh_count;
}

/** Marks every node first + links[i] and writes those that were not marked to `fresh`, which has
 * room for count + 1; returns how many. */
static inline uint32_t index_visit_all(struct index_visited *visited, const uint32_t *links,
                                       uint32_t count, uint32_t first, uint32_t *fresh)
{
    struct index_visiting marking = index_visiting_begin(visited, fresh);

    for (uint32_t i = 0; i < count; i++)
        index_visiting_next(&marking, first + links[i]);
    return index_visiting_end(&marking, visited);
}

/** The same with packed links. */
static inline uint32_t index_visit_links(struct index_visited *visited,
                                         const struct index_link_run *run, uint32_t first,
                                         uint32_t *fresh)
{
    struct index_visiting marking = index_visiting_begin(visited, fresh);

    for (uint32_t at = 0; index_link_is_at(run, at); at += run->bits)
        index_visiting_next(&marking, first + index_link_at(run, at));
    return index_visiting_end(&marking, visited);
}

static inline bool index_is_visited(const struct index_visited *visited, uint32_t node)
{
    return visited->words[node / 64] >> node % 64 & 1;
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

/** Room for so many segments (with so many ways into each), blocks of nodes. */
void index_group_reserve(struct index_group *group, uint32_t slots, uint32_t entries,
                         uint32_t blocks);

/** Room for so many lists with so many places together; those there were are gone. */
void index_group_reserve_lists(struct index_group *group, uint32_t lists, uint64_t places);
/** An empty one of them. */
struct index_search_list *index_group_list(struct index_group *group, uint32_t limit);
void index_group_reserve_fresh(struct index_group *group, uint32_t slots, uint32_t each);

static inline const struct index_group_slot *index_group_slot_of(const struct index_group *group,
                                                                 uint32_t node)
{
    return group->slot_count == 1 ? group->slots
                                  : &group->slots[group->owners[node / INDEX_GROUP_BLOCK]];
}

/** Puts a candidate in its place; returns it, or list->limit when the list is full of nearer. The
 * search for the place has no branch that depends on candidates: none could be foretold. */
static inline uint32_t index_search_list_insert(struct index_search_list *list, uint64_t candidate)
{
    const uint64_t *entries = list->entries;
    uint32_t low = 0, left = list->count;

    if (list->count == list->limit && candidate >= entries[list->count - 1])
        return list->limit;
    while (left > 1) {
        uint32_t half = left / 2;
        low += half & -(uint32_t)(entries[low + half - 1] < candidate);
        left -= half;
    }
    low += left == 1 && entries[low] < candidate;
    if (list->count < list->limit)
        list->count++;
    __builtin_memmove(&list->entries[low + 1], &list->entries[low],
                      (list->count - 1 - low) * sizeof(uint64_t));
    list->entries[low] = candidate;
    return low;
}

#endif
