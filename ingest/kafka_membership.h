/* kafka_membership: what a client's membership in its consumer group is worth: its generation, how long it lasts in
 * silence, and whether the broker still knows it.
 *
 * The generation grows with each assignment of the group. librdkafka 2.0.2 keeps it to itself but for the
 * metadata that transactional producers pass on (rd_kafka_consumer_group_metadata_write), which begin with
 *
 *     "CGMDv2:" | i32 generation in the order of this machine, -1 before the first | group, member and instance
 *
 * Another beginning is not understood: the generation is not known then. A group that was deleted, or whose
 * offsets expired, begins again at 1. Private to ingest/. */
#ifndef INGEST_KAFKA_MEMBERSHIP_H
#define INGEST_KAFKA_MEMBERSHIP_H

#include <librdkafka/rdkafka.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The generation in those bytes; 0 when they do not tell one. */
int32_t kafka_membership_parse(const void *bytes, size_t size_bytes);
/** Of a client; 0: not known. Asks the client's own thread, not a broker. */
int32_t kafka_membership_generation(rd_kafka_t *client);
/** How long a member may be silent before the group can have given its partitions to others, by the client's
 * session.timeout.ms and heartbeat.interval.ms. */
int64_t kafka_membership_pause_limit_ns(rd_kafka_t *client);

/** The last argument is the question. */
typedef void (*kafka_membership_function)(rd_kafka_t *client, rd_kafka_resp_err_t code,
                                          rd_kafka_topic_partition_list_t *offsets, void *question);
/** Asks the broker whether the client is a member of its generation, by committing these offsets, which is refused
 * to anybody else. `answered` is called in a later poll of the consumer's queue, or never. */
void kafka_membership_ask(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *offsets,
                          kafka_membership_function answered, uintptr_t question);
/** Whether an answer says yes. */
bool kafka_membership_confirmed(rd_kafka_resp_err_t code,
                                const rd_kafka_topic_partition_list_t *offsets);

#endif
