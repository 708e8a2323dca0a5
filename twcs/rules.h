/* What the files of this folder share. Private. */
#ifndef TWCS_RULES_H
#define TWCS_RULES_H

#include "twcs/twcs.h"

/* Saturates: TWCS_NEVER plus something is still never. */
static inline int64_t twcs_add(int64_t a, int64_t b)
{
    int64_t sum;

    if (!__builtin_add_overflow(a, b, &sum))
        return sum;
    return b > 0 ? INT64_MAX : INT64_MIN;
}

static inline int64_t twcs_subtract(int64_t a, int64_t b)
{
    int64_t difference;

    if (!__builtin_sub_overflow(a, b, &difference))
        return difference;
    return b < 0 ? INT64_MAX : INT64_MIN;
}

/* Every row of it has expired on the safe clock (ttl.c). */
bool twcs_ttl_expired(const struct twcs_clock *clock, const struct twcs_window *window);

/* Its one major is due (seal.c). */
bool twcs_seal_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                   const struct twcs_window *window);

/* Its sealed run should be rebuilt (reseal.c). */
bool twcs_reseal_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                     const struct twcs_window *window);

/* Adjacent chunks worth merging: fills first and count of `decision` (size_tiered.c). */
bool twcs_tier_pick(const struct twcs_policy *policy, const struct twcs_window *window,
                    struct twcs_decision *decision);

#endif
