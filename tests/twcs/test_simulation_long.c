#include <stdio.h>
#include <stdlib.h>

#include "tests/support/test_main.h"
#include "tests/twcs/simulation.h"

/* WINDROW_TWCS_YEARS sets how many; a failing world replays in test_twcs_simulation with
 * WINDROW_TWCS_WORLD. */
START_TEST(fifty_thousand_years_keep_every_promise)
{
    const char *given = getenv("WINDROW_TWCS_YEARS");
    double years = given ? strtod(given, NULL) : 50000;
    struct simulation_report report = {.digest = 1};
    uint64_t random = test_seed();

    while (report.years < years) {
        uint64_t world = test_random(&random);
        simulation_run(world, 2000, SIMULATION_SOUND, &report);
        ck_assert_msg(report.failure[0] == '\0', "WINDROW_TWCS_WORLD=0x%llx %s",
                      (unsigned long long)world, report.failure);
    }
    printf("%.0f years, %llu records\n", report.years, (unsigned long long)report.records);
}
END_TEST

TEST_TABLE(TEST(fifty_thousand_years_keep_every_promise))
