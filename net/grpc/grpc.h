/* grpc: gRPC over HTTP/2, on nghttp2. It knows connections, streams, the framing of messages, statuses and time limits. What
 * a message says is known to a dialect, which turns a call into the request that REST would have. The request runs through
 * its route of net/http, in the same pool, under the same keys, limits and deadlines.
 *
 *     headers    find: the method, whose route says who may call it
 *     message    read: the message into the request; then the route's handler runs
 *     reply      write: the handler's reply into a message
 *
 *     server = grpc_server_new(&options);        when all routes are added
 *     grpc_server_start(server, &error);
 *     grpc_server_refuse(server);                no new calls
 *     http_server_stop(http);                    calls under way end
 *     grpc_server_stop(server);                  their replies are sent */
#ifndef NET_GRPC_GRPC_H
#define NET_GRPC_GRPC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"

struct config;
struct grpc_call;
struct grpc_server;
struct http_request;
struct http_route_entry;
struct http_server;

/* https://github.com/grpc/grpc/blob/master/doc/statuscodes.md */
enum grpc_status {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_UNKNOWN = 2,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_ALREADY_EXISTS = 6,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_UNAUTHENTICATED = 16
};

enum { GRPC_STATUSES = 17 };

/* A method that clients may call. The dialect fills it and keeps it as long as the server. */
struct grpc_method {
    const char *path;        /* "/package.Service/Method" */
    const char *http_method; /* of the route */
    struct http_route_entry
        *route; /* it answers; NULL: nobody has added it, and the method is not served */
    /* Any number of messages, each answered at once by `answer`. The route does not run: it says who may call. */
    bool streams;
    uint32_t message_max_bytes; /* 0: as a body of HTTP */
    struct metric *seconds;
    _Atomic(struct metric *) requests[GRPC_STATUSES]; /* by grpc-status */
};

/** Fills what is not the dialect's: the default limit, the metrics. */
void grpc_method_begin(struct grpc_method *method, struct metrics *metrics);
/** Counts a call that has ended. Any thread. */
void grpc_method_count(struct grpc_method *method, struct metrics *metrics, enum grpc_status status,
                       double seconds);

struct grpc_dialect {
    void *context;
    /** The method with that path, or NULL. On I/O threads. */
    struct grpc_method *(*find)(void *context, const char *path);
    struct grpc_method *unknown; /* stands for calls that have no method, in the metrics */
    /** Reads the message, which is the body of the call's request, and fills the rest of the request: path, parts, call.
     * False: it has failed the call. On a thread of the pool, or on an I/O thread when the route is short. */
    bool (*read)(struct grpc_call *call);
    /** Appends the message that says what the request's reply says, or fails the call. On the thread of `read`. */
    void (*write)(struct grpc_call *call, struct buffer *reply);
    /** Answers one message of a stream. On an I/O thread: it must not wait. ERROR_INVALID: it is no message. */
    int (*answer)(const void *message, size_t size, struct buffer *reply, struct error *error);
};

struct http_request *grpc_call_request(struct grpc_call *call);
const struct grpc_method *grpc_call_method(const struct grpc_call *call);
/** The call ends with that status. The text is copied. */
void grpc_call_fail(struct grpc_call *call, enum grpc_status status, const char *message);

struct grpc_options {
    const struct config *config; /* http.grpc_listen */
    struct http_server *http;    /* whose routes and pool are used; must outlive the server */
    const struct grpc_dialect *dialect; /* must outlive the server */
    struct metrics *metrics;
    struct io *io; /* NULL: io_posix() */
};

struct grpc_server *grpc_server_new(const struct grpc_options *options);
/** Stops it first. NULL is allowed. */
void grpc_server_delete(struct grpc_server *server);
/** Listens on http.grpc_listen; over TLS when the HTTP server, which has started, speaks it. ERROR_IO with the address when it is in use. */
int grpc_server_start(struct grpc_server *server, struct error *error);
/** Stops listening and tells clients to go elsewhere; calls under way go on. */
void grpc_server_refuse(struct grpc_server *server);
/** Sends what is owed, for 5 s at most, and closes. The HTTP server must have stopped. */
void grpc_server_stop(struct grpc_server *server);
/** The port it listens on (for port 0). */
uint16_t grpc_server_port(const struct grpc_server *server);

#endif
