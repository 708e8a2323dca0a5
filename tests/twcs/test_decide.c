#include <string.h>

#include "tests/support/test_main.h"
#include "tests/twcs/clock.h"
#include "twcs/twcs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR, NOTHING = -1 };

#define NOW (INT64_C(10) * DAY)
#define MIB (UINT64_C(1) << 20)

static const struct twcs_policy policy = {
    .window_ms = HOUR,
    .ttl_ms = DAY,
    .late_allowed_ms = 10 * MINUTE,
    .tiered_min_threshold = 4,
    .tiered_max_threshold = 32,
    .reseal_ratio = 0.1,
    .dead_ratio = 0.3,
};

static const struct twcs_run chunk_list[] = {
    {.bytes = 10 * MIB, .rows = 100}, {.bytes = 10 * MIB, .rows = 100},
    {.bytes = 10 * MIB, .rows = 100}, {.bytes = 10 * MIB, .rows = 100},
    {.bytes = 10 * MIB, .rows = 100},
};

/* A window of an hour that ended `age` before now and lives a day after its end. */
static struct twcs_window window_aged(int64_t age_ms)
{
    return (struct twcs_window){.start_ms = NOW - age_ms - HOUR,
                                .length_ms = HOUR,
                                .chunks = chunk_list,
                                .max_expiry_ms = NOW - age_ms + DAY,
                                .last_arrival_wall_ms = NOW - age_ms};
}

static int decide_at(const struct twcs_policy *with, const struct twcs_clock *clock,
                     const struct twcs_window *window)
{
    struct twcs_decision decision;

    if (twcs_decide(with, clock, window, 1, &decision, 1) == 0)
        return NOTHING;
    ck_assert_uint_eq(decision.window, 0);
    return (int)decision.action;
}

static int decide_one(const struct twcs_policy *with, const struct twcs_window *window)
{
    const struct twcs_clock clock = clock_at(NOW);

    return decide_at(with, &clock, window);
}

START_TEST(an_unsealed_window_tiers_seals_or_goes)
{
    static const struct {
        const char *what;
        int64_t age_ms;
        size_t chunks;
        uint64_t memtable_rows;
        bool busy;
        int action;
    } cases[] = {
        {"open and empty", -HOUR, 0, 0, false, NOTHING},
        {"open with few chunks", -HOUR, 3, 9, false, NOTHING},
        {"open with many chunks", -HOUR, 4, 0, false, TWCS_TIER},
        {"open, many chunks, busy", -HOUR, 4, 0, true, NOTHING},
        {"ended, late data still allowed", 10 * MINUTE - 1, 1, 0, false, NOTHING},
        {"tiers while late data are allowed", 10 * MINUTE - 1, 4, 0, false, TWCS_TIER},
        {"closed", 10 * MINUTE, 1, 0, false, TWCS_SEAL},
        {"closed, rows only in memory", 10 * MINUTE, 0, 1, false, TWCS_SEAL},
        {"closed: the major comes before tiers", 10 * MINUTE, 5, 0, false, TWCS_SEAL},
        {"closed without rows", 10 * MINUTE, 0, 0, false, NOTHING},
        {"closed and under way", 10 * MINUTE, 5, 0, true, NOTHING},
        {"one millisecond to live", DAY - 1, 1, 0, false, TWCS_SEAL},
        {"expired: not worth a seal", DAY, 5, 0, false, TWCS_DROP_TTL},
        {"expired with rows in memory", DAY, 0, 9, false, TWCS_DROP_TTL},
        {"expired and busy", DAY, 5, 0, true, NOTHING},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_window window = window_aged(cases[i].age_ms);
        window.chunk_count = cases[i].chunks;
        window.memtable_rows = cases[i].memtable_rows;
        window.busy = cases[i].busy;
        ck_assert_msg(decide_one(&policy, &window) == cases[i].action, "%s: %d", cases[i].what,
                      decide_one(&policy, &window));
    }
}
END_TEST

START_TEST(a_sealed_window_is_left_alone_until_a_ratio_is_passed)
{
    static const struct {
        const char *what;
        uint64_t run_mib, run_rows, masked_rows;
        size_t late_chunks;
        int64_t age_ms;
        bool busy;
        int action;
    } cases[] = {
        {"nothing late", 400, 1000, 0, 0, HOUR, false, NOTHING},
        {"late data below the ratio", 400, 1000, 0, 1, HOUR, false, NOTHING},
        {"late data at the ratio", 100, 1000, 0, 1, HOUR, false, NOTHING},
        {"late data past the ratio", 99, 1000, 0, 1, HOUR, false, TWCS_RESEAL},
        {"late data tier below the ratio", 4000, 1000, 0, 4, HOUR, false, TWCS_TIER},
        {"the reseal comes before the tier", 300, 1000, 0, 4, HOUR, false, TWCS_RESEAL},
        {"past the ratio and busy", 99, 1000, 0, 1, HOUR, true, NOTHING},
        {"few masked rows", 400, 1000, 300, 0, HOUR, false, NOTHING},
        {"many masked rows", 400, 1000, 301, 0, HOUR, false, TWCS_RESEAL},
        {"all rows masked", 400, 1000, 1000, 0, HOUR, false, TWCS_RESEAL},
        {"an empty run with late data", 0, 0, 0, 1, HOUR, false, TWCS_RESEAL},
        {"expired", 400, 1000, 0, 0, DAY, false, TWCS_DROP_TTL},
        {"expired: no reseal first", 1, 1000, 900, 4, DAY, false, TWCS_DROP_TTL},
        {"expired and busy", 400, 1000, 0, 0, DAY, true, NOTHING},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_window window = window_aged(cases[i].age_ms);
        window.sealed = true;
        window.generation = 1;
        window.sealed_run =
            (struct twcs_run){.bytes = cases[i].run_mib * MIB, .rows = cases[i].run_rows};
        window.masked_rows = cases[i].masked_rows;
        window.chunk_count = cases[i].late_chunks;
        window.busy = cases[i].busy;
        ck_assert_msg(decide_one(&policy, &window) == cases[i].action, "%s: %d", cases[i].what,
                      decide_one(&policy, &window));
    }
}
END_TEST

START_TEST(late_chunks_are_folded_in_when_no_more_come)
{
    static const struct {
        const char *what;
        int64_t quiet_ms, last_arrival_ms;
        size_t late_chunks;
        int action;
    } cases[] = {
        {"off", 0, NOW - 2 * HOUR, 1, NOTHING},
        {"not yet quiet", HOUR, NOW - HOUR + 1, 1, NOTHING},
        {"quiet", HOUR, NOW - HOUR, 1, TWCS_RESEAL},
        {"quiet, nothing late", HOUR, NOW - HOUR, 0, NOTHING},
        {"arrival on a clock ahead", HOUR, NOW + DAY, 1, NOTHING},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_policy quiet = policy;
        struct twcs_window window = window_aged(HOUR);
        quiet.reseal_quiet_ms = cases[i].quiet_ms;
        window.sealed = true;
        window.sealed_run = (struct twcs_run){.bytes = 4000 * MIB, .rows = 1000};
        window.chunk_count = cases[i].late_chunks;
        window.last_arrival_wall_ms = cases[i].last_arrival_ms;
        ck_assert_msg(decide_one(&quiet, &window) == cases[i].action, "%s", cases[i].what);
    }
}
END_TEST

START_TEST(drops_come_first_then_seals_oldest_first_then_reseals_then_tiers)
{
    struct twcs_window windows[8];
    struct twcs_clock clock = clock_at(NOW);
    struct twcs_decision decisions[8];
    static const struct {
        enum twcs_action action;
        size_t window;
    } expected[] = {
        {TWCS_DROP_TTL, 0}, {TWCS_DROP_TTL, 1}, {TWCS_SEAL, 3},
        {TWCS_SEAL, 5},     {TWCS_RESEAL, 4},   {TWCS_TIER, 7},
    };

    windows[0] = window_aged(DAY + 2 * HOUR);
    windows[1] = window_aged(DAY);
    windows[2] = window_aged(20 * HOUR); /* busy */
    windows[3] = window_aged(9 * HOUR);
    windows[4] = window_aged(8 * HOUR); /* sealed, many masked */
    windows[5] = window_aged(7 * HOUR);
    windows[6] = window_aged(6 * HOUR); /* sealed, nothing due */
    windows[7] = window_aged(-HOUR);
    for (size_t i = 0; i < 8; i++)
        windows[i].chunk_count = 4;
    windows[2].busy = true;
    windows[4].sealed = windows[6].sealed = true;
    windows[4].sealed_run = windows[6].sealed_run =
        (struct twcs_run){.bytes = 4000 * MIB, .rows = 1000};
    windows[4].masked_rows = 900;
    windows[6].chunk_count = 1;
    for (size_t max = 0; max <= 8; max++) {
        size_t count = twcs_decide(&policy, &clock, windows, 8, decisions, max);
        ck_assert_uint_eq(count, max < COUNT(expected) ? max : COUNT(expected));
        for (size_t i = 0; i < count; i++) {
            ck_assert_int_eq(decisions[i].action, expected[i].action);
            ck_assert_uint_eq(decisions[i].window, expected[i].window);
        }
    }
    ck_assert_uint_eq(twcs_decide(&policy, &clock, NULL, 0, decisions, 8), 0);
}
END_TEST

/* Five windows: two expired, three closed. */
START_TEST(merges_are_asked_for_a_few_at_a_time_and_drops_all_at_once)
{
    struct twcs_policy with = policy;
    struct twcs_window windows[5];
    struct twcs_clock clock = clock_at(NOW);
    struct twcs_decision decisions[8];

    for (size_t i = 0; i < 5; i++) {
        windows[i] = window_aged(i < 2 ? DAY + (2 - (int64_t)i) * HOUR : (9 - (int64_t)i) * HOUR);
        windows[i].chunk_count = 1;
    }
    for (uint32_t max_jobs = 0; max_jobs < 5; max_jobs++) {
        size_t merges = max_jobs == 0 || max_jobs > 3 ? 3 : max_jobs;
        with.max_jobs = max_jobs;
        ck_assert_uint_eq(twcs_decide(&with, &clock, windows, 5, decisions, 8), 2 + merges);
        for (size_t i = 0; i < 2 + merges; i++)
            ck_assert_uint_eq(decisions[i].window, i);
    }
}
END_TEST

/* Windows that went on asking kept others waiting for ever. */
START_TEST(the_oldest_debt_is_paid_first)
{
    struct twcs_run chunks[3][4];
    struct twcs_window windows[3];
    struct twcs_clock clock = clock_at(NOW);
    struct twcs_decision decisions[8];
    static const uint64_t oldest[3] = {40, 70, 10};
    static const size_t expected[3] = {2, 0, 1};

    for (size_t i = 0; i < 3; i++) {
        windows[i] = window_aged(-(int64_t)(1 + i) * HOUR);
        for (size_t c = 0; c < 4; c++)
            chunks[i][c] =
                (struct twcs_run){.file_number = oldest[i] + c, .bytes = 10 * MIB, .rows = 100};
        windows[i].chunks = chunks[i];
        windows[i].chunk_count = 4;
    }
    ck_assert_uint_eq(twcs_decide(&policy, &clock, windows, 3, decisions, 8), 3);
    for (size_t i = 0; i < 3; i++)
        ck_assert_uint_eq(decisions[i].window, expected[i]);
}
END_TEST

START_TEST(a_merge_that_ingestion_waits_for_comes_before_seals)
{
    struct twcs_run level0[TWCS_LEVEL0_FILES_MAX];
    struct twcs_window windows[2];
    struct twcs_clock clock = clock_at(NOW);
    struct twcs_decision decisions[2];

    for (uint64_t i = 0; i < TWCS_LEVEL0_FILES_MAX; i++)
        level0[i] = (struct twcs_run){.file_number = 100 + i,
                                      .bytes = 10 * MIB,
                                      .rows = 100,
                                      .max_expiry_ms = TWCS_NEVER,
                                      .max_event_ms = NOW,
                                      .min_event_ms = NOW};
    windows[0] = (struct twcs_window){
        .chunks = level0, .chunk_count = TWCS_LEVEL0_FILES_MAX, .max_expiry_ms = TWCS_NEVER};
    windows[1] = window_aged(HOUR);
    windows[1].chunk_count = 1;
    ck_assert_uint_eq(twcs_decide(&policy, &clock, windows, 2, decisions, 2), 2);
    ck_assert_int_eq(decisions[0].action, TWCS_COMPACT);
    ck_assert_int_eq(decisions[1].action, TWCS_SEAL);
    windows[0].chunk_count--; /* no longer waited for */
    ck_assert_uint_eq(twcs_decide(&policy, &clock, windows, 2, decisions, 2), 2);
    ck_assert_int_eq(decisions[0].action, TWCS_SEAL);
}
END_TEST

/* Policies of the former kind of window hold for what is left of it. */
START_TEST(an_unbounded_window_never_seals_and_never_goes_whole)
{
    struct twcs_window window = {.max_expiry_ms = NOW - DAY, .memtable_rows = 5};
    struct twcs_clock clock = clock_at(NOW);

    for (int style = TWCS_STYLE_TIME_WINDOW; style <= TWCS_STYLE_HYBRID; style++) {
        struct twcs_policy with = policy;
        with.style = (enum twcs_style)style;
        ck_assert_int_eq(decide_one(&with, &window), NOTHING);
        ck_assert_ptr_null(twcs_drop_blocker(&with, &clock, &window));
    }
}
END_TEST

START_TEST(fifo_seals_once_and_rewrites_nothing)
{
    struct twcs_policy fifo = policy;
    struct twcs_window window = window_aged(-HOUR);

    fifo.style = TWCS_STYLE_FIFO;
    window.chunk_count = 5;
    ck_assert_int_eq(decide_one(&fifo, &window), NOTHING);
    window = window_aged(HOUR);
    window.chunk_count = 5;
    ck_assert_int_eq(decide_one(&fifo, &window), TWCS_SEAL);
    window.sealed = true;
    window.sealed_run = (struct twcs_run){.bytes = MIB, .rows = 10};
    window.masked_rows = 10;
    ck_assert_int_eq(decide_one(&fifo, &window), NOTHING);
    window = window_aged(DAY);
    window.chunk_count = 5;
    ck_assert_int_eq(decide_one(&fifo, &window), TWCS_DROP_TTL);
}
END_TEST

START_TEST(status_names_what_keeps_an_expired_window)
{
    static const struct {
        const char *what;
        int64_t age_ms, expiry_ms;
        bool busy;
        const char *word; /* NULL: nothing blocks */
    } cases[] = {
        {"alive", HOUR, NOW + 1, false, NULL},
        {"expired and free", DAY, NOW, false, NULL},
        {"busy", DAY, NOW, true, "under way"},
        {"past the TTL with a row alive", 2 * DAY, NOW + 5, false, "not expired"},
        {"never expires, no TTL was said", 2 * DAY, TWCS_NEVER, false, "not expired"},
    };
    struct twcs_clock clock = clock_at(NOW);

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct twcs_window window = window_aged(cases[i].age_ms);
        const char *blocker;
        window.max_expiry_ms = cases[i].expiry_ms;
        window.busy = cases[i].busy;
        blocker = twcs_drop_blocker(&policy, &clock, &window);
        ck_assert_msg((blocker != NULL) == (cases[i].word != NULL), "%s", cases[i].what);
        if (blocker)
            ck_assert_msg(strstr(blocker, cases[i].word) != NULL, "%s: %s", cases[i].what, blocker);
    }
}
END_TEST

START_TEST(nothing_becomes_due_before_the_time_that_was_foretold)
{
    struct twcs_policy quiet = policy;
    uint64_t random = test_seed();

    quiet.reseal_quiet_ms = HOUR;
    for (int round = 0; round < 2000; round++) {
        struct twcs_window window = window_aged(HOUR);
        struct twcs_clock clock = clock_at(NOW);
        int64_t due_ms;
        window.sealed = test_random(&random) % 2;
        window.generation = window.sealed;
        window.chunk_count = window.sealed ? test_random(&random) % 3 : 0;
        window.max_expiry_ms = NOW + 1 + (int64_t)(test_random(&random) % DAY);
        window.last_arrival_wall_ms = NOW - (int64_t)(test_random(&random) % (2 * HOUR));
        window.sealed_run.bytes = UINT64_C(1) << 40; /* late bytes are no reason */
        if (decide_at(&quiet, &clock, &window) != NOTHING)
            continue;
        due_ms = twcs_next_due_ms(&quiet, &clock, &window, 1);
        ck_assert_int_gt(due_ms, NOW);
        if (due_ms == TWCS_NEVER)
            continue;
        clock.safe_wall_ms = due_ms - 1;
        ck_assert_int_eq(decide_at(&quiet, &clock, &window), NOTHING);
        clock.safe_wall_ms = due_ms;
        ck_assert_int_ne(decide_at(&quiet, &clock, &window), NOTHING);
    }
}
END_TEST

TEST_TABLE(TEST(nothing_becomes_due_before_the_time_that_was_foretold),
           TEST(merges_are_asked_for_a_few_at_a_time_and_drops_all_at_once),
           TEST(the_oldest_debt_is_paid_first),
           TEST(a_merge_that_ingestion_waits_for_comes_before_seals),
           TEST(an_unbounded_window_never_seals_and_never_goes_whole),
           TEST(fifo_seals_once_and_rewrites_nothing), TEST(an_unsealed_window_tiers_seals_or_goes),
           TEST(a_sealed_window_is_left_alone_until_a_ratio_is_passed),
           TEST(late_chunks_are_folded_in_when_no_more_come),
           TEST(drops_come_first_then_seals_oldest_first_then_reseals_then_tiers),
           TEST(status_names_what_keeps_an_expired_window))
