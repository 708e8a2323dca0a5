/* The promises of the simulation (tests/twcs/simulation.c) end to end: in every style the real
 * store carries out what twcs decides, on a disk that crashes in the middle of seals, merges and
 * drops, and lives on. WINDROW_TEST_CRASHES sets how many crashes a style has. */
#include "tests/support/test_main.h"
#include "tests/twcs/compaction/crash_world.h"

enum { CRASHES = TEST_SANITIZED ? 20 : 60 };

enum { WINDOWED = CRASH_HIT(CRASH_SEALING) | CRASH_HIT(CRASH_DROPPING) };

START_TEST(time_window_keeps_its_promises_through_crashes)
{
    crash_live(
        &(struct crash_style){CONFIG_STYLE_TIME_WINDOW, true, 0,
                              WINDOWED | CRASH_HIT(CRASH_TIERING) | CRASH_HIT(CRASH_RESEALING)},
        CRASHES);
}
END_TEST

START_TEST(time_window_under_a_cap_keeps_its_promises_through_crashes)
{
    crash_live(&(struct crash_style){CONFIG_STYLE_TIME_WINDOW, true, 300000,
                                     CRASH_HIT(CRASH_SEALING) | CRASH_HIT(CRASH_CAPPING)},
               CRASHES);
}
END_TEST

START_TEST(fifo_keeps_its_promises_through_crashes)
{
    crash_live(&(struct crash_style){CONFIG_STYLE_FIFO, true, 300000,
                                     CRASH_HIT(CRASH_SEALING) | CRASH_HIT(CRASH_CAPPING)},
               CRASHES);
}
END_TEST

START_TEST(size_tiered_in_windows_keeps_its_promises_through_crashes)
{
    crash_live(&(struct crash_style){CONFIG_STYLE_SIZE_TIERED, true, 0,
                                     WINDOWED | CRASH_HIT(CRASH_COMPACTING)},
               CRASHES);
}
END_TEST

START_TEST(leveled_in_windows_keeps_its_promises_through_crashes)
{
    crash_live(&(struct crash_style){CONFIG_STYLE_LEVELED, true, 0,
                                     WINDOWED | CRASH_HIT(CRASH_COMPACTING)},
               CRASHES);
}
END_TEST

START_TEST(hybrid_in_windows_keeps_its_promises_through_crashes)
{
    crash_live(
        &(struct crash_style){CONFIG_STYLE_HYBRID, true, 0, WINDOWED | CRASH_HIT(CRASH_COMPACTING)},
        CRASHES);
}
END_TEST

START_TEST(size_tiered_without_windows_keeps_its_promises_through_crashes)
{
    crash_live(
        &(struct crash_style){CONFIG_STYLE_SIZE_TIERED, false, 0, CRASH_HIT(CRASH_COMPACTING)},
        CRASHES);
}
END_TEST

START_TEST(leveled_without_windows_keeps_its_promises_through_crashes)
{
    crash_live(&(struct crash_style){CONFIG_STYLE_LEVELED, false, 0,
                                     CRASH_HIT(CRASH_COMPACTING) | CRASH_HIT(CRASH_MOVING)},
               CRASHES);
}
END_TEST

START_TEST(hybrid_without_windows_keeps_its_promises_through_crashes)
{
    crash_live(&(struct crash_style){CONFIG_STYLE_HYBRID, false, 0, CRASH_HIT(CRASH_COMPACTING)},
               CRASHES);
}
END_TEST

TEST_TABLE(TEST(time_window_keeps_its_promises_through_crashes),
           TEST(time_window_under_a_cap_keeps_its_promises_through_crashes),
           TEST(fifo_keeps_its_promises_through_crashes),
           TEST(size_tiered_in_windows_keeps_its_promises_through_crashes),
           TEST(leveled_in_windows_keeps_its_promises_through_crashes),
           TEST(hybrid_in_windows_keeps_its_promises_through_crashes),
           TEST(size_tiered_without_windows_keeps_its_promises_through_crashes),
           TEST(leveled_without_windows_keeps_its_promises_through_crashes),
           TEST(hybrid_without_windows_keeps_its_promises_through_crashes))
