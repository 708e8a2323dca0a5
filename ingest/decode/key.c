/* The id that the key of a message is. Messages of windrow say its kind in a header, and
 * store_key_from_message reads it. The keys of others are read by the collection's rule:
 *
 *     text        UTF-8, digits too
 *     number      decimal digits
 *     json        42, "a" or {"id": 42}, also behind schema-registry framing
 *     long        8 bytes, big-endian: Java's LongSerializer
 *     uuid_bytes  16 bytes
 *     auto        {"id": 42}; digits are a number; other UTF-8 is a text
 *
 * Under auto the bytes may mean another id as well. A record takes the first reading, so that its id
 * depends on nothing else. A delete keeps both, and the store finds out which one lives
 * (store/expected_version.c). There are two readings at most. */
#include <string.h>

#include "base/text.h"
#include "ingest/decode/decode_internal.h"
#include "store/files/key.h"

enum { LONG_BYTES = 8, UUID_BYTES = 16 };
/* A zero, and the schema's number. */
enum { FRAMING_BYTES = 5 };

struct key_bytes {
    const char *bytes;
    size_t size;
};

static int from_json(struct decode *decode, struct key_bytes text, struct store_key *key,
                     struct error *error)
{
    const struct doc_limits limits = {.max_bytes = 4096, .max_depth = 8};
    const struct doc *id;
    struct doc doc;

    if (text.size > FRAMING_BYTES && text.bytes[0] == 0) {
        text.bytes += FRAMING_BYTES;
        text.size -= FRAMING_BYTES;
    }
    if (doc_parse_json(decode->scratch, text.bytes, text.size, &limits, &doc, error) != 0)
        return error->code;
    id = doc.type == DOC_MAP ? doc_get(&doc, "id") : &doc;
    if (!id)
        return error_set(error, ERROR_INVALID, "an object without \"id\"");
    if (store_key_from_doc(id, key, error) == 0)
        return 0;
    return error_wrap(error, id == &doc ? "$" : "$.id");
}

static int from_long(struct key_bytes text, struct store_key *key, struct error *error)
{
    uint64_t number;

    if (text.size != LONG_BYTES)
        return error_set(error, ERROR_INVALID, "%zu bytes, a long has %d", text.size, LONG_BYTES);
    memcpy(&number, text.bytes, sizeof(number));
    number = __builtin_bswap64(number);
    if (number > INT64_MAX)
        return error_set(error, ERROR_INVALID, "the id %lld is negative", (long long)number);
    store_key_from_u64(number, key);
    return 0;
}

static int from_uuid(struct key_bytes text, struct store_key *key, struct error *error)
{
    if (text.size != UUID_BYTES)
        return error_set(error, ERROR_INVALID, "%zu bytes, a UUID has %d", text.size, UUID_BYTES);
    store_key_from_uuid((const uint8_t *)text.bytes, key);
    return 0;
}

static int from_auto(struct decode *decode, struct key_bytes text, struct store_key *key,
                     struct error *error)
{
    if (text.size > 0 && text.bytes[0] == '{')
        return from_json(decode, text, key, error);
    return store_key_from_text(text.bytes, text.size, true, key, error);
}

/* Whether these are bytes that no writer of texts sends. */
static bool is_binary(struct key_bytes text)
{
    for (size_t i = 0; i < text.size; i++)
        if ((uint8_t)text.bytes[i] < 0x20 || text.bytes[i] == 0x7f)
            return true;
    return text_utf8_valid(text.bytes, text.size) != text.size;
}

/* What else bytes may mean that `auto` reads. */
static int from_auto_otherwise(struct decode *decode, struct key_bytes text, struct store_key *key)
{
    struct error ignored = {0};
    uint64_t number;

    if (text.size == LONG_BYTES && is_binary(text))
        return from_long(text, key, &ignored);
    if (text.size == UUID_BYTES && is_binary(text))
        return from_uuid(text, key, &ignored);
    if (text.size > 0 && (text.bytes[0] == '"' || text.bytes[0] == 0))
        return from_json(decode, text, key, &ignored);
    if (text.size > 0 &&
        (text.bytes[0] == '{' || text_parse_u64(text.bytes, text.size, &number) == 0))
        return store_key_from_text(text.bytes, text.size, false, key, &ignored);
    return ERROR_INVALID;
}

static int from_header(const char *header, struct key_bytes text, struct store_key *key,
                       struct error *error)
{
    enum store_id_kind kind;

    if (!store_id_kind_parse(header, &kind))
        return error_set(error, ERROR_INVALID,
                         "header " DECODE_ID_HEADER ": expected `number` or `text`, got \"%.40s\"",
                         header);
    return store_key_from_message(kind, text.bytes, text.size, key, error);
}

static int read_key(struct decode *decode, struct key_bytes text, struct store_key *key,
                    struct error *error)
{
    if (decode->message->id_kind)
        return from_header(decode->message->id_kind, text, key, error);
    switch (decode->collection->key) {
    case CONFIG_KEY_TEXT:
        return store_key_from_message(STORE_ID_TEXT, text.bytes, text.size, key, error);
    case CONFIG_KEY_NUMBER:
        return store_key_from_message(STORE_ID_NUMBER, text.bytes, text.size, key, error);
    case CONFIG_KEY_JSON:
        return from_json(decode, text, key, error);
    case CONFIG_KEY_LONG:
        return from_long(text, key, error);
    case CONFIG_KEY_UUID_BYTES:
        return from_uuid(text, key, error);
    case CONFIG_KEY_AUTO:
    default:
        return from_auto(decode, text, key, error);
    }
}

static bool has_two_readings(const struct decode *decode)
{
    return !decode->message->id_kind && decode->collection->key == CONFIG_KEY_AUTO;
}

static bool is_same(const struct store_key *a, const struct store_key *b)
{
    return a->size_bytes == b->size_bytes && memcmp(a->bytes, b->bytes, a->size_bytes) == 0;
}

int decode_key(struct decode *decode, const struct decode_part *part, struct store_key *key)
{
    const struct key_bytes text = {(const char *)decode->message->key, decode->message->key_bytes};
    struct error error = {0};
    int code;

    if (!text.bytes) {
        decode_reject_add(decode, part, "id",
                          "no id: the record has none and there is no Kafka key");
        return ERROR_INVALID;
    }
    code = read_key(decode, text, key, &error);
    if (code != 0)
        decode_reject_add(decode, part, "id", "Kafka key: %s", error.text);
    return code;
}

int decode_delete_key(struct decode *decode, const struct decode_part *part, struct store_key *key,
                      struct store_key *other)
{
    const struct key_bytes text = {(const char *)decode->message->key, decode->message->key_bytes};
    struct error error = {0};

    other->size_bytes = 0;
    if (!text.bytes || !has_two_readings(decode))
        return decode_key(decode, part, key);
    if (from_auto_otherwise(decode, text, other) != 0)
        other->size_bytes = 0;
    if (other->size_bytes > 0 && is_binary(text) && read_key(decode, text, key, &error) != 0) {
        *key = *other; /* no text: it has this reading only */
        other->size_bytes = 0;
        return 0;
    }
    if (decode_key(decode, part, key) != 0)
        return ERROR_INVALID;
    if (is_same(key, other))
        other->size_bytes = 0;
    return 0;
}
