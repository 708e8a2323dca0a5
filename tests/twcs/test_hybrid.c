/* Style hybrid: levels 0 to 2 are tiers of four, level 3 holds 25 GiB. */
#include "tests/support/test_main.h"
#include "tests/twcs/runs.h"

static const struct twcs_policy policy = {
    .style = TWCS_STYLE_HYBRID,
    RUNS_POLICY,
    .tiered_max_threshold = 32,
};

/* clang-format off */
START_TEST(young_levels_are_tiers_and_old_ones_sorted)
{
    static const struct runs_case cases[] = {
        {"nothing", "", ""},
        {"an unfinished tier", "0:9:a-z 0:9:a-z 0:9:a-z", ""},
        {"a tier becomes one run of the next", "0:9:a-z 0:9:a-z 1:36:a-z 0:9:a-z 0:9:a-z", "files 0 1 3 4 -> 1"},
        {"whatever the sizes", "0:9:a-z 0:1:a-z 0:700:a-z 0:9:a-z", "files 0 1 2 3 -> 1"},
        {"runs of a tier may share keys", "1:36:a-z 1:36:a-z 2:144:a-z 2:144:a-z", ""},
        {"the second tier", "1:36:a-z 1:36:a-z 1:36:a-z 1:36:a-z 2:144:a-z", "files 0 1 2 3 -> 2"},
        {"the last tier goes into the sorted level", "2:144:a-k 2:144:a-k 2:144:a-k 2:144:a-k 3:64:a-c 3:64:d-m 3:64:n-z", "files 0 1 2 3 4 5 -> 3"},
        {"a run of growing keys is not moved but joined", "2:144:a-b 2:144:c-d 2:144:e-f 2:144:g-h", "files 0 1 2 3 -> 3"},
        {"sorted levels give by bytes", "3:20000:a-b 3:9000:c-d 4:100:a-b", "level_bytes 1 moves to 4"},
        {"not before", "3:20000:a-b 3:5000:c-d", ""},
        {"the fullest tier first", "0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 1:9:a-z 1:9:a-z 1:9:a-z 1:9:a-z 1:9:a-z", "files 4 5 6 7 8 -> 2"},
        {"unless ingestion is about to wait", "0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 1:1:a-z 1:1:a-z 1:1:a-z 1:1:a-z 1:1:a-z 1:1:a-z 1:1:a-z 1:1:a-z 1:1:a-z", "files 0 1 2 3 4 5 6 7 -> 1"},
        {"keys left in two files of level 3", "3:64:a-m 3:64:k-z", "files 0 1 -> 3"},
        {"but not of level 2", "2:64:a-m 2:64:k-z", ""},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST
/* clang-format on */

START_TEST(a_tier_stays_one_run)
{
    struct twcs_run runs[8];
    struct twcs_clock clock = {0};
    struct twcs_decision decision;
    struct twcs_window window =
        runs_window(runs, runs_parse("0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", runs));

    ck_assert_uint_eq(twcs_decide(&policy, &clock, &window, 1, &decision, 1), 1);
    ck_assert_uint_eq(decision.target_file_bytes, 0);
}
END_TEST

TEST_TABLE(TEST(a_tier_stays_one_run), TEST(young_levels_are_tiers_and_old_ones_sorted))
