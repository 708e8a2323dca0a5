/* dialect: Qdrant's gRPC protocol for the server of net/grpc. A call becomes the request that REST would have, and its
 * reply a message, by a catalog of messages, methods and routes. Made once, then read only. */
#ifndef INDEXER_ENDPOINT_GRPC_DIALECT_H
#define INDEXER_ENDPOINT_GRPC_DIALECT_H

#include "net/grpc/grpc.h"

struct grpc_catalog;

/** Looks the routes up in `server`: they must be added before. */
struct grpc_catalog *grpc_catalog_new(struct http_server *server, struct metrics *metrics);
/** After the server that uses it. NULL is allowed. */
void grpc_catalog_delete(struct grpc_catalog *catalog);
/** For struct grpc_options; lives as long as the catalog. */
const struct grpc_dialect *grpc_catalog_dialect(const struct grpc_catalog *catalog);

#endif
