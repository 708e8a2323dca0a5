/* pages: what the endpoint tells of itself: the root, the dashboard, /healthz, /metrics and /openapi.json. */
#ifndef INDEXER_ENDPOINT_PAGES_PAGES_H
#define INDEXER_ENDPOINT_PAGES_PAGES_H

#include "net/http/http.h"

/** Before the server starts. The pages tell of all its routes, of those that are added later, too. */
void pages_add_routes(struct http_server *server);

#endif
