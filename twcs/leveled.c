/* Style leveled: level 0 takes what is flushed, levels 1 to 6 are sorted, each size_ratio times the
 * one above. Level 0 merges from level0_trigger files on, a sorted level when it holds more than
 * its share, the file first that meets least below. */
#include "twcs/rules.h"

static double leveled_debt(const struct twcs_policy *policy, const struct twcs_window *window,
                           uint8_t level)
{
    uint32_t trigger = policy->level0_trigger ? policy->level0_trigger : 1;

    if (level == 0)
        return (double)twcs_level_files(window, 0) / trigger;
    /* The last level has no level to give to. */
    return level + 1 == TWCS_LEVEL_COUNT ? 0 : twcs_level_debt(policy, window, level);
}

static bool leveled_pick(const struct twcs_policy *policy, const struct twcs_window *window,
                         uint8_t level, struct twcs_decision *decision)
{
    decision->reason = level == 0 ? TWCS_REASON_FILES : TWCS_REASON_LEVEL_BYTES;
    if (level > 0)
        return twcs_levels_push_best(policy, window, level, decision);
    /* Keys that only grow are never rewritten. */
    return twcs_levels_move_free(policy, window, 0, decision) ||
           twcs_levels_push_all(policy, window, 0, decision);
}

const struct twcs_level_rules twcs_leveled_rules = {
    .sorted_from = 1, .debt = leveled_debt, .pick = leveled_pick};
