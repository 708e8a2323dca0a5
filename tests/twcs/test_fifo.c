#include "tests/support/test_main.h"
#include "twcs/twcs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NONE SIZE_MAX

/* Columns: end, bytes, open, busy, expired. The cap is 100. */
START_TEST(the_cap_takes_expired_windows_then_the_oldest_sealed_one)
{
    static const struct {
        const char *what;
        uint64_t total_bytes;
        struct twcs_fifo_window windows[4];
        size_t count;
        size_t pick;
        bool starved;
    } cases[] = {
        {"under the cap", 99, {{1, 50, 0, 0, 0}, {2, 49, 0, 0, 0}}, 2, NONE, false},
        {"at the cap", 100, {{1, 50, 0, 0, 0}, {2, 50, 0, 0, 0}}, 2, NONE, false},
        {"under the cap, expired stay for the TTL", 99, {{1, 50, 0, 0, 1}}, 1, NONE, false},
        {"oldest", 101, {{1, 50, 0, 0, 0}, {2, 51, 0, 0, 0}}, 2, 0, false},
        {"oldest, in any order",
         101,
         {{3, 1, 0, 0, 0}, {1, 50, 0, 0, 0}, {2, 50, 0, 0, 0}},
         3,
         1,
         false},
        {"expired first", 101, {{1, 50, 0, 0, 0}, {2, 51, 0, 0, 1}}, 2, 1, false},
        {"oldest expired first",
         101,
         {{3, 50, 0, 0, 1}, {2, 51, 0, 0, 1}, {1, 1, 0, 0, 0}},
         3,
         1,
         false},
        {"open ones never", 101, {{1, 60, 1, 0, 0}, {2, 41, 0, 0, 0}}, 2, 1, false},
        {"open and expired: the TTL drop's",
         101,
         {{1, 60, 1, 0, 1}, {2, 41, 0, 0, 0}},
         2,
         1,
         false},
        {"nothing but open ones", 101, {{1, 60, 1, 0, 0}, {2, 41, 1, 0, 0}}, 2, NONE, true},
        {"nothing at all: the log alone is over", 101, {{0, 0, 0, 0, 0}}, 0, NONE, true},
        {"the oldest is busy: no hole", 101, {{1, 60, 0, 1, 0}, {2, 41, 0, 0, 0}}, 2, NONE, true},
        {"same age in another shard", 101, {{1, 60, 0, 1, 0}, {1, 41, 0, 0, 0}}, 2, 1, false},
        {"expired and busy: wait for it", 101, {{2, 60, 0, 1, 1}, {1, 41, 0, 0, 0}}, 2, NONE, true},
        {"another expired one is free", 101, {{1, 60, 0, 1, 1}, {2, 41, 0, 0, 1}}, 2, 1, false},
        {"negative times", 101, {{-1, 60, 0, 0, 0}, {-2, 41, 0, 0, 0}}, 2, 1, false},
    };
    struct twcs_policy policy = {.max_bytes = 100};

    for (size_t i = 0; i < COUNT(cases); i++) {
        bool starved = !cases[i].starved;
        size_t pick = twcs_fifo_pick(&policy, cases[i].windows, cases[i].count,
                                     cases[i].total_bytes, &starved);
        ck_assert_msg(pick == cases[i].pick, "%s: %zu", cases[i].what, pick);
        ck_assert_msg(starved == cases[i].starved, "%s", cases[i].what);
    }
}
END_TEST

START_TEST(without_a_cap_nothing_goes)
{
    struct twcs_policy policy = {0};
    struct twcs_fifo_window window = {.end_ms = 1, .bytes = UINT64_MAX, .expired = true};
    bool starved = true;

    ck_assert_uint_eq(twcs_fifo_pick(&policy, &window, 1, UINT64_MAX, &starved), NONE);
    ck_assert(!starved);
}
END_TEST

TEST_TABLE(TEST(the_cap_takes_expired_windows_then_the_oldest_sealed_one),
           TEST(without_a_cap_nothing_goes))
