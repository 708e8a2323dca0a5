/* Building: codes, duplicates apart, neighbourhood order, level 0, duplicates back, levels above.
 *
 * Rows with equal codes cannot be told apart by the graph, and thousands of them would fill every
 * link and pool with each other. One of them stands for all in the graph; the others hang below it
 * as a tree, which a search reaches through it. */
#include <assert.h>
#include <xxhash.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/graph.h"
#include "indexer/index/half_codes.h"
#include "indexer/index/level_build.h"

enum {
    M_MIN = 4,
    M_MAX = 128,
    EF_MIN = 16,
    EF_MAX = 2000,
    /* Upper levels are small, and have to lead from group to group: there, candidates must reach
     * beyond the own group. With fewer, searches among tight groups lost one query in seventy. */
    UPPER_EF_CONSTRUCT = 1024,
    TWIN_LINKS = 4, /* of a node's links, for the tree of its equals */
    ENCODE_GRAIN = 512
};

struct build {
    const float *vectors;
    uint32_t count;
    const struct index_build_options *options;
    struct index_graph graph;
    struct index_outliers outliers;
    struct index_level_options level_options;
    uint8_t *row_codes;    /* count x stride, in row order */
    uint32_t *rows;        /* of the nodes; first `distinct` nodes, then their equals */
    uint32_t *first_equal; /* row: the row whose codes it repeats, or itself */
    uint32_t distinct;
    uint8_t *codes; /* in node order */
    uint32_t *links;
};

static void encode_rows(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    struct build *build = context;
    const struct index_quantiser *quantiser = &build->graph.quantiser;

    (void)thread;
    for (uint32_t row = first; row < end; row++) {
        uint32_t from = index_outliers_stand_in(&build->outliers, row);
        index_quantiser_encode(quantiser, build->vectors + (size_t)from * quantiser->dim,
                               build->row_codes + (size_t)row * quantiser->stride);
    }
}

static const uint8_t *row_code(const struct build *build, uint32_t row)
{
    return build->row_codes + (size_t)row * build->graph.quantiser.stride;
}

/* An open hash table of rows; `rows` receives the distinct ones, in order. */
static void find_equals(struct build *build)
{
    uint32_t stride = build->graph.quantiser.stride;
    size_t slots = 16;
    uint32_t *table;

    while (slots < (size_t)build->count * 2)
        slots *= 2;
    table = index_allocate(slots, sizeof(uint32_t));
    memset(table, 0xff, slots * sizeof(uint32_t));
    build->distinct = 0;
    for (uint32_t row = 0; row < build->count; row++) {
        size_t at = XXH3_64bits(row_code(build, row), stride) & (slots - 1);
        while (table[at] != UINT32_MAX &&
               memcmp(row_code(build, table[at]), row_code(build, row), stride) != 0)
            at = (at + 1) & (slots - 1);
        if (table[at] == UINT32_MAX) {
            table[at] = row;
            build->rows[build->distinct++] = row;
        }
        build->first_equal[row] = table[at];
    }
    free(table);
}

/* Moves the distinct rows' codes to the front of `codes`, in the order of `rows`. */
static void gather_codes(struct build *build, uint32_t first, uint32_t end)
{
    uint32_t stride = build->graph.quantiser.stride;

    for (uint32_t node = first; node < end; node++)
        memcpy(build->codes + (size_t)node * stride, row_code(build, build->rows[node]), stride);
}

static struct index_codes codes_view(const struct build *build, uint32_t count)
{
    return (struct index_codes){build->graph.quantiser.kind, build->graph.quantiser.stride, count,
                                build->codes};
}

static bool order_rows(struct build *build)
{
    struct index_codes view;
    uint32_t *order = index_allocate(build->distinct, sizeof(uint32_t));
    bool done;

    gather_codes(build, 0, build->distinct);
    view = codes_view(build, build->distinct);
    done = index_neighbourhood_order(&view, &build->level_options, order);
    if (done) {
        for (uint32_t i = 0; i < build->distinct; i++)
            order[i] = build->rows[order[i]];
        memcpy(build->rows, order, build->distinct * sizeof(uint32_t));
        gather_codes(build, 0, build->distinct);
    }
    free(order);
    return done;
}

/* Counting sort of the repeated rows behind the distinct ones, by the node that stands for them.
 * Returns, for each distinct node, where its equals start; one more entry at the end. */
static uint32_t *place_equals(struct build *build)
{
    uint32_t *node_of = index_allocate(build->count, sizeof(uint32_t));
    uint32_t *starts = index_allocate_zeroed((size_t)build->distinct + 2, sizeof(uint32_t));

    for (uint32_t node = 0; node < build->distinct; node++)
        node_of[build->rows[node]] = node;
    for (uint32_t row = 0; row < build->count; row++)
        if (build->first_equal[row] != row)
            starts[node_of[build->first_equal[row]] + 2]++;
    starts[0] = starts[1] = build->distinct;
    for (uint32_t node = 0; node < build->distinct; node++)
        starts[node + 2] += starts[node + 1];
    for (uint32_t row = 0; row < build->count; row++)
        if (build->first_equal[row] != row)
            build->rows[starts[node_of[build->first_equal[row]] + 1]++] = row;
    free(node_of);
    return starts;
}

/* A tree in breadth-first order: the node has up to TWIN_LINKS children among its equals, each of
 * them up to degree - 1, and every child links to its parent. */
static void hang_equals(struct build *build, uint32_t node, uint32_t first, uint32_t end)
{
    uint32_t degree = 2 * build->graph.m;
    uint32_t *links = build->links + (size_t)node * degree;
    uint32_t children = end - first < TWIN_LINKS ? end - first : TWIN_LINKS;
    uint32_t used = index_links_used(links, degree - children), next = first;

    for (uint32_t i = 0; i < children; i++)
        links[used + i] = next++;
    for (uint32_t i = used + children; i < degree; i++)
        links[i] = INDEX_NO_LINK;
    for (uint32_t equal = first; equal < end; equal++)
        build->links[(size_t)equal * degree] = node;
    for (uint32_t parent = first; next < end; parent++) {
        links = build->links + (size_t)parent * degree;
        for (uint32_t i = 1; i < degree && next < end; i++, next++) {
            links[i] = next;
            build->links[(size_t)next * degree] = parent;
        }
    }
}

static void attach_equals(struct build *build)
{
    uint32_t degree = 2 * build->graph.m;
    uint32_t *starts = place_equals(build);
    struct index_codes view = codes_view(build, build->count);

    gather_codes(build, build->distinct, build->count);
    for (size_t i = (size_t)build->distinct * degree; i < (size_t)build->count * degree; i++)
        build->links[i] = INDEX_NO_LINK;
    for (uint32_t node = 0; node < build->distinct; node++)
        if (starts[node + 1] > starts[node])
            hang_equals(build, node, starts[node], starts[node + 1]);
    free(starts);
    index_repair_links(&view, degree, build->links);
}

/* One item of every INDEX_LEVEL_RATIO, at a random place among them: neighbours lie together, so
 * every neighbourhood is represented. */
static bool build_level(struct build *build, uint32_t below_count, const uint32_t *below_nodes,
                        struct index_level *level)
{
    uint32_t count = below_count / INDEX_LEVEL_RATIO, stride = build->graph.quantiser.stride;
    uint32_t *nodes = index_allocate(count, sizeof(uint32_t));
    uint32_t *below = index_allocate(count, sizeof(uint32_t));
    uint32_t *links = index_allocate((size_t)count * build->graph.m, sizeof(uint32_t));
    uint8_t *codes = index_allocate(count, stride);
    struct index_codes view = {build->graph.quantiser.kind, stride, count, codes};
    struct index_level_options options = build->level_options;
    uint64_t state = build->level_options.seed ^ below_count;
    bool done;

    options.degree = build->graph.m;
    options.progress = NULL;
    options.ef_construct = UPPER_EF_CONSTRUCT;
    for (uint32_t i = 0; i < count; i++) {
        below[i] = i * INDEX_LEVEL_RATIO + (uint32_t)(index_random(&state) % INDEX_LEVEL_RATIO);
        nodes[i] = below_nodes ? below_nodes[below[i]] : below[i];
        memcpy(codes + (size_t)i * stride, build->codes + (size_t)nodes[i] * stride, stride);
    }
    *level = (struct index_level){count, nodes, below, links};
    done = index_level_build(&view, &options, links);
    free(codes);
    return done;
}

static bool build_levels(struct build *build)
{
    struct index_graph *graph = &build->graph;
    uint32_t count = build->distinct;
    const uint32_t *nodes = NULL;

    while (count > INDEX_LEVEL_ROWS_MIN && graph->level_count < INDEX_LEVELS_MAX) {
        struct index_level *level = &graph->levels[graph->level_count++];
        if (!build_level(build, count, nodes, level))
            return false;
        count = level->count;
        nodes = level->nodes;
    }
    return true;
}

static void report(void *context, double part)
{
    const struct build *build = context;

    build->options->progress(build->options->progress_context, (uint32_t)(part * build->count),
                             build->count);
}

static bool run(struct build *build)
{
    struct index_codes view;

    if (!thread_team_for(&build->level_options.team, build->count, ENCODE_GRAIN, encode_rows,
                         build))
        return false;
    find_equals(build);
    if (!order_rows(build))
        return false;
    view = codes_view(build, build->distinct);
    if (!index_level_build(&view, &build->level_options, build->links))
        return false;
    if (build->distinct < build->count)
        attach_equals(build);
    if (!build_levels(build))
        return false;
    free(build->row_codes); /* half codes take their place */
    build->row_codes = NULL;
    return index_halve_codes(&build->graph, build->links, build->level_options.degree,
                             build->distinct, &build->level_options.team);
}

static void graph_free(struct index_graph *graph)
{
    for (uint32_t i = 0; i < graph->level_count; i++) {
        free((void *)graph->levels[i].nodes);
        free((void *)graph->levels[i].below);
        free((void *)graph->levels[i].links);
    }
    free((void *)graph->codes);
    free((void *)graph->rows);
    index_quantiser_destroy(&graph->quantiser);
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high)
{
    return value < low ? low : value > high ? high : value;
}

static struct index_level_options level_options_of(const struct index_build_options *options)
{
    return (struct index_level_options){
        .degree = 2 * clamp(options->m, M_MIN, M_MAX),
        .ef_construct = clamp(options->ef_construct, EF_MIN, EF_MAX),
        .team.threads = options->thread_count,
        .seed = options->seed,
    };
}

/* Codes twice, in the order of rows and of nodes; two names for every row; links. */
static uint64_t bytes_of(uint32_t count, uint32_t stride,
                         const struct index_level_options *level_options)
{
    return count *
               ((uint64_t)2 * stride + (2 + (uint64_t)level_options->degree) * sizeof(uint32_t)) +
           index_level_build_bytes(count, stride, level_options);
}

uint64_t index_hnsw_build_bytes(uint32_t count, const struct index_build_options *options)
{
    struct index_level_options level_options = level_options_of(options);

    return bytes_of(count, index_quantiser_stride(options->dim), &level_options);
}

static int build_create(struct build *build, const float *vectors, uint32_t count,
                        const struct index_build_options *options, struct error *error)
{
    struct index_graph *graph = &build->graph;
    uint64_t bytes;
    size_t stride;

    *build = (struct build){.vectors = vectors, .count = count, .options = options};
    index_outliers_find(vectors, count, options->dim, &build->outliers);
    index_quantiser_train(&graph->quantiser, options->metric, vectors, count, options->dim,
                          &build->outliers);
    stride = graph->quantiser.stride;
    graph->count = count;
    graph->m = clamp(options->m, M_MIN, M_MAX);
    graph->ef_construct = clamp(options->ef_construct, EF_MIN, EF_MAX);
    build->level_options = level_options_of(options);
    build->level_options.progress = options->progress ? report : NULL;
    build->level_options.progress_context = build;
    bytes = bytes_of(count, graph->quantiser.stride, &build->level_options);
    if (options->memory_max_bytes > 0 && bytes > options->memory_max_bytes) {
        index_quantiser_destroy(&graph->quantiser);
        return error_set(
            error, ERROR_UNSUPPORTED,
            "building a graph of %u vectors takes %llu bytes, of which %llu are allowed", count,
            (unsigned long long)bytes, (unsigned long long)options->memory_max_bytes);
    }
    build->row_codes = index_allocate(count, stride);
    build->first_equal = index_allocate(count, sizeof(uint32_t));
    graph->codes = build->codes = index_allocate(count, stride);
    graph->rows = build->rows = index_allocate(count, sizeof(uint32_t));
    build->links = index_allocate((size_t)count * build->level_options.degree, sizeof(uint32_t));
    return 0;
}

int index_hnsw_build(const float *vectors, uint32_t count,
                     const struct index_build_options *options, struct index_hnsw_graph **graph,
                     struct error *error)
{
    struct build build;
    bool done;

    *graph = NULL;
    if (count == 0 || count > INT32_MAX)
        return error_set(error, ERROR_INVALID, "a graph of %u vectors", count);
    if (options->dim == 0 || options->dim > 65536 || options->thread_count == 0)
        return error_set(error, ERROR_INVALID, "%u dimensions, %u threads", options->dim,
                         options->thread_count);
    if (build_create(&build, vectors, count, options, error) != 0)
        return error->code;
    thread_team_create(&build.level_options.team, THREAD_BUILD, options->thread_count,
                       options->cancel);
    done = run(&build);
    thread_team_destroy(&build.level_options.team);
    free(build.row_codes);
    free(build.first_equal);
    if (!done) {
        graph_free(&build.graph);
        free(build.links);
        return error_set(error, ERROR_CANCELLED, "the build was cancelled");
    }
    *graph = index_allocate_zeroed(1, sizeof(**graph));
    (*graph)->graph = build.graph;
    (*graph)->links = build.links;
    (*graph)->outliers = build.outliers;
    if (options->progress)
        options->progress(options->progress_context, count, count);
    return 0;
}

void index_hnsw_graph_delete(struct index_hnsw_graph *graph)
{
    if (!graph)
        return;
    graph_free(&graph->graph);
    free(graph->links);
    free(graph);
}
