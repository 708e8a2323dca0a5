#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

#include "indexer/http/request.h"

static double elapsed_seconds(const struct http_request *request)
{
    const struct http_options *options = request->options;

    return (double)(io_monotonic_ns(options->io) - request->start_ns) * 1e-9;
}

void http_reply_begin(struct http_request *request)
{
    request->reply.size = 0;
    request->content_type = "application/json";
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
    request->content_type = "application/json";
    buffer_append_text(&request->reply, "{\"status\":{\"error\":");
    doc_write_json_string(&request->reply, text, text_utf8_valid(text, strlen(text)));
    buffer_append_format(&request->reply, "},\"time\":%.9f}", elapsed_seconds(request));
    request->status = status;
}

void http_reply_from_error(struct http_request *request, const struct error *error)
{
    unsigned status = 500;

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
    case ERROR_CANCELLED: /* the service stops */
    case ERROR_NO_SPACE:
        status = 503;
        request->retry_after_seconds = 1;
        break;
    default:
        break;
    }
    http_reply_error(request, status, "%s", error->text);
}
