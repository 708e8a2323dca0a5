/* The clock of the service against clocks that the test sets. */
#include "windrow/daemon/safe_clock.h"

#include "tests/support/test_main.h"
#include "twcs/twcs.h"

#define START    INT64_C(1700000000000)
#define STEP     ((int64_t)TWCS_CLOCK_STEP_MAX_MS)
#define DOWNTIME (4 * STEP)

/* A machine. */
static int64_t wall_now_ms, monotonic_now_ns;

static int64_t read_wall_ms(struct io *io)
{
    (void)io;
    return wall_now_ms;
}

static int64_t read_monotonic_ns(struct io *io)
{
    (void)io;
    return monotonic_now_ns;
}

static struct safe_clock *clock_on(int64_t wall_ms)
{
    static const struct io_operations operations = {.wall_ms = read_wall_ms,
                                                    .monotonic_ns = read_monotonic_ns};
    static struct io io = {&operations};

    wall_now_ms = wall_ms;
    monotonic_now_ns = 77777777;
    return safe_clock_new(&io);
}

/* Both clocks go on. */
static void pass(int64_t duration_ms)
{
    wall_now_ms += duration_ms;
    monotonic_now_ns += duration_ms * 1000000;
}

static struct safe_clock *clock_begun(int64_t wall_ms)
{
    struct safe_clock *clock = clock_on(wall_ms);

    safe_clock_begin(clock, DOWNTIME, false);
    return clock;
}

static int64_t now_ms(struct safe_clock *clock)
{
    return io_wall_ms(safe_clock_io(clock));
}

static bool frozen(struct safe_clock *clock)
{
    int64_t safe_ms, wall_ms;
    bool answer = safe_clock_frozen(clock, &safe_ms, &wall_ms);

    ck_assert_int_eq(safe_ms, now_ms(clock));
    ck_assert_int_eq(wall_ms, wall_now_ms);
    return answer;
}

START_TEST(the_clock_follows_steps_and_neither_falls_nor_leaps)
{
    static const struct {
        const char *what;
        int64_t wall_ms, safe_ms;
        bool frozen;
    } steps[] = {
        {"the start", START, START, false},
        {"a second", START + 1000, START + 1000, false},
        {"set back", START - 5 * STEP, START + 1000, false},
        {"right again", START + 2000, START + 2000, false},
        {"the largest step", START + 2000 + STEP, START + 2000 + STEP, false},
        {"one more than that", START + 2001 + 2 * STEP, START + 2000 + STEP, true},
        {"a year", START + 400 * STEP, START + 2000 + STEP, true},
        {"right again, and it follows", START + 3000 + STEP, START + 3000 + STEP, false},
    };
    struct safe_clock *clock = clock_begun(START);

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        wall_now_ms = steps[i].wall_ms;
        ck_assert_msg(now_ms(clock) == steps[i].safe_ms, "%s", steps[i].what);
        ck_assert_msg(frozen(clock) == steps[i].frozen, "%s", steps[i].what);
    }
    safe_clock_delete(clock);
}
END_TEST

START_TEST(a_start_begins_where_the_last_one_ended)
{
    static const struct {
        const char *what;
        int64_t persisted_ms[3]; /* of shards, in the order of opening */
        int64_t wall_ms;
        bool trusted;
        int64_t safe_ms;
        bool frozen;
    } cases[] = {
        {"a fresh folder", {0, 0, 0}, START, false, START, false},
        {"shards that hold nothing and one that does",
         {0, START, 0},
         START + 9,
         false,
         START + 9,
         false},
        {"an outage", {START, 0, 0}, START + DOWNTIME, false, START + DOWNTIME, false},
        {"a longer one", {START, 0, 0}, START + DOWNTIME + 1, false, START, true},
        {"the latest shard counts",
         {5, START, 7},
         START + DOWNTIME,
         false,
         START + DOWNTIME,
         false},
        {"a word", {START, 0, 0}, START + 400 * STEP, true, START + 400 * STEP, false},
        {"a wall clock set back", {START, 0, 0}, START - 9 * STEP, false, START, false},
        {"set back, and trusted", {START, 0, 0}, START - 9 * STEP, true, START, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct safe_clock *clock = clock_on(cases[i].wall_ms);
        int64_t latest_ms = 0;
        ck_assert_int_eq(now_ms(clock), wall_now_ms);
        for (size_t k = 0; k < 3; k++) {
            safe_clock_raise(clock, cases[i].persisted_ms[k]);
            latest_ms = cases[i].persisted_ms[k] > latest_ms ? cases[i].persisted_ms[k] : latest_ms;
            pass(5000);
            /* Nothing expires before all shards have told. */
            ck_assert_int_eq(now_ms(clock), latest_ms ? latest_ms : wall_now_ms);
        }
        wall_now_ms = cases[i].wall_ms;
        safe_clock_begin(clock, DOWNTIME, cases[i].trusted);
        ck_assert_msg(now_ms(clock) == cases[i].safe_ms, "%s", cases[i].what);
        ck_assert_msg(frozen(clock) == cases[i].frozen, "%s", cases[i].what);
        safe_clock_delete(clock);
    }
}
END_TEST

START_TEST(a_frozen_clock_continues_at_the_pace_of_the_monotonic_one)
{
    struct safe_clock *clock = clock_begun(START);

    wall_now_ms += 30 * STEP;
    ck_assert(frozen(clock));
    for (int i = 0; i < 1000; i++) {
        pass(i % 3); /* also less than a reading takes */
        monotonic_now_ns += 500000;
        (void)now_ms(clock);
    }
    ck_assert_int_eq(now_ms(clock), START + 999 + 500);
    pass(2 * STEP); /* a minute or two days: time that passed is no leap */
    ck_assert_int_eq(now_ms(clock), START + 1499 + 2 * STEP);
    ck_assert(frozen(clock));
    wall_now_ms = START + 3 * STEP; /* set right, within what is followed */
    ck_assert(!frozen(clock));
    ck_assert_int_eq(now_ms(clock), START + 3 * STEP);
    safe_clock_delete(clock);
}
END_TEST

START_TEST(an_operator_who_trusts_the_system_clock_unfreezes_it)
{
    struct safe_clock *clock = clock_begun(START);
    int64_t before_ms, after_ms;

    wall_now_ms = START + 9 * STEP;
    ck_assert(frozen(clock));
    ck_assert(safe_clock_trust(clock, &before_ms, &after_ms));
    ck_assert_int_eq(before_ms, START);
    ck_assert_int_eq(after_ms, START + 9 * STEP);
    ck_assert(!frozen(clock));
    ck_assert_int_eq(now_ms(clock), START + 9 * STEP);
    /* The confirmation holds for that moment, not for the next leap. */
    wall_now_ms += 2 * STEP;
    ck_assert(frozen(clock));
    wall_now_ms = START + 9 * STEP + 5;
    ck_assert(!safe_clock_trust(clock, &before_ms, &after_ms));
    ck_assert_int_eq(after_ms, START + 9 * STEP + 5);
    safe_clock_delete(clock);
}
END_TEST

START_TEST(a_shard_that_comes_later_may_raise_the_clock)
{
    struct safe_clock *clock = clock_begun(START);

    safe_clock_raise(clock, START + 7000);
    safe_clock_raise(clock, START + 1);
    ck_assert_int_eq(now_ms(clock), START + 7000);
    pass(7001);
    ck_assert_int_eq(now_ms(clock), START + 7001);
    safe_clock_delete(clock);
}
END_TEST

TEST_TABLE(TEST(the_clock_follows_steps_and_neither_falls_nor_leaps),
           TEST(a_start_begins_where_the_last_one_ended),
           TEST(a_frozen_clock_continues_at_the_pace_of_the_monotonic_one),
           TEST(an_operator_who_trusts_the_system_clock_unfreezes_it),
           TEST(a_shard_that_comes_later_may_raise_the_clock))
