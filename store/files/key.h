/* Ids of records, as the bytes by which the store sorts them. */
#ifndef STORE_FILES_KEY_H
#define STORE_FILES_KEY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"

enum { STORE_ID_TEXT_MAX_BYTES = 255, STORE_KEY_MAX_BYTES = 256 };

/* An id as the bytes it is sorted by: kind, then content. Numbers (0x01 + 8 bytes big-endian) come
 * before UUIDs (0x02 + 16 bytes) before other strings (0x03 + UTF-8). */
struct store_key {
    uint16_t size_bytes;
    uint8_t bytes[STORE_KEY_MAX_BYTES];
};

void store_key_from_u64(uint64_t number, struct store_key *key);
void store_key_from_uuid(const uint8_t uuid[16], struct store_key *key);
/** A UUID in any of its spellings becomes the UUID; decimal digits stay a string here unless
 * `digits_are_number`. ERROR_INVALID when empty, too long or not UTF-8. */
int store_key_from_text(const char *text, size_t length, bool digits_are_number,
                        struct store_key *key, struct error *error);
/** From a document: an unsigned integer, or a string as above (digits stay a string). */
int store_key_from_doc(const struct doc *doc, struct store_key *key, struct error *error);
/** The id as a document: an integer or a string in `arena`. */
struct doc store_key_to_doc(const uint8_t *key, size_t key_bytes, struct arena *arena);

/* An id as the key of a Kafka message. The bytes of 42 and "42" are the same, so that a client that
 * knows only bytes finds the same partition. The kind travels beside them, in a header. */
enum store_id_kind { STORE_ID_NUMBER, STORE_ID_TEXT }; /* a UUID is a text */

struct store_message_key {
    enum store_id_kind kind;
    uint16_t size_bytes;
    char bytes[STORE_ID_TEXT_MAX_BYTES];
};

/** Writes an id: a number in digits, a UUID in lower case with dashes, other texts as they are. */
void store_key_to_message(const uint8_t *key, size_t key_bytes, struct store_message_key *message);
/** Reads it back: the inverse for every id. ERROR_INVALID when the bytes are no id of that kind. */
int store_key_from_message(enum store_id_kind kind, const void *bytes, size_t size_bytes,
                           struct store_key *key, struct error *error);
/** Whether the bytes are an id as drawn above. */
bool store_key_is_sound(const uint8_t *key, size_t key_bytes);
/** "number" or "text". */
const char *store_id_kind_name(enum store_id_kind kind);
/** False when the text names no kind. */
bool store_id_kind_parse(const char *text, enum store_id_kind *kind);

#endif
