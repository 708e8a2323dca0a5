/* Connectivity: pruning leaves a few rows without a way in, and tight groups without a way between
 * them or back.
 *
 * Invariant: from each row of a level, links lead to every other row. A search enters level 0 at
 * any row that the level above gave, and a filtered one anywhere, so reaching all rows from row 0
 * is not enough. When only that held, one seed in 150 of 98 rows in three clusters lost half of
 * its hits: the search entered a cluster that had a way in and none out.
 *
 * 1. Ways in. A row u that is not reachable from row 0 gets a link from a reachable row v. If v is
 *    full, its last link v -> w is spliced: v -> u, and u -> w takes u's last place. Whatever was
 *    reachable through v -> w still is, and what u's lost link led to is either reachable otherwise
 *    or will be found unreachable and linked in turn; the reachable set only grows, so this ends.
 * 2. Ways out. Among the strongly connected components (Tarjan 1972), one without a link to another
 *    is a dead end unless it holds row 0. Its last row u in breadth-first order from row 0 gets a
 *    link to a row v in the component of row 0, in place of its last link if it is full. No row is
 *    reached first through u: such rows would be in the same component and come behind u. So step 1
 *    still holds. What led to u still does, so the whole component has a way out. From every other
 *    component links lead to row 0's or to a dead end, so each row reaches row 0 now. */
#include <assert.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/level_build.h"

enum { ANCHOR_SAMPLE = 2048 }; /* reachable rows tried as the start of the way to v */

#define NO_COMPONENT UINT32_MAX

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

static void link_unreachable(struct repair *repair)
{
    reach(repair, 0);
    for (uint32_t row = 1; repair->queued < repair->codes->count; row++) {
        uint32_t anchor, replaced;
        if (repair->reached[row])
            continue;
        anchor = find_anchor(repair, row);
        replaced = put_link(repair, anchor, row);
        if (replaced != INDEX_NO_LINK)
            put_link(repair, row, replaced);
        reach(repair, row);
    }
}

/* A row in the depth-first search from row 0. */
struct visit {
    uint32_t number;    /* The order in which rows are met, from 1; 0: not met yet. */
    uint32_t low;       /* The least number of an unassigned row that the row is known to reach. */
    uint32_t next_link; /* The place of the link that is followed next. */
    uint32_t component; /* Assigned when the search leaves the component's first row. */
};

struct components {
    struct visit *visits; /* One for each row. */
    uint32_t *path;       /* Rows that the search is in, from row 0 on. */
    uint32_t *open;       /* Rows that were met and have no component, in the order of meeting. */
    uint32_t path_count, open_count, met_count;
    uint32_t count; /* Components. That of row 0 is the last, for it is left last. */
};

static void meet(struct components *components, uint32_t row)
{
    uint32_t number = ++components->met_count;

    components->visits[row] = (struct visit){number, number, 0, NO_COMPONENT};
    components->path[components->path_count++] = row;
    components->open[components->open_count++] = row;
}

/* All links of the row at the end of the path were followed. */
static void leave(struct components *components)
{
    struct visit *visits = components->visits;
    uint32_t row = components->path[--components->path_count], last;

    if (components->path_count > 0) {
        struct visit *before = &visits[components->path[components->path_count - 1]];
        before->low = visits[row].low < before->low ? visits[row].low : before->low;
    }
    if (visits[row].low < visits[row].number)
        return;
    do {
        last = components->open[--components->open_count];
        visits[last].component = components->count;
    } while (last != row);
    components->count++;
}

/* Every row is reachable from row 0, so one search meets all. */
static void find_components(const struct repair *repair, struct components *components)
{
    struct visit *visits = components->visits;

    meet(components, 0);
    while (components->path_count > 0) {
        uint32_t row = components->path[components->path_count - 1], place, to;
        place = visits[row].next_link++;
        to = place < repair->degree ? links_of(repair, row)[place] : INDEX_NO_LINK;
        if (to == INDEX_NO_LINK)
            leave(components);
        else if (visits[to].number == 0)
            meet(components, to);
        else if (visits[to].component == NO_COMPONENT && visits[to].number < visits[row].low)
            visits[row].low = visits[to].number;
    }
    assert(components->met_count == repair->codes->count && components->open_count == 0);
}

/* The last row in breadth-first order of each component that is a dead end; INDEX_NO_LINK for the
 * others. */
static uint32_t *find_dead_ends(struct repair *repair, const struct components *components)
{
    uint32_t *ends = index_allocate(components->count, sizeof(uint32_t));

    memset(repair->reached, 0, repair->codes->count);
    repair->queued = 0;
    reach(repair, 0);
    for (uint32_t i = 0; i < repair->queued; i++)
        ends[components->visits[repair->queue[i]].component] = repair->queue[i];
    for (uint32_t row = 0; row < repair->codes->count; row++) {
        const uint32_t *links = links_of(repair, row);
        uint32_t component = components->visits[row].component;
        for (uint32_t i = 0; i < repair->degree && links[i] != INDEX_NO_LINK; i++)
            if (components->visits[links[i]].component != component)
                ends[component] = INDEX_NO_LINK;
    }
    ends[components->count - 1] = INDEX_NO_LINK;
    return ends;
}

/* From here on `reached` means rows that reach row 0: those of its component, then dead ends that
 * were linked. */
static void link_dead_ends(struct repair *repair, const struct components *components)
{
    uint32_t *ends = find_dead_ends(repair, components);

    memset(repair->reached, 0, repair->codes->count);
    repair->queued = 0;
    for (uint32_t row = 0; row < repair->codes->count; row++)
        if (components->visits[row].component == components->count - 1) {
            repair->reached[row] = 1;
            repair->queue[repair->queued++] = row;
        }
    for (uint32_t i = 0; i < components->count; i++)
        if (ends[i] != INDEX_NO_LINK) {
            put_link(repair, ends[i], find_anchor(repair, ends[i]));
            reach(repair, ends[i]);
        }
    free(ends);
}

static void link_components(struct repair *repair)
{
    uint32_t count = repair->codes->count;
    struct components components = {
        .visits = index_allocate_zeroed(count, sizeof(struct visit)),
        .path = index_allocate(count, sizeof(uint32_t)),
        .open = index_allocate(count, sizeof(uint32_t)),
    };

    find_components(repair, &components);
    if (components.count > 1)
        link_dead_ends(repair, &components);
    free(components.visits);
    free(components.path);
    free(components.open);
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
    link_unreachable(&repair);
    link_components(&repair);
    free(repair.reached);
    free(repair.queue);
}
