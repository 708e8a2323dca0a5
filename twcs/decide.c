#include <assert.h>

#include "twcs/rules.h"

/* Whether the runs of a window that is not sealed merge by one of the styles with levels. */
static bool has_levels(const struct twcs_policy *policy, const struct twcs_window *window)
{
    return !window->sealed && (window->length_ms == 0 || policy->style >= TWCS_STYLE_SIZE_TIERED);
}

/* What time does not decide yet: how the runs of a window that is not sealed merge. */
static bool merge_open(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       const struct twcs_window *window, struct twcs_decision *decision)
{
    if (!has_levels(policy, window)) {
        if (policy->style == TWCS_STYLE_FIFO)
            return false;
        decision->action = TWCS_TIER;
        return twcs_tier_pick(policy, window, decision);
    }
    decision->action = TWCS_COMPACT;
    return twcs_compact_pick(policy, clock, window, decision);
}

static bool merge_late(const struct twcs_policy *policy, const struct twcs_clock *clock,
                       const struct twcs_window *window, struct twcs_decision *decision)
{
    if (policy->style == TWCS_STYLE_FIFO)
        return false;
    decision->action = TWCS_RESEAL;
    if (twcs_reseal_due(policy, clock, window))
        return true;
    decision->action = TWCS_TIER;
    return twcs_tier_pick(policy, window, decision);
}

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
        return true;
    }
    if (window->length_ms > 0 && twcs_drop_waits(clock, window))
        return false;
    if (twcs_seal_due(policy, clock, window)) {
        decision->action = TWCS_SEAL;
        return true;
    }
    return window->sealed ? merge_late(policy, clock, window, decision)
                          : merge_open(policy, clock, window, decision);
}

/* The order of decisions. */

enum urgency { URGENCY_DROP, URGENCY_OVERLOAD, URGENCY_SEAL, URGENCY_DEBT };

/* Cheaper than the decision itself. */
static enum urgency urgency_of(const struct twcs_policy *policy, const struct twcs_clock *clock,
                               const struct twcs_window *window)
{
    struct twcs_decision unused;

    if (twcs_ttl_expired(clock, window))
        return URGENCY_DROP;
    if (has_levels(policy, window) && !twcs_seal_due(policy, clock, window) &&
        twcs_expired_pick(clock, window, &unused))
        return URGENCY_DROP;
    if (twcs_overloaded(window))
        return URGENCY_OVERLOAD;
    return twcs_seal_due(policy, clock, window) ? URGENCY_SEAL : URGENCY_DEBT;
}

/* When the oldest input was written, as a file number. */
static uint64_t debt_age(const struct twcs_window *window, const struct twcs_decision *decision)
{
    uint64_t oldest = UINT64_MAX;

    switch (decision->action) {
    case TWCS_DROP_TTL:
    case TWCS_SEAL:
        break;
    case TWCS_RESEAL:
        oldest = window->chunk_count > 0 ? window->chunks[0].file_number
                                         : window->sealed_run.file_number;
        break;
    case TWCS_TIER:
        oldest = window->chunks[decision->first_chunk].file_number;
        break;
    case TWCS_COMPACT:
        for (uint32_t i = 0; i < decision->input_count; i++)
            if (window->chunks[decision->inputs[i]].file_number < oldest)
                oldest = window->chunks[decision->inputs[i]].file_number;
        break;
    }
    return oldest;
}

struct list {
    struct twcs_decision *items;
    size_t count, max;
    size_t merges, merges_max;
};

static bool list_full(const struct list *list, enum urgency urgency)
{
    return list->count == list->max ||
           (urgency != URGENCY_DROP && list->merges == list->merges_max);
}

static void list_add(struct list *list, const struct twcs_decision *decision, enum urgency urgency)
{
    list->items[list->count++] = *decision;
    list->merges += urgency != URGENCY_DROP;
}

/* Ascending by window, which is oldest first for drops and seals. */
static void add_in_order(const struct twcs_policy *policy, const struct twcs_clock *clock,
                         const struct twcs_window *windows, size_t window_count,
                         enum urgency urgency, struct list *list)
{
    for (size_t i = 0; i < window_count && !list_full(list, urgency); i++) {
        struct twcs_decision decision = {.window = i};
        if (urgency_of(policy, clock, &windows[i]) == urgency &&
            window_decide(policy, clock, &windows[i], &decision))
            list_add(list, &decision, urgency);
    }
}

/* The next one by age after (age, window), or false. */
static bool find_next_debt(const struct twcs_policy *policy, const struct twcs_clock *clock,
                           const struct twcs_window *windows, size_t window_count, uint64_t *age,
                           size_t *window, struct twcs_decision *next)
{
    uint64_t after = *age;
    size_t after_window = *window;
    bool found = false;

    for (size_t i = 0; i < window_count; i++) {
        struct twcs_decision decision = {.window = i};
        uint64_t its;
        if (urgency_of(policy, clock, &windows[i]) != URGENCY_DEBT ||
            !window_decide(policy, clock, &windows[i], &decision))
            continue;
        its = debt_age(&windows[i], &decision);
        if (after_window != SIZE_MAX && (its < after || (its == after && i <= after_window)))
            continue;
        if (found && its >= *age)
            continue;
        *age = its;
        *window = i;
        *next = decision;
        found = true;
    }
    return found;
}

size_t twcs_decide(const struct twcs_policy *policy, const struct twcs_clock *clock,
                   const struct twcs_window *windows, size_t window_count,
                   struct twcs_decision *decisions, size_t max)
{
    struct list list = {.items = decisions,
                        .max = max,
                        .merges_max = policy->max_jobs > 0 ? policy->max_jobs : SIZE_MAX};
    struct twcs_decision next;
    size_t window = SIZE_MAX;
    uint64_t age = 0;

    for (size_t i = 1; i < window_count; i++)
        assert(windows[i - 1].start_ms <= windows[i].start_ms);
    /* A pass for each urgency instead of a sort: windows are dozens, and nothing is allocated. */
    for (enum urgency urgency = URGENCY_DROP; urgency < URGENCY_DEBT; urgency++)
        add_in_order(policy, clock, windows, window_count, urgency, &list);
    while (!list_full(&list, URGENCY_DEBT) &&
           find_next_debt(policy, clock, windows, window_count, &age, &window, &next))
        list_add(&list, &next, URGENCY_DEBT);
    return list.count;
}

static void earliest(int64_t *due_ms, int64_t at_ms, const struct twcs_clock *clock)
{
    if (at_ms > clock->safe_wall_ms && at_ms < *due_ms)
        *due_ms = at_ms;
}

int64_t twcs_next_due_ms(const struct twcs_policy *policy, const struct twcs_clock *clock,
                         const struct twcs_window *windows, size_t window_count)
{
    int64_t due_ms = TWCS_NEVER;

    for (size_t i = 0; i < window_count; i++) {
        const struct twcs_window *window = &windows[i];
        if (window->length_ms > 0)
            earliest(&due_ms, window->max_expiry_ms, clock);
        for (size_t k = 0; k < window->chunk_count && has_levels(policy, window); k++)
            earliest(&due_ms, window->chunks[k].max_expiry_ms, clock);
        if (window->sealed && window->chunk_count > 0 && policy->reseal_quiet_ms > 0)
            earliest(&due_ms, twcs_add(window->last_arrival_wall_ms, policy->reseal_quiet_ms),
                     clock);
    }
    return due_ms;
}
