/* memory: allocation for the control plane, which cannot go on without it: running out of memory
 * ends the process. The data plane takes memory from bounded arenas and quotas instead and pushes
 * back (ERROR_MEMORY). */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <stddef.h>
#include <stdlib.h>

/** What another allocator returned (strdup, arena_calloc, aligned_alloc): aborts when it is NULL. */
static inline void *memory_checked(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

/** `count` zeroed items, and room for one when count is 0. Freed with free(). */
static inline void *memory_new(size_t count, size_t item_bytes)
{
    return memory_checked(calloc(count ? count : 1, item_bytes));
}

/** Moves to room for `count` items, which must not be 0; new ones are not zeroed. */
static inline void *memory_resize(void *memory, size_t count, size_t item_bytes)
{
    return memory_checked(reallocarray(memory, count, item_bytes));
}

#endif
