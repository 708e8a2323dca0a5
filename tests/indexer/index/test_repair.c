/* From whichever row a search enters a level, every other row of it is in reach. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/graph.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS_MAX = 300, ROUNDS = TEST_SANITIZED ? 60 : 400 };

/* How many rows a walk from row `entry` meets. */
static uint32_t walk_from(const uint32_t *links, uint32_t count, uint32_t degree, uint32_t entry)
{
    uint8_t *met = calloc(count, 1);
    uint32_t *queue = malloc(count * sizeof(*queue)), queued = 1;

    queue[0] = entry;
    met[entry] = 1;
    for (uint32_t next = 0; next < queued; next++) {
        const uint32_t *to = links + (size_t)queue[next] * degree;
        for (uint32_t i = 0; i < degree && to[i] != INDEX_NO_LINK; i++)
            if (!met[to[i]]) {
                met[to[i]] = 1;
                queue[queued++] = to[i];
            }
    }
    free(met);
    free(queue);
    return queued;
}

static void check_level(const uint32_t *links, uint32_t count, uint32_t degree)
{
    for (uint32_t entry = 0; entry < count; entry++) {
        uint32_t met = walk_from(links, count, degree, entry);
        ck_assert_msg(met == count, "%u of %u rows are in reach of row %u", met, count, entry);
    }
}

static void check_graph(const struct fixture_data *data, const struct index_build_options *options)
{
    struct index_hnsw_graph *graph;
    struct error error = {0};
    int status = index_hnsw_build(data->vectors, data->count, options, &graph, &error);

    ck_assert_msg(status == 0, "%s", error.text);
    check_level(graph->links, graph->graph.count, 2 * graph->graph.m);
    for (uint32_t i = 0; i < graph->graph.level_count; i++)
        check_level(graph->graph.levels[i].links, graph->graph.levels[i].count, graph->graph.m);
    index_hnsw_graph_delete(graph);
}

/* Some rows become copies of others. */
static void repeat_rows(struct fixture_data *data, uint32_t share, uint64_t *state)
{
    for (uint32_t row = 0; row < data->count; row++)
        if (test_random(state) % 100 < share)
            memcpy(data->vectors + (size_t)row * data->dim,
                   data->vectors + test_random(state) % data->count * data->dim,
                   data->dim * sizeof(float));
}

START_TEST(every_row_is_in_reach_of_every_row)
{
    static const float spreads[] = {0.5f, 0.05f, 0.001f, 0};
    static const uint32_t dims[] = {2, 16, 17, 48}, shares[] = {0, 10, 90};
    uint64_t state = test_seed();

    for (uint32_t round = 0; round < ROUNDS; round++) {
        enum vector_metric metric = (enum vector_metric)(round % 3);
        uint32_t dim = dims[test_random(&state) % 4];
        uint32_t count = 2 + (uint32_t)(test_random(&state) % (ROWS_MAX - 1));
        uint32_t clusters = 1 + (uint32_t)(test_random(&state) % 12);
        struct fixture_data data = fixture_clusters(metric, count, dim, clusters,
                                                    spreads[test_random(&state) % 4], &state);
        struct index_build_options options = fixture_options(metric, dim);

        options.m = test_random(&state) % 2 ? 16 : 4;
        options.seed = test_random(&state);
        repeat_rows(&data, shares[test_random(&state) % 3], &state);
        check_graph(&data, &options);
        fixture_data_destroy(&data);
    }
}
END_TEST

/* Enough rows for two levels above the first. */
START_TEST(clusters_far_apart_lead_to_each_other_on_all_levels)
{
    uint64_t state = test_seed();
    struct fixture_data data =
        fixture_clusters(VECTOR_METRIC_L2, TEST_SANITIZED ? 1700 : 3000, 24, 150, 0.001f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, data.dim);

    check_graph(&data, &options);
    fixture_data_destroy(&data);
}
END_TEST

TEST_TABLE(TEST(every_row_is_in_reach_of_every_row),
           TEST(clusters_far_apart_lead_to_each_other_on_all_levels))
