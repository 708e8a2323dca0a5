#include "indexer/endpoint/rest/words.h"

#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/embedder/embedder.h"
#include "indexer/endpoint/rest/handlers.h"

/* The words of a body, in its order. */
struct words {
    struct arena *arena;
    const struct config_collection *collection;
    struct embedder_text *texts;
    struct doc **places;
    uint32_t count, room;
    struct error *error; /* its code tells the outcome */
};

/* Keys under which a vector stands, or what has one. */
static bool leads_to_vectors(const struct doc *key)
{
    static const char *const keys[] = {
        "query",   "nearest",   "prefetch", "searches",           "positive", "negative", "target",
        "context", "recommend", "discover", "relevance_feedback", "feedback", "example"};

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (doc_string_equals(key, keys[i]))
            return true;
    return false;
}

static void grow(struct words *words)
{
    uint32_t room = words->room ? 2 * words->room : 8;
    struct embedder_text *texts = memory_checked(arena_calloc(words->arena, room, sizeof(*texts)));
    struct doc **places = memory_checked(arena_calloc(words->arena, room, sizeof(struct doc *)));

    if (words->count > 0) {
        memcpy(texts, words->texts, words->count * sizeof(*texts));
        memcpy(places, words->places, words->count * sizeof(struct doc *));
    }
    words->texts = texts;
    words->places = places;
    words->room = room;
}

/* Clients send the name of a model always: "" is none. */
static void check_model(struct words *words, const struct doc *model)
{
    const char *own = words->collection->embedder_model;

    if (!model || model->count == 0 || !own || doc_string_equals(model, own))
        return;
    (void)error_set(words->error, ERROR_INVALID,
                    "Wrong input: the model of collection `%s` is %.100s, not %.*s: vectors of "
                    "different models cannot be compared",
                    words->collection->name, own, (int)(model->count < 100 ? model->count : 100),
                    model->string);
}

static void add(struct words *words, struct doc *place, const struct doc *text)
{
    const struct doc *model = doc_get(place, "model");

    if (text->count == 0 || text->count > EMBEDDER_TEXT_MAX_BYTES) {
        (void)error_set(words->error, ERROR_INVALID,
                        "Wrong input: expected a `text` of 1 to %d bytes, found %u",
                        EMBEDDER_TEXT_MAX_BYTES, text->count);
        return;
    }
    if (place->count > 1 + (uint32_t)(model != NULL)) {
        (void)error_set(words->error, ERROR_INVALID,
                        "Wrong input: expected only `model` beside `text`; other parts of a query "
                        "stand beside {\"nearest\": {\"text\": ...}}");
        return;
    }
    check_model(words, model);
    if (words->count == words->room)
        grow(words);
    words->places[words->count] = place;
    words->texts[words->count++] = (struct embedder_text){.text = text->string,
                                                          .text_bytes = text->count,
                                                          .model = model ? model->string : NULL,
                                                          .model_bytes = model ? model->count : 0};
}

/* The schema has bound the depth. A list may have ids and vectors beside words. */
static void gather(struct words *words, struct doc *doc)
{
    struct doc *items = (struct doc *)doc->items;

    if (doc->type == DOC_ARRAY) {
        for (uint32_t i = 0; i < doc->count; i++)
            gather(words, &items[i]);
    } else if (doc->type == DOC_MAP) {
        const struct doc *text = doc_get(doc, "text");
        if (text && text->type == DOC_STRING)
            add(words, doc, text);
        for (uint32_t i = 0; !text && i < doc->count; i++)
            if (leads_to_vectors(&items[2 * i]))
                gather(words, &items[2 * i + 1]);
    }
}

static int fetch(struct http_request *request, const struct words *words)
{
    struct embedder *embedder = rest_of(request)->embedder;
    int code;

    if (!words->collection->embedder_url || !embedder)
        return error_set(words->error, ERROR_INVALID,
                         "Wrong input: collection `%s` has no embedder, so that a query needs a "
                         "vector (collections.%s.embedder.url names one)",
                         words->collection->name, words->collection->name);
    if (embedder_find(embedder, words->collection, words->texts, words->count, words->arena) == 0)
        return 0;
    if (!http_request_wait_begin(request))
        return error_set(words->error, ERROR_BUSY, "Too many requests wait for embedders");
    code = embedder_fetch(embedder, words->collection, words->texts, words->count, words->arena,
                          &request->stop, words->error);
    http_request_wait_end(request);
    return code;
}

int words_to_vectors(struct http_request *request, struct doc *body,
                     const struct config_collection *collection, struct error *error)
{
    struct words words = {.arena = &request->arena, .collection = collection, .error = error};

    error->code = 0;
    gather(&words, body);
    if (error->code != 0 || words.count == 0 || fetch(request, &words) != 0)
        return error->code;
    for (uint32_t i = 0; i < words.count; i++)
        *words.places[i] = (struct doc){.type = DOC_FLOATS,
                                        .count = collection->dim,
                                        .place = words.places[i]->place,
                                        .floats = words.texts[i].vector};
    return 0;
}
