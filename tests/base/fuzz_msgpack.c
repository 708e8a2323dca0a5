/* Any bytes: no crash, memory in proportion, and what is accepted is written in a form that is
 * stable from then on. */
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buffer first = {0};
    struct buffer second = {0};
    struct error error;
    struct doc doc, again;

    arena_create(&arena, 0);
    if (doc_parse_msgpack(&arena, data, size, NULL, &doc, &error) == 0) {
        doc_write_msgpack(&first, &doc);
        if (first.size > size ||
            doc_parse_msgpack(&arena, first.data, first.size, NULL, &again, &error) != 0)
            abort();
        /* Bytes, not doc_equal: a NaN equals nothing. */
        doc_write_msgpack(&second, &again);
        if (first.size != second.size || memcmp(first.data, second.data, first.size) != 0)
            abort();
    }
    buffer_destroy(&second);
    buffer_destroy(&first);
    arena_destroy(&arena);
    return 0;
}
