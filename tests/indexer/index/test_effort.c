/* How far a search has to go is measured when a segment is built, and lies in its header. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/ivf_file.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct error ok_error = {0};                                                               \
        int ok_code = (call);                                                                      \
        ck_assert_msg(ok_code == 0, "%s: %d %s", #call, ok_code, ok_error.text);                   \
    } while (0)

static struct index_segment *build(const struct fixture_data *data, enum vector_metric metric,
                                   bool lists)
{
    struct index_build_options options = fixture_options(metric, data->dim);

    return lists ? fixture_ivf_segment(data, &options) : fixture_segment(data, &options);
}

static int measure(struct index_segment *segment, const struct fixture_data *data,
                   const atomic_bool *cancel, struct error *error)
{
    const struct index_effort_sample sample = {
        .vectors = data->vectors, .count = data->count, .dim = data->dim, .cancel = cancel};

    return index_segment_measure_effort(segment, fixture_path(), &sample, error);
}

static int open_again(const struct fixture_data *data, enum vector_metric metric,
                      struct index_segment **segment, struct error *error)
{
    return index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, metric, data->dim,
                              data->count, segment, error);
}

static void check_curve(const struct index_segment *segment)
{
    static const double recalls[] = {0.5, 0.7, 0.85, 0.95, 0.985, 0.995, 0.999};
    static const double ranks[] = {0.01, 0.1, 0.5, 1, 3, 10, 40, 100, 1000};
    enum { RANKS = sizeof(ranks) / sizeof(*ranks), RECALLS = sizeof(recalls) / sizeof(*recalls) };

    for (int k = 0; k < RANKS; k++)
        for (int r = 0; r < RECALLS; r++) {
            uint32_t ef = index_segment_effort(segment, ranks[k], recalls[r]);
            ck_assert_uint_gt(ef, 0);
            ck_assert_uint_le(ef, INDEX_EFFORT_MAX);
            if (k > 0)
                ck_assert_uint_ge(ef, index_segment_effort(segment, ranks[k - 1], recalls[r]));
            if (r > 0)
                ck_assert_uint_ge(ef, index_segment_effort(segment, ranks[k], recalls[r - 1]));
        }
}

START_TEST(effort_grows_with_recall_and_rank_and_lies_in_the_file)
{
    for (int metric = VECTOR_METRIC_COSINE; metric <= VECTOR_METRIC_L2; metric++)
        for (int lists = 0; lists < 2; lists++) {
            uint64_t state = test_seed();
            struct fixture_data data =
                fixture_clusters((enum vector_metric)metric, 3000, 24, 30, 0.5f, &state);
            struct index_segment *segment = build(&data, (enum vector_metric)metric, lists), *again;

            /* As a segment of a former version has it. */
            ck_assert_uint_eq(index_segment_effort(segment, 10, 0.95), 0);
            OK(measure(segment, &data, NULL, &ok_error));
            check_curve(segment);
            OK(open_again(&data, (enum vector_metric)metric, &again, &ok_error));
            OK(index_segment_validate(again, &ok_error));
            ck_assert_mem_eq(&again->effort, &segment->effort, sizeof(segment->effort));
            index_segment_close(again);
            index_segment_close(segment);
            fixture_data_destroy(&data);
        }
}
END_TEST

/* The powers that effort.h describes, of the measured numbers themselves. */
static double curve_at(const uint32_t *efs, double recall)
{
    const double *levels = index_effort_recalls;
    int above = 0;
    double share;

    while (above < INDEX_EFFORT_LEVELS && levels[above] < recall)
        above++;
    if (above == 0)
        return fmax(efs[0], 1);
    if (above == INDEX_EFFORT_LEVELS)
        return fmax(efs[above - 1], 1) * (1 - levels[above - 1]) / fmax(1 - recall, 1e-3);
    share = log((1 - levels[above - 1]) / (1 - recall)) /
            log((1 - levels[above - 1]) / (1 - levels[above]));
    return fmax(efs[above - 1], 1) * pow(fmax(efs[above], 1) / fmax(efs[above - 1], 1), share);
}

static double expected_ef(const struct index_effort *effort, double k, double recall)
{
    double place = log10(fmax(k, .1)) + 1;
    int rank = (int)place;

    if (rank >= INDEX_EFFORT_RANKS - 1)
        return fmin(curve_at(effort->ef[INDEX_EFFORT_RANKS - 1], recall) * k / 100,
                    INDEX_EFFORT_MAX);
    return fmin(curve_at(effort->ef[rank], recall) *
                    pow(curve_at(effort->ef[rank + 1], recall) / curve_at(effort->ef[rank], recall),
                        place - rank),
                INDEX_EFFORT_MAX);
}

START_TEST(effort_between_levels_and_ranks_is_a_power_of_the_measured_ones)
{
    uint64_t state = test_seed();

    for (int i = 0; i < 1000; i++) {
        struct index_effort effort = {.query_count = 1};
        struct index_effort_logs logs;
        for (int rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
            for (int level = 0; level < INDEX_EFFORT_LEVELS; level++) {
                uint32_t *ef = &effort.ef[rank][level];
                uint32_t beside = rank > 0 ? effort.ef[rank - 1][level] : 0;
                uint32_t before = level > 0 ? effort.ef[rank][level - 1] : 0;
                *ef = (beside > before ? beside : before) + (uint32_t)(test_random(&state) % 60);
            }
        ck_assert(index_effort_is_valid(&effort));
        logs = index_effort_logs(&effort);
        for (int rank = 0; rank < INDEX_EFFORT_RANKS; rank++) /* what was measured comes back */
            for (int level = 0; level < INDEX_EFFORT_LEVELS; level++)
                ck_assert_uint_eq(
                    index_effort_ef(&logs, pow(10, rank - 1), index_effort_recalls[level]),
                    effort.ef[rank][level] > 0 ? effort.ef[rank][level] : 1);
        for (int j = 0; j < 20; j++) {
            double k = pow(10, (double)(test_random(&state) % 5000) / 1000 - 1.5);
            double recall = .5 + .4999 * (double)(test_random(&state) % 1000) / 1000;
            double ef = expected_ef(&effort, k, recall);
            uint32_t found = index_effort_ef(&logs, k, recall);
            ck_assert_msg(found >= ef * (1 - 1e-5) && found <= ef * (1 + 1e-5) + 1,
                          "k %g, recall %g: ef %u instead of %g", k, recall, found, ef);
        }
    }
}
END_TEST

/* Recall of queries that the measurement has not seen, at what it promises for each of three recalls. */
static void add_recalls(int lists, const double *wanted, uint64_t *state, double *sums)
{
    struct fixture_data all = fixture_clusters(VECTOR_METRIC_L2, 5400, 32, 50, 2, state);
    struct fixture_data data = {all.vectors, 5000, all.dim};
    struct fixture_data queries = {all.vectors + (size_t)5000 * all.dim, 400, all.dim};
    struct index_segment *segment = build(&data, VECTOR_METRIC_L2, lists);

    OK(measure(segment, &data, NULL, &ok_error));
    for (int i = 0; i < 3; i++) {
        uint32_t ef = index_segment_effort(segment, 10, wanted[i]);
        double recall = fixture_recall(segment, VECTOR_METRIC_L2, &data, &queries, 10, ef);
        printf("%s, %.2f wanted: %.4f with ef %u\n", lists ? "lists" : "graph", wanted[i], recall,
               ef);
        sums[i] += recall;
    }
    index_segment_close(segment);
    fixture_data_destroy(&all);
}

/* A promise holds for segments on average. Lists are measured by 64 queries, now and then by ones that are easier than
 * the rest: one seed had .864 where .9 was promised, forty others .90 to .97. */
START_TEST(a_search_with_the_measured_effort_has_the_recall)
{
    enum { SEGMENTS = 4 };
    static const double recalls[] = {0.9, 0.95, 0.99};
    uint64_t state = test_seed();

    for (int lists = 0; lists < 2; lists++) {
        double sums[3] = {0};
        for (int segment = 0; segment < SEGMENTS; segment++)
            add_recalls(lists, recalls, &state, sums);
        for (int i = 0; i < 3; i++)
            ck_assert_double_ge(sums[i] / SEGMENTS, recalls[i] - 0.02);
    }
}
END_TEST

START_TEST(few_rows_and_equal_rows_are_measured)
{
    static const uint32_t counts[] = {1, 2, 3, 97, 300};

    for (size_t i = 0; i < 2 * sizeof(counts) / sizeof(*counts); i++)
        for (int lists = 0; lists < 2; lists++) {
            uint64_t state = test_seed();
            struct fixture_data data =
                fixture_clusters(VECTOR_METRIC_L2, counts[i / 2], 5, 2, 0.5f, &state);
            struct index_segment *segment;
            for (size_t at = data.dim; i % 2 == 1 && at < (size_t)data.count * data.dim; at++)
                data.vectors[at] = data.vectors[at - data.dim];
            segment = build(&data, VECTOR_METRIC_L2, lists);
            OK(measure(segment, &data, NULL, &ok_error));
            check_curve(segment);
            index_segment_close(segment);
            fixture_data_destroy(&data);
        }
}
END_TEST

START_TEST(a_measurement_ends_when_it_is_cancelled)
{
    uint64_t state = 3;
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 500, 8, 4, 0.5f, &state);
    const atomic_bool cancel = true;

    for (int lists = 0; lists < 2; lists++) {
        struct index_segment *segment = build(&data, VECTOR_METRIC_L2, lists);
        struct error error = {0};
        ck_assert_int_eq(measure(segment, &data, &cancel, &error), ERROR_CANCELLED);
        ck_assert_uint_eq(index_segment_effort(segment, 10, 0.95), 0);
        index_segment_close(segment);
    }
    fixture_data_destroy(&data);
}
END_TEST

/* Changes a number of the effort in the file, with the right checksum. */
static void damage(bool lists, int rank, int level, uint32_t value)
{
    union {
        struct index_segment_header graph;
        struct index_ivf_header lists;
    } header;
    FILE *file = fopen(fixture_path(), "r+b");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fread(&header, sizeof(header), 1, file), 1);
    if (lists) {
        header.lists.effort.ef[rank][level] = value;
        header.lists.checksum = index_ivf_header_checksum(&header.lists);
    } else {
        header.graph.effort.ef[rank][level] = value;
        header.graph.checksum = index_header_checksum(&header.graph);
    }
    rewind(file);
    ck_assert_uint_eq(fwrite(&header, sizeof(header), 1, file), 1);
    ck_assert_int_eq(fclose(file), 0);
}

START_TEST(numbers_out_of_bounds_are_damage)
{
    static const struct {
        int rank, level;
        uint32_t value;
    } cases[] = {{0, 0, INDEX_EFFORT_MAX + 1}, {3, 7, UINT32_MAX}, {2, 3, 0}, {3, 7, 0}};

    for (int lists = 0; lists < 2; lists++)
        for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
            uint64_t state = 3;
            struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 500, 8, 4, 0.5f, &state);
            struct index_segment *segment = build(&data, VECTOR_METRIC_L2, lists);
            struct error error = {0};
            OK(measure(segment, &data, NULL, &ok_error));
            index_segment_close(segment);
            damage(lists, cases[i].rank, cases[i].level, cases[i].value);
            ck_assert_int_eq(open_again(&data, VECTOR_METRIC_L2, &segment, &error), ERROR_CORRUPT);
            ck_assert_ptr_nonnull(strstr(error.text, "effort"));
            fixture_data_destroy(&data);
        }
}
END_TEST

/* Lengths as those of items in recommenders: the longest rows are the neighbours of most. A promise
 * holds on average; 24 segments like these found .924 to .980, .961 in the mean. */
START_TEST(products_of_unequal_lengths_keep_the_recall_that_was_asked)
{
    enum { SEGMENTS = TEST_SANITIZED ? 1 : 3, ROWS = 8000, DIM = 48, QUERIES = 200 };
    uint64_t state = test_seed();
    double sum = 0;

    for (int i = 0; i < SEGMENTS; i++) {
        struct fixture_data data =
            fixture_clusters(VECTOR_METRIC_COSINE, ROWS + QUERIES, DIM, 40, .6f, &state);
        struct fixture_data queries = {data.vectors + (size_t)ROWS * DIM, QUERIES, DIM};
        struct index_segment *segment;
        double recall;

        data.count = ROWS;
        for (uint32_t row = 0; row < ROWS; row++) {
            float length = expf(1.2f * fixture_gauss(&state));
            for (uint32_t d = 0; d < DIM; d++)
                data.vectors[(size_t)row * DIM + d] *= length;
        }
        segment = build(&data, VECTOR_METRIC_DOT, false);
        OK(measure(segment, &data, NULL, &ok_error));
        recall = fixture_recall(segment, VECTOR_METRIC_DOT, &data, &queries, 10,
                                index_segment_default_ef(segment, 10, .95));
        printf("ef %u, recall@10 %.4f\n", index_segment_default_ef(segment, 10, .95), recall);
        sum += recall;
        index_segment_close(segment);
        fixture_data_destroy(&data);
    }
    ck_assert_double_ge(sum / SEGMENTS, TEST_SANITIZED ? .9 : .925);
}
END_TEST

TEST_TABLE(TEST(products_of_unequal_lengths_keep_the_recall_that_was_asked),
           TEST(effort_grows_with_recall_and_rank_and_lies_in_the_file),
           TEST(effort_between_levels_and_ranks_is_a_power_of_the_measured_ones),
           TEST(a_search_with_the_measured_effort_has_the_recall),
           TEST(few_rows_and_equal_rows_are_measured),
           TEST(a_measurement_ends_when_it_is_cancelled), TEST(numbers_out_of_bounds_are_damage))
