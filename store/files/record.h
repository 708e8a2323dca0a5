/* Records, and the groups of one partition in which they become durable together. */
#ifndef STORE_FILES_RECORD_H
#define STORE_FILES_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* When an append returns: with the log synced, or with Kafka as the only durable copy until the
 * flush. */
enum store_durability { STORE_DURABILITY_LOG, STORE_DURABILITY_KAFKA };

struct store_record {
    const uint8_t *key; /* store_key bytes */
    uint16_t key_bytes;
    bool is_delete; /* vector and payload are NULL */
    /* Of a delete: whoever sent it did not say what kind of id it names. Told apart in store_deletes. */
    bool is_foreign;
    uint16_t other_key_bytes;
    int64_t offset; /* Kafka offset; records of one batch message share it */
    int64_t event_time_ms;
    int64_t ttl_ms;      /* the record's own, 0: the shard's */
    const float *vector; /* dim values; copied once, into the log buffer. NULL: it has none */
    /* A MessagePack map, or NULL for an empty one. With `has_parts` its parts follow (parts.h). */
    const uint8_t *payload;
    uint32_t payload_bytes;
    bool has_parts;
    /* Of a delete: the other id that its key may mean, which counts when only that one lives. NULL:
     * there is none. */
    const uint8_t *other_key;
    /* Stored only while `expected_offset` is the offset of the id's living version; STORE_EXPECT_NONE:
     * while none lives. Otherwise the record is refused, as "superseded" or "exists". */
    bool expects;
    int64_t expected_offset;
    /* When it was written, by the log's clock (twcs_log_time): a version lives for it that has not
     * expired by then, whatever time it is for who reads the record. INT64_MIN: not known, all live. */
    int64_t log_time_ms;
};

enum { STORE_EXPECT_NONE = -1, STORE_EXPECT_NEVER = -2 }; /* the latter is always refused */

/* The log's own clock at a next offset; the meaning is twcs's (struct twcs_log_clock). It
 * goes with the offset, so that a restart, a copy and a backup go on with the same one. */
struct store_log_clock {
    bool known; /* false: a windrow that kept none wrote it */
    int64_t time_ms, stamp_ms, watermark_ms;
};

/* Persisted with each group; the meaning is twcs's (struct twcs_clock). */
struct store_clock {
    int64_t watermark_ms;
    int64_t last_record_wall_ms;
    int64_t safe_wall_ms;
    struct store_log_clock log;
};

/* The last record of Kafka below a next offset: whether the topic still holds it tells whether it
 * is still the same topic. The store only keeps it; what the fingerprint is made of is the
 * caller's.
 */
struct store_topic_fingerprint {
    int64_t offset; /* below the next offset */
    uint64_t hash;  /* 0: not known */
};

/* A record of Kafka that a group leaves out. */
struct store_refusal {
    int64_t offset;
    const char *reason; /* a literal, one word */
};

struct store_group {
    /* In offset order; of one id and offset only the last counts. */
    const struct store_record *records;
    size_t record_count; /* 0 is allowed: only next offset, topic and clock move */
    int64_t next_offset; /* where Kafka is to be read on; >= every record's offset + 1 */
    /* Goes with the next offset, in place of the one before. */
    struct store_topic_fingerprint topic;
    struct store_clock clock;
    const struct store_refusal *refusals; /* below the next offset, in any order */
    size_t refusal_count;
    struct store_unmet *unmet;     /* filled; may be NULL */
    struct store_deletes *deletes; /* filled; may be NULL */
};

/* What became of a delete. */
enum store_delete_outcome {
    STORE_DELETE_DONE,
    STORE_DELETE_OTHER_READING, /* it hit its other id */
    STORE_DELETE_AMBIGUOUS,     /* both of its ids lived: it hit the first */
    STORE_DELETE_NO_SUCH_ID,
    STORE_DELETE_UNMET, /* refused for what it expected */
    STORE_DELETE_OUTCOMES
};

struct store_deletes {
    size_t counts[STORE_DELETE_OUTCOMES];
    /* The last foreign records of the group with that outcome, NULL: none. */
    const struct store_record *no_such_id, *ambiguous;
};

/* Records of a group that were refused for what they expected. */
struct store_unmet {
    size_t records; /* deletes among them */
    size_t deletes;
};

/* Under which assignment a shard is written: of a Kafka consumer group, in one of its generations. */
struct store_ownership {
    uint32_t group;     /* lower half of the checksum of its name */
    int32_t generation; /* 0: not known */
};

#endif
