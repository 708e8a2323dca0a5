/* Style hybrid: levels 0 to 2 are tiers (a whole tier merges into one run of the next), levels 3 to
 * 6 are sorted. What is young is written seldom, what is old is found in one file. */
#include "twcs/rules.h"

enum { SORTED_FROM = 3 };

static uint32_t tier_width(const struct twcs_policy *policy)
{
    return policy->tiered_min_threshold < 2 ? 2 : policy->tiered_min_threshold;
}

static double hybrid_debt(const struct twcs_policy *policy, const struct twcs_window *window,
                          uint8_t level)
{
    if (level < SORTED_FROM)
        return (double)twcs_level_files(window, level) / tier_width(policy);
    return level + 1 == TWCS_LEVEL_COUNT ? 0 : twcs_level_debt(policy, window, level);
}

static bool merge_tier(const struct twcs_policy *policy, const struct twcs_window *window,
                       uint8_t level, struct twcs_decision *decision)
{
    uint32_t width = tier_width(policy);
    uint32_t most = policy->tiered_max_threshold < width ? width : policy->tiered_max_threshold;

    decision->input_count = 0;
    for (size_t i = 0; i < window->chunk_count && decision->input_count < most; i++)
        if (window->chunks[i].level == level && !twcs_decision_add(decision, i))
            break;
    decision->output_level = (uint8_t)(level + 1);
    decision->target_file_bytes = 0;
    decision->trivial_move = false;
    return decision->input_count > 1;
}

static bool hybrid_pick(const struct twcs_policy *policy, const struct twcs_window *window,
                        uint8_t level, struct twcs_decision *decision)
{
    decision->reason = level < SORTED_FROM ? TWCS_REASON_FILES : TWCS_REASON_LEVEL_BYTES;
    if (level + 1 < SORTED_FROM)
        return merge_tier(policy, window, level, decision);
    if (level < SORTED_FROM)
        return twcs_levels_push_all(policy, window, level, decision);
    return twcs_levels_push_best(policy, window, level, decision);
}

const struct twcs_level_rules twcs_hybrid_rules = {
    .sorted_from = SORTED_FROM, .debt = hybrid_debt, .pick = hybrid_pick};
