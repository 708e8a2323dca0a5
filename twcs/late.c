#include "twcs/rules.h"

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
                             int64_t event_time_ms, int64_t row_ttl_ms)
{
    int64_t end_ms;

    /* Before anything else: what comes from the future would also never expire. */
    if (is_future(policy, clock->safe_wall_ms, event_time_ms))
        return TWCS_FUTURE;
    if (twcs_expiry(policy, event_time_ms, row_ttl_ms) <= clock->safe_wall_ms)
        return TWCS_EXPIRED;
    if (policy->window_ms == 0) /* a window that never closes is never late */
        return TWCS_ACCEPT;
    end_ms = twcs_add(twcs_window_start(event_time_ms, policy->window_ms), policy->window_ms);
    if (!twcs_window_closed(policy, clock, end_ms))
        return TWCS_ACCEPT;
    switch (policy->late_policy) {
    case TWCS_LATE_DROP:
        return TWCS_DROP_LATE;
    case TWCS_LATE_DEAD_LETTER:
        return TWCS_DEAD_LETTER_LATE;
    case TWCS_LATE_ACCEPT:
        break;
    }
    return TWCS_ACCEPT_LATE;
}
