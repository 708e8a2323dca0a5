/* Looking at the codes of all rows that may match, where that is cheaper than a walk: few rows match,
 * or those that do lie far from the query, or the graphs are many and small.
 *
 * Nodes lie in an order that keeps neighbours together, so codes of rows that match because of what
 * they are lie together, too. Rows before the limit go to a reservoir of twice as many as are kept;
 * when it is full, the better half stays and the limit falls. */
#include "indexer/index/beam_search.h"
#include "indexer/index/kernels.h"
#include "indexer/index/rerank.h"

enum {
    WORD_NODES = 32,    /* looked at together */
    PENDING_NODES = 64, /* whose codes are on the way, at most */
    KEYS = 4            /* computed together */
};

struct graph_scan {
    const struct index_group *group;
    const struct index_group_slot *slot;
    struct index_search_list *list;
    uint32_t keep;
    uint64_t limit; /* candidates at or above it are not among the nearest */
    uint32_t pending[PENDING_NODES];
    uint32_t pending_count;
};

static void shrink(struct graph_scan *scan)
{
    struct index_search_list *list = scan->list;

    index_entries_select(list->entries, list->count, scan->keep);
    list->count = scan->keep;
    scan->limit = 0;
    for (uint32_t i = 0; i < list->count; i++)
        scan->limit = list->entries[i] > scan->limit ? list->entries[i] : scan->limit;
}

static void offer(struct graph_scan *scan, uint32_t node, int32_t key)
{
    const struct index_group_member *member = scan->slot->member;
    uint64_t candidate = index_candidate(key, scan->slot->base + node);

    if (candidate >= scan->limit ||
        (member->accept && !member->accept(member->accept_context, scan->slot->graph->rows[node])))
        return;
    scan->list->entries[scan->list->count++] = candidate;
    if (scan->list->count == scan->list->limit)
        shrink(scan);
}

static const uint8_t *codes_of(const struct graph_scan *scan, uint32_t node)
{
    const struct index_graph *graph = scan->slot->graph;

    return graph->codes + (size_t)node * graph->quantiser.stride;
}

/* The first `count` that wait. */
static void score_pending(struct graph_scan *scan, uint32_t count)
{
    for (uint32_t i = 0; i < count; i += KEYS) {
        uint32_t filled = count - i < KEYS ? count - i : KEYS;
        const uint8_t *rows[KEYS];
        int32_t keys[KEYS];
        for (uint32_t j = 0; j < KEYS; j++)
            rows[j] = codes_of(scan, scan->pending[i + (j < filled ? j : 0)]);
        index_slot_keys_4(scan->slot, rows, keys);
        for (uint32_t j = 0; j < filled; j++)
            offer(scan, scan->pending[i + j], keys[j]);
    }
    for (uint32_t i = count; i < scan->pending_count; i++)
        scan->pending[i - count] = scan->pending[i];
    scan->pending_count -= count;
}

static void add_pending(struct graph_scan *scan, uint32_t first, uint32_t mask)
{
    for (; mask; mask &= mask - 1) {
        uint32_t node = first + (uint32_t)__builtin_ctz(mask);
        const uint8_t *codes = codes_of(scan, node);
        for (uint32_t i = 0; i < scan->slot->graph->quantiser.stride; i += INDEX_CODE_ALIGN)
            __builtin_prefetch(codes + i);
        scan->pending[scan->pending_count++] = node;
    }
}

static void scan_slot(struct graph_scan *scan)
{
    const struct index_graph *graph = scan->slot->graph;
    const uint64_t *matching = scan->slot->member->matching;

    for (uint32_t first = 0; first < graph->count; first += WORD_NODES) {
        uint32_t left = graph->count - first;
        uint32_t mask = left < WORD_NODES ? (UINT32_C(1) << left) - 1 : UINT32_MAX;
        if (matching && left >= WORD_NODES)
            mask = index_kernels()->rows_marked(graph->rows + first, matching, mask);
        for (uint32_t i = 0; matching && left < WORD_NODES && i < left; i++)
            if (!index_is_matching(scan->slot, first + i))
                mask &= ~(UINT32_C(1) << i);
        add_pending(scan, first, mask);
        if (scan->pending_count >= PENDING_NODES - WORD_NODES)
            score_pending(scan, scan->pending_count / KEYS * KEYS);
    }
    score_pending(scan, scan->pending_count);
}

void index_graph_scan(struct index_scratch *scratch, uint32_t keep)
{
    struct graph_scan scan = {
        .group = &scratch->group, .list = &scratch->nearest, .keep = keep, .limit = UINT64_MAX};

    index_search_list_limit(scan.list, 2 * keep);
    for (uint32_t i = 0; i < scan.group->slot_count; i++) {
        scan.slot = &scan.group->slots[i];
        scan_slot(&scan);
    }
    if (scan.list->count > keep)
        shrink(&scan);
    index_entries_sort(scan.list->entries, scan.list->count);
}
