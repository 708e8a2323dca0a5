/* windrow_windows{collection,state}: how many windows are open, sealing, sealed, indexed. */
#ifndef WINDROW_WINDOW_METRICS_H
#define WINDROW_WINDOW_METRICS_H

struct service;

/** Counts at each rendering of the metrics, which must end before the registry goes. */
void window_metrics_register(struct service *service);

#endif
