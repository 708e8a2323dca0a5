/* What the files of ingest/decode/ share.
 *
 *     decode.c    one message: which format, single or batch, tombstones
 *     key.c       the Kafka key -> an id
 *     point.c     one document -> one record: id, shape, payload, event time, TTL
 *     protobuf.c  the same from Protobuf; arrow*.c from Arrow
 *     vector.c    documents -> finite, normalised float32 (vector_kernels.c)
 *     vector_types.c  bytes of other types -> float32
 *     extra.c     vectors beside the collection's own, which have a name */
#ifndef INGEST_DECODE_INTERNAL_H
#define INGEST_DECODE_INTERNAL_H

#include "base/buffer.h"
#include "base/doc.h"
#include "ingest/decode/decode.h"

struct store_key;
struct store_record;

enum {
    DECODE_MESSAGE_MAX_BYTES = 16 * 1024 * 1024, /* documents take up to twelve times their text */
    DECODE_PAYLOAD_MAX_BYTES = 1024 * 1024,
    DECODE_DEPTH_MAX = 64,
    /* Of all rejects of a message: a batch of millions of bad items must not cost a hundred times its size. */
    DECODE_TEXTS_MAX_BYTES = 1024 * 1024,
    DECODE_PATH_BYTES = 96
};

/* One decoding under way. */
struct decode {
    const struct config_collection *collection;
    const struct decode_message *message;
    struct arena *scratch;  /* documents; may be forgotten once the message is decoded */
    struct arena *arena;    /* what records point to */
    struct buffer *payload; /* reused from record to record */
    struct decode_result *out;
    size_t record_capacity;
    size_t reject_capacity;
    size_t text_bytes;            /* of the rejects */
    enum vector_type vector_type; /* of bytes that do not name theirs */
};

/* What a record is made from: the whole message or one point of a batch. */
struct decode_part {
    char path[32]; /* "$" or "$.points[3]" */
    const uint8_t *bytes;
    size_t size_bytes;
    bool batch;
};

/** Room for one more record with its part, zeroed. NULL past the arena's limit; then a reject has
 * been written. */
struct store_record *decode_record_add(struct decode *decode, const struct decode_part *part);

/** Adds a reject of a part. */
void decode_reject_add(struct decode *decode, const struct decode_part *part, const char *reason,
                       const char *format, ...) __attribute__((format(printf, 4, 5)));

/** Whether a field of a point has a meaning of its own: "id", "vector", "payload"... */
bool decode_is_reserved(const struct doc *name);

/** A document becomes one record or one reject. */
void decode_point(struct decode *decode, const struct doc *point, const struct decode_part *part);

/** A Protobuf message of windrow.proto, with or without schema-registry framing. */
void decode_protobuf(struct decode *decode, const struct decode_part *whole);
/** Whether it starts like one. */
bool decode_looks_protobuf(const uint8_t *value, size_t size_bytes);

/** A stream of Arrow record batches. */
void decode_arrow(struct decode *decode, const struct decode_part *whole);
/** Whether it starts like one. */
bool decode_looks_arrow(const uint8_t *value, size_t size_bytes);

/** The id of a record from the Kafka key. Rejects and returns ERROR_INVALID when there is none. */
int decode_key(struct decode *decode, const struct decode_part *part, struct store_key *key);
/** The same for a delete, with the id that the key may mean instead; *other is empty without one. */
int decode_delete_key(struct decode *decode, const struct decode_part *part, struct store_key *key,
                      struct store_key *other);

/** Copies a key into the arena, as the record's. */
void decode_set_key(struct decode *decode, const struct store_key *key,
                    struct store_record *record);

/** The vector in a document (array of numbers, bytes, base64 text, a map that names the type of
 * either, or {"": any of these}) as dim floats in the arena; NULL after a reject. `path` is where it
 * lies: "$.points[3].vector". */
const float *decode_vector(struct decode *decode, const struct decode_part *part,
                           const struct doc *doc, const char *path);

/** A vector beside the collection's own as the part of a record that it becomes (store/files/parts.h): an array of
 * numbers, or an array of those where it is a list. ERROR_INVALID, ERROR_MEMORY: after a reject. */
int decode_extra_vector(struct decode *decode, const struct decode_part *part,
                        const struct config_vector *vector, const struct doc *doc, const char *path,
                        struct doc *taken);

/** The same of what is not an array. */
const float *decode_vector_typed(struct decode *decode, const struct decode_part *part,
                                 const struct doc *doc, const char *path);

/** Room for a vector in the arena; NULL after a reject, also when `dimension` is not the collection's. */
float *decode_vector_room(struct decode *decode, const struct decode_part *part, size_t dimension,
                          const char *path);
/** Checks what is common to all forms and normalises; `from` and `to` may be the same. */
const float *decode_vector_finish(struct decode *decode, const struct decode_part *part,
                                  const void *from, float *to, const char *path);

/** Whether a top-level field could be the vector, and whether it has the collection's dimension. */
bool decode_vector_candidate(const struct decode *decode, const struct doc *doc, bool *fits);
/** Whether it is a map that names the type of bytes. */
bool decode_vector_is_typed(const struct doc *map);
/** Whether bytes, or a map that names their type, are a vector of the collection's dimension. */
bool decode_bytes_fit(const struct decode *decode, const struct doc *doc);

/** Bytes of a type in the message as decode_vector reads them; `scratch` holds what is around them.
 * `scale` may be NULL. */
struct doc decode_typed_bytes(struct decode *decode, enum vector_type type, const void *bytes,
                              uint32_t size_bytes, const struct doc *scale);

/** Sets decode->vector_type by the message's header or the collection. Rejects a header that names
 * no type, ERROR_INVALID. */
int decode_vector_type(struct decode *decode, const struct decode_part *whole);

/** Event time of a point whose payload is `payload`: the configured field, or the Kafka timestamp
 * when there is none or the record has no fields (`point` NULL: raw). */
int decode_event_time(struct decode *decode, const struct decode_part *part,
                      const struct doc *point, const struct doc *payload, int64_t *time_ms);

/** The record's own TTL; 0 when it has none. */
int decode_ttl(struct decode *decode, const struct decode_part *part, const struct doc *point,
               int64_t *ttl_ms);

#endif
