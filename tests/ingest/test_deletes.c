/* Messages that delete the id of their key: those without a value, and the JSON text `null`, which
 * Kafka Connect's JsonConverter writes in its place. */
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/key.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

#define KAFKA_MS INT64_C(1700000000123)

struct row {
    const char *value; /* NULL: none */
    enum config_format format;
    const char *key;
    const char *reason, *text; /* of the reject; NULL: a delete */
};

static const struct row rows[] = {
    {NULL, CONFIG_FORMAT_AUTO, "a", NULL, NULL},
    {NULL, CONFIG_FORMAT_RAW, "{\"id\":\"a\"}", NULL, NULL},
    {NULL, CONFIG_FORMAT_AUTO, NULL, "id", "no Kafka key"},
    {"null", CONFIG_FORMAT_AUTO, "a", NULL, NULL},
    {"null", CONFIG_FORMAT_JSON, "{\"id\":\"a\"}", NULL, NULL},
    {" \tnull\r\n", CONFIG_FORMAT_AUTO, "a", NULL, NULL},
    {"null", CONFIG_FORMAT_AUTO, NULL, "id", "no Kafka key"},
    {"nullable", CONFIG_FORMAT_AUTO, "a", "syntax", "byte 4"},
    {"NULL", CONFIG_FORMAT_JSON, "a", "syntax", "byte 0"},
    {"", CONFIG_FORMAT_JSON, "a", "syntax", "an empty value"},
    {"\"null\"", CONFIG_FORMAT_JSON, "a", "syntax", "$"},
    {"[null]", CONFIG_FORMAT_AUTO, "a", "syntax", "$[0]"},
    {"\xc0", CONFIG_FORMAT_MSGPACK, "a", "syntax", "$"}, /* its nil */
    {"null", CONFIG_FORMAT_RAW, "a", "dimension", "raw"},
};

static void check_reject(const struct row *row, const struct decode_result *decoded)
{
    ck_assert_uint_eq(decoded->record_count, 0);
    ck_assert_uint_eq(decoded->reject_count, 1);
    ck_assert_str_eq(decoded->rejects[0].reason, row->reason);
    ck_assert_msg(strstr(decoded->rejects[0].text, row->text), "%s", decoded->rejects[0].text);
    ck_assert(decoded->rejects[0].value == (const uint8_t *)row->value || row->value[0] == '[');
}

static void check_delete(const struct row *row, const struct decode_result *decoded,
                         struct arena *arena)
{
    const struct store_record *record = decoded->records;
    struct doc id;

    ck_assert_uint_eq(decoded->reject_count, 0);
    ck_assert_uint_eq(decoded->record_count, 1);
    ck_assert(record->is_delete);
    ck_assert_ptr_null(record->vector);
    ck_assert(decoded->sources[0].value == (const uint8_t *)row->value);
    ck_assert_int_eq(record->event_time_ms, KAFKA_MS);
    id = store_key_to_doc(record->key, record->key_bytes, arena);
    ck_assert(doc_string_equals(&id, "a"));
}

START_TEST(message_without_a_value_or_with_json_null_deletes_the_keys_id)
{
    struct config_collection collection = {
        .name = "news", .dim = 4, .metric = VECTOR_METRIC_L2, .window_ms = 3600000};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        struct decode_message message = {.topic = "news", .offset = 17, .timestamp_ms = KAFKA_MS};
        struct decode_result decoded;
        struct arena arena;
        message.key = (const uint8_t *)row->key;
        message.key_bytes = row->key ? strlen(row->key) : 0;
        message.value = (const uint8_t *)row->value;
        message.value_bytes = row->value ? strlen(row->value) : 0;
        collection.format = row->format;
        printf("row %zu: %s\n", i, row->value ? row->value : "no value");
        arena_create(&arena, 0);
        decode_message(&collection, &message, &arena, &arena, &decoded);
        if (row->reason)
            check_reject(row, &decoded);
        else
            check_delete(row, &decoded, &arena);
        arena_destroy(&arena);
    }
}
END_TEST

TEST_TABLE(TEST(message_without_a_value_or_with_json_null_deletes_the_keys_id))
