#include "windrow/daemon/windows.h"

#include <string.h>

#include "base/text.h"
#include "indexer/endpoint/rest/rest.h"
#include "ingest/ingest.h"
#include "store/append.h"
#include "store/store.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/parts.h"

/* Reads from Kafka, beside the consumer. */
static int replay(void *context, const struct compaction_replay *wanted, struct error *error)
{
    const struct service *service = context;
    const struct ingest_replay range = {.config = service->config,
                                        .wall_ms = io_wall_ms(service->wall),
                                        .collection = wanted->collection,
                                        .shard = store_shard_name(wanted->shard),
                                        .from_offset = wanted->from_offset,
                                        .to_offset = wanted->to_offset,
                                        .topic = store_shard_topic_fingerprint(wanted->shard),
                                        .cancelled = {wanted->cancelled[0], wanted->cancelled[1]}};

    return ingest_replay(&range, wanted->take, wanted->take_context, error);
}

/* POST /collections/{}/compact and /rebuild {"window": an instant in it, as RFC 3339 or
 * milliseconds, "shard": one of them}. */
static const struct http_shape window_shape = {.types = HTTP_INTEGER | HTTP_STRING};
static const struct http_key window_keys[] = {
    {.name = "window", .shape = &window_shape},
    {.name = "shard", .shape = &http_string},
    {.name = NULL},
};
static const struct http_shape window_body = {.types = HTTP_OBJECT, .keys = window_keys};
const struct http_schema windows_schema = {.body = &window_body};

static int parse_request(struct http_request *request, struct manual_compaction_request *wanted,
                         struct error *error)
{
    const struct doc *window, *shard;
    struct doc body;

    *wanted = (struct manual_compaction_request){.collection = wanted->collection,
                                                 .cancelled = http_request_cancelled(request),
                                                 .replay = replay,
                                                 .replay_context = request->context};
    if (http_request_body(request, &body, error) != 0)
        return error->code;
    window = doc_get(&body, "window");
    shard = doc_get(&body, "shard");
    if (shard)
        wanted->shard = arena_copy(&request->arena, shard->string, shard->count);
    if (!window)
        return 0;
    wanted->has_time = true;
    if (doc_as_i64(window, &wanted->time_ms))
        return 0;
    if (window->type != DOC_STRING)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.window: expected a time or milliseconds");
    return text_parse_time_ms(window->string, window->count, &wanted->time_ms, error);
}

/* [{"shard", "window_start_ms", "window_length_ms", "action", "generation", "rows", "bytes"}] */
static void render(const struct manual_compaction_result *results, size_t count, struct buffer *out)
{
    buffer_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        const struct store_window_info *window = &results[i].window;
        buffer_append_text(out, i > 0 ? ",{\"shard\":" : "{\"shard\":");
        doc_write_json_string(out, results[i].shard, strlen(results[i].shard));
        buffer_append_format(
            out,
            ",\"window_start_ms\":%lld,\"window_length_ms\":%lld,\"action\":\"%s\","
            "\"generation\":%llu,\"rows\":%llu,\"bytes\":%llu}",
            (long long)window->start_ms, (long long)window->length_ms,
            compaction_action_name(results[i].action), (unsigned long long)window->generation,
            (unsigned long long)window->live_rows, (unsigned long long)window->total_bytes);
    }
    buffer_append_byte(out, ']');
}

typedef int (*manual_compaction_function)(struct compaction_scheduler *scheduler,
                                          const struct manual_compaction_request *request,
                                          struct arena *arena,
                                          struct manual_compaction_result **results, size_t *count,
                                          struct error *error);

/* Work that takes long gives its place in the pool to other requests. */
static int work(struct http_request *request, const struct manual_compaction_request *wanted,
                manual_compaction_function function, struct error *error)
{
    const struct service *service = request->context;
    struct compaction_scheduler *scheduler = atomic_load(&service->scheduler);
    struct manual_compaction_result *results;
    size_t count;
    int code;

    if (!scheduler)
        return error_set(error, ERROR_BUSY, "the service is starting or stopping");
    if (!http_request_wait_begin(request))
        return error_set(error, ERROR_BUSY, "Too many requests wait");
    code = function(scheduler, wanted, &request->arena, &results, &count, error);
    http_request_wait_end(request);
    if (code != 0)
        return code;
    http_reply_begin(request);
    render(results, count, &request->reply);
    http_reply_end(request, NULL);
    return 0;
}

static void handle(struct http_request *request, manual_compaction_function function)
{
    struct manual_compaction_request wanted;
    struct error error = {0};
    int code = rest_request_collection(request, &wanted.collection, &error);

    if (code == 0)
        code = parse_request(request, &wanted, &error);
    if (code == 0)
        code = work(request, &wanted, function, &error);
    if (code != 0)
        http_reply_from_error(request, &error);
}

void windows_handle_compact(struct http_request *request)
{
    handle(request, manual_compaction_compact);
}

void windows_handle_rebuild(struct http_request *request)
{
    handle(request, manual_compaction_rebuild);
}
