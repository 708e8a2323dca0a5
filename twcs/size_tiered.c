/* Style size_tiered: runs of about one size merge, whatever their age and place, because no run
 * hides a row of another. Each merge makes one run of the level below its lowest input, so that
 * level 0 counts what was flushed and not merged yet.
 *
 * Runs of sizes from s to 3 s are of one size (half to one and a half times their mean): with a
 * threshold of 4 at most three runs remain for each factor of three, so that a store of a terabyte
 * of 64 MiB flushes has at most thirty. Sizes that never match are merged all the same when they
 * crowd: level 0 before ingestion has to wait for it, and the smallest runs past max_threshold. */
#include "twcs/rules.h"

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

const struct twcs_level_rules twcs_size_tiered_rules = {
    .sorted_from = TWCS_LEVEL_COUNT, .debt = size_tiered_debt, .pick = size_tiered_pick};
