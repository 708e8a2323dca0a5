/* The topic that a measurement fills, and reading it with librdkafka alone. */
#ifndef BENCH_INGEST_KAFKA_H
#define BENCH_INGEST_KAFKA_H

#include <stdint.h>

#include "base/buffer.h"
#include "bench/ingest_device.h"

/** Replaces `value` by one record of a vector that follows from `id`: values between -0.5 and 0.5,
 * in JSON with the digits that a float32 needs. `format`: raw, msgpack or json. */
void bench_record_encode(const char *format, uint32_t dim, uint64_t id, struct buffer *value);

/** Removes the topic, so that no millions of records are left behind in a broker of the user's.
 * When that fails it says so on standard error. */
void bench_topic_remove(const char *brokers, const char *topic);

/* One way to read the topic. */
struct bench_speed {
    double records_per_s;
    double cpu_us; /* processor time of all threads, a record */
};

/** From the first message to the last: touches the bytes of all records or, with `least`, makes
 * them durable and nothing else. Ends the process on an error. */
struct bench_speed bench_raw_read(const char *brokers, const char *topic, int partition_count,
                                  uint64_t record_count, struct bench_least *least);

#endif
