/* Which id the key of a message is: by the header of windrow's own messages, or by the collection's rule.
 * Deletes keep both readings of a key that `auto` can read in two ways. */
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/key.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

#define KAFKA_MS INT64_C(1700000000123)
#define VECTOR   "{\"vector\":[1,2,3,4]}"

/* Bytes with zeros in them. */
#define BYTES(literal) literal, sizeof(literal) - 1

struct row {
    enum config_key_rule rule;
    const char *header; /* NULL: none */
    const char *key;
    size_t key_bytes;
    const char *id;     /* of a record that takes it from the key, as JSON; NULL: a reject */
    const char *first;  /* of a delete; NULL: a reject */
    const char *second; /* NULL: one reading */
};

#define UUID      "550e8400-e29b-41d4-a716-446655440000"
#define UUID_JSON "\"" UUID "\""
#define UUID_RAW  "\x55\x0e\x84\x00\xe2\x9b\x41\xd4\xa7\x16\x44\x66\x55\x44\x00\x00"

static const struct row rows[] = {
    /* The header is exact, whatever the rule. */
    {CONFIG_KEY_AUTO, "number", BYTES("42"), "42", "42", NULL},
    {CONFIG_KEY_AUTO, "text", BYTES("42"), "\"42\"", "\"42\"", NULL},
    {CONFIG_KEY_LONG, "text", BYTES("{\"id\": 7}"), "\"{\\\"id\\\": 7}\"", "\"{\\\"id\\\": 7}\"",
     NULL},
    {CONFIG_KEY_NUMBER, "text", BYTES("{not json}"), "\"{not json}\"", "\"{not json}\"", NULL},
    {CONFIG_KEY_JSON, "text", BYTES(UUID), UUID_JSON, UUID_JSON, NULL},
    {CONFIG_KEY_AUTO, "number", BYTES("a"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, "number", BYTES("007"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, "text", BYTES("\xff"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, "uuid", BYTES(UUID), NULL, NULL, NULL},

    {CONFIG_KEY_AUTO, NULL, BYTES("a"), "\"a\"", "\"a\"", NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("42"), "42", "42", "\"42\""},
    {CONFIG_KEY_AUTO, NULL, BYTES("042"), "\"042\"", "\"042\"", NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES(UUID), UUID_JSON, UUID_JSON, NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("{\"id\": 7}"), "7", "7", "\"{\\\"id\\\": 7}\""},
    {CONFIG_KEY_AUTO, NULL, BYTES("{\"id\": \"7\"}"), "\"7\"", "\"7\"",
     "\"{\\\"id\\\": \\\"7\\\"}\""},
    {CONFIG_KEY_AUTO, NULL, BYTES("{not json}"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("{\"key\": 7}"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("\"doc-1\""), "\"\\\"doc-1\\\"\"", "\"\\\"doc-1\\\"\"",
     "\"doc-1\""},
    {CONFIG_KEY_AUTO, NULL, BYTES("\"doc"), "\"\\\"doc\"", "\"\\\"doc\"", NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("\0\0\0\0\0\0\0*"),
     "\"\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000*\"",
     "\"\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000\\u0000*\"", "42"},
    {CONFIG_KEY_AUTO, NULL, BYTES("\0\0\0\0\0\0\0\xc8"), NULL, "200", NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("8 bytes."), "\"8 bytes.\"", "\"8 bytes.\"", NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("12345678"), "12345678", "12345678", "\"12345678\""},
    {CONFIG_KEY_AUTO, NULL, BYTES(UUID_RAW), NULL, UUID_JSON, NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("sixteen letters."), "\"sixteen letters.\"",
     "\"sixteen letters.\"", NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES("\xff"), NULL, NULL, NULL},
    {CONFIG_KEY_AUTO, NULL, BYTES(""), NULL, NULL, NULL},

    {CONFIG_KEY_TEXT, NULL, BYTES("42"), "\"42\"", "\"42\"", NULL},
    {CONFIG_KEY_TEXT, NULL, BYTES("{\"id\": 7}"), "\"{\\\"id\\\": 7}\"", "\"{\\\"id\\\": 7}\"",
     NULL},
    {CONFIG_KEY_TEXT, NULL, BYTES("\xff"), NULL, NULL, NULL},
    {CONFIG_KEY_NUMBER, NULL, BYTES("18446744073709551615"), "18446744073709551615",
     "18446744073709551615", NULL},
    {CONFIG_KEY_NUMBER, NULL, BYTES("a"), NULL, NULL, NULL},
    {CONFIG_KEY_JSON, NULL, BYTES("42"), "42", "42", NULL},
    {CONFIG_KEY_JSON, NULL, BYTES("\"42\""), "\"42\"", "\"42\"", NULL},
    {CONFIG_KEY_JSON, NULL, BYTES("{\"id\": 42}"), "42", "42", NULL},
    {CONFIG_KEY_JSON, NULL, BYTES("\0\0\0\0\x0c\"42\""), "\"42\"", "\"42\"", NULL},
    {CONFIG_KEY_JSON, NULL, BYTES("doc-1"), NULL, NULL, NULL},
    {CONFIG_KEY_JSON, NULL, BYTES("{\"key\": 1}"), NULL, NULL, NULL},
    {CONFIG_KEY_LONG, NULL, BYTES("\0\0\0\0\0\0\0*"), "42", "42", NULL},
    {CONFIG_KEY_LONG, NULL, BYTES("\x7f\xff\xff\xff\xff\xff\xff\xff"), "9223372036854775807",
     "9223372036854775807", NULL},
    {CONFIG_KEY_LONG, NULL, BYTES("\xff\xff\xff\xff\xff\xff\xff\xff"), NULL, NULL, NULL},
    {CONFIG_KEY_LONG, NULL, BYTES("42"), NULL, NULL, NULL},
    {CONFIG_KEY_UUID_BYTES, NULL, BYTES(UUID_RAW), UUID_JSON, UUID_JSON, NULL},
    {CONFIG_KEY_UUID_BYTES, NULL, BYTES(UUID), NULL, NULL, NULL},
};

static void check_id(const uint8_t *key, size_t key_bytes, const char *wanted, struct arena *arena)
{
    struct doc id = store_key_to_doc(key, key_bytes, arena);
    struct buffer text = {0};

    doc_write_json(&text, &id);
    ck_assert_str_eq(buffer_text(&text), wanted);
    buffer_destroy(&text);
}

static void decode(const struct row *row, const char *value, struct arena *arena,
                   struct decode_result *out)
{
    const struct config_collection collection = {.name = "news",
                                                 .key = row->rule,
                                                 .dim = 4,
                                                 .metric = VECTOR_METRIC_L2,
                                                 .window_ms = 3600000};
    const struct decode_message message = {.topic = "news",
                                           .offset = 17,
                                           .timestamp_ms = KAFKA_MS,
                                           .key = (const uint8_t *)row->key,
                                           .key_bytes = row->key_bytes,
                                           .value = (const uint8_t *)value,
                                           .value_bytes = value ? strlen(value) : 0,
                                           .id_kind = row->header};

    decode_message(&collection, &message, arena, arena, out);
    ck_assert_uint_eq(out->record_count + out->reject_count, 1);
    if (out->reject_count > 0) {
        ck_assert_str_eq(out->rejects[0].reason, "id");
        ck_assert_ptr_nonnull(strstr(out->rejects[0].text, "Kafka key"));
    }
}

START_TEST(record_without_an_id_takes_the_first_reading_of_its_key)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct decode_result decoded;
        struct arena arena;
        arena_create(&arena, 0);
        printf("row %zu\n", i);
        decode(&rows[i], VECTOR, &arena, &decoded);
        ck_assert_uint_eq(decoded.record_count, rows[i].id != NULL);
        if (rows[i].id) {
            ck_assert_ptr_null(decoded.records[0].other_key);
            check_id(decoded.records[0].key, decoded.records[0].key_bytes, rows[i].id, &arena);
        }
        arena_destroy(&arena);
    }
}
END_TEST

START_TEST(delete_keeps_both_readings_of_its_key)
{
    static const char *const values[] = {NULL, "null"};

    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i / 2];
        struct decode_result decoded;
        const struct store_record *record;
        struct arena arena;
        arena_create(&arena, 0);
        printf("row %zu\n", i / 2);
        decode(row, values[i % 2], &arena, &decoded);
        ck_assert_uint_eq(decoded.record_count, row->first != NULL);
        record = decoded.records;
        if (row->first) {
            ck_assert(record->is_delete);
            ck_assert_int_eq(record->is_foreign, row->header == NULL);
            check_id(record->key, record->key_bytes, row->first, &arena);
            ck_assert((record->other_key != NULL) == (row->second != NULL));
        }
        if (row->second)
            check_id(record->other_key, record->other_key_bytes, row->second, &arena);
        arena_destroy(&arena);
    }
}
END_TEST

/* The id in the value counts, whatever the key says. */
START_TEST(record_with_an_id_does_not_look_at_its_key)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct decode_result decoded;
        struct arena arena;
        arena_create(&arena, 0);
        decode(&rows[i], "{\"id\":\"b\",\"vector\":[1,2,3,4]}", &arena, &decoded);
        ck_assert_uint_eq(decoded.record_count, 1);
        check_id(decoded.records[0].key, decoded.records[0].key_bytes, "\"b\"", &arena);
        arena_destroy(&arena);
    }
}
END_TEST

TEST_TABLE(TEST(record_without_an_id_takes_the_first_reading_of_its_key),
           TEST(delete_keeps_both_readings_of_its_key),
           TEST(record_with_an_id_does_not_look_at_its_key))
