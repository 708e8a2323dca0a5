/* A partition that is read to its end: what may be concluded from that, and is nowhere in its log. */
#include "ingest/idle.h"

#include <pthread.h>

#include "store/append.h"

/* An idle shard's watermark is persisted when a window may close, or this often. */
#define IDLE_PERSIST_NS (30 * NS_PER_S)
/* What the broker told about the end of a partition is believed for this long. */
#define END_KNOWN_NS (5 * NS_PER_S)

/* How long ago nothing was left to read, as far as anyone knows; -1: something may be. Silence while
 * the broker is away or a backlog is being read is not idleness, and neither the watermark nor what
 * is settled must run ahead of that backlog. Records of open transactions are such a backlog: they
 * were written before they can be read. */
static int64_t end_age_ms(struct partition *partition, int64_t now_ns)
{
    const struct partition_shared *shared = &partition->shared;
    const struct lane *lane = &partition->lane;
    int64_t age_ns = -1;

    if (!lane->at_end || lane_unfinished(lane))
        return -1;
    pthread_mutex_lock(&partition->context->list->lock);
    if (shared->end_offset >= 0 && shared->end_offset <= lane->durable.next_offset &&
        shared->high_watermark >= 0 && shared->high_watermark <= lane->durable.next_offset &&
        now_ns - shared->end_seen_ns < END_KNOWN_NS)
        age_ns = now_ns - shared->end_seen_ns;
    pthread_mutex_unlock(&partition->context->list->lock);
    return age_ns < 0 ? -1 : age_ns / NS_PER_MS;
}

/* An idle shard whose watermark reached a window's end tells the store, so that the window closes;
 * in between seldom, because each telling is a synced write. */
static bool worth_persisting(const struct lane *lane, int64_t now_ns)
{
    const struct twcs_policy *policy = &lane->policy;
    int64_t before_ms = lane->durable.watermark_ms;
    int64_t now_ms = lane->clock.watermark_ms;

    if (now_ms == before_ms || before_ms == TWCS_NO_TIME)
        return now_ms != before_ms;
    return now_ns - lane->durable.since_ns >= IDLE_PERSIST_NS ||
           twcs_window_start(now_ms - policy->late_allowed_ms, policy->window_ms) !=
               twcs_window_start(before_ms - policy->late_allowed_ms, policy->window_ms);
}

/* All that was in Kafka `age_ms` ago is read. What comes is written later, or was under way for less
 * than idle_timeout: a producer that takes longer finds windows closed, too. */
static void at_end(struct partition *partition, int64_t age_ms, int64_t now_ns)
{
    struct lane *lane = &partition->lane;

    store_shard_settle(lane->shard,
                       lane->clock.safe_wall_ms - age_ms - lane->policy.idle_timeout_ms);
    if (twcs_clock_idle(&lane->clock, &lane->policy) && worth_persisting(lane, now_ns))
        lane_persist_clock(lane);
}

void idle_watch(struct partition *partition, int64_t now_ns)
{
    int64_t age_ms = end_age_ms(partition, now_ns);

    if (age_ms >= 0)
        at_end(partition, age_ms, now_ns);
}
