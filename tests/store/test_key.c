/* Ids become keys that sort numbers, then UUIDs, then strings, and come back as they were. */
#include <string.h>

#include "store/files/key.h"
#include "tests/support/test_main.h"

static struct store_key key_of(const char *text)
{
    struct store_key key;

    ck_assert_int_eq(store_key_from_text(text, strlen(text), true, &key, ERROR_IGNORED), 0);
    return key;
}

static int compare(const struct store_key *a, const struct store_key *b)
{
    size_t common = a->size_bytes < b->size_bytes ? a->size_bytes : b->size_bytes;
    int order = memcmp(a->bytes, b->bytes, common);

    return order ? order : (int)a->size_bytes - (int)b->size_bytes;
}

START_TEST(numbers_sort_before_uuids_before_strings)
{
    static const char *const ascending[] = {
        "0",
        "1",
        "255",
        "256",
        "18446744073709551615",
        "00000000-0000-0000-0000-000000000001",
        "550e8400-e29b-41d4-a716-446655440000",
        "18446744073709551616", /* too large for a number */
        "a",
        "ab",
        "b",
        "\xc3\xa4",
    };
    size_t count = sizeof(ascending) / sizeof(ascending[0]);

    for (size_t i = 0; i + 1 < count; i++) {
        struct store_key low = key_of(ascending[i]), high = key_of(ascending[i + 1]);
        ck_assert_msg(compare(&low, &high) < 0, "%s < %s", ascending[i], ascending[i + 1]);
    }
}
END_TEST

START_TEST(spellings_of_one_uuid_are_one_key)
{
    static const char *const spellings[] = {
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29B-41D4-A716-446655440000",
        "550e8400e29b41d4a716446655440000",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
    };
    struct store_key first = key_of(spellings[0]);

    ck_assert_uint_eq(first.size_bytes, 17);
    ck_assert_uint_eq(first.bytes[0], 2);
    for (size_t i = 1; i < 4; i++) {
        struct store_key key = key_of(spellings[i]);
        ck_assert_int_eq(compare(&first, &key), 0);
    }
}
END_TEST

START_TEST(digits_are_a_string_unless_asked)
{
    struct store_key as_text, as_number;

    ck_assert_int_eq(store_key_from_text("42", 2, false, &as_text, ERROR_IGNORED), 0);
    ck_assert_int_eq(store_key_from_text("42", 2, true, &as_number, ERROR_IGNORED), 0);
    ck_assert_uint_eq(as_text.bytes[0], 3);
    ck_assert_uint_eq(as_number.bytes[0], 1);
    ck_assert_mem_eq(as_number.bytes + 1, "\0\0\0\0\0\0\0\x2a", 8);
    /* "007" is no canonical number: it would come back as 7. */
    ck_assert_int_eq(store_key_from_text("007", 3, true, &as_text, ERROR_IGNORED), 0);
    ck_assert_uint_eq(as_text.bytes[0], 3);
}
END_TEST

START_TEST(ids_that_cannot_be_are_refused)
{
    static char longest[257];
    struct store_key key;
    struct error error;

    memset(longest, 'x', 256);
    ck_assert_int_eq(store_key_from_text("", 0, false, &key, &error), ERROR_INVALID);
    ck_assert_int_eq(store_key_from_text(longest, 256, false, &key, &error), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "256"));
    ck_assert_int_eq(store_key_from_text(longest, 255, false, &key, &error), 0);
    ck_assert_uint_eq(key.size_bytes, STORE_KEY_MAX_BYTES);
    ck_assert_int_eq(store_key_from_text("a\xff", 2, false, &key, &error), ERROR_INVALID);
    ck_assert_int_eq(store_key_from_text("a\xed\xa0\x80", 4, false, &key, &error), ERROR_INVALID);
}
END_TEST

START_TEST(documents_give_numbers_and_strings_only)
{
    struct doc unsigned_doc = {.type = DOC_UINT, .unsigned_integer = UINT64_MAX};
    struct doc cases[] = {doc_integer(-1), doc_number(1.0), {.type = DOC_NULL}, {.type = DOC_MAP}};
    struct doc seven = doc_integer(7);
    struct doc digits = {.type = DOC_STRING, .count = 1, .string = "7"};
    struct store_key key;

    ck_assert_int_eq(store_key_from_doc(&seven, &key, ERROR_IGNORED), 0);
    ck_assert_mem_eq(key.bytes, "\1\0\0\0\0\0\0\0\7", 9);
    ck_assert_int_eq(store_key_from_doc(&digits, &key, ERROR_IGNORED), 0);
    ck_assert_uint_eq(key.bytes[0], 3);
    ck_assert_int_eq(store_key_from_doc(&unsigned_doc, &key, ERROR_IGNORED), 0);
    ck_assert_mem_eq(key.bytes, "\1\xff\xff\xff\xff\xff\xff\xff\xff", 9);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_int_eq(store_key_from_doc(&cases[i], &key, ERROR_IGNORED), ERROR_INVALID);
}
END_TEST

START_TEST(keys_come_back_as_documents)
{
    static const char *const ids[] = {"text", "550e8400-e29b-41d4-a716-446655440000", "\xc3\xa4"};
    struct arena arena;
    struct store_key key;
    struct doc doc;

    arena_create(&arena, 0);
    for (size_t i = 0; i < 3; i++) {
        key = key_of(ids[i]);
        doc = store_key_to_doc(key.bytes, key.size_bytes, &arena);
        ck_assert(doc_string_equals(&doc, ids[i]));
    }
    store_key_from_u64(42, &key);
    doc = store_key_to_doc(key.bytes, key.size_bytes, &arena);
    ck_assert_int_eq((int)doc.type, DOC_INT);
    ck_assert_int_eq(doc.integer, 42);
    store_key_from_u64(UINT64_MAX, &key);
    doc = store_key_to_doc(key.bytes, key.size_bytes, &arena);
    ck_assert_int_eq((int)doc.type, DOC_UINT);
    ck_assert_uint_eq(doc.unsigned_integer, UINT64_MAX);
    arena_destroy(&arena);
}
END_TEST

static void check_both_ways(const struct store_key *key)
{
    struct store_message_key message;
    struct store_key back;
    enum store_id_kind kind;

    store_key_to_message(key->bytes, key->size_bytes, &message);
    ck_assert_uint_gt(message.size_bytes, 0);
    ck_assert(store_id_kind_parse(store_id_kind_name(message.kind), &kind));
    ck_assert_int_eq(
        store_key_from_message(kind, message.bytes, message.size_bytes, &back, ERROR_IGNORED), 0);
    ck_assert_msg(compare(key, &back) == 0, "%s %.*s", store_id_kind_name(kind),
                  (int)message.size_bytes, message.bytes);
}

static void check_text_both_ways(const char *text, size_t length)
{
    struct store_key key;

    ck_assert_int_eq(store_key_from_text(text, length, false, &key, ERROR_IGNORED), 0);
    check_both_ways(&key);
}

/* One character, of one to four bytes, controls and NUL among them. */
static size_t draw_character(uint64_t *seed, char *out)
{
    static const uint32_t ends[] = {0x80, 0x800, 0xd800, 0x110000};
    static const uint32_t starts[] = {0, 0x80, 0x800, 0x10000};
    static const uint32_t leads[] = {0, 0xc0, 0xe0, 0xf0};
    uint64_t size = test_random(seed) % 4;
    uint32_t code =
        starts[size] + (uint32_t)(test_random(seed) % (uint64_t)(ends[size] - starts[size]));

    for (uint64_t i = size; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)(leads[size] | code);
    return size + 1;
}

START_TEST(message_keys_are_the_inverse_of_ids)
{
    static const char *const texts[] = {
        "0",
        "42",
        "007",
        "18446744073709551615",
        "18446744073709551616",
        "-1",
        "1e5",
        "null",
        "true",
        "\"42\"",
        "{\"id\": 7}",
        "{not json}",
        "[1]",
        " 42 ",
        "a b",
        "%41",
        "\x7f",
        "\xf0\x9f\x8e\x89",
        "number",
        "text",
    };
    static const uint64_t numbers[] = {0, 1, 42, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX};
    uint64_t seed = test_seed();
    struct store_key key;
    char text[STORE_ID_TEXT_MAX_BYTES + 4];

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        check_text_both_ways(texts[i], strlen(texts[i]));
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        store_key_from_u64(numbers[i], &key);
        check_both_ways(&key);
    }
    for (int i = 0; i < 20000; i++) {
        size_t wanted = 1 + test_random(&seed) % STORE_ID_TEXT_MAX_BYTES, length = 0;
        while (length < wanted)
            length += draw_character(&seed, text + length);
        if (length <= STORE_ID_TEXT_MAX_BYTES)
            check_text_both_ways(text, length);
        store_key_from_u64(test_random(&seed) >> (test_random(&seed) % 64), &key);
        check_both_ways(&key);
        for (int byte = 0; byte < 16; byte++)
            text[byte] = (char)test_random(&seed);
        store_key_from_uuid((const uint8_t *)text, &key);
        check_both_ways(&key);
    }
    memset(text, 'x', STORE_ID_TEXT_MAX_BYTES);
    check_text_both_ways(text, STORE_ID_TEXT_MAX_BYTES);
    memset(text, 1, STORE_ID_TEXT_MAX_BYTES);
    check_text_both_ways(text, STORE_ID_TEXT_MAX_BYTES);
}
END_TEST

START_TEST(number_and_text_of_the_same_digits_differ_by_their_kind_alone)
{
    struct store_message_key number, text;
    struct store_key key;
    enum store_id_kind kind;

    store_key_from_u64(42, &key);
    store_key_to_message(key.bytes, key.size_bytes, &number);
    ck_assert_int_eq(store_key_from_text("42", 2, false, &key, ERROR_IGNORED), 0);
    store_key_to_message(key.bytes, key.size_bytes, &text);
    ck_assert_uint_eq(number.size_bytes, text.size_bytes);
    ck_assert_mem_eq(number.bytes, text.bytes, 2);
    ck_assert_int_eq((int)number.kind, (int)STORE_ID_NUMBER);
    ck_assert_int_eq((int)text.kind, (int)STORE_ID_TEXT);
    ck_assert(!store_id_kind_parse("", &kind));
    ck_assert(!store_id_kind_parse("Number", &kind));
    ck_assert_int_eq(store_key_from_message(STORE_ID_NUMBER, "007", 3, &key, ERROR_IGNORED),
                     ERROR_INVALID);
    ck_assert_int_eq(store_key_from_message(STORE_ID_NUMBER, "", 0, &key, ERROR_IGNORED),
                     ERROR_INVALID);
    ck_assert_int_eq(store_key_from_message(STORE_ID_TEXT, "", 0, &key, ERROR_IGNORED),
                     ERROR_INVALID);
}
END_TEST

TEST_TABLE(TEST(numbers_sort_before_uuids_before_strings), TEST(spellings_of_one_uuid_are_one_key),
           TEST(digits_are_a_string_unless_asked), TEST(ids_that_cannot_be_are_refused),
           TEST(documents_give_numbers_and_strings_only), TEST(keys_come_back_as_documents),
           TEST(message_keys_are_the_inverse_of_ids),
           TEST(number_and_text_of_the_same_digits_differ_by_their_kind_alone))
