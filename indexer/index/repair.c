/* Connectivity: pruning leaves a few rows without a way in, and tight groups without a way between
 * them.
 *
 * A row u that is not reachable from row 0 gets a link from a reachable row v. If v is full, its
 * last link v -> w is spliced: v -> u, and u -> w takes u's last place. Whatever was reachable
 * through v -> w still is, and what u's lost link led to is either reachable otherwise or will be
 * found unreachable and linked in turn; the reachable set only grows, so this ends. */
#include <assert.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/level_build.h"

enum { ANCHOR_SAMPLE = 2048 }; /* reachable rows tried as the start of the way to v */

struct repair {
    const struct index_codes *codes;
    uint32_t degree;
    uint32_t *links;
    uint8_t *reached;
    uint32_t *queue; /* reached rows in the order they were reached */
    uint32_t queued;
};

static uint32_t *links_of(const struct repair *repair, uint32_t row)
{
    return repair->links + (size_t)row * repair->degree;
}

static void reach(struct repair *repair, uint32_t from)
{
    uint32_t next = repair->queued;

    repair->reached[from] = 1;
    repair->queue[repair->queued++] = from;
    for (; next < repair->queued; next++) {
        const uint32_t *links = links_of(repair, repair->queue[next]);
        for (uint32_t i = 0; i < repair->degree && links[i] != INDEX_NO_LINK; i++)
            if (!repair->reached[links[i]]) {
                repair->reached[links[i]] = 1;
                repair->queue[repair->queued++] = links[i];
            }
    }
}

static int32_t key_between(const struct repair *repair, uint32_t a, uint32_t b)
{
    return index_codes_key(repair->codes, index_codes_row(repair->codes, a),
                           index_codes_row(repair->codes, b));
}

static uint32_t nearer(const struct repair *repair, uint32_t to, uint32_t best, int32_t *best_key,
                       uint32_t candidate)
{
    int32_t key;

    if (!repair->reached[candidate])
        return best;
    key = key_between(repair, to, candidate);
    if (key >= *best_key)
        return best;
    *best_key = key;
    return candidate;
}

/* A reachable row near `row`: one that it links to itself, else the end of a greedy search. */
static uint32_t find_anchor(const struct repair *repair, uint32_t row)
{
    const uint32_t *links = links_of(repair, row);
    uint32_t step = repair->queued / ANCHOR_SAMPLE + 1;
    uint32_t best = INDEX_NO_LINK, before;
    int32_t best_key = INT32_MAX;

    for (uint32_t i = 0; i < repair->degree && links[i] != INDEX_NO_LINK; i++)
        best = nearer(repair, row, best, &best_key, links[i]);
    if (best != INDEX_NO_LINK)
        return best;
    for (uint32_t i = 0; i < repair->queued; i += step)
        best = nearer(repair, row, best, &best_key, repair->queue[i]);
    if (best == INDEX_NO_LINK) /* every distance is beyond the largest key: any row will do */
        return repair->queue[0];
    do {
        links = links_of(repair, best);
        before = best;
        for (uint32_t i = 0; i < repair->degree && links[i] != INDEX_NO_LINK; i++)
            best = nearer(repair, row, best, &best_key, links[i]);
    } while (best != before);
    return best;
}

/* Puts `to` in the first free place, or in the last; returns the link that was there. */
static uint32_t put_link(struct repair *repair, uint32_t from, uint32_t to)
{
    uint32_t *links = links_of(repair, from);
    uint32_t last = 0, former;

    while (last < repair->degree - 1 && links[last] != INDEX_NO_LINK && links[last] != to)
        last++;
    former = links[last];
    links[last] = to;
    return former == to ? INDEX_NO_LINK : former;
}

void index_repair_links(const struct index_codes *codes, uint32_t degree, uint32_t *links)
{
    struct repair repair = {
        .codes = codes,
        .degree = degree,
        .links = links,
        .reached = index_allocate_zeroed(codes->count, 1),
        .queue = index_allocate(codes->count, sizeof(uint32_t)),
    };

    assert(degree >= 2);
    reach(&repair, 0);
    for (uint32_t row = 1; repair.queued < codes->count; row++) {
        uint32_t anchor, replaced;
        if (repair.reached[row])
            continue;
        anchor = find_anchor(&repair, row);
        replaced = put_link(&repair, anchor, row);
        if (replaced != INDEX_NO_LINK)
            put_link(&repair, row, replaced);
        reach(&repair, row);
    }
    free(repair.reached);
    free(repair.queue);
}
