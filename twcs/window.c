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

bool twcs_window_closed(const struct twcs_policy *policy, const struct twcs_clock *clock,
                        int64_t end_ms)
{
    /* TWCS_NO_TIME is below every sum: a shard that saw nothing closes nothing. */
    return clock->watermark_ms != TWCS_NO_TIME &&
           clock->watermark_ms >= twcs_add(end_ms, policy->late_allowed_ms);
}
