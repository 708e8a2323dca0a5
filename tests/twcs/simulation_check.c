/* The promises, stated a second time and without twcs: in wide integers and in the plainest way. */
#include "tests/twcs/simulation_world.h"

typedef __int128 wide;

static wide floor_to(int64_t time_ms, int64_t length_ms)
{
    wide quotient = (wide)time_ms / length_ms;

    if (quotient * length_ms > time_ms)
        quotient--;
    return quotient * length_ms;
}

static bool row_expired(const struct twcs_policy *policy, int64_t event_ms, int64_t ttl_ms,
                        int64_t now_ms)
{
    if (policy->ttl_ms > 0 && (wide)event_ms + policy->ttl_ms <= now_ms)
        return true;
    return ttl_ms > 0 && (wide)event_ms + ttl_ms <= now_ms;
}

static enum twcs_verdict expected_verdict(const struct twcs_policy *policy,
                                          const struct twcs_clock *clock, int64_t event_ms,
                                          int64_t ttl_ms)
{
    wide end_ms;

    if ((wide)event_ms > (wide)clock->safe_wall_ms + policy->max_future_ms)
        return TWCS_FUTURE;
    if (row_expired(policy, event_ms, ttl_ms, clock->safe_wall_ms))
        return TWCS_EXPIRED;
    if (policy->window_ms == 0)
        return TWCS_ACCEPT;
    end_ms = floor_to(event_ms, policy->window_ms) + policy->window_ms;
    if (policy->late_policy != TWCS_LATE_ACCEPT && clock->log.watermark_ms != TWCS_NO_TIME &&
        (wide)clock->log.watermark_ms >= end_ms + policy->late_allowed_ms)
        return policy->late_policy == TWCS_LATE_DROP ? TWCS_DROP_LATE : TWCS_DEAD_LETTER_LATE;
    if (clock->watermark_ms == TWCS_NO_TIME ||
        (wide)clock->watermark_ms < end_ms + policy->late_allowed_ms)
        return TWCS_ACCEPT;
    return TWCS_ACCEPT_LATE;
}

void check_verdict(struct world *world, const struct shard *shard, int64_t event_ms, int64_t ttl_ms,
                   enum twcs_verdict verdict)
{
    enum twcs_verdict expected = expected_verdict(&world->policy, &shard->clock, event_ms, ttl_ms);
    bool late = verdict == TWCS_ACCEPT_LATE || verdict == TWCS_DROP_LATE ||
                verdict == TWCS_DEAD_LETTER_LATE;

    if (verdict != expected)
        world_fail(world, "event time %lld ttl %lld: verdict %d instead of %d", (long long)event_ms,
                   (long long)ttl_ms, (int)verdict, (int)expected);
    if (late && (wide)event_ms >= (wide)shard->clock.watermark_ms - world->policy.late_allowed_ms)
        world_fail(world, "event time %lld is called late within late.allowed",
                   (long long)event_ms);
    /* Neither silence nor downtime may turn what was produced in order into late data. */
    if (late && world->calm && !shard->waited && event_ms > shard->produced_until_ms &&
        (shard->behaviour == STEADY || shard->behaviour == SILENT || shard->behaviour == BURSTY))
        world_fail(world, "event time %lld came in order and is called late", (long long)event_ms);
}

static void check_decision(struct world *world, const struct shard *shard,
                           const struct twcs_window *window, const struct twcs_decision *decision)
{
    bool expired = window->max_expiry_ms <= shard->clock.safe_wall_ms;
    wide end_ms = (wide)window->start_ms + window->length_ms;

    switch (decision->action) {
    case TWCS_DROP_TTL:
        if (!expired || window->length_ms == 0)
            world_fail(world, "window %lld dropped while it is needed",
                       (long long)window->start_ms);
        break;
    case TWCS_SEAL:
        if (window->sealed || window->chunk_count + window->memtable_rows == 0 ||
            window->length_ms == 0 ||
            (wide)shard->clock.watermark_ms < end_ms + world->policy.late_allowed_ms)
            world_fail(world, "window %lld sealed out of turn", (long long)window->start_ms);
        break;
    case TWCS_RESEAL:
        if (!window->sealed || world->policy.style == TWCS_STYLE_FIFO ||
            (window->chunk_count == 0 && window->masked_rows == 0))
            world_fail(world, "window %lld resealed for nothing", (long long)window->start_ms);
        break;
    case TWCS_TIER:
        if (decision->chunk_count < 2 || world->policy.style == TWCS_STYLE_FIFO ||
            decision->first_chunk + decision->chunk_count > window->chunk_count)
            world_fail(world, "window %lld: a merge of chunks %zu+%zu of %zu",
                       (long long)window->start_ms, decision->first_chunk, decision->chunk_count,
                       window->chunk_count);
        break;
    case TWCS_COMPACT:
        if (window->length_ms > 0 && world->policy.style < TWCS_STYLE_SIZE_TIERED)
            world_fail(world, "window %lld compacted into levels", (long long)window->start_ms);
        compact_check_decision(world, window, decision);
        break;
    }
}

static uint64_t oldest_input(const struct twcs_window *windows,
                             const struct twcs_decision *decision)
{
    const struct twcs_window *window = &windows[decision->window];

    if (decision->action == TWCS_TIER)
        return window->chunks[decision->first_chunk].file_number;
    if (decision->action == TWCS_COMPACT) {
        uint64_t oldest = UINT64_MAX;
        for (uint32_t i = 0; i < decision->input_count; i++)
            if (window->chunks[decision->inputs[i]].file_number < oldest)
                oldest = window->chunks[decision->inputs[i]].file_number;
        return oldest;
    }
    return window->chunk_count ? window->chunks[0].file_number : window->sealed_run.file_number;
}

static int rank_of(const struct twcs_window *windows, const struct twcs_decision *decision)
{
    if (decision->action == TWCS_DROP_TTL || decision->reason == TWCS_REASON_EXPIRED)
        return 0;
    if (twcs_overloaded(&windows[decision->window]))
        return 1;
    return decision->action == TWCS_SEAL ? 2 : 3;
}

/* Drops, overloads and seals oldest first, then what waited longest. */
static bool in_order(const struct twcs_window *windows, const struct twcs_decision *a,
                     const struct twcs_decision *b)
{
    int a_rank = rank_of(windows, a);
    int b_rank = rank_of(windows, b);

    if (a_rank != b_rank)
        return a_rank < b_rank;
    if (a_rank < 3)
        return a->window < b->window;
    return oldest_input(windows, a) <= oldest_input(windows, b);
}

void check_decisions(struct world *world, struct shard *shard, const struct twcs_window *windows,
                     const struct twcs_decision *decisions, size_t count, size_t max)
{
    size_t merges = 0;

    if (count > max)
        world_fail(world, "%zu decisions of at most %zu", count, max);
    for (size_t i = 0; i < count; i++) {
        const struct twcs_decision *decision = &decisions[i];
        world_digest(world, (uint64_t)decision->action << 32 | decision->window);
        if (i > 0 && !in_order(windows, &decisions[i - 1], decision))
            world_fail(world, "decision %zu is more urgent than the one before", i);
        for (size_t j = 0; j < i; j++)
            if (decisions[j].window == decision->window)
                world_fail(world, "two decisions for one window");
        check_decision(world, shard, &windows[decision->window], decision);
    }
    for (size_t i = 0; i < count; i++)
        merges += rank_of(windows, &decisions[i]) != 0;
    if (world->policy.max_jobs && merges > world->policy.max_jobs)
        world_fail(world, "%zu merges of at most %u", merges, world->policy.max_jobs);
    for (size_t i = 0; i < shard->window_count; i++) {
        const char *blocker = twcs_drop_blocker(&world->policy, &shard->clock, &windows[i]);
        bool expired = windows[i].max_expiry_ms <= shard->clock.safe_wall_ms;
        if (windows[i].length_ms == 0) {
            if (blocker)
                world_fail(world, "an unbounded window's drop is blocked: \"%s\"", blocker);
        } else if (expired && windows[i].busy != (blocker != NULL))
            world_fail(world, "window %lld: blocker \"%s\"", (long long)windows[i].start_ms,
                       blocker ? blocker : "none");
    }
}

void check_cap_pick(struct world *world, const struct twcs_fifo_window *windows, size_t count,
                    uint64_t total_bytes, size_t pick, bool starved)
{
    uint64_t cap = world->policy.max_bytes;
    int64_t oldest_ms = INT64_MAX;
    bool expired_left = false;
    bool free_oldest = false;

    for (size_t i = 0; i < count; i++) {
        if (windows[i].open)
            continue;
        expired_left |= windows[i].expired;
        if (windows[i].end_ms < oldest_ms)
            oldest_ms = windows[i].end_ms;
    }
    for (size_t i = 0; i < count; i++)
        free_oldest |= !windows[i].open && !windows[i].busy &&
                       (expired_left ? windows[i].expired : windows[i].end_ms == oldest_ms);
    if (cap == 0 || total_bytes <= cap) {
        if (pick != SIZE_MAX || starved)
            world_fail(world, "the cap acts below its limit");
    } else if (pick == SIZE_MAX) {
        if (!starved || free_oldest)
            world_fail(world, "the cap gives up although a window may go");
    } else if (windows[pick].open || windows[pick].busy ||
               (expired_left ? !windows[pick].expired : windows[pick].end_ms != oldest_ms)) {
        world_fail(world, "the cap takes the wrong window");
    }
}

static void check_due(struct world *world, struct shard *shard, struct window *window)
{
    wide end_ms = (wide)window->start_ms + window->length_ms;
    bool expired = store_max_expiry(world, window) <= shard->clock.safe_wall_ms;
    bool free_to_drop = expired && !window->job.running;
    bool free_to_seal = !expired && !window->sealed && !window->job.running &&
                        (wide)shard->clock.watermark_ms >= end_ms + world->policy.late_allowed_ms;

    if (!free_to_drop && !free_to_seal)
        window->due_since = 0;
    else if (window->due_since == 0) {
        /* A step starts a few: what is due waits for those that were before it, no longer. */
        window->due_since = world->step;
        window->due_until = world->step + 8 + 2 * shard->window_count;
    } else if (world->step > window->due_until)
        world_fail(world, "window %lld has been due for %llu steps", (long long)window->start_ms,
                   (unsigned long long)(world->step - window->due_since));
}

static void check_window(struct world *world, struct shard *shard, size_t index)
{
    struct window *window = shard->windows[index];
    wide end_ms = (wide)window->start_ms + window->length_ms;

    if (index > 0 && shard->windows[index - 1]->start_ms == window->start_ms &&
        shard->windows[index - 1]->length_ms == window->length_ms)
        world_fail(world, "window %lld exists twice", (long long)window->start_ms);
    if (window->sealed && shard->clock.watermark_ms < window->sealed_watermark_ms)
        world_fail(world, "the watermark fell below that of sealed window %lld",
                   (long long)window->start_ms);
    if (!window->job.running && world->policy.style == TWCS_STYLE_TIME_WINDOW &&
        window->length_ms > 0 && window->chunk_count > window->chunks_at_change + 20 &&
        window->chunk_count > world->policy.tiered_max_threshold + 20)
        world_fail(world, "window %lld has %zu chunks", (long long)window->start_ms,
                   window->chunk_count);
    compact_check(world, shard, window);
    if (window->length_ms == 0)
        return;
    for (size_t i = 0; i < window->row_count; i++)
        if (window->rows[i].event_ms < window->start_ms || window->rows[i].event_ms >= end_ms)
            world_fail(world, "window %lld spans a row of %lld", (long long)window->start_ms,
                       (long long)window->rows[i].event_ms);
    check_due(world, shard, window);
}

/* A shard that went silent on a clock that runs: its watermark follows. */
static void check_silence(struct world *world, const struct shard *shard)
{
    int64_t silent_ms;

    if (!world->calm || shard->last_heard_ms == INT64_MIN)
        return;
    silent_ms = world->true_ms - shard->last_heard_ms;
    if (silent_ms >= world->policy.idle_timeout_ms + 5 * world->step_ms &&
        shard->clock.watermark_ms <
            world->true_ms - world->policy.idle_timeout_ms - 5 * world->step_ms)
        world_fail(world, "silent for %lld ms, and the watermark stands", (long long)silent_ms);
}

static void check_shard(struct world *world, struct shard *shard, const struct twcs_clock *former)
{
    if (shard->clock.safe_wall_ms < former->safe_wall_ms)
        world_fail(world, "the safe clock fell");
    if (shard->clock.watermark_ms != TWCS_NO_TIME &&
        (wide)shard->clock.watermark_ms >
            (wide)shard->clock.safe_wall_ms + world->policy.max_future_ms)
        world_fail(world, "the watermark %lld is in the future",
                   (long long)shard->clock.watermark_ms);
    for (size_t i = 0; i < shard->window_count; i++)
        check_window(world, shard, i);
    check_silence(world, shard);
}

/* Paused ingestion moves no watermark, but silence does: what is open closes and may go. So there
 * is always a window to wait for: still open by its time, under way, or next in line. */
static void check_starvation(struct world *world)
{
    bool hope = false;

    if (!world->calm || !world->starved)
        return;
    for (size_t s = 0; s < world->shard_count; s++)
        for (size_t i = 0; i < world->shards[s].window_count; i++) {
            const struct window *window = world->shards[s].windows[i];
            hope |= window->job.running || window->due_since != 0 ||
                    (wide)window->start_ms + window->length_ms + world->policy.late_allowed_ms +
                            world->policy.idle_timeout_ms + 30 * world->step_ms >
                        world->true_ms;
        }
    if (!hope)
        world_fail(world, "ingestion waits for the cap, and nothing will ever give way");
}

void check_step(struct world *world)
{
    uint64_t bytes = store_bytes(world);
    uint64_t present = 0;

    for (size_t s = 0; s < world->shard_count; s++) {
        struct shard *shard = &world->shards[s];
        check_shard(world, shard, &shard->persisted);
        for (size_t i = 0; i < shard->window_count; i++)
            present += shard->windows[i]->row_count;
    }
    if (present != world->present ||
        world->accepted != present + world->masked + world->expired + world->capped)
        world_fail(world, "%llu rows accepted, %llu present: some vanished",
                   (unsigned long long)world->accepted, (unsigned long long)present);
    /* Recounted with everything, whatever the store told the cap. */
    for (size_t s = 0; world->fault == SIMULATION_FORGOTTEN_BYTES && s < world->shard_count; s++)
        for (size_t i = 0; i < world->shards[s].window_count; i++)
            bytes += world->shards[s].windows[i]->job.temporary_bytes;
    check_starvation(world);
    if (world->policy.max_bytes && bytes > world->policy.max_bytes && !world->starved)
        world_fail(world, "%llu bytes are over the cap of %llu, and ingestion goes on",
                   (unsigned long long)bytes, (unsigned long long)world->policy.max_bytes);
}
