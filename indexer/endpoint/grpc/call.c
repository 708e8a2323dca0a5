/* One call: its headers, its message, its run through a route, its status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "indexer/endpoint/grpc/reflection.h"
#include "indexer/endpoint/grpc/server.h"
#include "indexer/endpoint/grpc/translate.h"
#include "net/http/audit.h"

enum {
    REPLY_DEPTH_MAX = HTTP_JSON_DEPTH_MAX + 16,
    TIMEOUT_DIGITS_MAX = 8,
    REFLECTION_UNREAD_MAX_BYTES = 1 << 20
};

static struct grpc_call *call_of(struct thread_task *task)
{
    return (struct grpc_call *)((char *)task - offsetof(struct grpc_call, task));
}

static void run_task(struct thread_task *task, uint32_t thread);

static bool is_abandoned(void *context)
{
    struct grpc_call *call = context;

    return http_request_is_abandoned(&call->request, atomic_load(&call->cancelled));
}

struct grpc_call *grpc_call_new(struct grpc_connection *connection, int32_t stream)
{
    const struct grpc_server *server = connection->loop->server;
    struct grpc_call *call = memory_new(1, sizeof(*call));
    struct http_request *request = &call->request;

    call->connection = connection;
    call->loop = connection->loop;
    call->stream = stream;
    call->lane = connection->lane;
    call->task.run = run_task;
    call->task.lane = connection->lane;
    request->server = server->options.http;
    request->call = &call->http;
    request->accept = "";
    request->start_ns = grpc_now_ns(call->loop);
    arena_create(&request->arena, 0);
    stop_create(&request->stop, server->options.io);
    request->stop.abandoned = is_abandoned;
    request->stop.context = call;
    call->older = connection->newest;
    *(call->older ? &call->older->newer : &connection->oldest) = call;
    connection->newest = call;
    connection->call_count++;
    return call;
}

static void drop_body(struct grpc_call *call)
{
    http_body_release(call->request.server, call->lane, call->request.body.size);
    buffer_destroy(&call->request.body);
}

static void call_delete(struct grpc_call *call)
{
    drop_body(call);
    buffer_destroy(&call->request.reply);
    buffer_destroy(&call->http.vectors);
    buffer_destroy(&call->reply);
    arena_destroy(&call->request.arena);
    free(call);
}

void grpc_call_close(struct grpc_call *call)
{
    struct grpc_connection *connection = call->connection;

    *(call->older ? &call->older->newer : &connection->oldest) = call->newer;
    *(call->newer ? &call->newer->older : &connection->newest) = call->older;
    call->older = call->newer = NULL;
    atomic_store(&call->cancelled, true);
    if (call->state == GRPC_CALL_QUEUED && !http_call_unqueue(call->request.server, &call->task)) {
        call->stream = -1; /* it comes back */
        return;
    }
    connection->call_count--;
    call_delete(call);
}

void grpc_call_return(struct grpc_call *call)
{
    struct grpc_connection *connection = call->connection;

    call->state = GRPC_CALL_REPLYING;
    if (call->stream >= 0) {
        drop_body(call);
        grpc_connection_reply(call);
        grpc_connection_mark_dirty(connection);
        return;
    }
    connection->call_count--;
    if (connection->is_closed)
        grpc_connection_mark_dirty(connection); /* it may have waited for this one */
    call_delete(call);
}

/* Outcomes. */

static void set_status(struct grpc_call *call, enum grpc_status status, const char *message)
{
    call->status = status;
    call->message = memory_checked(arena_copy(&call->request.arena, message, strlen(message)));
}

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

static void count(struct grpc_call *call)
{
    struct grpc_method *method = call->method;

    metric_add(grpc_method_requests(method, call->loop->server->options.metrics, call->status), 1);
    metric_observe(method->seconds,
                   (double)(grpc_now_ns(call->loop) - call->request.start_ns) * 1e-9);
}

/* Answers without the pool. */
static void refuse(struct grpc_call *call, enum grpc_status status, const char *message)
{
    set_status(call, status, message);
    drop_body(call);
    count(call);
    call->state = GRPC_CALL_REPLYING;
    grpc_connection_reply(call);
}

/* Room for the prefix of a message. Returns where it is. */
static size_t begin_message(struct grpc_call *call)
{
    size_t place = call->reply.size;

    buffer_append(&call->reply, (const uint8_t[GRPC_PREFIX_BYTES]){0}, GRPC_PREFIX_BYTES);
    return place;
}

static void end_message(struct grpc_call *call, size_t place)
{
    size_t size = call->reply.size - place - GRPC_PREFIX_BYTES;

    for (int i = 0; i < 4; i++)
        call->reply.data[place + 1 + (size_t)i] = (uint8_t)(size >> (24 - 8 * i));
}

/* The message of the reply, behind its prefix. */
static void write_reply(struct grpc_call *call, const struct doc *doc)
{
    size_t place = begin_message(call);

    grpc_write(call->method->output, doc, &call->http.vectors, &call->request.arena, &call->reply);
    end_message(call, place);
}

/* The envelope's `result` and what is in it stand beside `time`. */
static struct doc reply_doc(struct grpc_call *call, const struct doc *envelope)
{
    const struct doc *result = doc_get(envelope, "result");
    struct doc *items, doc = {.type = DOC_MAP};
    uint32_t inner;

    if (!result)
        return *envelope;
    inner = result->type == DOC_MAP ? result->count : 0;
    items = doc_items(&call->request.arena, 2 * (inner + envelope->count));
    memcpy(items, envelope->items, 2 * envelope->count * sizeof(*items));
    if (inner > 0)
        memcpy(items + 2 * envelope->count, result->items, 2 * inner * sizeof(*items));
    doc.items = items;
    doc.count = inner + envelope->count;
    return doc;
}

static void take_error(struct grpc_call *call, const struct doc *envelope)
{
    const struct doc *text = doc_get(doc_get(envelope, "status"), "error");

    call->status = status_of(call->request.status);
    call->message =
        text && text->type == DOC_STRING
            ? memory_checked(arena_copy(&call->request.arena, text->string, text->count))
            : "";
}

/* The route's reply into a message and a status. */
static void take_reply(struct grpc_call *call)
{
    struct http_request *request = &call->request;
    const struct doc_limits limits = {.max_bytes = SIZE_MAX / 2, .max_depth = REPLY_DEPTH_MAX};
    struct doc doc = doc_null();
    struct error error = {0};

    if (call->method->kind == GRPC_HEALTH) {
        struct doc health = doc_map(&request->arena, 1);
        doc_put(&health, "status",
                doc_string(&request->arena, request->status == 200 ? "serving" : "not_serving"));
        write_reply(call, &health);
        return;
    }
    if (request->reply.size > 0 &&
        doc_parse_json(&request->arena, (const char *)request->reply.data, request->reply.size,
                       &limits, &doc, &error) != 0) {
        set_status(call, GRPC_INTERNAL, error.text);
        return;
    }
    if (status_of(request->status) != GRPC_OK) {
        take_error(call, &doc);
        return;
    }
    doc = reply_doc(call, &doc);
    write_reply(call, &doc);
}

/* The route's path as REST would have it, for messages. */
static const char *path_of(struct grpc_call *call)
{
    const struct http_request *request = &call->request;
    struct buffer path = {0};
    const char *text;
    size_t part = 0;

    for (const char *at = call->method->pattern; *at; at++) {
        if (at[0] == '{' && at[1] == '}' && part < request->part_count) {
            buffer_append_text(&path, request->parts[part++]);
            at++;
        } else {
            buffer_append_byte(&path, (uint8_t)*at);
        }
    }
    text = memory_checked(arena_copy(&call->request.arena, path.data, path.size));
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

static int prepare(struct grpc_call *call, struct error *error)
{
    struct http_request *request = &call->request;
    struct grpc_input *input = memory_checked(arena_calloc(&request->arena, 1, sizeof(*input)));
    size_t parts = parts_of(call->method->pattern);

    if (grpc_read(call->method->input, request->body.data, request->body.size, &request->arena,
                  input, error) != 0)
        return error->code;
    for (size_t i = 0; i < parts; i++)
        if (i >= input->part_count || !*input->parts[i])
            return error_set(error, ERROR_INVALID, "Wrong input: missing field `%s`",
                             i == 0 ? "collection_name" : "field_name");
    memcpy(request->parts, input->parts, parts * sizeof(*input->parts));
    request->part_count = parts;
    request->path = path_of(call);
    call->http.body = input->body;
    call->http.arguments = input->arguments;
    call->http.argument_count = input->argument_count;
    return 0;
}

static void tell_audit(struct grpc_call *call)
{
    struct http_audit_event event = {.certificate = call->connection->transport.client.name,
                                     .body_bytes = call->message_bytes};

    http_request_audit(&call->request, (const struct sockaddr *)&call->connection->address, &event);
}

static void run(struct grpc_call *call)
{
    struct http_request *request = &call->request;
    struct error error = {0};

    request->route = call->method->route;
    request->method = call->method->http_method;
    if (call->method->kind == GRPC_HEALTH && call->message_bytes > 0) {
        set_status(call, GRPC_NOT_FOUND, "Health is told of the server as a whole: service \"\"");
        return;
    }
    if (prepare(call, &error) != 0) {
        set_status(call,
                   error.code == ERROR_MEMORY ? GRPC_RESOURCE_EXHAUSTED : GRPC_INVALID_ARGUMENT,
                   error.text);
        return;
    }
    http_call_run(request);
    if (request->gives_up_here)
        return;
    tell_audit(call);
    take_reply(call);
}

static void run_task(struct thread_task *task, uint32_t thread)
{
    struct grpc_call *call = call_of(task);

    (void)thread;
    run(call);
    count(call);
    grpc_loop_done(call); /* the call may be gone */
}

/* Where the other calls of a connection could run meanwhile. With two processors they have one each for their I/O
 * threads: handing over costs more than it brings, 0.4 of the processor time with 64 calls at a time. */
static bool gains_from_pool(const struct grpc_call *call)
{
    return call->connection->call_count > 1 && thread_budget_processors() > GRPC_LOOPS;
}

/* On its I/O thread, if that is as good as a hand-over to the pool. Whether it is answered. */
static bool run_here(struct grpc_call *call)
{
    struct http_request *request = &call->request;

    request->route = call->method->route;
    if (gains_from_pool(call) || !http_request_begin_here(request, call->lane))
        return false;
    run(call);
    if (!http_request_end_here(request))
        return false;
    count(call);
    drop_body(call);
    call->state = GRPC_CALL_REPLYING;
    grpc_connection_reply(call);
    call->connection->answered++;
    return true;
}

/* Headers. */

/* "100m": at most eight digits and a unit. */
static bool parse_timeout(const char *text, int64_t *timeout_ns)
{
    static const char units[] = "HMSmun";
    static const int64_t unit_ns[] = {3600000000000, 60000000000, 1000000000, 1000000, 1000, 1};
    size_t digits = strspn(text, "0123456789");
    const char *unit = text[digits] ? strchr(units, text[digits]) : NULL;
    int64_t number;

    if (digits == 0 || digits > TIMEOUT_DIGITS_MAX || !unit || text[digits + 1])
        return false;
    number = strtoll(text, NULL, 10);
    *timeout_ns = number > INT64_MAX / 4 / unit_ns[unit - units] ? INT64_MAX / 4
                                                                 : number * unit_ns[unit - units];
    return true;
}

static bool is_grpc_type(const char *type)
{
    return type && strncmp(type, "application/grpc", 16) == 0 &&
           (type[16] == '\0' || type[16] == ';' || strncmp(type + 16, "+proto", 6) == 0);
}

static bool key_is_good(struct grpc_call *call)
{
    struct http_request *request = &call->request;
    enum http_access access = http_route_access(call->method->route);
    const struct http_caller caller = {call->key,
                                       (const struct sockaddr *)&call->connection->address};
    struct error error;

    if (access == HTTP_PROBE)
        return true;
    if (!grpc_transport_client_is_known(&call->connection->transport)) {
        refuse(call, GRPC_UNAUTHENTICATED, call->connection->transport.client.fault.text);
        return false;
    }
    switch (http_call_authorise(request->server, &caller, access, request->who, &error)) {
    case HTTP_ALLOWED:
        return true;
    case HTTP_LIMITED:
        request->retry_after_seconds = 1;
        refuse(call, GRPC_RESOURCE_EXHAUSTED, error.text);
        return false;
    default:
        request->route = call->method->route;
        request->method = call->method->http_method;
        request->path = call->path;
        request->status = 403;
        tell_audit(call);
        refuse(call, request->who[0] ? GRPC_PERMISSION_DENIED : GRPC_UNAUTHENTICATED, error.text);
        return false;
    }
}

static bool find_method(struct grpc_call *call)
{
    struct grpc_server *server = call->loop->server;
    struct grpc_method *method = call->path ? grpc_catalog_find(server->catalog, call->path) : NULL;
    char text[200];

    if (method && method->route) {
        call->method = method;
        return true;
    }
    (void)snprintf(text, sizeof(text), "windrow does not serve %.150s",
                   call->path ? call->path : "");
    refuse(call, GRPC_UNIMPLEMENTED, text);
    return false;
}

void grpc_call_admit(struct grpc_call *call)
{
    int64_t timeout_ns;

    call->state = GRPC_CALL_BODY;
    call->method = grpc_catalog_unknown(call->loop->server->catalog);
    http_call_trace(&call->request, call->traceparent);
    if (call->header_bytes > GRPC_HEADERS_MAX_BYTES) {
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "The headers are larger than 16384 bytes");
        return;
    }
    if (!call->http_method || strcmp(call->http_method, "POST") != 0 || !is_grpc_type(call->type)) {
        refuse(call, GRPC_UNKNOWN,
               "This port speaks gRPC: POST with content-type application/grpc");
        return;
    }
    if (call->page) { /* no page of a browser speaks gRPC by itself */
        refuse(call, GRPC_PERMISSION_DENIED, "Web pages may not use this port");
        return;
    }
    if (!find_method(call) || !key_is_good(call))
        return;
    if (call->encoding && strcmp(call->encoding, "identity") != 0) {
        refuse(call, GRPC_UNIMPLEMENTED, "Messages are not compressed here (grpc-encoding)");
        return;
    }
    if (call->timeout && !parse_timeout(call->timeout, &timeout_ns)) {
        refuse(call, GRPC_INVALID_ARGUMENT, "grpc-timeout: expected up to eight digits and a unit");
        return;
    }
    if (call->timeout)
        call->request.stop.deadline_ns = call->request.start_ns + timeout_ns;
}

/* The message. */

/* 1 byte: compressed or not; 4 bytes: its length. */
static bool prefix_is_good(struct grpc_call *call)
{
    const uint8_t *prefix = call->prefix;

    call->message_bytes = (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 |
                          (uint32_t)prefix[3] << 8 | prefix[4];
    if (prefix[0] != 0)
        refuse(call, GRPC_INTERNAL,
               "The message says that it is compressed, and no grpc-encoding says how");
    else if (call->method->kind == GRPC_REFLECTION &&
             call->message_bytes > GRPC_REFLECTION_MAX_BYTES)
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "The message is larger than 4096 bytes");
    else if (call->message_bytes > HTTP_BODY_MAX_BYTES)
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "The message is larger than 33554432 bytes");
    return call->state == GRPC_CALL_BODY;
}

/* Takes the next bytes of the message. Returns how many there were of it. */
static size_t take_some(struct grpc_call *call, const uint8_t *data, size_t size)
{
    struct http_request *request = &call->request;
    const uint8_t *start = data;
    size_t left = size;

    while (left > 0 && call->state == GRPC_CALL_BODY && call->prefix_bytes < GRPC_PREFIX_BYTES) {
        call->prefix[call->prefix_bytes++] = *data++;
        left--;
        if (call->prefix_bytes == GRPC_PREFIX_BYTES && !prefix_is_good(call))
            return size;
    }
    if (left == 0 || call->state != GRPC_CALL_BODY)
        return size;
    if (left > call->message_bytes - request->body.size)
        left = call->message_bytes - request->body.size;
    if (!http_body_reserve(request->server, call->lane, left)) {
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "Too many requests wait for an answer");
        return size;
    }
    buffer_append(&request->body, data, left);
    return (size_t)(data - start) + left;
}

/* Answers a message of a call that streams, on the I/O thread: it needs nothing but what lies in the binary. */
static void answer_reflection(struct grpc_call *call)
{
    size_t place = begin_message(call);
    struct error error;
    int code = grpc_reflection_answer(call->request.body.data, call->request.body.size,
                                      &call->reply, &error);

    end_message(call, place);
    drop_body(call);
    call->prefix_bytes = 0;
    if (code != 0)
        call->reply.size = place;
    if (code != 0)
        refuse(call, GRPC_INVALID_ARGUMENT, error.text);
    else if (call->reply.size - call->reply_sent > REFLECTION_UNREAD_MAX_BYTES)
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "Read the answers before asking for more");
    else
        grpc_connection_reply(call);
}

void grpc_call_take(struct grpc_call *call, const uint8_t *data, size_t size)
{
    bool streams = call->method && call->method->kind == GRPC_REFLECTION;

    while (size > 0 && call->state == GRPC_CALL_BODY) {
        bool full = call->prefix_bytes == GRPC_PREFIX_BYTES &&
                    call->request.body.size == call->message_bytes;
        size_t taken;
        if (full && !streams) {
            refuse(call, GRPC_INTERNAL, "More follows the message, and a call has one");
            return;
        }
        taken = take_some(call, data, size);
        data += taken;
        size -= taken;
        if (streams && call->state == GRPC_CALL_BODY && call->prefix_bytes == GRPC_PREFIX_BYTES &&
            call->request.body.size == call->message_bytes)
            answer_reflection(call);
    }
}

void grpc_call_end(struct grpc_call *call)
{
    struct http_request *request = &call->request;
    struct http_server *server = request->server;

    call->ended = true;
    if (call->state != GRPC_CALL_BODY)
        return;
    if (call->method->kind == GRPC_REFLECTION && call->prefix_bytes == 0) {
        call->state = GRPC_CALL_REPLYING;
        count(call);
        grpc_connection_reply(call);
        return;
    }
    if (call->prefix_bytes < GRPC_PREFIX_BYTES || request->body.size < call->message_bytes) {
        refuse(call, GRPC_INTERNAL, "The call ended inside its message");
        return;
    }
    request->complete_ns = grpc_now_ns(call->loop);
    atomic_store(&request->stop.next_look_ns, request->complete_ns + STOP_LOOK_MS * 1000000);
    if (http_route_access(call->method->route) == HTTP_PROBE) {
        call->state = GRPC_CALL_REPLYING;
        run(call);
        count(call);
        grpc_connection_reply(call);
        return;
    }
    if (run_here(call))
        return;
    call->state = GRPC_CALL_QUEUED;
    if (http_call_submit(server, &call->task))
        return;
    call->state = GRPC_CALL_BODY;
    if (http_server_is_stopping(server)) {
        refuse(call, GRPC_UNAVAILABLE, "The service is stopping");
    } else {
        request->retry_after_seconds = 1;
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "Too many requests wait for an answer");
    }
}
