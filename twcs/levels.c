/* What the styles with levels share: sizes of levels, key ranges, and the step from one level into
 * the next.
 *
 * A merge into a sorted level takes everything there that meets the range of its inputs, from the
 * smallest to the largest key of all of them, so that no output lies across a file that stayed. It
 * also takes a small neighbour on either side: keys that only grow would otherwise leave one crumb
 * behind for each merge, and a later merge over a wide range would meet more files than it can
 * take.
 *
 * Nothing is sorted or allocated: a level is scanned for each question. Files are thousands at
 * most.
 */
#include "base/bytes.h"
#include "twcs/rules.h"

#include <string.h>

struct range {
    const uint8_t *first, *last;
    uint16_t first_bytes, last_bytes;
};

static struct range range_of(const struct twcs_run *run)
{
    return (struct range){run->first_key, run->last_key, run->first_key_bytes, run->last_key_bytes};
}

static bool is_before(const struct twcs_run *run, const struct range *range)
{
    return bytes_compare(run->last_key, run->last_key_bytes, range->first, range->first_bytes) < 0;
}

static bool is_behind(const struct twcs_run *run, const struct range *range)
{
    return bytes_compare(run->first_key, run->first_key_bytes, range->last, range->last_bytes) > 0;
}

static bool meets(const struct twcs_run *run, const struct range *range)
{
    return !is_before(run, range) && !is_behind(run, range);
}

static void widen(struct range *range, const struct twcs_run *run)
{
    if (!range->first ||
        bytes_compare(run->first_key, run->first_key_bytes, range->first, range->first_bytes) < 0) {
        range->first = run->first_key;
        range->first_bytes = run->first_key_bytes;
    }
    if (!range->last ||
        bytes_compare(run->last_key, run->last_key_bytes, range->last, range->last_bytes) > 0) {
        range->last = run->last_key;
        range->last_bytes = run->last_key_bytes;
    }
}

/* Levels. */

size_t twcs_level_files(const struct twcs_window *window, uint8_t level)
{
    size_t count = 0;

    for (size_t i = 0; i < window->chunk_count; i++)
        count += window->chunks[i].level == level;
    return count;
}

bool twcs_overloaded(const struct twcs_window *window)
{
    return window->length_ms == 0 && twcs_level_files(window, 0) >= TWCS_LEVEL0_FILES_MAX;
}

/* The first sorted level holds what one merge of level 0 brings, each further one size_ratio times
 * more. */
static double level_target_bytes(const struct twcs_policy *policy, uint8_t level)
{
    uint32_t trigger = policy->level0_trigger ? policy->level0_trigger : 1;
    double target =
        (double)trigger * (double)(policy->target_file_bytes ? policy->target_file_bytes : 1);

    for (uint8_t i = 1; i < level; i++)
        target *= policy->size_ratio < 2 ? 2 : policy->size_ratio;
    return target;
}

double twcs_level_debt(const struct twcs_policy *policy, const struct twcs_window *window,
                       uint8_t level)
{
    double bytes = 0;

    for (size_t i = 0; i < window->chunk_count; i++)
        if (window->chunks[i].level == level)
            bytes += (double)window->chunks[i].bytes;
    return bytes / level_target_bytes(policy, level);
}

bool twcs_decision_add(struct twcs_decision *decision, size_t chunk)
{
    if (decision->input_count == TWCS_COMPACT_INPUTS_MAX)
        return false;
    decision->inputs[decision->input_count++] = (uint32_t)chunk;
    return true;
}

/* From one level into the next. */

/* The nearest file of `level` before (or behind) the range when it is a crumb, or SIZE_MAX. */
static size_t small_neighbour(const struct twcs_policy *policy, const struct twcs_window *window,
                              uint8_t level, const struct range *range, bool before)
{
    const struct twcs_run *chunks = window->chunks;
    size_t nearest = SIZE_MAX;

    for (size_t i = 0; i < window->chunk_count; i++) {
        struct range so_far;
        if (chunks[i].level != level ||
            !(before ? is_before(&chunks[i], range) : is_behind(&chunks[i], range)))
            continue;
        if (nearest != SIZE_MAX) {
            so_far = range_of(&chunks[nearest]);
            if (before ? !is_behind(&chunks[i], &so_far) : !is_before(&chunks[i], &so_far))
                continue;
        }
        nearest = i;
    }
    if (nearest != SIZE_MAX && chunks[nearest].bytes >= policy->target_file_bytes / 2)
        return SIZE_MAX;
    return nearest;
}

static bool is_source(const struct twcs_run *chunks, size_t i, uint8_t level, size_t only)
{
    return chunks[i].level == level && (only == SIZE_MAX || only == i);
}

bool twcs_levels_push(const struct twcs_policy *policy, const struct twcs_window *window,
                      uint8_t level, size_t only, struct twcs_decision *decision)
{
    const struct twcs_run *chunks = window->chunks;
    uint8_t output = (uint8_t)(level + 1);
    struct range range = {0};
    uint64_t source_bytes = 0;
    size_t before = SIZE_MAX;
    size_t behind = SIZE_MAX;

    for (size_t i = 0; i < window->chunk_count; i++) {
        if (!is_source(chunks, i, level, only))
            continue;
        widen(&range, &chunks[i]);
        source_bytes += chunks[i].bytes;
    }
    /* A file of full size may lie beside a crumb: moving it costs nothing. */
    if (source_bytes < policy->target_file_bytes / 2) {
        before = small_neighbour(policy, window, output, &range, true);
        behind = small_neighbour(policy, window, output, &range, false);
    }
    decision->input_count = 0;
    for (size_t i = 0; i < window->chunk_count; i++) {
        bool met = chunks[i].level == output && meets(&chunks[i], &range);
        if (!met && i != before && i != behind && !is_source(chunks, i, level, only))
            continue;
        if (!twcs_decision_add(decision, i))
            return false;
    }
    decision->output_level = output;
    decision->target_file_bytes = policy->target_file_bytes;
    decision->trivial_move = decision->input_count == 1;
    return decision->input_count > 0;
}

/* Crumbs that lie side by side in one sorted level become fewer, larger files. */
static bool join_crumbs(const struct twcs_policy *policy, const struct twcs_window *window,
                        uint8_t level, struct twcs_decision *decision)
{
    const struct twcs_run *chunks = window->chunks;

    for (size_t i = 0; i < window->chunk_count; i++) {
        struct range range = range_of(&chunks[i]);
        size_t count = 1;
        size_t next;
        if (chunks[i].level != level || chunks[i].bytes >= policy->target_file_bytes / 2)
            continue;
        while (count < TWCS_COMPACT_INPUTS_MAX &&
               (next = small_neighbour(policy, window, level, &range, false)) != SIZE_MAX) {
            widen(&range, &chunks[next]);
            count++;
        }
        if (count < 2)
            continue;
        decision->input_count = 0;
        for (size_t j = 0; j < window->chunk_count; j++)
            if (chunks[j].level == level && meets(&chunks[j], &range))
                (void)twcs_decision_add(decision, j);
        decision->output_level = level;
        decision->target_file_bytes = policy->target_file_bytes;
        decision->trivial_move = false;
        return true;
    }
    return false;
}

bool twcs_levels_move_free(const struct twcs_policy *policy, const struct twcs_window *window,
                           uint8_t level, struct twcs_decision *decision)
{
    const struct twcs_run *chunks = window->chunks;

    for (size_t i = 0; i < window->chunk_count; i++) {
        struct range range = range_of(&chunks[i]);
        bool is_free = chunks[i].level == level && chunks[i].bytes >= policy->target_file_bytes / 2;
        for (size_t j = 0; is_free && j < window->chunk_count; j++)
            if (j != i && (chunks[j].level == level || chunks[j].level == level + 1))
                is_free = !meets(&chunks[j], &range);
        if (is_free)
            return twcs_levels_push(policy, window, level, i, decision);
    }
    return false;
}

bool twcs_levels_push_best(const struct twcs_policy *policy, const struct twcs_window *window,
                           uint8_t level, struct twcs_decision *decision)
{
    const struct twcs_run *chunks = window->chunks;
    double best_cost = 0;
    size_t best = SIZE_MAX;

    for (size_t i = 0; i < window->chunk_count; i++) {
        struct range range;
        double cost = 0;
        size_t count = 1;
        if (chunks[i].level != level)
            continue;
        range = range_of(&chunks[i]);
        for (size_t j = 0; j < window->chunk_count; j++) {
            if (chunks[j].level != level + 1 || !meets(&chunks[j], &range))
                continue;
            cost += (double)chunks[j].bytes;
            count++;
        }
        /* Two places are left for neighbours. */
        if (count + 2 > TWCS_COMPACT_INPUTS_MAX)
            continue;
        cost /= (double)(chunks[i].bytes ? chunks[i].bytes : 1);
        if (best != SIZE_MAX && cost >= best_cost)
            continue;
        best_cost = cost;
        best = i;
    }
    if (best != SIZE_MAX)
        return twcs_levels_push(policy, window, level, best, decision);
    return join_crumbs(policy, window, (uint8_t)(level + 1), decision);
}

bool twcs_levels_push_all(const struct twcs_policy *policy, const struct twcs_window *window,
                          uint8_t level, struct twcs_decision *decision)
{
    if (twcs_levels_push(policy, window, level, SIZE_MAX, decision))
        return true;
    return twcs_levels_push_best(policy, window, level, decision);
}

/* After another style. */

bool twcs_levels_mend(const struct twcs_policy *policy, const struct twcs_window *window,
                      uint8_t sorted_from, struct twcs_decision *decision)
{
    const struct twcs_run *chunks = window->chunks;

    for (size_t i = 0; i < window->chunk_count; i++) {
        struct range range = range_of(&chunks[i]);
        bool wider = true;
        if (chunks[i].level < sorted_from)
            continue;
        /* Until nothing more is met: otherwise an output could lie across a file that stayed. */
        while (wider) {
            wider = false;
            decision->input_count = 0;
            for (size_t j = 0; j < window->chunk_count; j++) {
                struct range former = range;
                if (chunks[j].level != chunks[i].level || !meets(&chunks[j], &range))
                    continue;
                if (!twcs_decision_add(decision, j))
                    break;
                widen(&range, &chunks[j]);
                wider |= range.first != former.first || range.last != former.last;
            }
        }
        if (decision->input_count < 2)
            continue;
        decision->output_level = chunks[i].level;
        decision->target_file_bytes = policy->target_file_bytes;
        decision->trivial_move = false;
        return true;
    }
    return false;
}
