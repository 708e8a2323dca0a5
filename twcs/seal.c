#include "twcs/rules.h"

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
