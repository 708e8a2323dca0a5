/* librdkafka's statistics (its STATISTICS.md) as series of ours. Private to ingest/. */
#ifndef INGEST_KAFKA_STATS_H
#define INGEST_KAFKA_STATS_H

#include <stddef.h>

#include "base/metrics.h"

/** Publishes one statistics document as windrow_kafka_ROLE_*: traffic, queue, connections, errors,
 * round trip. `role` is "consumer", "producer" or "dead_letters". One thread a role. */
void kafka_stats_publish(struct metrics *metrics, const char *role, const char *json,
                         size_t json_bytes);

#endif
