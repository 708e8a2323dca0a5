/* What operators ask of windows, over HTTP. Any thread; each call returns when it is done. */
#ifndef WINDROW_ON_DEMAND_H
#define WINDROW_ON_DEMAND_H

#include "windrow/daemon/service.h"

/* Which windows of a collection an operator means. */
struct on_demand_choice {
    bool has_time; /* the window that holds time_ms; else all of them */
    int64_t time_ms;
    const char *shard;            /* NULL: all */
    const atomic_bool *cancelled; /* nobody waits for the answer any more */
};

/** Seals the chosen windows, or folds late and dead rows of sealed ones in, or merges all runs of a
 * collection without windows. Without a time, only windows that are closed are sealed. Appends
 * [{"shard", "window_start_ms", "window_length_ms", "action", "generation", "rows", "bytes"}] with
 * action seal, reseal, merge or none. ERROR_NOT_FOUND: no such shard or window here. */
int on_demand_compact(struct service *service, const struct config_collection *collection,
                      const struct on_demand_choice *choice, struct buffer *out,
                      struct error *error);

/** Reads the chosen windows again from Kafka, beside the consumer, and swaps each in with one edit;
 * windows that are damaged come back. A time is needed. Appends the same, with action rebuild.
 * ERROR_NOT_FOUND: no such window, or Kafka no longer holds what it was made of: the text names
 * both offsets and nothing has changed. */
int on_demand_rebuild(struct service *service, const struct config_collection *collection,
                      const struct on_demand_choice *choice, struct buffer *out,
                      struct error *error);

#endif
