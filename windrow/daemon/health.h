/* health: whether the service lives, and whether it is ready. */
#ifndef WINDROW_DAEMON_HEALTH_H
#define WINDROW_DAEMON_HEALTH_H

#include <stdbool.h>
#include <stddef.h>

struct service;

/* A loop is alive while its heartbeat is younger than this; a stuck one stops the watchdog's pings.
 */
enum { HEALTH_LOOP_TIMEOUT_MS = 30000 };

/** Every loop gave a sign of life lately. Any thread. */
bool health_alive(struct service *service);
/** Caught up, or why not. Any thread. */
bool health_ready(struct service *service, char *why, size_t why_bytes);

/** Whether NATS is reached, where it is configured; else why not, and what that means. Any thread. */
bool health_connected(struct service *service, char *why, size_t why_bytes);

#endif
