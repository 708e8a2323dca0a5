/* What streams of pyarrow and polars become, and that broken ones lead nowhere. */
#include "tests/support/test_main.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/key.h"
#include "store/files/record.h"

enum { MESSAGES_MAX = 8, DIM = 4, FILE_MAX_BYTES = 8192 };

/* A file of fixtures/ (its README says how they were made), decoded. */
struct decoded {
    struct config_collection collection;
    struct decode_message message;
    struct arena arena, scratch;
    struct decode_result out;
    uint8_t bytes[FILE_MAX_BYTES];
};

static void read_file(struct decoded *decoded, const char *name)
{
    char path[512];
    FILE *file;

    *decoded = (struct decoded){
        .collection = {.name = "c",
                       .format = CONFIG_FORMAT_AUTO,
                       .dim = DIM,
                       .metric = VECTOR_METRIC_L2,
                       .window_ms = 1000},
        .message = {.topic = "t", .offset = 17, .timestamp_ms = 5, .value = decoded->bytes}};
    snprintf(path, sizeof(path), "%s/%s.arrows", FIXTURES, name);
    file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    decoded->message.value_bytes = fread(decoded->bytes, 1, sizeof(decoded->bytes), file);
    fclose(file);
    arena_create(&decoded->arena, 0);
    arena_create(&decoded->scratch, 0);
}

static void run(struct decoded *decoded)
{
    decode_message(&decoded->collection, &decoded->message, &decoded->scratch, &decoded->arena,
                   &decoded->out);
    arena_reset(&decoded->scratch); /* nothing may point there */
}

static void end(struct decoded *decoded)
{
    arena_destroy(&decoded->arena);
    arena_destroy(&decoded->scratch);
}

static const char *json_of(struct decoded *decoded, const uint8_t *msgpack, size_t size)
{
    struct buffer text = {0};
    struct doc doc;
    const char *copy;

    if (size == 0)
        return "";
    ck_assert_int_eq(doc_parse_msgpack(&decoded->arena, msgpack, size, NULL, &doc, ERROR_IGNORED),
                     0);
    doc_write_json(&text, &doc);
    copy = arena_copy(&decoded->arena, text.data, text.size);
    buffer_destroy(&text);
    return copy;
}

static const char *payload(struct decoded *decoded, size_t record)
{
    const struct store_record *found = &decoded->out.records[record];

    ck_assert_uint_lt(record, decoded->out.record_count);
    return json_of(decoded, found->payload, found->payload_bytes);
}

static const char *id(struct decoded *decoded, size_t record)
{
    const struct store_record *found = &decoded->out.records[record];
    struct doc doc = store_key_to_doc(found->key, found->key_bytes, &decoded->arena);
    struct buffer text = {0};
    const char *copy;

    doc_write_json(&text, &doc);
    copy = arena_copy(&decoded->arena, text.data, text.size);
    buffer_destroy(&text);
    return copy;
}

static void assert_vector(const struct decoded *decoded, size_t record, float first)
{
    for (int i = 0; i < DIM; i++)
        ck_assert_float_eq(decoded->out.records[record].vector[i], first + (float)i);
}

static void assert_reject(const struct decoded *decoded, size_t reject, const char *reason,
                          const char *text)
{
    ck_assert_uint_lt(reject, decoded->out.reject_count);
    ck_assert_str_eq(decoded->out.rejects[reject].reason, reason);
    ck_assert_msg(strstr(decoded->out.rejects[reject].text, text), "\"%s\" lacks \"%s\"",
                  decoded->out.rejects[reject].text, text);
}

START_TEST(every_type_becomes_what_it_would_be_in_json)
{
    static const char *const expected[] = {
        "{\"time\":\"2023-11-14T22:13:20.123456Z\",\"i8\":-1,\"u16\":65535,"
        "\"i64\":-9223372036854775808,\"u64\":18446744073709551615,\"f16\":1.5,\"f32\":0.5,"
        "\"f64\":0.1,\"flag\":true,\"nothing\":null,\"s\":\"gr\u00f6\u00dfer\",\"ls\":\"a\","
        "\"view\":\"short\",\"d32\":\"2026-11-23\",\"d64\":\"2026-11-23\","
        "\"ns\":\"1970-01-01T00:00:00.000000001Z\",\"sec\":\"2023-11-14T22:13:20.000Z\","
        "\"cat\":\"red\",\"catu8\":\"y\",\"tags\":[\"a\",\"b\"],\"nums\":[1],"
        "\"place\":{\"lat\":52.5,\"deep\":{\"n\":-1}}}",
        "{\"time\":null,\"i8\":null,\"u16\":0,\"i64\":9223372036854775807,\"u64\":0,\"f16\":-2.0,"
        "\"f32\":null,\"f64\":1e+300,\"flag\":false,\"nothing\":null,\"s\":\"\",\"ls\":\"bb\","
        "\"view\":\"longer than twelve bytes\",\"d32\":\"0001-01-01\",\"d64\":\"2026-11-23\","
        "\"ns\":null,\"sec\":\"2023-11-14T22:13:20.000Z\",\"cat\":\"blue\",\"catu8\":null,"
        "\"tags\":[],\"nums\":[2,3],\"place\":{\"lat\":null,\"deep\":null}}",
        "{\"time\":\"2023-11-14T22:13:20.123457Z\",\"i8\":127,\"u16\":1,\"i64\":0,\"u64\":1,"
        "\"f16\":65504.0,\"f32\":-1.0,\"f64\":-0.25,\"flag\":null,\"nothing\":null,\"s\":null,"
        "\"ls\":\"ccc\",\"view\":null,\"d32\":null,\"d64\":\"2026-11-23\","
        "\"ns\":\"1969-12-31T23:59:59.999999999Z\",\"sec\":\"2023-11-14T22:13:20.000Z\","
        "\"cat\":\"red\",\"catu8\":\"x\",\"tags\":null,\"nums\":[],\"place\":null}"};
    static const char *const ids[] = {"1", "18446744073709551615", "3"};
    struct decoded decoded;

    read_file(&decoded, "types");
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 3);
    ck_assert_uint_eq(decoded.out.reject_count, 0);
    for (size_t i = 0; i < 3; i++) {
        ck_assert_str_eq(payload(&decoded, i), expected[i]);
        ck_assert_str_eq(id(&decoded, i), ids[i]);
        assert_vector(&decoded, i, (float)(1 + 4 * i));
        ck_assert_int_eq(decoded.out.records[i].event_time_ms, 5);
    }
    end(&decoded);
}
END_TEST

START_TEST(streams_of_polars_are_read)
{
    struct decoded decoded;

    read_file(&decoded, "polars");
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 2);
    ck_assert_str_eq(payload(&decoded, 0), "{\"s\":\"a\",\"c\":\"x\"}");
    ck_assert_str_eq(payload(&decoded, 1), "{\"s\":\"longer than twelve bytes\",\"c\":\"y\"}");
    assert_vector(&decoded, 1, 5);
    end(&decoded);
}
END_TEST

START_TEST(timestamps_are_event_times_in_any_unit)
{
    static const struct {
        enum config_time_unit unit;
        const char *field;
        int64_t first_ms;
        size_t records;
    } cases[] = {
        {CONFIG_TIME_MS, "time", 1700000000123, 2},
        {CONFIG_TIME_S, "time", 1700000000000, 2},
        {CONFIG_TIME_NS, "time", 1700000000123, 2},
        {CONFIG_TIME_RFC3339, "time", 1700000000123, 2},
        {CONFIG_TIME_MS, "sec", 1700000000000, 3},
        {CONFIG_TIME_NS, "sec", 1700000000000, 3},
        {CONFIG_TIME_RFC3339, "d64", 1795392000000, 3},
    };
    struct decoded decoded;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_file(&decoded, "types");
        decoded.collection.event_time_field = cases[i].field;
        decoded.collection.event_time_unit = cases[i].unit;
        run(&decoded);
        ck_assert_uint_eq(decoded.out.record_count, cases[i].records);
        ck_assert_int_eq(decoded.out.records[0].event_time_ms, cases[i].first_ms);
        if (cases[i].records == 2)
            assert_reject(&decoded, 0, "time", "$.batches[0].rows[1]: no event time in \"time\"");
        end(&decoded);
    }
}
END_TEST

START_TEST(bad_rows_are_named_and_lose_no_other)
{
    static const char *const ids[] = {"\"a\"", "\"f\""};
    struct decoded decoded;

    read_file(&decoded, "bad-rows");
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 2);
    for (size_t i = 0; i < 2; i++)
        ck_assert_str_eq(id(&decoded, i), ids[i]);
    ck_assert_uint_eq(decoded.out.reject_count, 5);
    assert_reject(&decoded, 0, "not_finite", "$.batches[0].rows[1].vector[1]: NaN");
    assert_reject(&decoded, 1, "vector", "$.batches[0].rows[2].vector[1]: expected a number");
    assert_reject(&decoded, 2, "id", "$.batches[0].rows[3].id: missing");
    assert_reject(&decoded, 3, "dimension", "$.batches[0].rows[4].vector: 2 values");
    assert_reject(&decoded, 4, "vector", "$.batches[1].rows[1].vector: expected an array");
    /* Each has its row, and nothing of others. */
    ck_assert_str_eq(
        json_of(&decoded, decoded.out.rejects[3].value, decoded.out.rejects[3].value_bytes),
        "{\"id\":\"e\",\"vector\":null,\"n\":5}"); /* bytes, which JSON has not */
    end(&decoded);
}
END_TEST

/* A row that is refused later, as one too far in the future. */
START_TEST(row_of_a_record_is_a_message_of_its_own)
{
    struct decode_source source;
    struct decoded decoded, again;

    read_file(&decoded, "bad-rows");
    run(&decoded);
    ck_assert(decoded.out.sources[1].is_row);
    source = decode_source_whole(&decoded.collection, &decoded.message, &decoded.out.sources[1],
                                 &decoded.arena);
    read_file(&again, "types");
    again.message.value = source.value;
    again.message.value_bytes = source.value_bytes;
    run(&again);
    ck_assert_uint_eq(again.out.record_count, 1);
    ck_assert_str_eq(id(&again, 0), "\"f\"");
    ck_assert_str_eq(payload(&again, 0), "{\"n\":6}");
    assert_vector(&again, 0, 1);
    end(&again);
    end(&decoded);
}
END_TEST

START_TEST(column_payload_is_an_object_in_json)
{
    struct decoded decoded;

    read_file(&decoded, "payload");
    decoded.collection.event_time_field = "time";
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    ck_assert_str_eq(id(&decoded, 0), "1");
    ck_assert_str_eq(payload(&decoded, 0), "{\"n\":{\"m\":[1,2]}}");
    ck_assert_int_eq(decoded.out.records[0].event_time_ms, 1000);
    assert_vector(&decoded, 0, 5);
    assert_reject(&decoded, 0, "payload", "$.batches[0].rows[1].payload: expected an object");
    end(&decoded);
}
END_TEST

START_TEST(digits_of_a_text_column_are_texts_where_keys_are)
{
    static const struct {
        enum config_key_rule rule;
        const char *header, *id;
    } rows[] = {{CONFIG_KEY_AUTO, NULL, "1"},
                {CONFIG_KEY_TEXT, NULL, "\"1\""},
                {CONFIG_KEY_AUTO, "text", "\"1\""},
                {CONFIG_KEY_TEXT, "number", "1"},
                {CONFIG_KEY_LONG, NULL, "1"}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct decoded decoded;
        read_file(&decoded, "payload");
        decoded.collection.key = rows[i].rule;
        decoded.message.id_kind = rows[i].header;
        run(&decoded);
        ck_assert_str_eq(id(&decoded, 0), rows[i].id);
        end(&decoded);
    }
}
END_TEST

START_TEST(vector_is_found_and_converted)
{
    struct decoded decoded;

    read_file(&decoded, "unnamed");
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    assert_vector(&decoded, 0, 1);
    ck_assert_str_eq(payload(&decoded, 0), "{\"other\":[1.0,2.0]}");
    end(&decoded);

    read_file(&decoded, "doubles");
    run(&decoded);
    ck_assert_uint_eq(decoded.out.record_count, 1);
    assert_vector(&decoded, 0, 1);
    assert_reject(&decoded, 0, "not_finite", "$.batches[0].rows[1].vector[3]");
    end(&decoded);
}
END_TEST

START_TEST(what_cannot_be_stored_is_said)
{
    static const struct {
        const char *file, *text;
        size_t records;
    } cases[] = {
        {"decimal", "column price: the type decimal cannot be stored", 0},
        {"compressed", "compressed buffers are not supported", 0},
        {"delta", "a dictionary that grows is not supported", 1},
    };
    struct decoded decoded;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_file(&decoded, cases[i].file);
        run(&decoded);
        ck_assert_uint_eq(decoded.out.record_count, cases[i].records);
        ck_assert_uint_eq(decoded.out.reject_count, 1);
        assert_reject(&decoded, 0, "syntax", cases[i].text);
        ck_assert_uint_eq(decoded.out.rejects[0].value_bytes, decoded.message.value_bytes);
        end(&decoded);
    }
}
END_TEST

/* In memory of just that size, so that the sanitizers see each byte that is read beyond. */
static void run_copy(struct decoded *decoded, size_t size)
{
    uint8_t *copy = malloc(size);

    memcpy(copy, decoded->bytes, size);
    decoded->message.value = copy;
    decoded->message.value_bytes = size;
    decoded->collection.format = CONFIG_FORMAT_ARROW;
    run(decoded);
    free(copy);
    arena_reset(&decoded->arena);
}

START_TEST(cut_and_changed_streams_are_not_left)
{
    static const char *const files[] = {"small", "polars"};
    static const uint8_t masks[] = {0x01, 0x80, 0xff};
    struct decoded decoded;
    size_t whole = 0;

    for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
        size_t size;
        read_file(&decoded, files[f]);
        size = decoded.message.value_bytes;
        /* It is whole where a message ends: the format asks for no mark behind the last one. */
        for (size_t cut = 1; cut < size - 8; cut++) {
            run_copy(&decoded, cut);
            whole += decoded.out.reject_count == 0;
            ck_assert_uint_eq(decoded.out.record_count, 0);
        }
        ck_assert_uint_le(whole, MESSAGES_MAX);
        for (size_t i = 0; i < size; i++) {
            for (size_t k = 0; k < sizeof(masks); k++) {
                decoded.bytes[i] ^= masks[k];
                run_copy(&decoded, size);
                decoded.bytes[i] ^= masks[k];
            }
        }
        end(&decoded);
    }
}
END_TEST

TEST_TABLE(TEST(every_type_becomes_what_it_would_be_in_json), TEST(streams_of_polars_are_read),
           TEST(timestamps_are_event_times_in_any_unit), TEST(bad_rows_are_named_and_lose_no_other),
           TEST(row_of_a_record_is_a_message_of_its_own), TEST(column_payload_is_an_object_in_json),
           TEST(digits_of_a_text_column_are_texts_where_keys_are),
           TEST(vector_is_found_and_converted), TEST(what_cannot_be_stored_is_said),
           TEST(cut_and_changed_streams_are_not_left))
