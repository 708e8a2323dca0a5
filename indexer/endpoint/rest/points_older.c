/* The older calls: points/search, points/recommend and points/discover, their batches and groups. Each
 * says what points/query is asked in other words, and gets the same answer; only the points stand bare
 * in the result. */
#include <string.h>

#include "indexer/endpoint/rest/search_form.h"

/* The body without some of its keys, with room for two others. */
static struct doc without(struct arena *arena, const struct doc *body, const char *const *names)
{
    struct doc map = {.type = DOC_MAP};
    struct doc *items = doc_items(arena, 2 * (body->count + 2));

    map.items = items;
    for (uint32_t i = 0; i < body->count; i++) {
        const char *const *name = names;
        while (*name && !doc_string_equals(&body->items[2 * i], *name))
            name++;
        if (*name)
            continue;
        items[2 * map.count] = body->items[2 * i];
        items[2 * map.count++ + 1] = body->items[2 * i + 1];
    }
    return map;
}

static void put_if_there(struct doc *map, const struct doc *body, const char *name)
{
    const struct doc *value = doc_get(body, name);

    if (value)
        doc_put(map, name, *value);
}

/* "vector" in place of "query": a list, {"": [...]}, or {"name": "NAME", "vector": [...]}. */
static struct doc search_as_query(struct arena *arena, const struct doc *body)
{
    static const char *const own[] = {"vector", NULL};
    struct doc query = without(arena, body, own);
    const struct doc *vector = doc_get(body, "vector");
    const struct doc *name = doc_get(vector, "name");
    struct doc nearest = doc_map(arena, 1);

    if (name)
        doc_put(&query, "using", *name);
    if (doc_get(vector, "vector"))
        vector = doc_get(vector, "vector");
    doc_put(&nearest, "nearest", *vector);
    doc_put(&query, "query", nearest);
    return query;
}

static struct doc recommend_as_query(struct arena *arena, const struct doc *body)
{
    static const char *const own[] = {"positive", "negative", "strategy", NULL};
    struct doc query = without(arena, body, own);
    struct doc form = doc_map(arena, 1), recommend = doc_map(arena, 3);

    for (int i = 0; own[i]; i++)
        put_if_there(&recommend, body, own[i]);
    doc_put(&form, "recommend", recommend);
    doc_put(&query, "query", form);
    return query;
}

/* Without a target the pairs alone say what is looked for. */
static struct doc discover_as_query(struct arena *arena, const struct doc *body)
{
    static const char *const own[] = {"target", "context", NULL};
    struct doc query = without(arena, body, own);
    struct doc form = doc_map(arena, 1), discover = doc_map(arena, 2);
    const struct doc *context = doc_get(body, "context");

    for (int i = 0; own[i]; i++)
        put_if_there(&discover, body, own[i]);
    if (doc_get(body, "target"))
        doc_put(&form, "discover", discover);
    else
        doc_put(&form, "context", context ? *context : (struct doc){.type = DOC_ARRAY});
    doc_put(&query, "query", form);
    return query;
}

void rest_handle_search(struct http_request *request)
{
    search_answer(request, search_as_query);
}

void rest_handle_search_batch(struct http_request *request)
{
    search_answer_batch(request, search_as_query);
}

void rest_handle_search_groups(struct http_request *request)
{
    search_answer_groups(request, search_as_query);
}

void rest_handle_recommend(struct http_request *request)
{
    search_answer(request, recommend_as_query);
}

void rest_handle_recommend_batch(struct http_request *request)
{
    search_answer_batch(request, recommend_as_query);
}

void rest_handle_recommend_groups(struct http_request *request)
{
    search_answer_groups(request, recommend_as_query);
}

void rest_handle_discover(struct http_request *request)
{
    search_answer(request, discover_as_query);
}

void rest_handle_discover_batch(struct http_request *request)
{
    search_answer_batch(request, discover_as_query);
}
