/* What handlers ask of a request, and the envelope of their replies. */
#include <microhttpd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "indexer/http/server.h"

const char *http_request_argument(struct http_request *request, const char *name)
{
    const char *value =
        MHD_lookup_connection_value(request->connection, MHD_GET_ARGUMENT_KIND, name);

    return value ? http_percent_decode(&request->arena, value, strlen(value)) : NULL;
}

int http_request_body(struct http_request *request, struct doc *body, struct error *error)
{
    struct doc_limits limits = {.max_bytes = HTTP_BODY_MAX_BYTES, .max_depth = HTTP_JSON_DEPTH_MAX};
    struct error inner = {0};

    *body = (struct doc){.type = DOC_MAP};
    if (request->body.size == 0)
        return 0;
    if (doc_parse_json(&request->arena, (const char *)request->body.data, request->body.size,
                       &limits, body, &inner) != 0)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: %s", inner.text);
    if (body->type != DOC_MAP)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: $: expected an object");
    return 0;
}

int http_request_collection(struct http_request *request,
                            const struct config_collection **collection, struct error *error)
{
    const char *name = request->parts[0];

    *collection = config_collection_find(request->server->options.config, name);
    if (*collection)
        return 0;
    return error_set(error, ERROR_NOT_FOUND, "Not found: Collection `%.200s` doesn't exist!", name);
}

int http_check_keys(const struct doc *map, const char *where, const char *const *known,
                    struct error *error)
{
    for (uint32_t i = 0; i < map->count; i++) {
        const struct doc *key = &map->items[2 * i];
        size_t k = 0;
        while (known[k] && !doc_string_equals(key, known[k]))
            k++;
        if (!known[k])
            return error_set(error, ERROR_INVALID,
                             "Format error in JSON body: %s: unknown field `%.*s`", where,
                             (int)(key->count < 200 ? key->count : 200), key->string);
    }
    return 0;
}

bool http_request_wait_begin(struct http_request *request)
{
    return thread_pool_wait_begin(request->server->pool);
}

void http_request_wait_end(struct http_request *request)
{
    thread_pool_wait_end(request->server->pool);
}

struct thread_pool *http_request_pool(const struct http_request *request)
{
    return request->server->pool;
}

const atomic_bool *http_request_cancelled(const struct http_request *request)
{
    return &request->server->stopping;
}

static double elapsed_seconds(const struct http_request *request)
{
    struct io *io = request->server->options.io;

    return (double)(io_monotonic_ns(io) - request->start_ns) * 1e-9;
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
    buffer_append_format(&request->reply, ",\"status\":\"ok\",\"time\":%.9f}",
                         elapsed_seconds(request));
    request->status = 200;
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
    doc_write_json_string(&request->reply, text, text_utf8_valid(text, strlen(text)));
    buffer_append_format(&request->reply, "},\"time\":%.9f}", elapsed_seconds(request));
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
    case ERROR_PEER:
    case ERROR_CANCELLED: /* the service stops, or closes a partition */
    case ERROR_NO_SPACE:
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
