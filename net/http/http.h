/* http: the transport of the endpoint, on libmicrohttpd. It knows connections, limits, keys, routes
 * and the reply envelope; what a route does belongs to the folder that registers it.
 *
 *     server = http_server_new(&options);
 *     http_server_add_routes(server, routes, count, context);    each owner of routes
 *     http_server_start(server, &error);
 *
 * A handler runs on a thread of the server's pool, reads the request and fills the reply. Every
 * failure leaves in Qdrant's error envelope: {"status": {"error": TEXT}, "time": SECONDS}. */
#ifndef NET_HTTP_HTTP_H
#define NET_HTTP_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "base/stop.h"
#include "base/thread_pool.h"
#include "base/trace.h"
#include "config/config.h"
#include "net/http/keys.h"
#include "net/http/schema.h"

enum { HTTP_BODY_MAX_BYTES = 32 * 1024 * 1024, HTTP_PATH_PARTS_MAX = 8, HTTP_JSON_DEPTH_MAX = 64 };

struct http_server;
struct http_request;

struct http_options {
    const struct config *config; /* http.listen and the keys */
    struct metrics *metrics;
    struct io *io;            /* NULL: io_posix() */
    uint32_t connections_max; /* idle ones are closed to stay below; 0: 4096 */
    uint32_t body_seconds;    /* a body may take so long, and stand still for so long; 0: 30 */
};

struct http_route {
    const char *method;
    const char *pattern; /* "/collections/{}/points/query"; {} is one non-empty part of the path */
    void (*handle)(struct http_request *request);
    enum http_access access;
    const struct http_schema *schema; /* what it takes; NULL: no parameters and no body */
};

/** Has no routes yet. */
struct http_server *http_server_new(const struct http_options *options);
/** Stops it first. NULL is allowed. */
void http_server_delete(struct http_server *server);
/** Handlers find `context` in the request. Before the start; `routes` stays the caller's and must
 * outlive the server. */
void http_server_add_routes(struct http_server *server, const struct http_route *routes,
                            size_t count, void *context);
/** What http_server_new was given; `io` is filled in. */
const struct http_options *http_server_options(const struct http_server *server);
/** The routes in the order in which they were added, from 0; NULL behind the last one. */
const struct http_route *http_server_route(const struct http_server *server, size_t place);
/** Calls `wake` when the server stops, after http_request_cancelled of every request has become true:
 * requests that sleep have to look at it. Before the start. */
void http_server_on_stop(struct http_server *server, void (*wake)(void *context), void *context);
/** Listens; with http.tls.cert_file over TLS. ERROR_INVALID with the file that is wrong, ERROR_IO with the address when it is in use. */
int http_server_start(struct http_server *server, struct error *error);
/** Reads the certificates again (http.tls) and opens the audit log again; on an error those before stay in force.
 * Connections stay open. */
int http_server_reload(struct http_server *server, struct error *error);
/** Stops listening, lets requests under way finish (after 5 s they are given up), closes. Handlers
 * have returned and none begins. */
void http_server_stop(struct http_server *server);
/** The port it listens on (for `listen: 127.0.0.1:0`). */
uint16_t http_server_port(const struct http_server *server);

struct MHD_Connection;
struct http_route_entry;

/* What another front than REST brings in place of text (net/grpc). */
struct http_argument {
    const char *name, *value;
};

struct http_call {
    struct doc body;                       /* a map in the request's arena */
    const struct http_argument *arguments; /* the query parameters that REST would have */
    size_t argument_count;
    struct buffer vectors; /* of the reply, see http_call_add_vector */
};

/* One request on its way through a handler, and the reply it builds. */
struct http_request {
    struct http_server *server;
    void *context;                     /* of the route's owner */
    struct MHD_Connection *connection; /* NULL with a call */
    struct http_call *call;            /* NULL: it came over REST */
    struct http_route_entry *route;    /* NULL: none fits */
    const char *method;
    const char *path;
    const char *accept;                     /* Accept header, or "" */
    const char *body_type;                  /* Content-Type header, or NULL */
    const char *parts[HTTP_PATH_PARTS_MAX]; /* what {..} of the route matched, decoded */
    size_t part_count;
    /* The one that its path names, once rest_request_collection found it. It stays this one, whatever
     * becomes of the name meanwhile; NULL: nobody asked yet. */
    const struct config_collection *collection;
    struct buffer body;
    uint32_t body_share; /* the account of its key, of what bodies may hold; 0: it has no key */
    struct trace_context trace; /* what the client's traceparent says, or a new trace */
    struct arena arena;         /* everything a handler makes */
    int64_t start_ns;           /* its headers were complete */
    int64_t complete_ns;        /* its body, too: a client's timeout counts from here */
    int64_t begin_ns;           /* of its handler; 0: it waits for its turn */
    /* When the work for it ends. Handlers set the deadline; nobody waits any more when the client has
     * closed its connection, or a while after the server began to stop. */
    struct stop stop;
    bool is_here;              /* on an I/O thread, which it must not keep for long */
    atomic_bool gives_up_here; /* it does not get through there: it begins anew in the pool */

    /* the reply */
    unsigned status;
    const char *content_type;
    const char *allow;            /* Allow header of a 405, or NULL */
    const char *cors_origin;      /* the web page's, when it may use the service; or NULL */
    bool closes;                  /* the connection ends with it */
    bool needs_host;              /* it is of HTTP/1.1 */
    bool is_chunked;              /* its body is: the connection ends with it */
    char who[HTTP_CALLER_BYTES];  /* name of the caller's key, or "" */
    unsigned retry_after_seconds; /* Retry-After header of a 429 or 503, 0: none */
    bool partial;                 /* header windrow-partial: 1 */
    const char *next_page;        /* header windrow-next-page-offset, or NULL */
    bool coded_by_choice;         /* of the client: Vary names Accept-Encoding */
    const char *coding;           /* Content-Encoding of the reply, or NULL */
    struct buffer reply;
};

/** A query argument, decoded, or NULL. */
const char *http_request_argument(struct http_request *request, const char *name);
/** The body as a JSON object into *body, checked against the route's schema; an empty body is an empty
 * object. */
int http_request_body(struct http_request *request, struct doc *body, struct error *error);

/** Around waiting for somebody else: other requests run meanwhile. False when too many wait
 * already; the request must not wait then. So it is on an I/O thread, and the handler will be called again. */
bool http_request_wait_begin(struct http_request *request);
void http_request_wait_end(struct http_request *request);
/** Whether the handler has to end with any reply: what it comes to takes a thread of the pool, which then calls it
 * again. */
bool http_request_needs_pool(struct http_request *request);
/** The pool that runs requests: parts of one may be worked on by its idle threads. */
struct thread_pool *http_request_pool(const struct http_request *request);
/** True when the server stops: whoever waits gives up. */
const atomic_bool *http_request_cancelled(const struct http_request *request);

/** `{"result":` - the handler appends the result to request->reply, then calls http_reply_end. */
void http_reply_begin(struct http_request *request);
/** `,"status":"ok","time":0.000123}` and status 200. `extra` (may be NULL) is put beside the
 * result: text that starts with a comma. */
void http_reply_end(struct http_request *request, const char *extra);
/** Drops what was written so far and replies with the error envelope. */
void http_reply_error(struct http_request *request, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** The status that fits an error's code: invalid 400, not found 404, busy 429, timeout 408... */
void http_reply_from_error(struct http_request *request, const struct error *error);
/** A body without the envelope follows in request->reply. */
void http_reply_plain(struct http_request *request, unsigned status, const char *content_type);

struct http_tls;
/** How many connections it keeps. */
uint32_t http_server_connections_max(const struct http_server *server);
/** The certificates of the endpoint, once it has started; NULL: it does not speak TLS. */
struct http_tls *http_server_tls(const struct http_server *server);

/* Other fronts. Their requests run in the server's pool, through its routes, under its limits. A
 * front fills server, call, route, method, path, parts, the times and `stop`, and runs the request
 * in a task of the pool with http_call_run; the reply is JSON text, as for REST. */

/** The lane of the pool that belongs to a client's address. */
struct sockaddr;
uint32_t http_lane_of(const struct sockaddr *address);
/** Numeric address and port into a socket's address. */
struct sockaddr_storage;
int http_parse_address(const char *host, uint16_t port, const char *key,
                       struct sockaddr_storage *address, struct error *error);
/** The route with that method and pattern; NULL: nobody has added one, or it is not offered. */
struct http_route_entry *http_route_of(struct http_server *server, const char *method,
                                       const char *pattern);
enum http_access http_route_access(const struct http_route_entry *route);
/** http_keys_authorise with the server's keys. */
enum http_verdict http_call_authorise(struct http_server *server, const struct http_caller *caller,
                                      enum http_access access, char who[HTTP_CALLER_BYTES],
                                      struct error *error);
/** Tells the audit log of a request that has its status, if it is one for it. `event` brings what the
 * front knows (certificate, forwarded, body_bytes), the rest is filled here. */
struct http_audit_event;
void http_request_audit(const struct http_request *request, const struct sockaddr *from,
                        struct http_audit_event *event);
/** Takes room for a part of a body among those of all requests, of those of its address (`lane`), and of those with its
 * key. False: there is none now. */
bool http_body_reserve(const struct http_request *request, uint32_t lane, size_t bytes);
void http_body_release(const struct http_request *request, uint32_t lane, size_t bytes);
/** Of a key that was right: struct http_request, body_share. */
uint32_t http_body_share(const struct http_server *server, const char *key);
/** Hands a task to the pool that runs requests. False when it is full or the server stops: see
 * http_server_is_stopping. */
bool http_call_submit(struct http_server *server, struct thread_task *task);
/** Takes a task out of the queue again. False: a thread has it. */
bool http_call_unqueue(struct http_server *server, struct thread_task *task);
bool http_server_is_stopping(const struct http_server *server);
/** Checks the request against its route's schema and runs the handler. The reply is filled. */
void http_call_run(struct http_request *request);
/** Instead of a hand-over to the pool: the I/O thread that read the request runs it, if it is likely to be short.
 * False: it goes to the pool. True: http_call_run and http_request_end_here follow on this thread. */
bool http_request_begin_here(struct http_request *request, uint32_t lane);
/** Whether its reply is filled. False: nothing has happened, and it goes to the pool. */
bool http_request_end_here(struct http_request *request);
/** Begins its trace: what the client's traceparent says (NULL: it sent none), or a new one. */
void http_call_trace(struct http_request *request, const char *traceparent);
/** For stop.abandoned: whether the work for the request may end. `client_gone`: nobody waits for the reply. */
bool http_request_is_abandoned(struct http_request *request, bool client_gone);
/** Puts a vector beside the reply's text: its count and its floats, 4 bytes each. Returns its place in
 * `vectors`, which stands in the text for it. */
size_t http_call_add_vector(struct http_request *request, const float *vector, uint32_t count);

#define HTTP_TYPE_JSON   "application/json"
#define HTTP_TYPE_TEXT   "text/plain; charset=utf-8"
#define HTTP_TYPE_BINARY "application/octet-stream"

#endif
