#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "tests/support/test_main.h"

#define COUNT(array)   (sizeof(array) / sizeof((array)[0]))
#define BYTES(literal) literal, sizeof(literal) - 1

static int parse(struct arena *arena, const void *bytes, size_t size_bytes, struct doc *doc,
                 struct error *error)
{
    /* Exact size, so that a sanitizer sees a read too far; lives as long as the arena. */
    uint8_t *exact = malloc(size_bytes ? size_bytes : 1);
    static uint8_t *kept;

    memcpy(exact, bytes, size_bytes);
    free(kept);
    kept = exact;
    arena_create(arena, 0);
    return doc_parse_msgpack(arena, exact, size_bytes, NULL, doc, error);
}

/* Wire form and the same as JSON; `canonical` when it is the smallest form. */
static const struct {
    const char *bytes;
    size_t size_bytes;
    const char *json;
    bool canonical;
} accepted[] = {
    {BYTES("\xc0"), "null", true},
    {BYTES("\xc2"), "false", true},
    {BYTES("\xc3"), "true", true},
    {BYTES("\x00"), "0", true},
    {BYTES("\x7f"), "127", true},
    {BYTES("\xff"), "-1", true},
    {BYTES("\xe0"), "-32", true},
    {BYTES("\xcc\x80"), "128", true},
    {BYTES("\xcc\x01"), "1", false},
    {BYTES("\xcd\x01\x00"), "256", true},
    {BYTES("\xce\x00\x01\x00\x00"), "65536", true},
    {BYTES("\xcf\x00\x00\x00\x01\x00\x00\x00\x00"), "4294967296", true},
    {BYTES("\xcf\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615", true},
    {BYTES("\xd0\xdf"), "-33", true},
    {BYTES("\xd0\x80"), "-128", true},
    {BYTES("\xd0\x05"), "5", false},
    {BYTES("\xd1\xff\x7f"), "-129", true},
    {BYTES("\xd2\xff\xff\x7f\xff"), "-32769", true},
    {BYTES("\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"), "-2147483649", true},
    {BYTES("\xd3\x80\x00\x00\x00\x00\x00\x00\x00"), "-9223372036854775808", true},
    {BYTES("\xca\x3f\x80\x00\x00"), "1.0", true},
    {BYTES("\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"), "1.0", false},
    {BYTES("\xcb\x3f\xb9\x99\x99\x99\x99\x99\x9a"), "0.1", true},
    {BYTES("\xa0"), "\"\"", true},
    {BYTES("\xa3"
           "abc"),
     "\"abc\"", true},
    {BYTES("\xd9\x03"
           "abc"),
     "\"abc\"", false},
    {BYTES("\xda\x00\x03"
           "abc"),
     "\"abc\"", false},
    {BYTES("\xdb\x00\x00\x00\x03"
           "abc"),
     "\"abc\"", false},
    {BYTES("\xc4\x02\xff\x00"), "null", true},
    {BYTES("\xc5\x00\x02\xff\x00"), "null", false},
    {BYTES("\xc6\x00\x00\x00\x02\xff\x00"), "null", false},
    {BYTES("\x90"), "[]", true},
    {BYTES("\x92\x01\xa1x"), "[1,\"x\"]", true},
    {BYTES("\xdc\x00\x01\x01"), "[1]", false},
    {BYTES("\xdd\x00\x00\x00\x01\x01"), "[1]", false},
    {BYTES("\x80"), "{}", true},
    {BYTES("\x81\xa1"
           "a\x91\xc0"),
     "{\"a\":[null]}", true},
    {BYTES("\xde\x00\x01\xa1"
           "a\x01"),
     "{\"a\":1}", false},
    {BYTES("\xdf\x00\x00\x00\x01\xa1"
           "a\x01"),
     "{\"a\":1}", false},
};

START_TEST(every_form_is_read_and_the_smallest_written)
{
    for (size_t i = 0; i < COUNT(accepted); i++) {
        struct arena arena;
        struct buffer json = {0};
        struct buffer again = {0};
        struct error error = {0};
        struct doc doc;
        ck_assert_msg(parse(&arena, accepted[i].bytes, accepted[i].size_bytes, &doc, &error) == 0,
                      "%zu: %s", i, error.text);
        doc_write_json(&json, &doc);
        ck_assert_str_eq(buffer_text(&json), accepted[i].json);
        doc_write_msgpack(&again, &doc);
        if (accepted[i].canonical) {
            ck_assert_uint_eq(again.size, accepted[i].size_bytes);
            ck_assert_mem_eq(again.data, accepted[i].bytes, again.size);
        } else {
            ck_assert_uint_lt(again.size, accepted[i].size_bytes);
        }
        buffer_destroy(&json);
        buffer_destroy(&again);
        arena_destroy(&arena);
    }
}
END_TEST

static const struct {
    const char *bytes;
    size_t size_bytes;
    int code;
    const char *message;
} refused[] = {
    {BYTES(""), ERROR_INVALID, "byte 0 ($): the input ends where a value should start"},
    {BYTES("\xc1"), ERROR_INVALID, "byte 1 ($): 0xc1 starts no value"},
    {BYTES("\xd4\x01\x02"), ERROR_UNSUPPORTED, "byte 1 ($): extension types are not supported"},
    {BYTES("\xd6\xff\x00\x00\x00\x00"), ERROR_UNSUPPORTED,
     "byte 1 ($): extension types are not supported"},
    {BYTES("\xc7\x00\x01"), ERROR_UNSUPPORTED, "byte 1 ($): extension types are not supported"},
    {BYTES("\xcd\x01"), ERROR_INVALID, "byte 1 ($): the input ends inside a value"},
    {BYTES("\xcb\x00\x00\x00\x00"), ERROR_INVALID, "byte 1 ($): the input ends inside a value"},
    {BYTES("\xa3"
           "ab"),
     ERROR_INVALID, "byte 1 ($): the input ends inside a string"},
    {BYTES("\xdb\xff\xff\xff\xff"
           "a"),
     ERROR_INVALID, "byte 5 ($): the input ends inside a string"},
    {BYTES("\xa2\xc3\x28"), ERROR_INVALID, "byte 1 ($): not UTF-8"},
    {BYTES("\xdd\xff\xff\xff\xff\x01"), ERROR_INVALID,
     "byte 5 ($): the count is larger than what is left"},
    {BYTES("\xdf\x80\x00\x00\x00\x01"), ERROR_INVALID,
     "byte 5 ($): the count is larger than what is left"},
    {BYTES("\x92\x01"), ERROR_INVALID, "byte 1 ($): the count is larger than what is left"},
    {BYTES("\x81\x01\x01"), ERROR_INVALID, "byte 2 ($): a key must be a string"},
    {BYTES("\x81\xc4\x01x\x01"), ERROR_INVALID, "byte 4 ($): a key must be a string"},
    {BYTES("\x01\x01"), ERROR_INVALID, "byte 1 ($): unexpected bytes behind the value"},
    {BYTES("\x81\xa1"
           "a\x93\x01\x02\xc1"),
     ERROR_INVALID, "byte 7 ($.a[2]): 0xc1 starts no value"},
};

START_TEST(hostile_input_is_refused_with_its_place)
{
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct arena arena;
        struct error error = {0};
        struct doc doc;
        ck_assert_int_eq(parse(&arena, refused[i].bytes, refused[i].size_bytes, &doc, &error),
                         refused[i].code);
        ck_assert_str_eq(error.text, refused[i].message);
        arena_destroy(&arena);
    }
}
END_TEST

/* Each level claims as many items as bytes are left: memory must follow what is really there. */
START_TEST(nested_counts_cost_no_memory_in_advance)
{
    enum { SIZE = 1 << 20 };
    uint8_t *bytes = calloc(1, SIZE);
    struct arena arena;
    struct doc doc;
    struct error error;

    for (uint32_t level = 0; level < 60; level++) {
        uint32_t left = SIZE - 5 * (level + 1);
        uint8_t head[5] = {0xdd, (uint8_t)(left >> 24), (uint8_t)(left >> 16), (uint8_t)(left >> 8),
                           (uint8_t)left};
        memcpy(bytes + 5 * level, head, 5);
    }
    ck_assert_int_eq(parse(&arena, bytes, SIZE, &doc, &error), ERROR_INVALID);
    ck_assert_uint_le(arena.reserved_bytes, 64 * SIZE);
    arena_destroy(&arena);
    free(bytes);
}
END_TEST

START_TEST(nesting_is_bounded)
{
    uint8_t bytes[1000];
    struct arena arena;
    struct doc doc;
    struct error error;

    memset(bytes, 0x91, sizeof(bytes));
    bytes[64] = 0xc0;
    ck_assert_int_eq(parse(&arena, bytes, 65, &doc, &error), 0);
    arena_destroy(&arena);
    bytes[64] = 0x91;
    ck_assert_int_eq(parse(&arena, bytes, sizeof(bytes), &doc, &error), ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "nested too deep"));
    arena_destroy(&arena);
}
END_TEST

static struct doc random_doc(struct arena *arena, uint64_t *random, int depth)
{
    uint64_t kind = test_random(random) % (depth > 4 ? 7 : 9);
    struct doc doc = {0};
    uint64_t bits;

    switch (kind) {
    case 0:
        doc.type = DOC_NULL;
        break;
    case 1:
        doc.type = DOC_BOOL;
        doc.boolean = test_random(random) % 2;
        break;
    case 2:
        doc = doc_integer((int64_t)test_random(random) >> (test_random(random) % 64));
        break;
    case 3:
        doc.type = DOC_UINT;
        doc.unsigned_integer = test_random(random) | UINT64_C(1) << 63;
        break;
    case 4:
        do {
            bits = test_random(random);
            memcpy(&doc.number, &bits, sizeof(bits));
        } while (isnan(doc.number));
        if (test_random(random) % 2)
            doc.number = (double)(float)(int32_t)bits / 1024;
        doc.type = DOC_DOUBLE;
        break;
    case 5:
    case 6:
        doc.type = kind == 5 ? DOC_STRING : DOC_BYTES;
        doc.count = (uint32_t)(test_random(random) % (test_random(random) % 50 ? 40 : 70000));
        char *text = arena_alloc(arena, doc.count + 1, 1);
        for (uint32_t i = 0; i < doc.count; i++)
            text[i] = (char)(test_random(random) % (kind == 5 ? 127 : 256));
        doc.string = text;
        break;
    default:
        doc.type = kind == 7 ? DOC_ARRAY : DOC_MAP;
        doc.count = (uint32_t)(test_random(random) % 20);
        struct doc *items = doc_items(arena, kind == 7 ? doc.count : 2 * doc.count);
        for (uint32_t i = 0; i < doc.count; i++) {
            if (kind == 8) {
                char key[16];
                snprintf(key, sizeof(key), "k%u", i);
                items[2 * i] = doc_string(arena, key);
            }
            items[kind == 8 ? 2 * i + 1 : i] = random_doc(arena, random, depth + 1);
        }
        doc.items = items;
    }
    return doc;
}

START_TEST(random_documents_survive_the_round_trip)
{
    uint64_t random = test_seed();

    for (int round = 0; round < 3000; round++) {
        struct arena arena;
        struct buffer wire = {0};
        struct buffer again = {0};
        struct doc doc, back;
        arena_create(&arena, 0);
        doc = random_doc(&arena, &random, 0);
        doc_write_msgpack(&wire, &doc);
        ck_assert_int_eq(
            doc_parse_msgpack(&arena, wire.data, wire.size, NULL, &back, ERROR_IGNORED), 0);
        ck_assert(doc_equal(&doc, &back));
        doc_write_msgpack(&again, &back);
        ck_assert_uint_eq(again.size, wire.size);
        ck_assert_mem_eq(again.data, wire.data, wire.size);
        buffer_destroy(&wire);
        buffer_destroy(&again);
        arena_destroy(&arena);
    }
}
END_TEST

START_TEST(cut_and_mutated_bytes_never_crash)
{
    uint64_t random = test_seed();

    for (int round = 0; round < 3000; round++) {
        struct arena arena, second;
        struct buffer wire = {0};
        struct doc doc;
        arena_create(&arena, 0);
        doc = random_doc(&arena, &random, 2);
        doc_write_msgpack(&wire, &doc);
        if (wire.size > 1) {
            ck_assert_int_ne(
                parse(&second, wire.data, test_random(&random) % wire.size, &doc, ERROR_IGNORED),
                0);
            arena_destroy(&second);
        }
        wire.data[test_random(&random) % wire.size] = (uint8_t)test_random(&random);
        (void)parse(&second, wire.data, wire.size, &doc, ERROR_IGNORED);
        arena_destroy(&second);
        buffer_destroy(&wire);
        arena_destroy(&arena);
    }
}
END_TEST

TEST_TABLE(TEST(every_form_is_read_and_the_smallest_written),
           TEST(hostile_input_is_refused_with_its_place),
           TEST(nested_counts_cost_no_memory_in_advance), TEST(nesting_is_bounded),
           TEST(random_documents_survive_the_round_trip), TEST(cut_and_mutated_bytes_never_crash))
