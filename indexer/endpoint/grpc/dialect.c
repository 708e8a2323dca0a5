/* What net/grpc asks of the dialect: a message into the request that REST would have, the route's reply into a message. */
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/grpc/catalog.h"
#include "indexer/endpoint/grpc/translate.h"

enum { REPLY_DEPTH_MAX = HTTP_JSON_DEPTH_MAX + 16 };

/* The request. */

/* The route's path as REST would have it, for messages. */
static const char *path_of(const char *pattern, struct http_request *request)
{
    struct buffer path = {0};
    const char *text;
    size_t part = 0;

    for (const char *at = pattern; *at; at++) {
        if (at[0] == '{' && at[1] == '}' && part < request->part_count) {
            buffer_append_text(&path, request->parts[part++]);
            at++;
        } else {
            buffer_append_byte(&path, (uint8_t)*at);
        }
    }
    text = memory_checked(arena_copy(&request->arena, path.data, path.size));
    buffer_destroy(&path);
    return text;
}

static size_t parts_of(const char *pattern)
{
    size_t parts = 0;

    for (; (pattern = strstr(pattern, "{}")); pattern += 2)
        parts++;
    return parts;
}

static int prepare(const struct grpc_catalog_method *method, struct http_request *request,
                   struct error *error)
{
    struct grpc_input *input = memory_checked(arena_calloc(&request->arena, 1, sizeof(*input)));
    size_t parts = parts_of(method->pattern);

    if (grpc_read(method->input, request->body.data, request->body.size, &request->arena, input,
                  error) != 0)
        return error->code;
    for (size_t i = 0; i < parts; i++)
        if (i >= input->part_count || !*input->parts[i])
            return error_set(error, ERROR_INVALID, "Wrong input: missing field `%s`",
                             i == 0 ? "collection_name" : "field_name");
    memcpy(request->parts, input->parts, parts * sizeof(*input->parts));
    request->part_count = parts;
    request->path = path_of(method->pattern, request);
    request->call->body = input->body;
    request->call->arguments = input->arguments;
    request->call->argument_count = input->argument_count;
    return 0;
}

bool grpc_dialect_read(struct grpc_call *call)
{
    const struct grpc_catalog_method *method = grpc_catalog_of(grpc_call_method(call));
    struct http_request *request = grpc_call_request(call);
    struct error error = {0};

    if (method->kind == GRPC_HEALTH && request->body.size > 0) {
        grpc_call_fail(call, GRPC_NOT_FOUND,
                       "Health is told of the server as a whole: service \"\"");
        return false;
    }
    if (prepare(method, request, &error) == 0)
        return true;
    grpc_call_fail(call,
                   error.code == ERROR_MEMORY ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT,
                   error.text);
    return false;
}

/* The reply. */

static enum grpc_status status_of(unsigned http)
{
    static const struct {
        unsigned http;
        enum grpc_status grpc;
    } statuses[] = {{400, GRPC_INVALID_ARGUMENT}, {403, GRPC_PERMISSION_DENIED},
                    {404, GRPC_NOT_FOUND},        {408, GRPC_DEADLINE_EXCEEDED},
                    {409, GRPC_ALREADY_EXISTS},   {413, GRPC_RESOURCE_EXHAUSTED},
                    {422, GRPC_INVALID_ARGUMENT}, {429, GRPC_RESOURCE_EXHAUSTED},
                    {499, GRPC_CANCELLED},        {501, GRPC_UNIMPLEMENTED},
                    {502, GRPC_UNAVAILABLE},      {503, GRPC_UNAVAILABLE},
                    {504, GRPC_DEADLINE_EXCEEDED}};

    if (http >= 200 && http < 300)
        return GRPC_OK;
    for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++)
        if (statuses[i].http == http)
            return statuses[i].grpc;
    return GRPC_INTERNAL;
}

/* The envelope's `result` and what is in it stand beside `time`. */
static struct doc reply_doc(struct arena *arena, const struct doc *envelope)
{
    const struct doc *result = doc_get(envelope, "result");
    struct doc *items, doc = {.type = DOC_MAP};
    uint32_t inner;

    if (!result)
        return *envelope;
    inner = result->type == DOC_MAP ? result->count : 0;
    items = doc_items(arena, 2 * (inner + envelope->count));
    memcpy(items, envelope->items, 2 * envelope->count * sizeof(*items));
    if (inner > 0)
        memcpy(items + 2 * envelope->count, result->items, 2 * inner * sizeof(*items));
    doc.items = items;
    doc.count = inner + envelope->count;
    return doc;
}

static void take_error(struct grpc_call *call, const struct doc *envelope)
{
    struct http_request *request = grpc_call_request(call);
    const struct doc *text = doc_get(doc_get(envelope, "status"), "error");

    grpc_call_fail(call, status_of(request->status),
                   text && text->type == DOC_STRING
                       ? memory_checked(arena_copy(&request->arena, text->string, text->count))
                       : "");
}

void grpc_dialect_write(struct grpc_call *call, struct buffer *reply)
{
    const struct grpc_message *output = grpc_catalog_of(grpc_call_method(call))->output;
    struct http_request *request = grpc_call_request(call);
    const struct doc_limits limits = {.max_bytes = SIZE_MAX / 2, .max_depth = REPLY_DEPTH_MAX};
    struct doc doc = doc_null();
    struct error error = {0};

    if (grpc_catalog_of(grpc_call_method(call))->kind == GRPC_HEALTH) {
        doc = doc_map(&request->arena, 1);
        doc_put(&doc, "status",
                doc_string(&request->arena, request->status == 200 ? "serving" : "not_serving"));
    } else {
        if (request->reply.size > 0 &&
            doc_parse_json(&request->arena, (const char *)request->reply.data, request->reply.size,
                           &limits, &doc, &error) != 0) {
            grpc_call_fail(call, GRPC_INTERNAL, error.text);
            return;
        }
        if (status_of(request->status) != GRPC_OK) {
            take_error(call, &doc);
            return;
        }
        doc = reply_doc(&request->arena, &doc);
    }
    grpc_write(output, &doc, &request->call->vectors, &request->arena, reply);
}
