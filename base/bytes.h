/* Byte strings: their order (keys of points, texts of payloads), and where the next one begins. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** Below, at or above zero, as memcmp; of two strings with one beginning the shorter one is first.
 * A string of no bytes may be NULL. */
static inline int bytes_compare(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    size_t shorter = a_bytes < b_bytes ? a_bytes : b_bytes;
    int order = shorter > 0 ? memcmp(a, b, shorter) : 0;

    return order != 0 ? order : (a_bytes > b_bytes) - (a_bytes < b_bytes);
}

static inline bool bytes_equal(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    return a_bytes == b_bytes && (a_bytes == 0 || memcmp(a, b, a_bytes) == 0);
}

/** The next multiple of `alignment`, a power of two, from `size` on. */
static inline uint64_t bytes_align(uint64_t size, uint64_t alignment)
{
    return (size + alignment - 1) & ~(alignment - 1);
}

#endif
