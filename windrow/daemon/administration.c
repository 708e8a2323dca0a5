#include "windrow/daemon/administration.h"

#include <string.h>

#include "base/text.h"
#include "indexer/endpoint/rest/rest.h"
#include "ingest/ingest.h"
#include "net/http/http.h"
#include "store/lease.h"
#include "store/tools/backup_folder.h"
#include "windrow/daemon/bad_records.h"
#include "windrow/daemon/clock_watch.h"
#include "windrow/daemon/drain.h"
#include "windrow/daemon/health.h"
#include "windrow/daemon/history.h"
#include "windrow/daemon/log_control.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/reload.h"
#include "windrow/daemon/status.h"
#include "windrow/daemon/windows.h"

enum { STATUS_TIMEOUT_MS = 5000 }; /* for what other nodes have to say */

static void handle_livez(struct http_request *request)
{
    bool alive = health_alive(request->context);

    http_reply_plain(request, alive ? 200 : 503, HTTP_TYPE_TEXT);
    buffer_append_text(&request->reply,
                       alive ? "healthz check passed" : "a loop of the process is stuck\n");
}

/* A process that shares its group's partitions is ready with its part, and says that it is one. */
static void append_missing(struct service *service, struct http_request *request)
{
    const struct config *config = service->config;

    for (size_t i = 0; i < config->collection_count; i++) {
        struct store_coverage coverage;
        if (config->collections[i].removed || config->collections[i].refused)
            continue;
        store_registry_coverage(service->registry, config->collections[i].name, &request->arena,
                                &coverage);
        if (coverage.elsewhere || store_coverage_whole(&coverage))
            continue;
        request->partial = true;
        buffer_append_format(&request->reply,
                             "partial: %s: not served here:", config->collections[i].name);
        for (size_t k = 0; k < coverage.missing_count; k++)
            buffer_append_format(&request->reply, " %s", coverage.missing[k]);
        buffer_append_text(&request->reply,
                           coverage.known ? "\n" : " (its partitions are not known yet)\n");
    }
}

/* Others go on, and so does the process; an operator has to look. */
static void append_stopped(struct service *service, struct http_request *request)
{
    struct ingest *ingest = atomic_load(&service->ingest);
    struct ingest_partition_status *partitions;
    size_t count = ingest ? ingest_status(ingest, &request->arena, &partitions) : 0;

    for (size_t i = 0; i < count; i++) {
        const struct ingest_partition_status *one = &partitions[i];
        if (one->reading == STORE_READING)
            continue;
        buffer_append_format(&request->reply, "%s: %s [%d]: %s\n",
                             one->reading == STORE_STOPPED ? "stopped" : "held", one->topic,
                             one->partition,
                             one->stopped[0]   ? one->stopped
                             : one->waiting[0] ? one->waiting
                                               : "paused by an operator (`windrow resume`)");
    }
}

static void append_refused(struct service *service, struct http_request *request)
{
    const struct config *config = service->config;

    for (size_t i = 0; i < config->collection_count; i++)
        if (!config->collections[i].removed && config->collections[i].refused)
            buffer_append_format(&request->reply, "refused: %s: %s\n", config->collections[i].name,
                                 config->collections[i].refused);
}

/* A process that is away from NATS answers for what it has, and says so. */
static void append_disconnected(struct service *service, struct http_request *request)
{
    char why[512];

    if (!health_connected(service, why, sizeof(why)))
        buffer_append_format(&request->reply, "disconnected: %s\n", why);
}

static void handle_readyz(struct http_request *request)
{
    static const char ready[] = "ready\n";
    char why[512] = "";

    if (health_ready(request->context, why, sizeof(why))) {
        http_reply_plain(request, 200, HTTP_TYPE_TEXT);
        buffer_append_text(&request->reply, ready);
        append_missing(request->context, request);
        append_stopped(request->context, request);
        append_refused(request->context, request);
        append_disconnected(request->context, request);
        if (request->reply.size == strlen(ready)) { /* Qdrant's words */
            request->reply.size = 0;
            buffer_append_text(&request->reply, "all shards are ready");
        }
        return;
    }
    http_reply_plain(request, 503, HTTP_TYPE_TEXT);
    buffer_append_format(&request->reply, "not ready: %s\n", why);
    append_refused(request->context, request);
    append_disconnected(request->context, request);
    request->retry_after_seconds = 1;
}

static void handle_status(struct http_request *request)
{
    const char *local = http_request_argument(request, "local");
    const struct status_request wanted = {.local = local && strcmp(local, "true") == 0,
                                          .stop = &request->stop,
                                          .pool = http_request_pool(request)};
    struct doc status;

    request->stop.deadline_ns = request->complete_ns + (int64_t)STATUS_TIMEOUT_MS * 1000000;
    status_build(request->context, &wanted, &request->arena, &status);
    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    doc_write_json(&request->reply, &status);
}

static void finish(struct http_request *request, int code, const struct error *error)
{
    if (code == 0)
        http_reply_end(request, NULL);
    else
        http_reply_from_error(request, error);
}

/* Work that takes long gives its place in the pool to other requests. */
static int begin_long(struct http_request *request, struct error *error)
{
    if (!http_request_wait_begin(request))
        return error_set(error, ERROR_BUSY, "Too many requests wait");
    http_reply_begin(request);
    return 0;
}

/* POST /backup {"folder", "token"}: all shards that are open here, into a folder that the caller
 * has begun. The token lies in that folder: who sends it could write there without us, so that
 * nobody makes this process write where it should not. */
static int parse_text(struct http_request *request, const struct doc *body, const char *key,
                      const char **text, struct error *error)
{
    const struct doc *value = doc_get(body, key);

    if (value->count == 0)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: $.%s: expected a text",
                         key);
    *text = arena_copy(&request->arena, value->string, value->count);
    return 0;
}

/* A backup without the shards of one collection would look like a whole one. */
static int check_all_served(const struct service *service, struct error *error)
{
    const struct config *config = service->config;

    for (size_t i = 0; i < config->collection_count; i++)
        if (!config->collections[i].removed && config->collections[i].refused)
            return error_set(error, ERROR_UNAVAILABLE,
                             "Collection `%s` is refused, and a backup would not have it: %s",
                             config->collections[i].name, config->collections[i].refused);
    return 0;
}

static int back_up(struct http_request *request, struct error *error)
{
    struct service *service = request->context;
    const char *folder = NULL, *token = NULL;
    struct doc body;
    int code;

    if (http_request_body(request, &body, error) != 0 ||
        parse_text(request, &body, "folder", &folder, error) != 0 ||
        parse_text(request, &body, "token", &token, error) != 0)
        return error->code;
    if (folder[0] != '/')
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.folder: expected an absolute path");
    if (check_all_served(service, error) != 0)
        return error->code;
    if (begin_long(request, error) != 0)
        return error->code;
    code = store_registry_backup(service->registry, service->io, folder, token,
                                 http_request_cancelled(request), &request->reply, error);
    http_request_wait_end(request);
    return code;
}

static void handle_backup(struct http_request *request)
{
    struct error error = {0};
    int code = back_up(request, &error);

    finish(request, code, &error);
}

/* Ingestion of a collection (shard NULL), or of one stopped shard of it. */
static void control(struct http_request *request, const struct config_collection *collection,
                    const char *shard, bool pause, enum ingest_resume resume)
{
    struct service *service = request->context;
    struct ingest *ingest = atomic_load(&service->ingest);
    struct error error = {0};
    int code;

    if ((service->roles & CONFIG_ROLE_INGEST) == 0)
        code = error_set(&error, ERROR_UNSUPPORTED, "This process does not read from Kafka");
    else if (!ingest)
        code = error_set(&error, ERROR_BUSY, "The service is starting or stopping");
    else
        code = begin_long(request, &error);
    if (code == 0) {
        code = shard ? ingest_resume_stopped(ingest, collection->name, shard, resume, &error)
                     : ingest_pause(ingest, collection->name, pause, &error);
        http_request_wait_end(request);
        buffer_append_text(&request->reply, "true");
    }
    finish(request, code, &error);
}

/* POST /collections/{}/pause {} */
static void handle_pause(struct http_request *request)
{
    const struct config_collection *collection;
    struct error error = {0};
    struct doc body;

    if (rest_request_collection(request, &collection, &error) != 0 ||
        http_request_body(request, &body, &error) != 0)
        http_reply_from_error(request, &error);
    else
        control(request, collection, NULL, true, INGEST_RESUME_SKIP);
}

/* POST /collections/{}/resume
 *
 *   {}                                  reads the collection again after a pause
 *   {"shard": "0", "how": "skip"}       a stopped shard continues behind what Kafka lost
 *   {"shard": "0", "how": "rebuild"}    a stopped shard is removed and read again */
static int parse_resume(struct http_request *request, const char **shard,
                        enum ingest_resume *resume, struct error *error)
{
    const struct doc *name, *how;
    struct doc body;

    *shard = NULL;
    *resume = INGEST_RESUME_SKIP;
    if (http_request_body(request, &body, error) != 0)
        return error->code;
    name = doc_get(&body, "shard");
    how = doc_get(&body, "how");
    if (!name && !how)
        return 0;
    if (!name || name->count == 0)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.shard: expected the name of a shard");
    if (how && doc_string_equals(how, "rebuild"))
        *resume = INGEST_RESUME_REBUILD;
    *shard = arena_copy(&request->arena, name->string, name->count);
    return 0;
}

static void handle_resume(struct http_request *request)
{
    const struct config_collection *collection;
    enum ingest_resume resume;
    struct error error = {0};
    const char *shard;

    if (rest_request_collection(request, &collection, &error) != 0 ||
        parse_resume(request, &shard, &resume, &error) != 0)
        http_reply_from_error(request, &error);
    else
        control(request, collection, shard, false, resume);
}

/* POST /clock/trust {}: the system clock is right. */
static void handle_trust_clock(struct http_request *request)
{
    struct error error = {0};
    struct doc body;
    int64_t before_ms, now_ms;
    bool was_frozen;

    if (http_request_body(request, &body, &error) != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    was_frozen = clock_watch_trust(request->context, &before_ms, &now_ms);
    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"was_frozen\":%s,\"before_ms\":%lld,\"now_ms\":%lld}",
                         was_frozen ? "true" : "false", (long long)before_ms, (long long)now_ms);
    http_reply_end(request, NULL);
}

static const struct http_key backup_keys[] = {
    {.name = "folder", .shape = &http_string, .required = true},
    {.name = "token", .shape = &http_string, .required = true},
    {.name = NULL},
};
static const struct http_shape backup_body = {.types = HTTP_OBJECT, .keys = backup_keys};
static const char *const hows[] = {"skip", "rebuild", NULL};
static const struct http_shape how_shape = {.types = HTTP_STRING, .values = hows};
static const struct http_key resume_keys[] = {
    {.name = "shard", .shape = &http_string},
    {.name = "how", .shape = &how_shape},
    {.name = NULL},
};
static const struct http_shape resume_body = {.types = HTTP_OBJECT, .keys = resume_keys};
static const struct http_key drain_keys[] = {
    {.name = "timeout_ms", .shape = &http_integer},
    {.name = NULL},
};
static const struct http_shape drain_body = {.types = HTTP_OBJECT, .keys = drain_keys};
static const struct http_schema drain_schema = {.body = &drain_body};
static const struct http_key status_parameters[] = {
    {.name = "local", .shape = &http_flag},
    {.name = NULL},
};
static const struct http_key history_parameters[] = {
    {.name = "since_ms", .shape = &http_natural},
    {.name = NULL},
};
static const struct http_schema backup_schema = {.body = &backup_body},
                                history_schema = {.parameters = history_parameters},
                                status_schema = {.parameters = status_parameters},
                                resume_schema = {.body = &resume_body},
                                empty_schema = {.body = &http_nothing};

static const struct http_route routes[] = {
    {"GET", "/livez", handle_livez, HTTP_PROBE, NULL},
    {"GET", "/readyz", handle_readyz, HTTP_PROBE, NULL},
    {"GET", "/status", handle_status, HTTP_READ, &status_schema},
    {"GET", "/dead-letters", bad_records_handle, HTTP_READ, NULL},
    {"GET", "/history", history_handle, HTTP_READ, &history_schema},
    {"POST", "/backup", handle_backup, HTTP_CONTROL, &backup_schema},
    {"POST", "/drain", drain_handle, HTTP_CONTROL, &drain_schema},
    {"GET", "/config", reload_handle_config, HTTP_CONTROL, NULL},
    {"GET", "/log-level", log_control_get, HTTP_READ, NULL},
    {"POST", "/log-level", log_control_set, HTTP_CONTROL, &log_control_schema},
    {"POST", "/clock/trust", handle_trust_clock, HTTP_CONTROL, &empty_schema},
    {"POST", "/collections/{}/compact", windows_handle_compact, HTTP_CONTROL, &windows_schema},
    {"POST", "/collections/{}/rebuild", windows_handle_rebuild, HTTP_CONTROL, &windows_schema},
    {"POST", "/collections/{}/pause", handle_pause, HTTP_CONTROL, &empty_schema},
    {"POST", "/collections/{}/resume", handle_resume, HTTP_CONTROL, &resume_schema},
};

/* What Qdrant says of a process that is alone. */
static void handle_no_cluster(struct http_request *request)
{
    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"status\":\"disabled\"}");
    http_reply_end(request, NULL);
}

static const struct http_route routes_alone[] = {
    {"GET", "/cluster", handle_no_cluster, HTTP_READ, NULL},
};

void administration_add_routes(struct service *service, struct http_server *server)
{
    if (!service->config->cluster_name)
        http_server_add_routes(server, routes_alone, sizeof(routes_alone) / sizeof(routes_alone[0]),
                               service);
    http_server_add_routes(server, routes, sizeof(routes) / sizeof(routes[0]), service);
}
