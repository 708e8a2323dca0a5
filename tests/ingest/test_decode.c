/* What a message becomes: the records and rejects of decode_message, as tables. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/key.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

enum { DIM = 4 };
#define KAFKA_MS INT64_C(1700000000123)

static struct config_collection collection(void)
{
    return (struct config_collection){.name = "news",
                                      .format = CONFIG_FORMAT_AUTO,
                                      .dim = DIM,
                                      .metric = VECTOR_METRIC_L2,
                                      .window_ms = 3600000};
}

/* One decoding with the arena its results live in. */
struct decoded {
    struct config_collection collection;
    struct decode_message message;
    struct arena arena;
    struct decode_result out;
};

static void start(struct decoded *decoded)
{
    *decoded = (struct decoded){.collection = collection()};
    decoded->message = (struct decode_message){
        .topic = "news", .partition = 3, .offset = 17, .timestamp_ms = KAFKA_MS};
    arena_create(&decoded->arena, 0);
}

static void set_key(struct decoded *decoded, const char *key)
{
    decoded->message.key = (const uint8_t *)key;
    decoded->message.key_bytes = key ? strlen(key) : 0;
}

static void set_value(struct decoded *decoded, const void *value, size_t size_bytes)
{
    decoded->message.value = value;
    decoded->message.value_bytes = size_bytes;
}

static void set_text(struct decoded *decoded, const char *text)
{
    set_value(decoded, text, strlen(text));
}

static void run(struct decoded *decoded)
{
    decode_message(&decoded->collection, &decoded->message, &decoded->arena, &decoded->arena,
                   &decoded->out);
}

static void decode_json(struct decoded *decoded, const char *value)
{
    start(decoded);
    set_value(decoded, value, strlen(value));
    run(decoded);
}

/* The id of a record as JSON text. */
static const char *id_text(struct decoded *decoded, size_t record)
{
    const struct store_record *found = &decoded->out.records[record];
    struct doc id = store_key_to_doc(found->key, found->key_bytes, &decoded->arena);
    struct buffer text = {0};
    const char *copy;

    doc_write_json(&text, &id);
    copy = arena_copy(&decoded->arena, text.data, text.size);
    buffer_destroy(&text);
    return copy;
}

static const char *payload_text(struct decoded *decoded, size_t record)
{
    const struct store_record *found = &decoded->out.records[record];
    struct buffer text = {0};
    struct doc payload;
    const char *copy;

    if (found->payload_bytes == 0)
        return "";
    ck_assert_int_eq(doc_parse_msgpack(&decoded->arena, found->payload, found->payload_bytes, NULL,
                                       &payload, ERROR_IGNORED),
                     0);
    doc_write_json(&text, &payload);
    copy = arena_copy(&decoded->arena, text.data, text.size);
    buffer_destroy(&text);
    return copy;
}

static void assert_vector(const struct decoded *decoded, size_t record, const float *wanted)
{
    for (uint32_t i = 0; i < decoded->collection.dim; i++)
        ck_assert_msg(decoded->out.records[record].vector[i] == wanted[i], "value %u is %g, not %g",
                      i, (double)decoded->out.records[record].vector[i], (double)wanted[i]);
}

/* Exactly one reject of this reason, whose text has this. */
static void assert_reject(const struct decoded *decoded, const char *reason, const char *text)
{
    ck_assert_uint_eq(decoded->out.record_count, 0);
    ck_assert_uint_eq(decoded->out.reject_count, 1);
    ck_assert_str_eq(decoded->out.rejects[0].reason, reason);
    ck_assert_msg(strstr(decoded->out.rejects[0].text, text), "\"%s\" lacks \"%s\"",
                  decoded->out.rejects[0].text, text);
}

START_TEST(json_point_keeps_id_vector_payload_and_kafka_time)
{
    static const float wanted[] = {1, -2.5F, 0.125F, 4e3F};
    struct decoded decoded;

    decode_json(&decoded,
                "{\"id\": 7, \"vector\": [1, -2.5, 0.125, 4e3], \"payload\": {\"a\": [1, null]}}");
    ck_assert_uint_eq(decoded.out.reject_count, 0);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    ck_assert_str_eq(id_text(&decoded, 0), "7");
    ck_assert_str_eq(payload_text(&decoded, 0), "{\"a\":[1,null]}");
    ck_assert_int_eq(decoded.out.records[0].offset, 17);
    ck_assert_int_eq(decoded.out.records[0].event_time_ms, KAFKA_MS);
    ck_assert_int_eq(decoded.out.records[0].ttl_ms, 0);
    ck_assert(!decoded.out.records[0].is_delete);
    assert_vector(&decoded, 0, wanted);
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(json_shapes_give_the_same_record)
{
    static const struct {
        const char *value;
        const char *payload;
    } shapes[] = {
        {"{\"id\":7,\"vector\":[1,2,3,4],\"payload\":{\"a\":1}}", "{\"a\":1}"},
        {"{\"collection_name\":\"news\",\"id\":7,\"vector\":[1,2,3,4],\"payload\":{\"a\":1}}",
         "{\"a\":1}"},
        {"{\"id\":7,\"vector\":{\"\":[1,2,3,4]},\"payload\":{\"a\":1}}", "{\"a\":1}"},
        {"{\"id\":7,\"vector\":[1,2,3,4],\"a\":1}", "{\"a\":1}"},
        {"{\"id\":7,\"embedding\":[1,2,3,4],\"a\":1}", "{\"a\":1}"},
        {"{\"id\":7,\"scores\":[9,9],\"embedding\":[1,2,3,4]}", "{\"scores\":[9,9]}"},
        {"{\"id\":7,\"vector\":[1,2,3,4],\"payload\":null,\"time_ms\":5}", ""},
        {"{\"id\":7,\"vector\":[1,2,3,4],\"payload\":{\"a\":1},\"unknown\":2}", "{\"a\":1}"},
        {" \n{\"points\":[{\"id\":7,\"vector\":[1,2,3,4]}]}\t", ""},
        {"[{\"id\":7,\"vector\":[1,2,3,4]}]", ""},
    };
    static const float wanted[] = {1, 2, 3, 4};

    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
        struct decoded decoded;
        decode_json(&decoded, shapes[i].value);
        ck_assert_msg(decoded.out.record_count == 1, "%s: %s", shapes[i].value,
                      decoded.out.reject_count ? decoded.out.rejects[0].text : "nothing");
        ck_assert_str_eq(id_text(&decoded, 0), "7");
        ck_assert_str_eq(payload_text(&decoded, 0), shapes[i].payload);
        assert_vector(&decoded, 0, wanted);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(bad_record_says_why_and_where)
{
    static const struct {
        const char *value;
        const char *reason;
        const char *text;
    } bad[] = {
        {"", "syntax", "byte 0"},
        {"{\"id\":1,\"vector\":[1,2,3", "syntax", "byte 23"},
        {"{\"id\":1,\"vector\":[1,NaN,3,4]}", "syntax", "$.vector[1]"},
        {"{\"id\":1,\"vector\":[1,1e999,3,4]}", "syntax", "$.vector[1]"},
        {"{\"id\":1,\"vector\":[1,1e39,3,4]}", "not_finite", "$.vector[1]"},
        {"{\"id\":1,\"vector\":[1,2,3]}", "dimension", "$.vector: 3 values"},
        {"{\"id\":1,\"vector\":[]}", "dimension", "$.vector: 0 values"},
        {"{\"id\":1,\"vector\":[1,2,3,\"x\"]}", "vector", "$.vector[3]"},
        {"{\"id\":1,\"vector\":\"x\"}", "vector", "$.vector"},
        {"{\"id\":1,\"vector\":null}", "vector", "$.vector"},
        {"{\"id\":1,\"vector\":{\"text\":[1,2,3,4]}}", "vector", "$.vector"},
        {"{\"id\":1,\"payload\":{}}", "vector", "$.vector: missing"},
        {"{\"id\":1,\"a\":[1,2,3,4],\"b\":[1,2,3,4]}", "vector", "2 fields"},
        {"{\"id\":1,\"a\":[1,2,3]}", "dimension", "$.a: 3 values"},
        {"{}", "id", "no id"},
        {"{\"id\":-1,\"vector\":[1,2,3,4]}", "id", "$.id"},
        {"{\"id\":1.5,\"vector\":[1,2,3,4]}", "id", "$.id"},
        {"{\"id\":\"\",\"vector\":[1,2,3,4]}", "id", "$.id"},
        {"{\"id\":[1],\"vector\":[1,2,3,4]}", "id", "$.id"},
        {"{\"id\":1,\"vector\":[1,2,3,4],\"payload\":[1]}", "payload", "$.payload"},
        {"{\"id\":1,\"vector\":[1,2,3,4],\"payload\":\"x\"}", "payload", "$.payload"},
        {"{\"id\":1,\"vector\":[1,2,3,4],\"ttl\":\"soon\"}", "ttl", "$.ttl"},
        {"{\"id\":1,\"vector\":[1,2,3,4],\"ttl\":-5}", "ttl", "$.ttl"},
        {"{\"id\":1,\"vector\":[1,2,3,4],\"ttl\":0}", "ttl", "$.ttl"},
        {"{\"id\":1,\"vector\":[1,2,3,4],\"collection_name\":\"olds\"}", "collection", "news"},
        {"[1]", "syntax", "$[0]"},
        {"[0.25,1,2,3e4,5]", "syntax", "$[0]: expected an object (byte 1); none of the 5 items"},
        {"[[1,2,3,4],[5,6,7,8]]", "syntax", "$[0]: expected an object (byte 1)"},
        {"{\"points\":[1,2,3,4]}", "syntax",
         "$.points[0]: expected an object (byte 11); none of the 4"},
        {"{\"points\":[7]}", "syntax", "$.points[0]"},
        {"{\"points\":[{\"vector\":[1,2,3,4]}]}", "id", "$.points[0].id"},
        {"{\"points\":7}", "id", "no id"},
        {"\x01\x02", "format", "0x01"},
        {"hello", "format", "0x68"},
        {"42", "format", "0x34"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct decoded decoded;
        decode_json(&decoded, bad[i].value);
        printf("%s\n", bad[i].value);
        assert_reject(&decoded, bad[i].reason, bad[i].text);
        ck_assert_ptr_nonnull(decoded.out.rejects[0].value);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(absurd_depth_is_a_reject)
{
    struct buffer text = {0};
    struct decoded decoded;

    buffer_append_text(&text, "{\"id\":1,\"vector\":[1,2,3,4],\"payload\":");
    for (int i = 0; i < 2000; i++)
        buffer_append_text(&text, "{\"a\":");
    decode_json(&decoded, buffer_text(&text));
    assert_reject(&decoded, "syntax", "deep");
    arena_destroy(&decoded.arena);
    buffer_destroy(&text);
}
END_TEST

START_TEST(id_may_have_255_bytes_and_no_more)
{
    for (int length = 255; length <= 256; length++) {
        char value[512];
        char id[257];
        struct decoded decoded;
        memset(id, 'i', sizeof(id));
        id[length] = '\0';
        snprintf(value, sizeof(value), "{\"id\":\"%s\",\"vector\":[1,2,3,4]}", id);
        decode_json(&decoded, value);
        if (length == 255)
            ck_assert_uint_eq(decoded.out.record_count, 1);
        else
            assert_reject(&decoded, "id", "at most 255");
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(payload_may_have_one_mebibyte_and_no_more)
{
    const size_t around[] = {1024 * 1024 - 64, 1024 * 1024 + 1};

    for (size_t i = 0; i < 2; i++) {
        struct buffer text = {0};
        struct decoded decoded;
        buffer_append_text(&text, "{\"id\":1,\"vector\":[1,2,3,4],\"payload\":{\"a\":\"");
        memset(buffer_reserve(&text, around[i]), 'x', around[i]);
        text.size += around[i];
        buffer_append_text(&text, "\"}}");
        decode_json(&decoded, buffer_text(&text));
        if (i == 0)
            ck_assert_uint_eq(decoded.out.record_count, 1);
        else
            assert_reject(&decoded, "payload", "$.payload");
        arena_destroy(&decoded.arena);
        buffer_destroy(&text);
    }
}
END_TEST

START_TEST(batch_splits_into_good_records_and_bad_parts)
{
    static const char value[] = "{\"a\":1,\"points\": [ {\"id\":1,\"vector\":[1,2,3,4]} ,\n"
                                "{\"id\":2,\"vector\":[1, \"]\\\"\"]}, {\"id\":1,\"vector\":[5,6,7,"
                                "8]},3 ] , \"b\":2}";
    static const float first[] = {1, 2, 3, 4};
    static const float last[] = {5, 6, 7, 8};
    struct decoded decoded;

    decode_json(&decoded, value);
    ck_assert_uint_eq(decoded.out.record_count, 2);
    /* One id twice: both in order, so that the store lets the last one win. */
    ck_assert_str_eq(id_text(&decoded, 0), "1");
    ck_assert_str_eq(id_text(&decoded, 1), "1");
    assert_vector(&decoded, 0, first);
    assert_vector(&decoded, 1, last);
    ck_assert_uint_eq(decoded.out.sources[1].value_bytes,
                      strlen("{\"id\":1,\"vector\":[5,6,7,8]}"));
    ck_assert_uint_eq(decoded.out.reject_count, 2);
    ck_assert_str_eq(decoded.out.rejects[0].reason, "dimension");
    ck_assert_ptr_nonnull(strstr(decoded.out.rejects[0].text, "$.points[1].vector"));
    ck_assert_uint_eq(decoded.out.rejects[0].value_bytes,
                      strlen("{\"id\":2,\"vector\":[1, \"]\\\"\"]}"));
    ck_assert_int_eq(memcmp(decoded.out.rejects[0].value, "{\"id\":2", 7), 0);
    ck_assert_uint_eq(decoded.out.rejects[1].value_bytes, 1);
    ck_assert_int_eq(decoded.out.rejects[1].value[0], '3');
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(missing_id_comes_from_the_kafka_key)
{
    static const struct {
        const char *key;
        const char *id; /* NULL: a reject */
    } keys[] = {
        {"42", "42"},
        {"18446744073709551615", "18446744073709551615"},
        {"042", "\"042\""},
        {"news-1", "\"news-1\""},
        {"550E8400-E29B-41D4-A716-446655440000", "\"550e8400-e29b-41d4-a716-446655440000\""},
        {"{\"id\": 42}", "42"},
        {"{\"id\": \"42\"}", "\"42\""},
        {"{\"id\": -42}", NULL},
        {"{\"key\": 42}", NULL},
        {"{\"id\": 42", NULL},
        {"", NULL},
        {NULL, NULL},
        {"\xff\xfe", NULL},
    };

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct decoded decoded;
        start(&decoded);
        set_key(&decoded, keys[i].key);
        set_text(&decoded, "{\"vector\":[1,2,3,4]}");
        run(&decoded);
        printf("%s\n", keys[i].key ? keys[i].key : "(null)");
        if (keys[i].id)
            ck_assert_str_eq(id_text(&decoded, 0), keys[i].id);
        else
            assert_reject(&decoded, "id", i == 11 ? "no Kafka key" : "Kafka key");
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(event_time_is_read_in_its_unit)
{
    static const struct {
        enum config_time_unit unit;
        const char *value;
        int64_t time_ms; /* -1: a reject */
    } times[] = {
        {CONFIG_TIME_MS, "1700000000123", 1700000000123},
        {CONFIG_TIME_MS, "1700000000123.9", 1700000000123},
        {CONFIG_TIME_MS, "-1", -1000},
        {CONFIG_TIME_S, "1700000000", 1700000000000},
        {CONFIG_TIME_S, "1700000000.123", 1700000000123},
        {CONFIG_TIME_US, "1700000000123999", 1700000000123},
        {CONFIG_TIME_NS, "1700000000123999999", 1700000000123},
        {CONFIG_TIME_RFC3339, "\"2023-11-14T22:13:20.123Z\"", 1700000000123},
        {CONFIG_TIME_RFC3339, "1700000000123", -1},
        {CONFIG_TIME_MS, "\"1700000000123\"", -1},
        {CONFIG_TIME_MS, "null", -1},
        {CONFIG_TIME_MS, "9e18", -1},
        {CONFIG_TIME_MS, "9000000000000000000", -1},
        {CONFIG_TIME_S, "9000000000000000000", -1},
        {CONFIG_TIME_MS, "18446744073709551615", -1},
        {CONFIG_TIME_MS, "true", -1},
    };

    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        char value[256];
        struct decoded decoded;
        start(&decoded);
        decoded.collection.event_time_field = "at.time";
        decoded.collection.event_time_unit = times[i].unit;
        snprintf(value, sizeof(value),
                 "{\"id\":1,\"vector\":[1,2,3,4],\"payload\":{\"at\":{\"time\":%s}}}",
                 times[i].value);
        set_value(&decoded, value, strlen(value));
        run(&decoded);
        printf("%s\n", times[i].value);
        if (times[i].time_ms == -1)
            assert_reject(&decoded, "time", "at.time");
        else if (times[i].time_ms == -1000)
            ck_assert_int_eq(decoded.out.records[0].event_time_ms, -1);
        else
            ck_assert_int_eq(decoded.out.records[0].event_time_ms, times[i].time_ms);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(event_time_may_stand_beside_the_payload)
{
    static const char *const values[] = {
        "{\"id\":1,\"vector\":[1,2,3,4],\"time_ms\":5000,\"payload\":{\"time_ms\":1}}",
        "{\"id\":1,\"vector\":[1,2,3,4],\"payload\":{\"time_ms\":5000}}",
        "{\"id\":1,\"vector\":[1,2,3,4],\"time_ms\":5000,\"flat\":true}",
    };

    for (size_t i = 0; i < 3; i++) {
        struct decoded decoded;
        start(&decoded);
        decoded.collection.event_time_field = "time_ms";
        set_value(&decoded, values[i], strlen(values[i]));
        run(&decoded);
        ck_assert_int_eq(decoded.out.records[0].event_time_ms, 5000);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(record_without_any_time_is_a_reject)
{
    struct decoded decoded;

    start(&decoded);
    decoded.message.timestamp_ms = -1;
    set_text(&decoded, "{\"id\":1,\"vector\":[1,2,3,4]}");
    run(&decoded);
    assert_reject(&decoded, "time", "no timestamp");
    decoded.collection.event_time_field = "created";
    run(&decoded);
    assert_reject(&decoded, "time", "created");
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(ttl_is_a_duration_or_milliseconds)
{
    struct decoded decoded;

    decode_json(&decoded, "[{\"id\":1,\"vector\":[1,2,3,4],\"ttl\":\"1h30m\"},"
                          "{\"id\":2,\"vector\":[1,2,3,4],\"ttl\":250},"
                          "{\"id\":3,\"vector\":[1,2,3,4],\"ttl\":null}]");
    ck_assert_uint_eq(decoded.out.record_count, 3);
    ck_assert_int_eq(decoded.out.records[0].ttl_ms, 5400000);
    ck_assert_int_eq(decoded.out.records[1].ttl_ms, 250);
    ck_assert_int_eq(decoded.out.records[2].ttl_ms, 0);
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(cosine_normalises_and_refuses_zeros)
{
    static const char *const values[] = {"[3,0,4,0]", "[3e30,0,4e30,0]", "[3e-44,0,4e-44,0]"};
    struct decoded decoded;

    for (size_t i = 0; i < 3; i++) {
        char value[128];
        double length = 0;
        start(&decoded);
        decoded.collection.metric = VECTOR_METRIC_COSINE;
        snprintf(value, sizeof(value), "{\"id\":1,\"vector\":%s}", values[i]);
        set_value(&decoded, value, strlen(value));
        run(&decoded);
        ck_assert_uint_eq(decoded.out.record_count, 1);
        for (int j = 0; j < DIM; j++)
            length +=
                (double)decoded.out.records[0].vector[j] * (double)decoded.out.records[0].vector[j];
        ck_assert_double_eq_tol(length, 1, 1e-6);
        arena_destroy(&decoded.arena);
    }
    start(&decoded);
    decoded.collection.metric = VECTOR_METRIC_COSINE;
    set_text(&decoded, "{\"id\":1,\"vector\":[0,0,-0.0,0]}");
    run(&decoded);
    assert_reject(&decoded, "zero_vector", "$.vector: a vector of zeros");
    arena_destroy(&decoded.arena);
}
END_TEST

/* {"id": 7, "vector": bin, "payload": {"a": 1}} */
static size_t msgpack_point(uint8_t *out, const float *vector)
{
    static const uint8_t head[] = "\x83\xa2id\x07\xa6vector\xc4\x10";
    static const uint8_t tail[] = "\xa7payload\x81\xa1\x61\x01";
    size_t size = 0;

    memcpy(out, head, sizeof(head) - 1);
    size += sizeof(head) - 1;
    memcpy(out + size, vector, DIM * sizeof(float));
    size += DIM * sizeof(float);
    memcpy(out + size, tail, sizeof(tail) - 1);
    return size + sizeof(tail) - 1;
}

START_TEST(msgpack_vector_may_be_bytes_or_numbers)
{
    static const float wanted[] = {1, 2, 3, 4};
    static const uint8_t numbers[] =
        "\x82\xa2id\x07\xa6vector\x94\x01\xca\x40\x00\x00\x00\xcb\x40\x08\0\0\0\0\0\0\x04";
    uint8_t bytes[128];
    struct decoded decoded;

    start(&decoded);
    set_value(&decoded, bytes, msgpack_point(bytes, wanted));
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    ck_assert_str_eq(id_text(&decoded, 0), "7");
    ck_assert_str_eq(payload_text(&decoded, 0), "{\"a\":1}");
    assert_vector(&decoded, 0, wanted);
    arena_destroy(&decoded.arena);

    start(&decoded);
    set_value(&decoded, numbers, sizeof(numbers) - 1);
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    assert_vector(&decoded, 0, wanted);
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(msgpack_nan_and_infinity_are_rejects)
{
    const float bad[] = {NAN, INFINITY, -INFINITY};

    for (size_t i = 0; i < 3; i++) {
        float vector[DIM] = {1, 2, bad[i], 4};
        uint8_t bytes[128];
        struct decoded decoded;
        start(&decoded);
        set_value(&decoded, bytes, msgpack_point(bytes, vector));
        run(&decoded);
        assert_reject(&decoded, "not_finite", "$.vector[2]");
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(msgpack_batch_gives_each_bad_part_its_bytes)
{
    static const float good[] = {1, 2, 3, 4};
    const float bad[] = {1, NAN, 3, 4};
    uint8_t bytes[256] = {0x93};
    size_t first = 1 + msgpack_point(bytes + 1, good);
    size_t second = first + msgpack_point(bytes + first, bad);
    size_t third = second + msgpack_point(bytes + second, bad);
    struct decoded decoded;

    start(&decoded);
    set_value(&decoded, bytes, third);
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    ck_assert_uint_eq(decoded.out.reject_count, 2);
    ck_assert_ptr_eq(decoded.out.rejects[0].value, bytes + first);
    ck_assert_uint_eq(decoded.out.rejects[0].value_bytes, second - first);
    ck_assert_ptr_eq(decoded.out.rejects[1].value, bytes + second);
    ck_assert_uint_eq(decoded.out.rejects[1].value_bytes, third - second);
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(raw_vector_takes_id_and_time_from_kafka)
{
    const float wanted[] = {-1.5F, 2, 3, 1e-20F};
    struct decoded decoded;

    for (int given = 0; given < 2; given++) {
        start(&decoded);
        decoded.collection.format = given ? CONFIG_FORMAT_RAW : CONFIG_FORMAT_AUTO;
        decoded.collection.event_time_field = "time_ms"; /* a raw vector has no fields */
        set_key(&decoded, "42");
        set_value(&decoded, wanted, sizeof(wanted));
        run(&decoded);
        ck_assert_uint_eq(decoded.out.record_count, 1);
        ck_assert_str_eq(id_text(&decoded, 0), "42");
        ck_assert_int_eq(decoded.out.records[0].event_time_ms, KAFKA_MS);
        assert_vector(&decoded, 0, wanted);
        arena_destroy(&decoded.arena);
    }
    start(&decoded);
    decoded.collection.format = CONFIG_FORMAT_RAW;
    set_key(&decoded, "42");
    set_value(&decoded, wanted, sizeof(wanted) - 1);
    run(&decoded);
    assert_reject(&decoded, "dimension", "15 bytes");
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(format_is_told_by_header_then_by_first_byte)
{
    static const struct {
        enum config_format format;
        const char *content_type;
        const char *value;
        const char *reason; /* NULL: a record */
    } cases[] = {
        {CONFIG_FORMAT_AUTO, NULL, "{\"id\":1,\"vector\":[1,2,3,4]}", NULL},
        {CONFIG_FORMAT_AUTO, "application/json; charset=utf-8", "{\"id\":1,\"vector\":[1,2,3,4]}",
         NULL},
        {CONFIG_FORMAT_AUTO, "application/octet-stream", "{\"id\":1,\"vector\":[1,2,3,4]}", NULL},
        {CONFIG_FORMAT_AUTO, "application/msgpack", "{\"id\":1,\"vector\":[1,2,3,4]}", "syntax"},
        {CONFIG_FORMAT_AUTO, "Application/X-MsgPack",
         "\x82\xa2id\x01\xa6vector\x94\x01\x02\x03\x04", NULL},
        {CONFIG_FORMAT_AUTO, NULL, "\x82\xa2id\x01\xa6vector\x94\x01\x02\x03\x04", NULL},
        {CONFIG_FORMAT_JSON, "application/msgpack", "{\"id\":1,\"vector\":[1,2,3,4]}", NULL},
        {CONFIG_FORMAT_JSON, NULL, "\x82\xa2id\x01\xa6vector\x94\x01\x02\x03\x04", "syntax"},
        {CONFIG_FORMAT_AUTO, "application/vnd.apache.arrow.stream", "ARROW1", "syntax"},
        {CONFIG_FORMAT_AUTO, NULL, "{\"id\":1,\"v\":1}", "vector"},
        {CONFIG_FORMAT_AUTO, NULL, "{\"id\":1,\"aa\":2}", "vector"}, /* 16 bytes: not raw */
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decoded decoded;
        start(&decoded);
        decoded.collection.format = cases[i].format;
        decoded.message.content_type = cases[i].content_type;
        set_key(&decoded, "1");
        set_value(&decoded, cases[i].value, strlen(cases[i].value));
        run(&decoded);
        printf("case %zu\n", i);
        if (cases[i].reason)
            assert_reject(&decoded, cases[i].reason, "");
        else
            ck_assert_uint_eq(decoded.out.record_count, 1);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

/* A message made by somebody else's serialiser; `prefix` bytes are put in front. */
static void decode_fixture(struct decoded *decoded, const char *name, const char *prefix,
                           size_t prefix_bytes)
{
    static uint8_t bytes[4096];
    char path[512];
    size_t size_bytes;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", FIXTURES, name);
    file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    memcpy(bytes, prefix, prefix_bytes);
    size_bytes = prefix_bytes + fread(bytes + prefix_bytes, 1, sizeof(bytes) - prefix_bytes, file);
    fclose(file);
    start(decoded);
    decoded->collection.event_time_field = "time_ms";
    if (strstr(name, "batch"))
        decoded->collection.event_time_field = NULL;
    set_value(decoded, bytes, size_bytes);
    run(decoded);
}

START_TEST(msgpack_of_the_python_package_is_read)
{
    static const float wanted[] = {1, -2.5F, 0.125F, 4000};
    static const char *const names[] = {"numbers.msgpack", "bytes.msgpack"};
    struct decoded decoded;

    for (size_t i = 0; i < 2; i++) {
        decode_fixture(&decoded, names[i], "", 0);
        ck_assert_uint_eq(decoded.out.record_count, 1);
        ck_assert_str_eq(id_text(&decoded, 0), "7");
        ck_assert_str_eq(payload_text(&decoded, 0), "{\"count\":5,\"title\":\"größer\"}");
        ck_assert_int_eq(decoded.out.records[0].event_time_ms, 1700000000123);
        assert_vector(&decoded, 0, wanted);
        arena_destroy(&decoded.arena);
    }
    decode_fixture(&decoded, "batch.msgpack", "", 0);
    ck_assert_uint_eq(decoded.out.record_count, 2);
    ck_assert_str_eq(id_text(&decoded, 0), "\"a\"");
    assert_vector(&decoded, 1, wanted);
    ck_assert_uint_eq(decoded.out.reject_count, 1);
    ck_assert_ptr_nonnull(strstr(decoded.out.rejects[0].text, "$[1].vector: 3 values"));
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(protobuf_of_protoc_is_read_with_and_without_framing)
{
    static const struct {
        const char *bytes;
        size_t size_bytes;
    } frames[] = {{"", 0}, {"\0\0\0\0\x2a\0", 6}, {"\0\0\0\0\x2a\x02\0", 7}};
    static const float wanted[] = {1, -2.5F, 0.125F, 4000};

    for (size_t i = 0; i < 3; i++) {
        struct decoded decoded;
        struct doc payload;
        decode_fixture(&decoded, "point.pb", frames[i].bytes, frames[i].size_bytes);
        ck_assert_msg(decoded.out.record_count == 1, "%s",
                      decoded.out.reject_count ? decoded.out.rejects[0].text : "nothing");
        ck_assert_str_eq(id_text(&decoded, 0), "7");
        ck_assert_int_eq(decoded.out.records[0].event_time_ms, 1700000000123);
        ck_assert_int_eq(decoded.out.records[0].ttl_ms, 60000);
        assert_vector(&decoded, 0, wanted);
        ck_assert_int_eq(doc_parse_msgpack(&decoded.arena, decoded.out.records[0].payload,
                                           decoded.out.records[0].payload_bytes, NULL, &payload,
                                           ERROR_IGNORED),
                         0);
        ck_assert_uint_eq(payload.count, 5); /* a map has no order on the wire */
        ck_assert_int_eq(doc_get(&payload, "count")->type, DOC_INT);
        ck_assert_int_eq(doc_get(&payload, "count")->integer, 5);
        ck_assert(doc_get(&payload, "ratio")->number == 0.5);
        ck_assert(doc_string_equals(doc_get(&payload, "title"), "größer"));
        ck_assert_uint_eq(doc_get(&payload, "flags")->count, 2);
        ck_assert_int_eq(doc_get(&payload, "flags")->items[1].type, DOC_NULL);
        ck_assert(doc_get(doc_get(&payload, "place"), "lat")->number == 52.5);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(protobuf_batch_splits_like_any_other)
{
    static const float last[] = {5, 6, 7, 8};
    struct decoded decoded;

    decode_fixture(&decoded, "batch.pb", "", 0);
    ck_assert_uint_eq(decoded.out.record_count, 2);
    ck_assert_str_eq(id_text(&decoded, 0), "\"550e8400-e29b-41d4-a716-446655440000\"");
    ck_assert_str_eq(payload_text(&decoded, 0), "{\"big\":9007199254740993}");
    ck_assert_str_eq(id_text(&decoded, 1), "3");
    assert_vector(&decoded, 1, last);
    ck_assert_uint_eq(decoded.out.reject_count, 1);
    ck_assert_str_eq(decoded.out.rejects[0].reason, "dimension");
    ck_assert_ptr_nonnull(strstr(decoded.out.rejects[0].text, "$.points[1].vector"));
    /* The part is a Point of its own, so that it can be sent again. */
    decoded.message.value = decoded.out.rejects[0].value;
    decoded.message.value_bytes = decoded.out.rejects[0].value_bytes;
    run(&decoded);
    assert_reject(&decoded, "dimension", "$.vector: 3 values");
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(broken_protobuf_names_the_byte)
{
    static const struct {
        const char *bytes;
        size_t size_bytes;
        const char *text;
    } broken[] = {
        {"\x08", 1, "byte 1"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 11, "64 bits"},
        {"\x08\x01\x1a\x10\0\0", 6, "byte 4: a length beyond"},
        {"\x08\x01\x1a\x03\0\0\0", 7, "broken length"},
        {"\x08\x01\x18\x03", 4, "byte 2: the field has another type"},
        {"\x08\x01\x0b\x0c", 4, "groups"},
        {"\x12\x02\xff\xff", 4, "not UTF-8"},
        {"\0\0\0", 3, "framing"},
        {"\0\0\0\0\x01\x04\x02\x02\x08\x01", 10, "windrow.proto"},
        {"\x08\x01\x2a\x01{", 5, "payload_json"},
    };

    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        struct decoded decoded;
        start(&decoded);
        decoded.collection.format = CONFIG_FORMAT_PROTOBUF;
        set_value(&decoded, broken[i].bytes, broken[i].size_bytes);
        run(&decoded);
        printf("case %zu\n", i);
        assert_reject(&decoded, "syntax", broken[i].text);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

TEST_TABLE(TEST(json_point_keeps_id_vector_payload_and_kafka_time),
           TEST(json_shapes_give_the_same_record), TEST(bad_record_says_why_and_where),
           TEST(absurd_depth_is_a_reject), TEST(id_may_have_255_bytes_and_no_more),
           TEST(payload_may_have_one_mebibyte_and_no_more),
           TEST(batch_splits_into_good_records_and_bad_parts),
           TEST(missing_id_comes_from_the_kafka_key), TEST(event_time_is_read_in_its_unit),
           TEST(event_time_may_stand_beside_the_payload), TEST(record_without_any_time_is_a_reject),
           TEST(ttl_is_a_duration_or_milliseconds), TEST(cosine_normalises_and_refuses_zeros),
           TEST(msgpack_vector_may_be_bytes_or_numbers), TEST(msgpack_nan_and_infinity_are_rejects),
           TEST(msgpack_batch_gives_each_bad_part_its_bytes),
           TEST(raw_vector_takes_id_and_time_from_kafka),
           TEST(format_is_told_by_header_then_by_first_byte),
           TEST(msgpack_of_the_python_package_is_read),
           TEST(protobuf_of_protoc_is_read_with_and_without_framing),
           TEST(protobuf_batch_splits_like_any_other), TEST(broken_protobuf_names_the_byte))
