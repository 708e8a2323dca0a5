/* facet: how many rows have each value of a payload field. */
#include "indexer/endpoint/rest/parse.h"
#include "indexer/endpoint/rest/render.h"

enum { LIMIT_DEFAULT = 10 };

static void render(struct http_request *request, const struct query_facet_value *values,
                   size_t count)
{
    struct buffer *out = &request->reply;

    http_reply_begin(request);
    buffer_append_text(out, "{\"hits\":[");
    for (size_t i = 0; i < count; i++) {
        buffer_append_text(out, i > 0 ? ",{\"value\":" : "{\"value\":");
        doc_write_json(out, &values[i].value);
        buffer_append_format(out, ",\"count\":%llu}", (unsigned long long)values[i].count);
    }
    buffer_append_text(out, "]}");
}

static int parse_key(struct http_request *request, const struct doc *body, const char **key,
                     struct error *error)
{
    const struct doc *doc = doc_get(body, "key");

    if (parse_path(doc, "$.key", error) != 0)
        return error->code;
    if (doc->string[0] == '@')
        return error_set(error, ERROR_UNSUPPORTED, "windrow does not facet virtual keys");
    *key = arena_copy(&request->arena, doc->string, doc->count);
    return 0;
}

void rest_handle_facet(struct http_request *request)
{
    struct query_facet_value *values = NULL;
    size_t count = 0;
    const char *key = NULL;
    const struct config_collection *collection;
    const struct query_filter *filter = NULL;
    struct query_view *view = NULL;
    struct parse_extras extras;
    struct error error = {0};
    uint32_t limit = 0;
    struct doc body;
    int code = parse_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_key(request, &body, &key, &error);
    if (code == 0)
        code = parse_limit(&body, LIMIT_DEFAULT, &limit, &error);
    if (code == 0)
        code = parse_filter(request, &body, &filter, &error);
    if (code == 0)
        code = query_facet(view, key, filter, &request->arena, &values, &count, &error);
    if (code == 0) {
        render(request, values, count < limit ? count : limit);
        http_reply_end(request, render_windrow(request, view, NULL));
    } else {
        http_reply_from_error(request, &error);
    }
    query_view_close(view);
}
