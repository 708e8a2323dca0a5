/* What an operator asks of windows: merge now, read again from Kafka. The program does it. */
#include <string.h>

#include "base/text.h"
#include "indexer/http/parse.h"

/* "window": an instant in it, as RFC 3339 or milliseconds; "shard": one, else all. */
static int parse_choice(struct http_request *request, struct indexer_window_choice *choice,
                        struct error *error)
{
    static const char *const known[] = {"window", "shard", NULL};
    const struct doc *window, *shard;
    struct doc body;

    *choice = (struct indexer_window_choice){.cancelled = http_request_cancelled(request)};
    if (parse_body(request, &body, error) != 0 ||
        parse_known_keys(&body, "the request", known, error) != 0)
        return error->code;
    window = doc_get(&body, "window");
    shard = doc_get(&body, "shard");
    if (shard && shard->type == DOC_STRING)
        choice->shard = arena_copy(&request->arena, shard->string, shard->count);
    else if (shard && shard->type != DOC_NULL)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: shard: expected a name");
    if (!window || window->type == DOC_NULL)
        return 0;
    choice->has_time = true;
    if (doc_as_i64(window, &choice->time_ms))
        return 0;
    if (window->type != DOC_STRING)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: window: expected a time or milliseconds");
    return text_parse_time_ms(window->string, window->count, &choice->time_ms, error);
}

static void handle(struct http_request *request, indexer_window_function function)
{
    const struct indexer_host *host = request->options->host;
    const struct config_collection *collection;
    struct indexer_window_choice choice;
    struct error error = {0};
    int code = parse_collection(request, &collection, &error);

    if (code == 0)
        code = parse_choice(request, &choice, &error);
    if (code == 0 && !function)
        code = error_set(&error, ERROR_UNSUPPORTED, "This process does not keep windows");
    if (code == 0 && !http_request_wait_begin(request))
        code = error_set(&error, ERROR_BUSY, "Too many requests wait");
    else if (code == 0) {
        http_reply_begin(request);
        code = function(host->context, collection, &choice, &request->reply, &error);
        http_request_wait_end(request);
    }
    if (code == 0)
        http_reply_end(request, NULL);
    else
        http_reply_from_error(request, &error);
}

void http_handle_rebuild(struct http_request *request)
{
    handle(request, request->options->host->rebuild);
}

void http_handle_compact(struct http_request *request)
{
    handle(request, request->options->host->compact);
}
