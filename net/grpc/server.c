/* The listener and the I/O threads. Each thread has an epoll set with the listener, its connections and an event that
 * tells it of calls that came back from the pool. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread.h"
#include "net/grpc/server.h"

enum {
    EVENTS = 64,
    BACKLOG = 512,
    CONNECTIONS_SHARE = 2 * GRPC_LOOPS, /* of a loop: HTTP's by this */
    TICK_MS = 1000,
    STOP_SECONDS = 5
};

int64_t grpc_now_ns(const struct grpc_loop *loop)
{
    return io_monotonic_ns(loop->server->options.io);
}

static void wake(struct grpc_loop *loop)
{
    const uint64_t one = 1;

    if (write(loop->wake, &one, sizeof(one)) < 0 && errno != EAGAIN)
        log_warning("grpc", "cannot wake an I/O thread: %s", strerror(errno));
}

void grpc_loop_done(struct grpc_call *call)
{
    struct grpc_loop *loop = call->loop;
    bool first;

    pthread_mutex_lock(&loop->lock);
    first = !loop->done;
    call->next_done = loop->done;
    loop->done = call;
    pthread_mutex_unlock(&loop->lock);
    if (first)
        wake(loop);
}

static void take_done(struct grpc_loop *loop)
{
    struct grpc_call *call;

    pthread_mutex_lock(&loop->lock);
    call = loop->done;
    loop->done = NULL;
    pthread_mutex_unlock(&loop->lock);
    while (call) {
        struct grpc_call *next = call->next_done;
        grpc_call_return(call);
        call = next;
    }
}

static void flush_dirty(struct grpc_loop *loop)
{
    while (loop->dirty) {
        struct grpc_connection *connection = loop->dirty;
        loop->dirty = connection->next_dirty;
        grpc_connection_flush(connection);
    }
}

/* Whether it waits for its client: for a call, for the rest of one, or until a reply is read. */
static bool waits_for_client(const struct grpc_connection *connection)
{
    uint32_t waiting = 0;

    for (const struct grpc_call *call = connection->oldest; call; call = call->newer)
        waiting += call->state != GRPC_CALL_QUEUED;
    return waiting == connection->call_count;
}

/* As HTTP does (net/http/connections.c): of the client with the most connections the one goes that has waited longest
 * for it, so that nobody keeps others out. False: all of them wait for us. */
static bool close_waiting(struct grpc_loop *loop)
{
    struct grpc_connection *chosen = NULL;
    uint32_t most = 0;

    for (struct grpc_connection *one = loop->oldest; one; one = one->newer) {
        uint32_t count = loop->lanes[one->lane];
        if (one->is_closed || count < most || !waits_for_client(one) ||
            (chosen && count == most && one->active_ns >= chosen->active_ns))
            continue;
        chosen = one;
        most = count;
    }
    if (chosen)
        grpc_connection_close(chosen);
    flush_dirty(loop);
    return chosen != NULL;
}

static bool make_room(struct grpc_loop *loop)
{
    return loop->connection_count < loop->server->loop_connections_max || close_waiting(loop);
}

static void accept_one(struct grpc_loop *loop)
{
    const int on = 1;
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);
    int socket = accept4(loop->server->listener, (struct sockaddr *)&address, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);

    /* Without a descriptor the listener would wake this thread at once again. */
    if (socket < 0 && (errno == EMFILE || errno == ENFILE))
        (void)close_waiting(loop);
    if (socket < 0)
        return; /* else another thread has it */
    if (atomic_load(&loop->server->refuses) || !make_room(loop)) {
        close(socket);
        return;
    }
    (void)setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on,
                     sizeof(on)); /* of hosts that are gone */
    grpc_connection_open(loop, socket, &address);
}

static void handle(struct grpc_loop *loop, const struct epoll_event *event)
{
    uint64_t count;

    if (event->data.ptr == &loop->wake) {
        if (read(loop->wake, &count, sizeof(count)) < 0 && errno != EAGAIN)
            log_warning("grpc", "eventfd: %s", strerror(errno));
    } else {
        struct grpc_connection *connection = event->data.ptr;
        if (event->events & EPOLLOUT)
            grpc_connection_mark_dirty(connection);
        if ((event->events & ~(uint32_t)EPOLLOUT) ||
            !grpc_transport_is_ready(&connection->transport))
            grpc_connection_on_readable(connection);
    }
}

static void tick(struct grpc_loop *loop)
{
    int64_t now_ns = grpc_now_ns(loop);

    for (struct grpc_connection *one = loop->oldest; one; one = one->newer)
        grpc_connection_tick(one, now_ns);
}

static void say_goodbye(struct grpc_loop *loop)
{
    if (loop->goaway_sent)
        return;
    loop->goaway_sent = true;
    (void)epoll_ctl(loop->epoll, EPOLL_CTL_DEL, loop->server->listener, NULL);
    for (struct grpc_connection *one = loop->oldest; one; one = one->newer)
        grpc_connection_goaway(one);
}

/* Whether a stop has to wait for replies that clients have not taken yet. */
static bool owes_replies(const struct grpc_loop *loop)
{
    for (const struct grpc_connection *one = loop->oldest; one; one = one->newer)
        if (!one->is_closed && (one->call_count > 0 || one->waits_for_writable))
            return true;
    return false;
}

static void close_all(struct grpc_loop *loop)
{
    for (struct grpc_connection *one = loop->oldest; one; one = one->newer)
        grpc_connection_close(one);
    take_done(loop);
    flush_dirty(loop);
}

static void *run_loop(void *context)
{
    struct grpc_loop *loop = context;
    const struct grpc_server *server = loop->server;
    struct epoll_event events[EVENTS];
    int64_t tick_ns = grpc_now_ns(loop), stop_ns = 0;

    for (;;) {
        int count =
            epoll_wait(loop->epoll, events, EVENTS, loop->connection_count > 0 ? TICK_MS : -1);
        bool accepts = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == server) {
                accepts = true;
                continue;
            }
            handle(loop, &events[i]);
            flush_dirty(loop); /* what was answered at once waits for no other connection's calls */
        }
        /* Behind the others: it may close a connection that has an event among them. */
        if (accepts)
            accept_one(loop);
        take_done(loop);
        if (atomic_load(&server->refuses))
            say_goodbye(loop);
        if (grpc_now_ns(loop) - tick_ns > TICK_MS * INT64_C(1000000)) {
            tick_ns = grpc_now_ns(loop);
            tick(loop);
        }
        flush_dirty(loop);
        if (!atomic_load(&server->stops))
            continue;
        stop_ns = stop_ns ? stop_ns : grpc_now_ns(loop) + STOP_SECONDS * INT64_C(1000000000);
        if (!owes_replies(loop) || grpc_now_ns(loop) > stop_ns)
            break;
    }
    close_all(loop);
    return NULL;
}

/* Start and stop. */

static int open_listener(struct grpc_server *server, struct error *error)
{
    const struct config *config = server->options.config;
    const int on = 1;
    struct sockaddr_storage address;
    socklen_t length = sizeof(address);

    if (http_parse_address(config->http_grpc_host, config->http_grpc_port, "http.grpc_listen",
                           &address, error) != 0)
        return error->code;
    server->listener = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server->listener < 0)
        return error_set_errno(error, errno, "http.grpc_listen: socket");
    (void)setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address.ss_family == AF_INET6)
        (void)setsockopt(server->listener, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (bind(server->listener, (struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(server->listener, BACKLOG) != 0 ||
        getsockname(server->listener, (struct sockaddr *)&address, &length) != 0)
        return error_set_errno(error, errno, "http.grpc_listen: %s:%u", config->http_grpc_host,
                               config->http_grpc_port);
    server->port =
        ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                            : ((struct sockaddr_in *)&address)->sin_port);
    return 0;
}

static int start_loop(struct grpc_loop *loop, struct error *error)
{
    struct epoll_event on_wake = {.events = EPOLLIN, .data.ptr = &loop->wake};
    struct epoll_event on_accept = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = loop->server};
    int failure;

    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (loop->epoll < 0 || loop->wake < 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &on_wake) != 0 ||
        epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->server->listener, &on_accept) != 0)
        return error_set_errno(error, errno, "epoll");
    failure = thread_start(&loop->thread, "grpc", run_loop, loop);
    if (failure != 0)
        return error_set_errno(error, failure, "thread");
    loop->started = true;
    return 0;
}

struct grpc_server *grpc_server_new(const struct grpc_options *options)
{
    struct grpc_server *server = memory_new(1, sizeof(*server));

    server->options = *options;
    if (!server->options.io)
        server->options.io = io_posix();
    server->listener = -1;
    server->loop_connections_max = http_server_connections_max(options->http) / CONNECTIONS_SHARE;
    server->connections = metrics_gauge(options->metrics, "windrow_grpc_connections",
                                        "Connections of gRPC clients", NULL, 0);
    server->floods =
        metrics_counter(options->metrics, "windrow_grpc_floods_total",
                        "gRPC connections ended because of frames that bring no call", NULL, 0);
    server->loops = memory_new(GRPC_LOOPS, sizeof(*server->loops));
    for (int i = 0; i < GRPC_LOOPS; i++) {
        server->loops[i].server = server;
        server->loops[i].epoll = server->loops[i].wake = -1;
        pthread_mutex_init(&server->loops[i].lock, NULL);
    }
    return server;
}

int grpc_server_start(struct grpc_server *server, struct error *error)
{
    int code = grpc_transport_settings_create(&server->transport,
                                              http_server_tls(server->options.http), error);

    if (code == 0)
        code = open_listener(server, error);
    for (int i = 0; i < GRPC_LOOPS && code == 0; i++)
        code = start_loop(&server->loops[i], error);
    return code;
}

static void wake_all(struct grpc_server *server)
{
    for (int i = 0; i < GRPC_LOOPS; i++)
        if (server->loops[i].started)
            wake(&server->loops[i]);
}

void grpc_server_refuse(struct grpc_server *server)
{
    atomic_store(&server->refuses, true);
    wake_all(server);
}

void grpc_server_stop(struct grpc_server *server)
{
    atomic_store(&server->refuses, true);
    atomic_store(&server->stops, true);
    wake_all(server);
    for (int i = 0; i < GRPC_LOOPS; i++) {
        struct grpc_loop *loop = &server->loops[i];
        if (loop->started)
            (void)pthread_join(loop->thread, NULL);
        loop->started = false;
        if (loop->epoll >= 0)
            close(loop->epoll);
        if (loop->wake >= 0)
            close(loop->wake);
        loop->epoll = loop->wake = -1;
    }
    if (server->listener >= 0)
        close(server->listener);
    server->listener = -1;
}

void grpc_server_delete(struct grpc_server *server)
{
    if (!server)
        return;
    grpc_server_stop(server);
    for (int i = 0; i < GRPC_LOOPS; i++)
        pthread_mutex_destroy(&server->loops[i].lock);
    grpc_transport_settings_destroy(&server->transport);
    free(server->loops);
    free(server);
}

uint16_t grpc_server_port(const struct grpc_server *server)
{
    return server->port;
}
