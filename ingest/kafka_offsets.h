/* Asks partitions' leaders where they begin and end. Private to ingest/. */
#ifndef INGEST_KAFKA_OFFSETS_H
#define INGEST_KAFKA_OFFSETS_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>

/** The first offset that Kafka still has, and the one behind the last that can be read: under
 * read_committed the last stable offset. Answers within `timeout_ms` in any case, which
 * rd_kafka_query_watermark_offsets does not before librdkafka 2.3 (its issue 2588: it waits for a
 * leader that died until that one is back). Any thread. */
rd_kafka_resp_err_t kafka_query_offsets(rd_kafka_t *client, const char *topic, int32_t partition,
                                        int64_t *begin, int64_t *end, int timeout_ms);

struct kafka_offsets {
    const char *topic;
    int32_t partition;
    rd_kafka_resp_err_t code;
    int64_t begin, end;
};

/** The same for many partitions, with two requests a leader. False when some did not answer: one
 * leader that is away holds up the others' answers. */
bool kafka_query_all_offsets(rd_kafka_t *client, struct kafka_offsets *list, size_t count,
                             int timeout_ms);

/** The offset behind the last record of all, those of open transactions included, as the last fetch
 * of the partition told; -1: not known. Asks nobody. Any thread. */
int64_t kafka_high_watermark(rd_kafka_t *client, const char *topic, int32_t partition);

#endif
