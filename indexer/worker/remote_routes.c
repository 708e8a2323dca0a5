/* The routes that builders on other machines use: indexer/worker/remote.h. */
#include "indexer/worker/remote.h"

#include <string.h>

#include "base/text.h"
#include "net/http/http.h"
#include "store/files/segment.h"

static bool get_number(struct http_request *request, const char *name, uint64_t *value)
{
    const char *text = http_request_argument(request, name);

    return text && text_parse_u64(text, strlen(text), value) == 0;
}

static bool get_time(struct http_request *request, const char *name, int64_t *value)
{
    const char *text = http_request_argument(request, name);
    bool negative = text && *text == '-';
    uint64_t number;

    if (!text || text_parse_u64(text + negative, strlen(text + negative), &number) != 0 ||
        number > INT64_MAX)
        return false;
    *value = negative ? -(int64_t)number : (int64_t)number;
    return true;
}

static bool get_tier(struct http_request *request, uint8_t *tier)
{
    uint64_t number = 0;

    if (http_request_argument(request, "span_tier") &&
        (!get_number(request, "span_tier", &number) || number > STORE_SPAN_TIERS))
        return false;
    *tier = (uint8_t)number;
    return true;
}

static bool get_run(struct http_request *request, struct worker_run *run)
{
    *run = (struct worker_run){.collection = http_request_argument(request, "collection"),
                               .shard = http_request_argument(request, "shard")};
    if (run->collection && run->shard && get_time(request, "start_ms", &run->start_ms) &&
        get_time(request, "length_ms", &run->length_ms) && run->length_ms >= 0 &&
        get_number(request, "generation", &run->generation) &&
        (!http_request_argument(request, "file") ||
         get_number(request, "file", &run->file_number)) &&
        get_tier(request, &run->span_tier))
        return true;
    http_reply_error(request, 400,
                     "collection, shard, start_ms, length_ms and generation are needed, with file "
                     "and span_tier as numbers");
    return false;
}

static void handle_run(struct http_request *request)
{
    struct error error = {0};
    struct worker_run run;
    uint64_t first, count;

    if (!get_run(request, &run))
        return;
    if (!get_number(request, "first", &first) || !get_number(request, "count", &count) ||
        first > UINT32_MAX || count > UINT32_MAX) {
        http_reply_error(request, 400, "first and count: expected numbers of rows");
    } else if (worker_remote_vectors(request->context, &run, first, count, &request->reply,
                                     &error) != 0) {
        http_reply_from_error(request, &error);
    } else {
        request->status = 200;
        request->content_type = HTTP_TYPE_BINARY;
    }
}

static void handle_codebook(struct http_request *request)
{
    struct error error = {0};
    struct worker_run run;
    uint64_t offset;

    if (!get_run(request, &run))
        return;
    if (!get_number(request, "offset", &offset)) {
        http_reply_error(request, 400, "offset: expected a number of bytes");
    } else if (worker_remote_codebook(request->context, &run, offset, &request->reply, &error) !=
               0) {
        http_reply_from_error(request, &error);
    } else {
        request->status = 200;
        request->content_type = HTTP_TYPE_BINARY;
    }
}

static void handle_segment_begin(struct http_request *request)
{
    struct error error = {0};
    struct worker_run run;
    const char *given_up = http_request_argument(request, "give_up");
    uint64_t file_number = 0;
    int code;

    if (!get_run(request, &run))
        return;
    code = given_up ? worker_remote_give_up(request->context, &run, given_up, &error)
                    : worker_remote_begin(request->context, &run, &file_number, &error);
    if (code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"file_number\":%llu}",
                         (unsigned long long)file_number);
    http_reply_end(request, NULL);
}

static void handle_segment_part(struct http_request *request)
{
    struct worker_part part = {.bytes = request->body.data, .size_bytes = request->body.size};
    struct error error = {0};
    struct worker_run run;
    bool attached;

    if (!get_run(request, &run))
        return;
    if (!get_number(request, "file_number", &part.file_number) ||
        !get_number(request, "offset", &part.offset) ||
        !get_number(request, "total", &part.total_bytes)) {
        http_reply_error(request, 400, "file_number, offset and total: expected numbers");
    } else if (worker_remote_part(request->context, &run, &part, &attached, &error) != 0) {
        http_reply_from_error(request, &error);
    } else {
        http_reply_begin(request);
        buffer_append_format(&request->reply, "{\"attached\":%s}", attached ? "true" : "false");
        http_reply_end(request, NULL);
    }
}

#define RUN_PARAMETERS                                                                             \
    {.name = "collection", .shape = &http_string, .required = true},                               \
        {.name = "shard", .shape = &http_string, .required = true},                                \
        {.name = "start_ms", .shape = &http_integer, .required = true},                            \
        {.name = "length_ms", .shape = &http_integer, .required = true},                           \
        {.name = "generation", .shape = &http_integer, .required = true},                          \
        {.name = "file", .shape = &http_integer},                                                  \
    {                                                                                              \
        .name = "span_tier", .shape = &http_integer                                                \
    }

static const struct http_key run_parameters[] = {
    RUN_PARAMETERS,
    {.name = "first", .shape = &http_integer, .required = true},
    {.name = "count", .shape = &http_integer, .required = true},
    {.name = NULL},
};
static const struct http_key codebook_parameters[] = {
    RUN_PARAMETERS,
    {.name = "offset", .shape = &http_integer, .required = true},
    {.name = NULL},
};
static const struct http_key begin_parameters[] = {
    RUN_PARAMETERS,
    {.name = "give_up", .shape = &http_string},
    {.name = NULL},
};
static const struct http_key part_parameters[] = {
    RUN_PARAMETERS,
    {.name = "file_number", .shape = &http_integer, .required = true},
    {.name = "offset", .shape = &http_integer, .required = true},
    {.name = "total", .shape = &http_integer, .required = true},
    {.name = NULL},
};
static const struct http_schema run_schema = {.parameters = run_parameters},
                                codebook_schema = {.parameters = codebook_parameters},
                                begin_schema = {.parameters = begin_parameters},
                                part_schema = {.parameters = part_parameters, .body = &http_bytes};

static const struct http_route routes[] = {
    {"GET", "/internal/run", handle_run, HTTP_INTERNAL, &run_schema},
    {"GET", "/internal/epoch", handle_codebook, HTTP_INTERNAL, &codebook_schema},
    {"POST", "/internal/segment", handle_segment_begin, HTTP_INTERNAL_WRITE, &begin_schema},
    {"PUT", "/internal/segment", handle_segment_part, HTTP_INTERNAL_WRITE, &part_schema},
};

void worker_pool_add_routes(struct worker_pool *pool, struct http_server *server)
{
    http_server_add_routes(server, routes, sizeof(routes) / sizeof(routes[0]), pool);
}
