#include "base/doc_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { INITIAL_ITEMS = 1024 };

void doc_scratch_create(struct doc_scratch *scratch, const struct arena *arena)
{
    size_t left =
        arena->limit_bytes > arena->used_bytes ? arena->limit_bytes - arena->used_bytes : 0;

    /* What does not fit the arena in the end need not be gathered either. */
    *scratch = (struct doc_scratch){.limit = left / sizeof(struct doc)};
}

void doc_scratch_destroy(struct doc_scratch *scratch)
{
    free(scratch->items);
}

bool doc_scratch_grow(struct doc_scratch *scratch)
{
    size_t capacity = scratch->capacity ? scratch->capacity * 2 : INITIAL_ITEMS;

    if (scratch->count >= scratch->limit)
        return false;
    if (capacity > scratch->limit)
        capacity = scratch->limit;
    scratch->items = memory_resize(scratch->items, capacity, sizeof(struct doc));
    scratch->capacity = capacity;
    return true;
}

bool doc_scratch_close(struct doc_scratch *scratch, const struct doc_frame *frame,
                       struct arena *arena, struct doc *out)
{
    size_t count = scratch->count - frame->base;
    struct doc *items = NULL;

    if (count) {
        items = arena_alloc(arena, count * sizeof(*items), _Alignof(struct doc));
        if (!items)
            return false;
        memcpy(items, scratch->items + frame->base, count * sizeof(*items));
    }
    scratch->count = frame->base;
    out->type = frame->map ? DOC_MAP : DOC_ARRAY;
    out->count = (uint32_t)(frame->map ? count / 2 : count);
    out->items = items;
    return true;
}

/* `end` is where the frame's own items stop: at the base of the next inner frame. */
static size_t append_path(const struct doc_frame *frame, const struct doc_scratch *scratch,
                          size_t end, char *path, size_t used)
{
    size_t count;

    if (!frame)
        return used + (size_t)snprintf(path + used, DOC_PATH_BYTES - used, "$");
    used = append_path(frame->parent, scratch, frame->base, path, used);
    if (used >= DOC_PATH_BYTES)
        return used;
    count = end - frame->base;
    if (!frame->map)
        used += (size_t)snprintf(path + used, DOC_PATH_BYTES - used, "[%zu]", count);
    else if (count % 2 == 1) {
        const struct doc *key = &scratch->items[end - 1];
        used += (size_t)snprintf(path + used, DOC_PATH_BYTES - used, ".%.*s",
                                 (int)(key->count < 40 ? key->count : 40), key->string);
    }
    return used;
}

void doc_frame_path(const struct doc_frame *frame, const struct doc_scratch *scratch,
                    char path[DOC_PATH_BYTES])
{
    (void)append_path(frame, scratch, scratch->count, path, 0);
}
