#include <assert.h>
#include <sched.h>

#include "indexer/index/candidate_lists.h"
#include "indexer/index/memory.h"

enum { CAPACITY_MAX = 256 };

void index_candidate_lists_create(struct index_candidate_lists *lists, uint32_t count,
                                  uint32_t capacity)
{
    assert(capacity > 0 && capacity <= CAPACITY_MAX);
    lists->count = count;
    lists->capacity = capacity;
    lists->entries = index_allocate((size_t)count * capacity, sizeof(uint64_t));
    lists->sizes = index_allocate_zeroed(count, sizeof(uint32_t));
    lists->locks = index_allocate_zeroed(count, sizeof(atomic_uchar));
}

void index_candidate_lists_destroy(struct index_candidate_lists *lists)
{
    free(lists->entries);
    free(lists->sizes);
    free(lists->locks);
}

static void lock(atomic_uchar *byte)
{
    while (atomic_exchange_explicit(byte, 1, memory_order_acquire))
        sched_yield();
}

/* Two sorted lists, each with UINT64_MAX behind its last entry, into one; an entry in both is taken
 * once. From which list the next one comes is a coin's toss, so there is no branch on it. */
static uint32_t merge(const uint64_t *a, const uint64_t *b, uint64_t *out, uint32_t capacity)
{
    uint32_t size = 0, i = 0, j = 0;

    for (; size < capacity; size++) {
        uint64_t x = a[i], y = b[j], least = x < y ? x : y;
        i += x <= y;
        j += y <= x;
        if (least == UINT64_MAX)
            break;
        out[size] = least;
    }
    return size;
}

void index_candidate_lists_prefetch(const struct index_candidate_lists *lists, uint32_t row)
{
    const uint64_t *entries = lists->entries + (size_t)row * lists->capacity;

    __builtin_prefetch(&lists->locks[row], 1);
    __builtin_prefetch(&lists->sizes[row], 1);
    for (uint32_t i = 0; i < lists->capacity; i += 8)
        __builtin_prefetch(entries + i, 1);
}

void index_candidate_lists_merge(struct index_candidate_lists *lists, uint32_t row,
                                 uint64_t *sorted, uint32_t count)
{
    uint64_t former[CAPACITY_MAX + 1];
    uint64_t *entries = lists->entries + (size_t)row * lists->capacity;
    uint32_t size;

    sorted[count] = UINT64_MAX;
    lock(&lists->locks[row]);
    size = lists->sizes[row];
    memcpy(former, entries, size * sizeof(uint64_t));
    former[size] = UINT64_MAX;
    lists->sizes[row] = merge(former, sorted, entries, lists->capacity);
    atomic_store_explicit(&lists->locks[row], 0, memory_order_release);
}
