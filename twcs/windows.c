/* Windows and time: where a record belongs, when a window closes and is sealed, and when its run is
 * written anew for stragglers and masked rows. */
#include <assert.h>

#include "twcs/rules.h"

int64_t twcs_window_start(int64_t event_time_ms, int64_t window_ms)
{
    int64_t into;

    assert(window_ms >= 0);
    if (window_ms == 0)
        return 0;
    into = event_time_ms % window_ms;
    if (into < 0)
        into += window_ms;
    /* Only within one window of the smallest number: there is no multiple below it. */
    if (event_time_ms < INT64_MIN + into)
        return INT64_MIN - INT64_MIN % window_ms;
    return event_time_ms - into;
}

int64_t twcs_expiry(const struct twcs_policy *policy, int64_t event_time_ms, int64_t row_ttl_ms)
{
    int64_t ttl_ms = policy->ttl_ms;

    if (row_ttl_ms > 0 && (ttl_ms == 0 || row_ttl_ms < ttl_ms))
        ttl_ms = row_ttl_ms;
    return ttl_ms == 0 ? TWCS_NEVER : twcs_add(event_time_ms, ttl_ms);
}

/* TWCS_NO_TIME is below every sum: a shard that saw nothing closes nothing. */
static bool is_closed(const struct twcs_policy *policy, int64_t watermark_ms, int64_t end_ms)
{
    return watermark_ms != TWCS_NO_TIME &&
           watermark_ms >= twcs_add(end_ms, policy->late_allowed_ms);
}

bool twcs_window_closed(const struct twcs_policy *policy, const struct twcs_clock *clock,
                        int64_t end_ms)
{
    return is_closed(policy, clock->watermark_ms, end_ms);
}

static bool is_future(const struct twcs_policy *policy, int64_t now_ms, int64_t event_time_ms)
{
    return event_time_ms > twcs_add(now_ms, policy->max_future_ms);
}

bool twcs_future_waits(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       int64_t event_time_ms, int64_t wall_ms)
{
    return is_future(policy, clock->safe_wall_ms, event_time_ms) &&
           !is_future(policy, wall_ms, event_time_ms);
}

enum twcs_verdict twcs_judge(const struct twcs_policy *policy, const struct twcs_clock *clock,
                             int64_t event_time_ms, int64_t row_ttl_ms, int64_t stamp_ms)
{
    int64_t written_ms = twcs_log_time(clock, stamp_ms);
    int64_t end_ms;

    /* Before anything else: what comes from the future would also never expire. */
    if (is_future(policy, stamp_ms != TWCS_NO_TIME ? written_ms : clock->safe_wall_ms,
                  event_time_ms))
        return TWCS_FUTURE;
    if (written_ms != TWCS_NO_TIME && twcs_expiry(policy, event_time_ms, row_ttl_ms) <= written_ms)
        return TWCS_EXPIRED;
    if (policy->window_ms == 0) /* a window that never closes is never late */
        return TWCS_ACCEPT;
    end_ms = twcs_add(twcs_window_start(event_time_ms, policy->window_ms), policy->window_ms);
    if (is_closed(policy, clock->log.watermark_ms, end_ms)) {
        if (policy->late_policy == TWCS_LATE_DROP)
            return TWCS_DROP_LATE;
        if (policy->late_policy == TWCS_LATE_DEAD_LETTER)
            return TWCS_DEAD_LETTER_LATE;
    }
    /* An idle close may have sealed it, here and nowhere else. */
    return twcs_window_closed(policy, clock, end_ms) ? TWCS_ACCEPT_LATE : TWCS_ACCEPT;
}

bool twcs_seal_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                   const struct twcs_window *window)
{
    if (window->length_ms == 0) /* unbounded: never closes */
        return false;
    if (window->sealed || (window->chunk_count == 0 && window->memtable_rows == 0))
        return false;
    /* By its own length, which may be a former one of the policy. */
    return twcs_window_closed(policy, clock, twcs_add(window->start_ms, window->length_ms));
}

/* When late chunks and masks are folded into a sealed run.
 *
 * A reseal rewrites the whole window, so that stragglers trigger it only past a share of its size:
 * with a ratio of r the bytes rewritten stay below 1/r times the late bytes, where a reseal for
 * each late chunk would rewrite the window for ever. */
static bool late_chunks_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                            const struct twcs_window *window)
{
    uint64_t late_bytes = 0;

    if (window->chunk_count == 0)
        return false;
    for (size_t i = 0; i < window->chunk_count; i++)
        if (__builtin_add_overflow(late_bytes, window->chunks[i].bytes, &late_bytes))
            late_bytes = UINT64_MAX;
    if ((double)late_bytes > policy->reseal_ratio * (double)window->sealed_run.bytes)
        return true;
    return policy->reseal_quiet_ms > 0 &&
           twcs_subtract(clock->safe_wall_ms, window->last_arrival_wall_ms) >=
               policy->reseal_quiet_ms;
}

bool twcs_reseal_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                     const struct twcs_window *window)
{
    if (!window->sealed)
        return false;
    return late_chunks_due(policy, clock, window) ||
           (double)window->masked_rows > policy->dead_ratio * (double)window->sealed_run.rows;
}
