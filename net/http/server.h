/* What the files of this folder share. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include <pthread.h>

#include "net/http/audit.h"
#include "net/http/http.h"
#include "net/http/tls.h"

enum { HTTP_STATUS_COUNT = 19, HTTP_IO_THREADS = 2, HTTP_KEY_SHARES = 64 };

/* A route, and the metrics of its requests: made when first needed, then kept. */
struct http_route_entry {
    const struct http_route *route; /* NULL: stands for all requests that no route fits */
    void *context;
    size_t slashes; /* of its pattern */
    _Atomic(struct metric *) seconds;
    _Atomic(struct metric *) requests[HTTP_STATUS_COUNT]; /* by status */
    _Atomic int32_t short_share;                          /* of its latest requests, see run.c */
};

/* A client's connection. */
struct http_connection {
    struct http_connection *older, *newer; /* of those of its lane that wait for their clients */
    int socket;
    uint32_t lane;
    bool waits;     /* is in that list */
    bool is_closed; /* by us: libmicrohttpd has not noticed yet */
    /* The connection's I/O thread alone changes these. */
    struct http_tls_client certificate;
    const char *uri_end; /* of its latest request, in libmicrohttpd's buffer */
};

/* The head of a request where libmicrohttpd keeps it: as it came, with NULs over the ends of its parts. */
struct http_head {
    const char *begin, *version;
};

struct http_connection_lane {
    struct http_connection *oldest, *newest; /* that wait for their clients */
    uint32_t count;                          /* those that do not, too */
};

struct http_connections {
    pthread_mutex_t lock; /* guards all below */
    struct http_connection_lane lanes[THREAD_LANES_MAX];
    uint32_t count, max;
    struct metric *closed;
};

struct MHD_Daemon;

struct http_server {
    struct http_options options;
    struct http_route_entry *routes; /* the first one is for requests that no route fits */
    size_t route_count;
    struct MHD_Daemon *daemon; /* NULL: not started */
    struct thread_pool *pool;
    struct metric *queue_seconds; /* of requests, in the pool's queue */
    atomic_bool stopping;
    int64_t patience_end_ns;     /* monotonic; set before `stopping` */
    void (*wake)(void *context); /* see http_server_on_stop; or NULL */
    void *wake_context;
    struct http_connections connections;
    struct http_keys *keys;
    struct http_audit *audit;                          /* NULL: none */
    struct http_tls *tls;                              /* NULL: plain HTTP, or not started */
    atomic_size_t bodies_bytes;                        /* of all requests that are here */
    atomic_size_t lane_bodies_bytes[THREAD_LANES_MAX]; /* of each client's */
    atomic_size_t
        key_bodies_bytes[HTTP_KEY_SHARES]; /* of each key's; the first one counts nothing */
    pthread_mutex_t lock;                  /* guards replies_owed */
    pthread_cond_t all_sent;
    unsigned replies_owed; /* requests that the pool accepted and whose reply is not sent yet */
};

void http_connections_create(struct http_connections *connections, uint32_t max,
                             struct metrics *metrics);
void http_connections_destroy(struct http_connections *connections);
/** Takes a new connection in; another one may have to go for it. Any thread, as the others below. */
struct http_connection *http_connection_open(struct http_connections *connections, int socket,
                                             uint32_t lane);
/** Before its socket is closed. */
void http_connection_close(struct http_connections *connections, struct http_connection *one);
/** Lets libmicrohttpd see the end of the input, if that came with the bytes it has read. On its thread. */
void http_connection_notice_end(const struct http_connection *connection);
/** Whether it waits for its client from now on, or its client for us. */
void http_connection_set_waiting(struct http_connections *connections, struct http_connection *one,
                                 bool waits);

/** Percent-decodes into the arena. */
const char *http_percent_decode(struct arena *arena, const char *text, size_t length);
/** Finds the request's route and fills `parts`; or prepares a 404 or 405 and returns false. */
bool http_route_find(struct http_request *request);
/** Whether the request may go on, by its headers alone; else its reply says why not. A route was
 * looked for before (a 404 or 405 lies ready), and is told only to who may know. */
bool http_admit(struct http_request *request, const struct http_head *head);
/** The session of a connection over TLS. */
gnutls_session_t http_session_of(struct MHD_Connection *connection);
/** The connection that the request came on. */
struct http_connection *http_connection_of(const struct http_request *request);
/** Whether the route takes the request's query parameters, and a body if there is one; else its reply
 * says why not. */
bool http_request_check(struct http_request *request);
/** A query parameter of a call, or NULL. */
const char *http_call_argument(const struct http_call *call, const char *name);
void http_call_check_arguments(const struct http_call *call, const struct http_schema *schema,
                               struct error *error);
/** Whether the headers say that a body comes, now or when it is asked for. */
bool http_announces_body(const struct http_request *request);
/** Whether the client sends a body now. */
bool http_expects_body(const struct http_request *request);
/** Begins the series of a route (NULL: of requests that no route fits) that alerts look at. */
void http_route_begin(struct metrics *metrics, const struct http_route *route);
/** Counts a request that has its status. */
void http_route_count(const struct http_request *request);

#endif
