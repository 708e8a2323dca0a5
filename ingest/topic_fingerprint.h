/* Whether a topic is still the one that was read.
 *
 * Kafka tells topics of one name apart by an id that librdkafka 2.0.2 does not show. A topic that
 * was deleted, recreated and filled past our next offset takes that offset as if nothing had
 * happened, and what lies below would never be read.
 *
 * So the store keeps, with the next offset, a fingerprint: offset and hash of the last record that was
 * taken, whatever became of it. An assigned partition is read from that record on, when it is
 * near: between it and the next offset lie only control records and aborted transactions. The
 * record is compared, and dropped with all else below the next offset.
 *
 *     the same           reading continues
 *     another one        the partition stops, as for offsets that Kafka does not have
 *     none any more      (retention, compaction) no verdict: reading continues
 *
 * Private to ingest/. */
#ifndef INGEST_TOPIC_FINGERPRINT_H
#define INGEST_TOPIC_FINGERPRINT_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stdint.h>

struct store_topic_fingerprint;

/** Of Kafka timestamp, key and value; never 0. A topic is compared with itself: what a broker keeps
 * of a record as long as it has it counts. docs/formats.md says how. Any thread. */
uint64_t topic_fingerprint(const rd_kafka_message_t *message);

/** Whether reading should begin at the record of the fingerprint. */
bool topic_fingerprint_worth_checking(const struct store_topic_fingerprint *topic,
                                      int64_t next_offset);

/** False: another record lies at the offset of the fingerprint. */
bool topic_fingerprint_matches(const struct store_topic_fingerprint *topic,
                               const rd_kafka_message_t *message);

#endif
