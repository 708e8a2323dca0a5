/* Tells one record of Kafka from another at the same offset. Private to ingest/. */
#ifndef INGEST_FINGERPRINT_H
#define INGEST_FINGERPRINT_H

#include <librdkafka/rdkafka.h>
#include <stdint.h>

/** Of Kafka timestamp, key and value; never 0. A topic is compared with itself: what a broker keeps
 * of a record as long as it has it counts. docs/formats.md says how. Any thread. */
uint64_t ingest_fingerprint(const rd_kafka_message_t *message);

#endif
