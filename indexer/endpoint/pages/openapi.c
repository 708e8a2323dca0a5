/* /openapi.json (OpenAPI 3.1), made from the route table and the schemas that requests are checked
 * against, so that they cannot disagree. */
#include "indexer/endpoint/pages/openapi.h"

#include <assert.h>
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

/* What a "{}" of a pattern stands for: the part before it tells. */
static const char *parameter_at(const char *pattern, const char *hole)
{
    static const struct {
        const char *before, *name;
    } names[] = {{"/collections/", "collection"},
                 {"/snapshots/", "snapshot"},
                 {"/shards/", "shard"},
                 {"/points/", "id"}};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t size = strlen(names[i].before);
        if ((size_t)(hole - pattern) >= size && memcmp(hole - size, names[i].before, size) == 0)
            return names[i].name;
    }
    return "field";
}

enum { SCHEMAS_MAX = 96 };

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

/* Of a shape whose keys exclude one another: the key that is there, or `none` of them. */
struct variant {
    const struct http_key *form; /* NULL: none */
    bool all;                    /* keys that exclude one another are not told apart */
};

static bool is_in(const struct http_key *key, const struct variant *variant)
{
    if (variant->all)
        return true;
    if (key->form)
        return key == variant->form;
    return !key->with || (variant->form && strcmp(key->with, variant->form->name) == 0);
}

static void append_variant(struct writer *writer, const struct http_shape *shape,
                           const struct variant *variant)
{
    const struct http_key *keys = shape->keys, *others = shape->others;
    struct buffer *out = writer->out;
    size_t count = 0, required = 0;

    buffer_append_text(out, "{\"type\":\"object\",\"additionalProperties\":");
    if (others && others->shape)
        append_property(writer, others);
    else
        buffer_append_text(out, "false");
    buffer_append_text(out, ",\"properties\":{");
    for (const struct http_key *key = keys; key->name; key++) {
        if (!is_in(key, variant))
            continue;
        buffer_append_text(out, count++ > 0 ? "," : "");
        append_string(out, key->name);
        buffer_append_byte(out, ':');
        append_property(writer, key);
    }
    buffer_append_byte(out, '}');
    for (; keys->name; keys++)
        if (is_in(keys, variant) && (keys->required || keys == variant->form))
            buffer_append_format(out, "%s\"%s\"", required++ > 0 ? "," : ",\"required\":[",
                                 keys->name);
    buffer_append_text(out, required > 0 ? "]}" : "}");
}

static size_t count_forms(const struct http_key *keys)
{
    size_t forms = 0;

    for (; keys->name; keys++)
        forms += keys->form;
    return forms;
}

/* An object: one of its forms, one of its variants, or its keys. */
static void append_object(struct writer *writer, const struct http_shape *shape)
{
    struct buffer *out = writer->out;
    size_t count = 0;

    for (size_t i = 0; shape->forms && shape->forms[i]; i++) {
        buffer_append_text(out, i > 0 ? "," : "{\"anyOf\":[");
        append_shape(writer, shape->forms[i]);
    }
    if (shape->forms) {
        buffer_append_text(out, "]}");
    } else if (count_forms(shape->keys) < 2) {
        append_variant(writer, shape, &(struct variant){.all = true});
    } else {
        for (const struct http_key *key = shape->keys; key->name; key++) {
            if (!key->form)
                continue;
            buffer_append_text(out, count++ > 0 ? "," : "{\"anyOf\":[");
            append_variant(writer, shape, &(struct variant){.form = key});
        }
        if (!shape->needs_form) {
            buffer_append_byte(out, ',');
            append_variant(writer, shape, &(struct variant){0});
        }
        buffer_append_text(out, "]}");
    }
}

static void append_type(struct writer *writer, const struct http_shape *shape, enum http_type type,
                        const char *name)
{
    struct buffer *out = writer->out;

    if (type == HTTP_OBJECT && shape->keys) {
        append_object(writer, shape);
        return;
    }
    buffer_append_format(out, "{\"type\":\"%s\"", name);
    if (shape->values && (type == HTTP_STRING || type == HTTP_BOOLEAN))
        append_values(out, shape->values, type == HTTP_STRING);
    if (type == HTTP_INTEGER && shape->has_minimum) {
        buffer_append_format(out, ",\"minimum\":%" PRId64, shape->minimum);
        if (!shape->also)
            buffer_append_format(out, ",\"maximum\":%" PRId64, INT64_MAX);
    }
    if (type == HTTP_ARRAY && shape->items) {
        buffer_append_text(out, ",\"items\":");
        append_shape(writer, shape->items);
    }
    if (shape->also)
        buffer_append_format(out, ",%s", shape->also);
    buffer_append_byte(out, '}');
}

/* One schema, or a choice of one for each type. */
static void append_types(struct writer *writer, const struct http_shape *shape)
{
    static const char *const names[] = {"boolean", "integer", "number", "string",
                                        "array",   "object",  "null"};
    bool choice = (shape->types & (shape->types - 1)) != 0;
    bool first = true;

    if (shape->written) {
        buffer_append_text(writer->out, shape->written);
        return;
    }
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
    const char *hole, *at = pattern;

    buffer_append_byte(out, '"');
    while ((hole = strstr(at, "{}")) != NULL) {
        buffer_append(out, at, (size_t)(hole - at));
        buffer_append_format(out, "{%s}", parameter_at(pattern, hole));
        at = hole + 2;
    }
    buffer_append_format(out, "%s\"", at);
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
                             count > 0 ? "," : ",\"parameters\":[",
                             parameter_at(route->pattern, hole));
    for (; key && key->name; key++, count++) {
        buffer_append_format(out, "%s{\"name\":\"%s\",\"in\":\"query\",\"required\":%s,\"schema\":",
                             count > 0 ? "," : ",\"parameters\":[", key->name,
                             key->required ? "true" : "false");
        append_shape(writer, key->shape);
        buffer_append_byte(out, '}');
    }
    buffer_append_text(out, count > 0 ? "]" : "");
}

/* What changes something has to say that it sends JSON: with a body, then. For others an empty one stands for {}. */
static bool needs_body(const struct http_route *route, const struct http_shape *body)
{
    if (!http_access_reads(route->access))
        return true;
    for (const struct http_key *key = body->keys; key && key->name; key++)
        if (key->required)
            return true;
    return false;
}

static void append_body(struct writer *writer, const struct http_route *route)
{
    const struct http_shape *body = route->schema->not_offered ? &http_object : route->schema->body;
    bool bytes = body->types == HTTP_BYTES;

    buffer_append_format(
        writer->out, ",\"requestBody\":{\"required\":%s,\"content\":{\"%s\":{\"schema\":",
        needs_body(route, body) ? "true" : "false", bytes ? HTTP_TYPE_BINARY : HTTP_TYPE_JSON);
    if (bytes)
        buffer_append_text(writer->out, "{}");
    else
        append_shape(writer, body);
    if (body->example)
        buffer_append_format(writer->out, ",\"example\":%s", body->example);
    if (body->or_bytes)
        buffer_append_text(writer->out, "},\"" HTTP_TYPE_BINARY "\":{\"schema\":{}");
    buffer_append_text(writer->out, "}}}");
}

/* 500 is none of them: it is a fault of ours. */
static const unsigned errors[] = {400, 403, 404, 405, 408, 409, 413, 415,
                                  422, 429, 431, 501, 502, 503, 504};

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
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++)
        buffer_append_format(out, "%s\"%u\":{\"$ref\":\"#/components/responses/%s\"}",
                             i > 0 ? "," : "", errors[i],
                             route->access == HTTP_PROBE ? "Text" : "Error");
    buffer_append_byte(out, '}');
    if (http_access_is_open(writer->config, route->access))
        buffer_append_text(out, ",\"security\":[]");
    append_parameters(writer, route);
    if (schema && (schema->body || (schema->not_offered && route->method[0] == 'P')))
        append_body(writer, route);
    buffer_append_byte(out, '}');
}

/* Nodes and builders speak to each other as their versions please. */
static bool is_internal(const struct http_route *route)
{
    return route->access == HTTP_INTERNAL || route->access == HTTP_INTERNAL_WRITE;
}

/* All methods of a path stand together, whoever registered them. */
static void append_paths(struct writer *writer, const struct http_server *server)
{
    const struct http_route *route, *other;
    bool first = true;

    for (size_t i = 0; (route = http_server_route(server, i)) != NULL; i++) {
        size_t same = 0;
        while (strcmp(http_server_route(server, same)->pattern, route->pattern) != 0)
            same++;
        if (same < i || is_internal(route))
            continue; /* listed with the first route of this path */
        buffer_append_text(writer->out, first ? "" : ",");
        first = false;
        append_path(writer->out, route->pattern);
        buffer_append_text(writer->out, ":{");
        for (; (other = http_server_route(server, same)) != NULL; same++) {
            if (strcmp(other->pattern, route->pattern) != 0)
                continue;
            buffer_append_text(writer->out, same > i ? "," : "");
            append_operation(writer, other);
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
             "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}}}},"
             "\"Text\":{\"description\":\"Why there is no answer\",\"content\":{"
             "\"application/json\":{\"schema\":{\"$ref\":\"#/components/schemas/Error\"}},"
             "\"text/plain\":{\"schema\":{\"type\":\"string\"}}}}},"
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

void openapi_handle(struct http_request *request)
{
    const struct config *config = http_server_options(request->server)->config;
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
