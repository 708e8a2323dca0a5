/* http: the Qdrant REST dialect and the pages around it, on libmicrohttpd.
 *
 *     server.c    connections, bodies, limits      route.c     path -> handler table, 404/405
 *     envelope.c  {"result","status","time"}       one file per group of routes
 *
 * Handlers turn JSON into the structs of query.h and results into JSON; they hold no state of their
 * own. Every failure leaves in Qdrant's error envelope. */
#ifndef INDEXER_HTTP_HTTP_H
#define INDEXER_HTTP_HTTP_H

#include <stdint.h>

#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "indexer/indexer.h"

struct http_server;
struct worker_pool;

struct http_options {
    const struct config *config;
    struct store_registry *registry;
    const struct indexer_host *host;
    struct metrics *metrics;
    struct io *io;
    struct worker_pool *workers; /* what builders elsewhere hand back goes there; may be NULL */
};

/** Listens and serves from a thread pool. ERROR_IO with the address when it is in use. */
int http_server_start(const struct http_options *options, struct http_server **server,
                      struct error *error);
/** Stops listening, lets requests under way finish (at most 5 s), closes. */
void http_server_stop(struct http_server *server);
uint16_t http_server_port(const struct http_server *server);

#endif
