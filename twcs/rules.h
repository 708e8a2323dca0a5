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

/* Every row of it has expired on the safe clock (expiry.c). */
bool twcs_ttl_expired(const struct twcs_clock *clock, const struct twcs_window *window);

/* Its one major is due (windows.c). */
bool twcs_seal_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                   const struct twcs_window *window);

/* Its sealed run should be rebuilt (windows.c). */
bool twcs_reseal_due(const struct twcs_policy *policy, const struct twcs_clock *clock,
                     const struct twcs_window *window);

/* Adjacent chunks worth merging: fills first and count of `decision` (time_window.c). */
bool twcs_tier_pick(const struct twcs_policy *policy, const struct twcs_window *window,
                    struct twcs_decision *decision);

/* A merge of level 0 comes before everything else from here on, so that ingestion seldom waits. */
enum { TWCS_LEVEL0_URGENT = TWCS_LEVEL0_FILES_MAX * 2 / 3 };

/* The TWCS_COMPACT that is most due in a window that is not sealed (styles.c). */
bool twcs_compact_pick(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       const struct twcs_window *window, struct twcs_decision *decision);

/* levels.c */
size_t twcs_level_files(const struct twcs_window *window, uint8_t level);
/* Bytes of a sorted level over what it may hold. */
double twcs_level_debt(const struct twcs_policy *policy, const struct twcs_window *window,
                       uint8_t level);
bool twcs_decision_add(struct twcs_decision *decision, size_t chunk);
/* Moves the files of `level` (SIZE_MAX: all, else that one) into the sorted level below, with what
 * they meet there; false when these are more than one merge takes. */
bool twcs_levels_push(const struct twcs_policy *policy, const struct twcs_window *window,
                      uint8_t level, size_t only, struct twcs_decision *decision);
/* The file of a sorted level whose push rewrites least for its size. */
bool twcs_levels_push_best(const struct twcs_policy *policy, const struct twcs_window *window,
                           uint8_t level, struct twcs_decision *decision);
/* All files of a level that is not sorted, or as many of them as one merge takes. */
bool twcs_levels_push_all(const struct twcs_policy *policy, const struct twcs_window *window,
                          uint8_t level, struct twcs_decision *decision);
/* A file of a level that is not sorted, of full size, that meets nothing there or below. */
bool twcs_levels_move_free(const struct twcs_policy *policy, const struct twcs_window *window,
                           uint8_t level, struct twcs_decision *decision);
/* Files of a sorted level that share keys since another style left them there. */
bool twcs_levels_mend(const struct twcs_policy *policy, const struct twcs_window *window,
                      uint8_t sorted_from, struct twcs_decision *decision);

/* space.c: dead bytes over what is allowed (from 1 on a rewrite is due), and what to rewrite. */
double twcs_space_debt(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       const struct twcs_window *window);
bool twcs_space_pick(const struct twcs_policy *policy, const struct twcs_clock *clock,
                     const struct twcs_window *window, struct twcs_decision *decision);
bool twcs_expired_pick(const struct twcs_clock *clock, const struct twcs_window *window,
                       struct twcs_decision *decision);

#endif
