/* Vectors of messages by their names: what they become, and what is refused. */
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/parts.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

static const char *names[] = {"text", "code"};
static const struct config_vector extras[] = {
    {.name = "page", .dim = 2, .metric = VECTOR_METRIC_COSINE},
    {.name = "tokens", .dim = 2, .metric = VECTOR_METRIC_L2, .multiple = true}};

static void decode(struct arena *arena, const void *value, size_t size_bytes, size_t sparse_count,
                   const char *vector_name, struct decode_result *result)
{
    const struct config_collection collection = {.name = "news",
                                                 .dim = 4,
                                                 .metric = VECTOR_METRIC_L2,
                                                 .window_ms = 3600000,
                                                 .vector_name = vector_name,
                                                 .sparse_vectors = names,
                                                 .sparse_vector_count = sparse_count,
                                                 .extra_vectors = extras,
                                                 .extra_vector_count = 2};
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
    {"{" TEXT "}", "{}", "{} {\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}}"},
    {"{" TEXT ",\"\":null}", "{}", "{} {\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}}"},
    {"{}", "{}", "{} {}"},
    {"{" DENSE ",\"image\":[1,2]}", "{}", "$.vector: the collection has no vector \"image\""},
    {"{" DENSE ",\"text\":[1,2]}", "{}", "$.vector.text: expected a sparse vector"},
    {"{" DENSE ",\"text\":{\"indices\":[1,1],\"values\":[1,1]}}", "{}",
     "$.vector.text.indices: 1 comes twice"},
    {"{" DENSE ",\"text\":{\"indices\":[1],\"values\":[1e40]}}", "{}",
     "$.vector.text.values[0]: not a finite"},
    {"{\"\":[1,2]," TEXT "}", "{}", "2 values, the collection has dimension 4"},
};

static void check_case(const char *vector, const char *payload, const char *outcome_wanted,
                       size_t sparse_count, const char *vector_name, bool packed)
{
    static const float dense[] = {1, 2, 3, 4};
    struct decode_result result;
    struct buffer json = {0}, value = {0};
    struct arena arena;
    const char *found;
    struct doc doc;

    arena_create(&arena, 0);
    buffer_append_format(&json, "{\"id\":1,\"vector\":%s,\"payload\":%s}", vector, payload);
    if (packed) {
        ck_assert_int_eq(
            doc_parse_json(&arena, buffer_text(&json), json.size, NULL, &doc, ERROR_IGNORED), 0);
        doc_write_msgpack(&value, &doc);
    } else {
        buffer_append(&value, json.data, json.size);
    }
    decode(&arena, value.data, value.size, sparse_count, vector_name, &result);
    found = outcome(&arena, &result);
    ck_assert_msg(strstr(found, outcome_wanted), "%s: %s", vector, found);
    if (result.record_count > 0 && !strstr(vector, "[1,2,3,4]") && !strstr(vector, "float32"))
        ck_assert_ptr_null(result.records[0].vector);
    else if (result.record_count > 0)
        ck_assert_mem_eq(result.records[0].vector, dense, sizeof(dense));
    arena_destroy(&arena);
    buffer_destroy(&value);
    buffer_destroy(&json);
}

START_TEST(sparse_vectors_lie_behind_the_payload)
{
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (int packed = 0; packed < 2; packed++)
            check_case(cases[i].vector, cases[i].payload, cases[i].outcome, 2, NULL, packed);
}
END_TEST

START_TEST(extra_vectors_lie_behind_the_payload)
{
    static const struct {
        const char *vector, *outcome;
    } table[] = {
        {"{" DENSE ",\"page\":[3,4]}", "{} {\"page\":[0.6,0.8]}"},
        {"{\"page\":[0,-2]," TEXT "}",
         "{} {\"page\":[0.0,-1.0],\"text\":{\"indices\":[9,2],\"values\":[0.5,1.25]}}"},
        {"{\"tokens\":[[1,2],[3,4.5]]}", "{} {\"tokens\":[[1.0,2.0],[3.0,4.5]]}"},
        {"{\"tokens\":[[0,0]]}", "{} {\"tokens\":[[0.0,0.0]]}"},
        {"{" DENSE ",\"page\":null,\"tokens\":null}", "{} {}"},
        {"{\"page\":[1]}", "$.vector.page: expected an array of 2 numbers"},
        {"{\"page\":[[1,2]]}", "$.vector.page: expected an array of 2 numbers"},
        {"{\"page\":\"x\"}", "$.vector.page: expected an array of 2 numbers"},
        {"{\"page\":[1,\"x\"]}", "$.vector.page[1]: expected a number"},
        {"{\"page\":[1e39,0]}", "$.vector.page[0]: 1e+39 is not a finite float32"},
        {"{\"page\":[0,0]}", "$.vector.page: a vector of zeros has no direction"},
        {"{\"tokens\":[]}", "$.vector.tokens: expected a list of 1 to 131072 arrays of 2 numbers"},
        {"{\"tokens\":[1,2]}", "$.vector.tokens[0]: expected an array of 2 numbers"},
        {"{\"tokens\":[[1,2],[3]]}", "$.vector.tokens[1]: expected an array of 2 numbers"},
        {"{\"tokens\":{\"indices\":[],\"values\":[]}}", "$.vector.tokens: expected a list"},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (int packed = 0; packed < 2; packed++)
            check_case(table[i].vector, "{}", table[i].outcome, 2, NULL, packed);
}
END_TEST

#define OWN "\"text-dense\":[1,2,3,4]"

/* A message may leave the name out: there is one dense vector. */
START_TEST(a_dense_vector_may_come_by_its_name)
{
    static const struct {
        const char *vector, *outcome;
        size_t sparse_count;
    } table[] = {
        {"[1,2,3,4]", "{} {}", 0},
        {"{" OWN "}", "{} {}", 0},
        {"{" OWN "}", "{} {}", 2},
        {"{\"text-dense\":{\"float32\":\"AACAPwAAAEAAAEBAAACAQA==\"}}", "{} {}", 0},
        {"{\"float32\":\"AACAPwAAAEAAAEBAAACAQA==\"}", "{} {}", 2},
        {"{" TEXT "," OWN "}", "{\"text\":{\"indices\":[9,2]", 2},
        {"{" TEXT "," OWN "}", "$.vector: the collection has no vector \"text\"", 0},
        {"{" DENSE "}", "$.vector: the collection has no vector \"\"", 0},
        {"{\"image\":[1,2,3,4]}", "$.vector: the collection has no vector \"image\"", 0},
        {"{" OWN ",\"image\":[1,2,3,4]}", "$.vector: the collection has no vector \"image\"", 0},
        {"{" TEXT "}", "{} {\"text\":", 2},
        {"{\"text-dense\":null}", "{} {}", 0},
        {"{}", "{} {}", 0},
        {"{\"text-dense\":[1,2]}", "2 values, the collection has dimension 4", 0},
        {"{\"text-dense\":{\"indices\":[1],\"values\":[1]}}", "$.vector", 0},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        for (int packed = 0; packed < 2; packed++)
            check_case(table[i].vector, "{}", table[i].outcome, table[i].sparse_count, "text-dense",
                       packed);
}
END_TEST

START_TEST(a_collection_that_declares_none_has_none)
{
    static const char json[] = "{\"id\":1,\"vector\":{" DENSE "," TEXT "},\"payload\":{}}";
    struct decode_result result;
    struct arena arena;

    arena_create(&arena, 0);
    decode(&arena, json, strlen(json), 0, NULL, &result);
    ck_assert_uint_eq(result.record_count, 0);
    ck_assert_uint_eq(result.reject_count, 1);
    ck_assert_str_eq(result.rejects[0].reason, "vector");
    arena_destroy(&arena);
}
END_TEST

TEST_TABLE(TEST(extra_vectors_lie_behind_the_payload), TEST(sparse_vectors_lie_behind_the_payload),
           TEST(a_dense_vector_may_come_by_its_name),
           TEST(a_collection_that_declares_none_has_none))
