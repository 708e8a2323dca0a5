/* One call: its headers, its message, its run through a route, its status. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "net/grpc/server.h"
#include "net/http/audit.h"

enum {
    TIMEOUT_DIGITS_MAX = 8,
    STREAM_UNREAD_MAX_BYTES = 1 << 20,
    OPEN_MESSAGE_MAX_BYTES = 4096 /* of a call that needs no key */
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
    request->start_ns = call->progress_ns = grpc_now_ns(call->loop);
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
    http_body_release(&call->request, call->lane, call->request.body.size);
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

void grpc_call_fail(struct grpc_call *call, enum grpc_status status, const char *message)
{
    call->status = status;
    call->message = memory_checked(arena_copy(&call->request.arena, message, strlen(message)));
}

struct http_request *grpc_call_request(struct grpc_call *call)
{
    return &call->request;
}

const struct grpc_method *grpc_call_method(const struct grpc_call *call)
{
    return call->method;
}

static void count(struct grpc_call *call)
{
    grpc_method_count(call->method, call->loop->server->options.metrics, call->status,
                      (double)(grpc_now_ns(call->loop) - call->request.start_ns) * 1e-9);
}

/* Answers without the pool. */
static void refuse(struct grpc_call *call, enum grpc_status status, const char *message)
{
    grpc_call_fail(call, status, message);
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

static void tell_audit(struct grpc_call *call)
{
    struct http_audit_event event = {.certificate = call->connection->transport.client.name,
                                     .body_bytes = call->message_bytes};

    http_request_audit(&call->request, (const struct sockaddr *)&call->connection->address, &event);
}

/* The dialect reads, the route runs, the dialect writes. */
static void run(struct grpc_call *call)
{
    const struct grpc_dialect *dialect = call->loop->server->options.dialect;
    struct http_request *request = &call->request;
    size_t place;

    request->route = call->method->route;
    request->method = call->method->http_method;
    if (!dialect->read(call))
        return;
    http_call_run(request);
    if (request->gives_up_here)
        return;
    tell_audit(call);
    place = begin_message(call);
    dialect->write(call, &call->reply);
    if (call->status == GRPC_OK)
        end_message(call, place);
    else
        call->reply.size = place;
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

/* Before its headers are complete nobody knows. */
bool grpc_call_is_open(const struct grpc_call *call)
{
    return call->state == GRPC_CALL_BODY && !call->method->streams && call->method->route &&
           http_access_is_open(call->loop->server->options.config,
                               http_route_access(call->method->route));
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
        request->body_share = http_body_share(request->server, call->key);
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
    const struct grpc_dialect *dialect = call->loop->server->options.dialect;
    struct grpc_method *method = call->path ? dialect->find(dialect->context, call->path) : NULL;
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
    call->method = call->loop->server->options.dialect->unknown;
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

/* Whoever shows no key gets no memory. */
static uint32_t message_max_bytes(const struct grpc_call *call)
{
    const uint32_t most = call->method->message_max_bytes;

    return grpc_call_is_open(call) && most > OPEN_MESSAGE_MAX_BYTES ? OPEN_MESSAGE_MAX_BYTES : most;
}

static void refuse_size(struct grpc_call *call)
{
    char text[80];

    (void)snprintf(text, sizeof(text), "The message is larger than %u bytes",
                   message_max_bytes(call));
    refuse(call, GRPC_RESOURCE_EXHAUSTED, text);
}

/* 1 byte: compressed or not; 4 bytes: its length. */
static bool prefix_is_good(struct grpc_call *call)
{
    const uint8_t *prefix = call->prefix;

    call->message_bytes = (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 |
                          (uint32_t)prefix[3] << 8 | prefix[4];
    if (prefix[0] != 0)
        refuse(call, GRPC_INTERNAL,
               "The message says that it is compressed, and no grpc-encoding says how");
    else if (call->message_bytes > message_max_bytes(call))
        refuse_size(call);
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
    if (!http_body_reserve(request, call->lane, left)) {
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "Too many requests wait for an answer");
        return size;
    }
    buffer_append(&request->body, data, left);
    return (size_t)(data - start) + left;
}

/* Answers a message of a call that streams, on the I/O thread: the dialect promises not to wait. */
static void answer_at_once(struct grpc_call *call)
{
    const struct grpc_dialect *dialect = call->loop->server->options.dialect;
    size_t place = begin_message(call);
    struct error error;
    int code =
        dialect->answer(call->request.body.data, call->request.body.size, &call->reply, &error);

    end_message(call, place);
    drop_body(call);
    call->prefix_bytes = 0;
    if (code != 0)
        call->reply.size = place;
    if (code != 0)
        refuse(call, GRPC_INVALID_ARGUMENT, error.text);
    else if (call->reply.size - call->reply_sent > STREAM_UNREAD_MAX_BYTES)
        refuse(call, GRPC_RESOURCE_EXHAUSTED, "Read the answers before asking for more");
    else
        grpc_connection_reply(call);
}

void grpc_call_take(struct grpc_call *call, const uint8_t *data, size_t size)
{
    bool streams = call->method && call->method->streams;

    call->progress_ns = grpc_now_ns(call->loop);
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
            answer_at_once(call);
    }
}

void grpc_call_end(struct grpc_call *call)
{
    struct http_request *request = &call->request;
    struct http_server *server = request->server;

    call->ended = true;
    if (call->state != GRPC_CALL_BODY)
        return;
    if (call->method->streams && call->prefix_bytes == 0) {
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
