/* history: the last hour of this process, so that a page that was just opened shows where it comes
 * from. Samples lie in a ring of a fixed size; nothing is written to disk.
 *
 * GET /history[?since_ms=T]:
 *
 *   {"node", "step_ms", "columns": ["time_ms", ...], "samples": [[...], ...] (oldest first, those after
 *    since_ms), "limits": {"memory_bytes", "disk_bytes"}}
 *
 * A value is null where nothing happened: no search has no p99. Quantiles are those of the step that
 * the sample ends, as histogram_quantile() of Prometheus makes them. */
#ifndef WINDROW_HISTORY_H
#define WINDROW_HISTORY_H

#include <stdint.h>

struct history;
struct http_request;
struct service;

struct history *history_new(void);
/** NULL is allowed. */
void history_delete(struct history *history);
/** Takes a sample when one is due. The main thread. */
void history_tick(struct history *history, struct service *service);
/** The route's handler; its context is the service. */
void history_handle(struct http_request *request);

#endif
