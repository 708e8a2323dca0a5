/* Bump allocation from blocks that are freed together. Not thread-safe; the used size may be read
 * by other threads. Out of memory aborts: the quota is enforced by whoever owns the arena
 * (arena_limit). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>
#include <stdint.h>

struct arena_block;

struct arena {
    struct arena_block *blocks; /* newest first */
    uint8_t *cursor;            /* next free byte of the newest block */
    uint8_t *end;               /* end of the newest block */
    size_t used_bytes;          /* handed out, alignment included */
    size_t reserved_bytes;      /* taken from malloc */
    size_t limit_bytes;         /* arena_alloc returns NULL past this; SIZE_MAX: no limit */
};

/** In place; no allocation until first use. `limit_bytes` 0 means no limit. */
void arena_create(struct arena *arena, size_t limit_bytes);

/** Frees every block. The arena may be created again. */
void arena_destroy(struct arena *arena);

/** Forgets what was allocated but keeps the newest block, for reuse in a loop. */
void arena_reset(struct arena *arena);

/** `size_bytes` of uninitialised memory at a power-of-two `alignment` (at most 4096). NULL only
 * past the limit. */
void *arena_alloc(struct arena *arena, size_t size_bytes, size_t alignment);

/** Zeroed array of `count` items. NULL past the limit or when the product overflows. */
void *arena_calloc(struct arena *arena, size_t count, size_t size_bytes);

/** Copy of bytes with a terminating zero after them. */
char *arena_copy(struct arena *arena, const void *bytes, size_t size_bytes);

#endif
