/* What the files of this folder share. A loop is an I/O thread with its connections; a connection, its calls and
 * nghttp2's session are touched by that thread alone. A thread of the pool has a call between submit and grpc_loop_done. */
#ifndef NET_GRPC_SERVER_H
#define NET_GRPC_SERVER_H

#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <sys/socket.h>

#include "net/grpc/grpc.h"
#include "net/grpc/transport.h"
#include "net/http/http.h"

enum {
    GRPC_LOOPS = 2,         /* I/O threads */
    GRPC_STREAMS_MAX = 128, /* of a connection */
    GRPC_CALLS_MAX =
        2 * GRPC_STREAMS_MAX, /* those whose client has gone away count until they have ended */
    GRPC_HEADERS_MAX_BYTES = 16 * 1024,
    GRPC_PREFIX_BYTES = 5
};

struct grpc_connection;
struct grpc_loop;

struct grpc_server {
    struct grpc_options options;
    struct grpc_loop *loops;
    struct grpc_transport_settings transport;
    int listener; /* -1: none */
    uint16_t port;
    uint32_t loop_connections_max; /* each loop keeps so many */
    atomic_bool refuses, stops;
    struct metric *connections, *floods;
};

enum grpc_call_state {
    GRPC_CALL_HEADERS,
    GRPC_CALL_BODY,
    GRPC_CALL_QUEUED,  /* the pool has it */
    GRPC_CALL_REPLYING /* the reply is nghttp2's to send */
};

/* One stream. */
struct grpc_call {
    struct thread_task task;
    struct http_request request;
    struct http_call http;
    struct grpc_loop *loop;
    struct grpc_connection
        *connection;                 /* NULL: the stream was closed while the pool had the call */
    struct grpc_call *older, *newer; /* of the connection */
    struct grpc_call *next_done;
    struct grpc_method *method;
    int32_t stream;
    uint32_t lane;
    enum grpc_call_state state;
    atomic_bool cancelled; /* nobody waits for the reply */
    bool ended;            /* the client has sent all */
    bool streams; /* several replies: the first has been handed over, or more may follow it */
    size_t header_bytes;
    const char *http_method, *path, *type, *timeout, *encoding, *key, *traceparent,
        *page; /* headers; NULL: none */
    uint8_t prefix[GRPC_PREFIX_BYTES];
    uint32_t prefix_bytes, message_bytes; /* message_bytes: as the prefix says */
    enum grpc_status status;
    const char *message; /* of a status that is not OK */
    struct buffer reply; /* with its prefix */
    size_t reply_sent;
    int64_t progress_ns; /* when its client last sent something of it */
    int64_t reply_ns;    /* since when it waits for the client */
};

struct grpc_connection {
    struct grpc_loop *loop;
    struct grpc_connection *older, *newer; /* of the loop */
    nghttp2_session *session;
    struct grpc_transport transport;
    struct sockaddr_storage address;
    uint32_t lane;
    struct grpc_call *oldest, *newest; /* streams that are open */
    uint32_t call_count;               /* and those closed that the pool still has */
    uint32_t answered; /* calls, while it was read; their replies are not sent yet */
    struct buffer out;
    size_t out_sent;
    bool greeted;            /* a frame has come */
    bool is_dirty;           /* in the loop's list of those to flush */
    bool is_closed;          /* no longer used; freed when its calls have come back */
    bool waits_for_writable; /* the socket is full */
    struct grpc_connection *next_dirty;
    double credit;      /* for frames that ask for work and bring none */
    int64_t credit_ns;  /* when it was counted */
    int64_t active_ns;  /* last useful frame */
    int64_t written_ns; /* last progress of the output */
};

struct grpc_loop {
    struct grpc_server *server;
    pthread_t thread;
    bool started;
    int epoll, wake;
    struct grpc_connection *oldest, *newest; /* by when they came */
    struct grpc_connection *dirty;
    uint32_t connection_count;
    uint32_t lanes[THREAD_LANES_MAX]; /* connections of each client's lane */
    pthread_mutex_t lock;             /* guards done */
    struct grpc_call *done;           /* came back from the pool */
    bool goaway_sent;
};

/* connection.c */
/** Takes the socket over. */
void grpc_connection_open(struct grpc_loop *loop, int socket,
                          const struct sockaddr_storage *address);
/** Closes it; calls that the pool has are cancelled. */
void grpc_connection_close(struct grpc_connection *connection);
void grpc_connection_on_readable(struct grpc_connection *connection);
/** Sends what the session has; frees a closed connection. */
void grpc_connection_flush(struct grpc_connection *connection);
void grpc_connection_mark_dirty(struct grpc_connection *connection);
void grpc_connection_goaway(struct grpc_connection *connection);
/** Closes what has been idle, silent or slow for too long. */
void grpc_connection_tick(struct grpc_connection *connection, int64_t now_ns);
/** Hands a call's reply to the session. Of a call that streams: what there is of it by now. */
void grpc_connection_reply(struct grpc_call *call);

/* call.c */
struct grpc_call *grpc_call_new(struct grpc_connection *connection, int32_t stream);
/** Its stream is closed: frees it now, or when it comes back from the pool. */
void grpc_call_close(struct grpc_call *call);
/** It came back from the pool: sends the reply, or frees it when the stream is closed. */
void grpc_call_return(struct grpc_call *call);
/** Whether it goes on without a key. */
bool grpc_call_is_open(const struct grpc_call *call);
/** The headers are complete: may it go on? Else it is answered. */
void grpc_call_admit(struct grpc_call *call);
void grpc_call_take(struct grpc_call *call, const uint8_t *data, size_t size);
/** The client has sent all. */
void grpc_call_end(struct grpc_call *call);

/* server.c */
/** The pool is through with the call. Any thread. */
void grpc_loop_done(struct grpc_call *call);

int64_t grpc_now_ns(const struct grpc_loop *loop);

#endif
