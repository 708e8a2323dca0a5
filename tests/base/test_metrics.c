#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/metrics.h"
#include "base/trace.h"
#include "tests/support/test_main.h"

#define LABELS(...)                                                                                \
    (const struct metric_label[])                                                                  \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

static void check_rendering(struct metrics *metrics, const char *expected)
{
    struct buffer out = {0};

    metrics_render(metrics, &out);
    ck_assert_str_eq(buffer_text(&out), expected);
    buffer_destroy(&out);
}

START_TEST(families_are_sorted_and_described_once)
{
    struct metrics *metrics = metrics_new();
    struct metric *b = metrics_counter(metrics, "windrow_b_total", "Second.",
                                       LABELS({"collection", "news"}, {"shard", "1"}), 2);
    struct metric *a = metrics_gauge(metrics, "windrow_a_bytes", "First.", NULL, 0);
    struct metric *b0 = metrics_counter(metrics, "windrow_b_total", "Second.",
                                        LABELS({"collection", "news"}, {"shard", "0"}), 2);

    metric_set(a, 1.5);
    metric_add(b, 2);
    metric_add(b, 1);
    metric_add(b0, 7);
    check_rendering(metrics, "# HELP windrow_a_bytes First.\n"
                             "# TYPE windrow_a_bytes gauge\n"
                             "windrow_a_bytes 1.5\n"
                             "# HELP windrow_b_total Second.\n"
                             "# TYPE windrow_b_total counter\n"
                             "windrow_b_total{collection=\"news\",shard=\"0\"} 7\n"
                             "windrow_b_total{collection=\"news\",shard=\"1\"} 3\n");
    metrics_delete(metrics);
}
END_TEST

START_TEST(histograms_are_cumulative_and_end_with_infinity)
{
    static const double bounds[] = {0.1, 1};
    struct metrics *metrics = metrics_new();
    struct metric *plain =
        metrics_histogram(metrics, "windrow_h_seconds", "H.", NULL, 0, bounds, 2);
    struct metric *labelled =
        metrics_histogram(metrics, "windrow_h_seconds", "H.", LABELS({"op", "x"}), 1, bounds, 2);

    metric_observe(plain, 0.1);
    metric_observe(plain, 0.05);
    metric_observe(plain, 0.5);
    metric_observe(plain, 30);
    metric_observe(labelled, 1);
    check_rendering(metrics, "# HELP windrow_h_seconds H.\n"
                             "# TYPE windrow_h_seconds histogram\n"
                             "windrow_h_seconds_bucket{le=\"0.1\"} 2\n"
                             "windrow_h_seconds_bucket{le=\"1\"} 3\n"
                             "windrow_h_seconds_bucket{le=\"+Inf\"} 4\n"
                             "windrow_h_seconds_sum 30.65\n"
                             "windrow_h_seconds_count 4\n"
                             "windrow_h_seconds_bucket{op=\"x\",le=\"0.1\"} 0\n"
                             "windrow_h_seconds_bucket{op=\"x\",le=\"1\"} 1\n"
                             "windrow_h_seconds_bucket{op=\"x\",le=\"+Inf\"} 1\n"
                             "windrow_h_seconds_sum{op=\"x\"} 1\n"
                             "windrow_h_seconds_count{op=\"x\"} 1\n");
    metrics_delete(metrics);
}
END_TEST

START_TEST(labels_and_help_are_escaped)
{
    struct metrics *metrics = metrics_new();

    metric_set(metrics_gauge(metrics, "windrow_x", "a \\ \"b\"\nc",
                             LABELS({"reason", "say \"no\"\\\n"}), 1),
               1);
    check_rendering(metrics, "# HELP windrow_x a \\\\ \"b\"\\nc\n"
                             "# TYPE windrow_x gauge\n"
                             "windrow_x{reason=\"say \\\"no\\\"\\\\\\n\"} 1\n");
    metrics_delete(metrics);
}
END_TEST

START_TEST(special_numbers_have_their_prometheus_form)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0, "0"},
        {-0.5, "-0.5"},
        {1e15, "1000000000000000.0"},
        {1e21, "1e+21"},
        {123456789, "123456789"},
        {(double)INFINITY, "+Inf"},
        {-(double)INFINITY, "-Inf"},
        {(double)NAN, "NaN"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct metrics *metrics = metrics_new();
        char expected[200];
        metric_set(metrics_gauge(metrics, "g", "h", NULL, 0), cases[i].value);
        snprintf(expected, sizeof(expected), "# HELP g h\n# TYPE g gauge\ng %s\n", cases[i].text);
        check_rendering(metrics, expected);
        metrics_delete(metrics);
    }
}
END_TEST

START_TEST(the_same_labels_give_the_same_series)
{
    struct metrics *metrics = metrics_new();
    struct metric *first = metrics_counter(metrics, "c_total", "h", LABELS({"shard", "1"}), 1);

    ck_assert_ptr_eq(first, metrics_counter(metrics, "c_total", "h", LABELS({"shard", "1"}), 1));
    ck_assert_ptr_ne(first, metrics_counter(metrics, "c_total", "h", LABELS({"shard", "2"}), 1));
    ck_assert_ptr_ne(first, metrics_counter(metrics, "d_total", "h", LABELS({"shard", "1"}), 1));
    metrics_delete(metrics);
}
END_TEST

START_TEST(a_removed_series_is_gone_and_its_family_with_the_last)
{
    struct metrics *metrics = metrics_new();
    struct metric *one = metrics_counter(metrics, "c_total", "h", LABELS({"shard", "1"}), 1);
    struct metric *two = metrics_counter(metrics, "c_total", "h", LABELS({"shard", "2"}), 1);

    metrics_remove(metrics, one);
    check_rendering(metrics, "# HELP c_total h\n# TYPE c_total counter\nc_total{shard=\"2\"} 0\n");
    metrics_remove(metrics, two);
    check_rendering(metrics, "");
    metrics_delete(metrics);
}
END_TEST

START_TEST(without_a_registry_everything_is_a_no_op)
{
    struct metric *metric = metrics_counter(NULL, "c_total", "h", NULL, 0);
    struct buffer out = {0};

    ck_assert_ptr_null(metric);
    metric_add(metric, 1);
    metric_set(metric, 1);
    metric_observe(metric, 1);
    ck_assert(metric_value(metric) == 0);
    metrics_remove(NULL, metric);
    metrics_on_render(NULL, NULL, NULL);
    metrics_render(NULL, &out);
    ck_assert_uint_eq(out.size, 0);
    metrics_delete(NULL);
}
END_TEST

struct refresher {
    struct metrics *metrics;
    int calls;
};

static void refresh(void *context)
{
    struct refresher *refresher = context;

    refresher->calls++;
    metric_set(metrics_gauge(refresher->metrics, "g", "h", NULL, 0), refresher->calls);
}

START_TEST(gauges_are_refreshed_right_before_each_rendering)
{
    struct refresher refresher = {.metrics = metrics_new()};

    metrics_on_render(refresher.metrics, refresh, &refresher);
    check_rendering(refresher.metrics, "# HELP g h\n# TYPE g gauge\ng 1\n");
    check_rendering(refresher.metrics, "# HELP g h\n# TYPE g gauge\ng 2\n");
    metrics_delete(refresher.metrics);
}
END_TEST

static void *count_up(void *argument)
{
    struct metrics *metrics = argument;
    struct metric *counter = metrics_counter(metrics, "c_total", "h", NULL, 0);
    struct metric *histogram = metrics_histogram(
        metrics, "h_seconds", "h", NULL, 0, metrics_seconds_bounds, metrics_seconds_bound_count);

    for (int i = 0; i < 50000; i++) {
        metric_add(counter, 1);
        metric_observe(histogram, 0.5);
    }
    return NULL;
}

START_TEST(no_update_is_lost_between_threads)
{
    struct metrics *metrics = metrics_new();
    struct buffer out = {0};
    pthread_t threads[4];

    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_up, metrics), 0);
    for (int i = 0; i < 20; i++) {
        out.size = 0;
        metrics_render(metrics, &out);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    out.size = 0;
    metrics_render(metrics, &out);
    ck_assert_ptr_nonnull(strstr(buffer_text(&out), "\nc_total 200000\n"));
    ck_assert_ptr_nonnull(strstr((char *)out.data, "\nh_seconds_bucket{le=\"0.25\"} 0\n"));
    ck_assert_ptr_nonnull(strstr((char *)out.data, "\nh_seconds_bucket{le=\"0.5\"} 200000\n"));
    ck_assert_ptr_nonnull(strstr((char *)out.data, "\nh_seconds_sum 100000\n"));
    buffer_destroy(&out);
    metrics_delete(metrics);
}
END_TEST

START_TEST(openmetrics_names_the_trace_of_a_sampled_observation)
{
    static const double bounds[] = {1};
    static const char expected[] =
        "# HELP a C.\n# TYPE a counter\na_total 2\n"
        "# HELP h_seconds H.\n# TYPE h_seconds histogram\n"
        "h_seconds_bucket{le=\"1\"} 2 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.5 ";
    struct metrics *metrics = metrics_new();
    struct metric *counter = metrics_counter(metrics, "a_total", "C.", NULL, 0);
    struct metric *histogram = metrics_histogram(metrics, "h_seconds", "H.", NULL, 0, bounds, 1);
    struct trace_context trace;
    struct buffer out = {0};
    const char *behind;

    ck_assert(trace_parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", &trace));
    metric_add(counter, 2);
    (void)trace_set_current(&trace);
    metric_observe(histogram, 0.5);
    trace.sampled = false;
    metric_observe(histogram, 7); /* nobody could look at its trace */
    (void)trace_set_current(NULL);
    metric_observe(histogram, 0.25);
    metrics_render_openmetrics(metrics, &out);
    ck_assert_msg(strncmp(buffer_text(&out), expected, sizeof(expected) - 1) == 0, "%s",
                  buffer_text(&out));
    behind = strchr(buffer_text(&out) + sizeof(expected) - 1, '\n');
    ck_assert_str_eq(behind, "\nh_seconds_bucket{le=\"+Inf\"} 3\nh_seconds_sum 7.75\n"
                             "h_seconds_count 3\n# EOF\n");
    buffer_destroy(&out);
    metrics_delete(metrics);
}
END_TEST

START_TEST(a_sum_has_all_series_of_a_family)
{
    static const double bounds[] = {1, 2};
    struct metrics *metrics = metrics_new();
    struct metric_label a = {"shard", "0"}, b = {"shard", "1"};
    struct metrics_total total;

    ck_assert(!metrics_sum(metrics, "windrow_a_total", &total));
    metric_add(metrics_counter(metrics, "windrow_a_total", "A", &a, 1), 3);
    metric_add(metrics_counter(metrics, "windrow_a_total", "A", &b, 1), 4);
    metric_observe(metrics_histogram(metrics, "windrow_b_seconds", "B", &a, 1, bounds, 2), 1.5);
    metric_observe(metrics_histogram(metrics, "windrow_b_seconds", "B", &b, 1, bounds, 2), 9);
    ck_assert(metrics_sum(metrics, "windrow_a_total", &total));
    ck_assert_double_eq(total.value, 7);
    ck_assert_uint_eq(total.bound_count, 0);
    ck_assert(metrics_sum(metrics, "windrow_b_seconds", &total));
    ck_assert_double_eq(total.value, 10.5);
    ck_assert_uint_eq(total.count, 2);
    ck_assert_uint_eq(total.bound_count, 2);
    ck_assert_uint_eq(total.buckets[0], 0);
    ck_assert_uint_eq(total.buckets[1], 1);
    ck_assert_uint_eq(total.buckets[2], 1);
    ck_assert(!metrics_sum(NULL, "windrow_a_total", &total));
    metrics_delete(metrics);
}
END_TEST

START_TEST(a_raised_counter_never_goes_back)
{
    struct metrics *metrics = metrics_new();
    struct metric *counter = metrics_counter(metrics, "c_total", "h", NULL, 0);

    metric_raise(counter, 5);
    metric_raise(counter, 3);
    ck_assert_double_eq(metric_value(counter), 5);
    metric_raise(counter, 6.5);
    ck_assert_double_eq(metric_value(counter), 6.5);
    metrics_delete(metrics);
}
END_TEST

TEST_TABLE(TEST(a_sum_has_all_series_of_a_family), TEST(families_are_sorted_and_described_once),
           TEST(histograms_are_cumulative_and_end_with_infinity), TEST(labels_and_help_are_escaped),
           TEST(special_numbers_have_their_prometheus_form),
           TEST(the_same_labels_give_the_same_series),
           TEST(a_removed_series_is_gone_and_its_family_with_the_last),
           TEST(without_a_registry_everything_is_a_no_op),
           TEST(gauges_are_refreshed_right_before_each_rendering),
           TEST(openmetrics_names_the_trace_of_a_sampled_observation),
           TEST(a_raised_counter_never_goes_back), TEST(no_update_is_lost_between_threads))
