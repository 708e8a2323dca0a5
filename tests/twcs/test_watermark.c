#include "tests/support/test_main.h"
#include "twcs/twcs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

static const struct twcs_policy policy = {.window_ms = HOUR,
                                          .ttl_ms = 7 * DAY,
                                          .late_allowed_ms = 10 * MINUTE,
                                          .idle_timeout_ms = MINUTE};

START_TEST(the_safe_clock_never_falls_and_never_leaps_untold)
{
    static const struct {
        int64_t safe_ms, wall_ms;
        bool trusted;
        int64_t then_ms;
    } cases[] = {
        {1000, 1000, false, 1000},
        {1000, 1001, false, 1001},
        {1000, 999, false, 1000},
        {1000, 999, true, 1000},
        {1000, -5, true, 1000},
        {0, TWCS_CLOCK_STEP_MAX_MS, false, TWCS_CLOCK_STEP_MAX_MS},
        {0, TWCS_CLOCK_STEP_MAX_MS + 1, false, 0},
        {0, TWCS_CLOCK_STEP_MAX_MS + 1, true, TWCS_CLOCK_STEP_MAX_MS + 1},
        {0, INT64_MAX, false, 0},
        {INT64_MIN, INT64_MAX, false, INT64_MIN},
        {INT64_MIN, 5, true, 5},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_clock clock = {.watermark_ms = TWCS_NO_TIME, .safe_wall_ms = cases[i].safe_ms};
        ck_assert_msg(twcs_clock_tick(&clock, cases[i].wall_ms, cases[i].trusted) ==
                          cases[i].then_ms,
                      "case %zu", i);
        ck_assert_int_eq(clock.safe_wall_ms, cases[i].then_ms);
    }
}
END_TEST

START_TEST(the_watermark_is_the_largest_event_time)
{
    struct twcs_clock clock = {.watermark_ms = TWCS_NO_TIME, .safe_wall_ms = DAY};

    twcs_clock_observe(&clock, &policy, -5, 0, DAY);
    ck_assert_int_eq(clock.watermark_ms, -5);
    twcs_clock_observe(&clock, &policy, 100, 0, DAY + 1);
    ck_assert_int_eq(clock.watermark_ms, 100);
    ck_assert_int_eq(clock.last_record_wall_ms, DAY + 1);
    twcs_clock_observe(&clock, &policy, 99, 0, DAY + 2);
    ck_assert_int_eq(clock.watermark_ms, 100);
    ck_assert_int_eq(clock.last_record_wall_ms, DAY + 2);
}
END_TEST

START_TEST(a_wall_clock_is_believed_or_time_goes_on_without_it)
{
    static const struct {
        int64_t safe_ms, elapsed_ms, wall_ms, bound_ms, then_ms;
        bool stands;
    } cases[] = {
        {1000, 10, 1010, 100, 1010, false},
        {1000, 10, 1007, 100, 1007, false}, /* slower than the monotonic clock */
        {1000, 10, 1110, 100, 1110, false},
        {1000, 10, 1111, 100, 1010, true},
        {1000, 0, 1100, 100, 1100, false},
        {1000, 0, 1101, 100, 1000, true},
        {1000, 10, 1000, 100, 1000, false},
        {1000, 10, 900, 100, 1000, false}, /* set back: waited for */
        {1000, 10, -900, 100, 1000, false},
        {1000, -10, 1101, 100, 1000, true},   /* a monotonic clock that is none */
        {1000, 5000, 6100, 100, 6100, false}, /* nobody looked for long: that is no leap */
        {1000, 5000, 6101, 100, 6000, true},
        {-1000, 10, 9000, INT64_MAX, 9000, false}, /* told */
        {INT64_MIN, 10, 9000, INT64_MAX, 9000, false},
        {INT64_MIN, 0, INT64_MAX, 100, INT64_MIN, true},
        {INT64_MAX - 5, 10, INT64_MAX, 0, INT64_MAX, false},
        {0, INT64_MAX, INT64_MAX, 0, INT64_MAX, false},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        bool stands;
        ck_assert_msg(twcs_clock_believe(cases[i].safe_ms, cases[i].elapsed_ms, cases[i].wall_ms,
                                         cases[i].bound_ms, &stands) == cases[i].then_ms,
                      "case %zu", i);
        ck_assert_msg(stands == cases[i].stands, "case %zu", i);
    }
}
END_TEST

START_TEST(an_idle_watermark_follows_the_safe_clock)
{
    static const struct {
        int64_t watermark_ms, last_record_ms, safe_ms;
        int64_t then_ms;
    } cases[] = {
        {0, 0, MINUTE - 1, 0},
        {0, HOUR, HOUR + MINUTE - 1, 0},
        {0, HOUR, HOUR + MINUTE, HOUR},
        {0, HOUR, 2 * HOUR, 2 * HOUR - MINUTE},
        {HOUR, HOUR, HOUR + MINUTE, HOUR},         /* not back, not for nothing */
        {3 * HOUR, HOUR, 2 * HOUR, 3 * HOUR},      /* records were ahead of the clock */
        {TWCS_NO_TIME, 0, 2 * HOUR, TWCS_NO_TIME}, /* nothing to close, nothing to make late */
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_clock clock = {.watermark_ms = cases[i].watermark_ms,
                                   .last_record_wall_ms = cases[i].last_record_ms,
                                   .safe_wall_ms = cases[i].safe_ms};
        bool moved = twcs_clock_idle(&clock, &policy);
        ck_assert_msg(clock.watermark_ms == cases[i].then_ms, "case %zu", i);
        ck_assert_msg(moved == (cases[i].then_ms != cases[i].watermark_ms), "case %zu", i);
        ck_assert_msg(!twcs_clock_idle(&clock, &policy), "case %zu", i);
    }
}
END_TEST

/* Down for an hour, a backlog waits in Kafka: the first look at the clock must not age it. */
START_TEST(downtime_is_not_idleness)
{
    struct twcs_clock clock = {
        .watermark_ms = TWCS_NO_TIME, .last_record_wall_ms = 0, .safe_wall_ms = 10 * DAY};

    twcs_clock_observe(&clock, &policy, 10 * (int64_t)DAY, 0, 10 * (int64_t)DAY);
    twcs_clock_tick(&clock, 10 * (int64_t)DAY + HOUR, true);
    ck_assert(!twcs_clock_idle(&clock, &policy));
    ck_assert_int_eq(clock.watermark_ms, 10 * (int64_t)DAY);
    twcs_clock_tick(&clock, 10 * (int64_t)DAY + HOUR + MINUTE, false);
    ck_assert(twcs_clock_idle(&clock, &policy));
}
END_TEST

START_TEST(silence_before_a_crash_counts_on_after_it)
{
    struct twcs_clock clock = {.watermark_ms = 0, .last_record_wall_ms = 0, .safe_wall_ms = 0};

    twcs_clock_tick(&clock, 40 * SECOND, false);
    twcs_clock_tick(&clock, 2 * HOUR, true); /* back after a crash */
    ck_assert(!twcs_clock_idle(&clock, &policy));
    twcs_clock_tick(&clock, 2 * HOUR + 20 * SECOND, false);
    ck_assert(twcs_clock_idle(&clock, &policy));
}
END_TEST

START_TEST(a_wall_clock_that_falls_back_makes_no_shard_idle)
{
    struct twcs_clock clock = {
        .watermark_ms = TWCS_NO_TIME, .last_record_wall_ms = 0, .safe_wall_ms = 0};

    twcs_clock_tick(&clock, DAY, true);
    twcs_clock_tick(&clock, DAY - HOUR, false);
    twcs_clock_observe(&clock, &policy, DAY - HOUR, 0, DAY - HOUR);
    ck_assert(!twcs_clock_idle(&clock, &policy));
    ck_assert_int_eq(clock.watermark_ms, DAY - HOUR);
}
END_TEST

START_TEST(a_wall_clock_that_leapt_for_one_record_delays_idleness_by_one_timeout_only)
{
    struct twcs_clock clock = {
        .watermark_ms = TWCS_NO_TIME, .last_record_wall_ms = 0, .safe_wall_ms = DAY};

    twcs_clock_observe(&clock, &policy, DAY, 0, 400 * (int64_t)DAY);
    ck_assert(!twcs_clock_idle(&clock, &policy));
    twcs_clock_tick(&clock, DAY + MINUTE - 1, false);
    ck_assert(!twcs_clock_idle(&clock, &policy));
    twcs_clock_tick(&clock, DAY + MINUTE, false);
    twcs_clock_tick(&clock, DAY + 2 * MINUTE, false);
    ck_assert(twcs_clock_idle(&clock, &policy));
    ck_assert_int_eq(clock.watermark_ms, DAY + MINUTE);
}
END_TEST

START_TEST(a_leap_that_was_told_is_not_silence)
{
    struct twcs_clock clock = {
        .watermark_ms = DAY, .last_record_wall_ms = DAY, .safe_wall_ms = DAY};

    /* An ordinary step is: the shard is idle after it. */
    twcs_clock_follow(&clock, DAY + TWCS_CLOCK_STEP_MAX_MS);
    ck_assert_int_eq(clock.safe_wall_ms, 2 * (int64_t)DAY);
    ck_assert_int_eq(clock.last_record_wall_ms, DAY);
    ck_assert(twcs_clock_idle(&clock, &policy));
    twcs_clock_observe(&clock, &policy, 2 * (int64_t)DAY, 0, 2 * (int64_t)DAY);
    twcs_clock_follow(&clock, 9 * (int64_t)DAY);
    ck_assert_int_eq(clock.safe_wall_ms, 9 * (int64_t)DAY);
    ck_assert(!twcs_clock_idle(&clock, &policy));
    twcs_clock_follow(&clock, 3 * (int64_t)DAY);
    ck_assert_int_eq(clock.safe_wall_ms, 9 * (int64_t)DAY);
}
END_TEST

TEST_TABLE(TEST(the_safe_clock_never_falls_and_never_leaps_untold),
           TEST(a_wall_clock_is_believed_or_time_goes_on_without_it),
           TEST(the_watermark_is_the_largest_event_time),
           TEST(an_idle_watermark_follows_the_safe_clock), TEST(downtime_is_not_idleness),
           TEST(a_leap_that_was_told_is_not_silence),
           TEST(silence_before_a_crash_counts_on_after_it),
           TEST(a_wall_clock_that_falls_back_makes_no_shard_idle),
           TEST(a_wall_clock_that_leapt_for_one_record_delays_idleness_by_one_timeout_only))
