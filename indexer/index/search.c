/* Searching: down the levels with a narrow beam, a walk over level 0 with `ef` candidates by the
 * distance of codes, then the best candidates again by exact float32.
 *
 * Several segments are walked as one forest: ways into each are found on its own levels, then all
 * share one pool on level 0, where a candidate counts by its estimated score whosever it is. A
 * segment that holds nothing good is left after its ways in; searching each with a pool of its own
 * costs a multiple (docs/benchmarks.md, section Search).
 *
 * Unlike the paper's two heaps, one sorted array serves as queue and result, and the distances of
 * all unseen neighbours of a node are computed together after their codes were prefetched. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "indexer/index/layer_steps.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"
#include "indexer/index/top.h"

enum {
    DEGREE_LIMIT = 512,
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
    THIN_PART = 24,        /* fewer than one in so many is too few to walk over */
    TOGETHER = 3,          /* items followed at once */
    FETCH_BYTES = 9 << 10, /* of codes on their way into the cache while keys are computed: with */
    AHEAD_MIN = 8,         /* more, rows of 784 bytes push out others; so many rows at least ... */
    AHEAD_MAX = 24         /* ... and at most */
};
#define KEY_LIMIT 2147483520.0F /* the largest float that is an int32 */

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : (uint32_t)value;
}

/* One level as the walk sees it: of one tree, or level 0 of the whole forest. */
struct walk {
    const struct index_forest *forest;
    struct index_scratch *scratch;
    const struct index_tree *tree;   /* whose items are offered or followed now */
    const struct index_level *level; /* NULL: level 0, whose items are nodes of the forest */
    uint32_t seen;
    bool asks; /* candidates are asked whether they are accepted */
};

static const uint8_t *codes_of(const struct walk *walk, uint32_t item)
{
    const struct index_graph *graph = walk->tree->graph;
    uint32_t node = walk->level ? walk->level->nodes[item] : item - walk->tree->base;

    return graph->codes + (size_t)node * graph->quantiser.stride;
}

/* The links of an item, which are numbered from `first`. */
static const uint32_t *links_of(const struct walk *walk, uint32_t item, uint32_t *degree,
                                uint32_t *first)
{
    const struct index_graph *graph = walk->tree->graph;

    *degree = walk->level ? graph->m : 2 * graph->m;
    *first = walk->level ? 0 : walk->tree->base;
    return (walk->level ? walk->level->links : graph->links) + (size_t)(item - *first) * *degree;
}

static void prefetch_codes(const struct walk *walk, uint32_t item)
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

static bool is_matching(const struct index_tree *tree, uint32_t node)
{
    uint32_t row = tree->graph->rows[node];

    return !tree->member->matching || tree->member->matching[row / 64] >> row % 64 & 1;
}

/* Above level 0 only whether it matches. */
static bool is_accepted(const struct walk *walk, uint32_t item)
{
    const struct index_member *member = walk->tree->member;

    if (walk->level)
        return is_matching(walk->tree, walk->level->nodes[item]);
    item -= walk->tree->base;
    return is_matching(walk->tree, item) &&
           (!member->accept ||
            member->accept(member->accept_context, walk->tree->graph->rows[item]));
}

/* Computes the keys of unseen items and puts them into the pools; returns the best place taken. */
static uint32_t offer_items(struct walk *walk, const uint32_t *items, uint32_t count)
{
    struct index_scratch *scratch = walk->scratch;
    uint32_t ahead = FETCH_BYTES / walk->tree->graph->quantiser.stride / 4 * 4;
    uint32_t best = UINT32_MAX;

    ahead = ahead < AHEAD_MIN ? AHEAD_MIN : ahead > AHEAD_MAX ? AHEAD_MAX : ahead;
    walk->seen += count;
    for (uint32_t i = 0; i < count && i < ahead; i++)
        prefetch_codes(walk, items[i]);
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
            uint32_t at = index_pool_insert(&scratch->walk, candidate);
            best = at < best ? at : best;
            if (walk->asks &&
                (scratch->accepted.count < scratch->accepted.limit ||
                 candidate < scratch->accepted.entries[scratch->accepted.count - 1]) &&
                is_accepted(walk, items[i + j]))
                index_pool_insert(&scratch->accepted, candidate);
        }
    }
    return best;
}

/* Unseen items that an item is linked with. */
static uint32_t linked_items(struct walk *walk, uint32_t item, uint32_t *fresh)
{
    uint32_t degree, first, count = 0;
    const uint32_t *links = links_of(walk, item, &degree, &first);

    while (count < degree && links[count] != INDEX_NO_LINK)
        count++;
    return index_mark_all(&walk->scratch->marks, links, count, first, fresh);
}

/* Where few rows match, only nodes that do are walked over: unseen matching nodes that a node is
 * linked with, directly or through one that does not match, until there are enough. A node that
 * does not match is marked when its links were followed. After ACORN (arXiv 2403.04871), without
 * its denser graph: the nearest neighbours' neighbours take the place of more links. */
static uint32_t matching_items(struct walk *walk, uint32_t item, uint32_t *fresh)
{
    const struct index_tree *tree = walk->tree;
    struct index_marks *marks = &walk->scratch->marks;
    uint32_t through[DEGREE_LIMIT], through_count = 0, count = 0, degree, first;
    const uint32_t *links = links_of(walk, item, &degree, &first);

    for (uint32_t i = 0; i < degree && links[i] != INDEX_NO_LINK; i++) {
        uint32_t node = links[i];
        if (index_is_marked(marks, first + node))
            continue;
        if (is_matching(tree, node)) {
            (void)index_mark(marks, first + node);
            fresh[count++] = first + node;
        } else {
            through[through_count++] = node;
            __builtin_prefetch(tree->graph->links + (size_t)node * degree);
            __builtin_prefetch(tree->graph->links + (size_t)node * degree + degree / 2);
        }
    }
    for (uint32_t i = 0; i < through_count && count < degree; i++) {
        links = tree->graph->links + (size_t)through[i] * degree;
        (void)index_mark(marks, first + through[i]);
        for (uint32_t j = 0; j < degree && links[j] != INDEX_NO_LINK; j++)
            if (!index_is_marked(marks, first + links[j]) && is_matching(tree, links[j])) {
                (void)index_mark(marks, first + links[j]);
                fresh[count++] = first + links[j];
            }
    }
    return count;
}

static void prefetch_links(struct walk *walk, uint32_t item)
{
    uint32_t degree, first;
    const uint32_t *links;

    if (!walk->level)
        walk->tree = index_forest_tree(walk->forest, item);
    links = links_of(walk, item, &degree, &first);
    for (uint32_t i = 0; i < degree; i += INDEX_CODE_ALIGN / sizeof(*links))
        __builtin_prefetch(links + i);
}

/* Takes up to `together` items from place `at` on that were not followed, all of one tree, and
 * gathers what they lead to. */
static uint32_t follow(struct walk *walk, uint32_t at, uint32_t depth, uint32_t *fresh)
{
    struct index_pool *pool = &walk->scratch->walk;
    uint32_t count = 0, taken = 0;

    for (; at < pool->count && at < depth && taken < TOGETHER; at++) {
        uint32_t item = index_candidate_node(pool->entries[at]);
        const struct index_tree *tree =
            walk->level ? walk->tree : index_forest_tree(walk->forest, item);
        if (pool->entries[at] & 1)
            continue;
        if (taken > 0 && tree != walk->tree)
            break;
        walk->tree = tree;
        assert(2 * tree->graph->m <= DEGREE_LIMIT);
        pool->entries[at] |= 1;
        taken++;
        count += !walk->level && tree->sparse ? matching_items(walk, item, fresh + count)
                                              : linked_items(walk, item, fresh + count);
    }
    return count;
}

/* Follows the links of the nearest items not yet followed, until the nearest `depth` in the pool
 * are. Some are followed at once: a walk waits for memory, not for the processor (with everything
 * in the cache it is 2.5 times faster), and the rows of more items can be fetched side by side. */
static void walk_links(struct walk *walk, uint32_t depth)
{
    struct index_pool *pool = &walk->scratch->walk;
    uint32_t fresh[TOGETHER * 2 * DEGREE_LIMIT + 1];
    uint32_t at = 0;

    while (at < pool->count && at < depth) {
        uint32_t count, best;

        if (pool->entries[at] & 1) {
            at++;
            continue;
        }
        count = follow(walk, at, depth, fresh);
        best = offer_items(walk, fresh, count);
        at = best < at + 1 ? best : at + 1;
        for (uint32_t i = at, next = 0; i < pool->count && next < TOGETHER; i++)
            if (!(pool->entries[i] & 1)) {
                prefetch_links(walk, index_candidate_node(pool->entries[i]));
                next++;
            }
    }
}

static void enter(struct walk *walk, const uint32_t *items, uint32_t count)
{
    uint32_t fresh[INDEX_LEVEL_ROWS_MIN + BEAM_MAX], fresh_count = 0;

    for (uint32_t i = 0; i < count; i++)
        if (index_mark(&walk->scratch->marks, items[i]))
            fresh[fresh_count++] = items[i];
    offer_items(walk, fresh, fresh_count);
}

/* The best few items of level 1 as nodes; node 0 when there is no level above 0. The highest level
 * is small and looked at as a whole: groups without a way between them are found here. Where few
 * rows match, the best of those that were met on the way are taken, too. */
static uint32_t find_entries(const struct index_tree *tree, struct index_scratch *scratch,
                             uint32_t beam, uint32_t entries[2 * BEAM_MAX])
{
    const struct index_graph *graph = tree->graph;
    uint32_t count = 1;

    entries[0] = 0;
    for (uint32_t l = graph->level_count; l-- > 0;) {
        struct walk walk = {&scratch->forest,  scratch, tree,
                            &graph->levels[l], 0,       l == 0 && tree->sparse};
        index_marks_clear(&scratch->marks);
        index_pool_limit(&scratch->walk, beam);
        index_pool_limit(&scratch->accepted, walk.asks ? SEEDS : 0);
        if (l + 1 == graph->level_count) {
            uint32_t all[INDEX_LEVEL_ROWS_MIN];
            uint32_t looked_at =
                walk.level->count < INDEX_LEVEL_ROWS_MIN ? walk.level->count : INDEX_LEVEL_ROWS_MIN;
            for (uint32_t i = 0; i < looked_at; i++)
                all[i] = i;
            enter(&walk, all, looked_at);
        } else {
            enter(&walk, entries, count);
        }
        walk_links(&walk, beam);
        count = scratch->walk.count;
        for (uint32_t i = 0; i < count; i++)
            entries[i] = walk.level->below[index_candidate_node(scratch->walk.entries[i])];
        for (uint32_t i = 0; i < scratch->accepted.count; i++)
            entries[count++] =
                walk.level->below[index_candidate_node(scratch->accepted.entries[i])];
    }
    return count;
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
static uint64_t wider(const struct walk *walk, uint32_t width, uint32_t k, uint32_t enough)
{
    uint32_t accepted = walk->scratch->accepted.count;
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
static void enter_matching(struct walk *walk)
{
    const uint32_t *entries = walk->forest->entries + walk->tree->first_entry;
    uint32_t fresh[2 * DEGREE_LIMIT];

    for (uint32_t i = 0; i < walk->tree->entry_count; i++) {
        if (!index_mark(&walk->scratch->marks, entries[i]))
            continue;
        if (is_matching(walk->tree, entries[i] - walk->tree->base))
            (void)offer_items(walk, &entries[i], 1);
        else
            (void)offer_items(walk, fresh, matching_items(walk, entries[i], fresh));
    }
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

/* Level 0 of every tree is entered by the ways that its levels gave, and followed a little, so that
 * its best nodes are compared and not how near its ways in happen to be. What was found lies in the
 * walk's pool then. */
static void enter_forest(struct walk *walk, uint32_t width)
{
    const struct index_forest *forest = walk->forest;
    struct index_scratch *scratch = walk->scratch;

    index_marks_clear(&scratch->marks);
    index_pool_limit(&scratch->walk, width);
    index_pool_limit(&scratch->merged, width);
    for (uint32_t i = 0; i < forest->tree_count; i++) {
        walk->tree = &forest->trees[i];
        scratch->walk.count = 0;
        if (walk->tree->sparse)
            enter_matching(walk);
        else
            enter(walk, forest->entries + walk->tree->first_entry, walk->tree->entry_count);
        if (forest->tree_count == 1)
            return;
        walk_links(walk, depth_of(walk->tree, forest, width));
        index_pool_limit(&scratch->spare, width);
        merge_pools(&scratch->merged, &scratch->walk, scratch->spare.entries);
    }
    scratch->walk.count = scratch->merged.count;
    memcpy(scratch->walk.entries, scratch->merged.entries,
           scratch->merged.count * sizeof(uint64_t));
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
        struct walk walk = {forest, scratch, NULL, NULL, 0, asks};
        uint64_t needed;
        if (asks)
            index_pool_limit(&scratch->accepted, candidates);
        enter_forest(&walk, width);
        walk_links(&walk, width);
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

/* Room for the nodes of all trees, numbered one tree after another. */
static void plan_forest(struct index_scratch *scratch, const struct index_member *members,
                        uint32_t member_count)
{
    struct index_forest *forest = &scratch->forest;
    uint32_t query_bytes = 0, nodes = 0, block = 0, at = 0;

    for (uint32_t i = 0; i < member_count; i++) {
        const struct index_graph *graph = &members[i].segment->graph;
        nodes += (graph->count / INDEX_TREE_BLOCK + 1) * INDEX_TREE_BLOCK;
        query_bytes += graph->quantiser.stride;
        assert(nodes <= NODES_MAX || member_count == 1);
    }
    index_forest_room(forest, member_count, 2 * BEAM_MAX, nodes / INDEX_TREE_BLOCK);
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
                                               .sparse = is_sparse(&members[i])};
        for (uint32_t j = 0; j < blocks; j++)
            forest->owners[block++] = i;
        at += graph->quantiser.stride;
        forest->node_count += graph->count;
    }
}

/* The query in every tree's codes. Keys of all are brought to the scale of the first: returns what
 * its key means. */
static float encode_queries(struct index_scratch *scratch, const float *query)
{
    struct index_forest *forest = &scratch->forest;
    float first = 0, zero = 0;

    for (uint32_t i = 0; i < forest->tree_count; i++) {
        struct index_tree *tree = &forest->trees[i];
        const struct index_quantiser *quantiser = &tree->graph->quantiser;
        float score_per_key = index_quantiser_encode_query(
            quantiser, query, scratch->query + (tree->query - scratch->query));
        if (i == 0) {
            first = score_per_key;
            zero = forest->tree_count > 1 ? index_quantiser_key_zero(quantiser, query) : 0;
        }
        tree->key_scale = 1;
        tree->key_shift = 0;
        if (i == 0 || first == 0)
            continue;
        tree->key_scale = score_per_key / first;
        tree->key_shift = (index_quantiser_key_zero(quantiser, query) - zero) / first;
    }
    return first;
}

/* Whether hardly any row near the query matches, however many do elsewhere: groups of matching rows
 * have no way to each other there, and a walk over them alone would end in richer places. */
static bool is_thin_near(const struct index_tree *tree, const uint32_t *entries, uint32_t count)
{
    uint32_t degree = 2 * tree->graph->m, looked_at = 0, matching = 0;

    for (uint32_t i = 0; i < count && i < THIN_ENTRIES; i++) {
        const uint32_t *links = tree->graph->links + (size_t)entries[i] * degree;
        for (uint32_t j = 0; j < degree && links[j] != INDEX_NO_LINK; j++) {
            matching += is_matching(tree, links[j]);
            looked_at++;
        }
    }
    return matching * THIN_PART < looked_at;
}

static void find_all_entries(struct index_scratch *scratch, uint32_t ef)
{
    struct index_forest *forest = &scratch->forest;
    uint32_t beam = forest->tree_count == 1
                        ? clamp(ef / BEAM_PART, BEAM_MIN, BEAM_MAX)
                        : clamp(ef / BEAM_PART / forest->tree_count, 1, BEAM_MAX);

    for (uint32_t i = 0; i < forest->tree_count; i++) {
        struct index_tree *tree = &forest->trees[i];
        uint32_t *entries = forest->entries + tree->first_entry;
        tree->entry_count = find_entries(tree, scratch, beam, entries);
        if (tree->sparse && is_thin_near(tree, entries, tree->entry_count))
            tree->sparse = false;
        for (uint32_t j = 0; j < tree->entry_count; j++)
            entries[j] += tree->base;
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
