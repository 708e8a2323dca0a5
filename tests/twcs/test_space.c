/* Dead rows in an unbounded window; the TTL is 100 hours. */
#include "tests/support/test_main.h"
#include "tests/twcs/runs.h"

static const struct twcs_policy policy = {
    .style = TWCS_STYLE_LEVELED,
    .ttl_ms = 100 * (int64_t)RUNS_HOUR_MS,
    RUNS_POLICY,
    .tiered_max_threshold = 32,
};

/* clang-format off */
START_TEST(past_the_bound_the_run_with_most_dead_rows_is_rewritten)
{
    static const struct runs_case cases[] = {
        {"all alive", "1:64:a-m 1:64:n-z", ""},
        {"a third dead: at the bound", "1:66:a-m!33 1:66:n-z!33", ""},
        {"past it", "1:66:a-m!34 1:66:n-z!34", "space 0 -> 1"},
        {"the worst first", "1:66:a-m!34 2:66:n-z!60", "space 1 -> 2"},
        {"one bad run among good ones is no debt", "2:10:a-m!99 2:66:n-z", ""},
        {"nothing alive at all", "1:10:a-m!100 2:66:n-z!100", "space 0 -> 1"},
        {"where it lies", "4:900:a-z!50", "space 0 -> 4"},
        {"in level 0 too", "0:900:a-z!50", "space 0 -> 0"},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST

START_TEST(a_rewrite_that_is_nearly_free_does_not_wait_for_full_levels)
{
    static const struct runs_case cases[] = { /* level 1 holds 1,200 of 256 MiB */
        {"the levels alone", "1:600:a-m 1:600:n-z", "level_bytes 0 moves to 2"},
        {"as many bytes to copy as to win", "1:600:a-m 1:600:n-z 3:1000:a-z!50", "level_bytes 0 moves to 2"},
        {"two in three are dead", "1:600:a-m 1:600:n-z 3:2000:a-z!66", "level_bytes 0 moves to 2"},
        {"one row in a hundred lives", "1:600:a-m 1:600:n-z 3:2000:a-z!99", "space 2 -> 3"},
        {"none lives", "1:600:a-m 1:600:n-z 3:2000:a-z!100", "space 2 -> 3"},
        {"ingestion is about to wait", "0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 3:2000:a-z!100", "files 0 1 2 3 4 5 6 7 -> 1"},
        {"but within the bound it stays", "1:600:a-m 1:600:n-z 3:500:a-z!99", "level_bytes 0 moves to 2"},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST

START_TEST(rows_that_have_expired_are_dead_too)
{
    static const struct runs_case cases[] = { /* at hour 200: what is from before hour 100 is gone */
        {"nothing expired", "1:64:a-z@100-200", ""},
        {"a third of the time", "1:64:a-z@67-166", ""},
        {"more than a third", "1:64:a-z@60-160", "space 0 -> 1"},
        {"masked and expired", "1:64:a-z@80-180!20", "space 0 -> 1"},
        {"neither is enough alone", "1:64:a-z@80-180", ""},
        {"everything", "1:64:a-z@10-90", "space 0 -> 1"},
        {"one instant, expired now", "1:64:a-z@100-100", "space 0 -> 1"},
        {"one instant, not yet", "1:64:a-z@101-101", ""},
    };
    struct twcs_policy for_ever = policy;

    runs_check(&policy, 200 * (int64_t)RUNS_HOUR_MS, cases, RUNS_COUNT(cases));
    for_ever.ttl_ms = 0;
    for (size_t i = 0; i < RUNS_COUNT(cases); i++) {
        const struct runs_case none = {cases[i].what, cases[i].runs, ""};
        runs_check(&for_ever, 200 * (int64_t)RUNS_HOUR_MS, &none, 1);
    }
}
END_TEST

START_TEST(runs_that_have_expired_whole_go_before_anything_is_merged)
{
    static const struct runs_case cases[] = { /* at hour 200 */
        {"not yet", "1:64:a-z~201", ""},
        {"now", "1:64:a-z~200", "expired 0 -> 1"},
        {"never", "1:64:a-z", ""},
        {"all of them at once, of any level", "0:9:a-z~10 3:64:a-z 2:64:a-z~20 0:9:b-c~199", "expired 0 2 3 -> 0"},
        {"before a full level 0", "2:64:a-z~20 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "expired 0 -> 2"},
    };

    struct twcs_policy by_record = policy;

    by_record.ttl_ms = 0; /* the records brought their own */
    runs_check(&by_record, 200 * (int64_t)RUNS_HOUR_MS, cases, RUNS_COUNT(cases));
}
END_TEST
/* clang-format on */

START_TEST(without_a_bound_dead_rows_stay)
{
    static const struct runs_case none = {"no bound", "1:64:a-z!99", ""};
    struct twcs_policy with = policy;

    with.max_space_amplification = 0;
    runs_check(&with, 0, &none, 1);
}
END_TEST

START_TEST(a_run_goes_at_the_millisecond_its_last_row_expires)
{
    static const struct runs_case early = {"one too early", "1:64:a-z~200", ""};
    static const struct runs_case due = {"now", "1:64:a-z~200", "expired 0 -> 1"};
    struct twcs_policy by_record = policy;

    by_record.ttl_ms = 0;
    runs_check(&by_record, 200 * (int64_t)RUNS_HOUR_MS - 1, &early, 1);
    runs_check(&by_record, 200 * (int64_t)RUNS_HOUR_MS, &due, 1);
}
END_TEST

START_TEST(at_the_bound_nothing_is_rewritten)
{
    static const struct runs_case at = {"half dead, bound of two", "1:64:a-z!50", ""};
    static const struct runs_case past = {"one in a hundred more", "1:64:a-z!51", "space 0 -> 1"};
    struct twcs_policy with = policy;

    with.max_space_amplification = 2;
    runs_check(&with, 0, &at, 1);
    runs_check(&with, 0, &past, 1);
}
END_TEST

TEST_TABLE(TEST(a_run_goes_at_the_millisecond_its_last_row_expires),
           TEST(at_the_bound_nothing_is_rewritten),
           TEST(a_rewrite_that_is_nearly_free_does_not_wait_for_full_levels),
           TEST(past_the_bound_the_run_with_most_dead_rows_is_rewritten),
           TEST(rows_that_have_expired_are_dead_too),
           TEST(runs_that_have_expired_whole_go_before_anything_is_merged),
           TEST(without_a_bound_dead_rows_stay))
