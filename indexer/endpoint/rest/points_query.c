/* points/query and points/query/batch, and what the older calls make of them. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/arrow.h"
#include "indexer/endpoint/rest/render.h"
#include "indexer/endpoint/rest/search_form.h"

/* {"points": [...]}, or the older calls' [...]. */
static int render_points(struct http_request *request, const struct query_result *result, bool bare,
                         const struct parse_selector *selector, struct error *error)
{
    struct buffer *out = &request->reply;
    int code;

    if (!bare)
        buffer_append_text(out, "{\"points\":");
    code = render_hits(request, result, true, selector, out, error);
    if (!bare)
        buffer_append_byte(out, '}');
    return code;
}

void search_answer(struct http_request *request, search_rewrite rewrite)
{
    const struct config_collection *collection;
    struct search_form form = {0};
    struct query_view *view = NULL;
    struct query_result result = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0 && rewrite)
        body = rewrite(&request->arena, &body);
    if (code == 0)
        code = search_form_parse(request, view, &body, collection, &extras, &form, &error);
    if (code == 0)
        code = search_form_run(request, view, &form, &result, &error);
    if (code == 0 && arrow_wanted(request)) {
        code = arrow_reply(request, view, &result, true, &form.selector, NULL, 0, &error);
    } else if (code == 0) {
        http_reply_begin(request);
        code = render_points(request, &result, rewrite != NULL, &form.selector, &error);
        if (code == 0)
            http_reply_end(request, render_windrow(request, view, &result));
    }
    if (code != 0)
        http_reply_from_error(request, &error);
    query_view_close(view);
}

/* `windrow` stands at the top of a batch and applies to all of its searches: one view, one instant.
 */
static int run_batch(struct http_request *request, struct query_view *view,
                     const struct config_collection *collection, const struct doc *searches,
                     search_rewrite rewrite, const struct parse_extras *extras,
                     struct query_result *last, struct error *error)
{
    const uint32_t count = searches->count;
    struct search_form *forms =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*forms)));
    struct query_result *results =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*results)));

    for (uint32_t i = 0; i < count; i++) {
        struct doc body = searches->items[i];
        if (rewrite)
            body = rewrite(&request->arena, &body);
        if (search_form_parse(request, view, &body, collection, extras, &forms[i], error) != 0)
            return error->code;
    }
    if (search_forms_run(request, view, forms, count, results, error) != 0)
        return error->code;
    http_reply_begin(request);
    buffer_append_byte(&request->reply, '[');
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&request->reply, ',');
        if (render_points(request, &results[i], rewrite != NULL, &forms[i].selector, error) != 0)
            return error->code;
    }
    buffer_append_byte(&request->reply, ']');
    if (count > 0)
        *last = results[count - 1];
    return 0;
}

void search_answer_batch(struct http_request *request, search_rewrite rewrite)
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
        if (searches->count > QUERY_SEARCHES_MAX)
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.searches: expected an array of at most "
                             "%d searches",
                             QUERY_SEARCHES_MAX);
        else
            code = run_batch(request, view, collection, searches, rewrite, &extras, &last, &error);
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &last));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

void rest_handle_query(struct http_request *request)
{
    search_answer(request, NULL);
}

void rest_handle_query_batch(struct http_request *request)
{
    search_answer_batch(request, NULL);
}
