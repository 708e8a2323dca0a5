/* Ids as the bytes they are sorted by (struct store_key). */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "store/files/key.h"

enum { KIND_NUMBER = 1, KIND_UUID = 2, KIND_TEXT = 3 };
enum { NUMBER_KEY_BYTES = 9, UUID_KEY_BYTES = 17 };

static_assert((int)STORE_KEY_MAX_BYTES == 1 + STORE_ID_TEXT_MAX_BYTES, "kind byte and the text");

void store_key_from_u64(uint64_t number, struct store_key *key)
{
    uint64_t big_endian = __builtin_bswap64(number);

    key->size_bytes = NUMBER_KEY_BYTES;
    key->bytes[0] = KIND_NUMBER;
    memcpy(key->bytes + 1, &big_endian, sizeof(big_endian));
}

void store_key_from_uuid(const uint8_t uuid[16], struct store_key *key)
{
    key->size_bytes = UUID_KEY_BYTES;
    key->bytes[0] = KIND_UUID;
    memcpy(key->bytes + 1, uuid, 16);
}

int store_key_from_text(const char *text, size_t length, bool digits_are_number,
                        struct store_key *key, struct error *error)
{
    uint8_t uuid[16];
    uint64_t number;

    if (length == 0)
        return error_set(error, ERROR_INVALID, "the id is empty");
    if (length > STORE_ID_TEXT_MAX_BYTES)
        return error_set(error, ERROR_INVALID, "the id has %zu bytes, more than %d", length,
                         STORE_ID_TEXT_MAX_BYTES);
    if (digits_are_number && text_parse_u64(text, length, &number) == 0) {
        store_key_from_u64(number, key);
        return 0;
    }
    if (text_parse_uuid(text, length, uuid) == 0) {
        store_key_from_uuid(uuid, key);
        return 0;
    }
    if (text_utf8_valid(text, length) != length)
        return error_set(error, ERROR_INVALID, "the id is not valid UTF-8");
    key->size_bytes = (uint16_t)(1 + length);
    key->bytes[0] = KIND_TEXT;
    memcpy(key->bytes + 1, text, length);
    return 0;
}

int store_key_from_doc(const struct doc *doc, struct store_key *key, struct error *error)
{
    switch (doc->type) {
    case DOC_INT:
        if (doc->integer < 0)
            return error_set(error, ERROR_INVALID, "the id %lld is negative",
                             (long long)doc->integer);
        store_key_from_u64((uint64_t)doc->integer, key);
        return 0;
    case DOC_UINT:
        store_key_from_u64(doc->unsigned_integer, key);
        return 0;
    case DOC_STRING:
        return store_key_from_text(doc->string, doc->count, false, key, error);
    default:
        return error_set(error, ERROR_INVALID,
                         "the id is neither an unsigned integer nor a string");
    }
}

static uint64_t number_of(const uint8_t *key)
{
    uint64_t number;

    memcpy(&number, key + 1, sizeof(number));
    return __builtin_bswap64(number);
}

static struct doc doc_from_number(const uint8_t *key)
{
    struct doc doc = {0};
    uint64_t number = number_of(key);

    if (number <= INT64_MAX)
        return doc_integer((int64_t)number);
    doc.type = DOC_UINT;
    doc.unsigned_integer = number;
    return doc;
}

struct doc store_key_to_doc(const uint8_t *key, size_t key_bytes, struct arena *arena)
{
    struct doc doc = {.type = DOC_NULL};
    char uuid[TEXT_UUID_BYTES];

    if (key_bytes == NUMBER_KEY_BYTES && key[0] == KIND_NUMBER)
        return doc_from_number(key);
    if (key_bytes == UUID_KEY_BYTES && key[0] == KIND_UUID)
        return doc_string(arena, text_format_uuid(key + 1, uuid));
    /* Only keys made above are stored: anything else is a caller's bug, shown as null. */
    if (key_bytes < 2 || key[0] != KIND_TEXT)
        return doc;
    doc.type = DOC_STRING;
    doc.count = (uint32_t)(key_bytes - 1);
    doc.string = arena_copy(arena, key + 1, key_bytes - 1);
    return doc;
}

static uint16_t write_digits(uint64_t number, char *out)
{
    char digits[20];
    size_t first = sizeof(digits);

    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(out, digits + first, sizeof(digits) - first);
    return (uint16_t)(sizeof(digits) - first);
}

void store_key_to_message(const uint8_t *key, size_t key_bytes, struct store_message_key *message)
{
    char text[TEXT_UUID_BYTES];

    assert(key_bytes >= 2 && key_bytes <= STORE_KEY_MAX_BYTES);
    message->kind = STORE_ID_TEXT;
    switch (key[0]) {
    case KIND_NUMBER:
        assert(key_bytes == NUMBER_KEY_BYTES);
        message->kind = STORE_ID_NUMBER;
        message->size_bytes = write_digits(number_of(key), message->bytes);
        break;
    case KIND_UUID:
        assert(key_bytes == UUID_KEY_BYTES);
        message->size_bytes = (uint16_t)strlen(text_format_uuid(key + 1, text));
        memcpy(message->bytes, text, message->size_bytes);
        break;
    default:
        assert(key[0] == KIND_TEXT);
        message->size_bytes = (uint16_t)(key_bytes - 1);
        memcpy(message->bytes, key + 1, message->size_bytes);
        break;
    }
}

bool store_key_is_sound(const uint8_t *key, size_t key_bytes)
{
    if (key_bytes < 2 || key_bytes > STORE_KEY_MAX_BYTES)
        return false;
    return (key[0] == KIND_NUMBER && key_bytes == NUMBER_KEY_BYTES) ||
           (key[0] == KIND_UUID && key_bytes == UUID_KEY_BYTES) || key[0] == KIND_TEXT;
}

int store_key_from_message(enum store_id_kind kind, const void *bytes, size_t size_bytes,
                           struct store_key *key, struct error *error)
{
    uint64_t number;

    if (kind == STORE_ID_TEXT)
        return store_key_from_text(bytes, size_bytes, false, key, error);
    if (text_parse_u64(bytes, size_bytes, &number) != 0)
        return error_set(error, ERROR_INVALID, "the id is not an unsigned number in digits");
    store_key_from_u64(number, key);
    return 0;
}

const char *store_id_kind_name(enum store_id_kind kind)
{
    return kind == STORE_ID_NUMBER ? "number" : "text";
}

bool store_id_kind_parse(const char *text, enum store_id_kind *kind)
{
    *kind = strcmp(text, "number") == 0 ? STORE_ID_NUMBER : STORE_ID_TEXT;
    return strcmp(text, store_id_kind_name(*kind)) == 0;
}
