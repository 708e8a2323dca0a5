#include "twcs/rules.h"

/* A row is hidden from the millisecond of its expiry on, and a window may go from the one of its
 * last row's. */
bool twcs_ttl_expired(const struct twcs_clock *clock, const struct twcs_window *window)
{
    /* What is unbounded takes records all the time: its runs go one by one. */
    if (window->length_ms == 0)
        return false;
    return window->max_expiry_ms != TWCS_NEVER && window->max_expiry_ms <= clock->safe_wall_ms;
}

const char *twcs_drop_blocker(const struct twcs_policy *policy, const struct twcs_clock *clock,
                              const struct twcs_window *window)
{
    int64_t end_ms = twcs_add(window->start_ms, window->length_ms);

    if (!twcs_ttl_expired(clock, window)) {
        /* Past its time by the policy, yet a row lives on. */
        if (window->length_ms > 0 && policy->ttl_ms > 0 &&
            twcs_add(end_ms, policy->ttl_ms) <= clock->safe_wall_ms)
            return "some of its rows have not expired";
        return NULL;
    }
    if (window->busy)
        return "a compaction or an index build of it is under way";
    return NULL;
}
