/* The clock of the service against a wall clock that the test sets. */
#include "windrow/safe_clock.h"

#include "tests/store/shard_fixture.h"
#include "tests/support/test_main.h"
#include "twcs/twcs.h"

#define START INT64_C(1700000000000)
#define BOUND ((int64_t)TWCS_CLOCK_STEP_MAX_MS)

struct scene {
    int64_t *wall_ms;
    struct safe_clock *clock;
};

static struct scene scene_at(int64_t wall_ms)
{
    struct scene scene;
    struct io *io = fixture_io(&scene.wall_ms);

    *scene.wall_ms = wall_ms;
    scene.clock = safe_clock_new(io);
    return scene;
}

START_TEST(the_clock_follows_steps_and_neither_falls_nor_leaps)
{
    static const struct {
        const char *what;
        int64_t wall_ms, safe_ms;
        bool stands;
    } steps[] = {
        {"the start is trusted", START, START, false},
        {"a second", START + 1000, START + 1000, false},
        {"set back", START - 5 * BOUND, START + 1000, false},
        {"right again", START + 2000, START + 2000, false},
        {"the largest step", START + 2000 + BOUND, START + 2000 + BOUND, false},
        {"one more than that", START + 2001 + 2 * BOUND, START + 2000 + BOUND, true},
        {"a year", START + 400 * BOUND, START + 2000 + BOUND, true},
        {"right again, and it follows", START + 3000 + BOUND, START + 3000 + BOUND, false},
    };
    struct scene scene = scene_at(START);

    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        int64_t safe_ms, wall_ms;
        *scene.wall_ms = steps[i].wall_ms;
        ck_assert_msg(io_wall_ms(safe_clock_io(scene.clock)) == steps[i].safe_ms, "%s",
                      steps[i].what);
        ck_assert_msg(safe_clock_stands(scene.clock, &safe_ms, &wall_ms) == steps[i].stands, "%s",
                      steps[i].what);
        ck_assert_int_eq(safe_ms, steps[i].safe_ms);
        ck_assert_int_eq(wall_ms, steps[i].wall_ms);
    }
    safe_clock_delete(scene.clock);
}
END_TEST

START_TEST(an_operators_word_lets_a_standing_clock_go_on)
{
    struct scene scene = scene_at(START);
    int64_t safe_ms, wall_ms;

    *scene.wall_ms = START + 9 * BOUND;
    ck_assert(safe_clock_stands(scene.clock, &safe_ms, &wall_ms));
    ck_assert(safe_clock_trust(scene.clock));
    ck_assert(!safe_clock_stands(scene.clock, &safe_ms, &wall_ms));
    ck_assert_int_eq(io_wall_ms(safe_clock_io(scene.clock)), START + 9 * BOUND);
    /* The word is for the time it was given at, not for the next leap. */
    *scene.wall_ms += 2 * BOUND;
    ck_assert(safe_clock_stands(scene.clock, &safe_ms, &wall_ms));
    *scene.wall_ms = safe_ms + 5;
    ck_assert(!safe_clock_trust(scene.clock));
    safe_clock_delete(scene.clock);
}
END_TEST

START_TEST(a_process_that_starts_with_a_clock_set_back_goes_on_where_it_was)
{
    struct scene scene = scene_at(START - 3 * BOUND);

    safe_clock_raise(scene.clock, START);
    safe_clock_raise(scene.clock, START - 1);
    ck_assert_int_eq(io_wall_ms(safe_clock_io(scene.clock)), START);
    *scene.wall_ms = START + 7;
    ck_assert_int_eq(io_wall_ms(safe_clock_io(scene.clock)), START + 7);
    safe_clock_delete(scene.clock);
}
END_TEST

TEST_TABLE(TEST(the_clock_follows_steps_and_neither_falls_nor_leaps),
           TEST(an_operators_word_lets_a_standing_clock_go_on),
           TEST(a_process_that_starts_with_a_clock_set_back_goes_on_where_it_was))
