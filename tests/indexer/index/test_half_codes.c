/* Codes of 4 bits in a segment: where they are taken, what they find, what a file of them may hold. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "indexer/index/half_codes.h"
#include "indexer/index/segment.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 3000, QUERIES = 50, DIM = 300, K = 10 };

struct window {
    struct fixture_data rows, queries;
    struct index_segment *segment;
};

/* As rows of real data do, they vary in few directions: half codes can tell them apart. */
static struct fixture_data plain_rows(enum vector_metric metric, uint32_t dim, uint64_t *state)
{
    enum { DIRECTIONS = 12 };
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS + QUERIES, dim, 1, 0, state);
    float *directions = malloc((size_t)DIRECTIONS * dim * sizeof(float));

    for (uint32_t i = 0; i < DIRECTIONS * dim; i++)
        directions[i] = fixture_gauss(state);
    for (uint32_t row = 0; row < data.count; row++) {
        float *vector = data.vectors + (size_t)row * dim;
        for (uint32_t i = 0; i < DIRECTIONS; i++) {
            float part = fixture_gauss(state);
            for (uint32_t d = 0; d < dim; d++)
                vector[d] += part * directions[i * dim + d];
        }
        if (metric == VECTOR_METRIC_COSINE)
            index_normalise(vector, dim);
    }
    free(directions);
    return data;
}

/* Clusters so narrow for the distances between them that only whole codes can. */
static struct fixture_data narrow_rows(enum vector_metric metric, uint32_t dim, uint64_t *state)
{
    return fixture_clusters(metric, ROWS + QUERIES, dim, 12, 0.3f, state);
}

static struct window open_window(enum vector_metric metric, struct fixture_data rows)
{
    struct index_build_options options = fixture_options(metric, rows.dim);
    struct window window = {.rows = rows};

    window.rows.count = ROWS;
    window.queries =
        (struct fixture_data){rows.vectors + (size_t)ROWS * rows.dim, QUERIES, rows.dim};
    window.segment = fixture_segment(&window.rows, &options);
    return window;
}

static void close_window(struct window *window)
{
    index_segment_close(window->segment);
    fixture_data_destroy(&window->rows);
}

START_TEST(half_codes_find_what_whole_codes_find_for_all_metrics)
{
    static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_DOT,
                                                 VECTOR_METRIC_L2};
    uint64_t state = test_seed();

    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        struct window window = open_window(metrics[i], plain_rows(metrics[i], DIM, &state));
        const struct index_graph *graph = &window.segment->graph;
        ck_assert_int_eq(graph->quantiser.kind, INDEX_CODE_HALF);
        ck_assert_uint_eq(graph->quantiser.stride,
                          index_code_stride(INDEX_CODE_HALF, DIM + graph->quantiser.extra_dim));
        ck_assert_double_ge(
            fixture_recall(window.segment, metrics[i], &window.rows, &window.queries, K, 100),
            0.95);
        close_window(&window);
    }
}
END_TEST

START_TEST(codes_stay_whole_where_half_would_lose_neighbours_or_save_little)
{
    uint64_t state = test_seed();

    for (int i = 0; i < 3; i++) {
        struct fixture_data rows = i == 0
                                       ? narrow_rows(VECTOR_METRIC_L2, DIM, &state)
                                       : plain_rows(VECTOR_METRIC_L2, i == 1 ? 192 : 128, &state);
        struct window window = open_window(VECTOR_METRIC_L2, rows);
        ck_assert_int_eq(window.segment->graph.quantiser.kind, INDEX_CODE_INT7);
        ck_assert_double_ge(
            fixture_recall(window.segment, VECTOR_METRIC_L2, &window.rows, &window.queries, K, 100),
            0.95);
        close_window(&window);
    }
}
END_TEST

/* Of the nearest k by half codes not all are the nearest k. */
START_TEST(a_search_for_k_hits_looks_at_a_quarter_more)
{
    uint64_t state = test_seed();
    struct window window = open_window(VECTOR_METRIC_L2, plain_rows(VECTOR_METRIC_L2, DIM, &state));
    const struct fixture_data *rows = &window.rows, *queries = &window.queries;
    enum { MANY = 200 };

    ck_assert_double_eq(
        fixture_recall(window.segment, VECTOR_METRIC_L2, rows, queries, MANY, MANY),
        fixture_recall(window.segment, VECTOR_METRIC_L2, rows, queries, MANY, MANY + MANY / 4));
    close_window(&window);
}
END_TEST

/* Windows of one collection may differ in their codes. */
START_TEST(segments_of_half_and_whole_codes_are_searched_as_one_group)
{
    static const enum vector_metric metrics[] = {VECTOR_METRIC_COSINE, VECTOR_METRIC_L2};
    uint64_t state = test_seed();

    for (size_t i = 0; i < sizeof(metrics) / sizeof(metrics[0]); i++) {
        struct window windows[2] = {open_window(metrics[i], plain_rows(metrics[i], DIM, &state))};
        struct index_group_member members[2];
        uint32_t found = 0;
        (void)unlink(fixture_path()); /* the mapping stays */
        windows[1] = open_window(metrics[i], narrow_rows(metrics[i], DIM, &state));
        ck_assert_int_eq(windows[0].segment->graph.quantiser.kind, INDEX_CODE_HALF);
        ck_assert_int_eq(windows[1].segment->graph.quantiser.kind, INDEX_CODE_INT7);
        ck_assert_uint_eq(index_segment_group(windows[0].segment),
                          index_segment_group(windows[1].segment));
        for (int m = 0; m < 2; m++)
            members[m] = (struct index_group_member){.segment = windows[m].segment,
                                                     .vector = fixture_vector,
                                                     .vector_context = &windows[m].rows};
        for (uint32_t q = 0; q < 2 * QUERIES; q++) {
            const struct window *near = &windows[q % 2];
            const float *query = near->queries.vectors + (size_t)(q / 2) * DIM;
            struct index_search search = fixture_search(&near->rows, query, K, 100);
            struct index_hit hits[K], exact[K];
            uint32_t hit_members[K], count, exact_count;
            struct error error = {0};
            bool exhausted;
            ck_assert_int_eq(index_group_search(members, 2, &search, hits, hit_members, &count,
                                                &exhausted, &error),
                             0);
            index_exact_top(metrics[i], near->rows.vectors, ROWS, DIM, query, K, exact,
                            &exact_count);
            for (uint32_t h = 0; h < count; h++)
                found += hits[h].score >= exact[K - 1].score;
        }
        ck_assert_double_ge(found, 0.95 * 2 * QUERIES * K);
        close_window(&windows[0]);
        close_window(&windows[1]);
    }
}
END_TEST

/* Each dimension in its half of its byte, as the nearest level; padding is level 0. */
START_TEST(a_row_is_halved_to_the_nearest_levels)
{
    static const uint8_t levels[INDEX_HALF_LEVELS] = {0,  2,  5,  9,  14, 20, 27,  35,
                                                      44, 54, 65, 77, 90, 99, 110, 127};
    uint8_t codes[192] = {0}, halves[128], expected;
    uint64_t state = test_seed();

    for (uint32_t d = 0; d < 150; d++)
        codes[d] = (uint8_t)(test_random(&state) >> 40) & INDEX_CODE_MAX;
    memset(halves, 0xff, sizeof(halves));
    index_halve_row(codes, sizeof(codes), levels, halves);
    for (uint32_t d = 0; d < 256; d++) {
        uint8_t byte = halves[d / 128 * 64 + d % 64], half = d % 128 < 64 ? byte & 15 : byte >> 4;
        uint8_t code = d < sizeof(codes) ? codes[d] : 0;
        expected = 0;
        for (uint8_t i = 1; i < INDEX_HALF_LEVELS; i++)
            if (abs(levels[i] - code) < abs(levels[expected] - code))
                expected = i;
        ck_assert_uint_eq(half, expected);
    }
}
END_TEST

static int status_of(const uint8_t *bytes, size_t size, struct error *error)
{
    struct index_segment *segment;
    int status;

    fixture_write_file(bytes, size);
    status = index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, VECTOR_METRIC_L2,
                                DIM, ROWS, &segment, error);
    if (status == 0)
        index_segment_close(segment);
    return status;
}

/* The checksum is right: whoever can write a file can write it. */
START_TEST(what_a_file_says_of_half_codes_is_checked)
{
    uint64_t state = test_seed();
    struct window window = open_window(VECTOR_METRIC_L2, plain_rows(VECTOR_METRIC_L2, DIM, &state));
    struct index_segment_header *header, whole;
    struct error error;
    uint8_t *bytes;
    size_t size;

    bytes = fixture_read_file(&size);
    header = (void *)bytes;
    whole = *header;
    close_window(&window);
    (void)unlink(fixture_path());
    ck_assert_uint_eq(header->version, INDEX_SEGMENT_VERSION_HALF);
    ck_assert_int_eq(status_of(bytes, size, &error), 0);

    for (int i = 0; i < 4; i++) {
        static const char *const texts[] = {"level of half codes", "unknown kind", "step",
                                            "row length"};
        *header = whole;
        if (i == 0)
            header->levels[15] = INDEX_CODE_MAX + 1;
        else if (i == 1)
            header->version = INDEX_SEGMENT_VERSION; /* whose readers know no half codes */
        else if (i == 2)
            header->step = 0;
        else
            header->stride += INDEX_CODE_ALIGN;
        header->checksum = index_header_checksum(header);
        ck_assert_int_eq(status_of(bytes, size, &error), ERROR_CORRUPT);
        ck_assert_msg(strstr(error.text, texts[i]) != NULL, "%s", error.text);
    }
    free(bytes);
}
END_TEST

TEST_TABLE(TEST(half_codes_find_what_whole_codes_find_for_all_metrics),
           TEST(codes_stay_whole_where_half_would_lose_neighbours_or_save_little),
           TEST(a_search_for_k_hits_looks_at_a_quarter_more),
           TEST(segments_of_half_and_whole_codes_are_searched_as_one_group),
           TEST(a_row_is_halved_to_the_nearest_levels),
           TEST(what_a_file_says_of_half_codes_is_checked))
