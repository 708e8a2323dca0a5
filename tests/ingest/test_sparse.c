/* Sparse vectors of messages: what they become, and what is refused. */
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/parts.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

static const char *names[] = {"text", "code"};

static void decode(struct arena *arena, const void *value, size_t size_bytes, size_t sparse_count,
                   struct decode_result *result)
{
    const struct config_collection collection = {.name = "news",
                                                 .dim = 4,
                                                 .metric = VECTOR_METRIC_L2,
                                                 .window_ms = 3600000,
                                                 .sparse_vectors = names,
                                                 .sparse_vector_count = sparse_count};
    const struct decode_message message = {.topic = "news",
                                           .offset = 17,
                                           .timestamp_ms = 1700000000123,
                                           .value = value,
                                           .value_bytes = size_bytes};

    memset(result, 0, sizeof(*result));
    decode_message(&collection, &message, arena, arena, result);
}

/* "PAYLOAD PARTS", or the text of the reject. */
static const char *outcome(struct arena *arena, const struct decode_result *result)
{
    const struct store_record *record = result->records;
    struct doc payload = {.type = DOC_MAP}, parts;
    struct buffer text = {0};
    size_t used = 0;
    const char *copy;

    if (result->record_count == 0)
        return result->rejects[0].text;
    if (record->payload)
        ck_assert_int_eq(doc_parse_msgpack_first(arena, record->payload, record->payload_bytes,
                                                 NULL, &payload, &used, ERROR_IGNORED),
                         0);
    ck_assert(record->has_parts == (used < record->payload_bytes));
    ck_assert_int_eq(parts_read(record->payload + used, record->payload_bytes - used, arena, &parts,
                                ERROR_IGNORED),
                     0);
    doc_write_json(&text, &payload);
    buffer_append_byte(&text, ' ');
    doc_write_json(&text, &parts);
    copy = arena_copy(arena, text.data, text.size);
    buffer_destroy(&text);
    return copy;
}

#define DENSE "\"\":[1,2,3,4]"
#define TEXT  "\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}"

static const struct {
    const char *vector, *payload, *outcome;
} cases[] = {
    {"[1,2,3,4]", "{\"a\":1}", "{\"a\":1} {}"},
    {"{" DENSE "}", "{\"a\":1}", "{\"a\":1} {}"},
    {"{" DENSE "," TEXT "}", "{\"a\":1}",
     "{\"a\":1} {\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}}"},
    {"{" TEXT "," DENSE "}", "{}", "{} {\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}}"},
    {"{" DENSE "," TEXT "}", "null", "{} {\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}}"},
    {"{" DENSE ",\"code\":{\"values\":[],\"indices\":[]}," TEXT "}", "{}",
     "{} "
     "{\"code\":{\"indices\":[],\"values\":[]},\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}"
     "}"},
    {"{" DENSE ",\"text\":null}", "{}", "{} {}"},
    {"{" TEXT "}", "{}", "$.vector[\"\"]: missing, every point has this vector"},
    {"{" DENSE ",\"image\":[1,2]}", "{}", "$.vector: the collection has no vector \"image\""},
    {"{" DENSE ",\"text\":[1,2]}", "{}", "$.vector.text: expected a sparse vector"},
    {"{" DENSE ",\"text\":{\"indices\":[1,1],\"values\":[1,1]}}", "{}",
     "$.vector.text.indices: 1 comes twice"},
    {"{" DENSE ",\"text\":{\"indices\":[1],\"values\":[1e40]}}", "{}",
     "$.vector.text.values[0]: not a finite"},
    {"{\"\":[1,2]," TEXT "}", "{}", "2 values, the collection has dimension 4"},
};

START_TEST(sparse_vectors_lie_behind_the_payload)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int packed = 0; packed < 2; packed++) {
            struct decode_result result;
            struct buffer json = {0}, value = {0};
            struct arena arena;
            const char *found;
            struct doc doc;
            arena_create(&arena, 0);
            buffer_append_format(&json, "{\"id\":1,\"vector\":%s,\"payload\":%s}", cases[i].vector,
                                 cases[i].payload);
            if (packed) {
                ck_assert_int_eq(doc_parse_json(&arena, buffer_text(&json), json.size, NULL, &doc,
                                                ERROR_IGNORED),
                                 0);
                doc_write_msgpack(&value, &doc);
            } else {
                buffer_append(&value, json.data, json.size);
            }
            decode(&arena, value.data, value.size, 2, &result);
            found = outcome(&arena, &result);
            ck_assert_msg(strstr(found, cases[i].outcome), "%s: %s", cases[i].vector, found);
            arena_destroy(&arena);
            buffer_destroy(&value);
            buffer_destroy(&json);
        }
}
END_TEST

START_TEST(a_collection_that_declares_none_has_none)
{
    static const char json[] = "{\"id\":1,\"vector\":{" DENSE "," TEXT "},\"payload\":{}}";
    struct decode_result result;
    struct arena arena;

    arena_create(&arena, 0);
    decode(&arena, json, strlen(json), 0, &result);
    ck_assert_uint_eq(result.record_count, 0);
    ck_assert_uint_eq(result.reject_count, 1);
    ck_assert_str_eq(result.rejects[0].reason, "vector");
    arena_destroy(&arena);
}
END_TEST

TEST_TABLE(TEST(sparse_vectors_lie_behind_the_payload),
           TEST(a_collection_that_declares_none_has_none))
