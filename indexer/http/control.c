/* What operators tell the service:
 *
 * POST /collections/{}/pause and /resume
 *
 *   resume {}                                  reads the collection again after a pause
 *   resume {"shard": "0", "how": "skip"}       a stopped shard goes on behind what Kafka lost
 *   resume {"shard": "0", "how": "rebuild"}    a stopped shard is removed and read anew
 *
 * POST /clock/trust {}   the system clock is right: answers {"was_frozen", "before_ms", "now_ms"}
 */
#include <string.h>

#include "indexer/http/parse.h"

static void control(struct http_request *request, const struct config_collection *collection,
                    const char *shard, enum indexer_control what)
{
    const struct indexer_host *host = request->options->host;
    struct error error = {0};
    int code;

    if (!host->control)
        code = error_set(&error, ERROR_UNSUPPORTED, "This process does not read from Kafka");
    else if (!http_request_wait_begin(request))
        code = error_set(&error, ERROR_BUSY, "Too many requests wait for Kafka");
    else {
        code = host->control(host->context, collection, shard, what, &error);
        http_request_wait_end(request);
    }
    if (code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_text(&request->reply, "true");
    http_reply_end(request, NULL);
}

void http_handle_pause(struct http_request *request)
{
    static const char *const known[] = {NULL};
    const struct config_collection *collection;
    struct error error = {0};
    struct doc body;

    if (parse_collection(request, &collection, &error) != 0 ||
        parse_body(request, &body, &error) != 0 || parse_known_keys(&body, "$", known, &error) != 0)
        http_reply_from_error(request, &error);
    else
        control(request, collection, NULL, INDEXER_CONTROL_PAUSE);
}

static int parse_resume(struct http_request *request, const struct doc *body, const char **shard,
                        enum indexer_control *what, struct error *error)
{
    static const char *const known[] = {"shard", "how", NULL};
    const struct doc *name = doc_get(body, "shard");
    const struct doc *how = doc_get(body, "how");

    *shard = NULL;
    *what = INDEXER_CONTROL_RESUME;
    if (parse_known_keys(body, "$", known, error) != 0)
        return error->code;
    if (!name && !how)
        return 0;
    if (!name || name->type != DOC_STRING || name->count == 0)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.shard: expected the name of a shard");
    if (how && doc_string_equals(how, "skip"))
        *what = INDEXER_CONTROL_SKIP;
    else if (how && doc_string_equals(how, "rebuild"))
        *what = INDEXER_CONTROL_REBUILD;
    else
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.how: expected `skip` or `rebuild`");
    *shard = arena_copy(&request->arena, name->string, name->count);
    return 0;
}

void http_handle_resume(struct http_request *request)
{
    const struct config_collection *collection;
    enum indexer_control what;
    struct error error = {0};
    const char *shard;
    struct doc body;

    if (parse_collection(request, &collection, &error) != 0 ||
        parse_body(request, &body, &error) != 0 ||
        parse_resume(request, &body, &shard, &what, &error) != 0)
        http_reply_from_error(request, &error);
    else
        control(request, collection, shard, what);
}

void http_handle_trust_clock(struct http_request *request)
{
    static const char *const known[] = {NULL};
    const struct indexer_host *host = request->options->host;
    struct error error = {0};
    struct doc body;
    int64_t before_ms, now_ms;
    bool was_frozen;

    if (parse_body(request, &body, &error) != 0 ||
        parse_known_keys(&body, "$", known, &error) != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    was_frozen = host->trust_clock(host->context, &before_ms, &now_ms);
    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"was_frozen\":%s,\"before_ms\":%lld,\"now_ms\":%lld}",
                         was_frozen ? "true" : "false", (long long)before_ms, (long long)now_ms);
    http_reply_end(request, NULL);
}
