#include "tests/support/test_main.h"
#include "twcs/twcs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { HOUR = 3600000, DAY = 24 * HOUR };

START_TEST(a_window_starts_at_a_multiple_of_its_length)
{
    static const struct {
        int64_t event_ms, window_ms, start_ms;
    } cases[] = {
        {0, HOUR, 0},
        {1, HOUR, 0},
        {HOUR - 1, HOUR, 0},
        {HOUR, HOUR, HOUR},
        {-1, HOUR, -HOUR},
        {-HOUR, HOUR, -HOUR},
        {-HOUR - 1, HOUR, -2 * (int64_t)HOUR},
        {5, 1, 5},
        {-5, 1, -5},
        {1795230245678, HOUR, 1795230000000},
        {1795230245678, DAY, 1795219200000},
        {INT64_MAX, HOUR, INT64_MAX - INT64_MAX % HOUR},
        {INT64_MIN, 1, INT64_MIN},
        {INT64_MIN, 2, INT64_MIN},
        {INT64_MIN, HOUR, INT64_MIN - INT64_MIN % HOUR}, /* there is no multiple below */
        {INT64_MIN + HOUR, HOUR, INT64_MIN - INT64_MIN % HOUR},
        {INT64_MAX, INT64_MAX, INT64_MAX},
        {INT64_MAX - 1, INT64_MAX, 0},
    };

    for (size_t i = 0; i < COUNT(cases); i++)
        ck_assert_msg(twcs_window_start(cases[i].event_ms, cases[i].window_ms) == cases[i].start_ms,
                      "case %zu: %lld", i,
                      (long long)twcs_window_start(cases[i].event_ms, cases[i].window_ms));
}
END_TEST

START_TEST(every_time_lies_in_exactly_one_window)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 100000; i++) {
        int64_t event_ms = (int64_t)test_random(&random) >> (test_random(&random) % 62 + 1);
        int64_t window_ms = 1 + (int64_t)(test_random(&random) % (30 * (uint64_t)DAY));
        int64_t start_ms = twcs_window_start(event_ms, window_ms);
        ck_assert(start_ms % window_ms == 0);
        ck_assert(start_ms <= event_ms && event_ms - start_ms < window_ms);
    }
}
END_TEST

START_TEST(the_shorter_ttl_counts)
{
    static const struct {
        int64_t ttl_ms, event_ms, row_ttl_ms, expiry_ms;
    } cases[] = {
        {1000, 5, 0, 1005},
        {1000, 5, 300, 305},
        {1000, 5, 3000, 1005},
        {1000, -2000, 0, -1000},
        {0, 5, 0, TWCS_NEVER},
        {0, 5, 300, 305},
        {0, 5, INT64_MAX, TWCS_NEVER},
        {INT64_MAX, 5, 0, TWCS_NEVER},
        {INT64_MAX, 5, 300, 305},
        {1000, INT64_MAX - 5, 0, TWCS_NEVER},
        {1000, INT64_MIN, 0, INT64_MIN + 1000},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_policy policy = {.ttl_ms = cases[i].ttl_ms};
        ck_assert_msg(twcs_expiry(&policy, cases[i].event_ms, cases[i].row_ttl_ms) ==
                          cases[i].expiry_ms,
                      "case %zu", i);
    }
}
END_TEST

START_TEST(a_window_closes_when_the_watermark_reaches_its_end_and_the_allowed_lateness)
{
    static const struct {
        int64_t watermark_ms, late_allowed_ms, end_ms;
        bool closed;
    } cases[] = {
        {TWCS_NO_TIME, 0, 1000, false}, {TWCS_NO_TIME, 0, INT64_MIN, false},
        {999, 0, 1000, false},          {1000, 0, 1000, true},
        {1000, 1, 1000, false},         {1599, 600, 1000, false},
        {1600, 600, 1000, true},        {INT64_MAX - 1, 600, INT64_MAX - 100, false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_policy policy = {.late_allowed_ms = cases[i].late_allowed_ms};
        struct twcs_clock clock = {.watermark_ms = cases[i].watermark_ms};
        ck_assert_msg(twcs_window_closed(&policy, &clock, cases[i].end_ms) == cases[i].closed,
                      "case %zu", i);
    }
}
END_TEST

TEST_TABLE(TEST(a_window_starts_at_a_multiple_of_its_length),
           TEST(every_time_lies_in_exactly_one_window), TEST(the_shorter_ttl_counts),
           TEST(a_window_closes_when_the_watermark_reaches_its_end_and_the_allowed_lateness))
