/* connections: kept-alive connections to other nodes, and the transfers on them. Inside the room only.
 *
 * An exchange takes a set, which it alone uses until it gives the set back. libcurl is told which
 * sockets are ready (its multi_socket interface), so a wake-up costs as much as the answers that
 * came, not as much as the nodes that were asked. Handles are kept with what every request has:
 * making one costs more than the request. */
#ifndef CLUSTER_CONNECTIONS_H
#define CLUSTER_CONNECTIONS_H

#include <curl/curl.h>

#include "base/io.h"
#include "config/config.h"

struct connections;
struct connection_set;

/** Both arguments must outlive it. */
struct connections *connections_new(const struct config *config, struct io *io);
/** All sets are given back. NULL is allowed. */
void connections_delete(struct connections *connections);

/** Any thread, as connections_give. */
struct connection_set *connections_take(struct connections *connections);
/** All transfers of the set have ended (connection_set_end). */
void connections_give(struct connection_set *set);

/** A handle for a POST with what all requests have (http_client_prepare). The caller sets the rest, each time: URL, body,
 * headers, CURLOPT_TIMEOUT_MS, and where the answer goes. */
CURL *connection_set_handle(struct connection_set *set);
/** Adds the transfer; nothing is sent before connection_set_work. */
void connection_set_begin(struct connection_set *set, CURL *curl);
/** Takes the transfer out, finished or not; the handle is not the caller's any more. */
void connection_set_end(struct connection_set *set, CURL *curl);
/** Sends and receives what can be; waits for a socket for `timeout_ms` at most. */
void connection_set_work(struct connection_set *set, int timeout_ms);
/** A transfer that is over, once; NULL: no further one. */
CURL *connection_set_finished(struct connection_set *set, CURLcode *result);

#endif
