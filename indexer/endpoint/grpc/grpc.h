/* grpc: the endpoint for Qdrant's gRPC clients, on nghttp2 and libprotobuf-c. A call becomes the request that REST would
 * have and runs through the same route of net/http, in the same pool, under the same keys, limits and deadlines.
 *
 *     server = grpc_server_new(&options);        when all routes are added
 *     grpc_server_start(server, &error);
 *     grpc_server_refuse(server);                no new calls
 *     http_server_stop(http);                    calls under way end
 *     grpc_server_stop(server);                  their replies are sent */
#ifndef INDEXER_ENDPOINT_GRPC_GRPC_H
#define INDEXER_ENDPOINT_GRPC_GRPC_H

#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"
#include "net/http/http.h"

struct grpc_server;

struct grpc_options {
    const struct config *config; /* http.grpc_listen */
    struct http_server *http;    /* whose routes and pool are used; must outlive the server */
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
