/* One Kafka message becomes records: format by configuration, header or first bytes; single or
 * batch; checked, and under cosine normalised.
 *
 * Nothing fails as a whole: a part that cannot be stored becomes a reject, which names the JSON
 * path or byte offset; the rest of the message is kept. No state, no threads, no Kafka: reentrant.
 */
#ifndef INGEST_DECODE_DECODE_H
#define INGEST_DECODE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "config/config.h"

struct store_record;

/* One Kafka message as it came. */
struct decode_message {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* -1: none */
    const uint8_t *key;
    size_t key_bytes; /* key NULL: none */
    const uint8_t *value;
    size_t value_bytes;       /* value NULL: tombstone */
    const char *content_type; /* header, or NULL */
    const char *vector_type;  /* header, or NULL: the type of bytes that do not name theirs */
    const char *expects;      /* header, or NULL: `OFFSET` or `none`, and `/OFFSET` behind it */
    const char *id_kind;      /* header, or NULL: the collection's rule reads the key */
};

/* Header that says what kind of id the key is, `number` or `text`. windrow writes it beside every key
 * that it produces. */
#define DECODE_ID_HEADER "windrow-id"

/* Header of a message whose records count only while the id's newest version is the one that is
 * named: its offset, or `none`. Behind a slash the next offset when that was read. */
#define DECODE_EXPECTS_HEADER "windrow-expects"

/* Header of a message whose vectors, where they are bytes, are of the type that it names. */
#define DECODE_VECTOR_TYPE_HEADER "windrow-vector-type"

/* A record that was written later than so many offsets behind its reading is refused: a replay has
 * to remember the ids of no more than that. */
enum { DECODE_EXPECTS_DISTANCE_MAX = 1 << 18 };

/* A part of a message that could not be stored. */
struct decode_reject {
    const char *reason;   /* label of windrow_records_rejected_total: "dimension", "syntax"... */
    const char *text;     /* with JSON path or byte offset; in the arena */
    const uint8_t *value; /* the part's own bytes when a batch was split, else the whole value; of a
                             row of Arrow a map in MessagePack */
    size_t value_bytes;
};

/* What a record was made from: its own bytes inside a batch, else the whole value. A row of Arrow has no
 * bytes of its own: decode_source_whole makes them. */
struct decode_source {
    const uint8_t *value; /* NULL: tombstone */
    size_t value_bytes;
    bool is_row;
    uint32_t batch, row; /* of Arrow */
};

struct decode_result {
    struct store_record *records;  /* keys, vectors and payloads live in the arena */
    struct decode_source *sources; /* one a record, pointing into the message */
    size_t record_count;
    struct decode_reject *rejects;
    size_t reject_count;
};

/** Decodes and checks one message. A configured event time field that a record lacks is a reject;
 * raw vectors have no fields and take the Kafka timestamp. Records live in `arena`, which must have
 * no limit. Documents under way live in `scratch`, which may be reset once this returns; it may be
 * `arena`. */
void decode_message(const struct config_collection *collection,
                    const struct decode_message *message, struct arena *scratch,
                    struct arena *arena, struct decode_result *result);

/** The source of a record of `message` as a message of its own: a row of Arrow as a map in MessagePack, which
 * lies in `arena`; everything else as it is. */
struct decode_source decode_source_whole(const struct config_collection *collection,
                                         const struct decode_message *message,
                                         const struct decode_source *source, struct arena *arena);

/** Why ingestion would not store all of a message that it reads at `now_ms`, in the arena; NULL: it
 * would. For those who send, so that a bad record is refused instead of becoming a dead letter.
 * Fills `result` as decode_message does. */
const char *decode_complaint(const struct config_collection *collection,
                             const struct decode_message *message, int64_t now_ms,
                             struct arena *arena, struct decode_result *result);

#endif
