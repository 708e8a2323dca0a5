/* build_tools: large arrays, and random numbers that are the same everywhere for a seed.
 *
 * Sizes are checked by the caller (32-bit counts times small strides); running out of memory aborts,
 * as everywhere outside the data plane. */
#ifndef INDEXER_INDEX_BUILD_TOOLS_H
#define INDEXER_INDEX_BUILD_TOOLS_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/vector_row.h"

/* Aligned to a cache line; room for one item even when count is 0. */
static inline void *index_allocate(size_t count, size_t item_bytes)
{
    size_t bytes;

    if (__builtin_mul_overflow(count ? count : 1, item_bytes, &bytes) || bytes > SIZE_MAX - 63)
        abort();
    return memory_checked(aligned_alloc(64, (bytes + 63) / 64 * 64));
}

static inline void *index_allocate_zeroed(size_t count, size_t item_bytes)
{
    void *memory = index_allocate(count, item_bytes);

    memset(memory, 0, (count ? count : 1) * item_bytes);
    return memory;
}

/** The row of a struct index_effort_sample; what searches of a sample take vectors from. */
struct vector_row index_sample_row(void *sample, uint32_t row, struct error *error);

/** splitmix64 step. */
static inline uint64_t index_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
