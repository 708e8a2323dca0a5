/* The routes by which an operator compacts or rebuilds windows. */
#ifndef WINDROW_DAEMON_WINDOWS_H
#define WINDROW_DAEMON_WINDOWS_H

#include "net/http/http.h"

/** POST /collections/{}/compact and /rebuild. The route's context is the service. */
extern const struct http_schema windows_schema; /* of both */
void windows_handle_compact(struct http_request *request);
void windows_handle_rebuild(struct http_request *request);

#endif
