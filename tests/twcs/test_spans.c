#include <stdio.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "twcs/twcs.h"

enum { HOUR_MS = 3600000, WINDOWS = 200, DECISIONS = 64, FANOUT = TWCS_SPAN_FANOUT };

struct world {
    struct twcs_policy policy;
    struct twcs_clock clock;
    struct twcs_span_window windows[WINDOWS];
    size_t window_count;
    struct twcs_span spans[DECISIONS];
    size_t span_count;
    struct twcs_span_decision decisions[DECISIONS];
    size_t decision_count;
};

/* Windows [first, end) of an hour, sealed and quiet, ten rows each; the newest record is of `now`. */
static void create(struct world *world, int64_t first, int64_t end, int64_t now_hours,
                   int64_t ttl_hours)
{
    *world = (struct world){
        .policy = {.ttl_ms = ttl_hours * HOUR_MS, .window_ms = HOUR_MS},
        .clock = {.watermark_ms = now_hours * HOUR_MS, .safe_wall_ms = now_hours * HOUR_MS}};
    for (int64_t hour = first; hour < end; hour++)
        world->windows[world->window_count++] = (struct twcs_span_window){
            .start_ms = hour * HOUR_MS,
            .length_ms = HOUR_MS,
            .rows = 10,
            .settled = true,
            .max_expiry_ms = ttl_hours ? (hour + 1 + ttl_hours) * HOUR_MS : TWCS_NEVER};
}

static void decide(struct world *world)
{
    world->decision_count =
        twcs_decide_spans(&world->policy, &world->clock, world->windows, world->window_count,
                          world->spans, world->span_count, world->decisions, DECISIONS);
}

/* Builds of the tier. */
static size_t builds(const struct world *world, uint8_t tier)
{
    size_t count = 0;

    for (size_t i = 0; i < world->decision_count; i++)
        count += world->decisions[i].action == TWCS_SPAN_BUILD && world->decisions[i].tier == tier;
    return count;
}

static size_t drops(const struct world *world)
{
    return world->decision_count - builds(world, 1) - builds(world, 2);
}

/* As a worker: what was decided is there. */
static void carry_out(struct world *world)
{
    for (size_t i = 0; i < world->decision_count; i++) {
        const struct twcs_span_decision *decision = &world->decisions[i];
        struct twcs_span span = {.tier = decision->tier};
        ck_assert_int_eq(decision->action, TWCS_SPAN_BUILD);
        for (size_t j = 0; j < decision->window_count; j++) {
            const struct twcs_span_window *window = &world->windows[decision->first_window + j];
            if (!window->settled)
                continue;
            ck_assert_int_ge(window->start_ms, decision->start_ms);
            ck_assert_int_le(window->start_ms + window->length_ms, decision->end_ms);
            if (span.rows == 0)
                span.start_ms = window->start_ms;
            span.end_ms = window->start_ms + window->length_ms;
            span.rows += window->rows;
        }
        span.live_rows = span.rows;
        for (size_t j = 0; j < world->span_count; j++)
            if (world->spans[j].tier == span.tier && world->spans[j].start_ms < span.end_ms &&
                world->spans[j].end_ms > span.start_ms)
                world->spans[j--] = world->spans[--world->span_count];
        world->spans[world->span_count++] = span;
    }
}

START_TEST(windows_without_an_end_get_tiers_that_lie_in_each_other)
{
    struct world world;

    create(&world, -3, FANOUT * FANOUT * 2 + 5, 1000, 0);
    decide(&world);
    ck_assert_uint_eq(builds(&world, 1), 1 + 2 * FANOUT + 1);
    ck_assert_uint_eq(builds(&world, 2), 2); /* those before 0 and at the end are too few */
    ck_assert_uint_eq(drops(&world), 0);
    carry_out(&world);
    decide(&world);
    ck_assert_uint_eq(world.decision_count, 0);
}
END_TEST

START_TEST(group_waits_until_nothing_more_is_expected)
{
    static const struct {
        const char *what;
        int64_t now_hours;
        size_t unsettled; /* of the newest windows of the group */
        size_t wanted;
    } cases[] = {{"its time is not over", FANOUT - 1, 0, 0},
                 {"late records may come", FANOUT, 0, 0},
                 {"it is quiet", FANOUT + 1, 0, 1},
                 {"a quarter is not sealed", FANOUT + 1, FANOUT / 4, 1},
                 {"more is not sealed", FANOUT + 1, FANOUT / 4 + 1, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        create(&world, 0, FANOUT, cases[i].now_hours, 0);
        for (size_t w = 0; w < cases[i].unsettled; w++)
            world.windows[FANOUT - 1 - w].settled = false;
        decide(&world);
        ck_assert_msg(builds(&world, 1) == cases[i].wanted, "%s", cases[i].what);
        world.policy.late_allowed_ms = 100 * HOUR_MS;
        decide(&world);
        ck_assert_msg(world.decision_count == 0, "%s", cases[i].what);
    }
}
END_TEST

START_TEST(span_has_to_live_for_as_long_as_its_group)
{
    struct world world;

    /* The oldest window ends at 1 h: it lives for half of the group's length from 5 h on. */
    create(&world, 0, FANOUT, FANOUT + 1, FANOUT + FANOUT / 2);
    decide(&world);
    ck_assert_uint_eq(builds(&world, 1), 1);
    create(&world, 0, FANOUT, FANOUT + 1, FANOUT + FANOUT / 2 - 1);
    decide(&world);
    ck_assert_uint_eq(builds(&world, 1), 0);
}
END_TEST

START_TEST(span_whose_larger_part_is_dead_is_built_again_or_dropped)
{
    static const struct {
        const char *what;
        uint64_t live_rows;
        int64_t ttl_hours;
        size_t builds, drops;
    } cases[] = {{"half lives", FANOUT * 5, 0, 0, 0},
                 {"less lives, others took its windows", FANOUT * 5 - 1, 0, 1, 0},
                 {"less lives, and the rest soon expires", FANOUT * 5 - 1, FANOUT + 1, 0, 1},
                 {"half lives, and soon expires", FANOUT * 5, FANOUT + 1, 0, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world world;
        create(&world, 0, FANOUT, FANOUT + 1, cases[i].ttl_hours);
        world.spans[0] = (struct twcs_span){.tier = 1,
                                            .end_ms = FANOUT * HOUR_MS,
                                            .rows = FANOUT * 10,
                                            .live_rows = cases[i].live_rows};
        world.span_count = 1;
        decide(&world);
        ck_assert_msg(builds(&world, 1) == cases[i].builds, "%s", cases[i].what);
        ck_assert_msg(drops(&world) == cases[i].drops, "%s", cases[i].what);
        ck_assert(drops(&world) == 0 || world.decisions[0].span == 0);
    }
}
END_TEST

/* The span may push out as many windows as half of its group has. */
START_TEST(under_a_byte_cap_a_group_has_its_length_of_windows_before_it)
{
    enum { END = FANOUT * FANOUT * 3 };
    struct world world;

    create(&world, 0, END, 1000, 0);
    world.policy.max_bytes = 1;
    decide(&world);
    ck_assert_uint_eq(builds(&world, 1), END / FANOUT - 1);
    ck_assert_uint_eq(builds(&world, 2), 2);
    carry_out(&world);
    /* The oldest go, and a span with its windows; none is built anew over what is left of one. */
    for (size_t gone = 0; gone < END; gone++) {
        memmove(world.windows, world.windows + 1, --world.window_count * sizeof(world.windows[0]));
        for (size_t i = 0; i < world.span_count; i++)
            if (world.spans[i].start_ms <= (int64_t)gone * HOUR_MS && world.spans[i].live_rows > 0)
                world.spans[i].live_rows -= 10;
        decide(&world);
        ck_assert_uint_eq(builds(&world, 1) + builds(&world, 2), 0);
        for (size_t i = 0; i < world.decision_count; i++)
            ck_assert_uint_lt(world.spans[world.decisions[i].span].live_rows * 2,
                              world.spans[world.decisions[i].span].rows);
    }
}
END_TEST

START_TEST(one_window_and_windows_of_other_lengths_get_none)
{
    struct world world;

    create(&world, 0, 1, 100, 0);
    decide(&world);
    ck_assert_uint_eq(world.decision_count, 0);
    create(&world, 0, 2, 100, 0);
    world.windows[1].length_ms = 2 * HOUR_MS;
    decide(&world);
    ck_assert_uint_eq(world.decision_count, 0);
    /* One of another length between them splits no group. */
    create(&world, 0, FANOUT, 100, 0);
    world.windows[2].length_ms = HOUR_MS / 2;
    decide(&world);
    ck_assert_uint_eq(world.decision_count, 1);
    ck_assert_uint_eq(world.decisions[0].window_count, FANOUT);
    world.windows[0].length_ms = 0; /* a shard without windows */
    world.window_count = 1;
    decide(&world);
    ck_assert_uint_eq(world.decision_count, 0);
}
END_TEST

/* A year of hours with a TTL of a week: each window is in one build a tier, and a search over all of
 * them has few segments to go through. */
START_TEST(every_window_is_built_into_one_span_a_tier)
{
    enum { TTL = 168, HOURS = 24 * 365 };
    static uint8_t built[2][HOURS];
    struct world world;
    size_t most = 0;

    create(&world, 0, 0, 0, TTL);
    for (int64_t now = 1; now < HOURS; now++) {
        int64_t first = now > TTL + 1 ? now - TTL - 1 : 0;
        struct world next;
        size_t segments;
        create(&next, first, now, now, TTL);
        memcpy(next.spans, world.spans, sizeof(next.spans));
        next.span_count = world.span_count;
        for (size_t i = 0; i < next.span_count; i++) {
            int64_t start = next.spans[i].start_ms / HOUR_MS, end = next.spans[i].end_ms / HOUR_MS;
            next.spans[i].live_rows =
                end <= first ? 0 : (uint64_t)(end - (start > first ? start : first)) * 10;
        }
        decide(&next);
        for (size_t i = 0; i < next.decision_count; i++) {
            const struct twcs_span_decision *decision = &next.decisions[i];
            if (decision->action == TWCS_SPAN_DROP) {
                next.spans[decision->span].rows = 0;
                continue;
            }
            for (size_t w = 0; w < decision->window_count; w++)
                built[decision->tier - 1][first + (int64_t)(decision->first_window + w)]++;
        }
        for (size_t i = 0; i < next.span_count; i++)
            if (next.spans[i].rows == 0 || next.spans[i].live_rows == 0)
                next.spans[i--] = next.spans[--next.span_count];
        for (size_t i = 0; i < next.decision_count; i++)
            if (next.decisions[i].action == TWCS_SPAN_DROP)
                next.decisions[i--] = next.decisions[--next.decision_count];
        carry_out(&next);
        world = next;
        /* The cover of everything: large spans, small ones outside of them, windows outside. */
        segments = 0;
        for (int64_t hour = first; hour < now;) {
            int64_t end = hour + 1;
            for (size_t i = 0; i < world.span_count; i++)
                if (world.spans[i].end_ms / HOUR_MS > end &&
                    world.spans[i].start_ms <= hour * HOUR_MS)
                    end = world.spans[i].end_ms / HOUR_MS;
            hour = end;
            segments++;
        }
        most = segments > most ? segments : most;
    }
    for (int64_t hour = 0; hour < HOURS - TTL; hour++) {
        ck_assert_uint_eq(built[0][hour], 1);
        ck_assert_uint_le(built[1][hour], 1);
    }
    printf("at most %zu segments over %d windows\n", most, TTL);
    ck_assert_uint_le(most, 4 * FANOUT);
}
END_TEST

TEST_TABLE(TEST(windows_without_an_end_get_tiers_that_lie_in_each_other),
           TEST(group_waits_until_nothing_more_is_expected),
           TEST(span_has_to_live_for_as_long_as_its_group),
           TEST(span_whose_larger_part_is_dead_is_built_again_or_dropped),
           TEST(under_a_byte_cap_a_group_has_its_length_of_windows_before_it),
           TEST(one_window_and_windows_of_other_lengths_get_none),
           TEST(every_window_is_built_into_one_span_a_tier))
