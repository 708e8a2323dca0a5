#include "tests/support/test_main.h"
#include "twcs/twcs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define MIB (UINT64_C(1) << 20)

/* What is picked in an open window with chunks of these sizes. */
static bool pick(uint32_t min_threshold, uint32_t max_threshold, const uint64_t *sizes,
                 size_t count, struct twcs_decision *decision)
{
    struct twcs_policy policy = {.window_ms = 1000,
                                 .tiered_min_threshold = min_threshold,
                                 .tiered_max_threshold = max_threshold};
    struct twcs_clock clock = {.watermark_ms = 0};
    struct twcs_run chunks[200] = {0};
    struct twcs_window window = {
        .length_ms = 1000, .chunks = chunks, .chunk_count = count, .max_expiry_ms = TWCS_NEVER};

    for (size_t i = 0; i < count; i++)
        chunks[i].bytes = sizes[i];
    if (twcs_decide(&policy, &clock, &window, 1, decision, 1) == 0)
        return false;
    ck_assert_int_eq(decision->action, TWCS_TIER);
    return true;
}

START_TEST(neighbours_of_one_size_merge)
{
    static const struct {
        const char *what;
        uint64_t sizes[12]; /* MiB, ends with 0 */
        bool merges;
        size_t first, count;
    } cases[] = {
        {"too few", {10, 10, 10}, false, 0, 0},
        {"four of one size", {10, 10, 10, 10}, true, 0, 4},
        {"as many as there are", {10, 10, 10, 10, 10, 10}, true, 0, 6},
        {"half to one and a half", {10, 15, 7, 12}, true, 0, 4},
        {"a larger one in front", {100, 10, 10, 10, 10}, true, 1, 4},
        {"a larger one behind", {10, 10, 10, 10, 100}, true, 0, 4},
        {"a larger one between", {10, 10, 100, 10, 10}, false, 0, 0},
        {"the smaller group first", {50, 50, 50, 50, 2, 2, 2, 2}, true, 4, 4},
        {"halves do not chain for ever", {160, 80, 40, 20, 10, 5}, false, 0, 0},
        {"one each", {1000, 100, 10, 1}, false, 0, 0},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t sizes[12];
        size_t count = 0;
        struct twcs_decision decision;
        for (; cases[i].sizes[count]; count++)
            sizes[count] = cases[i].sizes[count] * MIB;
        ck_assert_msg(pick(4, 32, sizes, count, &decision) == cases[i].merges, "%s", cases[i].what);
        if (cases[i].merges)
            ck_assert_msg(decision.first_chunk == cases[i].first &&
                              decision.chunk_count == cases[i].count,
                          "%s: %zu+%zu", cases[i].what, decision.first_chunk, decision.chunk_count);
    }
}
END_TEST

START_TEST(crumbs_count_as_equal)
{
    static const uint64_t sizes[] = {900000, 10, 1, 70000};
    struct twcs_decision decision;

    ck_assert(pick(4, 32, sizes, 4, &decision));
    ck_assert(decision.first_chunk == 0 && decision.chunk_count == 4);
}
END_TEST

START_TEST(a_merge_takes_at_most_max_threshold)
{
    uint64_t sizes[100];
    struct twcs_decision decision;

    for (size_t i = 0; i < 100; i++)
        sizes[i] = 10 * MIB;
    ck_assert(pick(4, 32, sizes, 100, &decision));
    ck_assert_uint_eq(decision.chunk_count, 32);
}
END_TEST

/* Sizes that never match must not pile up. */
START_TEST(a_crowd_of_unlike_sizes_merges_where_it_is_cheapest)
{
    uint64_t sizes[40];
    struct twcs_decision decision;

    for (size_t i = 0; i < 32; i++)
        sizes[i] = (i % 2 ? 100 : 10) * MIB;
    ck_assert(!pick(4, 32, sizes, 32, &decision));
    sizes[32] = 10 * MIB;
    sizes[20] = MIB;
    ck_assert(pick(4, 32, sizes, 33, &decision));
    ck_assert_uint_eq(decision.chunk_count, 4);
    ck_assert(decision.first_chunk <= 20 && decision.first_chunk + 4 > 20);
    for (size_t i = 33; i < 40; i++)
        sizes[i] = (i % 2 ? 100 : 10) * MIB;
    ck_assert(pick(4, 32, sizes, 40, &decision));
    ck_assert_uint_eq(decision.chunk_count, 9); /* back to 32 in one merge */
}
END_TEST

/* 4 to the power of k flushes of one size: each byte is written k times more, not once a flush. */
START_TEST(a_byte_is_rewritten_a_logarithm_of_times)
{
    uint64_t sizes[200];
    size_t count = 0;
    uint64_t written = 0;
    uint64_t flushed = 0;

    for (int flush = 0; flush < 1024; flush++) {
        struct twcs_decision decision;
        sizes[count++] = 10 * MIB;
        flushed += 10 * MIB;
        while (pick(4, 32, sizes, count, &decision)) {
            uint64_t total = 0;
            for (size_t i = 0; i < decision.chunk_count; i++)
                total += sizes[decision.first_chunk + i];
            written += total;
            sizes[decision.first_chunk] = total;
            for (size_t i = decision.first_chunk + decision.chunk_count; i < count; i++)
                sizes[i - decision.chunk_count + 1] = sizes[i];
            count -= decision.chunk_count - 1;
        }
        ck_assert_uint_le(count, 20);
    }
    ck_assert_uint_le(written, flushed * 5);
}
END_TEST

TEST_TABLE(TEST(neighbours_of_one_size_merge), TEST(crumbs_count_as_equal),
           TEST(a_merge_takes_at_most_max_threshold),
           TEST(a_crowd_of_unlike_sizes_merges_where_it_is_cheapest),
           TEST(a_byte_is_rewritten_a_logarithm_of_times))
