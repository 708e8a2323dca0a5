/* drain: this process hands its shards over to other nodes before it stops.
 *
 *     begin   leave the consumer group; shards stay open, and answer as they are
 *     tick    close each one that another node of the replica set serves up to the same offset
 *     done    none is left, or nobody is there any more who could take one
 *
 * The tick also looks after shards that the consumer group took back from a process that goes on. */
#ifndef WINDROW_DRAIN_H
#define WINDROW_DRAIN_H

#include <stdbool.h>

#include "base/error.h"

struct service;
struct http_request;

struct drain;

struct drain *drain_new(void);
/** NULL is allowed. */
void drain_delete(struct drain *drain);
/** Any thread. */
bool drain_has_begun(const struct drain *drain);

/** Begins unless it has begun. ERROR_INVALID with the reason when nobody could take the shards over,
 * ERROR_UNSUPPORTED for a process that has none. Any thread. */
int drain_begin(struct service *service, struct error *error);
/** Main thread, about twice a second. */
void drain_tick(struct service *service);
/** Whether there is nothing to wait for: it has not begun, is done, or no successor is left. Any thread. */
bool drain_over(struct service *service);

/** POST /drain {"timeout_ms"}: begins, waits, answers {"handed_over", "left": [{"collection", "shard",
 * "next_offset"}]}. */
void drain_handle(struct http_request *request);

#endif
