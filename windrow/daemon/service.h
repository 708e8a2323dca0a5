/* The running service: opens the store, answers, consumes, compacts; stops in the reverse order. */
#ifndef WINDROW_SERVICE_H
#define WINDROW_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct daemon_options;
struct service;

/** Starts everything. A broker or NATS that is away is no failure. */
int service_start(const struct daemon_options *options, struct service **service,
                  struct error *error);
/** Stops reading, flushes, commits offsets as a hint, closes. Frees the service. */
void service_stop(struct service *service);
/** Called about twice a second by the main thread: what needs a look now and then. */
void service_tick(struct service *service);
/** The port of HTTP. */
uint16_t service_port(const struct service *service);
/** A stop hands the shards over first, if somebody is there for them and the operator leaves the time. Returns whether
 * it does. The main thread, as the next one. */
bool service_hand_over(struct service *service);
/** Whether that is over, or its time is. */
bool service_handed_over(struct service *service);

#endif
