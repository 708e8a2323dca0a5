/* reload: SIGHUP, and what may change while the service runs. */
#ifndef WINDROW_DAEMON_RELOAD_H
#define WINDROW_DAEMON_RELOAD_H

#include <stdint.h>

struct config_collection;
struct http_request;
struct service;

/** Reads the config again and applies what may change while running; logs what needs a restart. */
void reload_config(struct service *service);
/** Logs why a collection is refused, and what to do. */
void reload_tell_refused(const struct config_collection *collection);
/** GET /config: what `windrow check-config --against URL` compares a file with. Its context is the service. */
void reload_handle_config(struct http_request *request);
/** Another TTL for a collection, in open shards too. */
void reload_set_ttl(struct service *service, const char *collection, int64_t ttl_ms);

#endif
