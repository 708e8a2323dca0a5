/* /openapi.json, made from the route table so that the two cannot disagree. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "indexer/http/server.h"

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
    append_method(out, route->method);
    buffer_append_text(out, ":{");
    append_parameters(out, route->pattern);
    if (strcmp(route->method, "GET") != 0 && strcmp(route->method, "DELETE") != 0)
        buffer_append_text(out, "\"requestBody\":{\"content\":{\"application/json\":{\"schema\":"
                                "{\"type\":\"object\"}}}},");
    if (!route->not_offered)
        buffer_append_text(out, "\"responses\":{\"200\":{\"description\":\"the answer\"},"
                                "\"default\":{\"description\":\"the error envelope\"}}}");
    else
        buffer_append_text(out, "\"responses\":{\"501\":{\"description\":\"not offered\"}}}");
}

/* All methods of a path stand together, whoever registered them. */
void http_handle_openapi(struct http_request *request)
{
    const struct http_server *server = request->server;
    struct buffer *out = &request->reply;
    bool first = true;

    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    buffer_append_text(out, "{\"openapi\":\"3.0.3\",\"info\":{\"title\":\"windrow\","
                            "\"version\":\"1\",\"description\":\"The query side of Qdrant's REST "
                            "API over windows of a Kafka stream\"},\"paths\":{");
    for (size_t i = 1; i < server->route_count; i++) {
        const char *pattern = server->routes[i].route->pattern;
        size_t same = 1;
        while (strcmp(server->routes[same].route->pattern, pattern) != 0)
            same++;
        if (same < i)
            continue; /* listed with the first route of this path */
        buffer_append_text(out, first ? "" : ",");
        first = false;
        append_path(out, pattern);
        buffer_append_text(out, ":{");
        for (; same < server->route_count; same++) {
            if (strcmp(server->routes[same].route->pattern, pattern) != 0)
                continue;
            buffer_append_text(out, same > i ? "," : "");
            append_operation(out, server->routes[same].route);
        }
        buffer_append_byte(out, '}');
    }
    buffer_append_text(out, "}}");
}
