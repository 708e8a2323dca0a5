#include "indexer/endpoint/embedder/answer.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "base/memory.h"
#include "base/text.h"

enum { REASON_MAX_BYTES = 200 };

void answer_write_request(struct cached *const *texts, size_t count, struct buffer *body)
{
    const struct cached_key *first = &texts[0]->key;

    buffer_append_byte(body, '{');
    if (first->model_bytes > 0) {
        buffer_append_text(body, "\"model\":");
        doc_write_json_string(body, first->model, first->model_bytes);
        buffer_append_byte(body, ',');
    }
    buffer_append_text(body, "\"input\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(body, ',');
        doc_write_json_string(body, texts[i]->key.text, texts[i]->key.text_bytes);
    }
    buffer_append_text(body, "]}");
}

static int read_vector(const struct doc *embedding, uint64_t index, uint32_t dim, float *vector,
                       struct error *error)
{
    if (!embedding || embedding->type != DOC_ARRAY)
        return error_set(error, ERROR_UPSTREAM, "sent no array of numbers for text %llu",
                         (unsigned long long)index);
    if (embedding->count != dim)
        return error_set(error, ERROR_UPSTREAM,
                         "sent a vector of %u numbers; the collection has vectors of %u",
                         embedding->count, dim);
    for (uint32_t i = 0; i < dim; i++) {
        double number;
        if (!doc_as_double(&embedding->items[i], &number) || !isfinite((float)number))
            return error_set(error, ERROR_UPSTREAM,
                             "sent a vector whose number %u is no finite float32", i);
        vector[i] = (float)number;
    }
    return 0;
}

/* An item without an index stands for the text of its place. */
static int read_item(const struct doc *item, uint64_t place, uint32_t dim, size_t count,
                     float **vectors, struct error *error)
{
    const struct doc *index_doc = doc_get(item, "index");
    uint64_t index = place;

    if ((index_doc && !doc_as_u64(index_doc, &index)) || index >= count || vectors[index])
        return error_set(error, ERROR_UPSTREAM,
                         "sent an `index` that stands for no text, or twice for one");
    vectors[index] = memory_new(dim, sizeof(float));
    return read_vector(doc_get(item, "embedding"), index, dim, vectors[index], error);
}

int answer_read(const void *bytes, size_t size_bytes, uint32_t dim, size_t count, float **vectors,
                struct error *error)
{
    struct error inner = {0};
    const struct doc *data;
    struct arena arena;
    struct doc answer;
    int code = 0;

    arena_create(&arena, 0);
    memset(vectors, 0, count * sizeof(*vectors));
    if (doc_parse_json(&arena, bytes, size_bytes, NULL, &answer, &inner) != 0)
        code = error_set(error, ERROR_UPSTREAM, "sent no JSON: %.200s", inner.text);
    data = code == 0 ? doc_get(&answer, "data") : NULL;
    if (code == 0 && (!data || data->type != DOC_ARRAY))
        code = error_set(error, ERROR_UPSTREAM, "sent JSON without the array `data`");
    else if (code == 0 && data->count != count)
        code =
            error_set(error, ERROR_UPSTREAM, "sent %u vectors for %zu texts", data->count, count);
    for (uint32_t i = 0; code == 0 && i < count; i++)
        code = read_item(&data->items[i], i, dim, count, vectors, error);
    arena_destroy(&arena);
    for (size_t i = 0; code != 0 && i < count; i++) {
        free(vectors[i]);
        vectors[i] = NULL;
    }
    return code;
}

void answer_read_reason(const void *bytes, size_t size_bytes, struct buffer *reason)
{
    static const char *const keys[] = {"message", "error", "detail"};
    const struct doc *found = NULL;
    struct arena arena;
    struct doc answer = doc_null();
    size_t length;

    arena_create(&arena, 0);
    if (doc_parse_json(&arena, bytes, size_bytes, NULL, &answer, ERROR_IGNORED) == 0)
        found = doc_get(&answer, "error");
    if (!found || found->type != DOC_MAP)
        found = &answer;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const struct doc *text = doc_get(found, keys[i]);
        if (!text || text->type != DOC_STRING)
            continue;
        bytes = text->string;
        size_bytes = text->count;
        break;
    }
    length = size_bytes < REASON_MAX_BYTES ? size_bytes : REASON_MAX_BYTES;
    buffer_append(reason, bytes, text_utf8_valid(bytes, length));
    arena_destroy(&arena);
}
