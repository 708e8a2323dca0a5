/* A walk waits for the codes of the nodes that it meets, some hundred to two thousand of them. With
 * half the bytes it waits less, and the order of distances hardly changes: errors of many dimensions
 * cancel each other. The exact order comes from the float32 vectors in any case.
 *
 * Levels are those of Lloyd (1982): each code goes to the nearest level, each level to the mean of
 * its codes, until nothing moves. They are one table for all dimensions, because a code's place
 * within its dimension is what `low` already took away.
 *
 * Whether neighbours survive is asked where it matters, among rows that are close to each other: the
 * nearest few of what a node's links lead to in two steps. Of 1280 neighbours all but 4 do on
 * changelog-384 and all on fashion-784; on sift200k-128, where half codes lost .01 of the recall at
 * the same ef, 1207 do. */
#include "indexer/index/half_codes.h"

#include <stdlib.h>
#include <string.h>

#include "indexer/index/build_tools.h"

enum {
    CODES = INDEX_CODE_MAX + 1,
    HISTOGRAM_ROWS = 4096, /* that levels are fitted to */
    LLOYD_ROUNDS = 100,
    SAVED_LINES_MIN = 2,   /* cache lines a row: with one less, searches were no faster */
    CHECK_NODES = 128,     /* do the nearest neighbours survive? */
    CHECK_NEAREST = 10,    /* by codes of 7 bits ... */
    CHECK_CANDIDATES = 14, /* ... among so many by half codes */
    CHECK_ROWS = 1024,     /* that are looked at for a node, at most */
    HALVE_GRAIN = 512
};
static const double check_floor = 0.98;

/* How often each code occurs. */
static void count_codes(const struct index_graph *graph, uint64_t counts[CODES])
{
    uint32_t dimensions = graph->quantiser.dim + graph->quantiser.extra_dim;
    uint32_t step = graph->count / HISTOGRAM_ROWS + 1;

    memset(counts, 0, CODES * sizeof(*counts));
    for (uint32_t node = 0; node < graph->count; node += step) {
        const uint8_t *codes = graph->codes + (size_t)node * graph->quantiser.stride;
        for (uint32_t d = 0; d < dimensions; d++)
            counts[codes[d]]++;
    }
}

static uint32_t nearest_level(const uint8_t levels[INDEX_HALF_LEVELS], int code)
{
    uint32_t best = 0;

    for (uint32_t i = 1; i < INDEX_HALF_LEVELS; i++)
        if (abs(levels[i] - code) < abs(levels[best] - code))
            best = i;
    return best;
}

/* Moves each level to the mean of its codes; false: none moved. */
static bool move_levels(const uint64_t counts[CODES], uint8_t levels[INDEX_HALF_LEVELS])
{
    uint64_t sums[INDEX_HALF_LEVELS] = {0}, totals[INDEX_HALF_LEVELS] = {0};
    bool moved = false;

    for (int code = 0; code < CODES; code++) {
        uint32_t level = nearest_level(levels, code);
        sums[level] += counts[code] * (uint64_t)code;
        totals[level] += counts[code];
    }
    for (uint32_t i = 0; i < INDEX_HALF_LEVELS; i++) {
        uint64_t mean = totals[i] > 0 ? (sums[i] + totals[i] / 2) / totals[i] : levels[i];
        moved = moved || mean != levels[i];
        levels[i] = (uint8_t)mean;
    }
    return moved;
}

void index_half_levels(const struct index_graph *graph, uint8_t levels[INDEX_HALF_LEVELS])
{
    uint64_t counts[CODES];
    bool moves = true;
    int low = 0, high = CODES - 1;

    count_codes(graph, counts);
    while (low < high && counts[low] == 0)
        low++;
    while (high > low && counts[high] == 0)
        high--;
    for (int i = 0; i < INDEX_HALF_LEVELS; i++)
        levels[i] = (uint8_t)(low + ((high - low) * (2 * i + 1)) / (2 * INDEX_HALF_LEVELS));
    for (int round = 0; round < LLOYD_ROUNDS && moves; round++)
        moves = move_levels(counts, levels);
}

/* Half codes for each code, in the lower and in the upper half of a byte. */
struct half_table {
    uint8_t lower[CODES], upper[CODES];
};

static void fill_table(const uint8_t levels[INDEX_HALF_LEVELS], struct half_table *table)
{
    for (int code = 0; code < CODES; code++) {
        table->lower[code] = (uint8_t)nearest_level(levels, code);
        table->upper[code] = (uint8_t)(table->lower[code] << 4);
    }
}

static void halve_row(const uint8_t *codes, uint32_t stride, const struct half_table *table,
                      uint8_t *halves)
{
    for (uint32_t d = 0; d < stride; d += INDEX_HALF_BLOCK, halves += INDEX_CODE_ALIGN) {
        const uint8_t *lower = codes + d, *upper = lower + INDEX_CODE_ALIGN;
        if (d + INDEX_CODE_ALIGN < stride)
            for (uint32_t i = 0; i < INDEX_CODE_ALIGN; i++)
                halves[i] = table->lower[lower[i]] | table->upper[upper[i]];
        else
            for (uint32_t i = 0; i < INDEX_CODE_ALIGN; i++)
                halves[i] = table->lower[lower[i]];
    }
}

void index_halve_row(const uint8_t *codes, uint32_t stride, const uint8_t levels[INDEX_HALF_LEVELS],
                     uint8_t *halves)
{
    struct half_table table;

    fill_table(levels, &table);
    halve_row(codes, stride, &table, halves);
}

struct halving {
    const struct index_graph *graph;
    const struct half_table *table;
    uint32_t stride; /* of half codes */
    uint8_t *halves; /* count x stride */
};

static void halve_rows(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    const struct halving *halving = context;
    uint32_t stride = halving->graph->quantiser.stride;

    (void)thread;
    for (uint32_t node = first; node < end; node++)
        halve_row(halving->graph->codes + (size_t)node * stride, stride, halving->table,
                  halving->halves + (size_t)node * halving->stride);
}

static int compare_nodes(const void *a, const void *b)
{
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

    return left < right ? -1 : left > right;
}

/* What a node's links lead to in one or two steps, each once and without itself. */
static uint32_t nodes_around(const uint32_t *links, uint32_t degree, uint32_t distinct,
                             uint32_t node, uint32_t nodes[CHECK_ROWS])
{
    const uint32_t *own = links + (size_t)node * degree;
    uint32_t count = index_links_used(own, degree),
             direct = count < CHECK_ROWS ? count : CHECK_ROWS;
    uint32_t kept = 0;

    memcpy(nodes, own, direct * sizeof(*nodes));
    count = direct;
    for (uint32_t i = 0; i < direct; i++) {
        const uint32_t *next = links + (size_t)own[i] * degree;
        for (uint32_t j = 0; j < degree && next[j] != INDEX_NO_LINK && count < CHECK_ROWS; j++)
            nodes[count++] = next[j];
    }
    qsort(nodes, count, sizeof(*nodes), compare_nodes);
    for (uint32_t i = 0; i < count; i++)
        if (nodes[i] != node && nodes[i] < distinct && (kept == 0 || nodes[kept - 1] != nodes[i]))
            nodes[kept++] = nodes[i];
    return kept;
}

struct check {
    const struct index_codes *codes, *halves;
    const uint8_t *levels;
    uint8_t *query;  /* a row's codes as half codes are compared with */
    uint32_t wanted; /* neighbours */
    uint32_t found;
};

/* How many of the nearest by codes are among a few more by half codes. */
static void check_node(struct check *check, uint32_t node, const uint32_t *nodes, uint32_t count)
{
    const struct index_kernels *kernels = index_kernels();
    const uint8_t *codes = index_codes_row(check->codes, node);
    int32_t exact[CHECK_ROWS], coarse[CHECK_ROWS];
    uint64_t nearest[CHECK_NEAREST], candidates[CHECK_CANDIDATES];
    uint32_t wanted, offered, found = 0;

    memcpy(check->query, codes, check->codes->stride);
    for (uint32_t i = 0; i < count; i += 4) {
        const uint8_t *rows[4], *half_rows[4];
        int32_t keys[4], half_keys[4];
        uint32_t filled = count - i < 4 ? count - i : 4;
        for (uint32_t j = 0; j < 4; j++) {
            rows[j] = index_codes_row(check->codes, nodes[i + (j < filled ? j : 0)]);
            half_rows[j] = index_codes_row(check->halves, nodes[i + (j < filled ? j : 0)]);
        }
        kernels->code_l2_4(codes, rows, check->codes->stride, keys);
        kernels->half_l2_4(check->query, half_rows, check->halves->stride, check->levels,
                           half_keys);
        memcpy(exact + i, keys, filled * sizeof(*keys));
        memcpy(coarse + i, half_keys, filled * sizeof(*keys));
    }
    wanted = kernels->smallest(exact, count, CHECK_NEAREST, nearest);
    offered = kernels->smallest(coarse, count, CHECK_CANDIDATES, candidates);
    for (uint32_t i = 0; i < offered && wanted > 0; i++)
        found +=
            exact[index_neighbour_row(candidates[i])] <= index_neighbour_key(nearest[wanted - 1]);
    check->wanted += wanted;
    check->found += found < wanted ? found : wanted;
}

static bool neighbours_survive(const struct index_codes *codes, const struct index_codes *halves,
                               const uint8_t *levels, const uint32_t *links, uint32_t degree,
                               uint32_t distinct)
{
    struct check check = {.codes = codes, .halves = halves, .levels = levels};
    uint32_t nodes[CHECK_ROWS], samples = distinct < CHECK_NODES ? distinct : CHECK_NODES;

    check.query = index_allocate(2, halves->stride);
    memset(check.query, levels[0], (size_t)2 * halves->stride);
    for (uint32_t i = 0; i < samples; i++) {
        uint32_t node = (uint32_t)((uint64_t)i * distinct / samples);
        check_node(&check, node, nodes, nodes_around(links, degree, distinct, node, nodes));
    }
    free(check.query);
    return check.found >= check.wanted * check_floor;
}

bool index_halve_codes(struct index_graph *graph, const uint32_t *links, uint32_t degree,
                       uint32_t distinct, struct thread_team *team)
{
    struct index_quantiser *quantiser = &graph->quantiser;
    struct halving halving = {.graph = graph};
    struct index_codes codes, halves;
    struct half_table table;
    uint8_t levels[INDEX_HALF_LEVELS];

    halving.stride = index_code_stride(INDEX_CODE_HALF, quantiser->dim + quantiser->extra_dim);
    if (quantiser->kind != INDEX_CODE_INT7 ||
        halving.stride + SAVED_LINES_MIN * INDEX_CODE_ALIGN > quantiser->stride)
        return true;
    index_half_levels(graph, levels);
    fill_table(levels, &table);
    halving.table = &table;
    halving.halves = index_allocate(graph->count, halving.stride);
    if (!thread_team_for(team, graph->count, HALVE_GRAIN, halve_rows, &halving)) {
        free(halving.halves);
        return false;
    }
    codes = (struct index_codes){INDEX_CODE_INT7, quantiser->stride, graph->count, graph->codes};
    halves = (struct index_codes){INDEX_CODE_HALF, halving.stride, graph->count, halving.halves};
    if (!neighbours_survive(&codes, &halves, levels, links, degree, distinct)) {
        free(halving.halves);
        return true;
    }
    free((void *)graph->codes);
    graph->codes = halving.halves;
    quantiser->kind = INDEX_CODE_HALF;
    quantiser->stride = halving.stride;
    memcpy(quantiser->levels, levels, sizeof(levels));
    return true;
}
