/* The same as crash_styles.c for longer: 1500 crashes in each style. */
#include "tests/support/test_main.h"
#include "tests/twcs/compaction/crash_world.h"

START_TEST(every_style_keeps_its_promises_through_many_crashes)
{
    for (int style = CONFIG_STYLE_TIME_WINDOW; style <= CONFIG_STYLE_HYBRID; style++)
        for (int windows = style < CONFIG_STYLE_SIZE_TIERED; windows < 2; windows++)
            for (int capped = 0; capped <= windows; capped++)
                crash_live(&(struct crash_style){(enum config_style)style, windows != 0,
                                                 capped ? 300000 : 0, 0},
                           1500);
}
END_TEST

TEST_TABLE(TEST(every_style_keeps_its_promises_through_many_crashes))
