/* One request on its way through a handler, and the reply it builds. */
#ifndef INDEXER_HTTP_REQUEST_H
#define INDEXER_HTTP_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "indexer/http/http.h"

enum {
    HTTP_BODY_MAX_BYTES = 32 * 1024 * 1024,
    HTTP_REPLY_MAX_BYTES = 256 * 1024 * 1024,
    HTTP_PATH_PARTS_MAX = 8,
    HTTP_JSON_DEPTH_MAX = 64
};

struct http_server;
struct MHD_Connection;

struct http_request {
    struct http_server *server;
    const struct http_options *options; /* the server's */
    struct MHD_Connection *connection;
    const char *method;
    const char *path;
    const char *accept;                     /* Accept header, or "" */
    const char *parts[HTTP_PATH_PARTS_MAX]; /* what {..} of the route matched, decoded */
    size_t part_count;
    const struct http_route *route;
    struct buffer body;
    bool body_too_large;
    struct arena arena; /* everything a handler makes */
    int64_t start_ns;

    /* the reply */
    unsigned status;
    const char *content_type;
    const char *allow;            /* Allow header of a 405, or NULL */
    unsigned retry_after_seconds; /* Retry-After header of a 429 or 503, 0: none */
    struct buffer reply;
};

/** A query argument, decoded, or NULL. */
const char *http_request_argument(struct http_request *request, const char *name);
/** Percent-decodes into the arena. */
const char *http_percent_decode(struct arena *arena, const char *text, size_t length);

/** Around waiting for somebody else: others are served meanwhile. False when too many wait already;
 * the request must not wait then. */
bool http_request_wait_begin(struct http_request *request);
void http_request_wait_end(struct http_request *request);
struct thread_pool;
/** Threads that help a search; may be NULL. */
struct thread_pool *http_request_pool(const struct http_request *request);
/** True when the server stops: whoever waits gives up. */
const atomic_bool *http_request_cancelled(const struct http_request *request);

/* ---- the envelope (envelope.c)
 * -------------------------------------------------------------------- */

/** `{"result":` - the handler appends the result to request->reply, then calls http_reply_end. */
void http_reply_begin(struct http_request *request);
/** `,"status":"ok","time":0.000123}` and status 200. `extra` (may be NULL) is put beside the
 * result: text that starts with a comma. */
void http_reply_end(struct http_request *request, const char *extra);
/** Drops what was written so far and replies with Qdrant's error envelope. */
void http_reply_error(struct http_request *request, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/** The status that fits an error's code: invalid 400, not found 404, busy 429, timeout 408... */
void http_reply_from_error(struct http_request *request, const struct error *error);

/* ---- routing (route.c)
 * ---------------------------------------------------------------------------- */

struct http_route {
    const char *method;
    const char *pattern; /* "/collections/{}/points/query" */
    void (*handle)(struct http_request *request);
};

/** Finds the route and runs its handler, or replies 404 or 405. */
void http_route_dispatch(struct http_request *request);
/** All routes, for the OpenAPI description and tests. */
const struct http_route *http_routes(size_t *count);

/* ---- handlers ---- */

void http_handle_root(struct http_request *request);
void http_handle_health(struct http_request *request);
void http_handle_livez(struct http_request *request);
void http_handle_readyz(struct http_request *request);
void http_handle_metrics(struct http_request *request);
void http_handle_status(struct http_request *request);
void http_handle_windows(struct http_request *request);
void http_handle_openapi(struct http_request *request);

void http_handle_run(struct http_request *request);
void http_handle_codebook(struct http_request *request);
void http_handle_segment_begin(struct http_request *request);
void http_handle_segment_part(struct http_request *request);

void http_handle_collections(struct http_request *request);
void http_handle_aliases(struct http_request *request);
void http_handle_collection(struct http_request *request);
void http_handle_collection_exists(struct http_request *request);
void http_handle_collection_create(struct http_request *request);
void http_handle_collection_update(struct http_request *request);
void http_handle_collection_delete(struct http_request *request);
void http_handle_collection_aliases(struct http_request *request);
void http_handle_compact(struct http_request *request);
void http_handle_rebuild(struct http_request *request);
void http_handle_index_create(struct http_request *request);
void http_handle_index_delete(struct http_request *request);
void http_handle_not_available(struct http_request *request);

void http_handle_query(struct http_request *request);
void http_handle_query_batch(struct http_request *request);
void http_handle_query_groups(struct http_request *request);
void http_handle_search(struct http_request *request);
void http_handle_scroll(struct http_request *request);
void http_handle_count(struct http_request *request);
void http_handle_facet(struct http_request *request);
void http_handle_retrieve(struct http_request *request);

void http_handle_backup(struct http_request *request);
void http_handle_pause(struct http_request *request);
void http_handle_trust_clock(struct http_request *request);
void http_handle_resume(struct http_request *request);

void http_handle_upsert(struct http_request *request);
void http_handle_delete(struct http_request *request);
void http_handle_write_batch(struct http_request *request);
void http_handle_partial_update(struct http_request *request);

#endif
