/* Any bytes: no crash, memory in proportion, and what is accepted survives being written. */
#include <stdlib.h>

#include "base/doc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct buffer json = {0};
    struct buffer wire = {0};
    struct error error;
    struct doc doc, again, packed;

    arena_create(&arena, 0);
    if (doc_parse_json(&arena, (const char *)data, size, NULL, &doc, &error) == 0) {
        doc_write_json(&json, &doc);
        doc_write_msgpack(&wire, &doc);
        if (doc_parse_json(&arena, (const char *)json.data, json.size, NULL, &again, &error) != 0 ||
            doc_parse_msgpack(&arena, wire.data, wire.size, NULL, &packed, &error) != 0 ||
            !doc_equal(&doc, &again) || !doc_equal(&doc, &packed))
            abort();
    }
    buffer_destroy(&wire);
    buffer_destroy(&json);
    arena_destroy(&arena);
    return 0;
}
