#include "tests/twcs/simulation.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/test_main.h"
#include "tests/twcs/simulation_world.h"

uint64_t world_random(struct world *world)
{
    return test_random(&world->random);
}

uint64_t world_below(struct world *world, uint64_t limit)
{
    return limit ? world_random(world) % limit : 0;
}

bool world_chance(struct world *world, unsigned percent)
{
    return world_below(world, 100) < percent;
}

bool world_failed(const struct world *world)
{
    return world->report->failure[0] != '\0';
}

void world_fail(struct world *world, const char *format, ...)
{
    va_list arguments;
    int used;

    if (world_failed(world))
        return;
    used = snprintf(world->report->failure, sizeof(world->report->failure),
                    "step %llu: ", (unsigned long long)world->step);
    va_start(arguments, format);
    (void)vsnprintf(world->report->failure + used, sizeof(world->report->failure) - (size_t)used,
                    format, arguments);
    va_end(arguments);
}

void world_digest(struct world *world, uint64_t value)
{
    world->report->digest = (world->report->digest ^ value) * UINT64_C(0x100000001b3);
}

/* The wall clock. */

static void glitch_begin(struct world *world)
{
    switch (world_below(world, 4)) {
    case 0: /* set back */
        world->glitch_ms = -(int64_t)world_below(world, 3 * HOUR_MS);
        break;
    case 1: /* ahead, within what the safe clock follows */
        world->glitch_ms = (int64_t)world_below(world, 20 * HOUR_MS);
        break;
    default: /* far ahead */
        world->glitch_ms = 30 * DAY_MS + (int64_t)world_below(world, 365 * DAY_MS);
        break;
    }
    world->glitch_steps = 1 + (unsigned)world_below(world, 10);
}

/* Returns how much a monotonic clock moved: it does not see that the machine was suspended. */
static int64_t advance_time(struct world *world)
{
    world->true_ms += world->step_ms;
    if (world->glitch_steps && --world->glitch_steps == 0)
        world->glitch_ms = 0;
    if (!world->calm && world->glitch_steps == 0 && world_chance(world, 1))
        glitch_begin(world);
    if (!world->calm && world_below(world, 500) == 0)
        world->true_ms += 2 * DAY_MS + (int64_t)world_below(world, 8 * DAY_MS); /* suspended */
    world->wall_ms = world->true_ms + world->glitch_ms;
    return world->step_ms;
}

/* The clock of the process. */
static void believe(struct world *world, int64_t elapsed_ms, int64_t bound_ms, bool told)
{
    bool trusting = told || world->fault == SIMULATION_TRUSTING_CLOCK;
    int64_t former_ms = world->safe_ms;

    world->safe_ms = twcs_clock_believe(former_ms, elapsed_ms, world->wall_ms,
                                        trusting ? INT64_MAX : bound_ms, &world->stands);
    world->report->stood += world->stands;
    if (world->safe_ms < former_ms)
        world_fail(world, "the safe clock went back");
    if (!told && world->safe_ms - former_ms - elapsed_ms > bound_ms)
        world_fail(world, "the safe clock leapt by %lld ms",
                   (long long)(world->safe_ms - former_ms));
    if (world->safe_ms > former_ms && world->safe_ms > world->wall_ms)
        world_fail(world, "the safe clock ran ahead of the wall");
    if (world->stands ? world->safe_ms != former_ms + elapsed_ms : world->safe_ms < world->wall_ms)
        world_fail(world, "the safe clock stopped at %lld", (long long)world->safe_ms);
}

/* A shard looks every second, and is told of a leap in one piece. */
static void follow(struct world *world, struct shard *shard, int64_t elapsed_ms)
{
    int64_t end_ms = shard->clock.safe_wall_ms + elapsed_ms;

    for (int64_t at_ms = shard->clock.safe_wall_ms + HOUR_MS;
         at_ms < end_ms && at_ms < world->safe_ms; at_ms += HOUR_MS)
        (void)twcs_clock_follow(&shard->clock, at_ms);
    if (twcs_clock_follow(&shard->clock, world->safe_ms) != world->safe_ms ||
        shard->clock.safe_wall_ms != world->safe_ms)
        world_fail(world, "a shard's clock does not follow that of its process");
}

static void tick_all(struct world *world, int64_t elapsed_ms)
{
    bool told = false;

    /* An operator who sees for three steps that the clock is right and that ours stands. */
    if (world->glitch_ms == 0 && world->stands)
        told = ++world->stuck_steps > 3;
    if (told || !world->stands)
        world->stuck_steps = 0;
    believe(world, elapsed_ms, TWCS_CLOCK_STEP_MAX_MS, told);
    for (size_t s = 0; s < world->shard_count; s++)
        follow(world, &world->shards[s], elapsed_ms);
}

/* One step. */

/* The clock begins where the latest of the shards' stood; a start does not confirm a leap. */
static void restart_clock(struct world *world)
{
    bool stood = world->stands;

    world->safe_ms = INT64_MIN;
    for (size_t s = 0; s < world->shard_count; s++)
        if (world->shards[s].persisted.safe_wall_ms > world->safe_ms)
            world->safe_ms = world->shards[s].persisted.safe_wall_ms;
    believe(world, 0, stood ? TWCS_CLOCK_STEP_MAX_MS : 4 * DAY_MS,
            world->calm || (world->glitch_ms == 0 && world_chance(world, 30)));
}

static void restart(struct world *world)
{
    unsigned down_steps = (unsigned)world_below(world, 5);

    world->report->restarts++;
    world->true_ms += down_steps * world->step_ms;
    if (world_chance(world, 50))
        world->glitch_ms = 0;
    world->glitch_steps = world->glitch_ms ? 1 + (unsigned)world_below(world, 10) : 0;
    world->stuck_steps = 0;
    world->wall_ms = world->true_ms + world->glitch_ms;
    restart_clock(world);
    if (world_chance(world, 40)) {
        traffic_choose_policy(world, false);
        world->report->changes++;
    }
    for (size_t s = 0; s < world->shard_count; s++) {
        struct shard *shard = &world->shards[s];
        shard->clock = shard->persisted;
        if (shard->last_heard_ms != INT64_MIN)
            shard->last_heard_ms = world->true_ms;
        store_abandon_jobs(shard);
        store_take_policy(shard);
        (void)twcs_clock_tick(&shard->clock, world->safe_ms, true);
    }
}

/* False when nothing is due. */
static bool decide(struct world *world, struct shard *shard)
{
    static struct twcs_window windows[WINDOWS_MAX];
    struct twcs_decision decisions[DECISIONS_MAX];
    size_t max = 1 + world_below(world, DECISIONS_MAX);
    size_t count;

    if (shard->window_count > WINDOWS_MAX || world_failed(world))
        return false;
    store_describe(world, shard, windows);
    count =
        twcs_decide(&world->policy, &shard->clock, windows, shard->window_count, decisions, max);
    check_decisions(world, shard, windows, decisions, count, max);
    /* Drops come first and ascend: carried out from behind, no index moves under another. */
    for (size_t i = count; i-- > 0;)
        if (!world_failed(world))
            store_begin(world, shard, &decisions[i]);
    return count > 0;
}

enum { LOOKS_MAX = 3 };

static void step_shard(struct world *world, struct shard *shard)
{
    bool overloaded = store_overloaded(shard);

    world->report->stalls += overloaded;
    world->report->windowless += world->windowless;
    if (world->starved || overloaded) {
        shard->waited = true;
    } else {
        shard->waited = !traffic_produce(world, shard);
    }
    if (world->fault != SIMULATION_NO_IDLENESS) {
        int64_t former_ms = shard->clock.watermark_ms;
        bool moved = twcs_clock_idle(&shard->clock, &world->policy);
        if (moved != (shard->clock.watermark_ms > former_ms) ||
            shard->clock.watermark_ms < former_ms)
            world_fail(world, "an idle watermark went from %lld to %lld", (long long)former_ms,
                       (long long)shard->clock.watermark_ms);
    }
    /* Written with every group of records; a silent shard writes now and then. */
    if (shard->last_heard_ms == world->true_ms || world_chance(world, 10))
        shard->persisted = shard->clock;
    if (world_chance(world, 50))
        store_flush(world, shard);
    store_advance_jobs(world, shard);
    /* A step is long beside the second between two looks. */
    for (int look = 0; look < LOOKS_MAX && decide(world, shard); look++)
        ;
}

static size_t list_windows(struct world *world, struct twcs_fifo_window *list, size_t *shards,
                           size_t *indexes)
{
    size_t count = 0;

    for (size_t s = 0; s < world->shard_count; s++) {
        struct shard *shard = &world->shards[s];
        for (size_t i = 0; i < shard->window_count; i++) {
            struct window *window = shard->windows[i];
            list[count] = (struct twcs_fifo_window){
                .end_ms = window->start_ms + window->length_ms,
                .bytes = store_window_bytes(world, window),
                .open = !window->sealed,
                .busy = window->job.running,
                .expired = store_max_expiry(world, window) <= shard->clock.safe_wall_ms,
            };
            shards[count] = s;
            indexes[count++] = i;
        }
    }
    return count;
}

static void hold_the_cap(struct world *world)
{
    static struct twcs_fifo_window list[SHARDS_MAX * WINDOWS_MAX];
    static size_t shards[SHARDS_MAX * WINDOWS_MAX], indexes[SHARDS_MAX * WINDOWS_MAX];

    while (!world_failed(world)) {
        uint64_t total_bytes = store_bytes(world);
        size_t count = list_windows(world, list, shards, indexes);
        size_t pick = twcs_fifo_pick(&world->policy, list, count, total_bytes, &world->starved);
        struct shard *shard;
        check_cap_pick(world, list, count, total_bytes, pick, world->starved);
        if (pick == SIZE_MAX)
            break;
        shard = &world->shards[shards[pick]];
        world_digest(world, 1000 + pick);
        world->capped += shard->windows[indexes[pick]]->row_count;
        world->present -= shard->windows[indexes[pick]]->row_count;
        world->report->capped++;
        store_remove_window(shard, indexes[pick]);
    }
    world->report->starved += world->starved;
}

static void create(struct world *world, uint64_t seed)
{
    world->random = seed ? seed : 1;
    for (int i = 0; i < 8; i++)
        (void)world_random(world);
    traffic_choose_policy(world, true);
    world->step_ms = world->unit_ms / (int64_t)(1 + world_below(world, 12));
    /* From 1960 on, so that time is negative for some. */
    world->true_ms = -10 * 365 * DAY_MS + (int64_t)world_below(world, 140) * 365 * DAY_MS +
                     (int64_t)world_below(world, 365 * DAY_MS);
    world->wall_ms = world->safe_ms = world->true_ms;
    world->calm = world_chance(world, 50);
    world->shard_count = 1 + world_below(world, SHARDS_MAX);
    for (size_t s = 0; s < world->shard_count; s++) {
        struct shard *shard = &world->shards[s];
        shard->behaviour = (enum behaviour)world_below(world, BEHAVIOUR_COUNT);
        shard->skew_ms = (int64_t)world_below(world, (uint64_t)world->unit_ms * 3 / 2);
        shard->produced_until_ms = world->true_ms;
        shard->last_heard_ms = INT64_MIN;
        shard->silent_until_ms = world->true_ms;
        shard->clock = TWCS_CLOCK_NONE;
        shard->clock.last_record_wall_ms = shard->clock.safe_wall_ms = world->true_ms;
        shard->persisted = shard->clock;
    }
}

void simulation_run(uint64_t seed, unsigned step_count, enum simulation_fault fault,
                    struct simulation_report *report)
{
    struct world world = {.fault = fault, .report = report};
    int64_t began_ms;

    create(&world, seed);
    began_ms = world.true_ms;
    for (world.step = 1; world.step <= step_count && !world_failed(&world); world.step++) {
        if (world_below(&world, 60) == 0) {
            restart(&world);
        } else {
            tick_all(&world, advance_time(&world));
        }
        for (size_t s = 0; s < world.shard_count && !world_failed(&world); s++)
            step_shard(&world, &world.shards[s]);
        hold_the_cap(&world);
        if (!world_failed(&world))
            check_step(&world);
        report->steps++;
    }
    report->years += (double)(world.true_ms - began_ms) / (365.25 * (double)DAY_MS);
    for (size_t s = 0; s < world.shard_count; s++)
        store_destroy(&world.shards[s]);
}
