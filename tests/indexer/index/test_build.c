/* What a build promises, checked against brute force: recall on easy and awkward data, structure,
 * determinism, cancelling. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

/* The last `count` rows become the queries. */
static struct fixture_data split_queries(struct fixture_data *data, uint32_t count)
{
    data->count -= count;
    return (struct fixture_data){data->vectors + (size_t)data->count * data->dim, count, data->dim};
}

static double recall_of(enum vector_metric metric, uint32_t rows, uint32_t dim, uint32_t clusters,
                        float spread, uint32_t ef)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(metric, rows + 50, dim, clusters, spread, &state);
    struct fixture_data queries = split_queries(&data, 50);
    struct index_build_options options = fixture_options(metric, dim);
    struct index_segment *segment = fixture_segment(&data, &options);
    double recall = fixture_recall(segment, metric, &data, &queries, 10, ef);

    printf("metric %d, %u rows of %u, %u clusters: recall@10 %.4f\n", metric, rows, dim, clusters,
           recall);
    index_segment_close(segment);
    fixture_data_destroy(&data);
    return recall;
}

START_TEST(recall_on_clusters_is_high_for_every_metric_and_width)
{
    static const struct {
        enum vector_metric metric;
        uint32_t rows, dim, clusters;
        float spread;
        double floor;
    } cases[] = {
        {VECTOR_METRIC_L2, 6000, 32, 20, 0.5f, 0.96},
        {VECTOR_METRIC_L2, 4000, 100, 10, 0.8f, 0.98},
        {VECTOR_METRIC_COSINE, 6000, 96, 30, 0.5f, 0.97},
        {VECTOR_METRIC_COSINE, 2000, 768, 8, 0.3f, 0.94},
        {VECTOR_METRIC_DOT, 5000, 64, 20, 0.5f, 0.95},
        {VECTOR_METRIC_DOT, 3000, 16, 20, 0.5f, 0.98},
        {VECTOR_METRIC_L2, 5000, 1, 5, 0.5f, 0.99},
        {VECTOR_METRIC_L2, 5000, 2, 5, 0.5f, 0.99},
        {VECTOR_METRIC_COSINE, 5000, 3, 5, 0.5f, 0.99},
        {VECTOR_METRIC_L2, 5000, 17, 1, 1.0f, 0.97},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        double recall = recall_of(cases[i].metric, cases[i].rows, cases[i].dim, cases[i].clusters,
                                  cases[i].spread, 128);
        ck_assert_double_ge(recall, cases[i].floor);
    }
}
END_TEST

START_TEST(clusters_far_apart_are_found)
{
    ck_assert_double_ge(recall_of(VECTOR_METRIC_L2, 6000, 24, 300, 0.001f, 100), 0.8);
    ck_assert_double_ge(recall_of(VECTOR_METRIC_L2, 6000, 128, 40, 0.0001f, 100), 0.8);
}
END_TEST

static void search_a_few_rows(uint64_t state)
{
    static const uint32_t counts[] = {1, 2, 3, 5, 10, 31, 32, 33, 34, 64, 95, 96, 97, 98, 200};

    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++)
        for (int metric = VECTOR_METRIC_COSINE; metric <= VECTOR_METRIC_L2; metric++) {
            struct fixture_data data =
                fixture_clusters((enum vector_metric)metric, counts[i] + 5, 48, 3, 0.5f, &state);
            struct fixture_data queries = split_queries(&data, 5);
            struct index_build_options options = fixture_options((enum vector_metric)metric, 48);
            struct index_segment *segment = fixture_segment(&data, &options);
            ck_assert_double_eq(
                fixture_recall(segment, (enum vector_metric)metric, &data, &queries, 7, 200), 1);
            index_segment_close(segment);
            fixture_data_destroy(&data);
        }
}

START_TEST(a_few_rows_are_searched_exactly)
{
    search_a_few_rows(test_seed());
    /* 98 rows in three clusters: a search entered one that had a way in and none out */
    search_a_few_rows(UINT64_C(1882812412716119));
}
END_TEST

/* Every row has a mirror image, as near to a query in the plane of the mirror as itself. */
START_TEST(rows_of_equal_score_come_in_their_order)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 4020, 24, 30, 0.5f, &state);
    struct fixture_data queries = split_queries(&data, 20);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, data.dim);
    struct index_segment *segment;

    for (uint32_t row = 0; row < data.count / 2; row++) {
        float *image = data.vectors + (size_t)(data.count - 1 - row) * data.dim;
        memcpy(image, data.vectors + (size_t)row * data.dim, data.dim * sizeof(float));
        image[0] = -image[0];
    }
    for (uint32_t q = 0; q < queries.count; q++)
        queries.vectors[(size_t)q * data.dim] = 0;
    segment = fixture_segment(&data, &options);
    /* the order is checked by the fixture */
    ck_assert_double_ge(fixture_recall(segment, VECTOR_METRIC_L2, &data, &queries, 10, 100), 0.95);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

/* Half of the rows are one point, a quarter are ten points, the rest are apart. */
START_TEST(thousands_of_equal_rows_break_nothing)
{
    static const uint32_t dims[] = {8, 64};
    uint64_t state = test_seed();

    for (size_t i = 0; i < 2; i++) {
        uint32_t dim = dims[i];
        struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 8050, dim, 40, 0.5f, &state);
        struct fixture_data queries = split_queries(&data, 50);
        struct index_build_options options = fixture_options(VECTOR_METRIC_L2, dim);
        struct index_segment *segment;
        for (uint32_t row = 0; row < 6000; row++)
            memcpy(data.vectors + (size_t)row * dim,
                   data.vectors + (size_t)(row < 4000 ? 7999 : 7000 + row % 10) * dim,
                   dim * sizeof(float));
        segment = fixture_segment(&data, &options);
        ck_assert_double_ge(fixture_recall(segment, VECTOR_METRIC_L2, &data, &queries, 10, 100),
                            0.97);
        queries = (struct fixture_data){data.vectors, 1, dim};
        ck_assert_double_eq(fixture_recall(segment, VECTOR_METRIC_L2, &data, &queries, 100, 100),
                            1);
        index_segment_close(segment);
        fixture_data_destroy(&data);
    }
}
END_TEST

START_TEST(rows_all_equal_are_all_reachable)
{
    struct fixture_data data = {calloc(5000 * 20, sizeof(float)), 5000, 20};
    struct fixture_data queries = {data.vectors, 1, 20};
    struct index_build_options options = fixture_options(VECTOR_METRIC_COSINE, 20);
    struct index_segment *segment = fixture_segment(&data, &options);

    ck_assert_double_eq(fixture_recall(segment, VECTOR_METRIC_COSINE, &data, &queries, 5000, 5000),
                        1);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(extreme_values_are_survived)
{
    static const float scales[] = {3e38f, 1e-38f, 1e-45f};
    uint64_t state = test_seed();

    for (size_t i = 0; i < 3; i++)
        for (uint32_t dim = 4; dim <= 40; dim += 36) {
            struct fixture_data data =
                fixture_clusters(VECTOR_METRIC_COSINE, 500, dim, 3, 1, &state);
            struct index_build_options options = fixture_options(VECTOR_METRIC_L2, dim);
            struct index_search search;
            struct index_hit hits[10];
            struct error error = {0};
            struct index_segment *segment;
            uint32_t count;
            bool exhausted;
            for (size_t j = 0; j < (size_t)data.count * dim; j++)
                data.vectors[j] *= scales[i];
            segment = fixture_segment(&data, &options);
            search = fixture_search(&data, data.vectors, 10, 100);
            ck_assert_int_eq(
                index_segment_search(segment, &search, hits, &count, &exhausted, &error), 0);
            index_segment_close(segment);
            fixture_data_destroy(&data);
        }
}
END_TEST

START_TEST(the_widest_vectors_are_indexed)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_DOT, 40, 65536, 2, 0.5f, &state);
    struct fixture_data queries = split_queries(&data, 5);
    struct index_build_options options = fixture_options(VECTOR_METRIC_DOT, 65536);
    struct index_segment *segment = fixture_segment(&data, &options);

    ck_assert_double_eq(fixture_recall(segment, VECTOR_METRIC_DOT, &data, &queries, 10, 40), 1);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(same_seed_gives_the_same_file_with_any_number_of_threads)
{
    uint64_t state = test_seed();
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 6000, 40, 30, 0.5f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, 40);
    uint8_t *files[3];
    size_t sizes[3];

    for (uint32_t i = 0; i < 3; i++) {
        options.thread_count = i + 1;
        index_segment_close(fixture_segment(&data, &options));
        files[i] = fixture_read_file(&sizes[i]);
    }
    for (int i = 1; i < 3; i++) {
        ck_assert_uint_eq(sizes[i], sizes[0]);
        ck_assert(memcmp(files[i], files[0], sizes[0]) == 0);
    }
    for (int i = 0; i < 3; i++)
        free(files[i]);
    fixture_data_destroy(&data);
}
END_TEST

struct watched {
    atomic_bool cancel;
    uint32_t calls, last, limit;
};

static void watch(void *context, uint32_t done, uint32_t total)
{
    struct watched *watched = context;

    ck_assert_uint_le(done, total);
    watched->last = done;
    if (++watched->calls == watched->limit)
        watched->cancel = true;
}

START_TEST(a_build_reports_progress_and_stops_when_cancelled)
{
    uint64_t state = test_seed();
    struct fixture_data data =
        fixture_clusters(VECTOR_METRIC_L2, TEST_SANITIZED ? 3000 : 8000, 40, 30, 0.5f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, 40);
    struct watched watched = {.limit = UINT32_MAX};
    struct index_hnsw_graph *graph;
    struct error error = {0};
    uint32_t calls;

    options.cancel = &watched.cancel;
    options.progress = watch;
    options.progress_context = &watched;
    ck_assert_int_eq(index_hnsw_build(data.vectors, data.count, &options, &graph, &error), 0);
    index_hnsw_graph_delete(graph);
    ck_assert_uint_eq(watched.last, data.count);
    calls = watched.calls;
    for (uint32_t limit = 1; limit < calls; limit += calls / 10 + 1) {
        watched = (struct watched){.limit = limit};
        ck_assert_int_eq(index_hnsw_build(data.vectors, data.count, &options, &graph, &error),
                         ERROR_CANCELLED);
        ck_assert_ptr_null(graph);
    }
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(impossible_options_are_refused)
{
    float vector[2] = {1, 2};
    struct index_hnsw_graph *graph;
    struct error error;
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, 2);

    ck_assert_int_eq(index_hnsw_build(vector, 0, &options, &graph, &error), ERROR_INVALID);
    options.dim = 0;
    ck_assert_int_eq(index_hnsw_build(vector, 1, &options, &graph, &error), ERROR_INVALID);
    options.dim = 65537;
    ck_assert_int_eq(index_hnsw_build(vector, 1, &options, &graph, &error), ERROR_INVALID);
    options.dim = 2;
    options.thread_count = 0;
    ck_assert_int_eq(index_hnsw_build(vector, 1, &options, &graph, &error), ERROR_INVALID);
}
END_TEST

static float half_to_float(uint16_t half)
{
    double mantissa = half & 1023, exponent = half >> 10 & 31;
    double value =
        exponent > 0 ? ldexp(1 + mantissa / 1024, (int)exponent - 15) : ldexp(mantissa / 1024, -14);

    return (float)(half & 0x8000 ? -value : value);
}

static struct fixture_data load_half(const char *name)
{
    char path[512];
    uint32_t numbers[2];
    struct fixture_data data = {0};
    uint16_t *halves;
    size_t values;
    FILE *file;

    snprintf(path, sizeof(path), "%s/examples/%s", SOURCE_DIRECTORY, name);
    file = fopen(path, "rb");
    if (!file)
        test_skip("the sample is not here");
    ck_assert_uint_eq(fread(numbers, sizeof(uint32_t), 2, file), 2);
    data = (struct fixture_data){malloc((size_t)numbers[0] * numbers[1] * sizeof(float)),
                                 numbers[0], numbers[1]};
    values = (size_t)data.count * data.dim;
    halves = malloc(values * sizeof(*halves));
    ck_assert_uint_eq(fread(halves, sizeof(*halves), values, file), values);
    for (size_t i = 0; i < values; i++)
        data.vectors[i] = half_to_float(halves[i]);
    free(halves);
    fclose(file);
    for (uint32_t i = 0; i < data.count; i++)
        index_normalise(data.vectors + (size_t)i * data.dim, data.dim);
    return data;
}

START_TEST(recall_on_the_shipped_sample_of_real_text_is_high)
{
    struct fixture_data data = load_half("changelog-sample.hbin");
    struct fixture_data queries = load_half("queries.hbin");
    struct index_build_options options = fixture_options(VECTOR_METRIC_COSINE, data.dim);
    struct index_segment *segment = fixture_segment(&data, &options);

    ck_assert_double_ge(fixture_recall(segment, VECTOR_METRIC_COSINE, &data, &queries, 10, 64),
                        0.95);
    fixture_data_destroy(&queries);
    queries = (struct fixture_data){data.vectors, 300, data.dim};
    ck_assert_double_ge(fixture_recall(segment, VECTOR_METRIC_COSINE, &data, &queries, 10, 64),
                        0.98);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

TEST_TABLE(TEST(recall_on_clusters_is_high_for_every_metric_and_width),
           TEST(clusters_far_apart_are_found), TEST(rows_of_equal_score_come_in_their_order),
           TEST(a_few_rows_are_searched_exactly), TEST(thousands_of_equal_rows_break_nothing),
           TEST(rows_all_equal_are_all_reachable), TEST(extreme_values_are_survived),
           TEST(the_widest_vectors_are_indexed),
           TEST(same_seed_gives_the_same_file_with_any_number_of_threads),
           TEST(a_build_reports_progress_and_stops_when_cancelled),
           TEST(impossible_options_are_refused),
           TEST(recall_on_the_shipped_sample_of_real_text_is_high))
