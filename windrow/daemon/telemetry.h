/* Series that are counted right before each rendering of the metrics. The last rendering must end
 * before the registry of shards goes. */
#ifndef WINDROW_TELEMETRY_H
#define WINDROW_TELEMETRY_H

struct service;

/** What the store holds: files, rows, memory, debt. */
void store_metrics_register(struct service *service);
/** process_*, threads, pools, the pressure that the kernel measures, the disk's room. */
void process_metrics_register(struct service *service);
/** Memory of the process in use; NaN when the kernel does not tell. */
double process_resident_bytes(void);

#endif
