/* /openapi.json (OpenAPI 3.1), made from the route table and the schemas that requests are checked
 * against, so that they cannot disagree. */
#include <assert.h>
#include <ctype.h>
#include <string.h>

#include "indexer/http/server.h"

/* The first "{}" of a pattern stands for a collection, the second for a field. */
static const char *const parameters[] = {"collection", "field"};

enum { SCHEMAS_MAX = 64 };

struct writer {
    const struct config *config;
    struct buffer *out;
    const struct http_shape *named[SCHEMAS_MAX]; /* those that components/schemas holds */
    size_t named_count;
};

static void append_string(struct buffer *out, const char *text)
{
    doc_write_json_string(out, text, strlen(text));
}

/* Schemas. */

static void note_named(struct writer *writer, const struct http_shape *shape)
{
    for (size_t i = 0; i < writer->named_count; i++)
        if (writer->named[i] == shape)
            return;
    assert(writer->named_count < SCHEMAS_MAX);
    writer->named[writer->named_count++] = shape;
}

static void append_values(struct buffer *out, const char *const *values, bool quoted)
{
    buffer_append_text(out, ",\"enum\":[");
    for (size_t i = 0; values[i]; i++)
        buffer_append_format(out, quoted ? "%s\"%s\"" : "%s%s", i > 0 ? "," : "", values[i]);
    buffer_append_byte(out, ']');
}

static void append_shape(struct writer *writer, const struct http_shape *shape);

/* A key that is always refused may be there as null only. */
static void append_property(struct writer *writer, const struct http_key *key)
{
    if (!key->refused) {
        append_shape(writer, key->shape);
        return;
    }
    buffer_append_text(writer->out, "{\"allOf\":[");
    if (key->shape)
        append_shape(writer, key->shape);
    else
        buffer_append_text(writer->out, "{\"type\":\"null\"}");
    buffer_append_text(writer->out, "],\"description\":");
    append_string(writer->out, key->refused);
    buffer_append_byte(writer->out, '}');
}

static void append_keys(struct writer *writer, const struct http_key *keys)
{
    struct buffer *out = writer->out;
    size_t required = 0;

    buffer_append_text(out, ",\"additionalProperties\":false,\"properties\":{");
    for (size_t i = 0; keys[i].name; i++) {
        buffer_append_text(out, i > 0 ? "," : "");
        append_string(out, keys[i].name);
        buffer_append_byte(out, ':');
        append_property(writer, &keys[i]);
    }
    buffer_append_byte(out, '}');
    for (; keys->name; keys++)
        if (keys->required)
            buffer_append_format(out, "%s\"%s\"", required++ > 0 ? "," : ",\"required\":[",
                                 keys->name);
    buffer_append_text(out, required > 0 ? "]" : "");
}

static void append_type(struct writer *writer, const struct http_shape *shape, enum http_type type,
                        const char *name)
{
    struct buffer *out = writer->out;

    buffer_append_format(out, "{\"type\":\"%s\"", name);
    if (shape->values && (type == HTTP_STRING || type == HTTP_BOOLEAN))
        append_values(out, shape->values, type == HTTP_STRING);
    if (type == HTTP_INTEGER && shape->has_minimum)
        buffer_append_format(out, ",\"minimum\":%lld", (long long)shape->minimum);
    if (type == HTTP_OBJECT && shape->keys)
        append_keys(writer, shape->keys);
    if (type == HTTP_ARRAY && shape->items) {
        buffer_append_text(out, ",\"items\":");
        append_shape(writer, shape->items);
    }
    buffer_append_byte(out, '}');
}

/* One schema, or a choice of one for each type. */
static void append_types(struct writer *writer, const struct http_shape *shape)
{
    static const char *const names[] = {"boolean", "integer", "number", "string",
                                        "array",   "object",  "null"};
    bool choice = (shape->types & (shape->types - 1)) != 0;
    bool first = true;

    if (shape->types == HTTP_ANY) {
        buffer_append_text(writer->out, "{}");
        return;
    }
    buffer_append_text(writer->out, choice ? "{\"anyOf\":[" : "");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if ((shape->types & (1U << i)) == 0)
            continue;
        buffer_append_text(writer->out, first ? "" : ",");
        first = false;
        append_type(writer, shape, (enum http_type)(1U << i), names[i]);
    }
    buffer_append_text(writer->out, choice ? "]}" : "");
}

static void append_shape(struct writer *writer, const struct http_shape *shape)
{
    if (!shape->name) {
        append_types(writer, shape);
        return;
    }
    note_named(writer, shape);
    buffer_append_format(writer->out, "{\"$ref\":\"#/components/schemas/%s\"}", shape->name);
}

/* Operations. */

static void append_path(struct buffer *out, const char *pattern)
{
    const char *hole;

    buffer_append_byte(out, '"');
    for (size_t i = 0; (hole = strstr(pattern, "{}")) != NULL; i++) {
        assert(i < sizeof(parameters) / sizeof(parameters[0]));
        buffer_append(out, pattern, (size_t)(hole - pattern));
        buffer_append_format(out, "{%s}", parameters[i]);
        pattern = hole + 2;
    }
    buffer_append_format(out, "%s\"", pattern);
}

static void append_parameters(struct writer *writer, const struct http_route *route)
{
    const struct http_key *key = route->schema ? route->schema->parameters : NULL;
    struct buffer *out = writer->out;
    const char *hole = route->pattern;
    size_t count = 0;

    for (; (hole = strstr(hole, "{}")) != NULL; hole += 2, count++)
        buffer_append_format(out,
                             "%s{\"name\":\"%s\",\"in\":\"path\",\"required\":true,"
                             "\"schema\":{\"type\":\"string\",\"minLength\":1}}",
                             count > 0 ? "," : ",\"parameters\":[", parameters[count]);
    for (; key && key->name; key++, count++) {
        buffer_append_format(out, "%s{\"name\":\"%s\",\"in\":\"query\",\"required\":%s,\"schema\":",
                             count > 0 ? "," : ",\"parameters\":[", key->name,
                             key->required ? "true" : "false");
        append_shape(writer, key->shape);
        buffer_append_byte(out, '}');
    }
    buffer_append_text(out, count > 0 ? "]" : "");
}

static void append_body(struct writer *writer, const struct http_shape *body)
{
    bool bytes = body->types == HTTP_BYTES;

    buffer_append_format(writer->out, ",\"requestBody\":{\"content\":{\"%s\":{\"schema\":",
                         bytes ? HTTP_TYPE_BINARY : HTTP_TYPE_JSON);
    if (bytes)
        buffer_append_text(writer->out, "{}");
    else
        append_shape(writer, body);
    buffer_append_text(writer->out, "}}}");
}

static void append_operation(struct writer *writer, const struct http_route *route)
{
    const struct http_schema *schema = route->schema;
    struct buffer *out = writer->out;

    buffer_append_byte(out, '"');
    for (const char *c = route->method; *c; c++)
        buffer_append_byte(out, (uint8_t)tolower((unsigned char)*c));
    buffer_append_text(out, "\":{\"responses\":{");
    if (!schema || !schema->not_offered)
        buffer_append_text(out, "\"200\":{\"description\":\"The answer\"},");
    buffer_append_text(out, "\"4XX\":{\"$ref\":\"#/components/responses/Error\"},"
                            "\"5XX\":{\"$ref\":\"#/components/responses/Error\"}}");
    if (http_access_is_open(writer->config, route->access))
        buffer_append_text(out, ",\"security\":[]");
    append_parameters(writer, route);
    if (schema && schema->body && !schema->not_offered)
        append_body(writer, schema->body);
    buffer_append_byte(out, '}');
}

/* All methods of a path stand together, whoever registered them. */
static void append_paths(struct writer *writer, const struct http_server *server)
{
    bool first = true;

    for (size_t i = 1; i < server->route_count; i++) {
        const char *pattern = server->routes[i].route->pattern;
        size_t same = 1;
        while (strcmp(server->routes[same].route->pattern, pattern) != 0)
            same++;
        if (same < i)
            continue; /* listed with the first route of this path */
        buffer_append_text(writer->out, first ? "" : ",");
        first = false;
        append_path(writer->out, pattern);
        buffer_append_text(writer->out, ":{");
        for (; same < server->route_count; same++) {
            if (strcmp(server->routes[same].route->pattern, pattern) != 0)
                continue;
            buffer_append_text(writer->out, same > i ? "," : "");
            append_operation(writer, server->routes[same].route);
        }
        buffer_append_byte(writer->out, '}');
    }
}

/* Schemas name further ones, which come behind. */
static void append_components(struct writer *writer)
{
    struct buffer *out = writer->out;

    buffer_append_text(
        out, "\"components\":{\"securitySchemes\":{"
             "\"api-key\":{\"type\":\"apiKey\",\"in\":\"header\",\"name\":\"api-key\"},"
             "\"bearer\":{\"type\":\"http\",\"scheme\":\"bearer\"}},"
             "\"responses\":{\"Error\":{\"description\":\"Why there is no answer\",\"content\":{"
             "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}}},"
             "\"schemas\":{\"Error\":{\"type\":\"object\",\"required\":[\"status\",\"time\"],"
             "\"properties\":{\"status\":{\"type\":\"object\",\"required\":[\"error\"],"
             "\"properties\":{\"error\":{\"type\":\"string\"}}},"
             "\"time\":{\"type\":\"number\"}}}");
    for (size_t i = 0; i < writer->named_count; i++) {
        buffer_append_format(out, ",\"%s\":", writer->named[i]->name);
        append_types(writer, writer->named[i]);
    }
    buffer_append_text(out, "}}");
}

void http_handle_openapi(struct http_request *request)
{
    const struct config *config = request->server->options.config;
    struct writer writer = {.config = config, .out = &request->reply};

    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    buffer_append_format(&request->reply,
                         "{\"openapi\":\"3.1.0\",\"info\":{\"title\":\"windrow\","
                         "\"version\":\"1\",\"description\":\"The query side of Qdrant's REST API "
                         "over windows of a Kafka stream\"},"
                         "\"security\":[%s{\"api-key\":[]},{\"bearer\":[]}],\"paths\":{",
                         config->http_api_key ? "" : "{},");
    append_paths(&writer, request->server);
    buffer_append_text(&request->reply, "},");
    append_components(&writer);
    buffer_append_byte(&request->reply, '}');
}
