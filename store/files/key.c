/* Ids as the bytes they are sorted by (struct store_key). */
#include <assert.h>
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

int store_key_from_text(const char *text, size_t length, bool digits_are_number,
                        struct store_key *key, struct error *error)
{
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
    if (text_parse_uuid(text, length, key->bytes + 1) == 0) {
        key->size_bytes = UUID_KEY_BYTES;
        key->bytes[0] = KIND_UUID;
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

static struct doc doc_from_number(const uint8_t *key)
{
    struct doc doc = {0};
    uint64_t number;

    memcpy(&number, key + 1, sizeof(number));
    number = __builtin_bswap64(number);
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
