#include <assert.h>
#include <sched.h>

#include "indexer/index/memory.h"
#include "indexer/index/pools.h"

enum { CAPACITY_MAX = 256 };

void index_pools_create(struct index_pools *pools, uint32_t count, uint32_t capacity)
{
    assert(capacity > 0 && capacity <= CAPACITY_MAX);
    pools->count = count;
    pools->capacity = capacity;
    pools->entries = index_allocate((size_t)count * capacity, sizeof(uint64_t));
    pools->sizes = index_allocate_zeroed(count, sizeof(uint32_t));
    pools->locks = index_allocate_zeroed(count, sizeof(atomic_uchar));
}

void index_pools_destroy(struct index_pools *pools)
{
    free(pools->entries);
    free(pools->sizes);
    free(pools->locks);
}

static void lock(atomic_uchar *byte)
{
    while (atomic_exchange_explicit(byte, 1, memory_order_acquire))
        sched_yield();
}

/* Two sorted lists into one; an entry in both is taken once. */
static uint32_t merge(const uint64_t *a, uint32_t a_count, const uint64_t *b, uint32_t b_count,
                      uint64_t *out, uint32_t capacity)
{
    uint32_t i = 0, j = 0, size = 0;

    while (size < capacity && (i < a_count || j < b_count)) {
        uint64_t entry = j == b_count || (i < a_count && a[i] <= b[j]) ? a[i] : b[j];
        i += i < a_count && a[i] == entry;
        j += j < b_count && b[j] == entry;
        out[size++] = entry;
    }
    return size;
}

void index_pools_merge(struct index_pools *pools, uint32_t row, const uint64_t *sorted,
                       uint32_t count)
{
    uint64_t merged[CAPACITY_MAX];
    uint64_t *entries = pools->entries + (size_t)row * pools->capacity;

    lock(&pools->locks[row]);
    pools->sizes[row] = merge(entries, pools->sizes[row], sorted, count, merged, pools->capacity);
    memcpy(entries, merged, pools->sizes[row] * sizeof(uint64_t));
    atomic_store_explicit(&pools->locks[row], 0, memory_order_release);
}
