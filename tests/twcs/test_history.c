/* Base and tail over the windows of a shard. */
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/test_main.h"
#include "twcs/twcs.h"

enum {
    HOUR_MS = 3600000,
    TTL = 168,
    WINDOWS = 2 * TWCS_HISTORY_WINDOWS_MAX,
    ROWS = 10,
    DECISIONS = 8
};

/* One window: which build of each tier has its run; 0: none. */
struct hour {
    bool there, settled;
    uint32_t copied[3]; /* by tier */
    uint32_t in[3];
};

struct world {
    struct hour hours[WINDOWS];
    struct twcs_span spans[DECISIONS];
    uint32_t builds[DECISIONS]; /* of the spans */
    size_t span_count;
    uint32_t build;
    struct twcs_span_decision decisions[DECISIONS];
    size_t decision_count;
    struct twcs_span_window windows[WINDOWS];
    int64_t of_window[WINDOWS];
    size_t window_count;
};

static bool is_in(const struct world *world, const struct hour *hour, uint8_t tier)
{
    for (size_t i = 0; i < world->span_count; i++)
        if (world->spans[i].tier == tier && world->spans[i].lists &&
            world->builds[i] == hour->in[tier])
            return true;
    return false;
}

static void decide(struct world *world)
{
    world->window_count = 0;
    for (int64_t at = 0; at < WINDOWS; at++) {
        const struct hour *hour = &world->hours[at];
        if (!hour->there)
            continue;
        world->of_window[world->window_count] = at;
        world->windows[world->window_count++] =
            (struct twcs_span_window){.start_ms = at * HOUR_MS,
                                      .length_ms = HOUR_MS,
                                      .rows = ROWS,
                                      .settled = hour->settled,
                                      .in_tail = is_in(world, hour, TWCS_TAIL_TIER),
                                      .in_base = is_in(world, hour, TWCS_BASE_TIER)};
    }
    for (size_t i = 0; i < world->span_count; i++) {
        world->spans[i].live_rows = 0;
        for (int64_t at = 0; at < WINDOWS; at++)
            if (world->hours[at].there &&
                world->hours[at].in[world->spans[i].tier] == world->builds[i])
                world->spans[i].live_rows += ROWS;
    }
    world->decision_count = twcs_decide_history(world->windows, world->window_count, world->spans,
                                                world->span_count, world->decisions, DECISIONS);
}

static void remove_span(struct world *world, size_t at)
{
    world->spans[at] = world->spans[--world->span_count];
    world->builds[at] = world->builds[world->span_count];
}

static void build(struct world *world, const struct twcs_span_decision *decision)
{
    struct twcs_span span = {.tier = decision->tier, .lists = true};

    world->build++;
    for (size_t i = 0; i < decision->window_count; i++) {
        size_t at = decision->first_window + i;
        struct hour *hour = &world->hours[world->of_window[at]];
        if (!hour->settled || (decision->beside_base && world->windows[at].in_base))
            continue;
        if (span.rows == 0)
            span.start_ms = world->windows[at].start_ms;
        span.end_ms = world->windows[at].start_ms + HOUR_MS;
        span.rows += ROWS;
        hour->in[span.tier] = world->build;
        hour->copied[span.tier]++;
    }
    ck_assert_uint_gt(span.rows, 0);
    for (size_t i = world->span_count; i-- > 0;)
        if (world->spans[i].tier == span.tier && world->spans[i].start_ms < span.end_ms &&
            world->spans[i].end_ms > span.start_ms)
            remove_span(world, i);
    world->spans[world->span_count] = span;
    world->builds[world->span_count++] = world->build;
}

/* As a worker, until nothing is left to do. */
static void carry_out(struct world *world)
{
    for (int round = 0; round < 4; round++) {
        decide(world);
        if (world->decision_count == 0)
            break;
        if (world->decisions[0].action == TWCS_SPAN_BUILD)
            build(world, &world->decisions[0]);
        else
            remove_span(world, world->decisions[0].span);
    }
    ck_assert_uint_eq(world->decision_count, 0);
}

static void check_all_covered(const struct world *world)
{
    ck_assert_uint_le(world->span_count, 2);
    for (int64_t at = 0; at < WINDOWS; at++)
        if (world->hours[at].there && world->hours[at].settled)
            ck_assert(is_in(world, &world->hours[at], TWCS_TAIL_TIER) ||
                      is_in(world, &world->hours[at], TWCS_BASE_TIER));
}

static struct world *create(int64_t hours)
{
    struct world *world = calloc(1, sizeof(*world));

    ck_assert_ptr_nonnull(world);
    for (int64_t at = 0; at < hours; at++)
        world->hours[at] = (struct hour){.there = true, .settled = true};
    return world;
}

static const struct twcs_span *only(const struct world *world, uint8_t tier)
{
    const struct twcs_span *found = NULL;

    for (size_t i = 0; i < world->span_count; i++)
        if (world->spans[i].tier == tier) {
            ck_assert_ptr_null(found);
            found = &world->spans[i];
        }
    return found;
}

/* Weeks of hours: two spans at any time, few copies of a row, little that is dead. */
START_TEST(two_spans_cover_all_windows_of_a_shard_at_any_time)
{
    struct world *world = create(0);
    uint32_t tails = 0, bases = 0, rows = 0;

    for (int64_t now = 0; now < WINDOWS; now++) {
        world->hours[now] = (struct hour){.there = true, .settled = true};
        if (now >= TTL)
            world->hours[now - TTL] = (struct hour){.in = {0},
                                                    .copied = {0, world->hours[now - TTL].copied[1],
                                                               world->hours[now - TTL].copied[2]}};
        carry_out(world);
        if (now + 1 < TWCS_HISTORY_WINDOWS_MIN)
            continue;
        check_all_covered(world);
        decide(world); /* counts what lives */
        ck_assert_uint_ge(only(world, TWCS_BASE_TIER)->live_rows * 4,
                          only(world, TWCS_BASE_TIER)->rows * 3);
        if (only(world, TWCS_TAIL_TIER))
            ck_assert_uint_le(only(world, TWCS_TAIL_TIER)->live_rows * TWCS_TAIL_PART,
                              only(world, TWCS_BASE_TIER)->live_rows);
    }
    for (int64_t at = TTL; at < WINDOWS - TTL; at++) { /* not of the first days */
        tails += world->hours[at].copied[TWCS_TAIL_TIER];
        bases += world->hours[at].copied[TWCS_BASE_TIER];
        rows++;
    }
    printf("copies of a row: %.1f into tails, %.1f into bases\n", (double)tails / rows,
           (double)bases / rows);
    ck_assert_uint_le(tails, rows * 12);
    ck_assert_uint_le(bases, rows * 10);
    free(world);
}
END_TEST

START_TEST(window_that_is_sealed_anew_goes_into_the_tail)
{
    struct world *world = create(40);

    carry_out(world);
    ck_assert_uint_eq(only(world, TWCS_BASE_TIER)->rows, 40 * ROWS);
    world->hours[7].settled = false; /* late rows came */
    carry_out(world);
    ck_assert_ptr_null(only(world, TWCS_TAIL_TIER));
    world->hours[7] = (struct hour){.there = true, .settled = true};
    carry_out(world);
    ck_assert_uint_eq(only(world, TWCS_TAIL_TIER)->rows, ROWS);
    world->hours[40] = (struct hour){.there = true, .settled = true};
    carry_out(world);
    ck_assert_uint_eq(only(world, TWCS_TAIL_TIER)->rows, 2 * ROWS);
    check_all_covered(world);
    free(world);
}
END_TEST

/* Of an earlier version, or of another setting: they are replaced, those beside the tail are dropped. */
START_TEST(graphs_over_windows_make_room)
{
    struct world *world = create(40);

    for (size_t i = 0; i < 5; i++)
        world->spans[world->span_count++] =
            (struct twcs_span){.tier = TWCS_TAIL_TIER,
                               .start_ms = (int64_t)i * 8 * HOUR_MS,
                               .end_ms = (int64_t)(i + 1) * 8 * HOUR_MS,
                               .rows = 8 * ROWS};
    decide(world);
    ck_assert_uint_eq(world->decision_count, 1);
    ck_assert_uint_eq(world->decisions[0].tier, TWCS_BASE_TIER);
    build(world, &world->decisions[0]);
    decide(world);
    ck_assert_uint_eq(world->decision_count, 5);
    for (size_t i = 0; i < 5; i++)
        ck_assert_int_eq(world->decisions[i].action, TWCS_SPAN_DROP);
    free(world);
}
END_TEST

START_TEST(few_windows_have_none_and_of_many_the_newest_have)
{
    struct world *world = create(TWCS_HISTORY_WINDOWS_MIN - 1);

    decide(world);
    ck_assert_uint_eq(world->decision_count, 0);
    world->spans[world->span_count++] =
        (struct twcs_span){.tier = TWCS_BASE_TIER, .end_ms = HOUR_MS, .rows = ROWS, .lists = true};
    decide(world);
    ck_assert_uint_eq(world->decision_count, 1);
    ck_assert_int_eq(world->decisions[0].action, TWCS_SPAN_DROP);
    free(world);
    world = create(WINDOWS);
    carry_out(world);
    ck_assert_uint_eq(only(world, TWCS_BASE_TIER)->rows, TWCS_HISTORY_WINDOWS_MAX * ROWS);
    ck_assert_int_eq(only(world, TWCS_BASE_TIER)->end_ms, (int64_t)WINDOWS * HOUR_MS);
    free(world);
}
END_TEST

TEST_TABLE(TEST(two_spans_cover_all_windows_of_a_shard_at_any_time),
           TEST(window_that_is_sealed_anew_goes_into_the_tail), TEST(graphs_over_windows_make_room),
           TEST(few_windows_have_none_and_of_many_the_newest_have))
