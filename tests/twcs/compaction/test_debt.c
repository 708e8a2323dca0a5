/* What compaction is behind with: windrow_compaction_pending_bytes, windrow_compaction_lag_seconds. */
#include "tests/support/test_main.h"
#include "twcs/compaction/compaction.h"

enum { HOUR_MS = 3600000, LATE_MS = 600000 };

START_TEST(debt_is_what_is_due_and_what_is_under_way)
{
    const struct twcs_run chunks[] = {{.file_number = 1, .bytes = 100, .max_expiry_ms = TWCS_NEVER},
                                      {.file_number = 2, .bytes = 20, .max_expiry_ms = TWCS_NEVER}};
    static const struct {
        const char *what;
        bool sealed, busy;
        size_t chunk_count;
        int64_t watermark_ms;
        uint64_t pending_bytes;
        int64_t lag_ms;
    } cases[] = {
        {"an open window owes nothing", false, false, 2, HOUR_MS / 2, 0, 0},
        {"late records are waited for", false, false, 2, HOUR_MS + LATE_MS - 1, 0, 0},
        {"a closed window has to be sealed", false, false, 2, HOUR_MS + LATE_MS + 7, 120, 7},
        {"one that is being sealed is owed, too", false, true, 2, HOUR_MS + LATE_MS + 9, 120, 9},
        {"a sealed window owes nothing", true, false, 0, 5 * HOUR_MS, 0, 0},
        {"late rows past their share fold in", true, false, 2, 5 * HOUR_MS, 1120, 0},
        {"an empty window is not behind", false, false, 0, 5 * HOUR_MS, 0, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct twcs_window window = {.length_ms = HOUR_MS,
                                     .sealed = cases[i].sealed,
                                     .busy = cases[i].busy,
                                     .sealed_run = {.bytes = 1000, .rows = 10},
                                     .chunks = chunks,
                                     .chunk_count = cases[i].chunk_count,
                                     .max_expiry_ms = TWCS_NEVER};
        const struct compaction_view view = {.info = {.window_count = 1},
                                             .windows = &window,
                                             .policy = {.window_ms = HOUR_MS,
                                                        .late_allowed_ms = LATE_MS,
                                                        .tiered_min_threshold = 4,
                                                        .tiered_max_threshold = 32,
                                                        .reseal_ratio = 0.1,
                                                        .dead_ratio = 0.3},
                                             .clock = {.watermark_ms = cases[i].watermark_ms}};
        struct compaction_debt debt;
        struct arena arena;
        arena_create(&arena, 0);
        compaction_debt(&view, &arena, &debt);
        ck_assert_msg(debt.pending_bytes == cases[i].pending_bytes &&
                          debt.lag_ms == cases[i].lag_ms,
                      "%s: %llu bytes, %lld ms", cases[i].what,
                      (unsigned long long)debt.pending_bytes, (long long)debt.lag_ms);
        arena_destroy(&arena);
    }
}
END_TEST

TEST_TABLE(TEST(debt_is_what_is_due_and_what_is_under_way))
