/* The three styles with levels, and which debt of a window is paid next. */
#include "twcs/rules.h"

/* One style: how much a level is in debt (from 1 on a merge is due), and what to merge then. */
struct level_rules {
    uint8_t sorted_from; /* from this level on no key is in two files; TWCS_LEVEL_COUNT: nowhere */
    double (*debt)(const struct twcs_policy *policy, const struct twcs_window *window,
                   uint8_t level);
    bool (*pick)(const struct twcs_policy *policy, const struct twcs_window *window, uint8_t level,
                 struct twcs_decision *decision);
};

/* Style size_tiered: runs of about one size merge, whatever their age and place, because no run
 * hides a row of another. Each merge makes one run of the level below its lowest input, so that
 * level 0 counts what was flushed and not merged yet.
 *
 * Runs of sizes from s to 3 s are of one size (half to one and a half times their mean): with a
 * threshold of 4 at most three runs remain for each factor of three, so that a store of a terabyte
 * of 64 MiB flushes has at most thirty. Sizes that never match are merged all the same when they
 * crowd: level 0 before ingestion has to wait for it, and the smallest runs past max_threshold. */

/* Below this all runs count as equal: opening a file costs more than reading it. */
#define SMALL_BYTES (UINT64_C(1) << 20)

static uint64_t size_of(const struct twcs_run *run)
{
    return run->bytes < SMALL_BYTES ? SMALL_BYTES : run->bytes;
}

static bool is_of_size(const struct twcs_run *run, uint64_t smallest)
{
    return size_of(run) >= smallest && size_of(run) / 3 < smallest;
}

static uint32_t min_count(const struct twcs_policy *policy)
{
    return policy->tiered_min_threshold < 2 ? 2 : policy->tiered_min_threshold;
}

static uint32_t max_count(const struct twcs_policy *policy)
{
    uint32_t most = policy->tiered_max_threshold;

    if (most > TWCS_COMPACT_INPUTS_MAX)
        most = TWCS_COMPACT_INPUTS_MAX;
    return most < min_count(policy) ? min_count(policy) : most;
}

/* The smallest size of which there are enough runs; 0 when there is none. */
static uint64_t fullest_size(const struct twcs_policy *policy, const struct twcs_window *window,
                             size_t *count)
{
    uint64_t best = 0;

    *count = 0;
    for (size_t i = 0; i < window->chunk_count; i++) {
        uint64_t size = size_of(&window->chunks[i]);
        size_t alike = 0;
        if (best != 0 && size >= best)
            continue;
        for (size_t j = 0; j < window->chunk_count; j++)
            alike += is_of_size(&window->chunks[j], size);
        if (alike < min_count(policy))
            continue;
        best = size;
        *count = alike;
    }
    return best;
}

static double size_tiered_debt(const struct twcs_policy *policy, const struct twcs_window *window,
                               uint8_t level)
{
    size_t alike;

    if (level != 0)
        return 0;
    if (fullest_size(policy, window, &alike) != 0)
        return (double)alike / min_count(policy);
    if (twcs_level_files(window, 0) >= TWCS_LEVEL0_URGENT)
        return (double)twcs_level_files(window, 0) / TWCS_LEVEL0_URGENT;
    return (double)window->chunk_count / (double)(max_count(policy) + 1);
}

/* Adds the smallest runs, without sorting: each time the smallest that comes after the last one. */
static void add_smallest(const struct twcs_window *window, size_t count,
                         struct twcs_decision *decision)
{
    uint64_t limit = 0;
    size_t below = 0;

    /* The smallest limit with `count` runs below it. */
    for (size_t i = 0; i < window->chunk_count; i++) {
        size_t smaller = 0;
        for (size_t j = 0; j < window->chunk_count; j++)
            smaller += window->chunks[j].bytes <= window->chunks[i].bytes;
        if (smaller >= count && (below < count || window->chunks[i].bytes < limit)) {
            limit = window->chunks[i].bytes;
            below = smaller;
        }
    }
    for (size_t i = 0; i < window->chunk_count && decision->input_count < count; i++)
        if (window->chunks[i].bytes <= limit)
            (void)twcs_decision_add(decision, i);
}

static void set_output(const struct twcs_window *window, struct twcs_decision *decision)
{
    uint8_t lowest = 0;

    for (uint32_t i = 0; i < decision->input_count; i++)
        if (window->chunks[decision->inputs[i]].level > lowest)
            lowest = window->chunks[decision->inputs[i]].level;
    decision->output_level = lowest + 1 < TWCS_LEVEL_COUNT ? (uint8_t)(lowest + 1) : lowest;
    decision->target_file_bytes = 0;
    decision->trivial_move = false;
}

static bool size_tiered_pick(const struct twcs_policy *policy, const struct twcs_window *window,
                             uint8_t level, struct twcs_decision *decision)
{
    size_t level0 = twcs_level_files(window, level);
    size_t alike;
    uint64_t size = fullest_size(policy, window, &alike);
    uint32_t most = max_count(policy);

    decision->reason = TWCS_REASON_FILES;
    decision->input_count = 0;
    if (level0 >= TWCS_LEVEL0_URGENT) {
        for (size_t i = 0; i < window->chunk_count; i++)
            if (window->chunks[i].level == level && !twcs_decision_add(decision, i))
                break;
    } else if (size != 0) {
        for (size_t i = 0; i < window->chunk_count && decision->input_count < most; i++)
            if (is_of_size(&window->chunks[i], size))
                (void)twcs_decision_add(decision, i);
    } else {
        size_t excess = window->chunk_count - most + 1;
        add_smallest(window, excess < min_count(policy) ? min_count(policy) : excess, decision);
    }
    set_output(window, decision);
    return decision->input_count > 1;
}

static const struct level_rules size_tiered_rules = {
    .sorted_from = TWCS_LEVEL_COUNT, .debt = size_tiered_debt, .pick = size_tiered_pick};

/* Style leveled: level 0 takes what is flushed, levels 1 to 6 are sorted, each size_ratio times the
 * one above. Level 0 merges from level0_trigger files on, a sorted level when it holds more than
 * its share, the file first that meets least below. */

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

static const struct level_rules leveled_rules = {
    .sorted_from = 1, .debt = leveled_debt, .pick = leveled_pick};

/* Style hybrid: levels 0 to 2 are tiers (a whole tier merges into one run of the next), levels 3 to
 * 6 are sorted. What is young is written seldom, what is old is found in one file. */

enum { SORTED_FROM = 3 };

static double hybrid_debt(const struct twcs_policy *policy, const struct twcs_window *window,
                          uint8_t level)
{
    if (level < SORTED_FROM)
        return (double)twcs_level_files(window, level) / min_count(policy);
    return level + 1 == TWCS_LEVEL_COUNT ? 0 : twcs_level_debt(policy, window, level);
}

static bool merge_tier(const struct twcs_policy *policy, const struct twcs_window *window,
                       uint8_t level, struct twcs_decision *decision)
{
    uint32_t width = min_count(policy);
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

static const struct level_rules hybrid_rules = {
    .sorted_from = SORTED_FROM, .debt = hybrid_debt, .pick = hybrid_pick};

/* Which of a window's debts is paid next.
 *
 * Every debt is a number that is due from 1 on and grows until it is paid: files over the trigger,
 * bytes over a level's share, dead bytes over what is allowed. The largest goes first, so that none
 * waits for ever behind another that never ends; only level 0 overtakes all when ingestion is about
 * to wait for it. What costs nothing (runs that have expired whole) and what must not be (keys in
 * two files of a sorted level, left by another style) comes before debts. */

enum { SPACE = TWCS_LEVEL_COUNT, DEBT_COUNT };

static const struct level_rules *rules_of(enum twcs_style style)
{
    switch (style) {
    case TWCS_STYLE_LEVELED:
        return &leveled_rules;
    case TWCS_STYLE_HYBRID:
        return &hybrid_rules;
    case TWCS_STYLE_SIZE_TIERED:
    case TWCS_STYLE_TIME_WINDOW: /* an unbounded window, left by a former configuration */
    case TWCS_STYLE_FIFO:
        break;
    }
    return &size_tiered_rules;
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
    const struct level_rules *rules = rules_of(policy->style);
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
