/* Selecting and sorting of (score, row) entries as 64-bit numbers: quickselect and quicksort with
 * branch-free partitioning, and heapsort where pivots stay bad, so that no order of scores makes
 * them quadratic. */
#include "indexer/index/rerank.h"

#include <stdbool.h>

enum { SHORT = 24 }; /* below, insertion is faster than partitioning */

static void insertion_sort(uint64_t *entries, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        uint64_t moving = entries[i];
        uint32_t at = i;
        for (; at > 0 && entries[at - 1] > moving; at--)
            entries[at] = entries[at - 1];
        entries[at] = moving;
    }
}

static uint64_t median_of_3(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t least = a < b ? a : b, most = a < b ? b : a;

    return c < least ? least : c > most ? most : c;
}

/* Entries below the pivot to the front: entries[0 .. returned) < pivot <= the rest. Which of them
 * are is a coin's toss to the branch predictor, so there is no branch: an eighth of a search
 * through lists went here. */
static uint32_t below_to_front(uint64_t *entries, uint32_t count, uint64_t pivot)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry = entries[i];
        entries[i] = entries[left];
        entries[left] = entry;
        left += entry < pivot;
    }
    return left;
}

/* entries[0 .. returned) <= the rest, and at least one: either fewer than all, or, with *alike, all
 * equal. */
static uint32_t partition(uint64_t *entries, uint32_t count, bool *alike)
{
    uint64_t pivot = median_of_3(entries[0], entries[count / 2], entries[count - 1]);
    uint32_t left = below_to_front(entries, count, pivot);

    *alike = left == 0;
    if (*alike) /* the pivot is the smallest: it goes to the front, with its equals */
        left = pivot < UINT64_MAX ? below_to_front(entries, count, pivot + 1) : count;
    return left;
}

/* Swaps parents with larger children: the way out when pivots were bad. */
static void sink(uint64_t *entries, uint32_t at, uint32_t count)
{
    uint64_t moving = entries[at];

    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= count)
            break;
        if (child + 1 < count && entries[child + 1] > entries[child])
            child++;
        if (entries[child] <= moving)
            break;
        entries[at] = entries[child];
        at = child;
    }
    entries[at] = moving;
}

static void heap_sort(uint64_t *entries, uint32_t count)
{
    for (uint32_t at = count / 2; at-- > 0;)
        sink(entries, at, count);
    for (uint32_t left = count; left > 1;) {
        uint64_t largest = entries[0];
        entries[0] = entries[--left];
        entries[left] = largest;
        sink(entries, 0, left);
    }
}

static void sort_within(uint64_t *entries, uint32_t count, uint32_t depth_left)
{
    while (count > SHORT) {
        uint32_t left;
        bool alike;
        if (depth_left-- == 0) {
            heap_sort(entries, count);
            return;
        }
        left = partition(entries, count, &alike);
        if (alike) {
            entries += left;
            count -= left;
        } else if (left < count - left) {
            sort_within(entries, left, depth_left);
            entries += left;
            count -= left;
        } else {
            sort_within(entries + left, count - left, depth_left);
            count = left;
        }
    }
    insertion_sort(entries, count);
}

static uint32_t depth_limit(uint32_t count)
{
    uint32_t depth = 8;

    for (; count > 0; count /= 2)
        depth += 2;
    return depth;
}

void index_entries_sort(uint64_t *entries, uint32_t count)
{
    sort_within(entries, count, depth_limit(count));
}

void index_entries_select(uint64_t *entries, uint32_t count, uint32_t keep)
{
    uint32_t depth_left = depth_limit(count);

    while (keep > 0 && keep < count && count > SHORT) {
        uint32_t left;
        bool alike;
        if (depth_left-- == 0) {
            heap_sort(entries, count);
            return;
        }
        left = partition(entries, count, &alike);
        if (keep <= left && alike)
            return;
        if (keep <= left) {
            count = left;
        } else {
            entries += left;
            count -= left;
            keep -= left;
        }
    }
    if (keep > 0 && keep < count)
        insertion_sort(entries, count);
}
