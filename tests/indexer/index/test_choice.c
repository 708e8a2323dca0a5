/* What searches cost is measured when a segment is built; a trial tells which kind will cost less. */
#include <unistd.h>

#include "indexer/index/ivf_file.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

START_TEST(trial_costs_both_kinds_over_a_sample_and_leaves_no_file)
{
    uint64_t state = 3;
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 10000, 16, 20, 0.5F, &state);
    const struct index_build_options options = fixture_options(VECTOR_METRIC_L2, 16);
    struct index_choice choice;
    struct error error = {0};

    ck_assert_msg(index_choice_try(data.vectors, data.count, &options, 0.95, io_posix(),
                                   fixture_path(), &choice, &error) == 0,
                  "%s", error.text);
    ck_assert_uint_eq(choice.how, INDEX_CHOICE_TRIAL);
    ck_assert_uint_eq(choice.sample_rows, 4096);
    ck_assert_float_gt(choice.graph_cost, 0);
    ck_assert_float_gt(choice.lists_cost, 0);
    ck_assert_int_ne(access(fixture_path(), F_OK), 0);
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(cancelled_trial_ends_and_leaves_no_file)
{
    uint64_t state = 4;
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 5000, 16, 20, 0.5F, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, 16);
    const atomic_bool cancel = true;
    struct index_choice choice;
    struct error error = {0};

    options.cancel = &cancel;
    ck_assert_int_eq(index_choice_try(data.vectors, data.count, &options, 0.95, io_posix(),
                                      fixture_path(), &choice, &error),
                     ERROR_CANCELLED);
    ck_assert_int_ne(access(fixture_path(), F_OK), 0);
    fixture_data_destroy(&data);
}
END_TEST

static struct index_segment *build(const struct fixture_data *data, bool lists)
{
    const struct index_build_options options = fixture_options(VECTOR_METRIC_L2, data->dim);

    return lists ? fixture_ivf_segment(data, &options) : fixture_segment(data, &options);
}

START_TEST(cost_and_reason_lie_in_the_file)
{
    uint64_t state = 6;
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, 2000, 16, 20, 0.5F, &state);
    const struct index_choice wanted = {
        .how = INDEX_CHOICE_KNOWN, .graph_cost = 12, .lists_cost = 34};
    const struct index_effort_sample sample = {.vectors = data.vectors,
                                               .count = data.count,
                                               .dim = data.dim,
                                               .recall = 0.9,
                                               .choice = &wanted};
    struct error error = {0};

    for (int lists = 0; lists < 2; lists++) {
        struct index_segment *segment = build(&data, lists);
        const struct index_choice *choice;
        ck_assert_msg(index_segment_measure_effort(segment, fixture_path(), &sample, &error) == 0,
                      "%s", error.text);
        index_segment_close(segment);
        ck_assert_msg(index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                         VECTOR_METRIC_L2, data.dim, data.count, &segment,
                                         &error) == 0,
                      "%s", error.text);
        choice = index_segment_choice(segment);
        ck_assert_uint_eq(choice->how, INDEX_CHOICE_KNOWN);
        ck_assert_float_eq(choice->graph_cost, 12);
        ck_assert_float_eq(choice->lists_cost, 34);
        ck_assert_float_gt(choice->cost, 0);
        ck_assert_float_eq(choice->recall, 0.9F);
        ck_assert_double_gt(index_choice_rate(choice, (double)choice->cost), 0);
        index_segment_close(segment);
    }
    fixture_data_destroy(&data);
}
END_TEST

START_TEST(lists_win_unless_a_graph_is_a_tenth_faster)
{
    ck_assert(index_choice_takes_lists(100, 90));
    ck_assert(index_choice_takes_lists(100, 109));
    ck_assert(!index_choice_takes_lists(100, 111));
    ck_assert_double_eq(index_choice_scale(100, 5000, 5000), 100);
    ck_assert_double_gt(index_choice_scale(100, 5000, 10000), 140);
    ck_assert_double_lt(index_choice_scale(100, 5000, 10000), 150);
}
END_TEST

START_TEST(numbers_out_of_bounds_are_refused)
{
    static const struct index_choice bad[] = {
        {.how = INDEX_CHOICE_COMPARE + 1}, {.graph_cost = -1},         {.lists_cost = 1e13F},
        {.cost = __builtin_nanf("")},      {.score_ns = -0.5F},        {.recall = 1.5F},
        {.recall = __builtin_nanf("")},    {.cost = __builtin_inff()},
    };

    ck_assert(index_choice_is_valid(&(struct index_choice){0}));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(!index_choice_is_valid(&bad[i]), "%zu", i);
}
END_TEST

TEST_TABLE(TEST(trial_costs_both_kinds_over_a_sample_and_leaves_no_file),
           TEST(lists_win_unless_a_graph_is_a_tenth_faster),
           TEST(cancelled_trial_ends_and_leaves_no_file), TEST(cost_and_reason_lie_in_the_file),
           TEST(numbers_out_of_bounds_are_refused))
