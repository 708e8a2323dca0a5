/* Nearest neighbours: points/query, points/query/batch and the older points/search. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/rest/render.h"
#include "indexer/rest/search_form.h"

static int run_one(struct http_request *request, struct query_view *view, const struct doc *body,
                   const struct config_collection *collection, const struct parse_extras *extras,
                   struct query_result *result, struct parse_selector *selector,
                   struct error *error)
{
    struct search_form form;

    if (search_form_parse(request, view, body, collection, extras, &form, error) != 0)
        return error->code;
    *selector = form.selector;
    return search_form_run(request, view, &form, result, error);
}

void rest_handle_query(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_result result = {0};
    struct parse_selector selector;
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = run_one(request, view, &body, collection, &extras, &result, &selector, &error);
    if (code == 0) {
        http_reply_begin(request);
        buffer_append_text(&request->reply, "{\"points\":");
        code = render_hits(request, &result, true, &selector, &request->reply, &error);
        buffer_append_byte(&request->reply, '}');
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &result));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

/* `windrow` stands at the top of a batch and applies to all of its searches: one view, one instant.
 */
static int run_batch(struct http_request *request, struct query_view *view,
                     const struct config_collection *collection, const struct doc *searches,
                     const struct parse_extras *extras, struct query_result *last,
                     struct error *error)
{
    const uint32_t count = searches->count;
    struct search_form *forms =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*forms)));
    struct query_result *results =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*results)));

    for (uint32_t i = 0; i < count; i++)
        if (search_form_parse(request, view, &searches->items[i], collection, extras, &forms[i],
                              error) != 0)
            return error->code;
    if (search_forms_run(request, view, forms, count, results, error) != 0)
        return error->code;
    buffer_append_byte(&request->reply, '[');
    for (uint32_t i = 0; i < count; i++) {
        buffer_append_text(&request->reply, i > 0 ? ",{\"points\":" : "{\"points\":");
        if (render_hits(request, &results[i], true, &forms[i].selector, &request->reply, error) !=
            0)
            return error->code;
        buffer_append_byte(&request->reply, '}');
    }
    buffer_append_byte(&request->reply, ']');
    if (count > 0)
        *last = results[count - 1];
    return 0;
}

void rest_handle_query_batch(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_result last = {0};
    const struct doc *searches;
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0) {
        searches = doc_get(&body, "searches");
        if (searches->count > QUERY_SEARCHES_MAX) {
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.searches: expected an array of at most "
                             "%d searches",
                             QUERY_SEARCHES_MAX);
        } else {
            http_reply_begin(request);
            code = run_batch(request, view, collection, searches, &extras, &last, &error);
        }
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &last));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

/* The older form: "vector" in place of "query", and the points stand bare in the result. */
static int search_vector(struct http_request *request, const struct doc *body,
                         const struct config_collection *collection, struct search_form *form,
                         struct error *error)
{
    const struct doc *vector = doc_get(body, "vector");
    const struct doc *name = doc_get(vector, "name");

    if (name && name->count > 0)
        return error_set(error, ERROR_INVALID, "Wrong input: Not existing vector name error: %.*s",
                         (int)(name->count < 200 ? name->count : 200), name->string);
    if (doc_get(vector, "vector"))
        vector = doc_get(vector, "vector");
    return parse_vector(&request->arena, vector, "$.vector", collection->dim, &form->search.vector,
                        error);
}

void rest_handle_search(struct http_request *request)
{
    struct search_form form = {.search.arena = &request->arena};
    const struct config_collection *collection = NULL;
    struct query_view *view = NULL;
    struct query_result result = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    form.collection = collection;
    if (code == 0)
        code = search_form_common(request, &body, &extras, &form, &error);
    if (code == 0)
        code = search_vector(request, &body, collection, &form, &error);
    if (code == 0)
        code = search_form_run(request, view, &form, &result, &error);
    if (code == 0) {
        http_reply_begin(request);
        code = render_hits(request, &result, true, &form.selector, &request->reply, &error);
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &result));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}
