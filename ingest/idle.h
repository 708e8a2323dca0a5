/* A partition that is read to its end closes windows and lets expired rows go by the wall clock. Neither
 * decides what is stored of the records to come (twcs.h).
 *
 * Consumer thread only. Private to ingest/. */
#ifndef INGEST_IDLE_H
#define INGEST_IDLE_H

#include <stdint.h>

#include "ingest/partition.h"

/** Once a second, after the lane's clock has followed the wall clock. */
void idle_watch(struct partition *partition, int64_t now_ns);

#endif
