/* What the producers send and what the operator configures. */
#include "tests/twcs/simulation_world.h"

/* What a few windows hold. */
#define BYTES_MANY UINT64_C(200000000)

static int64_t random_ms(struct world *world, int64_t limit_ms)
{
    return limit_ms > 0 ? (int64_t)world_below(world, (uint64_t)limit_ms) : 0;
}

static int64_t choose_window(struct world *world)
{
    static const int64_t lengths[] = {HOUR_MS,    6 * HOUR_MS, 12 * HOUR_MS,        DAY_MS,
                                      DAY_MS,     2 * DAY_MS,  7 * DAY_MS,          30 * DAY_MS,
                                      7 * DAY_MS, DAY_MS + 17, 36 * HOUR_MS + 12345};

    return lengths[world_below(world, sizeof(lengths) / sizeof(lengths[0]))];
}

static void choose_style(struct world *world, bool first)
{
    struct twcs_policy *policy = &world->policy;

    if (first || world_chance(world, 30))
        policy->style = (enum twcs_style)world_below(world, 5);
    if (policy->window_ms == 0 && policy->style < TWCS_STYLE_SIZE_TIERED)
        policy->style = (enum twcs_style)(TWCS_STYLE_SIZE_TIERED + world_below(world, 3));
    if (!first)
        return;
    policy->max_space_amplification = 1.2 + (double)world_below(world, 20) / 10;
    policy->target_file_bytes = (4 + world_below(world, 40)) << 20;
    policy->size_ratio = 2 + (uint32_t)world_below(world, 9);
    policy->level0_trigger = 1 + (uint32_t)world_below(world, 6);
    policy->max_jobs = (uint32_t)world_below(world, 5);
}

/* Something must bound the collection: the TTL or the cap; without windows only the TTL or the
 * number of ids. */
static void choose_bounds(struct world *world, bool first)
{
    struct twcs_policy *policy = &world->policy;

    if (first || world_chance(world, 50))
        policy->ttl_ms = world->unit_ms * (int64_t)(4 + world_below(world, 30)) +
                         random_ms(world, world->unit_ms);
    if (first || world_chance(world, 50)) {
        policy->max_bytes =
            world_chance(world, 50) ? 0 : BYTES_MANY + world_below(world, 2000000000);
        if (world_chance(world, 20)) {
            policy->ttl_ms = 0;
            policy->max_bytes = BYTES_MANY + world_below(world, 300000000);
        }
    }
    /* Changes of the window length must not make a thousand windows of one TTL. */
    if (policy->ttl_ms > 200 * world->unit_ms)
        policy->ttl_ms = 100 * world->unit_ms;
    if (policy->window_ms > 0 && policy->ttl_ms == 0 && policy->max_bytes == 0)
        policy->max_bytes = BYTES_MANY + 100000000;
    if (!world->ever_windowless)
        return;
    policy->max_bytes = 0;
    if (policy->window_ms > 0 && policy->ttl_ms == 0)
        policy->ttl_ms = 20 * world->unit_ms;
}

void traffic_choose_policy(struct world *world, bool first)
{
    struct twcs_policy *policy = &world->policy;

    if (first || world_chance(world, 30))
        world->unit_ms = choose_window(world);
    if (first ? world_chance(world, 30) : world_chance(world, 5))
        world->windowless = !world->windowless;
    policy->window_ms = world->windowless ? 0 : world->unit_ms;
    world->ever_windowless |= world->windowless;
    choose_style(world, first);
    choose_bounds(world, first);
    if (first || world_chance(world, 50))
        policy->late_allowed_ms =
            world_chance(world, 20) ? 0 : random_ms(world, world->unit_ms * 3 / 2);
    if (first || world_chance(world, 50))
        policy->late_policy = (enum twcs_late_policy)world_below(world, 3);
    if (first) {
        world->key_count = 50 + (uint32_t)world_below(world, KEYS_MAX - 50);
        policy->max_future_ms = random_ms(world, world->unit_ms / 2);
        policy->idle_timeout_ms = MINUTE_MS + random_ms(world, world->unit_ms);
        policy->tiered_min_threshold = 2 + (uint32_t)world_below(world, 4);
        /* Merges take up to five steps here and flushes one: pairs would never catch up. */
        policy->tiered_max_threshold =
            2 * policy->tiered_min_threshold + 2 + (uint32_t)world_below(world, 24);
        policy->reseal_ratio = (double)world_below(world, 50) / 100;
        policy->dead_ratio = 0.1 + (double)world_below(world, 50) / 100;
        policy->reseal_quiet_ms = world_chance(world, 50) ? 0 : 2 * world->unit_ms;
    }
}

/* False when it has to wait for the clock: nothing happened. */
static bool send(struct world *world, struct shard *shard, int64_t event_ms, int64_t ttl_ms)
{
    /* Large enough for sizes to matter: runs below 1 MiB are all alike to twcs. */
    uint32_t bytes = 100000 + (uint32_t)world_below(world, 3000000);
    int64_t stamp_ms = shard->clock.safe_wall_ms; /* it was written as it is read */
    enum twcs_verdict verdict =
        twcs_judge(&world->policy, &shard->clock, event_ms, ttl_ms, stamp_ms);

    check_verdict(world, shard, event_ms, ttl_ms, verdict);
    if (twcs_future_waits(&world->policy, &shard->clock, event_ms, world->wall_ms)) {
        if (verdict != TWCS_FUTURE || world->wall_ms <= shard->clock.safe_wall_ms)
            world_fail(world, "event time %lld waits for nothing", (long long)event_ms);
        world->report->clock_waits++;
        return false;
    }
    world->report->records++;
    if (verdict == TWCS_FUTURE && event_ms <= world->true_ms && world->glitch_ms >= 0)
        world_fail(world, "event time %lld is lost to a clock that stands", (long long)event_ms);
    if (verdict > TWCS_FUTURE)
        return true;
    world->report->verdicts[verdict]++;
    if (verdict != TWCS_ACCEPT && verdict != TWCS_ACCEPT_LATE)
        return true;
    twcs_clock_observe(&shard->clock, &world->policy, event_ms, stamp_ms, world->wall_ms);
    shard->last_heard_ms = world->true_ms;
    store_accept(world, shard, event_ms, ttl_ms, bytes);
    return true;
}

/* What must neither move the clock nor break arithmetic. */
static void send_hostile(struct world *world, struct shard *shard)
{
    const int64_t safe_ms = shard->clock.safe_wall_ms;
    const int64_t events[] = {
        safe_ms + 365 * DAY_MS,
        safe_ms + world->policy.max_future_ms + 1,
        INT64_MAX,
        INT64_MAX - 1,
        INT64_MIN,
        INT64_MIN + 1,
        0,
        -1,
    };
    int64_t event_ms = events[world_below(world, sizeof(events) / sizeof(events[0]))];

    /* Without TTL the distant past is as good as any other time, and would stay for ever. */
    if (world->policy.ttl_ms == 0 && event_ms < safe_ms)
        return;
    /* A little ahead is allowed, and would rightly make others late. */
    if (event_ms > safe_ms && event_ms <= safe_ms + world->policy.max_future_ms)
        return;
    (void)send(world, shard, event_ms, world_chance(world, 50) ? INT64_MAX : 0);
}

static int64_t random_ttl(struct world *world)
{
    if (!world_chance(world, 15))
        return 0;
    return 1 + random_ms(world, world->unit_ms * 20);
}

static unsigned record_count(struct world *world, struct shard *shard)
{
    switch (shard->behaviour) {
    case SILENT:
        if (world->true_ms < shard->silent_until_ms)
            return 0;
        if (world_chance(world, 10))
            shard->silent_until_ms = world->true_ms + random_ms(world, 20 * world->unit_ms);
        return 3;
    case BURSTY:
        return world_chance(world, 5) ? 60 : world_chance(world, 50) ? 1 : 0;
    default:
        return 1 + (unsigned)world_below(world, 8);
    }
}

static void send_backfill(struct world *world, struct shard *shard)
{
    int64_t reach_ms = world->policy.ttl_ms ? world->policy.ttl_ms * 13 / 10 : 20 * world->unit_ms;
    int64_t from_ms = world->true_ms - random_ms(world, reach_ms);

    for (unsigned i = 0; i < 20; i++)
        (void)send(world, shard, from_ms + random_ms(world, world->unit_ms * 2), random_ttl(world));
}

/* Everything that was produced since the last call: also what piled up while the process was down.
 */
bool traffic_produce(struct world *world, struct shard *shard)
{
    int64_t from_ms = shard->produced_until_ms;
    int64_t span_ms = world->true_ms - from_ms;
    unsigned count = record_count(world, shard);

    if (span_ms <= 0)
        return true;
    if (shard->quiet_steps > 0) {
        shard->quiet_steps--;
        shard->produced_until_ms = world->true_ms;
        return true;
    }
    for (unsigned i = 0; i < count; i++) {
        int64_t event_ms = from_ms + span_ms * (int64_t)(i + 1) / (int64_t)count;
        if (shard->behaviour == SKEWED)
            event_ms -= shard->skew_ms;
        else if (shard->behaviour == DISORDERED)
            event_ms -= random_ms(world, shard->skew_ms + 1);
        if (!send(world, shard, event_ms, random_ttl(world))) {
            shard->produced_until_ms = from_ms + span_ms * (int64_t)i / (int64_t)count;
            return false;
        }
        if (world_chance(world, 10))
            store_mask_one(world, shard);
    }
    /* A tenant leaves: most of what there is goes, and nothing comes for a while. */
    if (world->windowless && world_below(world, 200) == 0) {
        size_t rows = 0;
        for (size_t i = 0; i < shard->window_count; i++)
            rows += shard->windows[i]->row_count;
        for (size_t i = 0; i < rows * 4 / 5; i++)
            store_mask_one(world, shard);
        shard->quiet_steps = 80;
    }
    if (shard->behaviour == BACKFILLED && world_chance(world, 3))
        send_backfill(world, shard);
    if (world_chance(world, 2))
        send_hostile(world, shard);
    shard->produced_until_ms = world->true_ms;
    return true;
}
