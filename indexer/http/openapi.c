/* /openapi.json, made from the route table so that the two cannot disagree. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "indexer/http/request.h"

/* The first "{}" of a pattern stands for a collection, the second for a field. */
static const char *const parameters[] = {"collection", "field"};

static size_t hole_count(const char *pattern)
{
    size_t count = 0;

    for (const char *hole = pattern; (hole = strstr(hole, "{}")) != NULL; hole += 2)
        count++;
    assert(count <= sizeof(parameters) / sizeof(parameters[0]));
    return count;
}

static void append_path(struct buffer *out, const char *pattern)
{
    buffer_append_byte(out, '"');
    for (size_t i = 0; i < hole_count(pattern); i++) {
        const char *hole = strstr(pattern, "{}");
        buffer_append(out, pattern, (size_t)(hole - pattern));
        buffer_append_format(out, "{%s}", parameters[i]);
        pattern = hole + 2;
    }
    buffer_append_format(out, "%s\"", pattern);
}

static void append_parameters(struct buffer *out, const char *pattern)
{
    size_t count = hole_count(pattern);

    if (count == 0)
        return;
    buffer_append_text(out, "\"parameters\":[");
    for (size_t i = 0; i < count; i++)
        buffer_append_format(out,
                             "%s{\"name\":\"%s\",\"in\":\"path\",\"required\":true,"
                             "\"schema\":{\"type\":\"string\"}}",
                             i > 0 ? "," : "", parameters[i]);
    buffer_append_text(out, "],");
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
    bool available =
        route->handle != http_handle_not_available && route->handle != http_handle_partial_update;

    append_method(out, route->method);
    buffer_append_text(out, ":{");
    append_parameters(out, route->pattern);
    if (strcmp(route->method, "GET") != 0 && strcmp(route->method, "DELETE") != 0)
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
