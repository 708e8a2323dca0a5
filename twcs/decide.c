#include <assert.h>

#include "twcs/rules.h"

/* The one thing due for a window; false when there is none. */
static bool window_decide(const struct twcs_policy *policy, const struct twcs_clock *clock,
                          const struct twcs_window *window, struct twcs_decision *decision)
{
    /* One job at a time: two majors of one window would each miss what the other merged. */
    if (window->busy)
        return false;
    if (twcs_ttl_expired(clock, window)) {
        /* What is only waiting for its drop is not worth a merge. */
        decision->action = TWCS_DROP_TTL;
        return !window->pinned_by_hidden;
    }
    if (twcs_seal_due(policy, clock, window)) {
        decision->action = TWCS_SEAL;
        return true;
    }
    if (twcs_reseal_due(policy, clock, window)) {
        decision->action = TWCS_RESEAL;
        return true;
    }
    decision->action = TWCS_TIER;
    return twcs_tier_pick(policy, window, decision);
}

size_t twcs_decide(const struct twcs_policy *policy, const struct twcs_clock *clock,
                   const struct twcs_window *windows, size_t window_count,
                   struct twcs_decision *decisions, size_t max)
{
    static const enum twcs_action order[] = {TWCS_DROP_TTL, TWCS_SEAL, TWCS_RESEAL, TWCS_TIER};
    size_t count = 0;

    for (size_t i = 1; i < window_count; i++)
        assert(windows[i - 1].start_ms <= windows[i].start_ms);
    /* A pass for each action instead of a sort: windows are dozens, and nothing is allocated. */
    for (size_t pass = 0; pass < sizeof(order) / sizeof(order[0]); pass++) {
        for (size_t i = 0; i < window_count && count < max; i++) {
            struct twcs_decision decision = {.window = i};
            if (window_decide(policy, clock, &windows[i], &decision) &&
                decision.action == order[pass])
                decisions[count++] = decision;
        }
    }
    return count;
}
