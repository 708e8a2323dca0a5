/* A search of graphs: down the upper levels with a narrow beam, over level 0 with `ef` candidates by
 * the distance of codes, then the best candidates again by exact float32 (rerank.c).
 *
 * Several segments are searched as one group. Each is entered through its own levels; then all share
 * one list on level 0, where a candidate counts by its estimated score, whichever segment it is of.
 * A segment without good rows is left right after its entry points. Searching each with a list of its
 * own costs a multiple (bench/notes/search.md). */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "indexer/index/beam_search.h"
#include "indexer/index/rerank.h"
#include "indexer/index/row_reads.h"
#include "indexer/index/scratch.h"
#include "indexer/index/segment.h"

enum {
    BEAM_MIN = 4, /* candidates on upper levels, and ways into level 0 */
    BEAM_MAX = 64,
    SEEDS = 16,    /* matching ways in */
    BEAM_PART = 8, /* ef to one of the beam_width: a careful search is careful on all levels */
    DEPTH_MIN = 4, /* nodes of each segment that are followed before all are compared */
    NODES_MAX = INT32_MAX, /* candidates have 31 bits for the node */
    EF_MIN = 10,
    HALF_SPARE = 4,        /* of half codes, a quarter more candidates than hits wanted at least */
    CANDIDATES_FACTOR = 4, /* accepted candidates remembered, for each hit wanted */
    WIDEN_MAX = 100,       /* widening of one step, for a filter */
    ENOUGH_TO_TELL = 4,    /* accepted rows inside a search that give their share */
    WIDTH_LIMIT = 4096,    /* a list wider than this is dearer than a scan */
    WIDTH_PART = 8,        /* so is one that holds more than an eighth of the rows */
    THIN_ENTRIES = 4,      /* whose neighbours tell whether rows near the query match */
    THIN_PART = 24,        /* fewer than one in so many is too few to traverse */
    FAR_PART = 256,        /* fewer than one in so many is next to none */
    SUBGRAPH_PART = 16,    /* where fewer than one in so many of all match, they fall apart */
    SAMPLE_PART = 128,     /* then one node in so many is tried as a way in, ... */
    SAMPLE_MIN = 64,       /* ... so many at least ... */
    SAMPLE_MAX = 1024,     /* ... and at most */
    LATE_PART = 4, /* with one in so many, those that a walk found are enough to ask about */
    /* In codes of rows that are looked at one after another: */
    WIDTH_COST = 24, /* a place of the list, and what it leads to */
    LOOK_PART = 8    /* whether so many rows match */
};
static const float REACH = 2; /* see rerank.c */
/* A walk over matching rows far from the query needs the width of one over all rows: callers ask for
 * SUBGRAPH_EF of it (search_plan.c), which is enough near the query only. */
static const double FAR_WIDTH = 1.6;

static uint32_t clamp(uint64_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : (uint32_t)value;
}

/* The highest level is small and looked at as a whole: groups without a way between them are found
 * here. */
static void enter_level(struct index_beam *beam, const uint32_t *entries)
{
    const struct index_group_slot *slot = beam->slot;
    uint32_t all[INDEX_LEVEL_ROWS_MIN], count;

    if (beam->level != &slot->graph->levels[slot->graph->level_count - 1]) {
        index_beam_enter(beam, entries, slot->entry_count);
        return;
    }
    count = beam->level->count < INDEX_LEVEL_ROWS_MIN ? beam->level->count : INDEX_LEVEL_ROWS_MIN;
    for (uint32_t i = 0; i < count; i++)
        all[i] = slot->base + i;
    index_beam_enter(beam, all, count);
}

/* What a search found leads to the level below. */
static void keep_entries(const struct index_beam *beam, struct index_scratch *scratch)
{
    struct index_group_slot *slot = &scratch->group.slots[beam->slot - scratch->group.slots];
    uint32_t *entries = scratch->group.entries + slot->first_entry;
    const struct index_search_list *lists[2] = {beam->list, beam->accepted};

    slot->entry_count = 0;
    for (int p = 0; p < 2 && lists[p]; p++)
        for (uint32_t i = 0; i < lists[p]->count; i++) {
            uint32_t item = index_candidate_node(lists[p]->entries[i]) - slot->base;
            entries[slot->entry_count++] = slot->base + beam->level->below[item];
        }
}

/* Marks the hidden node's item of the beam's level as seen, so that it is never met. */
static void hide(const struct index_beam *beam)
{
    const struct index_level *level = beam->level;
    uint32_t item = beam->slot->hidden;

    if (item == INDEX_NO_ROW)
        return;
    for (uint32_t i = 0; level && i < level->count; i++)
        if (level->nodes[i] == beam->slot->hidden)
            (void)index_visit(beam->visited, beam->slot->base + i);
    if (!level)
        (void)index_visit(beam->visited, beam->slot->base + item);
}

/* The best few items of level 1 of each segment as nodes; node 0 when there is no level above 0.
 * Where few rows match, the best of those that were met on the way are taken, too. */
static void find_entries(struct index_scratch *scratch, struct index_group_slot *slots,
                         uint32_t count, uint32_t beam_width)
{
    struct index_group *group = &scratch->group;
    struct index_beam beams[INDEX_INTERLEAVED_MAX];
    uint32_t highest = 0;

    for (uint32_t i = 0; i < count; i++) {
        highest = slots[i].graph->level_count > highest ? slots[i].graph->level_count : highest;
        slots[i].entry_count = 1;
        group->entries[slots[i].first_entry] = slots[i].base;
    }
    for (uint32_t l = highest; l-- > 0;) {
        uint32_t beam_count = 0;
        index_visited_clear(&scratch->visited);
        index_group_reserve_lists(group, 2 * count, (uint64_t)count * (beam_width + SEEDS));
        for (uint32_t i = 0; i < count; i++) {
            struct index_beam *beam = &beams[beam_count];
            bool asks = l == 0 && slots[i].sparse;
            if (l >= slots[i].graph->level_count)
                continue;
            *beam = (struct index_beam){.group = group,
                                        .slot = &slots[i],
                                        .level = &slots[i].graph->levels[l],
                                        .visited = &scratch->visited,
                                        .list = index_group_list(group, beam_width),
                                        .fresh = group->fresh + (size_t)i * group->fresh_each,
                                        .depth = beam_width,
                                        .bound = UINT64_MAX};
            beam->accepted = asks ? index_group_list(group, SEEDS) : NULL;
            hide(beam);
            enter_level(beam, group->entries + slots[i].first_entry);
            beam_count++;
        }
        index_beam_start(beams, beam_count);
        index_beam_run_interleaved(beams, beam_count);
        for (uint32_t i = 0; i < beam_count; i++)
            keep_entries(&beams[i], scratch);
    }
}

/* How many candidates lie inside what the search went through: behind its last one there may be
 * better ones that it did not see. */
static uint32_t inside(const struct index_search_list *found, const struct index_search_list *bound)
{
    uint32_t count = found->count;

    if (bound->count == bound->limit)
        while (count > 0 &&
               (found->entries[count - 1] | 1) > (bound->entries[bound->count - 1] | 1))
            count--;
    return count;
}

/* What level 0 gave. */
struct outcome {
    const struct index_search_list *found;
    uint32_t usable; /* beginning of `found` that may be returned */
    bool complete;   /* k accepted rows, or every row was seen */
};

/* The width that should hold k accepted rows, a quarter more than by proportion. Where hardly any
 * lie inside, the share among all rows seen says more; it is the whole truth as long as few were
 * accepted, for then every row seen was asked about. */
static uint64_t wider(const struct index_beam *beam, uint32_t accepted, uint32_t width, uint32_t k,
                      uint32_t enough)
{
    uint64_t needed = (uint64_t)width * k * 5 / 4 / (enough ? enough : 1) + 1;

    if (enough < ENOUGH_TO_TELL && accepted > enough)
        needed = (uint64_t)beam->seen * k * 5 / 4 / accepted + 1;
    needed = needed > width ? needed : (uint64_t)width + width / 4 + 1;
    return needed < (uint64_t)width * WIDEN_MAX ? needed : (uint64_t)width * WIDEN_MAX;
}

/* Keeps the nearest of both sorted lists in `list`; `spare` is room of the same size. */
static void merge_lists(struct index_search_list *list, const struct index_search_list *other,
                        uint64_t *spare)
{
    uint32_t left = 0, right = 0, count = 0;

    while (count < list->limit && (left < list->count || right < other->count)) {
        bool from_left = right == other->count ||
                         (left < list->count && list->entries[left] < other->entries[right]);
        spare[count++] = from_left ? list->entries[left++] : other->entries[right++];
    }
    memcpy(list->entries, spare, count * sizeof(*spare));
    list->count = count;
}

/* The matching ones of the ways in, and what the others lead to. */
static void enter_matching(struct index_beam *beam)
{
    const uint32_t *entries = beam->group->entries + beam->slot->first_entry;

    for (uint32_t i = 0; i < beam->slot->entry_count; i++) {
        if (!index_visit(beam->visited, entries[i]))
            continue;
        if (index_is_matching(beam->slot, entries[i] - beam->slot->base)) {
            beam->fresh[0] = entries[i];
            beam->fresh_count = 1;
        } else {
            beam->fresh_count = index_beam_expand_matching(beam, entries[i], beam->fresh);
        }
        index_beam_prefetch_fresh(beam);
        (void)index_beam_offer_fresh(beam);
    }
}

/* Matching nodes all over the segment. The order of nodes keeps neighbours together, so that evenly
 * spaced ones are of all regions. */
static void enter_sample(struct index_beam *beam)
{
    const struct index_group_slot *slot = beam->slot;
    uint32_t tries = clamp(slot->graph->count / SAMPLE_PART, SAMPLE_MIN, SAMPLE_MAX);
    uint32_t step = slot->graph->count / tries + 1;

    for (uint32_t node = step / 2; node < slot->graph->count; node += step) {
        if (index_is_matching(slot, node) && index_visit(beam->visited, slot->base + node))
            beam->fresh[beam->fresh_count++] = slot->base + node;
        if (beam->fresh_count < SAMPLE_MIN && slot->graph->count - node > step)
            continue;
        index_beam_prefetch_fresh(beam);
        (void)index_beam_offer_fresh(beam);
    }
}

static void enter_slot(struct index_beam *beam)
{
    hide(beam);
    if (beam->slot->far)
        enter_sample(beam);
    if (beam->slot->sparse)
        enter_matching(beam);
    else
        index_beam_enter(beam, beam->group->entries + beam->slot->first_entry,
                         beam->slot->entry_count);
}

/* A segment with a tenth of the nodes is hardly easier to search: its beam grows with the square root
 * of its share. The caller may ask for more by what was measured when the segment was built (effort.h). Measured on changelog-384 in ten windows: with less, or when a segment
 * is left as soon as it looks worse than others, more is lost than saved. */
static uint32_t depth_of(const struct index_group_slot *slot, const struct index_group *group,
                         uint32_t width)
{
    double share = (double)slot->graph->count / group->node_count;
    uint32_t depth = (uint32_t)(width * sqrt(share));

    if (slot->member->depth > depth)
        depth = slot->member->depth;
    return clamp(depth, DEPTH_MIN, width > DEPTH_MIN ? width : DEPTH_MIN);
}

static uint32_t list_places(const struct index_group_slot *slot, uint32_t width)
{
    return slot->graph->count < width ? slot->graph->count : width;
}

/* Level 0 of every segment is entered by the ways that its levels gave, and followed a little, so
 * that its best nodes are compared and not how near its ways in happen to be. What was found lies
 * in the search's list then. */
static void enter_group(struct index_beam *beam, struct index_scratch *scratch)
{
    struct index_group *group = &scratch->group;
    struct index_beam beams[INDEX_INTERLEAVED_MAX];
    uint32_t width = beam->depth;

    for (uint32_t first = 0; first < group->slot_count; first += INDEX_INTERLEAVED_MAX) {
        uint32_t left = group->slot_count - first;
        uint32_t count = left < INDEX_INTERLEAVED_MAX ? left : INDEX_INTERLEAVED_MAX;
        uint64_t places = (uint64_t)count * width;
        index_group_reserve_lists(group, count,
                                  places < group->node_count ? places : group->node_count);
        for (uint32_t i = 0; i < count; i++) {
            struct index_group_slot *slot = &group->slots[first + i];
            beams[i] = *beam;
            beams[i].slot = slot;
            beams[i].list = index_group_list(group, list_places(slot, width));
            beams[i].fresh = group->fresh + (size_t)i * group->fresh_each;
            beams[i].depth = depth_of(slot, group, width);
            beams[i].seen = 0;
            if (beam->list->count == width)
                beams[i].bound = beam->list->entries[width - 1];
            enter_slot(&beams[i]);
        }
        index_beam_start(beams, count);
        index_beam_run_interleaved(beams, count);
        for (uint32_t i = 0; i < count; i++) {
            beam->seen += beams[i].seen;
            merge_lists(beam->list, beams[i].list, scratch->spare.entries);
        }
    }
}

static void run_level_0(struct index_beam *beam, struct index_scratch *scratch, uint32_t width)
{
    index_visited_clear(&scratch->visited);
    index_search_list_limit(&scratch->nearest, width);
    beam->at = 0;
    beam->depth = width;
    if (scratch->group.slot_count == 1) {
        beam->slot = scratch->group.slots;
        enter_slot(beam);
        index_beam_start(beam, 1);
    } else {
        index_search_list_limit(&scratch->spare, width);
        enter_group(beam, scratch);
    }
    index_beam_run(beam);
}

/* A beam search over matching rows alone that ends before its list is full went through a group of
 * rows that has no way to the others. */
static bool is_cut_off(const struct index_scratch *scratch)
{
    const struct index_group *group = &scratch->group;
    uint64_t rows = 0;
    bool sparse = false;

    for (uint32_t i = 0; i < group->slot_count; i++) {
        const struct index_group_slot *slot = &group->slots[i];
        sparse = sparse || slot->sparse;
        rows += slot->sparse ? slot->member->matching_rows : slot->graph->count;
    }
    return sparse && scratch->nearest.count < scratch->nearest.limit &&
           scratch->nearest.count < rows;
}

/* What it costs to look at all matching rows; UINT64_MAX: it is not known which they are. */
static uint64_t scan_cost(const struct index_group *group)
{
    uint64_t cost = 0;

    for (uint32_t i = 0; i < group->slot_count; i++) {
        const struct index_group_slot *slot = &group->slots[i];
        if (group->scored || !slot->member->matching || slot->hidden != INDEX_NO_ROW)
            return UINT64_MAX;
        cost += slot->member->matching_rows + slot->graph->count / LOOK_PART;
    }
    return cost;
}

static struct outcome scan_level_0(struct index_scratch *scratch, uint32_t k, uint32_t ef)
{
    uint64_t candidates = (uint64_t)k * CANDIDATES_FACTOR;

    candidates = candidates > ef ? candidates : ef;
    index_graph_scan(scratch, clamp(candidates, EF_MIN, scratch->group.node_count + EF_MIN));
    return (struct outcome){&scratch->nearest, scratch->nearest.count, true};
}

/* Of a node's neighbours, so many match. */
static uint32_t matching_neighbours(const struct index_group_slot *slot, uint32_t node,
                                    uint32_t *looked_at)
{
    struct index_link_run run = index_links_of(&slot->graph->links, node);
    uint32_t matching = 0;

    for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits, (*looked_at)++)
        matching += index_is_matching(slot, index_link_at(&run, at));
    return matching;
}

/* Of the rows around the query's ways in, so many match, of *looked_at. */
static uint32_t matching_near(const struct index_group *group, const struct index_group_slot *slot,
                              uint32_t *looked_at)
{
    const uint32_t *entries = group->entries + slot->first_entry;
    uint32_t matching = 0;

    for (uint32_t i = 0; i < slot->entry_count && i < THIN_ENTRIES; i++)
        matching += matching_neighbours(slot, entries[i] - slot->base, looked_at);
    return matching;
}

/* Whether hardly any row near the query matches, however many do elsewhere: groups of matching rows
 * have no way to each other there, and a beam search over them alone would end in richer places. */
static bool is_thin_near(const struct index_group *group, const struct index_group_slot *slot)
{
    uint32_t looked_at = 0;

    return matching_near(group, slot, &looked_at) * THIN_PART < looked_at;
}

/* Whether it is enough to ask which rows may be hits once the nearest are known: so many match near
 * the query that the list holds enough of them. Else each row that is met is asked about, so that a
 * list that turns out to be too short tells how long it has to be. */
static bool may_ask_late(const struct index_group *group)
{
    uint32_t looked_at = 0, matching = 0;

    for (uint32_t i = 0; i < group->slot_count; i++)
        if (!group->slots[i].sparse)
            matching += matching_near(group, &group->slots[i], &looked_at);
    return matching * LATE_PART >= looked_at;
}

/* Those of the nearest that may be hits. */
static void accept_nearest(struct index_scratch *scratch)
{
    const struct index_search_list *nearest = &scratch->nearest;
    struct index_search_list *accepted = &scratch->accepted;

    for (uint32_t i = 0; i < nearest->count && accepted->count < accepted->limit; i++) {
        uint32_t node = index_candidate_node(nearest->entries[i]);
        const struct index_group_slot *slot = index_group_slot_of(&scratch->group, node);
        if (index_is_accepted(slot, node - slot->base))
            accepted->entries[accepted->count++] = nearest->entries[i];
    }
}

/* With a filter, a search in which fewer than k accepted rows lie starts again, as much wider as
 * the share of accepted rows asks for, unless a scan would be cheaper. */
static struct outcome search_level_0(struct index_scratch *scratch, uint32_t k, uint32_t ef,
                                     bool asks)
{
    const struct index_group *group = &scratch->group;
    struct outcome outcome = {asks ? &scratch->accepted : &scratch->nearest, 0, false};
    uint32_t width = ef, widest = clamp(group->node_count / WIDTH_PART, ef,
                                        WIDTH_LIMIT > ef ? WIDTH_LIMIT : ef);
    uint32_t candidates = clamp((uint64_t)k * CANDIDATES_FACTOR, EF_MIN, group->node_count);
    bool late = asks && may_ask_late(group);

    for (;;) {
        struct index_beam beam = {.group = group,
                                  .visited = &scratch->visited,
                                  .list = &scratch->nearest,
                                  .accepted = asks && !late ? &scratch->accepted : NULL,
                                  .fresh = group->fresh,
                                  .bound = UINT64_MAX};
        uint64_t needed;
        if (asks)
            index_search_list_limit(&scratch->accepted, candidates);
        run_level_0(&beam, scratch, width);
        if (late)
            accept_nearest(scratch);
        outcome.usable = outcome.found->count;
        outcome.complete = beam.seen == group->node_count;
        if (!outcome.complete && asks) {
            uint32_t enough = inside(outcome.found, &scratch->nearest);
            outcome.complete = enough >= k && !is_cut_off(scratch);
            if (enough < k && late) {
                late = false;
                continue;
            }
            needed = wider(&beam, outcome.found->count, width, k, enough);
            if (!outcome.complete && needed <= widest && scratch->nearest.count == width &&
                needed * WIDTH_COST < scan_cost(group)) {
                width = (uint32_t)needed;
                continue;
            }
            if (!outcome.complete && scan_cost(group) < UINT64_MAX)
                return scan_level_0(scratch, k, ef);
            outcome.usable = enough >= k ? outcome.usable : enough;
        } else {
            outcome.complete = outcome.complete || outcome.usable >= k;
        }
        return outcome;
    }
}

bool index_uses_predicate_subgraph(uint64_t matching_rows, uint64_t rows)
{
    return matching_rows < rows / 2 && matching_rows > rows / SUBGRAPH_PART;
}

static bool is_sparse(const struct index_group_member *member)
{
    return member->matching &&
           index_uses_predicate_subgraph(member->matching_rows, member->segment->graph.count);
}

/* Items that are fresh at once, at most: what a few lead to, directly and through others, or what
 * a level is entered by. */
static uint32_t fresh_room(uint32_t m)
{
    uint32_t followed = INDEX_EXPANDED_TOGETHER * 2 * (2 * m) + 1,
             entered = INDEX_LEVEL_ROWS_MIN + 2 * BEAM_MAX;

    return followed > entered ? followed : entered;
}

/* Room for the nodes of all slots, numbered one segment after another. */
static void plan_group(struct index_scratch *scratch, const struct index_group_member *members,
                       uint32_t member_count)
{
    struct index_group *group = &scratch->group;
    uint32_t query_bytes = 0, nodes = 0, block = 0, at = 0, m = 0;

    for (uint32_t i = 0; i < member_count; i++) {
        const struct index_graph *graph = &members[i].segment->graph;
        nodes += (graph->count / INDEX_GROUP_BLOCK + 1) * INDEX_GROUP_BLOCK;
        query_bytes += index_quantiser_query_bytes(&graph->quantiser);
        m = graph->m > m ? graph->m : m;
        assert(nodes <= NODES_MAX || member_count == 1);
    }
    index_group_reserve(group, member_count, 2 * BEAM_MAX, nodes / INDEX_GROUP_BLOCK);
    index_group_reserve_fresh(
        group, member_count < INDEX_INTERLEAVED_MAX ? member_count : INDEX_INTERLEAVED_MAX,
        fresh_room(m));
    index_scratch_visited(scratch, nodes);
    index_scratch_query(scratch, query_bytes);
    group->slot_count = member_count;
    group->node_count = 0;
    group->scored = NULL;
    group->waits = index_waits_expected();
    for (uint32_t i = 0; i < member_count; i++) {
        const struct index_graph *graph = &members[i].segment->graph;
        uint32_t blocks = graph->count / INDEX_GROUP_BLOCK + 1;
        group->slots[i] = (struct index_group_slot){.graph = graph,
                                                    .member = &members[i],
                                                    .query = scratch->query + at,
                                                    .base = block * INDEX_GROUP_BLOCK,
                                                    .first_entry = i * 2 * BEAM_MAX,
                                                    .hidden = INDEX_NO_ROW,
                                                    .key_scale = 1,
                                                    .sparse = is_sparse(&members[i])};
        for (uint32_t j = 0; j < blocks; j++)
            group->owners[block++] = i;
        at += index_quantiser_query_bytes(&graph->quantiser);
        group->node_count += graph->count;
    }
}

/* In the only segment. One that is small enough to have no upper levels is entered by its node 0,
 * which therefore stays. */
static void hide_row(struct index_scratch *scratch, uint32_t row)
{
    struct index_group_slot *slot = &scratch->group.slots[0];

    for (uint32_t node = 0; node < slot->graph->count && slot->graph->level_count > 0; node++)
        if (slot->graph->rows[node] == row)
            slot->hidden = node;
}

/* The query in every segment's codes, once for segments that have the same codes for it. Keys of
 * all are brought to the scale of the first: returns what its key means. */
static float encode_queries(struct index_scratch *scratch, const float *query)
{
    struct index_group *group = &scratch->group;
    const struct index_group_slot *first = &group->slots[0];
    const struct index_quantiser *first_quantiser = &first->graph->quantiser;
    float per_key = index_quantiser_encode_query(first_quantiser, query, scratch->query);
    float zero = group->slot_count > 1 ? index_quantiser_key_zero(first_quantiser, query) : 0;

    for (uint32_t i = 1; i < group->slot_count; i++) {
        struct index_group_slot *slot = &group->slots[i];
        const struct index_quantiser *quantiser = &slot->graph->quantiser;
        float slot_per_key = 0;
        if (index_quantiser_shares_queries(quantiser, first_quantiser)) {
            slot->query = first->query;
            if (per_key != 0)
                slot_per_key = per_key * (quantiser->step / first_quantiser->step);
        } else {
            slot_per_key = index_quantiser_encode_query(
                quantiser, query, scratch->query + (slot->query - scratch->query));
        }
        if (per_key == 0)
            continue;
        slot->key_scale = slot_per_key / per_key;
        slot->key_shift = (index_quantiser_key_zero(quantiser, query) - zero) / per_key;
    }
    return per_key;
}

/* Whether next to none match as far as two links from the nearest way in. The few that there may be
 * are hits, and a walk over matching rows that is entered elsewhere would miss them. */
static bool is_far_from_matching(const struct index_group *group,
                                 const struct index_group_slot *slot)
{
    uint32_t nearest = group->entries[slot->first_entry] - slot->base;
    struct index_link_run run = index_links_of(&slot->graph->links, nearest);
    uint32_t looked_at = 0, matching = 0;

    for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits)
        index_links_prefetch(&slot->graph->links, index_link_at(&run, at));
    for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits)
        matching += matching_neighbours(slot, index_link_at(&run, at), &looked_at);
    return matching * FAR_PART < looked_at;
}

/* Whether the slot's walk goes over matching rows alone. Where hardly any lie near the query, a walk
 * over all rows has to become wide before it meets them. Over matching rows it gets there, entered
 * from all over the segment: groups of them have no way to each other near the query. */
static void choose_rows(const struct index_group *group, struct index_group_slot *slot)
{
    const struct index_group_member *member = slot->member;

    if (!member->matching || member->matching_rows <= slot->graph->count / SUBGRAPH_PART ||
        !is_thin_near(group, slot))
        return;
    slot->far = !group->scored && slot->hidden == INDEX_NO_ROW && is_far_from_matching(group, slot);
    slot->sparse = slot->far;
}

static void find_all_entries(struct index_scratch *scratch, uint32_t ef)
{
    struct index_group *group = &scratch->group;
    uint32_t beam_width = group->slot_count > 1
                              ? clamp(ef / BEAM_PART / group->slot_count, 1, BEAM_MAX)
                              : clamp(ef / BEAM_PART, BEAM_MIN, BEAM_MAX);

    for (uint32_t first = 0; first < group->slot_count; first += INDEX_INTERLEAVED_MAX) {
        uint32_t left = group->slot_count - first;
        find_entries(scratch, group->slots + first,
                     left < INDEX_INTERLEAVED_MAX ? left : INDEX_INTERLEAVED_MAX, beam_width);
    }
    for (uint32_t i = 0; i < group->slot_count; i++) {
        struct index_group_slot *slot = &group->slots[i];
        choose_rows(group, slot);
    }
}

static uint32_t width_of(const struct index_group *group, uint32_t ef)
{
    for (uint32_t i = 0; i < group->slot_count; i++)
        if (group->slots[i].far && is_sparse(group->slots[i].member))
            return clamp((uint64_t)(ef * FAR_WIDTH), ef, WIDTH_LIMIT > ef ? WIDTH_LIMIT : ef);
    return ef;
}

static struct vector_row vector_of_node(void *context, uint32_t node, struct error *error)
{
    const struct index_group_slot *slot = index_group_slot_of(context, node);

    return slot->member->vector(slot->member->vector_context, slot->graph->rows[node - slot->base],
                                error);
}

int index_graph_search(const struct index_group_member *members, uint32_t member_count,
                       const struct index_search *search, struct index_hit *hits,
                       uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                       struct error *error)
{
    struct index_scratch *scratch = index_scratch_get();
    struct index_search by_node = *search;
    const struct index_quantiser *quantiser;
    struct outcome outcome;
    uint32_t rows = 0, k, ef, least;
    struct error failure = {0};
    float score_per_key = 0;
    bool asks = false, is_half = false;
    int status;

    *hit_count = 0;
    *exhausted = true;
    for (uint32_t i = 0; i < member_count; i++) {
        rows += members[i].segment->graph.count;
        asks = asks || members[i].accept || members[i].matching;
        is_half = is_half || members[i].segment->graph.quantiser.kind == INDEX_CODE_HALF;
    }
    k = search->k < rows ? search->k : rows;
    if (k == 0)
        return 0;
    least = k + (is_half ? k / HALF_SPARE : 0);
    ef = clamp(search->ef > least ? search->ef : least, EF_MIN, rows > EF_MIN ? rows : EF_MIN);
    plan_group(scratch, members, member_count);
    if (search->hides && member_count == 1)
        hide_row(scratch, search->hidden_row);
    if (search->score) {
        scratch->group.scored = search;
        scratch->group.failure = &failure;
    } else {
        score_per_key = encode_queries(scratch, search->query);
    }
    if (search->scans && scan_cost(&scratch->group) < UINT64_MAX) {
        outcome = scan_level_0(scratch, k, ef);
    } else {
        find_all_entries(scratch, ef);
        outcome = search_level_0(scratch, k, width_of(&scratch->group, ef), asks);
    }
    if (failure.code != 0) {
        *error = failure;
        return failure.code;
    }
    *exhausted = outcome.complete;
    by_node.vector = vector_of_node;
    by_node.vector_context = &scratch->group;
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
        const struct index_group_slot *slot = index_group_slot_of(&scratch->group, hits[i].row);
        struct index_hit hit = {slot->graph->rows[hits[i].row - slot->base], hits[i].score};

        index_hit_append(hits, hit_members, i, hit, (uint32_t)(slot - scratch->group.slots));
    }
    return status;
}

/* Which of a walk's rows a row is: a hash table with room to spare. */
enum { WALK_SLOTS = 512 };
struct walk_rows {
    const struct index_walk *walk;
    uint8_t places[WALK_SLOTS]; /* of a row in the walk's, plus one; 0: none */
};

static void remember_rows(const struct index_walk *walk, struct walk_rows *rows)
{
    assert(walk->count < UINT8_MAX);
    *rows = (struct walk_rows){.walk = walk};
    for (uint32_t i = 0; i < walk->count; i++) {
        uint32_t slot = walk->hits[i].row % WALK_SLOTS;
        while (rows->places[slot] > 0)
            slot = (slot + 1) % WALK_SLOTS;
        rows->places[slot] = (uint8_t)(i + 1);
    }
}

/* walk->count: it is none of them. */
static uint32_t place_of(const struct walk_rows *rows, uint32_t row)
{
    uint32_t slot = row % WALK_SLOTS;

    while (rows->places[slot] > 0 && rows->walk->hits[rows->places[slot] - 1].row != row)
        slot = (slot + 1) % WALK_SLOTS;
    return rows->places[slot] > 0 ? rows->places[slot] - 1U : rows->walk->count;
}

/* Notes the depth at rows that are in the list since it was gone so far; returns how many are. At
 * the end of a search alone a row counts that is among the nearest ef by codes as well. */
static uint32_t look_for_rows(const struct walk_rows *rows, const struct index_graph *graph,
                              const struct index_search_list *list, uint32_t depth, bool at_end)
{
    const struct index_walk *walk = rows->walk;
    uint32_t count = 0;

    for (uint32_t at = 0; at < list->count; at++) {
        uint32_t i = place_of(rows, graph->rows[index_candidate_node(list->entries[at])]);
        if (i == walk->count)
            continue;
        count++;
        walk->met[i] = walk->met[i] < depth ? walk->met[i] : depth;
        if (at_end && walk->met[i] < at + 1)
            walk->met[i] = at + 1;
    }
    return count;
}

void index_graph_walk(const struct index_segment *segment, const struct index_walk *walk)
{
    struct index_scratch *scratch = index_scratch_get();
    const struct index_group_member member = {.segment = segment};
    struct index_beam beam = {.group = &scratch->group,
                              .slot = scratch->group.slots,
                              .visited = &scratch->visited,
                              .list = &scratch->nearest,
                              .bound = UINT64_MAX};
    struct walk_rows rows;

    remember_rows(walk, &rows);
    for (uint32_t i = 0; i < walk->count; i++)
        walk->met[i] = 2 * walk->width;
    plan_group(scratch, &member, 1);
    if (walk->hidden_row != INDEX_NO_ROW)
        hide_row(scratch, walk->hidden_row);
    (void)encode_queries(scratch, walk->query);
    find_entries(scratch, scratch->group.slots, 1, walk->one_of_many ? 1 : BEAM_MIN);
    index_visited_clear(&scratch->visited);
    index_search_list_limit(&scratch->nearest, walk->width);
    beam.slot = scratch->group.slots;
    beam.fresh = scratch->group.fresh;
    enter_slot(&beam);
    index_beam_start(&beam, 1);
    for (uint32_t depth = DEPTH_MIN; depth <= walk->width; depth += depth / 4) {
        beam.depth = depth;
        index_beam_run(&beam);
        if (look_for_rows(&rows, &segment->graph, beam.list, depth, false) == walk->count)
            break;
    }
    if (!walk->one_of_many)
        (void)look_for_rows(&rows, &segment->graph, beam.list, UINT32_MAX, true);
}
