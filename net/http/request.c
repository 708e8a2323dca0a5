/* What handlers ask of a request, and the envelope of their replies. */
#include <assert.h>
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "net/http/server.h"

const char *http_request_argument(struct http_request *request, const char *name)
{
    const char *value;

    if (request->call)
        return http_call_argument(request->call, name);
    value = MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);
    return value ? http_percent_decode(&request->arena, value, strlen(value)) : NULL;
}

static const struct http_schema *schema_of(const struct http_request *request)
{
    static const struct http_schema none;
    const struct http_schema *schema = request->route->route->schema;

    return schema ? schema : &none;
}

enum { PARAMETERS_MAX = 16 }; /* of one route */

struct parameter_check {
    const struct http_schema *schema;
    struct arena *arena;
    const char **seen; /* names so far */
    size_t seen_count;
    struct error *error; /* its code tells the outcome */
};

static enum MHD_Result check_parameter(void *context, enum MHD_ValueKind kind, const char *name,
                                       const char *value)
{
    struct parameter_check *check = context;

    (void)kind;
    for (size_t i = 0; i < check->seen_count; i++) {
        if (strcmp(check->seen[i], name) == 0) {
            error_set(check->error, ERROR_INVALID,
                      "Wrong input: duplicate query parameter `%.200s`", name);
            return MHD_NO;
        }
    }
    if (value)
        value = http_percent_decode(check->arena, value, strlen(value));
    if (http_schema_parameter(check->schema, name, value, check->error) != 0)
        return MHD_NO;
    assert(check->seen_count < PARAMETERS_MAX);
    check->seen[check->seen_count++] = name;
    return MHD_YES;
}

static bool has_body(const struct http_request *request)
{
    return request->call ? request->call->body.count > 0 : request->body.size > 0;
}

bool http_request_check(struct http_request *request)
{
    const char *seen[PARAMETERS_MAX];
    struct error error = {0};
    struct parameter_check check = {schema_of(request), &request->arena, seen, 0, &error};

    if (check.schema->not_offered)
        return true;
    if (request->call)
        http_call_check_arguments(request->call, check.schema, &error);
    else
        (void)MHD_get_connection_values(request->connection, MHD_GET_ARGUMENT_KIND, check_parameter,
                                        &check);
    /* What stands in the body of a GET has no meaning in HTTP. */
    if (error.code == 0 && !check.schema->body && has_body(request) &&
        strcmp(request->route->route->method, "GET") != 0)
        error_set(&error, ERROR_INVALID, "Wrong input: %s %.200s takes no body", request->method,
                  request->path);
    if (error.code != 0)
        http_reply_from_error(request, &error);
    return error.code == 0;
}

int http_request_body(struct http_request *request, struct doc *body, struct error *error)
{
    struct doc_limits limits = {.max_bytes = HTTP_BODY_MAX_BYTES, .max_depth = HTTP_JSON_DEPTH_MAX};
    struct error inner = {0};

    *body = request->call ? request->call->body : (struct doc){.type = DOC_MAP};
    if (!request->call && request->body.size > 0 &&
        doc_parse_json(&request->arena, (const char *)request->body.data, request->body.size,
                       &limits, body, &inner) != 0)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: %s", inner.text);
    if (body->type != DOC_MAP)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: $: expected an object");
    return http_schema_check(schema_of(request)->body, body, error);
}

struct thread_pool *http_request_pool(const struct http_request *request)
{
    return request->server->pool;
}

const atomic_bool *http_request_cancelled(const struct http_request *request)
{
    return &request->server->stopping;
}

/* Of the reply: how many seconds the request has taken. */
static void append_time(struct http_request *request)
{
    const uint64_t second_ns = UINT64_C(1000000000);
    uint64_t taken_ns =
        (uint64_t)(io_monotonic_ns(request->server->options.io) - request->start_ns);

    buffer_append_unsigned(&request->reply, taken_ns / second_ns, 1);
    buffer_append_byte(&request->reply, '.');
    buffer_append_unsigned(&request->reply, taken_ns % second_ns, 9);
    buffer_append_byte(&request->reply, '}');
}

void http_reply_begin(struct http_request *request)
{
    request->reply.size = 0;
    request->content_type = HTTP_TYPE_JSON;
    buffer_append_text(&request->reply, "{\"result\":");
}

void http_reply_end(struct http_request *request, const char *extra)
{
    if (extra)
        buffer_append_text(&request->reply, extra);
    buffer_append_text(&request->reply, ",\"status\":\"ok\",\"time\":");
    append_time(request);
    request->status = 200;
}

/* Names of a request may hold any bytes: those that are no UTF-8 are shown as \xNN. */
static void append_text(struct buffer *reply, const char *text)
{
    struct buffer shown = {0};
    size_t length = strlen(text), valid;

    while ((valid = text_utf8_valid(text, length)) < length) {
        buffer_append(&shown, text, valid);
        buffer_append_format(&shown, "\\x%02x", (unsigned char)text[valid]);
        text += valid + 1;
        length -= valid + 1;
    }
    buffer_append(&shown, text, length);
    doc_write_json_string(reply, buffer_text(&shown), shown.size);
    buffer_destroy(&shown);
}

void http_reply_error(struct http_request *request, unsigned status, const char *format, ...)
{
    char text[1280];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    request->reply.size = 0;
    request->content_type = HTTP_TYPE_JSON;
    buffer_append_text(&request->reply, "{\"status\":{\"error\":");
    append_text(&request->reply, text);
    buffer_append_text(&request->reply, "},\"time\":");
    append_time(request);
    request->status = status;
}

void http_reply_from_error(struct http_request *request, const struct error *error)
{
    unsigned status = 500;

    /* For the metrics: nobody reads it. The number is nginx's. */
    if (error->code == ERROR_CANCELLED && request->stop.code == ERROR_CANCELLED &&
        !atomic_load(&request->server->stopping)) {
        http_reply_error(request, 499, "%s", error->text);
        return;
    }
    switch (error->code) {
    case ERROR_INVALID: /* Qdrant tells bad values from bad forms by the status */
        status = strncmp(error->text, "Validation error", 16) == 0 ? 422 : 400;
        break;
    case ERROR_NOT_FOUND:
        status = 404;
        break;
    case ERROR_EXISTS:
        status = 409;
        break;
    case ERROR_TIMEOUT:
        status = 408;
        break;
    case ERROR_BUSY:
    case ERROR_MEMORY:
        status = 429;
        request->retry_after_seconds = 1;
        break;
    case ERROR_UNSUPPORTED:
        status = 501;
        break;
    case ERROR_UPSTREAM:
        status = 502;
        break;
    case ERROR_UPSTREAM_TIMEOUT:
        status = 504;
        break;
    case ERROR_PEER:
    case ERROR_CANCELLED: /* the service stops, or closes a partition */
    case ERROR_NO_SPACE:
    case ERROR_NO_FILES:
    case ERROR_UNAVAILABLE:
        status = 503;
        request->retry_after_seconds = 1;
        break;
    default:
        break;
    }
    http_reply_error(request, status, "%s", error->text);
}

void http_reply_plain(struct http_request *request, unsigned status, const char *content_type)
{
    request->reply.size = 0;
    request->status = status;
    request->content_type = content_type;
}
