/* Vectors as bytes: each type in each format, and what is refused. Collections here have four
 * dimensions, or twelve where bits are to fill no whole byte. */
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/record.h"
#include "tests/support/test_main.h"

enum { DIM = 4, FILE_MAX_BYTES = 8192 };

struct decoded {
    struct config_collection collection;
    struct decode_message message;
    struct arena arena;
    struct decode_result out;
};

static void start(struct decoded *decoded, enum vector_type messages, const void *value,
                  size_t size_bytes)
{
    *decoded = (struct decoded){.collection = {.name = "c",
                                               .format = CONFIG_FORMAT_AUTO,
                                               .dim = DIM,
                                               .metric = VECTOR_METRIC_L2,
                                               .messages = messages,
                                               .window_ms = 1000},
                                .message = {.topic = "t",
                                            .offset = 17,
                                            .timestamp_ms = 5,
                                            .key = (const uint8_t *)"7",
                                            .key_bytes = 1,
                                            .value = value,
                                            .value_bytes = size_bytes}};
    arena_create(&decoded->arena, 0);
}

static void run(struct decoded *decoded)
{
    decode_message(&decoded->collection, &decoded->message, &decoded->arena, &decoded->arena,
                   &decoded->out);
}

static void assert_vector(const struct decoded *decoded, const float *wanted)
{
    ck_assert_msg(decoded->out.reject_count == 0, "%s",
                  decoded->out.reject_count ? decoded->out.rejects[0].text : "");
    ck_assert_uint_eq(decoded->out.record_count, 1);
    for (uint32_t i = 0; i < decoded->collection.dim; i++)
        ck_assert_msg(decoded->out.records[0].vector[i] == wanted[i], "value %u is %g, not %g", i,
                      (double)decoded->out.records[0].vector[i], (double)wanted[i]);
}

static void assert_reject(const struct decoded *decoded, const char *reason, const char *text)
{
    ck_assert_uint_eq(decoded->out.record_count, 0);
    ck_assert_uint_eq(decoded->out.reject_count, 1);
    ck_assert_str_eq(decoded->out.rejects[0].reason, reason);
    ck_assert_msg(strstr(decoded->out.rejects[0].text, text), "\"%s\" lacks \"%s\"",
                  decoded->out.rejects[0].text, text);
}

/* A vector in each type, as numpy writes it, and what it holds. */
static const struct sample {
    enum vector_type type;
    const char *name;
    const char *bytes;
    size_t size_bytes;
    const char *base64;
    float values[DIM];
} samples[] = {
    {VECTOR_TYPE_FLOAT32,
     "float32",
     "\0\0\x80\x3f\0\0\x20\xc0\0\0\0\x3e\0\0\x7a\x45",
     16,
     "AACAPwAAIMAAAAA+AAB6RQ==",
     {1, -2.5F, 0.125F, 4000}},
    {VECTOR_TYPE_FLOAT16,
     "float16",
     "\x00\x3c\x00\xc1\x01\x00\xff\x7b",
     8,
     "ADwAwQEA/3s=",
     {1, -2.5F, 0x1p-24F, 65504}},
    {VECTOR_TYPE_BFLOAT16,
     "bfloat16",
     "\x80\x3f\x20\xc0\x00\x3e\x7a\x45",
     8,
     "gD8gwAA+ekU=",
     {1, -2.5F, 0.125F, 4000}},
    {VECTOR_TYPE_INT8, "int8", "\x01\x80\x7f\x00", 4, "AYB/AA==", {1, -128, 127, 0}},
    {VECTOR_TYPE_BINARY, "binary", "\xb0", 1, "sA==", {1, 0, 1, 1}},
};

enum { SAMPLES = sizeof(samples) / sizeof(samples[0]) };

/* What says the type: the vector itself, the header, the collection. */
enum said_by { SAID_BY_VECTOR, SAID_BY_HEADER, SAID_BY_COLLECTION, SAYERS };

static void say(struct decoded *decoded, const struct sample *sample, enum said_by by)
{
    if (by == SAID_BY_HEADER) {
        decoded->message.vector_type = sample->name;
        /* The header counts more than the collection. */
        decoded->collection.messages = (sample->type + 1) % VECTOR_TYPE_COUNT;
    }
    if (by == SAID_BY_VECTOR)
        decoded->message.vector_type = sample->type == VECTOR_TYPE_INT8 ? "binary" : "int8";
}

START_TEST(raw_vector_of_each_type_is_told_by_its_size)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        for (enum said_by by = SAID_BY_HEADER; by < SAYERS; by++) {
            for (int named = 0; named < 2; named++) {
                struct decoded decoded;
                start(&decoded, samples[i].type, samples[i].bytes, samples[i].size_bytes);
                say(&decoded, &samples[i], by);
                decoded.collection.format = named ? CONFIG_FORMAT_RAW : CONFIG_FORMAT_AUTO;
                run(&decoded);
                assert_vector(&decoded, samples[i].values);
                arena_destroy(&decoded.arena);
            }
        }
    }
}
END_TEST

START_TEST(json_takes_base64_with_a_type_or_without)
{
    for (size_t i = 0; i < SAMPLES; i++) {
        for (enum said_by by = SAID_BY_VECTOR; by < SAYERS; by++) {
            /* Padding may be left out. */
            const int length = (int)(by == SAID_BY_COLLECTION ? strcspn(samples[i].base64, "=")
                                                              : strlen(samples[i].base64));
            struct decoded decoded;
            char text[128];
            if (by == SAID_BY_VECTOR)
                snprintf(text, sizeof(text), "{\"vector\": {\"%s\": \"%s\"}}", samples[i].name,
                         samples[i].base64);
            else
                snprintf(text, sizeof(text),
                         by == SAID_BY_HEADER ? "{\"vector\": {\"\": \"%.*s\"}}"
                                              : "{\"vector\": \"%.*s\"}",
                         length, samples[i].base64);
            start(&decoded, samples[i].type, text, strlen(text));
            say(&decoded, &samples[i], by);
            run(&decoded);
            assert_vector(&decoded, samples[i].values);
            arena_destroy(&decoded.arena);
        }
    }
}
END_TEST

/* {"vector": VALUE}, or in the flat shape {"v": VALUE}. */
static size_t pack(const struct sample *sample, enum said_by by, const char *field, uint8_t *out)
{
    uint8_t *at = out;

    *at++ = 0x81;
    *at++ = (uint8_t)(0xa0 + strlen(field));
    memcpy(at, field, strlen(field));
    at += strlen(field);
    if (by == SAID_BY_VECTOR) {
        *at++ = 0x81;
        *at++ = (uint8_t)(0xa0 + strlen(sample->name));
        memcpy(at, sample->name, strlen(sample->name));
        at += strlen(sample->name);
    }
    *at++ = 0xc4;
    *at++ = (uint8_t)sample->size_bytes;
    memcpy(at, sample->bytes, sample->size_bytes);
    return (size_t)(at - out) + sample->size_bytes;
}

START_TEST(msgpack_takes_bin_with_a_type_or_without)
{
    static const char *const fields[] = {"vector", "v"};
    uint8_t bytes[64];

    for (size_t i = 0; i < SAMPLES; i++) {
        for (enum said_by by = SAID_BY_VECTOR; by < SAYERS; by++) {
            for (size_t j = 0; j < 2; j++) {
                struct decoded decoded;
                start(&decoded, samples[i].type, bytes, pack(&samples[i], by, fields[j], bytes));
                say(&decoded, &samples[i], by);
                run(&decoded);
                assert_vector(&decoded, samples[i].values);
                ck_assert_uint_eq(decoded.out.records[0].payload_bytes, 0);
                arena_destroy(&decoded.arena);
            }
        }
    }
}
END_TEST

START_TEST(protobuf_takes_vector_bytes_with_a_type_or_without)
{
    uint8_t bytes[64];

    for (size_t i = 0; i < SAMPLES; i++) {
        for (enum said_by by = SAID_BY_VECTOR; by < SAYERS; by++) {
            struct decoded decoded;
            size_t size = 0;
            bytes[size++] = 0x42;
            bytes[size++] = (uint8_t)samples[i].size_bytes;
            memcpy(bytes + size, samples[i].bytes, samples[i].size_bytes);
            size += samples[i].size_bytes;
            if (by == SAID_BY_VECTOR) {
                bytes[size++] = 0x48;
                bytes[size++] = (uint8_t)(samples[i].type + 1);
            }
            start(&decoded, samples[i].type, bytes, size);
            say(&decoded, &samples[i], by);
            run(&decoded);
            assert_vector(&decoded, samples[i].values);
            arena_destroy(&decoded.arena);
        }
    }
}
END_TEST

/* Numbers are numbers: nothing that is said about bytes concerns them. */
START_TEST(numbers_have_no_type)
{
    static const float wanted[] = {1, 2, 3, 4};
    static const struct {
        const char *value;
        size_t size_bytes;
    } cases[] = {
        {"{\"vector\": [1, 2, 3, 4]}", 24},
        {"\x81\xa6vector\x94\1\2\3\4", 13},
        {"\x1a\x10\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\0\0\x80\x40", 18},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        for (unsigned type = 0; type < VECTOR_TYPE_COUNT; type++) {
            struct decoded decoded;
            start(&decoded, type, cases[i].value, cases[i].size_bytes);
            run(&decoded);
            assert_vector(&decoded, wanted);
            arena_destroy(&decoded.arena);
        }
    }
}
END_TEST

START_TEST(int8_may_have_a_scale)
{
    static const float wanted[] = {0.5F, -64, 63.5F, 0};
    static const char json[] = "{\"vector\": {\"int8\": \"AYB/AA==\", \"scale\": 0.5}}";
    static const char protobuf[] = "\x42\x04\x01\x80\x7f\x00\x48\x04\x55\0\0\0\x3f";
    struct decoded decoded;

    start(&decoded, VECTOR_TYPE_FLOAT32, json, strlen(json));
    run(&decoded);
    assert_vector(&decoded, wanted);
    arena_destroy(&decoded.arena);
    start(&decoded, VECTOR_TYPE_FLOAT32, protobuf, sizeof(protobuf) - 1);
    run(&decoded);
    assert_vector(&decoded, wanted);
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(bits_come_highest_first_and_fill_up_with_zeros)
{
    static const float wanted[] = {1, 0, 1, 1, 0, 0, 0, 1, 0, 1, 1, 0};
    struct decoded decoded;

    start(&decoded, VECTOR_TYPE_BINARY, "\xb1\x60", 2);
    decoded.collection.dim = 12;
    run(&decoded);
    assert_vector(&decoded, wanted);
    arena_destroy(&decoded.arena);
    start(&decoded, VECTOR_TYPE_BINARY, "\xb1\x61", 2);
    decoded.collection.dim = 12;
    run(&decoded);
    assert_reject(&decoded, "vector", "raw: bits behind the last of 12 are not 0");
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(cosine_takes_any_type_and_no_zeros)
{
    static const float wanted[] = {0.5F, 0.5F, 0.5F, 0.5F};
    struct decoded decoded;

    start(&decoded, VECTOR_TYPE_BINARY, "\xf0", 1);
    decoded.collection.metric = VECTOR_METRIC_COSINE;
    run(&decoded);
    assert_vector(&decoded, wanted);
    arena_destroy(&decoded.arena);
    start(&decoded, VECTOR_TYPE_FLOAT16, "\0\0\0\x80\0\0\0\0", 8);
    decoded.collection.metric = VECTOR_METRIC_COSINE;
    run(&decoded);
    assert_reject(&decoded, "zero_vector", "raw");
    arena_destroy(&decoded.arena);
}
END_TEST

START_TEST(hamming_takes_bits_in_any_type_and_nothing_else)
{
    static const float wanted[] = {1, 0, 1, 1};
    static const struct {
        enum vector_type type;
        const char *value;
        size_t size_bytes;
        const char *reject;
    } cases[] = {
        {VECTOR_TYPE_BINARY, "\xb0", 1, NULL},
        {VECTOR_TYPE_INT8, "\1\0\1\1", 4, NULL},
        {VECTOR_TYPE_INT8, "\1\0\1\xff", 4, "raw[3]: -1 is not 0 or 1 (metric hamming)"},
        {VECTOR_TYPE_FLOAT32, "{\"vector\": [1, 0, 1, 1.0]}", 26, NULL},
        {VECTOR_TYPE_FLOAT32, "[{\"id\": 1, \"vector\": [1, 0.5, 1, 1]}]", 37,
         "$[0].vector[1]: 0.5 is not 0 or 1 (metric hamming)"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct decoded decoded;
        start(&decoded, cases[i].type, cases[i].value, cases[i].size_bytes);
        decoded.collection.metric = VECTOR_METRIC_HAMMING;
        run(&decoded);
        if (cases[i].reject)
            assert_reject(&decoded, "vector", cases[i].reject);
        else
            assert_vector(&decoded, wanted);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

/* Bytes that are vectors and look like something else: bits and bytes of any value may. */
START_TEST(small_raw_vectors_that_look_like_text_are_raw)
{
    static const float wanted[] = {'{', ' ', '}', '\n'};
    struct decoded decoded;

    start(&decoded, VECTOR_TYPE_INT8, "{ }\n", 4);
    run(&decoded);
    assert_vector(&decoded, wanted);
    arena_destroy(&decoded.arena);
}
END_TEST

#define HALF(a, b) "{\"vector\": {\"float16\": \"" a b "\"}}"

START_TEST(bad_bytes_say_why_and_where)
{
    static const struct {
        enum vector_type messages;
        const char *header, *value, *reason, *text;
    } bad[] = {
        /* ADwAwQEA is 1, -2.5 and a little; AH4 is NaN, AHw infinity, APw its negative. */
        {0, NULL, HALF("ADwAwQEA", "AH4="), "not_finite", "$.vector[3]: NaN"},
        {0, NULL, HALF("ADwAwQEA", "AHw="), "not_finite", "$.vector[3]: infinity"},
        {0, NULL, HALF("ADwAwQEA", "APw="), "not_finite", "$.vector[3]: -infinity"},
        {0, NULL, "{\"vector\": {\"bfloat16\": \"gD8gwAA+gP8=\"}}", "not_finite",
         "$.vector[3]: -infinity"},
        {0, NULL, "{\"vector\": {\"bfloat16\": \"gD8gwAA+wX8=\"}}", "not_finite",
         "$.vector[3]: NaN"},
        {0, NULL, HALF("ADwAwQEA", ""), "dimension",
         "$.vector: 3 values of float16 in 6 bytes, the collection has dimension 4"},
        {0, NULL, HALF("ADwAwQEA", "AH"), "dimension", "7 bytes, 4 values of float16 take 8"},
        {0, NULL, HALF("ADwA", "!"), "vector", "base64 (character 4 is not)"},
        {0, NULL, HALF("ADwA", "A==="), "vector", "(character 5 is not)"},
        {0, NULL, HALF("ADwA", "A"), "vector", "(character 4 is not)"},
        {0, NULL, "{\"vector\": \"ADwAwQEA/3s=\"}", "dimension",
         "$.vector: 2 values of float32 in 8 bytes, the collection has dimension 4 (float16 or "
         "bfloat16 would fit: the vector, the header windrow-vector-type or vectors.messages may "
         "name it)"},
        {0, NULL, "{\"vector\": \"AYB/AA==\"}", "dimension", "(int8 would fit"},
        {0, NULL, "{\"vector\": \"sA==\"}", "dimension", "(binary would fit"},
        {VECTOR_TYPE_INT8, NULL, "{\"vector\": \"AACAPwAAIMAAAAA+AAB6RQ==\"}", "dimension",
         "16 values of int8 in 16 bytes, the collection has dimension 4 (float32 would fit"},
        {0, NULL, "{\"vector\": {\"int8\": \"AYB/AA==\", \"scale\": 0}}", "vector",
         "$.vector.scale: expected a number above 0"},
        {0, NULL, "{\"vector\": {\"int8\": \"AYB/AA==\", \"scale\": \"1\"}}", "vector",
         "$.vector.scale: expected a number above 0"},
        {0, NULL, "{\"vector\": {\"int8\": \"AYB/AA==\", \"scale\": 1e39}}", "vector",
         "$.vector.scale: expected a number above 0"},
        {0, NULL, "{\"vector\": {\"int8\": \"AYB/AA==\", \"scale\": 3e38}}", "not_finite",
         "$.vector[1]: -infinity"},
        {0, NULL, "{\"vector\": {\"binary\": \"sA==\", \"scale\": 2}}", "vector",
         "$.vector.scale: belongs to int8, this is binary"},
        {0, NULL, "{\"vector\": {\"binary\": \"sQ==\"}}", "vector", "behind the last of 4"},
        {0, NULL, "{\"vector\": {\"int8\": [1, 2, 3, 4]}}", "vector",
         "under the name of their type"},
        {0, NULL, "{\"vector\": {\"int8\": \"AYB/AA==\", \"binary\": \"sA==\"}}", "vector",
         "under the name of their type"},
        {0, NULL, "{\"vector\": {\"int4\": \"AYB/AA==\"}}", "vector",
         "under the name of their type"},
        {0, "int4", "{\"vector\": [1, 2, 3, 4]}", "syntax",
         "header windrow-vector-type: expected float32, float16, bfloat16, int8 or binary, got "
         "\"int4\""},
        {0, NULL, "\x42\x04\1\2\3\4\x48\x06", "vector", "$.vector_type: 6 is not in windrow.proto"},
        {0, NULL, "\x42\x01\1\x48\x04", "dimension", "$.vector: 1 values of int8 in 1 bytes"},
        {0, NULL, "\x42\x01\1\x1d\1\1\1\1", "vector", "$: vector and vector_bytes"},
        {0, NULL, "\x1d\1\1\1\1\x48\x04", "vector", "$: vector_type and vector_scale belong to"},
        {0, NULL, "\x42\x04\1\2\3\4\x55\1\1\1\1", "vector", "$.vector.scale: belongs to int8"},
        {0, NULL, "\x40\x04", "syntax", "another type in the schema"},
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct decoded decoded;
        printf("%zu %s\n", i, bad[i].value);
        start(&decoded, bad[i].messages, bad[i].value, strlen(bad[i].value));
        decoded.message.vector_type = bad[i].header;
        if (bad[i].value[0] != '{')
            decoded.collection.format = CONFIG_FORMAT_PROTOBUF;
        run(&decoded);
        assert_reject(&decoded, bad[i].reason, bad[i].text);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

/* Files of fixtures/. */

static void read_stream(struct decoded *decoded, const char *name, enum vector_type messages)
{
    static uint8_t bytes[FILE_MAX_BYTES];
    char path[512];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s.arrows", FIXTURES, name);
    file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    start(decoded, messages, bytes, fread(bytes, 1, sizeof(bytes), file));
    fclose(file);
    run(decoded);
}

/* A reject of a row, sent again, is refused for the same reason. */
static void assert_same_again(struct decoded *decoded, size_t reject)
{
    const struct decode_reject wanted = decoded->out.rejects[reject];

    decoded->collection.messages = VECTOR_TYPE_FLOAT32;
    decoded->message.value = wanted.value;
    decoded->message.value_bytes = wanted.value_bytes;
    run(decoded);
    ck_assert_uint_eq(decoded->out.reject_count, 1);
    ck_assert_str_eq(decoded->out.rejects[0].reason, wanted.reason);
}

START_TEST(arrow_lists_of_halves_and_int8_are_vectors)
{
    static const float wanted[] = {1, 2, 3, 4};

    for (unsigned messages = 0; messages < VECTOR_TYPE_COUNT; messages++) {
        struct decoded decoded;
        read_stream(&decoded, "halves", messages);
        ck_assert_uint_eq(decoded.out.record_count, 1);
        ck_assert_mem_eq(decoded.out.records[0].vector, wanted, sizeof(wanted));
        ck_assert_uint_eq(decoded.out.records[0].payload_bytes, 0);
        ck_assert_uint_eq(decoded.out.reject_count, 2);
        ck_assert_ptr_nonnull(
            strstr(decoded.out.rejects[0].text, "$.batches[0].rows[1].embedding[2]: NaN"));
        ck_assert_ptr_nonnull(
            strstr(decoded.out.rejects[1].text, "$.batches[0].rows[2].embedding[3]: infinity"));
        assert_same_again(&decoded, 0);
        arena_destroy(&decoded.arena);

        read_stream(&decoded, "int8", messages);
        ck_assert_uint_eq(decoded.out.record_count, 1);
        ck_assert_mem_eq(decoded.out.records[0].vector, wanted, sizeof(wanted));
        ck_assert_uint_eq(decoded.out.reject_count, 1);
        ck_assert_ptr_nonnull(strstr(decoded.out.rejects[0].text,
                                     "$.batches[0].rows[1].vector: 3 values of int8 in 3 bytes"));
        assert_same_again(&decoded, 0);
        arena_destroy(&decoded.arena);
    }
}
END_TEST

START_TEST(arrow_columns_of_bytes_are_vectors)
{
    static const struct {
        const char *file;
        size_t rejects;
    } cases[] = {{"binary", 3}, {"large-binary", 3}, {"binary-view", 3}, {"fixed-binary", 1}};
    static const float wanted[2][DIM] = {{1, 0, 1, 1}, {0, 1, 0, 0}};
    struct decoded decoded;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        read_stream(&decoded, cases[i].file, VECTOR_TYPE_BINARY);
        ck_assert_uint_eq(decoded.out.record_count, 2);
        for (size_t j = 0; j < 2; j++)
            ck_assert_mem_eq(decoded.out.records[j].vector, wanted[j], sizeof(wanted[j]));
        ck_assert_uint_eq(decoded.out.reject_count, cases[i].rejects);
        ck_assert_ptr_nonnull(
            strstr(decoded.out.rejects[0].text, "rows[2].vector: bits behind the last of 4"));
        arena_destroy(&decoded.arena);
        /* Bytes of one type are not taken for another one's. */
        read_stream(&decoded, cases[i].file, VECTOR_TYPE_FLOAT32);
        ck_assert_uint_eq(decoded.out.record_count, 0);
        ck_assert_ptr_nonnull(strstr(decoded.out.rejects[0].text, "(binary would fit"));
        arena_destroy(&decoded.arena);
    }
    read_stream(&decoded, "other-binary", VECTOR_TYPE_FLOAT32);
    assert_reject(&decoded, "syntax", "column blob: the type binary cannot be stored");
    arena_destroy(&decoded.arena);
}
END_TEST

TEST_TABLE(TEST(raw_vector_of_each_type_is_told_by_its_size),
           TEST(json_takes_base64_with_a_type_or_without),
           TEST(msgpack_takes_bin_with_a_type_or_without),
           TEST(protobuf_takes_vector_bytes_with_a_type_or_without), TEST(numbers_have_no_type),
           TEST(int8_may_have_a_scale), TEST(bits_come_highest_first_and_fill_up_with_zeros),
           TEST(cosine_takes_any_type_and_no_zeros),
           TEST(hamming_takes_bits_in_any_type_and_nothing_else),
           TEST(small_raw_vectors_that_look_like_text_are_raw), TEST(bad_bytes_say_why_and_where),
           TEST(arrow_lists_of_halves_and_int8_are_vectors),
           TEST(arrow_columns_of_bytes_are_vectors))
