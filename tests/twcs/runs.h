/* Runs and decisions as one line of text, for decision tables.
 *
 * A run is LEVEL:MIB:FIRST-LAST, then in any order !PERCENT (rows masked), @MIN-MAX (hours of its
 * event times, else 0-0) and ~HOUR (when its last row expires, else never). Runs are written oldest
 * first: their file numbers are 1, 2, ... A decision is its reason, its inputs by position and
 * where they go: "files 0 1 2 3 -> 1", "level_bytes 4 moves to 2", "space 2 -> 3"; "" is none. */
#ifndef TESTS_TWCS_RUNS_H
#define TESTS_TWCS_RUNS_H

#include "twcs/twcs.h"

enum { RUNS_MAX = 600, RUNS_TEXT_BYTES = 4096, RUNS_HOUR_MS = 3600000 };

#define RUNS_MIB (UINT64_C(1) << 20)

#define RUNS_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What the policies of the style tests have in common: level 1 holds 4 files of 64 MiB. */
#define RUNS_POLICY                                                                                \
    .max_space_amplification = 1.5, .target_file_bytes = 64 * RUNS_MIB, .size_ratio = 10,          \
    .level0_trigger = 4, .tiered_min_threshold = 4

/** One word into a run of 1,000 rows; the keys point into `text`. */
void runs_parse_one(const char *text, uint64_t file_number, struct twcs_run *run);
/** All words of a text; returns how many. */
size_t runs_parse(const char *text, struct twcs_run *runs);
/** An unbounded window of these runs. */
struct twcs_window runs_window(const struct twcs_run *runs, size_t count);
/** What twcs_decide says of that window at `now_ms`, as text. */
const char *runs_decide(const struct twcs_policy *policy, const struct twcs_window *window,
                        int64_t now_ms, char text[RUNS_TEXT_BYTES]);

/* One line of a table. */
struct runs_case {
    const char *what;
    const char *runs;
    const char *decision;
};

/** Fails the test with the line that differs. */
void runs_check(const struct twcs_policy *policy, int64_t now_ms, const struct runs_case *cases,
                size_t count);

#endif
