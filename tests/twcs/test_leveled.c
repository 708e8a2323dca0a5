/* Style leveled: targets are 256 MiB (level 1: 4 x 64), 2.5 GiB (level 2), 25 GiB (level 3). */
#include <stdio.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "tests/twcs/runs.h"

static const struct twcs_policy policy = {
    .style = TWCS_STYLE_LEVELED,
    RUNS_POLICY,
    .tiered_max_threshold = 32,
};

/* clang-format off */
START_TEST(level_0_merges_at_its_trigger_with_what_it_meets)
{
    static const struct runs_case cases[] = {
        {"nothing", "", ""},
        {"below the trigger", "0:9:a-z 0:9:a-z 0:9:a-z", ""},
        {"at the trigger, level 1 empty", "0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "files 0 1 2 3 -> 1"},
        {"all of level 0, not only four", "0:9:a-c 0:9:a-c 0:9:a-c 0:9:a-c 0:9:a-c", "files 0 1 2 3 4 -> 1"},
        {"only what it meets in level 1", "1:64:a-c 1:64:e-g 1:64:i-k 0:9:d-f 0:9:d-f 0:9:d-f 0:9:d-f", "files 1 3 4 5 6 -> 1"},
        {"a touching key is a meeting", "1:64:a-d 1:64:e-g 0:9:g-h 0:9:g-h 0:9:g-h 0:9:g-h", "files 1 2 3 4 5 -> 1"},
        {"a key that begins with another comes behind it", "1:64:a-c 1:64:ga-gb 0:9:d-g 0:9:d-g 0:9:d-g 0:9:d-g", "files 2 3 4 5 -> 1"},
        {"what lies between two inputs is taken", "1:64:m-n 0:9:a-c 0:9:a-c 0:9:x-z 0:9:x-z", "files 0 1 2 3 4 -> 1"},
        {"level 2 is none of its business", "2:64:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "files 1 2 3 4 -> 1"},
        {"crumbs beside it are taken along", "1:9:a-b 1:9:e-g 1:9:y-z 0:2:k-l 0:2:k-l 0:2:k-l 0:2:k-l", "files 1 2 3 4 5 6 -> 1"},
        {"full files beside it are left alone", "1:64:a-b 1:64:y-z 0:2:k-l 0:2:k-l 0:2:k-l 0:2:k-l", "files 2 3 4 5 -> 1"},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST

START_TEST(a_file_that_meets_nothing_below_only_changes_its_level)
{
    static const struct runs_case cases[] = {
        {"keys that only grow: the oldest goes down", "0:64:a-b 0:64:c-d 0:64:e-f 0:64:g-h", "files 0 moves to 1"},
        {"one that meets a sister merges with it", "0:64:a-d 0:64:c-f 0:64:c-f 0:64:b-h", "files 0 1 2 3 -> 1"},
        {"the one that meets none", "0:64:a-d 0:64:c-f 0:64:b-f 0:64:x-z", "files 3 moves to 1"},
        {"one that meets something below does not, a later one does", "1:64:a-b 0:64:a-b 0:64:c-d 0:64:e-f 0:64:g-h", "files 2 moves to 1"},
        {"small ones are joined rather than moved", "0:9:a-b 0:9:c-d 0:9:e-f 0:9:g-h", "files 0 1 2 3 -> 1"},
        {"down one level", "1:64:a-b 1:64:c-d 1:64:e-f 1:64:g-h 1:64:i-j 2:64:a-d 2:64:g-z", "level_bytes 2 moves to 2"},
        {"unless it meets something", "1:64:a-b 1:64:c-d 1:64:e-f 1:64:g-h 1:64:i-j 2:64:a-z", "level_bytes 0 5 -> 2"},
        {"a small one beside a crumb joins it", "1:300:c-d 1:9:m-n 2:9:a-b 2:200:c-d 2:9:x-y", "level_bytes 1 4 -> 2"},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST

START_TEST(a_level_over_its_share_gives_the_file_that_meets_least)
{
    static const struct runs_case cases[] = {
        {"at its share", "1:64:a-b 1:64:c-d 1:64:e-f 1:63:g-h", ""},
        {"past it", "1:64:a-b 1:64:c-d 1:64:e-f 1:65:g-h 2:64:a-b 2:64:c-d 2:64:e-f 2:32:g-h", "level_bytes 3 7 -> 2"},
        {"least for its size, not least", "1:200:a-b 1:64:c-d 2:100:a-b 2:64:c-d", "level_bytes 0 2 -> 2"},
        {"level 2 has ten times the room", "2:2559:a-z", ""},
        {"and not more", "2:2561:a-z", "level_bytes 0 moves to 3"},
        {"the last level has no bound", "6:999999999:a-z", ""},
        {"the deepest that may give", "5:99999999999:a-z 6:99:b-c", "level_bytes 0 1 -> 6"},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST

START_TEST(the_largest_debt_is_paid_first)
{
    static const struct runs_case cases[] = {
        {"level 0 at 1.0, level 1 at 1.2", "1:300:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "level_bytes 0 moves to 2"},
        {"level 0 at 1.5, level 1 at 1.2", "1:300:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "files 0 1 2 3 4 5 6 -> 1"},
        {"level 1 at 1.2, level 2 at 2", "1:300:a-z 2:5120:a-z", "level_bytes 1 moves to 3"},
        {"level 0 overtakes all before ingestion waits", "1:9999:a-z 0:9:a-b 0:9:a-b 0:9:a-b 0:9:a-b 0:9:a-b 0:9:a-b 0:9:a-b 0:9:a-b", "files 0 1 2 3 4 5 6 7 8 -> 1"},
        {"space at 1.5, level 0 at 1.0", "1:200:a-z!50 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "space 0 -> 1"},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST

START_TEST(keys_that_another_style_left_in_two_files_are_merged_first)
{
    static const struct runs_case cases[] = {
        {"two in level 1", "1:64:a-m 1:64:k-z", "files 0 1 -> 1"},
        {"one key is enough", "1:64:a-m 1:64:m-z", "files 0 1 -> 1"},
        {"side by side is right", "1:64:a-m 1:64:n-z", ""},
        {"through a third", "3:64:a-f 3:64:m-z 3:64:e-n 3:64:zz-zzz", "files 0 1 2 -> 3"},
        {"the lower level is not touched", "1:64:a-m 2:64:a-m 1:64:b-c", "files 0 2 -> 1"},
        {"before level 0", "1:1:a-m 1:1:b-c 0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", "files 0 1 -> 1"},
        {"level 0 may", "0:64:a-m 0:64:a-m", ""},
    };

    runs_check(&policy, 0, cases, RUNS_COUNT(cases));
}
END_TEST
/* clang-format on */

/* More files below than one merge takes. */
START_TEST(a_merge_that_would_be_too_wide_joins_crumbs_or_waits)
{
    static struct twcs_run runs[RUNS_MAX];
    static char keys[RUNS_MAX][32];
    char text[RUNS_TEXT_BYTES];
    size_t count = 0;
    struct twcs_window window;

    for (int i = 0; i < 300; i++) {
        snprintf(keys[count], sizeof(keys[count]), "1:0:k%03d-k%03dx", i, i);
        runs_parse_one(keys[count], count + 1, &runs[count]);
        runs[count++].bytes = 1000;
    }
    for (int i = 0; i < 4; i++) {
        runs_parse_one("0:9:a-z", count + 1, &runs[count]);
        count++;
    }
    window = runs_window(runs, count);
    runs_decide(&policy, &window, 0, text);
    ck_assert_msg(strncmp(text, "files 0 1 2 3 4 ", 16) == 0, "%s", text);
    ck_assert_msg(strstr(text, " 255 -> 1"), "%s", text);
    /* Full files cannot be joined: they go down first, and level 0 waits for that. */
    for (int i = 0; i < 300; i++)
        runs[i].bytes = 64 * RUNS_MIB;
    ck_assert_str_eq(runs_decide(&policy, &window, 0, text), "level_bytes 0 moves to 2");
}
END_TEST

START_TEST(a_sorted_level_is_cut_into_files)
{
    struct twcs_run runs[8];
    struct twcs_clock clock = {0};
    struct twcs_decision decision;
    struct twcs_window window =
        runs_window(runs, runs_parse("0:9:a-z 0:9:a-z 0:9:a-z 0:9:a-z", runs));

    ck_assert_uint_eq(twcs_decide(&policy, &clock, &window, 1, &decision, 1), 1);
    ck_assert_uint_eq(decision.target_file_bytes, policy.target_file_bytes);
}
END_TEST

TEST_TABLE(TEST(a_sorted_level_is_cut_into_files),
           TEST(level_0_merges_at_its_trigger_with_what_it_meets),
           TEST(a_file_that_meets_nothing_below_only_changes_its_level),
           TEST(a_level_over_its_share_gives_the_file_that_meets_least),
           TEST(the_largest_debt_is_paid_first),
           TEST(keys_that_another_style_left_in_two_files_are_merged_first),
           TEST(a_merge_that_would_be_too_wide_joins_crumbs_or_waits))
