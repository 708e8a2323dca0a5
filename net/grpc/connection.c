/* A connection: nghttp2 takes frames apart and puts them together, the socket is ours.
 *
 * What a client can ask for without bringing work (pings, settings, resets, empty frames) is paid from a credit that calls
 * fill up; a client that has used its credit up is told ENHANCE_YOUR_CALM and goes. nghttp2 itself ends floods of
 * acknowledgements, of CONTINUATION and of resets. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"
#include "net/grpc/server.h"

enum {
    READ_BYTES = 64 * 1024,
    SLICE_BYTES = 4 * 1024, /* of those, between looks at what may be sent */
    ANSWERS = 8,            /* calls answered while reading, whose replies are sent together */
    OUT_BYTES = 256 * 1024, /* gathered before a write; more waits in the session */
    STREAM_WINDOW_BYTES = 1024 * 1024, /* what a client may send ahead: it is taken at once */
    CONNECTION_WINDOW_BYTES = 4 * 1024 * 1024,
    CREDIT_MAX = 1000,
    CREDIT_A_SECOND = 100,
    CREDIT_OF_A_CALL = 4,
    COST_OF_A_RESET = 5,
    HELLO_SECONDS = 10,
    BODY_SECONDS = 30,  /* for a message, and a second more for so many bytes of it that came */
    STALL_SECONDS = 10, /* between two parts of a message, and before its end */
    OPEN_SECONDS = 3,   /* for all of a call that needs no key */
    REPLY_SECONDS = 30, /* for a reply, in the same way */
    BYTES_A_SECOND = 64 * 1024,
    IDLE_SECONDS = 600,
    RESETS_BURST = 1000,
    RESETS_A_SECOND = 100
};

#define SECOND_NS INT64_C(1000000000)

/* Calls of a session. */

static struct grpc_call *call_at(nghttp2_session *session, int32_t stream)
{
    return nghttp2_session_get_stream_user_data(session, stream);
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct grpc_connection *connection = context;
    struct grpc_call *call;

    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (connection->call_count >= GRPC_CALLS_MAX || connection->is_closed)
        return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                         NGHTTP2_REFUSED_STREAM);
    call = grpc_call_new(connection, frame->hd.stream_id);
    return nghttp2_session_set_stream_user_data(session, call->stream, call);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_bytes, const uint8_t *value, size_t value_bytes, uint8_t flags,
                     void *context)
{
    struct grpc_call *call = call_at(session, frame->hd.stream_id);
    struct {
        const char *name;
        const char **slot;
    } wanted[] = {{":method", call ? &call->http_method : NULL},
                  {":path", call ? &call->path : NULL},
                  {"content-type", call ? &call->type : NULL},
                  {"grpc-timeout", call ? &call->timeout : NULL},
                  {"grpc-encoding", call ? &call->encoding : NULL},
                  {"api-key", call ? &call->key : NULL},
                  {"traceparent", call ? &call->traceparent : NULL},
                  {"authorization", call ? &call->key : NULL},
                  {"origin", call ? &call->page : NULL},
                  {"sec-fetch-site", call ? &call->page : NULL}};

    (void)flags;
    (void)context;
    if (!call || call->state != GRPC_CALL_HEADERS)
        return 0; /* trailers of a request say nothing */
    call->header_bytes += name_bytes + value_bytes + 32;
    if (call->header_bytes > GRPC_HEADERS_MAX_BYTES)
        return 0;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        bool bearer = wanted[i].name[0] == 'a' && name_bytes == 13;
        if (strlen(wanted[i].name) != name_bytes || memcmp(wanted[i].name, name, name_bytes) != 0)
            continue;
        if (bearer &&
            (call->key || value_bytes < 7 || strncasecmp((const char *)value, "Bearer ", 7) != 0))
            break; /* an api-key goes before it */
        *wanted[i].slot = memory_checked(arena_copy(&call->request.arena, value + (bearer ? 7 : 0),
                                                    value_bytes - (bearer ? 7 : 0)));
        break;
    }
    return 0;
}

/* Credit. */

/* False: it is used up. */
static bool pay(struct grpc_connection *connection, double cost)
{
    int64_t now_ns = grpc_now_ns(connection->loop);

    connection->credit +=
        (double)(now_ns - connection->credit_ns) / (double)SECOND_NS * CREDIT_A_SECOND - cost;
    connection->credit_ns = now_ns;
    if (connection->credit > CREDIT_MAX)
        connection->credit = CREDIT_MAX;
    if (connection->credit >= 0)
        return true;
    metric_add(connection->loop->server->floods, 1);
    (void)nghttp2_session_terminate_session(connection->session, NGHTTP2_ENHANCE_YOUR_CALM);
    connection->credit = CREDIT_MAX; /* once is enough */
    return false;
}

static double cost_of(const nghttp2_frame *frame)
{
    switch (frame->hd.type) {
    case NGHTTP2_RST_STREAM:
        return COST_OF_A_RESET;
    case NGHTTP2_DATA:
        return frame->hd.length > 0 || (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ? 0 : 1;
    case NGHTTP2_HEADERS:
        return 0;
    case NGHTTP2_WINDOW_UPDATE:
        return 0.1; /* clients send them as they read */
    default:
        return 1;
    }
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    struct grpc_connection *connection = context;
    struct grpc_call *call;

    connection->greeted = true;
    if (!pay(connection, cost_of(frame)))
        return 0;
    if (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA)
        return 0;
    call = call_at(session, frame->hd.stream_id);
    if (!call)
        return 0;
    connection->active_ns = grpc_now_ns(connection->loop);
    if (frame->hd.type == NGHTTP2_HEADERS && call->state == GRPC_CALL_HEADERS)
        grpc_call_admit(call);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) {
        (void)pay(connection, -CREDIT_OF_A_CALL);
        grpc_call_end(call);
    }
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t stream, const uint8_t *data,
                   size_t size, void *context)
{
    struct grpc_call *call = call_at(session, stream);

    (void)flags;
    (void)context;
    if (call)
        grpc_call_take(call, data, size);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t stream, uint32_t code, void *context)
{
    struct grpc_call *call = call_at(session, stream);

    (void)code;
    (void)context;
    if (!call)
        return 0;
    (void)nghttp2_session_set_stream_user_data(session, stream, NULL);
    grpc_call_close(call);
    return 0;
}

/* A client that is answered before it has sent all need not send the rest. */
static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *context)
{
    const struct grpc_call *call;

    (void)context;
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) ||
        (frame->hd.type != NGHTTP2_HEADERS && frame->hd.type != NGHTTP2_DATA))
        return 0;
    call = call_at(session, frame->hd.stream_id);
    if (!call || call->ended)
        return 0;
    return nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                     NGHTTP2_NO_ERROR);
}

/* Replies. */

#define HEADER(name, value)                                                                        \
    {                                                                                              \
        (uint8_t *)(name), (uint8_t *)(value), strlen(name), strlen(value),                        \
            NGHTTP2_NV_FLAG_NO_COPY_NAME                                                           \
    }

enum { TRAILERS_MAX = 3 };

/* grpc-message: what is not printable ASCII, and %, as %XX. */
static const char *escape(struct arena *arena, const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char *out = memory_checked(arena_alloc(arena, 3 * strlen(text) + 1, 1));
    size_t used = 0;

    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= ' ' && c <= '~' && c != '%') {
            out[used++] = (char)c;
            continue;
        }
        out[used++] = '%';
        out[used++] = digits[c >> 4];
        out[used++] = digits[c & 15];
    }
    out[used] = '\0';
    return out;
}

/* The values are the call's and live until its stream is closed. */
static size_t trailers_of(struct grpc_call *call, nghttp2_nv *out)
{
    struct arena *arena = &call->request.arena;
    size_t count = 0;
    char number[16];

    (void)snprintf(number, sizeof(number), "%d", call->status);
    out[count++] = (nghttp2_nv)HEADER("grpc-status", arena_copy(arena, number, strlen(number)));
    if (call->status != GRPC_OK)
        out[count++] = (nghttp2_nv)HEADER("grpc-message", escape(arena, call->message));
    if (call->request.retry_after_seconds > 0) {
        (void)snprintf(number, sizeof(number), "%u", call->request.retry_after_seconds);
        out[count++] = (nghttp2_nv)HEADER("retry-after", arena_copy(arena, number, strlen(number)));
    }
    return count;
}

static ssize_t read_reply(nghttp2_session *session, int32_t stream, uint8_t *out, size_t room,
                          uint32_t *flags, nghttp2_data_source *source, void *context)
{
    struct grpc_call *call = source->ptr;
    size_t left = call->reply.size - call->reply_sent;
    size_t size = left < room ? left : room;
    nghttp2_nv trailers[TRAILERS_MAX];

    (void)context;
    memcpy(out, call->reply.data + call->reply_sent, size);
    call->reply_sent += size;
    if (call->reply_sent == call->reply.size && call->streams && call->state == GRPC_CALL_BODY) {
        call->reply.size = 0;
        call->reply_sent = 0;
        return size > 0 ? (ssize_t)size : NGHTTP2_ERR_DEFERRED; /* the next one resumes it */
    }
    if (call->reply_sent == call->reply.size) {
        *flags |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (nghttp2_submit_trailer(session, stream, trailers, trailers_of(call, trailers)) != 0)
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)size;
}

void grpc_connection_reply(struct grpc_call *call)
{
    nghttp2_session *session = call->connection->session;
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_reply};
    nghttp2_nv headers[3 + TRAILERS_MAX] = {
        HEADER(":status", call->status == GRPC_UNKNOWN ? "415" : "200"),
        HEADER("content-type", "application/grpc"), HEADER("grpc-accept-encoding", "identity")};
    int code;

    call->reply_ns = grpc_now_ns(call->loop);
    if (call->streams) {
        (void)nghttp2_session_resume_data(session, call->stream); /* it may not be deferred */
        return;
    }
    call->streams = call->state == GRPC_CALL_BODY;
    if (call->status == GRPC_OK)
        code = nghttp2_submit_response(session, call->stream, headers, 2, &body);
    else
        code = nghttp2_submit_response(session, call->stream, headers,
                                       3 + trailers_of(call, headers + 3), NULL);
    if (code != 0)
        (void)nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, call->stream,
                                        NGHTTP2_INTERNAL_ERROR);
}

/* The socket. */

static nghttp2_session *session_new(struct grpc_connection *connection)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, GRPC_STREAMS_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, GRPC_HEADERS_MAX_BYTES}};
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;
    nghttp2_session *session;

    if (nghttp2_session_callbacks_new(&callbacks) != 0 || nghttp2_option_new(&option) != 0)
        abort();
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_option_set_stream_reset_rate_limit(option, RESETS_BURST, RESETS_A_SECOND);
    if (nghttp2_session_server_new2(&session, callbacks, connection, option) != 0)
        abort();
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, settings,
                                sizeof(settings) / sizeof(settings[0])) != 0 ||
        nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
                                              CONNECTION_WINDOW_BYTES) != 0)
        abort();
    return session;
}

void grpc_connection_open(struct grpc_loop *loop, int socket,
                          const struct sockaddr_storage *address)
{
    struct grpc_connection *connection = memory_new(1, sizeof(*connection));
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};

    if (!grpc_transport_open(&connection->transport, &loop->server->transport, socket)) {
        free(connection);
        return;
    }
    connection->loop = loop;
    connection->address = *address;
    connection->lane = http_lane_of((const struct sockaddr *)address);
    connection->credit = CREDIT_MAX;
    connection->credit_ns = connection->active_ns = connection->written_ns = grpc_now_ns(loop);
    connection->session = session_new(connection);
    connection->older = loop->newest;
    *(connection->older ? &connection->older->newer : &loop->oldest) = connection;
    loop->newest = connection;
    loop->connection_count++;
    loop->lanes[connection->lane]++;
    metric_add(loop->server->connections, 1);
    if (epoll_ctl(loop->epoll, EPOLL_CTL_ADD, socket, &event) != 0)
        grpc_connection_close(connection);
    grpc_connection_mark_dirty(connection);
}

void grpc_connection_mark_dirty(struct grpc_connection *connection)
{
    struct grpc_loop *loop = connection->loop;

    if (connection->is_dirty)
        return;
    connection->is_dirty = true;
    connection->next_dirty = loop->dirty;
    loop->dirty = connection;
}

void grpc_connection_close(struct grpc_connection *connection)
{
    if (connection->is_closed)
        return;
    connection->is_closed = true;
    grpc_transport_close(&connection->transport);
    while (connection->oldest)
        grpc_call_close(connection->oldest);
    grpc_connection_mark_dirty(connection);
}

static void connection_delete(struct grpc_connection *connection)
{
    struct grpc_loop *loop = connection->loop;

    *(connection->older ? &connection->older->newer : &loop->oldest) = connection->newer;
    *(connection->newer ? &connection->newer->older : &loop->newest) = connection->older;
    loop->connection_count--;
    loop->lanes[connection->lane]--;
    metric_add(loop->server->connections, -1);
    nghttp2_session_del(connection->session);
    buffer_destroy(&connection->out);
    free(connection);
}

static void watch(struct grpc_connection *connection, bool writable)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0),
                                .data.ptr = connection};

    if (connection->waits_for_writable == writable)
        return;
    connection->waits_for_writable = writable;
    (void)epoll_ctl(connection->loop->epoll, EPOLL_CTL_MOD, connection->transport.socket, &event);
}

/* Frames into `out`. False: the session is broken. */
static bool gather(struct grpc_connection *connection)
{
    connection->out.size = 0;
    connection->out_sent = 0;
    while (connection->out.size < OUT_BYTES) {
        const uint8_t *data;
        ssize_t size = nghttp2_session_mem_send(connection->session, &data);
        if (size < 0)
            return false;
        if (size == 0)
            return true;
        buffer_append(&connection->out, data, (size_t)size);
    }
    return true;
}

static void send_all(struct grpc_connection *connection)
{
    connection->answered = 0;
    if (!grpc_transport_is_ready(&connection->transport)) {
        watch(connection, grpc_transport_wants_write(&connection->transport));
        return;
    }
    for (;;) {
        ssize_t size;
        if (connection->out_sent == connection->out.size && !gather(connection)) {
            grpc_connection_close(connection);
            return;
        }
        if (connection->out_sent == connection->out.size)
            break;
        size =
            grpc_transport_send(&connection->transport, connection->out.data + connection->out_sent,
                                connection->out.size - connection->out_sent);
        if (size == GRPC_TRANSPORT_WAITS) {
            watch(connection, true);
            return;
        }
        if (size <= 0) {
            grpc_connection_close(connection);
            return;
        }
        connection->out_sent += (size_t)size;
        connection->written_ns = grpc_now_ns(connection->loop);
    }
    watch(connection, false);
    if (!nghttp2_session_want_read(connection->session) &&
        !nghttp2_session_want_write(connection->session))
        grpc_connection_close(connection);
}

/* Calls may be answered while they are read. Their replies go out a few at a time: a client that waits for all of them
 * does nothing meanwhile, and its next calls would come together again. False: the session is broken. */
static bool take_frames(struct grpc_connection *connection, const uint8_t *bytes, size_t size)
{
    for (size_t slice; size > 0 && !connection->is_closed; bytes += slice, size -= slice) {
        slice = size < SLICE_BYTES ? size : SLICE_BYTES;
        if (nghttp2_session_mem_recv(connection->session, bytes, slice) < 0)
            return false;
        if (connection->answered >= ANSWERS)
            send_all(connection);
    }
    return true;
}

void grpc_connection_on_readable(struct grpc_connection *connection)
{
    static _Thread_local uint8_t bytes[READ_BYTES];
    ssize_t size;

    do {
        if (connection->is_closed)
            return;
        size = grpc_transport_receive(&connection->transport, bytes, sizeof(bytes));
        if (size == GRPC_TRANSPORT_WAITS)
            break;
        if (size <= 0 || !take_frames(connection, bytes, (size_t)size)) {
            grpc_connection_close(connection);
            return;
        }
    } while (grpc_transport_has_more(&connection->transport));
    grpc_connection_mark_dirty(connection);
}

void grpc_connection_flush(struct grpc_connection *connection)
{
    connection->is_dirty = false;
    if (!connection->is_closed)
        send_all(connection);
    if (connection->is_closed && connection->call_count == 0 && !connection->is_dirty)
        connection_delete(connection);
}

void grpc_connection_goaway(struct grpc_connection *connection)
{
    if (connection->is_closed)
        return;
    (void)nghttp2_submit_goaway(connection->session, NGHTTP2_FLAG_NONE,
                                nghttp2_session_get_last_proc_stream_id(connection->session),
                                NGHTTP2_NO_ERROR, NULL, 0);
    grpc_connection_mark_dirty(connection);
}

/* Time. */

static bool is_late(int64_t now_ns, int64_t since_ns, int64_t seconds, size_t bytes)
{
    return now_ns - since_ns > (seconds + (int64_t)(bytes / BYTES_A_SECOND)) * SECOND_NS;
}

/* Whoever shows no key gets less patience. */
static bool is_slow(const struct grpc_call *call, int64_t now_ns)
{
    switch (call->state) {
    case GRPC_CALL_QUEUED:
        return false;
    case GRPC_CALL_REPLYING:
        return is_late(now_ns, call->reply_ns, REPLY_SECONDS, call->reply_sent);
    default:
        return is_late(now_ns, call->request.start_ns, BODY_SECONDS, call->request.body.size) ||
               is_late(now_ns, call->progress_ns, STALL_SECONDS, 0) ||
               (grpc_call_is_open(call) &&
                is_late(now_ns, call->request.start_ns, OPEN_SECONDS, 0));
    }
}

static void tick_calls(struct grpc_connection *connection, int64_t now_ns)
{
    for (const struct grpc_call *call = connection->oldest; call; call = call->newer) {
        if (!is_slow(call, now_ns))
            continue;
        (void)nghttp2_submit_rst_stream(connection->session, NGHTTP2_FLAG_NONE, call->stream,
                                        NGHTTP2_CANCEL);
        grpc_connection_mark_dirty(connection);
    }
}

void grpc_connection_tick(struct grpc_connection *connection, int64_t now_ns)
{
    if (connection->is_closed)
        return;
    if (connection->waits_for_writable &&
        is_late(now_ns, connection->written_ns, REPLY_SECONDS, 0)) {
        grpc_connection_close(connection); /* it reads nothing */
        return;
    }
    tick_calls(connection, now_ns);
    if (connection->call_count > 0)
        return;
    if (is_late(now_ns, connection->active_ns, connection->greeted ? IDLE_SECONDS : HELLO_SECONDS,
                0))
        grpc_connection_close(connection);
}
