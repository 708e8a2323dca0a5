/* The topic that a measurement fills. */
#ifndef BENCH_INGEST_TOPIC_H
#define BENCH_INGEST_TOPIC_H

#include <stdint.h>

#include "base/buffer.h"

/** Replaces `value` by one record of a vector that follows from `id`: values between -0.5 and 0.5,
 * in JSON with the digits that a float32 needs. `format`: raw, msgpack or json. */
void bench_record_encode(const char *format, uint32_t dim, uint64_t id, struct buffer *value);

/** Removes the topic, so that no millions of records are left behind in a broker of the user's.
 * When that fails it says so on standard error. */
void bench_topic_remove(const char *brokers, const char *topic);

#endif
