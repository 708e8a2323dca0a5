/* /openapi.json, made from the route table so that the two cannot disagree. */
#include <ctype.h>
#include <string.h>

#include "indexer/http/request.h"

/* "{}" in a pattern becomes "{collection}": it is the only kind of path parameter there is. */
static void append_path(struct buffer *out, const char *pattern)
{
    const char *hole = strstr(pattern, "{}");

    if (!hole) {
        doc_write_json_string(out, pattern, strlen(pattern));
        return;
    }
    buffer_append_format(out, "\"%.*s{collection}%s\"", (int)(hole - pattern), pattern, hole + 2);
}

static void append_method(struct buffer *out, const char *method)
{
    buffer_append_byte(out, '"');
    for (const char *c = method; *c; c++)
        buffer_append_byte(out, (uint8_t)tolower((unsigned char)*c));
    buffer_append_byte(out, '"');
}

static void append_operation(struct buffer *out, const struct http_route *route)
{
    bool available = route->handle != http_handle_not_available;

    append_method(out, route->method);
    buffer_append_text(out, ":{");
    if (strstr(route->pattern, "{}"))
        buffer_append_text(out, "\"parameters\":[{\"name\":\"collection\",\"in\":\"path\","
                                "\"required\":true,\"schema\":{\"type\":\"string\"}}],");
    if (strcmp(route->method, "GET") != 0)
        buffer_append_text(out, "\"requestBody\":{\"content\":{\"application/json\":{\"schema\":"
                                "{\"type\":\"object\"}}}},");
    if (available)
        buffer_append_text(out, "\"responses\":{\"200\":{\"description\":\"the answer\"},"
                                "\"default\":{\"description\":\"the error envelope\"}}}");
    else
        buffer_append_text(out, "\"responses\":{\"501\":{\"description\":\"not offered\"}}}");
}

void http_handle_openapi(struct http_request *request)
{
    size_t count;
    const struct http_route *routes = http_routes(&count);
    struct buffer *out = &request->reply;

    request->status = 200;
    request->content_type = "application/json";
    buffer_append_text(out, "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"windrow\","
                            "\"version\":\"1\",\"description\":\"The query side of Qdrant's REST "
                            "API over windows of a Kafka stream\"},\"paths\":{");
    for (size_t i = 0; i < count; i++) {
        bool same_path = i > 0 && strcmp(routes[i].pattern, routes[i - 1].pattern) == 0;
        if (same_path) {
            buffer_append_byte(out, ',');
        } else {
            if (i > 0)
                buffer_append_text(out, "},");
            append_path(out, routes[i].pattern);
            buffer_append_text(out, ":{");
        }
        append_operation(out, &routes[i]);
    }
    buffer_append_text(out, "}}}");
}
