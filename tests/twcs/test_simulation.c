#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "tests/twcs/simulation.h"

static void print_report(const struct simulation_report *report)
{
    printf(
        "%.0f years, %llu steps, %llu records; accepted %llu, late %llu, dropped late %llu, dead "
        "letters %llu, expired %llu, future %llu; TTL drops %llu, seals %llu, reseals %llu, "
        "tiers %llu; compactions: expired %llu, files %llu, level bytes %llu, space %llu, of them "
        "moves %llu; cap took %llu, waited %llu steps, for level 0 %llu; %llu steps without "
        "windows; the clock stood %llu steps, records waited for it %llu times; %llu restarts, "
        "%llu changes\n",
        report->years, (unsigned long long)report->steps, (unsigned long long)report->records,
        (unsigned long long)report->verdicts[0], (unsigned long long)report->verdicts[1],
        (unsigned long long)report->verdicts[2], (unsigned long long)report->verdicts[3],
        (unsigned long long)report->verdicts[4], (unsigned long long)report->verdicts[5],
        (unsigned long long)report->actions[0], (unsigned long long)report->actions[1],
        (unsigned long long)report->actions[2], (unsigned long long)report->actions[3],
        (unsigned long long)report->reasons[1], (unsigned long long)report->reasons[2],
        (unsigned long long)report->reasons[3], (unsigned long long)report->reasons[4],
        (unsigned long long)report->moves, (unsigned long long)report->capped,
        (unsigned long long)report->starved, (unsigned long long)report->stalls,
        (unsigned long long)report->windowless, (unsigned long long)report->stood,
        (unsigned long long)report->clock_waits, (unsigned long long)report->restarts,
        (unsigned long long)report->changes);
}

/* WINDROW_TWCS_WORLD=0x... runs that world alone. */
static void simulate_years(double years)
{
    const char *single = getenv("WINDROW_TWCS_WORLD");
    struct simulation_report report = {.digest = 1};
    uint64_t random = test_seed();

    while (report.years < years) {
        uint64_t world = single ? strtoull(single, NULL, 0) : test_random(&random);
        simulation_run(world, 2000, SIMULATION_SOUND, &report);
        ck_assert_msg(report.failure[0] == '\0', "WINDROW_TWCS_WORLD=0x%llx %s",
                      (unsigned long long)world, report.failure);
        if (single)
            break;
    }
    print_report(&report);
}

START_TEST(a_thousand_years_keep_every_promise)
{
#if defined(__SANITIZE_THREAD__)
    simulate_years(100); /* one thread: there is no race to be found */
#else
    simulate_years(1000);
#endif
}
END_TEST

START_TEST(one_seed_gives_one_history)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 10; i++) {
        uint64_t world = test_random(&random);
        struct simulation_report first = {.digest = 1};
        struct simulation_report second = {.digest = 1};
        simulation_run(world, 500, SIMULATION_SOUND, &first);
        simulation_run(world, 500, SIMULATION_SOUND, &second);
        ck_assert_mem_eq(&first, &second, sizeof(first));
    }
}
END_TEST

/* The checks are worth what they find. */
START_TEST(every_injected_fault_is_found)
{
    static const struct {
        enum simulation_fault fault;
        const char *found;
    } cases[] = {
        {SIMULATION_EARLY_EXPIRY, "lost a row"},
        {SIMULATION_HIDDEN_JOBS, "at once"},
        {SIMULATION_TRUSTING_CLOCK, "leapt"},
        {SIMULATION_NO_IDLENESS, "the watermark stands"},
        {SIMULATION_LOST_WATERMARK, "the watermark fell"},
        {SIMULATION_FORGOTTEN_BYTES, "over the cap"},
        {SIMULATION_NARROW_RANGES, "two files of one level"},
        {SIMULATION_HIDDEN_MASKS, "bytes stored for"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t random = 20261121;
        bool found = false;
        for (int world = 0; world < 60 && !found; world++) {
            struct simulation_report report = {.digest = 1};
            simulation_run(test_random(&random), 1000, cases[i].fault, &report);
            found = strstr(report.failure, cases[i].found) != NULL;
        }
        ck_assert_msg(found, "nobody noticed: %s", cases[i].found);
    }
}
END_TEST

TEST_TABLE(TEST(a_thousand_years_keep_every_promise), TEST(one_seed_gives_one_history),
           TEST(every_injected_fault_is_found))
