/* Asks a partition's leader where it begins and ends. Private to ingest/. */
#ifndef INGEST_KAFKA_OFFSETS_H
#define INGEST_KAFKA_OFFSETS_H

#include <librdkafka/rdkafka.h>

/** The first offset that Kafka still has, and the one behind the last that can be read: under
 * read_committed the last stable offset. Answers within `timeout_ms` in any case, which
 * rd_kafka_query_watermark_offsets does not before librdkafka 2.3 (its issue 2588: it waits for a
 * leader that died until that one is back). Any thread. */
rd_kafka_resp_err_t kafka_query_offsets(rd_kafka_t *client, const char *topic, int32_t partition,
                                        int64_t *begin, int64_t *end, int timeout_ms);

#endif
