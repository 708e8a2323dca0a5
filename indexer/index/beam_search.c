/* Unlike the two heaps of the HNSW paper (arXiv 1603.09320), one sorted array is both queue and
 * result, as in DiskANN. The keys of all unseen neighbours of a node are computed together, after
 * their codes were prefetched. */
#include "indexer/index/beam_search.h"

#include <assert.h>
#include <stdlib.h>

#include "indexer/index/row_reads.h"

enum {
    FETCH_CODES_MAX = 128,
    FETCH_BYTES = 9 << 10, /* of codes on their way into the cache while keys are computed: with */
    AHEAD_MIN = 8,         /* more, rows of 784 bytes push out others; so many rows at least ... */
    AHEAD_MAX = 24         /* ... and at most */
};
#define KEY_LIMIT 2147483520.0F /* the largest float that is an int32 */

static const uint8_t *codes_of(const struct index_beam *beam, uint32_t item)
{
    const struct index_graph *graph = beam->slot->graph;
    uint32_t node = item - beam->slot->base;

    node = beam->level ? beam->level->nodes[node] : node;
    return graph->codes + (size_t)node * graph->quantiser.stride;
}

static void prefetch_codes(const struct index_beam *beam, uint32_t item)
{
    const uint8_t *codes = codes_of(beam, item);

    for (uint32_t i = 0; i < beam->slot->graph->quantiser.stride; i += INDEX_CODE_ALIGN)
        __builtin_prefetch(codes + i);
}

void index_slot_keys_4(const struct index_group_slot *slot, const uint8_t *const rows[4],
                       int32_t keys[4])
{
    const struct index_quantiser *quantiser = &slot->graph->quantiser;

    index_quantiser_keys_4(quantiser, slot->query, rows, keys);
    if (quantiser->kind == INDEX_CODE_FLOAT)
        return;
    if (slot->key_scale == 1 && slot->key_shift == 0)
        return;
    for (int i = 0; i < 4; i++) {
        float key = (float)keys[i] * slot->key_scale + slot->key_shift;
        key = key < KEY_LIMIT ? key : KEY_LIMIT;
        keys[i] = (int32_t)(key > -KEY_LIMIT ? key : -KEY_LIMIT);
    }
}

/* Above level 0 only whether it matches. */
static bool is_accepted(const struct index_beam *beam, uint32_t item)
{
    item -= beam->slot->base;
    return beam->level ? index_is_matching(beam->slot, beam->level->nodes[item])
                       : index_is_accepted(beam->slot, item);
}

/* How many rows of codes are asked for before the first is used. */
static uint32_t rows_ahead(const struct index_beam *beam)
{
    uint32_t ahead = FETCH_BYTES / beam->slot->graph->quantiser.stride / 4 * 4;

    return ahead < AHEAD_MIN ? AHEAD_MIN : ahead > AHEAD_MAX ? AHEAD_MAX : ahead;
}

static int by_address(const void *a, const void *b)
{
    const uint8_t *left = *(const uint8_t *const *)a, *right = *(const uint8_t *const *)b;

    return (left > right) - (left < right);
}

/* All codes that a step looks at: where they have to be read, side by side. */
static void fetch_fresh(const struct index_beam *beam)
{
    const uint8_t *codes[FETCH_CODES_MAX];
    struct index_fetch fetch;

    index_fetch_begin(&fetch, beam->slot->member->segment->io);
    for (uint32_t first = 0, count; first < beam->fresh_count; first += count) {
        count = beam->fresh_count - first;
        count = count < FETCH_CODES_MAX ? count : FETCH_CODES_MAX;
        for (uint32_t i = 0; i < count; i++)
            codes[i] = codes_of(beam, beam->fresh[first + i]);
        qsort(codes, count, sizeof(*codes), by_address);
        for (uint32_t i = 0; i < count; i++)
            index_fetch_add(&fetch, codes[i], beam->slot->graph->quantiser.stride);
    }
    index_fetch_end(&fetch);
}

void index_beam_prefetch_fresh(const struct index_beam *beam)
{
    uint32_t ahead = rows_ahead(beam);

    if (beam->group->waits) {
        fetch_fresh(beam);
        return; /* asking the processor for it would wait for the page tables only */
    }
    for (uint32_t i = 0; i < beam->fresh_count && i < ahead; i++)
        prefetch_codes(beam, beam->fresh[i]);
}

/* A search through one segment of many remembers what it follows and what may still be among
 * the best of all; half of what it meets is neither. */
static uint32_t offer_place(const struct index_beam *beam, uint64_t candidate)
{
    const struct index_search_list *list = beam->list;

    if (candidate > beam->bound && list->count >= beam->depth &&
        candidate > list->entries[beam->depth - 1])
        return list->limit;
    return index_search_list_insert(beam->list, candidate);
}

/* Puts an item with its key into the lists; returns its place. */
static inline uint32_t take_item(struct index_beam *beam, uint32_t item, int32_t key)
{
    struct index_search_list *accepted = beam->accepted;
    uint64_t candidate = index_candidate(key, item);
    uint32_t at = offer_place(beam, candidate);

    if (at < beam->list->limit && !beam->level)
        index_links_prefetch_place(&beam->slot->graph->links, item - beam->slot->base);
    if (accepted &&
        (accepted->count < accepted->limit || candidate < accepted->entries[accepted->count - 1]) &&
        is_accepted(beam, item))
        index_search_list_insert(accepted, candidate);
    return at;
}

/* Floats in the order of integers, the highest first. */
static int32_t key_of_score(float score)
{
    float key = -score;
    int32_t bits;

    __builtin_memcpy(&bits, &key, sizeof(bits));
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

/* A score of its own looks at the vector. Nothing leads to rows without one. */
static int32_t scored_key(const struct index_beam *beam, uint32_t item)
{
    const struct index_group *group = beam->group;
    const struct index_group_slot *slot = beam->slot;
    uint32_t node = item - slot->base;
    struct vector_row row;

    node = beam->level ? beam->level->nodes[node] : node;
    if (group->failure->code != 0)
        return INT32_MAX;
    row =
        slot->member->vector(slot->member->vector_context, slot->graph->rows[node], group->failure);
    return row.bytes ? key_of_score(group->scored->score(group->scored->score_context, row))
                     : INT32_MAX;
}

static uint32_t offer_scored(struct index_beam *beam)
{
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < beam->fresh_count; i++) {
        uint32_t at = take_item(beam, beam->fresh[i], scored_key(beam, beam->fresh[i]));
        best = at < best ? at : best;
    }
    beam->seen += beam->fresh_count;
    beam->fresh_count = 0;
    return best;
}

uint32_t index_beam_offer_fresh(struct index_beam *beam)
{
    const uint32_t *items = beam->fresh;
    uint32_t count = beam->fresh_count, ahead = rows_ahead(beam), best = UINT32_MAX;

    if (beam->group->scored)
        return offer_scored(beam);
    beam->seen += count;
    beam->fresh_count = 0;
    for (uint32_t i = 0; i < count; i += 4) {
        uint32_t filled = count - i < 4 ? count - i : 4;
        const uint8_t *rows[4];
        int32_t keys[4];

        for (uint32_t j = i + ahead; j < i + ahead + 4 && j < count; j++)
            prefetch_codes(beam, items[j]);
        for (uint32_t j = 0; j < 4; j++)
            rows[j] = codes_of(beam, items[i + (j < filled ? j : 0)]);
        index_slot_keys_4(beam->slot, rows, keys);
        for (uint32_t j = 0; j < filled; j++) {
            uint32_t at = take_item(beam, items[i + j], keys[j]);
            best = at < best ? at : best;
        }
    }
    return best;
}

/* Unseen items that an item is linked with. */
static uint32_t linked_items(struct index_beam *beam, uint32_t item, uint32_t *fresh)
{
    const struct index_graph *graph = beam->slot->graph;
    uint32_t first = beam->slot->base;
    const uint32_t *links;

    if (!beam->level) {
        struct index_link_run run = index_links_of(&graph->links, item - first);
        return index_visit_links(beam->visited, &run, first, fresh);
    }
    links = beam->level->links + (size_t)(item - first) * graph->m;
    return index_visit_all(beam->visited, links, index_links_used(links, graph->m), first, fresh);
}

/* Where few rows match, only nodes that do are traversed: unseen matching nodes that a node is
 * linked with, directly or through one that does not match, until there are enough. A node that
 * does not match is marked when its links were followed. After ACORN (arXiv 2403.04871), without
 * its denser graph: the nearest neighbours' neighbours take the place of more links.
 *
 * Some nine hundred nodes are looked at for one item. Whether one matches, and was seen, cannot be
 * foretold, so there are no branches on it: a third of a filtered search went here. Where most of
 * them are looked at, index_is_matching stands written out, with what it reads of the segment read
 * once: 3 to 4 % of a filtered search. */
uint32_t index_beam_expand_matching(struct index_beam *beam, uint32_t item, uint32_t *fresh)
{
    const struct index_group_slot *slot = beam->slot;
    const struct index_links *links = &slot->graph->links;
    const uint32_t *rows = slot->graph->rows;
    const uint64_t *bits = slot->member->matching;
    struct index_visited *visited = beam->visited;
    struct index_link_run run = index_links_of(links, item - slot->base);
    uint32_t matching[INDEX_LINKS_MAX + 1], through[INDEX_LINKS_MAX + 1];
    uint32_t matching_count = 0, through_count = 0, count;
    uint32_t enough = slot->graph->m, first = slot->base;

    if (index_uses_predicate_subgraph(slot->member->matching_rows, slot->graph->count))
        enough *= 2; /* of more rows, links alone lead to nearly all */
    for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits) {
        uint32_t node = index_link_at(&run, at);
        bool matches = index_is_matching(slot, node);
        index_links_prefetch_place(links, node);
        matching[matching_count] = through[through_count] = node;
        matching_count += matches;
        through_count += !matches & !index_is_visited(visited, first + node);
    }
    count = index_visit_all(visited, matching, matching_count, first, fresh);
    for (uint32_t i = 0; i < through_count; i++)
        index_links_prefetch(links, through[i]);
    for (uint32_t i = 0; i < through_count && count < enough; i++) {
        run = index_links_of(links, through[i]);
        (void)index_visit(visited, first + through[i]);
        matching_count = 0;
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits) {
            uint32_t node = index_link_at(&run, at), row = rows[node];
            bool matches = bits[row / 64] >> row % 64 & 1;
            matching[matching_count] = node;
            matching_count += matches;
        }
        count += index_visit_all(visited, matching, matching_count, first, fresh + count);
    }
    return count;
}

static void prefetch_links(const struct index_beam *beam, uint32_t item)
{
    const struct index_group_slot *slot = beam->slot;
    const uint32_t *links;

    if (!beam->level) {
        slot = index_group_slot_of(beam->group, item);
        index_links_prefetch(&slot->graph->links, item - slot->base);
        return;
    }
    links = beam->level->links + (size_t)(item - slot->base) * slot->graph->m;
    for (uint32_t i = 0; i < slot->graph->m; i += INDEX_CODE_ALIGN / sizeof(*links))
        __builtin_prefetch(links + i);
}

/* What prefetch_next_links asks for, of pages. */
static void fetch_next_links(const struct index_beam *beam)
{
    const struct index_search_list *list = beam->list;
    struct index_fetch fetch;
    uint32_t next = 0;

    index_fetch_begin(&fetch, beam->slot->member->segment->io);
    for (uint32_t i = beam->at; i < list->count && next < INDEX_EXPANDED_TOGETHER; i++) {
        uint32_t item = index_candidate_node(list->entries[i]);
        const struct index_group_slot *slot = index_group_slot_of(beam->group, item);
        struct index_link_run run;
        if (list->entries[i] & 1)
            continue;
        run = index_links_of(&slot->graph->links, item - slot->base);
        index_fetch_add(&fetch, run.bytes, (size_t)(run.last + (int32_t)run.bits) / 8 + 4);
        next++;
    }
    index_fetch_end(&fetch);
}

static void prefetch_next_links(const struct index_beam *beam)
{
    const struct index_search_list *list = beam->list;

    if (beam->group->waits && !beam->level) {
        fetch_next_links(beam);
        return;
    }
    for (uint32_t i = beam->at, next = 0; i < list->count && next < INDEX_EXPANDED_TOGETHER; i++)
        if (!(list->entries[i] & 1)) {
            prefetch_links(beam, index_candidate_node(list->entries[i]));
            next++;
        }
}

/* Takes up to some items that were not followed, all of one slot, and gathers what they lead to,
 * with its codes on the way. False: the nearest `depth` were all followed. */
static bool follow(struct index_beam *beam)
{
    struct index_search_list *list = beam->list;
    uint32_t end = list->count < beam->depth ? list->count : beam->depth;
    uint32_t count = 0, taken = 0;

    while (beam->at < end && list->entries[beam->at] & 1)
        beam->at++;
    for (uint32_t at = beam->at; at < end && taken < INDEX_EXPANDED_TOGETHER; at++) {
        uint32_t item = index_candidate_node(list->entries[at]);
        const struct index_group_slot *slot =
            beam->level ? beam->slot : index_group_slot_of(beam->group, item);
        if (list->entries[at] & 1)
            continue;
        if (taken > 0 && slot != beam->slot)
            break;
        beam->slot = slot;
        list->entries[at] |= 1;
        taken++;
        count += !beam->level && slot->sparse
                     ? index_beam_expand_matching(beam, item, beam->fresh + count)
                     : linked_items(beam, item, beam->fresh + count);
    }
    if (taken == 0)
        return false;
    beam->fresh_count = count;
    index_beam_prefetch_fresh(beam);
    return true;
}

static void take_fresh(struct index_beam *beam)
{
    uint32_t best = index_beam_offer_fresh(beam);

    beam->at = best < beam->at + 1 ? best : beam->at + 1;
    prefetch_next_links(beam);
}

/* Some are followed at once: a search waits for memory, not for the processor (with everything
 * in the cache it is 2.5 times faster), and the rows of more items can be fetched side by side. */
void index_beam_run(struct index_beam *beam)
{
    while (follow(beam)) {
        prefetch_next_links(beam); /* unless nearer items are found now, they are followed next */
        take_fresh(beam);
    }
}

void index_beam_run_interleaved(struct index_beam *beams, uint32_t count)
{
    struct index_beam *live[INDEX_INTERLEAVED_MAX];

    assert(count <= INDEX_INTERLEAVED_MAX);
    for (uint32_t i = 0; i < count; i++)
        live[i] = &beams[i];
    while (count > 0) {
        struct index_beam *waiting = NULL;
        uint32_t kept = 0;
        for (uint32_t i = 0; i < count; i++) {
            struct index_beam *beam = live[i];
            if (!follow(beam))
                continue;
            if (waiting)
                take_fresh(waiting);
            waiting = beam;
            live[kept++] = beam;
        }
        if (waiting)
            take_fresh(waiting);
        count = kept;
    }
}

void index_beam_enter(struct index_beam *beam, const uint32_t *items, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (index_visit(beam->visited, items[i]))
            beam->fresh[beam->fresh_count++] = items[i];
    index_beam_prefetch_fresh(beam);
}

void index_beam_start(struct index_beam *beams, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        (void)index_beam_offer_fresh(&beams[i]);
        beams[i].at = 0;
        prefetch_next_links(&beams[i]);
    }
}
