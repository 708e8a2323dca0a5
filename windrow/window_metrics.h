/* windrow_windows{collection,state}: how many windows are open, sealing, sealed, indexed. */
#ifndef WINDROW_WINDOW_METRICS_H
#define WINDROW_WINDOW_METRICS_H

#include "store/store.h"

struct service;

/** "open", "sealing", "sealed" or "indexed". */
const char *window_state_name(const struct store_window_info *window);

/** Counts at each rendering of the metrics, which must end before the catalog goes. */
void window_metrics_register(struct service *service);

#endif
