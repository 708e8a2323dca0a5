/* Which node is asked, and when a second one. */
#include "indexer/cluster/latency.h"

#include "tests/support/test_main.h"

static const int64_t ms = 1000000;

START_TEST(hedges_follow_what_a_node_took)
{
    struct latency *latency = latency_new();
    int64_t unknown_ns = latency_hedge_ns(latency, "a:1");

    for (int i = 0; i < 640; i++) {
        latency_note(latency, "a:1", i % 100 < 90 ? 10 * ms : 20 * ms);
        latency_note(latency, "b:1", 100 * ms);
    }
    ck_assert_int_lt(latency_hedge_ns(latency, "a:1"), unknown_ns);
    ck_assert_int_ge(latency_hedge_ns(latency, "a:1"), 10 * ms);
    ck_assert_int_le(latency_hedge_ns(latency, "a:1"), 20 * ms);
    ck_assert_int_eq(latency_hedge_ns(latency, "b:1"), 100 * ms);
    latency_delete(latency);
}
END_TEST

START_TEST(hedges_are_a_twentieth_of_the_requests)
{
    struct latency *latency = latency_new();
    int hedges = 0;

    while (latency_spend(latency))
        hedges++;
    ck_assert_int_le(hedges, 10);
    hedges = 0;
    for (int i = 0; i < 10000; i++) {
        latency_earn(latency);
        hedges += latency_spend(latency);
    }
    ck_assert_int_eq(hedges, 500);
    latency_delete(latency);
}
END_TEST

START_TEST(a_node_that_does_not_answer_is_avoided_and_probed)
{
    struct latency *latency = latency_new();
    int64_t now_ns = 5000 * ms;
    int probes = 0;

    ck_assert(!latency_avoid(latency, "a:1", now_ns));
    latency_suspect(latency, "a:1", now_ns);
    ck_assert(!latency_avoid(latency, "b:1", now_ns));
    for (int i = 0; i < 5000; i++)
        probes += !latency_avoid(latency, "a:1", now_ns + i * ms);
    ck_assert_int_eq(probes, 4); /* one a second, the first after a second */
    latency_note(latency, "a:1", 10 * ms);
    ck_assert(!latency_avoid(latency, "a:1", now_ns));
    latency_delete(latency);
}
END_TEST

TEST_TABLE(TEST(hedges_follow_what_a_node_took), TEST(hedges_are_a_twentieth_of_the_requests),
           TEST(a_node_that_does_not_answer_is_avoided_and_probed))
