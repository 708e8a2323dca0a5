/* Connections are libmicrohttpd's: its epoll threads read requests and write replies. A complete
 * request is suspended and handed to the pool, so that one that waits (for an offset, for a
 * disk) holds up nobody else's connection; a full queue answers 429 at once. Probes are answered by
 * the MHD thread itself: they must tell of an overload, not suffer from it.
 *
 *     MHD thread: headers -> body -> suspend -> queue        pool: handler -> resume
 *     MHD thread: called again -> send the reply -> completed -> free */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "base/thread.h"
#include "net/http/coding.h"
#include "net/http/server.h"
#include "net/http/uri.h"

enum {
    RUNNING_MIN = 4,
    RUNNING_MAX = 64,
    WAITING_MAX = 192,
    QUEUE_MAX = 1024,
    CLIENT_QUEUE_MAX = QUEUE_MAX / 2, /* an address may be a proxy's, with everybody behind it */
    /* Requests that run for long stand back for others that wait. Three times as many as there are
     * executors may; those of one client are at most half of all that run then. */
    ASIDE_FACTOR = 3,
    CLIENT_FACTOR = 2,
    DRAIN_MAX_BYTES = 4 * HTTP_BODY_MAX_BYTES, /* of one body; its connection is cut then */
    /* A body has so long, and a second more for so many bytes of it that came. */
    BODY_SECONDS = 30,
    BODY_BYTES_A_SECOND = 64 * 1024,
    CONNECTIONS_MAX = 4096,
    /* Beyond the limit while none can be closed: so many for one that is within it. */
    SPARE_SHARE = 16,
    SPARE_MIN = 16,
    IDLE_TIMEOUT_SECONDS = 120,
    CONNECTION_MEMORY_BYTES = 64 * 1024, /* for the headers of a request, and the buffers */
    STOP_WAIT_SECONDS = 5,
    /* Smaller replies are sent as they are. Measured: of 8 KiB of points zstd saves 7 KiB in 32 us, which
     * take 57 us at 1 Gbit/s; of 4 KiB it saves 28 us' worth in as long. */
    CODED_MIN_BYTES = 8192
};

/* Where a request stands; MHD calls the handler again at each step. */
enum pending_state { PENDING_HEADERS, PENDING_BODY, PENDING_QUEUED, PENDING_DONE };

struct pending {
    struct thread_task task;
    struct http_request request;
    _Atomic int state; /* enum pending_state */
    struct http_connection *connection;
    bool refused;        /* by its headers: the reply is ready, the body is thrown away */
    bool body_unused;    /* nobody reads it: it is thrown away, and takes no room */
    bool in_body;        /* the connection's time limit is that of a body */
    bool owed;           /* counted in replies_owed */
    uint64_t body_bytes; /* that came in, kept or not */
    bool body_too_large;
    bool no_room;                 /* the body did not fit beside the other requests' */
    struct http_decoder *decoder; /* of a coded body while it comes in, or NULL */
    size_t decoder_bytes;         /* reserved for it */
    struct error body_fault;      /* of a coded body; its code tells whether there is one */
};

gnutls_session_t http_session_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION)->tls_session;
}

static bool is_probe(const struct http_request *request)
{
    return request->route && request->route->route->access == HTTP_PROBE;
}

/* Requests of one address share a lane of the pool. Neighbours have different lanes. */
uint32_t http_lane_of(const struct sockaddr *address)
{
    uint32_t lane = 0;

    for (uint64_t number = http_address_number(address); number != 0; number /= THREAD_LANES_MAX)
        lane ^= (uint32_t)(number % THREAD_LANES_MAX);
    return lane;
}

/* Whoever sent the request and closes its connection, or its sending half, does not wait for the
 * answer of a read any more; a write goes on. While a connection is suspended libmicrohttpd does not
 * look at its socket, so the work for the request does, now and then. It ends, too, when the server
 * wants to be gone. */
static bool is_abandoned(void *context)
{
    struct pending *pending = context;
    struct pollfd look = {.fd = pending->connection->socket, .events = POLLRDHUP};

    return http_request_is_abandoned(&pending->request,
                                     poll(&look, 1, 0) > 0 &&
                                         (look.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0);
}

static struct pending *pending_of_request(struct http_request *request)
{
    return (struct pending *)((char *)request - offsetof(struct pending, request));
}

struct http_connection *http_connection_of(const struct http_request *request)
{
    return pending_of_request((struct http_request *)request)->connection;
}

/* The request has its status. */
static void finish(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct http_connection *connection = http_connection_of(request);
    struct http_audit_event event = {.certificate = connection->certificate.name,
                                     .forwarded = MHD_lookup_connection_value(
                                         request->connection, MHD_HEADER_KIND, "X-Forwarded-For"),
                                     .body_bytes = pending_of_request(request)->body_bytes};

    http_route_count(request);
    if (connection->certificate.fault.code == 0)
        http_request_audit(request, info->client_addr, &event);
}

static struct pending *pending_of(struct thread_task *task)
{
    return (struct pending *)((char *)task - offsetof(struct pending, task));
}

/* Text alone: vectors as bytes lose a tenth of their size, for many times the work. */
static bool is_text(const char *content_type)
{
    return content_type && (strncmp(content_type, "text/", 5) == 0 ||
                            strncmp(content_type, HTTP_TYPE_JSON, strlen(HTTP_TYPE_JSON)) == 0 ||
                            strncmp(content_type, "application/openmetrics-text", 28) == 0);
}

static void encode_reply(struct http_request *request)
{
    enum http_coding coding;

    if (request->reply.size < CODED_MIN_BYTES || !is_text(request->content_type))
        return;
    request->coded_by_choice = true;
    coding = http_coding_choose(
        MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Accept-Encoding"));
    if (coding != HTTP_CODING_NONE && http_encode(coding, &request->reply, &request->stop))
        request->coding = http_coding_name(coding);
}

static void run_task(struct thread_task *task, uint32_t thread)
{
    struct pending *pending = pending_of(task);
    struct http_request *request = &pending->request;
    struct MHD_Connection *connection = request->connection;

    (void)thread;
    http_call_run(request);
    encode_reply(request);
    finish(request);
    atomic_store(&pending->state, PENDING_DONE);
    MHD_resume_connection(connection); /* `pending` may be gone */
}

/* A stop waits until the reply is sent. */
static void owe(struct pending *pending)
{
    struct http_server *server = pending->request.server;

    if (pending->owed)
        return;
    pending->owed = true;
    pthread_mutex_lock(&server->lock);
    server->replies_owed++;
    pthread_mutex_unlock(&server->lock);
}

/* On this I/O thread, if that is as good as a hand-over to the pool. Whether the reply is filled. */
static bool run_here(struct pending *pending)
{
    struct http_request *request = &pending->request;

    if (pending->no_room || !http_request_begin_here(request, pending->task.lane))
        return false;
    owe(pending);
    http_call_run(request);
    if (!http_request_end_here(request))
        return false;
    encode_reply(request);
    finish(request);
    return true;
}

/* Suspended before a thread of the pool can see it: that one may resume at once. */
static void on_accepted(struct thread_task *task)
{
    struct pending *pending = pending_of(task);

    if (task->run != run_task) /* another front's */
        return;
    MHD_suspend_connection(pending->request.connection);
    atomic_store(&pending->state, PENDING_QUEUED);
    owe(pending);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    if (MHD_add_response_header(response, name, value) != MHD_YES)
        log_warning("http", "cannot add header %s", name);
}

/* For browsers: an answer is what its type says, no page shows it in a frame, and the dashboard runs
 * nothing but its own script and talks to nobody but this service. What nodes and builders get is
 * no page: to each search many nodes answer, and the policy would be a fifth of that. */
static void add_browser_headers(const struct http_request *request, struct MHD_Response *response)
{
    add_header(response, "X-Content-Type-Options", "nosniff");
    if (request->status == 200 && http_access_internal(request->route->route->access))
        return;
    add_header(response, "X-Frame-Options", "DENY");
    add_header(response, "Content-Security-Policy",
               "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
               "base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
}

static enum MHD_Result send_reply(struct http_request *request)
{
    struct http_connection *connection = pending_of_request(request)->connection;
    struct MHD_Response *response;
    enum MHD_Result result;
    char seconds[16];

    /* The buffer is the request's and lives until the connection says completed. */
    response = MHD_create_response_from_buffer(request->reply.size, request->reply.data,
                                               MHD_RESPMEM_PERSISTENT);
    if (!response)
        return MHD_NO;
    http_connection_set_waiting(&request->server->connections, connection, true);
    add_browser_headers(request, response);
    if (request->content_type)
        add_header(response, "Content-Type", request->content_type);
    if (request->status == 405)
        add_header(response, "Allow", request->allow);
    if (request->status == 415)
        add_header(response, "Accept-Encoding", HTTP_CODINGS);
    if (request->coded_by_choice)
        add_header(response, "Vary", "Accept-Encoding");
    if (request->coding)
        add_header(response, "Content-Encoding", request->coding);
    if (request->cors_origin) {
        add_header(response, "Access-Control-Allow-Origin", request->cors_origin);
        add_header(response, "Vary", "Origin");
    }
    if (request->cors_origin && request->status == 204) {
        add_header(response, "Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE");
        add_header(response, "Access-Control-Allow-Headers",
                   "api-key, authorization, content-type");
        add_header(response, "Access-Control-Max-Age", "600");
    }
    if (request->closes || request->is_chunked) /* whose trailers nobody looked at */
        add_header(response, "Connection", "close");
    if (request->retry_after_seconds > 0) {
        snprintf(seconds, sizeof(seconds), "%u", request->retry_after_seconds);
        add_header(response, "Retry-After", seconds);
    }
    if (request->partial)
        add_header(response, "windrow-partial", "1");
    if (request->next_page)
        add_header(response, "windrow-next-page-offset", request->next_page);
    result = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

static void end_decoder(struct pending *pending)
{
    http_body_release(&pending->request, pending->connection->lane, pending->decoder_bytes);
    pending->decoder_bytes = 0;
    http_decoder_delete(pending->decoder);
    pending->decoder = NULL;
}

static void drop_body(struct pending *pending)
{
    struct http_request *request = &pending->request;

    end_decoder(pending);
    http_body_release(request, pending->connection->lane, request->body.size);
    buffer_destroy(&request->body);
}

/* libmicrohttpd takes no reply in the middle of a body: the connection is cut. */
static bool is_too_slow(const struct pending *pending)
{
    const struct http_request *request = &pending->request;
    uint64_t seconds =
        request->server->options.body_seconds + pending->body_bytes / BODY_BYTES_A_SECOND;

    return io_monotonic_ns(request->server->options.io) - request->start_ns >
           (int64_t)seconds * INT64_C(1000000000);
}

/* Plain bytes of the body. False: no more of them are wanted. */
static bool keep_body(void *context, const void *bytes, size_t size)
{
    struct pending *pending = context;
    struct http_request *request = &pending->request;

    pending->body_too_large = size > HTTP_BODY_MAX_BYTES - request->body.size;
    if (!pending->body_too_large)
        pending->no_room = !http_body_reserve(request, pending->connection->lane, size);
    if (pending->body_too_large || pending->no_room)
        return false;
    buffer_append(&request->body, bytes, size);
    return true;
}

/* What comes out is judged while it comes: of a body that grows beyond all measure no more than the
 * limit is ever decoded. */
static bool decode_body(struct pending *pending, const char *data, size_t size)
{
    struct http_request *request = &pending->request;
    size_t before = pending->decoder_bytes;

    /* A stream may go on for ever without giving anything. */
    pending->body_too_large = pending->body_bytes > HTTP_BODY_MAX_BYTES;
    if (pending->body_too_large || http_decoder_feed(pending->decoder, data, size, keep_body,
                                                     pending, &pending->body_fault) != 0)
        return false;
    pending->decoder_bytes = http_decoder_bytes(pending->decoder);
    if (pending->decoder_bytes <= before)
        return true;
    pending->no_room =
        !http_body_reserve(request, pending->connection->lane, pending->decoder_bytes - before);
    if (pending->no_room)
        pending->decoder_bytes = before;
    return !pending->no_room;
}

static void take_body(struct pending *pending, const char *data, size_t size)
{
    bool kept;

    pending->body_bytes += size;
    /* The rest is read and thrown away, so that the client gets to read the reply: who closes while
     * bytes come in resets the connection. */
    if (pending->refused || pending->body_unused || pending->body_too_large || pending->no_room ||
        pending->body_fault.code != 0)
        return;
    kept = pending->decoder ? decode_body(pending, data, size) : keep_body(pending, data, size);
    if (!kept)
        drop_body(pending);
}

/* The body is complete. Whether it was good; else the reply says why not. */
static bool judge_body(struct pending *pending)
{
    struct http_request *request = &pending->request;

    if (pending->decoder)
        (void)http_decoder_end(pending->decoder, &pending->body_fault);
    if (pending->body_too_large)
        http_reply_error(request, 413, "The body is larger than %d bytes", HTTP_BODY_MAX_BYTES);
    else if (pending->body_fault.code != 0 && !pending->no_room)
        /* RFC 9110, 15.5.16: 415 also says what looking at the data has shown. */
        http_reply_error(request, pending->body_fault.code == ERROR_UNSUPPORTED ? 415 : 400,
                         "Wrong input: %s", pending->body_fault.text);
    else
        return true;
    return false;
}

/* The body of a GET means nothing in HTTP. Without this, bodies sent to a probe, which needs no key, would take the
 * room of requests that have one. */
static bool has_use_for_body(const struct http_request *request)
{
    const struct http_route *route = request->route ? request->route->route : NULL;

    return route && (strcmp(route->method, "GET") != 0 || (route->schema && route->schema->body));
}

static struct pending *pending_new(struct http_server *server, struct MHD_Connection *connection,
                                   const char *path, const char *method, const char *version)
{
    struct pending *pending = memory_new(1, sizeof(*pending));
    enum http_coding coding;
    const char *accept;

    pending->request.server = server;
    pending->request.connection = connection;
    arena_create(&pending->request.arena, 0);
    pending->request.method = arena_copy(&pending->request.arena, method, strlen(method));
    pending->request.path = arena_copy(&pending->request.arena, path, strlen(path));
    pending->request.needs_host = strcmp(version, MHD_HTTP_VERSION_1_1) == 0;
    accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
    pending->request.accept = accept ? accept : "";
    pending->request.body_type =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    http_call_trace(&pending->request,
                    MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "traceparent"));
    pending->request.start_ns = io_monotonic_ns(server->options.io);
    pending->task.run = run_task;
    pending->connection =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    pending->task.lane = pending->connection->lane;
    stop_create(&pending->request.stop, server->options.io);
    pending->request.stop.ending = &server->stopping;
    pending->request.stop.abandoned = is_abandoned;
    pending->request.stop.context = pending;
    (void)http_route_find(&pending->request);
    pending->refused =
        !http_admit(&pending->request, &(struct http_head){.begin = method, .version = version});
    pending->body_unused = !has_use_for_body(&pending->request);
    if (!pending->refused && !pending->body_unused &&
        http_coding_parse(
            MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Encoding"),
            &coding) &&
        coding != HTTP_CODING_NONE)
        pending->decoder = http_decoder_new(coding);
    return pending;
}

/* Other nodes say how long a request may take. Who will not get its turn by then hears so at once, and
 * has the time to go elsewhere. */
static bool comes_too_late(struct pending *pending)
{
    struct http_request *request = &pending->request;
    const char *argument = http_request_argument(request, "timeout_ms");
    uint64_t timeout_ms;
    int64_t wait_ns;

    if (!argument || text_parse_u64(argument, strlen(argument), &timeout_ms) != 0)
        return false;
    wait_ns = thread_pool_wait_ns(request->server->pool, pending->task.lane);
    if (wait_ns == 0 || (uint64_t)wait_ns / 1000000 < timeout_ms)
        return false;
    http_reply_error(request, 504, "its turn comes in about %lld ms, and it has %s ms",
                     (long long)(wait_ns / 1000000), argument);
    return true;
}

/* Between two bytes of a body there may be less time than between two requests: a body that stands still holds what came
 * of it. libmicrohttpd closes the connection. */
static void set_patience(struct pending *pending, bool in_body)
{
    const unsigned seconds =
        in_body ? pending->request.server->options.body_seconds : IDLE_TIMEOUT_SECONDS;

    if (pending->in_body == in_body)
        return;
    pending->in_body = in_body;
    if (MHD_set_connection_option(pending->request.connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                  seconds) != MHD_YES)
        log_warning("http", "cannot change the time limit of a connection");
}

/* The request is complete: hands it to the pool or replies at once. */
static enum MHD_Result answer(struct http_server *server, struct pending *pending)
{
    struct http_request *request = &pending->request;

    http_connection_set_waiting(&server->connections, pending->connection, false);
    set_patience(pending, false);
    request->complete_ns = io_monotonic_ns(server->options.io);
    atomic_store(&request->stop.next_look_ns, request->complete_ns + STOP_LOOK_MS * 1000000);
    if (!pending->refused)
        pending->refused = !judge_body(pending);
    end_decoder(pending);
    if (pending->refused) {
        finish(request);
        return send_reply(request);
    }
    if (is_probe(request)) {
        http_call_run(request);
        http_route_count(request);
        return send_reply(request);
    }
    if (comes_too_late(pending)) {
        finish(request);
        return send_reply(request);
    }
    if (run_here(pending))
        return send_reply(request);
    if (!pending->no_room && thread_pool_submit(server->pool, &pending->task))
        return MHD_YES;
    request->retry_after_seconds = 1;
    if (atomic_load(&server->stopping))
        http_reply_error(request, 503, "The service is stopping");
    else
        http_reply_error(request, 429, "Too many requests wait for an answer");
    finish(request);
    return send_reply(request);
}

static void refuse_arguments(struct pending *pending)
{
    pending->refused = true;
    pending->request.closes = true;
    http_reply_error(&pending->request, 400, "The query has more than %d parameters",
                     HTTP_ARGUMENTS_MAX);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *size, void **slot)
{
    struct http_server *server = context;
    const bool is_cut = http_uri_was_cut(*slot);
    struct pending *pending = is_cut ? NULL : *slot;

    if (!pending) {
        pending = *slot = pending_new(server, connection, path, method, version);
        if (is_cut)
            refuse_arguments(pending);
        set_patience(pending, http_announces_body(&pending->request));
        if (http_expects_body(&pending->request))
            http_connection_notice_end(pending->connection);
        if (!pending->refused || (!pending->request.closes && http_expects_body(&pending->request)))
            return MHD_YES;
        return answer(server, pending);
    }
    if (atomic_load(&pending->state) == PENDING_DONE)
        return send_reply(&pending->request);
    if (*size > 0) {
        take_body(pending, data, *size);
        http_connection_notice_end(pending->connection);
        *size = 0;
        return pending->body_bytes > DRAIN_MAX_BYTES || is_too_slow(pending) ? MHD_NO : MHD_YES;
    }
    return answer(server, pending);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **slot,
                         enum MHD_RequestTerminationCode code)
{
    struct http_server *server = context;
    struct pending *pending = *slot;

    (void)connection;
    (void)code;
    if (!pending || http_uri_was_cut(*slot))
        return;
    assert(atomic_load(&pending->state) != PENDING_QUEUED);
    if (pending->owed) {
        pthread_mutex_lock(&server->lock);
        if (--server->replies_owed == 0)
            pthread_cond_signal(&server->all_sent);
        pthread_mutex_unlock(&server->lock);
    }
    drop_body(pending);
    http_connection_set_waiting(&server->connections, pending->connection, true);
    buffer_destroy(&pending->request.reply);
    arena_destroy(&pending->request.arena);
    free(pending);
    *slot = NULL;
}

static void on_connection(void *context, struct MHD_Connection *connection, void **slot,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = context;

    if (code == MHD_CONNECTION_NOTIFY_STARTED && server->tls)
        http_tls_begin(server->tls, http_session_of(connection));
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        *slot = http_connection_open(
            &server->connections,
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd,
            http_lane_of(MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)
                             ->client_addr));
    else
        http_connection_close(&server->connections, *slot);
}

static void on_log(void *context, const char *format, va_list arguments)
{
    char text[512];
    size_t length;

    (void)context;
    (void)vsnprintf(text, sizeof(text), format, arguments);
    length = strcspn(text, "\n");
    log_debug("http", "%.*s", (int)length, text);
}

int http_parse_address(const char *host, uint16_t port, const char *key,
                       struct sockaddr_storage *address, struct error *error)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;

    memset(address, 0, sizeof(*address));
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return 0;
    }
    return error_set(error, ERROR_INVALID, "%s: %s is not a numeric address", key, host);
}

/* Authorities make the server ask for a certificate; who has none gets his answer in words. */
static void set_tls_options(const struct http_tls *tls, struct MHD_OptionItem out[4])
{
    const char *authorities = http_tls_client_authorities(tls);

    *out++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_CERT_CALLBACK, 0,
                                     (void *)(uintptr_t)http_tls_certificate};
    *out++ = (struct MHD_OptionItem){MHD_OPTION_HTTPS_PRIORITIES, 0, HTTP_TLS_PRIORITIES};
    if (authorities)
        *out++ =
            (struct MHD_OptionItem){MHD_OPTION_HTTPS_MEM_TRUST, 0, (void *)(uintptr_t)authorities};
    *out = (struct MHD_OptionItem){MHD_OPTION_END, 0, NULL};
}

int http_server_reload(struct http_server *server, struct error *error)
{
    if (server->audit && http_audit_reopen(server->audit, error) != 0)
        return error->code;
    return server->tls ? http_tls_reload(server->tls, error) : 0;
}

static uint32_t spare_connections(const struct http_server *server)
{
    uint32_t spare = server->connections.max / SPARE_SHARE;

    return spare < SPARE_MIN ? SPARE_MIN : spare;
}

static int start_daemon(struct http_server *server, struct error *error)
{
    const struct config *config = server->options.config;
    struct sockaddr_storage address;
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
    struct MHD_OptionItem tls[4] = {{MHD_OPTION_END, 0, NULL}};

    if (http_parse_address(config->http_host, config->http_port, "http.listen", &address, error) !=
        0)
        return error->code;
    if (address.ss_family == AF_INET6)
        flags |= MHD_USE_IPv6;
    if (config->http_tls_cert_file && http_tls_open(config, server->options.metrics,
                                                    server->options.io, &server->tls, error) != 0)
        return error->code;
    if (server->tls) {
        flags |= MHD_USE_TLS;
        set_tls_options(server->tls, tls);
    }
    errno = 0;
    server->daemon = MHD_start_daemon(
        flags, config->http_port, NULL, NULL, on_request, server, MHD_OPTION_EXTERNAL_LOGGER,
        on_log, NULL, MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_THREAD_POOL_SIZE,
        (unsigned)HTTP_IO_THREADS, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(server->connections.max + spare_connections(server)),
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)IDLE_TIMEOUT_SECONDS, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY_BYTES,
        MHD_OPTION_UNESCAPE_CALLBACK, http_uri_keep_escapes, NULL, MHD_OPTION_URI_LOG_CALLBACK,
        http_uri_cut, NULL, MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
    if (server->daemon)
        return 0;
    return error_set_errno(error, errno ? errno : EADDRINUSE, "http.listen: %s:%u",
                           config->http_host, config->http_port);
}

static uint32_t running_max(void)
{
    uint32_t count = 2 * thread_budget_processors(); /* some wait for pages that are not cached */

    return count < RUNNING_MIN ? RUNNING_MIN : count > RUNNING_MAX ? RUNNING_MAX : count;
}

struct http_server *http_server_new(const struct http_options *options)
{
    const struct thread_pool_options pool = {.name = "http",
                                             .class = THREAD_SEARCH,
                                             .threads_max = running_max(),
                                             .waiting_max = WAITING_MAX,
                                             .queue_max = QUEUE_MAX,
                                             .lanes = THREAD_LANES_MAX,
                                             .lane_queue_max = CLIENT_QUEUE_MAX,
                                             .lane_running_max = CLIENT_FACTOR * running_max(),
                                             .aside_max = ASIDE_FACTOR * running_max(),
                                             .on_accept = on_accepted};
    static const struct http_route unknown[1];
    struct http_server *server = memory_new(1, sizeof(*server));

    server->options = *options;
    if (!server->options.io)
        server->options.io = io_posix();
    if (server->options.body_seconds == 0)
        server->options.body_seconds = BODY_SECONDS;
    pthread_mutex_init(&server->lock, NULL);
    thread_condition_create(&server->all_sent);
    http_connections_create(&server->connections,
                            options->connections_max ? options->connections_max : CONNECTIONS_MAX,
                            options->metrics);
    server->keys = http_keys_new(options->config, options->metrics, server->options.io);
    server->pool = thread_pool_new(&pool);
    server->queue_seconds = metrics_histogram(options->metrics, "windrow_http_queue_seconds",
                                              "Time that requests waited for a thread", NULL, 0,
                                              metrics_seconds_bounds, metrics_seconds_bound_count);
    http_server_add_routes(server, unknown, 1, NULL);
    server->routes[0].route = NULL;
    http_route_begin(options->metrics, NULL);
    return server;
}

const struct http_options *http_server_options(const struct http_server *server)
{
    return &server->options;
}

void http_server_on_stop(struct http_server *server, void (*wake)(void *context), void *context)
{
    server->wake = wake;
    server->wake_context = context;
}

int http_server_start(struct http_server *server, struct error *error)
{
    const struct http_options *options = &server->options;

    if (options->config->log_audit_file &&
        http_audit_open(options->config, options->metrics, &server->audit, error) != 0)
        return error->code;
    return start_daemon(server, error);
}

void http_server_delete(struct http_server *server)
{
    if (!server)
        return;
    http_server_stop(server);
    thread_pool_delete(server->pool);
    pthread_cond_destroy(&server->all_sent);
    pthread_mutex_destroy(&server->lock);
    http_keys_delete(server->keys);
    http_tls_close(server->tls);
    http_audit_close(server->audit);
    http_connections_destroy(&server->connections);
    free(server->routes);
    free(server);
}

static void wait_until_sent(struct http_server *server)
{
    int64_t deadline_ns = thread_deadline(STOP_WAIT_SECONDS * INT64_C(1000000000));

    pthread_mutex_lock(&server->lock);
    while (server->replies_owed > 0 &&
           thread_condition_wait(&server->all_sent, &server->lock, deadline_ns))
        ;
    pthread_mutex_unlock(&server->lock);
}

void http_server_stop(struct http_server *server)
{
    /* Waiting requests give up, the others finish or are given up when they take longer than the
     * server's patience, new ones are told 503. The pool resumes all that
     * it accepted before it ends: MHD must not be stopped while a connection is suspended. Nor must
     * it be quiesced before: with a pool of epoll threads libmicrohttpd 0.9.75 aborts when one of
     * them wakes up meanwhile, because both take the listener out of that thread's epoll set. */
    server->patience_end_ns =
        io_monotonic_ns(server->options.io) + STOP_WAIT_SECONDS * INT64_C(1000000000);
    atomic_store(&server->stopping, true);
    if (server->wake)
        server->wake(server->wake_context);
    server->wake = NULL; /* its context may be gone before the server is */
    thread_pool_stop(server->pool);
    wait_until_sent(server);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    server->daemon = NULL;
}

uint32_t http_server_connections_max(const struct http_server *server)
{
    return server->connections.max;
}

uint16_t http_server_port(const struct http_server *server)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_BIND_PORT);

    return info ? info->port : server->options.config->http_port;
}
