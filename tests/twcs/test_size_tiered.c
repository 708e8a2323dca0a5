/* Style size_tiered: thresholds 4 and 8, so that a crowd is short enough to write down. */
#include "tests/support/test_main.h"
#include "tests/twcs/runs.h"

static const struct twcs_policy policy = {
    .style = TWCS_STYLE_SIZE_TIERED,
    RUNS_POLICY,
    .tiered_max_threshold = 8,
};

/* clang-format off */
START_TEST(runs_of_one_size_merge_wherever_they_lie)
{
    static const struct runs_case cases[] = {
        {"nothing", "", ""},
        {"three", "0:9:a-z 0:9:a-z 0:9:a-z", ""},
        {"four", "0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "files 0 1 2 3 -> 1"},
        {"others lie between them", "0:9:a-z 1:90:a-z 0:9:a-z 1:90:a-z 0:9:a-z 0:9:a-z", "files 0 2 4 5 -> 1"},
        {"up to three times the smallest", "0:10:a-z 0:29:a-z 0:12:a-z 0:17:a-z", "files 0 1 2 3 -> 1"},
        {"not more", "0:10:a-z 0:30:a-z 0:12:a-z 0:17:a-z", ""},
        {"small ones are all of one size", "0:0:a-z 0:1:a-z 0:0:a-z 0:2:a-z", "files 0 1 2 3 -> 1"},
        {"the cheapest group first", "1:90:a-z 1:90:a-z 1:90:a-z 1:90:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "files 4 5 6 7 -> 1"},
        {"one level below the lowest", "3:9:a-z 0:9:a-z 1:9:a-z 0:9:a-z", "files 0 1 2 3 -> 4"},
        {"the last level stays the last", "6:9:a-z 6:9:a-z 6:9:a-z 6:9:a-z", "files 0 1 2 3 -> 6"},
        {"level 0 crowds although nothing matches", "0:1:a-z 0:4:a-z 0:16:a-z 0:64:a-z 0:256:a-z 0:1024:a-z 0:4096:a-z 0:16384:a-z", "files 0 1 2 3 4 5 6 7 -> 1"},
        {"one less does not", "0:1:a-z 0:4:a-z 0:16:a-z 0:64:a-z 0:256:a-z 0:1024:a-z 0:4096:a-z 1:16384:a-z", ""},
        {"past the most, the smallest merge", "1:1:a-z 1:4096:a-z 1:16:a-z 1:4:a-z 1:256:a-z 1:1024:a-z 1:64:a-z 1:16384:a-z 1:65536:a-z", "files 0 2 3 6 -> 2"},
        {"keys play no part", "1:64:a-b 1:64:a-b", ""},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST
/* clang-format on */

/* A flush that ingestion waits for may be of any size. */
START_TEST(level_0_never_fills_up_without_a_merge)
{
    static const enum twcs_style styles[] = {TWCS_STYLE_TIME_WINDOW, TWCS_STYLE_FIFO,
                                             TWCS_STYLE_SIZE_TIERED, TWCS_STYLE_LEVELED,
                                             TWCS_STYLE_HYBRID};
    static const uint32_t thresholds[] = {2, 4, 12, 100, 1000};

    for (size_t s = 0; s < RUNS_COUNT(styles); s++) {
        for (size_t t = 0; t < RUNS_COUNT(thresholds); t++) {
            struct twcs_policy with = policy;
            struct twcs_run runs[TWCS_LEVEL0_FILES_MAX];
            struct twcs_window window = runs_window(runs, 0);
            struct twcs_clock clock = {0};
            struct twcs_decision decision;
            with.style = styles[s];
            with.tiered_min_threshold = with.level0_trigger = thresholds[t];
            with.tiered_max_threshold = 2 * thresholds[t];
            for (int i = 0; i < TWCS_LEVEL0_FILES_MAX; i++) {
                ck_assert(!twcs_overloaded(&window));
                runs_parse_one("0:1:a-z", (uint64_t)i + 1, &runs[i]);
                runs[i].bytes <<= 2 * i;
                window.chunk_count++;
            }
            ck_assert(twcs_overloaded(&window));
            window.length_ms = RUNS_HOUR_MS; /* a window that seals needs no bound */
            ck_assert(!twcs_overloaded(&window));
            window.length_ms = 0;
            ck_assert_uint_eq(twcs_decide(&with, &clock, &window, 1, &decision, 1), 1);
            ck_assert_int_eq(decision.action, TWCS_COMPACT);
            ck_assert_uint_gt(decision.output_level, 0);
            ck_assert_uint_gt(decision.input_count, 1);
        }
    }
}
END_TEST

START_TEST(a_merged_run_stays_whole)
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

TEST_TABLE(TEST(a_merged_run_stays_whole), TEST(runs_of_one_size_merge_wherever_they_lie),
           TEST(level_0_never_fills_up_without_a_merge))
