/* What the files of this folder share. */
#ifndef INDEXER_HTTP_SERVER_H
#define INDEXER_HTTP_SERVER_H

#include <pthread.h>

#include "indexer/http/http.h"

enum { HTTP_STATUS_COUNT = 16 };

/* A route, and the metrics of its requests: made when first needed, then kept. */
struct http_route_entry {
    const struct http_route *route; /* NULL: stands for all requests that no route fits */
    void *context;
    _Atomic(struct metric *) seconds;
    _Atomic(struct metric *) requests[HTTP_STATUS_COUNT]; /* by status */
};

struct MHD_Daemon;

struct http_server {
    struct http_options options;
    struct http_route_entry *routes; /* the first one is for requests that no route fits */
    size_t route_count;
    struct MHD_Daemon *daemon; /* NULL: not started */
    struct thread_pool *pool;
    atomic_bool stopping;
    int64_t patience_end_ns;     /* monotonic; set before `stopping` */
    void (*wake)(void *context); /* see http_server_on_stop; or NULL */
    void *wake_context;
    atomic_size_t bodies_bytes; /* of all requests that are here */
    pthread_mutex_t lock;       /* guards replies_owed */
    pthread_cond_t all_sent;
    unsigned replies_owed; /* requests that the pool accepted and whose reply is not sent yet */
};

/** Percent-decodes into the arena. */
const char *http_percent_decode(struct arena *arena, const char *text, size_t length);
/** Finds the request's route and fills `parts`; or prepares a 404 or 405 and returns false. */
bool http_route_find(struct http_request *request);
/** Whether the request may go on, by its headers alone; else its reply says why not. A route was
 * looked for before (a 404 or 405 lies ready), and is told only to who may know. */
bool http_admit(struct http_request *request);
/** Whether the route takes the request's query parameters, and a body if there is one; else its reply
 * says why not. */
bool http_request_check(struct http_request *request);
/** Whether the client sends a body now. */
bool http_expects_body(const struct http_request *request);
/** Counts a request that has its status. */
void http_route_count(const struct http_request *request);

/** The folder's own pages: /, /healthz, /metrics, /openapi.json. */
extern const struct http_route http_pages[];
extern const size_t http_page_count;

void http_handle_openapi(struct http_request *request);

#endif
