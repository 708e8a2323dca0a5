/* Searching: down the levels with a narrow beam, a walk over level 0 with `ef` candidates by the
 * distance of codes, then the best candidates again by exact float32.
 *
 * Unlike the paper's two heaps, one sorted array serves as queue and result, and the distances of
 * all unseen neighbours of a node are computed together after their codes were prefetched. */
#include <assert.h>

#include "indexer/index/layer.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    DEGREE_LIMIT = 512,
    BEAM_MIN = 4, /* candidates on upper levels, and ways into level 0 */
    BEAM_MAX = 64,
    BEAM_PART = 8, /* ef to one of the beam: a careful search is careful on all levels */
    EF_MIN = 16,
    CANDIDATES_FACTOR = 4, /* accepted candidates remembered, for each hit wanted */
    WIDEN_MAX = 100,       /* widening of one step, for a filter */
    ENOUGH_TO_TELL = 4,    /* accepted rows inside a walk that give their share */
    WIDTH_LIMIT = 4096,    /* a pool wider than this is dearer than a scan */
    WIDTH_PART = 8,        /* so is one that holds more than an eighth of the rows */
    PREFETCH_AHEAD = 4
};

/* One level as the walk sees it. */
struct walk {
    const struct index_graph *graph;
    struct index_scratch *scratch;
    const uint32_t *links;
    uint32_t degree;
    const uint32_t *nodes;             /* item to node at level 0; NULL on level 0 */
    const struct index_search *search; /* level 0: whose accept function is asked, or NULL */
    uint32_t seen;
};

static const uint8_t *codes_of(const struct walk *walk, uint32_t item)
{
    uint32_t node = walk->nodes ? walk->nodes[item] : item;

    return walk->graph->codes + (size_t)node * walk->graph->quantiser.stride;
}

static void prefetch_codes(const struct walk *walk, uint32_t item)
{
    const uint8_t *codes = codes_of(walk, item);

    for (uint32_t i = 0; i < walk->graph->quantiser.stride; i += INDEX_CODE_ALIGN)
        __builtin_prefetch(codes + i);
}

static void keys_4(const struct index_quantiser *quantiser, const uint8_t *query,
                   const uint8_t *const rows[4], int32_t keys[4])
{
    const struct index_kernels *kernels = index_kernels();
    bool by_distance = quantiser->metric == INDEX_METRIC_L2;

    if (quantiser->kind == INDEX_CODE_FLOAT) {
        uint32_t dim = quantiser->dim;
        const float *from = (const void *)query;
        for (int i = 0; i < 4; i++) {
            const float *row = (const void *)rows[i];
            keys[i] = index_key_of_float(by_distance ? kernels->l2(from, row, dim)
                                                     : -kernels->dot(from, row, dim));
        }
    } else if (by_distance) {
        kernels->code_l2_4(query, rows, quantiser->stride, keys);
    } else {
        kernels->code_dot_4((const int8_t *)query, rows, quantiser->stride, keys);
        for (int i = 0; i < 4; i++)
            keys[i] = -keys[i];
    }
}

/* Computes the keys of unseen items and puts them into the pools; returns the best place taken. */
static uint32_t offer_items(struct walk *walk, const uint32_t *items, uint32_t count)
{
    struct index_scratch *scratch = walk->scratch;
    const struct index_search *search = walk->search;
    uint32_t best = UINT32_MAX;

    walk->seen += count;
    for (uint32_t i = 0; i < count && i < PREFETCH_AHEAD; i++)
        prefetch_codes(walk, items[i]);
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t filled = count - i < 4 ? count - i : 4;
        const uint8_t *rows[4];
        int32_t keys[4];

        for (uint32_t j = i + PREFETCH_AHEAD; j < i + PREFETCH_AHEAD + 4 && j < count; j++)
            prefetch_codes(walk, items[j]);
        for (uint32_t j = 0; j < 4; j++)
            rows[j] = codes_of(walk, items[i + (j < filled ? j : 0)]);
        keys_4(&walk->graph->quantiser, scratch->query, rows, keys);
        for (uint32_t j = 0; j < filled; j++) {
            uint64_t candidate = index_candidate(keys[j], items[i + j]);
            uint32_t at = index_pool_insert(&scratch->walk, candidate);
            best = at < best ? at : best;
            if (search && search->accept &&
                (scratch->accepted.count < scratch->accepted.limit ||
                 candidate < scratch->accepted.entries[scratch->accepted.count - 1]) &&
                search->accept(search->accept_context, walk->graph->rows[items[i + j]]))
                index_pool_insert(&scratch->accepted, candidate);
        }
    }
    return best;
}

/* Follows the links of the nearest item not yet followed, until all in the pool are. */
static void walk_links(struct walk *walk)
{
    struct index_scratch *scratch = walk->scratch;
    struct index_pool *pool = &scratch->walk;
    uint32_t at = 0;

    assert(walk->degree <= DEGREE_LIMIT);
    while (at < pool->count) {
        const uint32_t *links;
        uint32_t fresh[DEGREE_LIMIT], count = 0, best;

        if (pool->entries[at] & 1) {
            at++;
            continue;
        }
        links = walk->links + (size_t)index_candidate_node(pool->entries[at]) * walk->degree;
        pool->entries[at] |= 1;
        for (uint32_t i = 0; i < walk->degree && links[i] != INDEX_NO_LINK; i++)
            if (index_mark(&scratch->marks, links[i]))
                fresh[count++] = links[i];
        best = offer_items(walk, fresh, count);
        at = best < at + 1 ? best : at + 1;
        if (at < pool->count) /* likely the next one */
            __builtin_prefetch(walk->links +
                               (size_t)index_candidate_node(pool->entries[at]) * walk->degree);
    }
}

static void enter(struct walk *walk, const uint32_t *items, uint32_t count, uint32_t limit)
{
    uint32_t fresh[INDEX_LEVEL_ROWS_MIN + BEAM_MAX], fresh_count = 0;

    index_marks_clear(&walk->scratch->marks);
    index_pool_limit(&walk->scratch->walk, limit);
    for (uint32_t i = 0; i < count; i++)
        if (index_mark(&walk->scratch->marks, items[i]))
            fresh[fresh_count++] = items[i];
    offer_items(walk, fresh, fresh_count);
}

/* The best few items of level 1 as nodes; node 0 when there is no level above 0. The highest level
 * is small and looked at as a whole: groups without a way between them are found here. */
static uint32_t find_entries(const struct index_graph *graph, struct index_scratch *scratch,
                             uint32_t beam, uint32_t entries[BEAM_MAX])
{
    uint32_t count = 1;

    entries[0] = 0;
    for (uint32_t l = graph->level_count; l-- > 0;) {
        const struct index_level *level = &graph->levels[l];
        struct walk walk = {graph, scratch, level->links, graph->m, level->nodes, NULL, 0};
        if (l + 1 == graph->level_count) {
            uint32_t all[INDEX_LEVEL_ROWS_MIN];
            uint32_t looked_at =
                level->count < INDEX_LEVEL_ROWS_MIN ? level->count : INDEX_LEVEL_ROWS_MIN;
            for (uint32_t i = 0; i < looked_at; i++)
                all[i] = i;
            enter(&walk, all, looked_at, beam);
        } else {
            enter(&walk, entries, count, beam);
        }
        walk_links(&walk);
        count = scratch->walk.count;
        for (uint32_t i = 0; i < count; i++)
            entries[i] = level->below[index_candidate_node(scratch->walk.entries[i])];
    }
    return count;
}

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : (uint32_t)value;
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

/* With a filter, a walk in which fewer than k accepted rows lie starts again, as much wider as the
 * share of accepted rows asks for, unless a scan would be cheaper. */
static struct outcome search_level_0(const struct index_graph *graph,
                                     const struct index_search *search,
                                     struct index_scratch *scratch, uint32_t k, uint32_t ef)
{
    struct outcome outcome = {search->accept ? &scratch->accepted : &scratch->walk, 0, false};
    uint32_t width = ef,
             widest = clamp(graph->count / WIDTH_PART, ef, WIDTH_LIMIT > ef ? WIDTH_LIMIT : ef);
    uint32_t candidates = clamp((uint64_t)k * CANDIDATES_FACTOR, EF_MIN, graph->count);
    uint32_t entries[BEAM_MAX];
    uint32_t entry_count =
        find_entries(graph, scratch, clamp(ef / BEAM_PART, BEAM_MIN, BEAM_MAX), entries);

    for (;;) {
        struct walk walk = {graph, scratch, graph->links, 2 * graph->m, NULL, search, 0};
        uint64_t needed;
        if (search->accept)
            index_pool_limit(&scratch->accepted, candidates);
        enter(&walk, entries, entry_count, width);
        walk_links(&walk);
        outcome.usable = outcome.found->count;
        outcome.complete = walk.seen == graph->count;
        if (!outcome.complete && search->accept) {
            uint32_t enough = inside(outcome.found, &scratch->walk);
            outcome.complete = enough >= k;
            needed = wider(&walk, width, k, enough);
            if (!outcome.complete && needed <= widest) {
                width = (uint32_t)needed;
                continue;
            }
            outcome.usable = outcome.complete ? outcome.usable : enough;
        } else {
            outcome.complete = outcome.complete || outcome.usable >= k;
        }
        return outcome;
    }
}

int index_segment_search(const struct index_segment *segment, const struct index_search *search,
                         struct index_hit *hits, uint32_t *hit_count, bool *exhausted,
                         struct error *error)
{
    const struct index_graph *graph = &segment->graph;
    struct index_scratch *scratch = index_scratch_get();
    uint32_t k = search->k < graph->count ? search->k : graph->count;
    uint32_t ef = search->ef > k ? search->ef : k;
    struct outcome outcome;
    float score_per_key;

    *hit_count = 0;
    *exhausted = true;
    if (k == 0)
        return 0;
    ef = clamp(ef, EF_MIN, graph->count > EF_MIN ? graph->count : EF_MIN);
    index_scratch_marks(scratch, graph->count);
    index_scratch_query(scratch, graph->quantiser.stride);
    score_per_key = index_quantiser_encode_query(&graph->quantiser, search->query, scratch->query);
    outcome = search_level_0(graph, search, scratch, k, ef);
    *exhausted = outcome.complete;
    return index_rerank(graph, search, score_per_key, outcome.found->entries, outcome.usable, hits,
                        hit_count, error);
}
