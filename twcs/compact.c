/* Which of a window's debts is paid next.
 *
 * Every debt is a number that is due from 1 on and grows until it is paid: files over the trigger,
 * bytes over a level's share, dead bytes over what is allowed. The largest goes first, so that none
 * waits for ever behind another that never ends; only level 0 overtakes all when ingestion is about
 * to wait for it. What costs nothing (runs that have expired whole) and what must not be (keys in
 * two files of a sorted level, left by another style) comes before debts. */
#include "twcs/rules.h"

enum { SPACE = TWCS_LEVEL_COUNT, DEBT_COUNT };

static const struct twcs_level_rules *rules_of(enum twcs_style style)
{
    switch (style) {
    case TWCS_STYLE_LEVELED:
        return &twcs_leveled_rules;
    case TWCS_STYLE_HYBRID:
        return &twcs_hybrid_rules;
    case TWCS_STYLE_SIZE_TIERED:
    case TWCS_STYLE_TIME_WINDOW: /* an unbounded window, left by a former configuration */
    case TWCS_STYLE_FIFO:
        break;
    }
    return &twcs_size_tiered_rules;
}

static bool pay(const struct twcs_policy *policy, const struct twcs_clock *clock,
                const struct twcs_window *window, unsigned debt, struct twcs_decision *decision)
{
    if (debt == SPACE)
        return twcs_space_pick(policy, clock, window, decision);
    return rules_of(policy->style)->pick(policy, window, (uint8_t)debt, decision);
}

bool twcs_compact_pick(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       const struct twcs_window *window, struct twcs_decision *decision)
{
    const struct twcs_level_rules *rules = rules_of(policy->style);
    double debts[DEBT_COUNT];

    if (twcs_expired_pick(clock, window, decision))
        return true;
    decision->reason = TWCS_REASON_FILES;
    if (twcs_levels_mend(policy, window, rules->sorted_from, decision))
        return true;
    for (int level = 0; level < TWCS_LEVEL_COUNT; level++)
        debts[level] = rules->debt(policy, window, (uint8_t)level);
    debts[SPACE] = twcs_space_debt(policy, clock, window);
    if (twcs_level_files(window, 0) >= TWCS_LEVEL0_URGENT)
        debts[0] = (double)UINT64_MAX;
    for (;;) {
        unsigned largest = 0;
        for (unsigned debt = 1; debt < DEBT_COUNT; debt++)
            if (debts[debt] > debts[largest])
                largest = debt;
        if (debts[largest] < 1)
            return false;
        if (pay(policy, clock, window, largest, decision))
            return true;
        debts[largest] = 0; /* nothing can be merged for it now: the next one */
    }
}

const char *twcs_reason_name(enum twcs_reason reason)
{
    static const char *const names[] = {
        [TWCS_REASON_NONE] = "none",   [TWCS_REASON_EXPIRED] = "expired",
        [TWCS_REASON_FILES] = "files", [TWCS_REASON_LEVEL_BYTES] = "level_bytes",
        [TWCS_REASON_SPACE] = "space",
    };

    return names[reason];
}
