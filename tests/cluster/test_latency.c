/* Which node is asked, and when a second one. */
#include "cluster/latency.h"

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

    while (latency_spend(latency, 1, false))
        hedges++;
    ck_assert_int_le(hedges, 10);
    hedges = 0;
    for (int i = 0; i < 10000; i++) {
        latency_earn(latency);
        hedges += latency_spend(latency, 1, false);
    }
    ck_assert_int_eq(hedges, 500);
    latency_delete(latency);
}
END_TEST

START_TEST(hedges_that_cannot_wait_are_paid_back)
{
    struct latency *latency = latency_new();
    int hedges = 0;

    while (latency_spend(latency, 1, false))
        ;
    for (int i = 0; i < 100; i++)
        hedges += latency_spend(latency, 1, true);
    ck_assert_int_eq(hedges, 100);
    ck_assert(!latency_spend(latency, 1, true)); /* no more are owed */
    for (int i = 0; i < 10000; i++) {
        latency_earn(latency);
        hedges += latency_spend(latency, 1, false);
    }
    ck_assert_int_eq(hedges, 500);
    latency_delete(latency);
}
END_TEST

/* Whatever comes, in any window: a twentieth of its requests and what was saved, and what is owed where some cannot wait. */
START_TEST(hedges_are_bounded_in_every_window)
{
    enum { STEPS = 20000, SAVED = 20, OWED = 100, SHARE = 20 };
    uint64_t random = test_seed();

    for (int overdue = 0; overdue < 2; overdue++) {
        struct latency *latency = latency_new();
        int64_t excess = 0,
                most = 0; /* of hedges beyond a twentieth, in the worst window that ends now */
        for (int i = 0; i < STEPS; i++) {
            size_t count = 1 + test_random(&random) % 5;
            /* Long times with few hedges, and bursts. */
            if (test_random(&random) % 100 < (i / 1000 % 2 == 0 ? 100 : 10)) {
                latency_earn(latency);
                excess -= 1;
            } else if (latency_spend(latency, count, overdue && test_random(&random) % 2 == 0)) {
                excess += (int64_t)count * SHARE;
            }
            excess = excess < 0 ? 0 : excess;
            most = excess > most ? excess : most;
        }
        ck_assert_int_le(most, (SAVED + overdue * OWED) * SHARE);
        ck_assert_int_gt(most, (SAVED - 5 + overdue * (OWED - 5)) * SHARE);
        latency_delete(latency);
    }
}
END_TEST

START_TEST(a_hedge_to_several_nodes_takes_all_or_nothing)
{
    struct latency *latency = latency_new();

    while (latency_spend(latency, 1, false))
        ;
    for (int i = 0; i < 59; i++)
        latency_earn(latency);
    ck_assert(!latency_spend(latency, 3, false));
    latency_earn(latency);
    ck_assert(latency_spend(latency, 3, false));
    ck_assert(!latency_spend(latency, 1, false));
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
           TEST(hedges_that_cannot_wait_are_paid_back), TEST(hedges_are_bounded_in_every_window),
           TEST(a_hedge_to_several_nodes_takes_all_or_nothing),
           TEST(a_node_that_does_not_answer_is_avoided_and_probed))
