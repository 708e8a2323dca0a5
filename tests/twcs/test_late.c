#include "tests/support/test_main.h"
#include "tests/twcs/clock.h"
#include "twcs/twcs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* A day of TTL, windows of an hour, ten minutes of lateness, five of future; it is noon of day 10.
 */
#define NOON (INT64_C(10) * DAY + 12 * HOUR)

static const struct twcs_policy policy = {
    .window_ms = HOUR, .ttl_ms = DAY, .late_allowed_ms = 10 * MINUTE, .max_future_ms = 5 * MINUTE};

START_TEST(a_record_is_judged_by_its_time)
{
    static const struct {
        const char *what;
        int64_t event_ms, row_ttl_ms, watermark_ms;
        enum twcs_verdict verdict;
    } cases[] = {
        {"now", NOON, 0, NOON, TWCS_ACCEPT},
        {"first of a shard", NOON, 0, TWCS_NO_TIME, TWCS_ACCEPT},
        {"first of a shard, hours old", NOON - 5 * HOUR, 0, TWCS_NO_TIME, TWCS_ACCEPT},
        {"a little ahead", NOON + 5 * MINUTE, 0, NOON, TWCS_ACCEPT},
        {"too far ahead", NOON + 5 * MINUTE + 1, 0, NOON, TWCS_FUTURE},
        {"a year ahead", NOON + INT64_C(365) * DAY, 0, NOON, TWCS_FUTURE},
        {"the end of time", INT64_MAX, 0, NOON, TWCS_FUTURE},
        {"ahead of a shard without watermark", NOON + HOUR, 0, TWCS_NO_TIME, TWCS_FUTURE},
        {"ahead with a TTL of its own", NOON + HOUR, 1, NOON, TWCS_FUTURE},
        {"out of order in an open window", NOON - HOUR, 0, NOON, TWCS_ACCEPT},
        {"window closes only behind the lateness", NOON - HOUR, 0, NOON + 10 * MINUTE - 1,
         TWCS_ACCEPT},
        {"window just closed", NOON - HOUR, 0, NOON + 10 * MINUTE, TWCS_ACCEPT_LATE},
        {"first millisecond of the open window", NOON, 0, NOON + 30 * MINUTE, TWCS_ACCEPT},
        {"last millisecond of the closed one", NOON - 1, 0, NOON + 30 * MINUTE, TWCS_ACCEPT_LATE},
        {"hours late", NOON - 20 * HOUR, 0, NOON, TWCS_ACCEPT_LATE},
        {"one millisecond to live", NOON - DAY + 1, 0, NOON, TWCS_ACCEPT_LATE},
        {"expires now", NOON - DAY, 0, NOON, TWCS_EXPIRED},
        {"long expired", NOON - 3 * INT64_C(86400000), 0, NOON, TWCS_EXPIRED},
        {"expired in a shard without watermark", NOON - 2 * INT64_C(86400000), 0, TWCS_NO_TIME,
         TWCS_EXPIRED},
        {"the beginning of time", INT64_MIN, 0, NOON, TWCS_EXPIRED},
        {"expired by its own TTL in an open window", NOON - MINUTE, MINUTE, NOON, TWCS_EXPIRED},
        {"its own TTL not yet over", NOON - MINUTE, MINUTE + 1, NOON, TWCS_ACCEPT},
        {"its own TTL does not lengthen", NOON - DAY, INT64_MAX, NOON, TWCS_EXPIRED},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_clock clock = {
            cases[i].watermark_ms, NOON, NOON, {NOON - HOUR, NOON, cases[i].watermark_ms}, 0};
        struct twcs_clock before = clock;
        ck_assert_msg(twcs_judge(&policy, &clock, cases[i].event_ms, cases[i].row_ttl_ms, NOON) ==
                          cases[i].verdict,
                      "%s", cases[i].what);
        ck_assert_mem_eq(&clock, &before, sizeof(clock));
    }
}
END_TEST

START_TEST(late_records_follow_the_policy_and_nothing_else_does)
{
    static const struct {
        enum twcs_late_policy late_policy;
        enum twcs_verdict late, expired, future, open;
    } cases[] = {
        {TWCS_LATE_ACCEPT, TWCS_ACCEPT_LATE, TWCS_EXPIRED, TWCS_FUTURE, TWCS_ACCEPT},
        {TWCS_LATE_DROP, TWCS_DROP_LATE, TWCS_EXPIRED, TWCS_FUTURE, TWCS_ACCEPT},
        {TWCS_LATE_DEAD_LETTER, TWCS_DEAD_LETTER_LATE, TWCS_EXPIRED, TWCS_FUTURE, TWCS_ACCEPT},
    };
    struct twcs_clock clock = {NOON, NOON, NOON, {NOON, NOON, NOON}, 0};

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_policy changed = policy;
        changed.late_policy = cases[i].late_policy;
        ck_assert_int_eq(twcs_judge(&changed, &clock, NOON - 5 * HOUR, 0, NOON), cases[i].late);
        ck_assert_int_eq(twcs_judge(&changed, &clock, NOON - DAY, 0, NOON), cases[i].expired);
        ck_assert_int_eq(twcs_judge(&changed, &clock, NOON + HOUR, 0, NOON), cases[i].future);
        ck_assert_int_eq(twcs_judge(&changed, &clock, NOON, 0, NOON), cases[i].open);
    }
}
END_TEST

START_TEST(without_a_ttl_only_a_records_own_expires_it)
{
    struct twcs_policy endless = policy;
    struct twcs_clock clock = clock_at(NOON);

    endless.ttl_ms = 0;
    ck_assert_int_eq(twcs_judge(&endless, &clock, 0, 0, NOON), TWCS_ACCEPT_LATE);
    ck_assert_int_eq(twcs_judge(&endless, &clock, 0, NOON, NOON), TWCS_EXPIRED);
    ck_assert_int_eq(twcs_judge(&endless, &clock, 0, NOON + 1, NOON), TWCS_ACCEPT_LATE);
}
END_TEST

START_TEST(without_windows_nothing_is_late)
{
    struct twcs_policy windowless = {.ttl_ms = 1000, .late_policy = TWCS_LATE_DROP};
    struct twcs_clock clock = clock_at(5000);

    ck_assert_int_eq(twcs_judge(&windowless, &clock, 4001, 0, 5000), TWCS_ACCEPT);
    ck_assert_int_eq(twcs_judge(&windowless, &clock, 4000, 0, 5000), TWCS_EXPIRED);
    ck_assert_int_eq(twcs_judge(&windowless, &clock, 5001, 0, 5000), TWCS_FUTURE);
}
END_TEST

START_TEST(what_only_the_clock_that_stands_calls_future_waits)
{
    static const struct {
        int64_t event_ms, wall_ms;
        bool waits;
    } cases[] = {
        {1100, 1000, false}, /* no future at all */
        {1101, 1000, false}, /* of both: a dead letter */
        {1101, 1001, true},       {1101, INT64_MAX, true},
        {9100, 9000, true},       {9101, 9000, false},
        {INT64_MAX, 9000, false}, {INT64_MAX, INT64_MAX, true},
        {1100, 9000, false},      {INT64_MIN, 9000, false},
        {1101, 900, false}, /* a wall clock that was set back judges nobody */
    };
    const struct twcs_policy strict = {.window_ms = 10, .max_future_ms = 100};
    const struct twcs_clock clock = {
        5000, 5000, 1000, {TWCS_NO_TIME, TWCS_NO_TIME, TWCS_NO_TIME}, 0};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool waits = twcs_future_waits(&strict, &clock, cases[i].event_ms, cases[i].wall_ms);
        ck_assert_msg(waits == cases[i].waits, "case %zu", i);
        ck_assert(!waits ||
                  twcs_judge(&strict, &clock, cases[i].event_ms, 0, TWCS_NO_TIME) == TWCS_FUTURE);
    }
}
END_TEST

TEST_TABLE(TEST(what_only_the_clock_that_stands_calls_future_waits),
           TEST(without_windows_nothing_is_late), TEST(a_record_is_judged_by_its_time),
           TEST(late_records_follow_the_policy_and_nothing_else_does),
           TEST(without_a_ttl_only_a_records_own_expires_it))
