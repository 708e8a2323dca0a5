/* openapi: the description of all routes. Inside the folder only. */
#ifndef INDEXER_ENDPOINT_PAGES_OPENAPI_H
#define INDEXER_ENDPOINT_PAGES_OPENAPI_H

#include "net/http/http.h"

/** GET /openapi.json. */
void openapi_handle(struct http_request *request);

#endif
