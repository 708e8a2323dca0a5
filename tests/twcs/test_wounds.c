/* What went wrong elsewhere, one test each: the name says what must not happen here. */
#include "tests/support/test_main.h"
#include "tests/twcs/clock.h"
#include "twcs/twcs.h"

enum { MINUTE = 60000, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

#define START (INT64_C(100) * DAY)

static const struct twcs_policy policy = {
    .window_ms = HOUR,
    .ttl_ms = DAY,
    .late_allowed_ms = 10 * MINUTE,
    .max_future_ms = 5 * MINUTE,
    .idle_timeout_ms = MINUTE,
    .max_bytes = 1000,
    .tiered_min_threshold = 4,
    .tiered_max_threshold = 32,
    .reseal_ratio = 0.1,
    .dead_ratio = 0.3,
};

static struct twcs_window window_at(int64_t start_ms, int64_t last_event_ms, bool sealed)
{
    return (struct twcs_window){
        .start_ms = start_ms,
        .length_ms = HOUR,
        .sealed = sealed,
        .sealed_run = {.bytes = 100, .rows = 10, .max_event_ms = last_event_ms},
        .memtable_rows = sealed ? 0 : 10,
        .max_expiry_ms = twcs_expiry(&policy, last_event_ms, 0),
    };
}

static size_t decide(const struct twcs_clock *clock, const struct twcs_window *windows,
                     size_t count, struct twcs_decision *decisions)
{
    return twcs_decide(&policy, clock, windows, count, decisions, 8);
}

/* An event a year ahead moved the clock and sealed the window that was being written. */
START_TEST(a_future_dated_record_seals_nothing)
{
    struct twcs_clock clock = clock_at(START);
    struct twcs_window window = window_at(START, START, false);
    struct twcs_decision decisions[8];

    ck_assert_int_eq(twcs_judge(&policy, &clock, START + INT64_C(365) * DAY, 0, clock.safe_wall_ms),
                     TWCS_FUTURE);
    ck_assert_int_eq(clock.watermark_ms, START);
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 0);
    /* The furthest that is accepted cannot close the window that is being written either. */
    ck_assert_int_eq(
        twcs_judge(&policy, &clock, START + policy.max_future_ms, 0, clock.safe_wall_ms),
        TWCS_ACCEPT);
    twcs_clock_observe(&clock, &policy, START + policy.max_future_ms, START, START);
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 0);
}
END_TEST

/* A producer stopped, and the segment stayed open for months. */
START_TEST(with_input_stopped_everywhere_every_window_still_seals)
{
    struct twcs_clock clock = {
        .watermark_ms = TWCS_NO_TIME, .last_record_wall_ms = START, .safe_wall_ms = START};
    struct twcs_window window = window_at(START, START + 5, false);
    struct twcs_decision decisions[8];
    int64_t sealed_ms = 0;

    twcs_clock_observe(&clock, &policy, START + 5, START + 5, START + 5);
    for (int64_t now_ms = START; now_ms < START + DAY && !sealed_ms; now_ms += MINUTE) {
        twcs_clock_tick(&clock, now_ms, false);
        twcs_clock_idle(&clock, &policy);
        if (decide(&clock, &window, 1, decisions) == 1 && decisions[0].action == TWCS_SEAL)
            sealed_ms = now_ms;
    }
    ck_assert_int_eq(sealed_ms, START + HOUR + policy.late_allowed_ms + policy.idle_timeout_ms);
}
END_TEST

/* Historical data was loaded, judged by its age, and dropped at once. */
START_TEST(a_backfill_within_the_ttl_is_kept)
{
    struct twcs_clock fresh = {
        TWCS_NO_TIME, START, START, {TWCS_NO_TIME, TWCS_NO_TIME, TWCS_NO_TIME}, 0};
    struct twcs_clock running = clock_at(START);

    for (int64_t age_ms = 0; age_ms < DAY; age_ms += HOUR) {
        ck_assert_int_eq(twcs_judge(&policy, &fresh, START - age_ms, 0, fresh.safe_wall_ms),
                         TWCS_ACCEPT);
        ck_assert_int_le(twcs_judge(&policy, &running, START - age_ms, 0, running.safe_wall_ms),
                         TWCS_ACCEPT_LATE);
    }
    /* A shard that waits for its first record does not age meanwhile. */
    for (int i = 0; i < 1000; i++) {
        twcs_clock_tick(&fresh, START + i * (int64_t)MINUTE, false);
        ck_assert(!twcs_clock_idle(&fresh, &policy));
    }
    ck_assert_int_eq(twcs_judge(&policy, &fresh, START - DAY / 4, 0, fresh.safe_wall_ms),
                     TWCS_ACCEPT);
}
END_TEST

/* FIFO by file age dropped files that held live rows. */
START_TEST(no_window_with_a_live_row_is_dropped_by_ttl)
{
    struct twcs_window window = window_at(START, START + HOUR - 1, true);
    struct twcs_decision decisions[8];

    for (int64_t now_ms = START; now_ms <= START + 2 * DAY; now_ms += MINUTE) {
        struct twcs_clock clock = clock_at(now_ms);
        size_t count = decide(&clock, &window, 1, decisions);
        bool dropped = count == 1 && decisions[0].action == TWCS_DROP_TTL;
        ck_assert_int_eq(dropped, now_ms >= START + HOUR - 1 + DAY);
    }
}
END_TEST

/* FIFO never dropped because a file had no usable time. */
START_TEST(a_window_without_surviving_rows_is_dropped)
{
    struct twcs_window window = window_at(START, START, true);
    struct twcs_clock clock = clock_at(START);
    struct twcs_decision decisions[8];

    window.max_expiry_ms = TWCS_NO_TIME; /* all rows masked: the largest expiry of none */
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 1);
    ck_assert_int_eq(decisions[0].action, TWCS_DROP_TTL);
}
END_TEST

/* One long-lived row in a file that spanned windows blocked the expiry of all behind it. */
START_TEST(an_unexpired_window_does_not_block_another)
{
    struct twcs_window windows[3];
    struct twcs_clock clock = clock_at(START + 2 * DAY);
    struct twcs_decision decisions[8];

    windows[0] = window_at(START, START, true);
    windows[0].max_expiry_ms = TWCS_NEVER;
    windows[1] = window_at(START + HOUR, START + HOUR, true);
    windows[1].busy = true;
    windows[2] = window_at(START + 2 * HOUR, START + 2 * HOUR, true);
    ck_assert_uint_eq(decide(&clock, windows, 3, decisions), 1);
    ck_assert_uint_eq(decisions[0].window, 2);
    ck_assert_ptr_nonnull(twcs_drop_blocker(&policy, &clock, &windows[0]));
    ck_assert_ptr_nonnull(twcs_drop_blocker(&policy, &clock, &windows[1]));
    ck_assert_ptr_null(twcs_drop_blocker(&policy, &clock, &windows[2]));
}
END_TEST

/* A second major of the same window ran at once and missed the files of the first. */
START_TEST(a_window_under_way_gets_no_second_major)
{
    struct twcs_window window = window_at(START, START, false);
    struct twcs_clock clock = clock_at(START + 3 * HOUR);
    struct twcs_decision decisions[8];

    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 1);
    window.busy = true;
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 0);
    window.busy = false;
    window.sealed = true;
    window.memtable_rows = 0;
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 0);
}
END_TEST

/* A straggler now and then, and the window was rewritten for ever. */
START_TEST(stragglers_rewrite_a_window_a_logarithm_of_times)
{
    struct twcs_run late[64];
    struct twcs_window window = window_at(START, START, true);
    struct twcs_clock clock = clock_at(START + 3 * HOUR);
    struct twcs_decision decisions[8];
    uint64_t late_bytes = 0;
    uint64_t rewritten_bytes = 0;
    int reseals = 0;

    window.sealed_run.bytes = UINT64_C(100) << 20;
    window.chunks = late;
    for (int straggler = 0; straggler < 10000; straggler++) {
        late[window.chunk_count++] = (struct twcs_run){.bytes = 100 << 10, .rows = 1};
        late_bytes += 100 << 10;
        while (decide(&clock, &window, 1, decisions) == 1) {
            size_t first = decisions[0].action == TWCS_TIER ? decisions[0].first_chunk : 0;
            size_t count =
                decisions[0].action == TWCS_TIER ? decisions[0].chunk_count : window.chunk_count;
            uint64_t bytes = 0;
            for (size_t i = first; i < first + count; i++)
                bytes += late[i].bytes;
            for (size_t i = first + count; i < window.chunk_count; i++)
                late[i - count + 1] = late[i];
            late[first] = (struct twcs_run){.bytes = bytes, .rows = 1};
            window.chunk_count -= count - 1;
            if (decisions[0].action == TWCS_RESEAL) {
                window.sealed_run.bytes += bytes;
                window.chunk_count = 0;
                rewritten_bytes += window.sealed_run.bytes;
                reseals++;
            }
        }
        ck_assert_uint_le(window.chunk_count, 32);
    }
    /* From 100 MiB to 1.1 GiB by a tenth each time. */
    ck_assert_int_le(reseals, 26);
    ck_assert_uint_le(rewritten_bytes, 12 * late_bytes);
}
END_TEST

/* The wall clock was a year ahead for one second, and everything expired. */
START_TEST(a_leap_of_the_wall_clock_expires_nothing)
{
    struct twcs_clock clock = clock_at(START);
    struct twcs_window window = window_at(START, START, false);
    struct twcs_decision decisions[8];

    twcs_clock_tick(&clock, START + INT64_C(365) * DAY, false);
    twcs_clock_idle(&clock, &policy);
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 0);
    ck_assert_int_eq(twcs_judge(&policy, &clock, START, 0, clock.safe_wall_ms), TWCS_ACCEPT);
}
END_TEST

/* The wall clock was set back, and rows that were gone came back. */
START_TEST(a_wall_clock_set_back_revives_nothing)
{
    struct twcs_clock clock = clock_at(START);
    struct twcs_window window = window_at(START - 2 * DAY, START - DAY, true);
    struct twcs_decision decisions[8];

    twcs_clock_tick(&clock, START - 3 * INT64_C(86400000), true);
    ck_assert_int_eq(twcs_judge(&policy, &clock, START - DAY, 0, clock.safe_wall_ms), TWCS_EXPIRED);
    ck_assert_uint_eq(decide(&clock, &window, 1, decisions), 1);
    ck_assert_int_eq(decisions[0].action, TWCS_DROP_TTL);
}
END_TEST

/* Compaction, not time, decided when expired data left the disk: up to a day later. */
START_TEST(an_expired_window_goes_at_the_first_look)
{
    struct twcs_clock clock = clock_at(START);
    struct twcs_window windows[40];
    struct twcs_decision decisions[40];

    for (int i = 0; i < 40; i++)
        windows[i] = window_at(START - 3 * INT64_C(86400000) + i * HOUR,
                               START - 3 * INT64_C(86400000) + i * HOUR, true);
    ck_assert_uint_eq(twcs_decide(&policy, &clock, windows, 40, decisions, 40), 40);
    for (size_t i = 0; i < 40; i++)
        ck_assert_int_eq(decisions[i].action, TWCS_DROP_TTL);
}
END_TEST

/* The cap dropped the window that was being written, or a live one beside an expired one. */
START_TEST(the_cap_spares_what_is_open_and_what_is_alive)
{
    static const struct twcs_fifo_window windows[] = {
        {.end_ms = START - DAY, .bytes = 600, .open = true},
        {.end_ms = START, .bytes = 600},
        {.end_ms = START + HOUR, .bytes = 600, .expired = true},
    };
    bool starved;

    ck_assert_uint_eq(twcs_fifo_pick(&policy, windows, 3, 1800, &starved), 2);
    ck_assert_uint_eq(twcs_fifo_pick(&policy, windows, 2, 1200, &starved), 1);
    ck_assert_uint_eq(twcs_fifo_pick(&policy, windows, 1, 1200, &starved), SIZE_MAX);
    ck_assert(starved);
}
END_TEST

/* The window length was changed in place: files of the former length were cut or never sealed. */
START_TEST(windows_of_a_former_length_seal_and_go_by_their_own)
{
    struct twcs_policy longer = policy;
    struct twcs_window windows[2];
    struct twcs_clock clock = {.safe_wall_ms = START};
    struct twcs_decision decisions[8];

    longer.window_ms = DAY;
    windows[0] = window_at(START, START, false);            /* [0h, 1h), of before */
    windows[1] = window_at(START, START + 2 * HOUR, false); /* [0h, 24h), of now */
    windows[1].length_ms = DAY;
    clock.watermark_ms = START + HOUR + 10 * MINUTE;
    ck_assert_uint_eq(twcs_decide(&longer, &clock, windows, 2, decisions, 8), 1);
    ck_assert_int_eq(decisions[0].action, TWCS_SEAL);
    ck_assert_uint_eq(decisions[0].window, 0);
    /* A record of that hour is not late: it goes to the window of the new length. */
    ck_assert_int_eq(twcs_judge(&longer, &clock, START + 5, 0, clock.safe_wall_ms), TWCS_ACCEPT);
    clock.watermark_ms = START + DAY + 10 * MINUTE;
    ck_assert_uint_eq(twcs_decide(&longer, &clock, windows, 2, decisions, 8), 2);
    clock.safe_wall_ms = START + DAY;
    ck_assert_uint_eq(twcs_decide(&longer, &clock, windows, 2, decisions, 8), 2);
    ck_assert_int_eq(decisions[0].action, TWCS_DROP_TTL);
    ck_assert_uint_eq(decisions[0].window, 0);
    ck_assert_int_eq(decisions[1].action, TWCS_SEAL);
}
END_TEST

/* The TTL was changed, and data that existed kept the one it was written with. */
START_TEST(a_changed_ttl_applies_to_rows_that_exist)
{
    struct twcs_policy shorter = policy;
    struct twcs_policy longer = policy;
    int64_t event_ms = START;

    shorter.ttl_ms = HOUR;
    longer.ttl_ms = 7 * (int64_t)DAY;
    ck_assert_int_eq(twcs_expiry(&shorter, event_ms, 0), START + HOUR);
    ck_assert_int_eq(twcs_expiry(&longer, event_ms, 0), START + 7 * (int64_t)DAY);
    ck_assert_int_eq(twcs_expiry(&longer, event_ms, 2 * HOUR), START + 2 * HOUR);
    /* What the store still describes by the former TTL is named, not dropped. */
    struct twcs_window window = window_at(START, START, true);
    struct twcs_clock clock = clock_at(START + 3 * HOUR);
    ck_assert_ptr_nonnull(twcs_drop_blocker(&shorter, &clock, &window));
}
END_TEST

TEST_TABLE(TEST(a_future_dated_record_seals_nothing),
           TEST(with_input_stopped_everywhere_every_window_still_seals),
           TEST(a_backfill_within_the_ttl_is_kept),
           TEST(no_window_with_a_live_row_is_dropped_by_ttl),
           TEST(a_window_without_surviving_rows_is_dropped),
           TEST(an_unexpired_window_does_not_block_another),
           TEST(a_window_under_way_gets_no_second_major),
           TEST(stragglers_rewrite_a_window_a_logarithm_of_times),
           TEST(a_leap_of_the_wall_clock_expires_nothing),
           TEST(a_wall_clock_set_back_revives_nothing),
           TEST(an_expired_window_goes_at_the_first_look),
           TEST(the_cap_spares_what_is_open_and_what_is_alive),
           TEST(windows_of_a_former_length_seal_and_go_by_their_own),
           TEST(a_changed_ttl_applies_to_rows_that_exist))
