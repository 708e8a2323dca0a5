/* Reading a topic with librdkafka alone. */
#ifndef BENCH_INGEST_RAW_H
#define BENCH_INGEST_RAW_H

#include <stdint.h>

#include "bench/ingest_least.h"

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
