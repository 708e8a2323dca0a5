/* Unlike the paper's two heaps, one sorted array serves as queue and result, and the distances of
 * all unseen neighbours of a node are computed together after their codes were prefetched. */
#include "indexer/index/walk.h"

#include <assert.h>

#include "indexer/index/layer_steps.h"

enum {
    FETCH_BYTES = 9 << 10, /* of codes on their way into the cache while keys are computed: with */
    AHEAD_MIN = 8,         /* more, rows of 784 bytes push out others; so many rows at least ... */
    AHEAD_MAX = 24         /* ... and at most */
};
#define KEY_LIMIT 2147483520.0F /* the largest float that is an int32 */

static const uint8_t *codes_of(const struct index_walk *walk, uint32_t item)
{
    const struct index_graph *graph = walk->tree->graph;
    uint32_t node = item - walk->tree->base;

    node = walk->level ? walk->level->nodes[node] : node;
    return graph->codes + (size_t)node * graph->quantiser.stride;
}

static void prefetch_codes(const struct index_walk *walk, uint32_t item)
{
    const uint8_t *codes = codes_of(walk, item);

    for (uint32_t i = 0; i < walk->tree->graph->quantiser.stride; i += INDEX_CODE_ALIGN)
        __builtin_prefetch(codes + i);
}

static void keys_4(const struct index_tree *tree, const uint8_t *const rows[4], int32_t keys[4])
{
    const struct index_quantiser *quantiser = &tree->graph->quantiser;

    index_quantiser_keys_4(quantiser, tree->query, rows, keys);
    if (quantiser->kind == INDEX_CODE_FLOAT)
        return;
    if (tree->key_scale == 1 && tree->key_shift == 0)
        return;
    for (int i = 0; i < 4; i++) {
        float key = (float)keys[i] * tree->key_scale + tree->key_shift;
        key = key < KEY_LIMIT ? key : KEY_LIMIT;
        keys[i] = (int32_t)(key > -KEY_LIMIT ? key : -KEY_LIMIT);
    }
}

/* Above level 0 only whether it matches. */
static bool is_accepted(const struct index_walk *walk, uint32_t item)
{
    const struct index_member *member = walk->tree->member;

    item -= walk->tree->base;
    if (walk->level)
        return index_is_matching(walk->tree, walk->level->nodes[item]);
    return index_is_matching(walk->tree, item) &&
           (!member->accept ||
            member->accept(member->accept_context, walk->tree->graph->rows[item]));
}

/* How many rows of codes are asked for before the first is used. */
static uint32_t rows_ahead(const struct index_walk *walk)
{
    uint32_t ahead = FETCH_BYTES / walk->tree->graph->quantiser.stride / 4 * 4;

    return ahead < AHEAD_MIN ? AHEAD_MIN : ahead > AHEAD_MAX ? AHEAD_MAX : ahead;
}

void index_walk_prefetch_fresh(const struct index_walk *walk)
{
    uint32_t ahead = rows_ahead(walk);

    for (uint32_t i = 0; i < walk->fresh_count && i < ahead; i++)
        prefetch_codes(walk, walk->fresh[i]);
}

/* A walk through one tree of many remembers what it follows and what may still be among the best of
 * all; half of what it meets is neither. */
static uint32_t offer_place(const struct index_walk *walk, uint64_t candidate)
{
    const struct index_pool *pool = walk->pool;

    if (candidate > walk->bound && pool->count >= walk->depth &&
        candidate > pool->entries[walk->depth - 1])
        return pool->limit;
    return index_pool_insert(walk->pool, candidate);
}

uint32_t index_walk_offer_fresh(struct index_walk *walk)
{
    const struct index_links *links = &walk->tree->graph->links;
    const uint32_t *items = walk->fresh;
    struct index_pool *accepted = walk->accepted;
    uint32_t count = walk->fresh_count, ahead = rows_ahead(walk), best = UINT32_MAX;

    walk->seen += count;
    walk->fresh_count = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t filled = count - i < 4 ? count - i : 4;
        const uint8_t *rows[4];
        int32_t keys[4];

        for (uint32_t j = i + ahead; j < i + ahead + 4 && j < count; j++)
            prefetch_codes(walk, items[j]);
        for (uint32_t j = 0; j < 4; j++)
            rows[j] = codes_of(walk, items[i + (j < filled ? j : 0)]);
        keys_4(walk->tree, rows, keys);
        for (uint32_t j = 0; j < filled; j++) {
            uint64_t candidate = index_candidate(keys[j], items[i + j]);
            uint32_t at = offer_place(walk, candidate);
            if (at < walk->pool->limit && !walk->level)
                index_links_prefetch_place(links, items[i + j] - walk->tree->base);
            best = at < best ? at : best;
            if (accepted &&
                (accepted->count < accepted->limit ||
                 candidate < accepted->entries[accepted->count - 1]) &&
                is_accepted(walk, items[i + j]))
                index_pool_insert(accepted, candidate);
        }
    }
    return best;
}

/* Unseen items that an item is linked with. */
static uint32_t linked_items(struct index_walk *walk, uint32_t item, uint32_t *fresh)
{
    const struct index_graph *graph = walk->tree->graph;
    uint32_t first = walk->tree->base;
    const uint32_t *links;

    if (!walk->level) {
        struct index_link_run run = index_links_of(&graph->links, item - first);
        return index_mark_run(walk->marks, &run, first, fresh);
    }
    links = walk->level->links + (size_t)(item - first) * graph->m;
    return index_mark_all(walk->marks, links, index_links_used(links, graph->m), first, fresh);
}

/* Where few rows match, only nodes that do are walked over: unseen matching nodes that a node is
 * linked with, directly or through one that does not match, until there are enough. A node that
 * does not match is marked when its links were followed. After ACORN (arXiv 2403.04871), without
 * its denser graph: the nearest neighbours' neighbours take the place of more links.
 *
 * Some nine hundred nodes are looked at for one item. Whether one matches, and was seen, cannot be
 * foretold, so there are no branches on it: a third of a filtered search went here. Where most of
 * them are looked at, index_is_matching stands written out, with what it reads of the tree read
 * once: 3 to 4 % of a filtered search. */
uint32_t index_walk_matching_items(struct index_walk *walk, uint32_t item, uint32_t *fresh)
{
    const struct index_tree *tree = walk->tree;
    const struct index_links *links = &tree->graph->links;
    const uint32_t *rows = tree->graph->rows;
    const uint64_t *bits = tree->member->matching;
    struct index_marks *marks = walk->marks;
    struct index_link_run run = index_links_of(links, item - tree->base);
    uint32_t matching[INDEX_LINKS_MAX + 1], through[INDEX_LINKS_MAX + 1];
    uint32_t matching_count = 0, through_count = 0, count;
    uint32_t enough = 2 * tree->graph->m, first = tree->base;

    for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits) {
        uint32_t node = index_link_at(&run, at);
        bool matches = index_is_matching(tree, node);
        index_links_prefetch_place(links, node);
        matching[matching_count] = through[through_count] = node;
        matching_count += matches;
        through_count += !matches & !index_is_marked(marks, first + node);
    }
    count = index_mark_all(marks, matching, matching_count, first, fresh);
    for (uint32_t i = 0; i < through_count; i++)
        index_links_prefetch(links, through[i]);
    for (uint32_t i = 0; i < through_count && count < enough; i++) {
        run = index_links_of(links, through[i]);
        (void)index_mark(marks, first + through[i]);
        matching_count = 0;
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits) {
            uint32_t node = index_link_at(&run, at), row = rows[node];
            bool matches = bits[row / 64] >> row % 64 & 1;
            matching[matching_count] = node;
            matching_count += matches;
        }
        count += index_mark_all(marks, matching, matching_count, first, fresh + count);
    }
    return count;
}

static void prefetch_links(const struct index_walk *walk, uint32_t item)
{
    const struct index_tree *tree = walk->tree;
    const uint32_t *links;

    if (!walk->level) {
        tree = index_forest_tree(walk->forest, item);
        index_links_prefetch(&tree->graph->links, item - tree->base);
        return;
    }
    links = walk->level->links + (size_t)(item - tree->base) * tree->graph->m;
    for (uint32_t i = 0; i < tree->graph->m; i += INDEX_CODE_ALIGN / sizeof(*links))
        __builtin_prefetch(links + i);
}

static void prefetch_next_links(const struct index_walk *walk)
{
    const struct index_pool *pool = walk->pool;

    for (uint32_t i = walk->at, next = 0; i < pool->count && next < INDEX_ITEMS_TOGETHER; i++)
        if (!(pool->entries[i] & 1)) {
            prefetch_links(walk, index_candidate_node(pool->entries[i]));
            next++;
        }
}

/* Takes up to some items that were not followed, all of one tree, and gathers what they lead to,
 * with its codes on the way. False: the nearest `depth` were all followed. */
static bool follow(struct index_walk *walk)
{
    struct index_pool *pool = walk->pool;
    uint32_t end = pool->count < walk->depth ? pool->count : walk->depth;
    uint32_t count = 0, taken = 0;

    while (walk->at < end && pool->entries[walk->at] & 1)
        walk->at++;
    for (uint32_t at = walk->at; at < end && taken < INDEX_ITEMS_TOGETHER; at++) {
        uint32_t item = index_candidate_node(pool->entries[at]);
        const struct index_tree *tree =
            walk->level ? walk->tree : index_forest_tree(walk->forest, item);
        if (pool->entries[at] & 1)
            continue;
        if (taken > 0 && tree != walk->tree)
            break;
        walk->tree = tree;
        pool->entries[at] |= 1;
        taken++;
        count += !walk->level && tree->sparse
                     ? index_walk_matching_items(walk, item, walk->fresh + count)
                     : linked_items(walk, item, walk->fresh + count);
    }
    if (taken == 0)
        return false;
    walk->fresh_count = count;
    index_walk_prefetch_fresh(walk);
    return true;
}

static void take_fresh(struct index_walk *walk)
{
    uint32_t best = index_walk_offer_fresh(walk);

    walk->at = best < walk->at + 1 ? best : walk->at + 1;
    prefetch_next_links(walk);
}

/* Some are followed at once: a walk waits for memory, not for the processor (with everything
 * in the cache it is 2.5 times faster), and the rows of more items can be fetched side by side. */
void index_walk_links(struct index_walk *walk)
{
    while (follow(walk)) {
        prefetch_next_links(walk); /* unless nearer items are found now, they are followed next */
        take_fresh(walk);
    }
}

void index_walk_side_by_side(struct index_walk *walks, uint32_t count)
{
    struct index_walk *live[INDEX_TREES_TOGETHER];

    assert(count <= INDEX_TREES_TOGETHER);
    for (uint32_t i = 0; i < count; i++)
        live[i] = &walks[i];
    while (count > 0) {
        struct index_walk *waiting = NULL;
        uint32_t kept = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct index_walk *walk = live[i];
            if (!follow(walk))
                continue;
            if (waiting)
                take_fresh(waiting);
            waiting = walk;
            live[kept++] = walk;
        }
        if (waiting)
            take_fresh(waiting);
        count = kept;
    }
}

void index_walk_enter(struct index_walk *walk, const uint32_t *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (index_mark(walk->marks, items[i]))
            walk->fresh[walk->fresh_count++] = items[i];
    index_walk_prefetch_fresh(walk);
}

void index_walk_start(struct index_walk *walks, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)index_walk_offer_fresh(&walks[i]);
        walks[i].at = 0;
        prefetch_next_links(&walks[i]);
    }
}
