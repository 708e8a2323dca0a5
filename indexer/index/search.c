/* Searching: down the levels with a narrow beam, a walk over level 0 with `ef` candidates by the
 * distance of codes, then the best candidates again by exact float32.
 *
 * Several segments are walked as one forest: ways into each are found on its own levels, then all
 * share one pool on level 0, where a candidate counts by its estimated score whosever it is. A
 * segment that holds nothing good is left after its ways in; searching each with a pool of its own
 * costs a multiple (docs/benchmarks.md, section Search). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "indexer/index/layer_steps.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"
#include "indexer/index/top.h"
#include "indexer/index/walk.h"

enum {
    BEAM_MIN = 4, /* candidates on upper levels, and ways into level 0 */
    BEAM_MAX = 64,
    SEEDS = 16,            /* matching ways in */
    BEAM_PART = 8,         /* ef to one of the beam: a careful search is careful on all levels */
    DEPTH_MIN = 4,         /* nodes of each segment that are followed before all are compared */
    NODES_MAX = INT32_MAX, /* candidates have 31 bits for the node */
    EF_MIN = 10,
    CANDIDATES_FACTOR = 4, /* accepted candidates remembered, for each hit wanted */
    WIDEN_MAX = 100,       /* widening of one step, for a filter */
    ENOUGH_TO_TELL = 4,    /* accepted rows inside a walk that give their share */
    WIDTH_LIMIT = 4096,    /* a pool wider than this is dearer than a scan */
    WIDTH_PART = 8,        /* so is one that holds more than an eighth of the rows */
    THIN_ENTRIES = 4,      /* whose neighbours tell whether rows near the query match */
    THIN_PART = 24         /* fewer than one in so many is too few to walk over */
};
static const float REACH = 2; /* see rerank.c */

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : (uint32_t)value;
}

/* The highest level is small and looked at as a whole: groups without a way between them are found
 * here. */
static void enter_level(struct index_walk *walk, const uint32_t *entries)
{
    const struct index_tree *tree = walk->tree;
    uint32_t all[INDEX_LEVEL_ROWS_MIN], count;

    if (walk->level != &tree->graph->levels[tree->graph->level_count - 1]) {
        index_walk_enter(walk, entries, tree->entry_count);
        return;
    }
    count = walk->level->count < INDEX_LEVEL_ROWS_MIN ? walk->level->count : INDEX_LEVEL_ROWS_MIN;
    for (uint32_t i = 0; i < count; i++)
        all[i] = tree->base + i;
    index_walk_enter(walk, all, count);
}

/* What a walk found leads to the level below. */
static void keep_entries(const struct index_walk *walk, struct index_scratch *scratch)
{
    struct index_tree *tree = &scratch->forest.trees[walk->tree - scratch->forest.trees];
    uint32_t *entries = scratch->forest.entries + tree->first_entry;
    const struct index_pool *pools[2] = {walk->pool, walk->accepted};

    tree->entry_count = 0;
    for (int p = 0; p < 2 && pools[p]; p++)
        for (uint32_t i = 0; i < pools[p]->count; i++) {
            uint32_t item = index_candidate_node(pools[p]->entries[i]) - tree->base;
            entries[tree->entry_count++] = tree->base + walk->level->below[item];
        }
}

/* The best few items of level 1 of each tree as nodes; node 0 when there is no level above 0. Where
 * few rows match, the best of those that were met on the way are taken, too. */
static void find_entries(struct index_scratch *scratch, struct index_tree *trees, uint32_t count,
                         uint32_t beam)
{
    struct index_forest *forest = &scratch->forest;
    struct index_walk walks[INDEX_TREES_TOGETHER];
    uint32_t highest = 0;

    for (uint32_t i = 0; i < count; i++) {
        highest = trees[i].graph->level_count > highest ? trees[i].graph->level_count : highest;
        trees[i].entry_count = 1;
        forest->entries[trees[i].first_entry] = trees[i].base;
    }
    for (uint32_t l = highest; l-- > 0;) {
        uint32_t walk_count = 0;
        index_marks_clear(&scratch->marks);
        index_forest_places(forest, 2 * count, (uint64_t)count * (beam + SEEDS));
        for (uint32_t i = 0; i < count; i++) {
            struct index_walk *walk = &walks[walk_count];
            bool asks = l == 0 && trees[i].sparse;
            if (l >= trees[i].graph->level_count)
                continue;
            *walk = (struct index_walk){.forest = forest,
                                        .tree = &trees[i],
                                        .level = &trees[i].graph->levels[l],
                                        .marks = &scratch->marks,
                                        .pool = index_forest_pool(forest, beam),
                                        .fresh = forest->fresh + (size_t)i * forest->fresh_each,
                                        .depth = beam,
                                        .bound = UINT64_MAX};
            walk->accepted = asks ? index_forest_pool(forest, SEEDS) : NULL;
            enter_level(walk, forest->entries + trees[i].first_entry);
            walk_count++;
        }
        index_walk_start(walks, walk_count);
        index_walk_side_by_side(walks, walk_count);
        for (uint32_t i = 0; i < walk_count; i++)
            keep_entries(&walks[i], scratch);
    }
}

/* How many candidates lie inside what the walk went through: behind its last one there may be
 * better ones that it did not see. */
static uint32_t inside(const struct index_pool *found, const struct index_pool *walked)
{
    uint32_t count = found->count;

    if (walked->count == walked->limit)
        while (count > 0 &&
               (found->entries[count - 1] | 1) > (walked->entries[walked->count - 1] | 1))
            count--;
    return count;
}

/* What level 0 gave. */
struct outcome {
    const struct index_pool *found;
    uint32_t usable; /* beginning of `found` that may be returned */
    bool complete;   /* k accepted rows, or every row was seen */
};

/* The width that should hold k accepted rows, a quarter more than by proportion. Where hardly any
 * lie inside, the share among all rows seen says more; it is the whole truth as long as few were
 * accepted, for then every row seen was asked about. */
static uint64_t wider(const struct index_walk *walk, uint32_t width, uint32_t k, uint32_t enough)
{
    uint32_t accepted = walk->accepted->count;
    uint64_t needed = (uint64_t)width * k * 5 / 4 / (enough ? enough : 1) + 1;

    if (enough < ENOUGH_TO_TELL && accepted > enough)
        needed = (uint64_t)walk->seen * k * 5 / 4 / accepted + 1;
    needed = needed > width ? needed : (uint64_t)width + width / 4 + 1;
    return needed < (uint64_t)width * WIDEN_MAX ? needed : (uint64_t)width * WIDEN_MAX;
}

/* Keeps the nearest of both sorted pools in `pool`; `spare` is room of the same size. */
static void merge_pools(struct index_pool *pool, const struct index_pool *other, uint64_t *spare)
{
    uint32_t left = 0, right = 0, count = 0;

    while (count < pool->limit && (left < pool->count || right < other->count)) {
        bool from_left = right == other->count ||
                         (left < pool->count && pool->entries[left] < other->entries[right]);
        spare[count++] = from_left ? pool->entries[left++] : other->entries[right++];
    }
    memcpy(pool->entries, spare, count * sizeof(*spare));
    pool->count = count;
}

/* The matching ones of the ways in, and what the others lead to. */
static void enter_matching(struct index_walk *walk)
{
    const uint32_t *entries = walk->forest->entries + walk->tree->first_entry;

    for (uint32_t i = 0; i < walk->tree->entry_count; i++) {
        if (!index_mark(walk->marks, entries[i]))
            continue;
        if (index_is_matching(walk->tree, entries[i] - walk->tree->base)) {
            walk->fresh[0] = entries[i];
            walk->fresh_count = 1;
        } else {
            walk->fresh_count = index_walk_matching_items(walk, entries[i], walk->fresh);
        }
        index_walk_prefetch_fresh(walk);
        (void)index_walk_offer_fresh(walk);
    }
}

static void enter_tree(struct index_walk *walk)
{
    if (walk->tree->sparse)
        enter_matching(walk);
    else
        index_walk_enter(walk, walk->forest->entries + walk->tree->first_entry,
                         walk->tree->entry_count);
}

/* A tree with a tenth of the nodes is hardly easier to search: of the width it gets the root of its
 * share, not its share. Measured on changelog-384 in ten windows: with less, or when a tree is left
 * as soon as it looks worse than others, more is lost than saved. */
static uint32_t depth_of(const struct index_tree *tree, const struct index_forest *forest,
                         uint32_t width)
{
    double share = (double)tree->graph->count / forest->node_count;
    uint32_t depth = (uint32_t)(width * sqrt(share));

    return depth > DEPTH_MIN ? depth : DEPTH_MIN;
}

static uint32_t pool_places(const struct index_tree *tree, uint32_t width)
{
    return tree->graph->count < width ? tree->graph->count : width;
}

/* Level 0 of every tree is entered by the ways that its levels gave, and followed a little, so that
 * its best nodes are compared and not how near its ways in happen to be. What was found lies in the
 * walk's pool then. */
static void enter_forest(struct index_walk *walk, struct index_scratch *scratch)
{
    struct index_forest *forest = &scratch->forest;
    struct index_walk walks[INDEX_TREES_TOGETHER];
    uint32_t width = walk->depth;

    for (uint32_t first = 0; first < forest->tree_count; first += INDEX_TREES_TOGETHER) {
        uint32_t left = forest->tree_count - first;
        uint32_t count = left < INDEX_TREES_TOGETHER ? left : INDEX_TREES_TOGETHER;
        uint64_t places = (uint64_t)count * width;
        index_forest_places(forest, count,
                            places < forest->node_count ? places : forest->node_count);
        for (uint32_t i = 0; i < count; i++) {
            struct index_tree *tree = &forest->trees[first + i];
            walks[i] = *walk;
            walks[i].tree = tree;
            walks[i].pool = index_forest_pool(forest, pool_places(tree, width));
            walks[i].fresh = forest->fresh + (size_t)i * forest->fresh_each;
            walks[i].depth = depth_of(tree, forest, width);
            walks[i].seen = 0;
            if (walk->pool->count == width)
                walks[i].bound = walk->pool->entries[width - 1];
            enter_tree(&walks[i]);
        }
        index_walk_start(walks, count);
        index_walk_side_by_side(walks, count);
        for (uint32_t i = 0; i < count; i++) {
            walk->seen += walks[i].seen;
            merge_pools(walk->pool, walks[i].pool, scratch->spare.entries);
        }
    }
}

static void walk_level_0(struct index_walk *walk, struct index_scratch *scratch, uint32_t width)
{
    index_marks_clear(&scratch->marks);
    index_pool_limit(&scratch->walk, width);
    walk->at = 0;
    walk->depth = width;
    if (scratch->forest.tree_count == 1) {
        walk->tree = scratch->forest.trees;
        enter_tree(walk);
        index_walk_start(walk, 1);
    } else {
        index_pool_limit(&scratch->spare, width);
        enter_forest(walk, scratch);
    }
    index_walk_links(walk);
}

/* A walk over matching rows alone that ends before its pool is full went through a group of rows
 * that has no way to the others. */
static bool is_cut_off(const struct index_scratch *scratch)
{
    const struct index_forest *forest = &scratch->forest;
    uint64_t rows = 0;
    bool sparse = false;

    for (uint32_t i = 0; i < forest->tree_count; i++) {
        const struct index_tree *tree = &forest->trees[i];
        sparse = sparse || tree->sparse;
        rows += tree->sparse ? tree->member->matching_rows : tree->graph->count;
    }
    return sparse && scratch->walk.count < scratch->walk.limit && scratch->walk.count < rows;
}

/* With a filter, a walk in which fewer than k accepted rows lie starts again, as much wider as the
 * share of accepted rows asks for, unless a scan would be cheaper. */
static struct outcome search_level_0(struct index_scratch *scratch, uint32_t k, uint32_t ef,
                                     bool asks)
{
    const struct index_forest *forest = &scratch->forest;
    struct outcome outcome = {asks ? &scratch->accepted : &scratch->walk, 0, false};
    uint32_t width = ef, widest = clamp(forest->node_count / WIDTH_PART, ef,
                                        WIDTH_LIMIT > ef ? WIDTH_LIMIT : ef);
    uint32_t candidates = clamp((uint64_t)k * CANDIDATES_FACTOR, EF_MIN, forest->node_count);

    for (;;) {
        struct index_walk walk = {.forest = forest,
                                  .marks = &scratch->marks,
                                  .pool = &scratch->walk,
                                  .accepted = asks ? &scratch->accepted : NULL,
                                  .fresh = forest->fresh,
                                  .bound = UINT64_MAX};
        uint64_t needed;
        if (asks)
            index_pool_limit(&scratch->accepted, candidates);
        walk_level_0(&walk, scratch, width);
        outcome.usable = outcome.found->count;
        outcome.complete = walk.seen == forest->node_count;
        if (!outcome.complete && asks) {
            uint32_t enough = inside(outcome.found, &scratch->walk);
            outcome.complete = enough >= k && !is_cut_off(scratch);
            needed = wider(&walk, width, k, enough);
            if (!outcome.complete && needed <= widest && scratch->walk.count == width) {
                width = (uint32_t)needed;
                continue;
            }
            outcome.usable = enough >= k ? outcome.usable : enough;
        } else {
            outcome.complete = outcome.complete || outcome.usable >= k;
        }
        return outcome;
    }
}

bool index_walks_matching(uint64_t matching_rows, uint64_t rows)
{
    return matching_rows < rows / 2 && matching_rows > rows / 16;
}

static bool is_sparse(const struct index_member *member)
{
    return member->matching &&
           index_walks_matching(member->matching_rows, member->segment->graph.count);
}

/* Items that are fresh at once, at most: what a few lead to, directly and through others, or what
 * a level is entered by. */
static uint32_t fresh_room(uint32_t m)
{
    uint32_t followed = INDEX_ITEMS_TOGETHER * 2 * (2 * m) + 1,
             entered = INDEX_LEVEL_ROWS_MIN + 2 * BEAM_MAX;

    return followed > entered ? followed : entered;
}

/* Room for the nodes of all trees, numbered one tree after another. */
static void plan_forest(struct index_scratch *scratch, const struct index_member *members,
                        uint32_t member_count)
{
    struct index_forest *forest = &scratch->forest;
    uint32_t query_bytes = 0, nodes = 0, block = 0, at = 0, m = 0;

    for (uint32_t i = 0; i < member_count; i++) {
        const struct index_graph *graph = &members[i].segment->graph;
        nodes += (graph->count / INDEX_TREE_BLOCK + 1) * INDEX_TREE_BLOCK;
        query_bytes += graph->quantiser.stride;
        m = graph->m > m ? graph->m : m;
        assert(nodes <= NODES_MAX || member_count == 1);
    }
    index_forest_room(forest, member_count, 2 * BEAM_MAX, nodes / INDEX_TREE_BLOCK);
    index_forest_fresh(forest,
                       member_count < INDEX_TREES_TOGETHER ? member_count : INDEX_TREES_TOGETHER,
                       fresh_room(m));
    index_scratch_marks(scratch, nodes);
    index_scratch_query(scratch, query_bytes);
    forest->tree_count = member_count;
    forest->node_count = 0;
    for (uint32_t i = 0; i < member_count; i++) {
        const struct index_graph *graph = &members[i].segment->graph;
        uint32_t blocks = graph->count / INDEX_TREE_BLOCK + 1;
        forest->trees[i] = (struct index_tree){.graph = graph,
                                               .member = &members[i],
                                               .query = scratch->query + at,
                                               .base = block * INDEX_TREE_BLOCK,
                                               .first_entry = i * 2 * BEAM_MAX,
                                               .key_scale = 1,
                                               .sparse = is_sparse(&members[i])};
        for (uint32_t j = 0; j < blocks; j++)
            forest->owners[block++] = i;
        at += graph->quantiser.stride;
        forest->node_count += graph->count;
    }
}

/* The query in every tree's codes, once for trees that have the same codes for it. Keys of all are
 * brought to the scale of the first: returns what its key means. */
static float encode_queries(struct index_scratch *scratch, const float *query)
{
    struct index_forest *forest = &scratch->forest;
    const struct index_tree *first = &forest->trees[0];
    const struct index_quantiser *first_quantiser = &first->graph->quantiser;
    float per_key = index_quantiser_encode_query(first_quantiser, query, scratch->query);
    float zero = forest->tree_count > 1 ? index_quantiser_key_zero(first_quantiser, query) : 0;

    for (uint32_t i = 1; i < forest->tree_count; i++) {
        struct index_tree *tree = &forest->trees[i];
        const struct index_quantiser *quantiser = &tree->graph->quantiser;
        float tree_per_key = 0;
        if (index_quantiser_shares_queries(quantiser, first_quantiser)) {
            tree->query = first->query;
            if (per_key != 0)
                tree_per_key = per_key * (quantiser->step / first_quantiser->step);
        } else {
            tree_per_key = index_quantiser_encode_query(
                quantiser, query, scratch->query + (tree->query - scratch->query));
        }
        if (per_key == 0)
            continue;
        tree->key_scale = tree_per_key / per_key;
        tree->key_shift = (index_quantiser_key_zero(quantiser, query) - zero) / per_key;
    }
    return per_key;
}

/* Whether hardly any row near the query matches, however many do elsewhere: groups of matching rows
 * have no way to each other there, and a walk over them alone would end in richer places. */
static bool is_thin_near(const struct index_tree *tree, const uint32_t *entries)
{
    uint32_t looked_at = 0, matching = 0;

    for (uint32_t i = 0; i < tree->entry_count && i < THIN_ENTRIES; i++) {
        struct index_link_run run = index_links_of(&tree->graph->links, entries[i] - tree->base);
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits, looked_at++)
            matching += index_is_matching(tree, index_link_at(&run, at));
    }
    return matching * THIN_PART < looked_at;
}

static void find_all_entries(struct index_scratch *scratch, uint32_t ef)
{
    struct index_forest *forest = &scratch->forest;
    uint32_t beam = forest->tree_count > 1 ? clamp(ef / BEAM_PART / forest->tree_count, 1, BEAM_MAX)
                                           : clamp(ef / BEAM_PART, BEAM_MIN, BEAM_MAX);

    for (uint32_t first = 0; first < forest->tree_count; first += INDEX_TREES_TOGETHER) {
        uint32_t left = forest->tree_count - first;
        find_entries(scratch, forest->trees + first,
                     left < INDEX_TREES_TOGETHER ? left : INDEX_TREES_TOGETHER, beam);
    }
    for (uint32_t i = 0; i < forest->tree_count; i++) {
        struct index_tree *tree = &forest->trees[i];
        tree->sparse = tree->sparse && !is_thin_near(tree, forest->entries + tree->first_entry);
    }
}

static const float *vector_of_node(void *context, uint32_t node, struct error *error)
{
    const struct index_tree *tree = index_forest_tree(context, node);

    return tree->member->vector(tree->member->vector_context, tree->graph->rows[node - tree->base],
                                error);
}

int index_forest_search(const struct index_member *members, uint32_t member_count,
                        const struct index_search *search, struct index_hit *hits,
                        uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                        struct error *error)
{
    struct index_scratch *scratch = index_scratch_get();
    struct index_search by_node = *search;
    const struct index_quantiser *quantiser;
    struct outcome outcome;
    uint32_t rows = 0, k, ef;
    float score_per_key;
    bool asks = false;
    int status;

    *hit_count = 0;
    *exhausted = true;
    for (uint32_t i = 0; i < member_count; i++) {
        rows += members[i].segment->graph.count;
        asks = asks || members[i].accept || members[i].matching;
    }
    k = search->k < rows ? search->k : rows;
    if (k == 0)
        return 0;
    ef = clamp(search->ef > k ? search->ef : k, EF_MIN, rows > EF_MIN ? rows : EF_MIN);
    plan_forest(scratch, members, member_count);
    score_per_key = encode_queries(scratch, search->query);
    find_all_entries(scratch, ef);
    outcome = search_level_0(scratch, k, ef, asks);
    *exhausted = outcome.complete;
    by_node.vector = vector_of_node;
    by_node.vector_context = &scratch->forest;
    quantiser = &members[0].segment->graph.quantiser;
    status = index_rerank(&(struct index_candidates){.metric = quantiser->metric,
                                                     .dim = quantiser->dim,
                                                     .score_per_key = score_per_key,
                                                     .reach = REACH,
                                                     .patience = UINT32_MAX,
                                                     .entries = outcome.found->entries,
                                                     .count = outcome.usable},
                          &by_node, hits, hit_count, NULL, error);
    for (uint32_t i = 0; status == 0 && i < *hit_count; i++) {
        const struct index_tree *tree = index_forest_tree(&scratch->forest, hits[i].row);
        struct index_hit hit = {tree->graph->rows[hits[i].row - tree->base], hits[i].score};

        index_hit_append(hits, hit_members, i, hit, (uint32_t)(tree - scratch->forest.trees));
    }
    return status;
}
