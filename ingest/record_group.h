/* The records of one partition that go to the store with one append, and what became of those that
 * do not. A lane has two: one gathers while the other is being appended.
 *
 * Everything is counted in the metrics once the group is durable, and not before: what is lost with
 * a crash is read, and counted, again. Consumer thread only, but while an append is under way its
 * thread reads `records`. Private to ingest/. */
#ifndef INGEST_RECORD_GROUP_H
#define INGEST_RECORD_GROUP_H

#include <librdkafka/rdkafka.h>

#include "ingest/decode_pool.h"
#include "ingest/partition_metrics.h"
#include "store/files/record.h"
#include "twcs/twcs.h"

enum {
    RECORD_GROUP_RECORDS = 2048,          /* a group is appended once it has this many */
    RECORD_GROUP_BYTES = 4 * 1024 * 1024, /* or this much */
    REJECT_REASONS_MAX = 24,              /* more than decoding and judging have */
};

/* What became of the records that are not in the group. */
struct record_outcomes {
    size_t late_accepted, late_dropped, late_dead_letter, expired;
    size_t refusal_count; /* of the group's refusals */
    size_t reason_count;
    struct {
        const char *reason; /* a literal */
        size_t count;
    } rejects[REJECT_REASONS_MAX];
};

struct record_group {
    struct decode_task *tasks; /* the records lie in them */
    struct store_record *records;
    int64_t *timestamps_ms; /* of Kafka, one a record, for freshness */
    size_t record_count;
    size_t record_capacity;
    struct record_outcomes outcomes;
    struct store_refusal *refusals; /* the last STORE_REFUSALS_MAX; NULL: none yet */
    size_t weight_records;          /* records and letters */
    size_t weight_bytes;
    int64_t started_ns;       /* when it got its first message; 0: it is empty */
    bool gap;                 /* it has no message, only offsets without records */
    rd_kafka_message_t *last; /* the last message taken; until the group goes to the store */
    /* As of its last message, once it goes to the store. */
    int64_t next_offset;
    struct store_topic_fingerprint topic;
    struct twcs_clock clock;
};

/** `timestamp_ms` is Kafka's, for freshness; `log_time_ms` what twcs_log_time said. */
void record_group_add(struct record_group *group, const struct store_record *record, uint32_t dim,
                      int64_t timestamp_ms, int64_t log_time_ms);
/** The record at this offset is not stored. `reason` is a literal. */
void record_group_refuse(struct record_group *group, int64_t offset, const char *reason);
/** A record became a dead letter. `reason` is a literal. */
void record_group_reject(struct record_group *group, const char *reason, size_t size_bytes);
/** Takes over the last message taken so far; NULL: forgets it. */
void record_group_set_last(struct record_group *group, rd_kafka_message_t *message);
bool record_group_full(const struct record_group *group);

/** The group became durable at `wall_ms`, but for what is `unmet`: counts it. Its records may change
 * places. */
void record_group_count(struct record_group *group, const struct store_unmet *unmet,
                        const struct partition_metrics *series, int64_t wall_ms);
/** Empties it; tasks go back to the pool. */
void record_group_clear(struct record_group *group, struct decode_pool *decoders);
void record_group_destroy(struct record_group *group, struct decode_pool *decoders);

#endif
