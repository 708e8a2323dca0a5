/* Style time_window: size-tiered picks among the chunks of an open window, and, in every style but
 * fifo, among the late chunks of a sealed one.
 *
 * Only neighbours merge, so that chunks stay in the order of arrival. A group is as long as each
 * further chunk lies between half and one and a half times the mean so far; the group with the
 * smallest mean goes first, because it removes the most chunks per byte. Sizes that never match
 * (large, small, large, small) would leave chunks without bound, and so would small groups while
 * flushes are faster than merges: past max_threshold a merge takes the whole excess at once, the
 * cheapest neighbours whatever their sizes when no group is long enough. */
#include "twcs/rules.h"

/* Below this all chunks count as equal: opening a file costs more than reading it. */
enum { SMALL_BYTES = 1024 * 1024 };

static double chunk_size(const struct twcs_run *chunk)
{
    return chunk->bytes < SMALL_BYTES ? (double)SMALL_BYTES : (double)chunk->bytes;
}

/* How many chunks from `first` on are of one size, and their mean. */
static size_t group_length(const struct twcs_window *window, size_t first, size_t max_count,
                           double *mean)
{
    double total = chunk_size(&window->chunks[first]);
    size_t count = 1;

    while (count < max_count && first + count < window->chunk_count) {
        double size = chunk_size(&window->chunks[first + count]);
        double so_far = total / (double)count;
        if (size < so_far * 0.5 || size > so_far * 1.5)
            break;
        total += size;
        count++;
    }
    *mean = total / (double)count;
    return count;
}

static size_t cheapest_neighbours(const struct twcs_window *window, size_t count)
{
    double best_total = 0;
    size_t best = 0;
    double total = 0;

    for (size_t i = 0; i < window->chunk_count; i++) {
        total += (double)window->chunks[i].bytes;
        if (i >= count)
            total -= (double)window->chunks[i - count].bytes;
        if (i + 1 == count || (i >= count && total < best_total)) {
            best_total = total;
            best = i + 1 - count;
        }
    }
    return best;
}

bool twcs_tier_pick(const struct twcs_policy *policy, const struct twcs_window *window,
                    struct twcs_decision *decision)
{
    size_t min_count = policy->tiered_min_threshold < 2 ? 2 : policy->tiered_min_threshold;
    size_t max_count =
        policy->tiered_max_threshold < min_count ? min_count : policy->tiered_max_threshold;
    bool crowded = window->chunk_count > max_count;
    double best_mean = 0;
    bool found = false;

    if (crowded && window->chunk_count - max_count + 1 > min_count)
        min_count = window->chunk_count - max_count + 1;
    if (min_count > max_count)
        min_count = max_count;
    for (size_t first = 0; first + min_count <= window->chunk_count; first++) {
        double mean;
        size_t count = group_length(window, first, max_count, &mean);
        if (count < min_count || (found && mean >= best_mean))
            continue;
        decision->first_chunk = first;
        decision->chunk_count = count;
        best_mean = mean;
        found = true;
    }
    if (!found && crowded) {
        decision->first_chunk = cheapest_neighbours(window, min_count);
        decision->chunk_count = min_count;
        found = true;
    }
    return found;
}
