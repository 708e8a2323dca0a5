/* POST /backup {"folder", "token"}: all shards that are open here, into a folder that the caller
 * has begun. The token lies in that folder: who sends it could write there without us, so that
 * nobody makes this process write where it should not. */
#include "indexer/http/parse.h"

static int parse_text(struct http_request *request, const struct doc *body, const char *key,
                      const char **text, struct error *error)
{
    const struct doc *value = doc_get(body, key);

    if (!value || value->type != DOC_STRING || value->count == 0)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: $.%s: expected a text",
                         key);
    *text = arena_copy(&request->arena, value->string, value->count);
    return 0;
}

static int back_up(struct http_request *request, struct error *error)
{
    static const char *const known[] = {"folder", "token", NULL};
    const struct indexer_host *host = request->options->host;
    const char *folder, *token;
    struct doc body;
    int code;

    if (parse_body(request, &body, error) != 0 || parse_known_keys(&body, "$", known, error) != 0 ||
        parse_text(request, &body, "folder", &folder, error) != 0 ||
        parse_text(request, &body, "token", &token, error) != 0)
        return error->code;
    if (!host->backup)
        return error_set(error, ERROR_UNSUPPORTED, "This process does not keep windows");
    if (folder[0] != '/')
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.folder: expected an absolute path");
    if (!http_request_wait_begin(request))
        return error_set(error, ERROR_BUSY, "Too many requests wait");
    http_reply_begin(request);
    code = host->backup(host->context, folder, token, http_request_cancelled(request),
                        &request->reply, error);
    http_request_wait_end(request);
    return code;
}

void http_handle_backup(struct http_request *request)
{
    struct error error = {0};

    if (back_up(request, &error) == 0)
        http_reply_end(request, NULL);
    else
        http_reply_from_error(request, &error);
}
