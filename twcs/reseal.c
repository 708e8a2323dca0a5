/* When late chunks and masks are folded into a sealed run.
 *
 * A reseal rewrites the whole window, so that stragglers trigger it only past a share of its size:
 * with a ratio of r the bytes rewritten stay below 1/r times the late bytes, where a reseal for
 * each late chunk would rewrite the window for ever. */
#include "twcs/rules.h"

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
