/* Where parsers gather the items of arrays and maps that are still open: a stack of documents that
 * grows with what was really read, so that a hostile count costs nothing. A closed array's items
 * are copied once into the arena. Private to doc_*.c. */
#ifndef BASE_DOC_SCRATCH_H
#define BASE_DOC_SCRATCH_H

#include "base/doc.h"

struct doc_scratch {
    struct doc *items;
    size_t count;
    size_t capacity;
    size_t limit; /* items that may be open at once */
};

/* One open array or map; the frames of the parsers form a chain, innermost first. */
struct doc_frame {
    const struct doc_frame *parent;
    size_t base; /* its first item in the scratch stack */
    bool map;
};

void doc_scratch_create(struct doc_scratch *scratch, const struct arena *arena);
void doc_scratch_destroy(struct doc_scratch *scratch);

/* Makes room for one more. False past the limit. */
bool doc_scratch_grow(struct doc_scratch *scratch);

static inline struct doc *doc_scratch_push(struct doc_scratch *scratch)
{
    if (__builtin_expect(scratch->count == scratch->capacity, 0) && !doc_scratch_grow(scratch))
        return NULL;
    return &scratch->items[scratch->count++];
}

/* Pops what lies above `frame->base` into the arena, as the items of `out`. False past the arena's
 * limit. */
bool doc_scratch_close(struct doc_scratch *scratch, const struct doc_frame *frame,
                       struct arena *arena, struct doc *out);

enum { DOC_PATH_BYTES = 256 };

/* "$.points[3].vector" for the value that is being read; long keys and paths are cut. */
void doc_frame_path(const struct doc_frame *frame, const struct doc_scratch *scratch,
                    char path[DOC_PATH_BYTES]);

#endif
