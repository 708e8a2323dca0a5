#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "tests/support/test_main.h"
#include "tests/twcs/compaction/crash_world.h"

enum { STEPS = TEST_SANITIZED ? 50 : 90, LIVES_MAX = 60 };

static void tally_add(struct crash_tally *to, const struct crash_tally *from)
{
    for (int i = 0; i < CRASH_DOINGS; i++) {
        to->done[i] += from->done[i];
        to->crashes[i] += from->crashes[i];
    }
    to->kills += from->kills;
    to->meanwhile += from->meanwhile;
    to->checks += from->checks;
}

static void tally_print(const struct crash_tally *tally)
{
    static const char *const names[CRASH_DOINGS] = {"recovery",    "append",  "flush",      "seal",
                                                    "reseal",      "tier",    "compaction", "move",
                                                    "expiry drop", "cap drop"};

    printf("done, of these crashed in:");
    for (int i = 0; i < CRASH_DOINGS; i++)
        printf(" %s %" PRIu64 "/%" PRIu64 ",", names[i], tally->done[i], tally->crashes[i]);
    printf(" only the process died %" PRIu64 ", records in the middle of a merge %" PRIu64
           ", checks %" PRIu64 "\n",
           tally->kills, tally->meanwhile, tally->checks);
}

static bool all_hit(const struct crash_tally *tally, unsigned hits)
{
    for (int i = 0; i < CRASH_DOINGS; i++)
        if ((hits & CRASH_HIT(i)) && tally->crashes[i] == 0)
            return false;
    return true;
}

static uint64_t crashes_of(const struct crash_tally *tally)
{
    uint64_t crashes = 0;

    for (int i = 0; i < CRASH_DOINGS; i++)
        crashes += tally->crashes[i];
    return crashes;
}

void crash_live(const struct crash_style *style, uint64_t wanted)
{
    const char *wished = getenv("WINDROW_TEST_CRASHES");
    unsigned hits = style->hits | CRASH_HIT(CRASH_OPENING) | CRASH_HIT(CRASH_APPENDING) |
                    CRASH_HIT(CRASH_FLUSHING);
    struct crash_world *world = malloc(sizeof(*world));
    struct crash_tally tally = {0};
    uint64_t random = test_seed() | 1;

    if (wished)
        wanted = strtoull(wished, NULL, 10);
    ck_assert_ptr_nonnull(world);
    logger_set_level((enum logger_level)(LOGGER_ERROR - 1));
    for (int life = 0; crashes_of(&tally) < wanted || !all_hit(&tally, hits); life++) {
        uint64_t seed = test_random(&random) >> 8;
        ck_assert_msg((uint64_t)life < LIVES_MAX + wanted, "no crash hits what it should");
        printf("life %" PRIu64 "\n", seed);
        crash_world_create(world, style->style, style->windows, style->max_bytes, seed);
        for (int step = 0; step < STEPS; step++)
            crash_world_step(world);
        crash_world_finish(world);
        tally_add(&tally, &world->tally);
    }
    printf("style %d%s%s: %" PRIu64 " crashes; ", (int)style->style,
           style->windows ? "" : " without windows", style->max_bytes > 0 ? " under a cap" : "",
           crashes_of(&tally));
    tally_print(&tally);
    free(world);
}
