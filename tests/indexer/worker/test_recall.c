/* A segment serves with the effort with which it was found good. */
#include <stdio.h>

#include "indexer/index/segment.h"
#include "indexer/worker/build.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 6000, DIM = 32, NEIGHBOURS = 10 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct error ok_error = {0};                                                               \
        int ok_code = (call);                                                                      \
        ck_assert_msg(ok_code == 0, "%s: %d %s", #call, ok_code, ok_error.text);                   \
    } while (0)

static int rows_from(void *context, uint32_t row, struct vector_row *stored, uint32_t *count,
                     struct error *error)
{
    const struct fixture_data *data = context;

    (void)error;
    *stored = vector_row_float32(data->vectors + (size_t)row * data->dim);
    *count = data->count - row;
    return 0;
}

/* What was measured with the segment's own rows promises too little for its queries. */
static void promise(struct index_segment *segment, uint32_t ef)
{
    for (uint32_t rank = 0; rank < INDEX_EFFORT_RANKS; rank++)
        for (uint32_t level = 0; level < INDEX_EFFORT_LEVELS; level++)
            segment->effort.ef[rank][level] = ef;
    segment->effort_logs = index_effort_logs(&segment->effort);
}

static double measure(struct index_segment *segment, struct fixture_data *data, double recall,
                      double floor, bool *good)
{
    const struct recall_sample sample = {.vectors = rows_from,
                                         .context = data,
                                         .row_count = data->count,
                                         .dim = data->dim,
                                         .metric = index_segment_metric(segment),
                                         .recall = recall,
                                         .floor = floor};
    double found;

    OK(recall_measure(segment, fixture_path(), &sample, &found, good, &ok_error));
    return found;
}

/* A segment over clusters whose effort was measured. */
static struct index_segment *measured_segment(enum vector_metric metric, struct fixture_data *data)
{
    uint64_t state = test_seed();
    struct index_build_options options = fixture_options(metric, DIM);
    struct index_effort_sample sample = {.count = ROWS, .dim = DIM};
    struct index_segment *segment;

    *data = fixture_clusters(metric, ROWS, DIM, 40, 2, &state);
    sample.vectors = data->vectors;
    segment = fixture_segment(data, &options);
    OK(index_segment_measure_effort(segment, fixture_path(), &sample, &ok_error));
    return segment;
}

START_TEST(a_segment_that_needs_more_effort_serves_with_it)
{
    const enum vector_metric metrics[] = {VECTOR_METRIC_L2, VECTOR_METRIC_COSINE};

    for (int m = 0; m < 2; m++) {
        struct fixture_data data;
        struct index_segment *segment = measured_segment(metrics[m], &data), *again;
        double recall, asked_again;
        uint32_t needed;
        bool good;

        needed = index_segment_default_ef(segment, NEIGHBOURS, .95);
        promise(segment, 10);
        recall = measure(segment, &data, .95, .95, &good);
        printf("metric %d: %.3f, ef %u of %u\n", m, recall,
               index_segment_default_ef(segment, NEIGHBOURS, .95), needed);
        ck_assert(good);
        ck_assert_double_ge(recall, .95);
        ck_assert_uint_gt(index_segment_default_ef(segment, NEIGHBOURS, .95), INDEX_EF_GRAPH_MIN);
        /* The file has it. */
        OK(index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, metrics[m], DIM,
                              data.count, &again, &ok_error));
        ck_assert_mem_eq(&again->effort, &segment->effort, sizeof(segment->effort));
        asked_again = measure(again, &data, .95, .95, &good);
        ck_assert_double_ge(asked_again, .95);
        index_segment_close(again);
        index_segment_close(segment);
        fixture_data_destroy(&data);
    }
}
END_TEST

/* A sample that just reaches the floor tells that about half of all segments like it are below. */
START_TEST(a_segment_that_is_good_by_chance_goes_further)
{
    struct fixture_data data;
    struct index_segment *segment = measured_segment(VECTOR_METRIC_L2, &data);
    double reached, recall;
    uint32_t before;
    bool good;

    promise(segment, INDEX_EF_GRAPH_MIN);
    reached = measure(segment, &data, .95, 0, &good);
    ck_assert_double_lt(reached, 1);
    before = index_segment_default_ef(segment, NEIGHBOURS, reached);
    recall = measure(segment, &data, reached, reached, &good);
    ck_assert(good);
    ck_assert_double_ge(recall, reached);
    ck_assert_uint_gt(index_segment_default_ef(segment, NEIGHBOURS, reached), before);
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

/* Whoever asks for less than the floor gets less, of a segment that could give more. */
START_TEST(a_lower_recall_than_the_floor_keeps_its_effort)
{
    struct fixture_data data;
    struct index_segment *segment = measured_segment(VECTOR_METRIC_L2, &data);
    struct index_effort before;
    double recall;
    bool good;

    before = segment->effort;
    recall = measure(segment, &data, .5, .95, &good);
    ck_assert(good);
    ck_assert_double_ge(recall, .5);
    ck_assert_mem_eq(&segment->effort, &before, sizeof(before));
    index_segment_close(segment);
    fixture_data_destroy(&data);
}
END_TEST

TEST_TABLE(TEST(a_segment_that_needs_more_effort_serves_with_it),
           TEST(a_segment_that_is_good_by_chance_goes_further),
           TEST(a_lower_recall_than_the_floor_keeps_its_effort))
