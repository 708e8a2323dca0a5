#include "base/arena.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { BLOCK_MIN_BYTES = 16 * 1024, BLOCK_MAX_BYTES = 1024 * 1024, BLOCK_HEADER_BYTES = 64 };

struct arena_block {
    struct arena_block *next;
    size_t size_bytes; /* with this header */
};

static_assert(sizeof(struct arena_block) <= BLOCK_HEADER_BYTES, "header space");

void arena_create(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){.limit_bytes = limit_bytes ? limit_bytes : SIZE_MAX};
}

void arena_destroy(struct arena *arena)
{
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
    arena_create(arena, arena->limit_bytes);
}

static void use_block(struct arena *arena, struct arena_block *block)
{
    arena->cursor = (uint8_t *)block + BLOCK_HEADER_BYTES;
    arena->end = (uint8_t *)block + block->size_bytes;
}

void arena_reset(struct arena *arena)
{
    struct arena_block *kept = arena->blocks;

    if (!kept)
        return;
    for (struct arena_block *block = kept->next, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    kept->next = NULL;
    arena->used_bytes = 0;
    arena->reserved_bytes = kept->size_bytes;
    use_block(arena, kept);
}

/* Blocks double from 16 KiB to 1 MiB; a larger request gets a block of its own size. */
static void grow(struct arena *arena, size_t need_bytes)
{
    size_t size = arena->blocks ? arena->blocks->size_bytes * 2 : BLOCK_MIN_BYTES;
    struct arena_block *block;

    if (size > BLOCK_MAX_BYTES)
        size = BLOCK_MAX_BYTES;
    if (size < need_bytes + BLOCK_HEADER_BYTES)
        size = need_bytes + BLOCK_HEADER_BYTES;
    block = memory_checked(malloc(size));
    block->next = arena->blocks;
    block->size_bytes = size;
    arena->blocks = block;
    arena->reserved_bytes += size;
    use_block(arena, block);
}

void *arena_alloc(struct arena *arena, size_t size_bytes, size_t alignment)
{
    size_t pad;

    assert(alignment && (alignment & (alignment - 1)) == 0 && alignment <= 4096);
    if (size_bytes > arena->limit_bytes - arena->used_bytes ||
        arena->used_bytes > arena->limit_bytes)
        return NULL;
    pad = (size_t)(-(uintptr_t)arena->cursor) & (alignment - 1);
    if (!arena->cursor || pad + size_bytes > (size_t)(arena->end - arena->cursor)) {
        grow(arena, size_bytes + alignment);
        pad = (size_t)(-(uintptr_t)arena->cursor) & (alignment - 1);
    }
    arena->cursor += pad + size_bytes;
    arena->used_bytes += pad + size_bytes;
    return arena->cursor - size_bytes;
}

void *arena_calloc(struct arena *arena, size_t count, size_t size_bytes)
{
    size_t total;
    void *bytes;

    if (__builtin_mul_overflow(count, size_bytes, &total))
        return NULL;
    bytes = arena_alloc(arena, total, 16);
    return bytes ? memset(bytes, 0, total) : NULL;
}

char *arena_copy(struct arena *arena, const void *bytes, size_t size_bytes)
{
    char *copy = arena_alloc(arena, size_bytes + 1, 1);

    if (!copy)
        return NULL;
    memcpy(copy, bytes, size_bytes);
    copy[size_bytes] = '\0';
    return copy;
}
