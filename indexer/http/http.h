/* http: the transport of the endpoint, on libmicrohttpd. It knows connections, limits, keys, routes
 * and the reply envelope; what a route does belongs to the folder that registers it.
 *
 *     server = http_server_new(&options);
 *     http_server_add_routes(server, routes, count, context);    each owner of routes
 *     http_server_start(server, &error);
 *
 * A handler runs on a thread of the server's pool, reads the request and fills the reply. Every
 * failure leaves in Qdrant's error envelope: {"status": {"error": TEXT}, "time": SECONDS}. */
#ifndef INDEXER_HTTP_HTTP_H
#define INDEXER_HTTP_HTTP_H

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
#include "config/config.h"
#include "indexer/http/keys.h"
#include "indexer/http/schema.h"

enum { HTTP_BODY_MAX_BYTES = 32 * 1024 * 1024, HTTP_PATH_PARTS_MAX = 8, HTTP_JSON_DEPTH_MAX = 64 };

struct http_server;
struct http_request;

struct http_options {
    const struct config *config; /* http.listen, the key, the collections */
    struct metrics *metrics;
    struct io *io;            /* NULL: io_posix() */
    uint32_t connections_max; /* idle ones are closed to stay below; 0: 4096 */
};

struct http_route {
    const char *method;
    const char *pattern; /* "/collections/{}/points/query"; {} is one non-empty part of the path */
    void (*handle)(struct http_request *request);
    enum http_access access;
    const struct http_schema *schema; /* what it takes; NULL: no parameters and no body */
};

/** Comes with the pages of its own: /, /healthz, /metrics, /openapi.json. */
struct http_server *http_server_new(const struct http_options *options);
/** Stops it first. NULL is allowed. */
void http_server_delete(struct http_server *server);
/** Handlers find `context` in the request. Before the start; `routes` stays the caller's and must
 * outlive the server. */
void http_server_add_routes(struct http_server *server, const struct http_route *routes,
                            size_t count, void *context);
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

/* One request on its way through a handler, and the reply it builds. */
struct http_request {
    struct http_server *server;
    void *context; /* of the route's owner */
    struct MHD_Connection *connection;
    struct http_route_entry *route; /* NULL: none fits */
    const char *method;
    const char *path;
    const char *accept;                     /* Accept header, or "" */
    const char *parts[HTTP_PATH_PARTS_MAX]; /* what {..} of the route matched, decoded */
    size_t part_count;
    struct buffer body;
    struct arena arena;  /* everything a handler makes */
    int64_t start_ns;    /* its headers were complete */
    int64_t complete_ns; /* its body, too: a client's timeout counts from here */
    /* When the work for it ends. Handlers set the deadline; nobody waits any more when the client has
     * closed its connection, or a while after the server began to stop. */
    struct stop stop;

    /* the reply */
    unsigned status;
    const char *content_type;
    const char *allow;            /* Allow header of a 405, or NULL */
    const char *cors_origin;      /* the web page's, when it may use the service; or NULL */
    bool closes;                  /* the connection ends with it */
    char who[HTTP_CALLER_BYTES];  /* name of the caller's key, or "" */
    unsigned retry_after_seconds; /* Retry-After header of a 429 or 503, 0: none */
    bool partial;                 /* header windrow-partial: 1 */
    struct buffer reply;
};

/** A query argument, decoded, or NULL. */
const char *http_request_argument(struct http_request *request, const char *name);
/** The body as a JSON object into *body, checked against the route's schema; an empty body is an empty
 * object. */
int http_request_body(struct http_request *request, struct doc *body, struct error *error);
/** The collection that parts[0] names: "Not found: Collection `x` doesn't exist!" */
int http_request_collection(struct http_request *request,
                            const struct config_collection **collection, struct error *error);

/** Around waiting for somebody else: other requests run meanwhile. False when too many wait
 * already; the request must not wait then. */
bool http_request_wait_begin(struct http_request *request);
void http_request_wait_end(struct http_request *request);
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

#define HTTP_TYPE_JSON   "application/json"
#define HTTP_TYPE_TEXT   "text/plain; charset=utf-8"
#define HTTP_TYPE_BINARY "application/octet-stream"

#endif
