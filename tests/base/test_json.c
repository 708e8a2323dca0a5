#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "tests/support/test_main.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Parses from memory that ends where the text ends, so that a sanitizer sees a read too far. */
static int parse(struct arena *arena, const char *text, size_t length, struct doc *doc,
                 struct error *error)
{
    char *exact = malloc(length ? length : 1);
    int result;

    memcpy(exact, text, length);
    arena_create(arena, 0);
    result = doc_parse_json(arena, exact, length, NULL, doc, error);
    /* Strings point into the input: keep it until the arena goes. */
    static char *kept;
    free(kept);
    kept = exact;
    return result;
}

/* What a text reads as, written again. */
static const struct {
    const char *text;
    const char *again;
} accepted[] = {
    {"null", "null"},
    {" true ", "true"},
    {"\tfalse\r\n", "false"},
    {"0", "0"},
    {"-0", "-0.0"},
    {"-0.0", "-0.0"},
    {"12", "12"},
    {"-12", "-12"},
    {"9223372036854775807", "9223372036854775807"},
    {"9223372036854775808", "9223372036854775808"},
    {"-9223372036854775808", "-9223372036854775808"},
    {"-9223372036854775809", "-9.223372036854776e+18"},
    {"18446744073709551615", "18446744073709551615"},
    {"18446744073709551616", "1.8446744073709552e+19"},
    {"1.5", "1.5"},
    {"1E3", "1000.0"},
    {"1e+3", "1000.0"},
    {"1e-3", "0.001"},
    {"1.0", "1.0"},
    {"0e0", "0.0"},
    {"0e99999999999999999999", "0.0"},
    {"1e-99999999999999999999", "0.0"},
    {"123456789012345678901234567890", "1.2345678901234568e+29"},
    {"0.00000000000000000000000000000000000001", "1e-38"},
    {"4.9e-324", "5e-324"},
    {"1.7976931348623157e308", "1.7976931348623157e+308"},
    {"\"\"", "\"\""},
    {"\"abc\"", "\"abc\""},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\\"\\\\/\\b\\f\\n\\r\\t\""},
    {"\"\\u0041\\u00e9\\u20ac\"", "\"A\xc3\xa9\xe2\x82\xac\""},
    {"\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\""},
    {"\"\\uD83D\\uDE00\"", "\"\xf0\x9f\x98\x80\""},
    {"\"\\u0000\"", "\"\\u0000\""},
    {"\"\\u001f\\u007f\"", "\"\\u001f\x7f\""},
    {"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
    {"\"12345678\\n12345678\"", "\"12345678\\n12345678\""},
    {"[]", "[]"},
    {"[ ]", "[]"},
    {"{}", "{}"},
    {"{ }", "{}"},
    {"[1,2 , 3]", "[1,2,3]"},
    {"[[[]],{}]", "[[[]],{}]"},
    {"{\"a\":1,\"b\":[true,null]}", "{\"a\":1,\"b\":[true,null]}"},
    {"{\"a\" : {\"a\" : {}}}", "{\"a\":{\"a\":{}}}"},
    {"{\"\":0}", "{\"\":0}"},
    {"{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}"},
};

START_TEST(valid_texts_read_and_write_back)
{
    for (size_t i = 0; i < COUNT(accepted); i++) {
        struct arena arena;
        struct buffer out = {0};
        struct error error = {0};
        struct doc doc;
        int result = parse(&arena, accepted[i].text, strlen(accepted[i].text), &doc, &error);
        ck_assert_msg(result == 0, "%s: %s", accepted[i].text, error.text);
        doc_write_json(&out, &doc);
        ck_assert_str_eq(buffer_text(&out), accepted[i].again);
        buffer_destroy(&out);
        arena_destroy(&arena);
    }
}
END_TEST

#define TEXT(literal) literal, sizeof(literal) - 1

static const struct {
    const char *text;
    size_t length;
    const char *message;
} refused[] = {
    {TEXT(""), "byte 0 ($): expected a value"},
    {TEXT("   "), "byte 3 ($): expected a value"},
    {TEXT("nul"), "byte 0 ($): expected a value"},
    {TEXT("nulll"), "byte 4 ($): unexpected text behind the value"},
    {TEXT("True"), "byte 0 ($): expected a value"},
    {TEXT("NaN"), "byte 0 ($): expected a value"},
    {TEXT("Infinity"), "byte 0 ($): expected a value"},
    {TEXT("-Infinity"), "byte 1 ($): expected a digit"},
    {TEXT("+1"), "byte 0 ($): expected a value"},
    {TEXT(".5"), "byte 0 ($): expected a value"},
    {TEXT("5."), "byte 2 ($): expected a digit after the decimal point"},
    {TEXT("5.e1"), "byte 2 ($): expected a digit after the decimal point"},
    {TEXT("01"), "byte 1 ($): a number must not start with 0"},
    {TEXT("-01"), "byte 2 ($): a number must not start with 0"},
    {TEXT("-"), "byte 1 ($): expected a digit"},
    {TEXT("1e"), "byte 2 ($): expected a digit in the exponent"},
    {TEXT("1e+"), "byte 3 ($): expected a digit in the exponent"},
    {TEXT("1e5.5"), "byte 3 ($): unexpected text behind the value"},
    {TEXT("0x10"), "byte 1 ($): unexpected text behind the value"},
    {TEXT("1_000"), "byte 1 ($): unexpected text behind the value"},
    {TEXT("1e309"), "byte 0 ($): the number does not fit a double"},
    {TEXT("-1e99999999999999999999"), "byte 0 ($): the number does not fit a double"},
    {TEXT("\""), "byte 1 ($): the string is not closed"},
    {TEXT("\"abc"), "byte 4 ($): the string is not closed"},
    {TEXT("\"abc\\"), "byte 5 ($): the string is not closed"},
    {TEXT("\"abc\\\""), "byte 6 ($): the string is not closed"},
    {TEXT("\"a\nb\""), "byte 2 ($): a control character must be escaped"},
    {TEXT("\"a\0b\""), "byte 2 ($): a control character must be escaped"},
    {TEXT("\"\\x41\""), "byte 2 ($): unknown escape"},
    {TEXT("\"\\\0\""), "byte 2 ($): unknown escape"},
    {TEXT("\"\\u12g4\""), "byte 3 ($): expected four hex digits after \\u"},
    {TEXT("\"\\u12\""), "byte 3 ($): expected four hex digits after \\u"},
    {TEXT("\"\\ud83d\""), "byte 1 ($): a lone surrogate is no character"},
    {TEXT("\"\\ude00\""), "byte 1 ($): a lone surrogate is no character"},
    {TEXT("\"\\ud83d\\u0041\""), "byte 1 ($): a lone surrogate is no character"},
    {TEXT("\"\\ud83dx\\ude00\""), "byte 1 ($): a lone surrogate is no character"},
    {TEXT("\"a\xff\""), "byte 2 ($): not UTF-8"},
    {TEXT("\"\xc0\x80\""), "byte 1 ($): not UTF-8"},
    {TEXT("\"\xed\xa0\x80\""), "byte 1 ($): not UTF-8"},
    {TEXT("\"\xf4\x90\x80\x80\""), "byte 1 ($): not UTF-8"},
    {TEXT("\"\xe2\x82\""), "byte 1 ($): not UTF-8"},
    {TEXT("'a'"), "byte 0 ($): expected a value"},
    {TEXT("["), "byte 1 ($[0]): expected a value"},
    {TEXT("[1"), "byte 2 ($[1]): expected ',' or ']'"},
    {TEXT("[1,"), "byte 3 ($[1]): expected a value"},
    {TEXT("[1,]"), "byte 3 ($[1]): expected a value"},
    {TEXT("[,1]"), "byte 1 ($[0]): expected a value"},
    {TEXT("[1 2]"), "byte 3 ($[1]): expected ',' or ']'"},
    {TEXT("[1}"), "byte 2 ($[1]): expected ',' or ']'"},
    {TEXT("]"), "byte 0 ($): expected a value"},
    {TEXT("[] []"), "byte 3 ($): unexpected text behind the value"},
    {TEXT("{"), "byte 1 ($): expected a key in quotes"},
    {TEXT("{a:1}"), "byte 1 ($): expected a key in quotes"},
    {TEXT("{1:1}"), "byte 1 ($): expected a key in quotes"},
    {TEXT("{\"a\"}"), "byte 4 ($.a): expected ':'"},
    {TEXT("{\"a\":}"), "byte 5 ($.a): expected a value"},
    {TEXT("{\"a\":1,}"), "byte 7 ($): expected a key in quotes"},
    {TEXT("{\"a\":1]"), "byte 6 ($): expected ',' or '}'"},
    {TEXT("// c\n1"), "byte 0 ($): expected a value"},
    {TEXT("\xef\xbb\xbf[]"), "byte 0 ($): expected a value"},
    {TEXT("{\"points\":[1,2,3,{\"vector\":[1,x]}]}"),
     "byte 30 ($.points[3].vector[1]): expected a value"},
};

START_TEST(invalid_texts_name_place_and_path)
{
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct arena arena;
        struct error error = {0};
        struct doc doc;
        int result = parse(&arena, refused[i].text, refused[i].length, &doc, &error);
        ck_assert_msg(result == ERROR_INVALID, "accepted: %s", refused[i].text);
        ck_assert_str_eq(error.text, refused[i].message);
        arena_destroy(&arena);
    }
}
END_TEST

START_TEST(every_prefix_of_a_valid_text_is_refused)
{
    static const char text[] =
        "{\"id\":\"a\\u00e9\\ud83d\\ude00\",\"vector\":[0.5,-1.25e-3,12345678901"
        "],\"p\":{\"t\":true,\"n\":null,\"deep\":[[{}],false]}}";

    for (size_t length = 0; length < sizeof(text) - 1; length++) {
        struct arena arena;
        struct doc doc;
        ck_assert_int_eq(parse(&arena, text, length, &doc, ERROR_IGNORED), ERROR_INVALID);
        arena_destroy(&arena);
    }
}
END_TEST

START_TEST(nesting_is_bounded)
{
    char text[4001];
    struct doc_limits limits = {.max_depth = 10};

    for (int depth = 1; depth <= 2000; depth = depth < 80 ? depth + 1 : depth * 2) {
        struct arena arena;
        struct doc doc;
        struct error error;
        size_t length = 0;
        for (int i = 0; i < depth; i++)
            text[length++] = '[';
        for (int i = 0; i < depth; i++)
            text[length++] = ']';
        arena_create(&arena, 0);
        ck_assert_int_eq(doc_parse_json(&arena, text, length, NULL, &doc, &error),
                         depth <= 64 ? 0 : ERROR_INVALID);
        ck_assert_int_eq(doc_parse_json(&arena, text, length, &limits, &doc, &error),
                         depth <= 10 ? 0 : ERROR_INVALID);
        arena_destroy(&arena);
    }
}
END_TEST

START_TEST(a_text_over_the_byte_limit_is_refused_unread)
{
    struct doc_limits limits = {.max_bytes = 10};
    struct arena arena;
    struct doc doc;
    struct error error;

    arena_create(&arena, 0);
    ck_assert_int_eq(doc_parse_json(&arena, "[1,2,3,4]", 9, &limits, &doc, &error), 0);
    ck_assert_int_eq(doc_parse_json(&arena, "[1,2,3,45]]", 11, &limits, &doc, &error),
                     ERROR_INVALID);
    ck_assert_ptr_nonnull(strstr(error.text, "exceed the limit of 10"));
    arena_destroy(&arena);
}
END_TEST

START_TEST(a_full_arena_is_an_error_and_bounds_all_memory)
{
    enum { LENGTH = 400001 };
    char *text = malloc(LENGTH);
    struct arena arena;
    struct doc doc;
    struct error error;

    memset(text, '1', LENGTH);
    for (int i = 1; i < LENGTH; i += 2)
        text[i] = ',';
    text[0] = '[';
    text[1] = '1';
    text[LENGTH - 1] = ']';
    arena_create(&arena, 100000);
    ck_assert_int_eq(doc_parse_json(&arena, text, LENGTH, NULL, &doc, &error), ERROR_MEMORY);
    ck_assert_uint_le(arena.reserved_bytes, 200000);
    arena_destroy(&arena);
    free(text);
}
END_TEST

START_TEST(values_know_where_they_stood)
{
    static const char text[] = " {\"a\": [10, \"x\\n\"]}";
    struct arena arena;
    struct doc doc;

    ck_assert_int_eq(parse(&arena, text, strlen(text), &doc, ERROR_IGNORED), 0);
    ck_assert_uint_eq(doc.place, 1);
    ck_assert_uint_eq(doc.items[0].place, 2);
    ck_assert_uint_eq(doc.items[1].place, 7);
    ck_assert_uint_eq(doc.items[1].items[0].place, 8);
    ck_assert_uint_eq(doc.items[1].items[1].place, 12);
    arena_destroy(&arena);
}
END_TEST

START_TEST(strings_without_escapes_are_slices_of_the_input)
{
    static const char text[] = "[\"plain\",\"esc\\taped\"]";
    struct arena arena;
    struct doc doc;

    arena_create(&arena, 0);
    ck_assert_int_eq(doc_parse_json(&arena, text, strlen(text), NULL, &doc, ERROR_IGNORED), 0);
    ck_assert_ptr_eq(doc.items[0].string, text + 2);
    ck_assert(doc.items[1].string < text || doc.items[1].string > text + sizeof(text));
    ck_assert(doc_string_equals(&doc.items[1], "esc\taped"));
    arena_destroy(&arena);
}
END_TEST

START_TEST(numbers_that_json_has_no_form_for_become_null)
{
    struct buffer out = {0};
    struct doc bytes = {.type = DOC_BYTES, .count = 2, .string = "ab"};

    doc_write_json_double(&out, (double)NAN);
    doc_write_json_double(&out, (double)INFINITY);
    doc_write_json_float(&out, -INFINITY);
    doc_write_json(&out, &bytes);
    ck_assert_str_eq(buffer_text(&out), "nullnullnullnull");
    buffer_destroy(&out);
}
END_TEST

/* Random bytes around valid pieces: no crash, no leak, and what is accepted writes back equal. */
START_TEST(mutated_texts_never_crash)
{
    static const char seed_text[] = "{\"id\":\"a\\u00e9\\ud83d\\ude00\",\"v\":[0.5,-1.25e-3,"
                                    "123456789012345678901],\"p\":{\"t\":"
                                    "true,\"n\":null,\"\xc3\xa9\":[[{}],false]}}";
    uint64_t random = test_seed();

    for (int round = 0; round < 100000; round++) {
        char text[sizeof(seed_text)];
        struct arena arena;
        struct doc doc, again;
        memcpy(text, seed_text, sizeof(text));
        for (uint64_t n = test_random(&random) % 4 + 1; n > 0; n--)
            text[test_random(&random) % (sizeof(text) - 1)] =
                test_random(&random) % 2 ? (char)test_random(&random)
                                         : "\"\\,:[]{}0-9e.u"[test_random(&random) % 15];
        if (parse(&arena, text, sizeof(text) - 1, &doc, ERROR_IGNORED) == 0) {
            struct buffer out = {0};
            doc_write_json(&out, &doc);
            ck_assert_int_eq(
                doc_parse_json(&arena, (char *)out.data, out.size, NULL, &again, ERROR_IGNORED), 0);
            ck_assert(doc_equal(&doc, &again));
            buffer_destroy(&out);
        }
        arena_destroy(&arena);
    }
}
END_TEST

START_TEST(map_is_filled_pair_by_pair)
{
    struct buffer text = {0};
    struct arena arena;
    struct doc map;

    arena_create(&arena, 0);
    map = doc_map(&arena, 5);
    doc_put(&map, "text", doc_text(&arena, "a"));
    doc_put(&map, "none", doc_text(&arena, NULL));
    doc_put(&map, "yes", doc_bool(true));
    doc_put(&map, "number", doc_integer(-7));
    doc_put(&map, "inside", doc_map(&arena, 0));
    doc_write_json(&text, &map);
    buffer_append_byte(&text, '\0');
    ck_assert_str_eq((const char *)text.data,
                     "{\"text\":\"a\",\"none\":null,\"yes\":true,\"number\":-7,\"inside\":{}}");
    buffer_destroy(&text);
    arena_destroy(&arena);
}
END_TEST

START_TEST(yaml_escapes_what_it_refuses_or_ends_lines_at)
{
    static const struct {
        const char *text, *yaml;
    } cases[] = {
        {"", "\"\""},
        {"a\"\\\n\x01", "\"a\\\"\\\\\\n\\u0001\""},
        {"~\x7f.", "\"~\\u007f.\""},
        {"\xc2\x80\xc2\x85\xc2\x9f\xc2\xa0", "\"\\u0080\\u0085\\u009f\xc2\xa0\""},
        {"\xe2\x80\xa7\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa",
         "\"\xe2\x80\xa7\\u2028\\u2029\xe2\x80\xaa\""},
        {"\xef\xbb\xbf\xef\xbf\xbd\xef\xbf\xbe\xef\xbf\xbf",
         "\"\\ufeff\xef\xbf\xbd\\ufffe\\uffff\""},
        {"\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf",
         "\"\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf\xed\x9f\xbf\""},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buffer yaml = {0};
        struct error error = {0};
        struct arena arena;
        struct doc again;
        doc_write_yaml_string(&yaml, cases[i].text, strlen(cases[i].text));
        ck_assert_str_eq(buffer_text(&yaml), cases[i].yaml);
        ck_assert_int_eq(parse(&arena, buffer_text(&yaml), yaml.size, &again, &error), 0);
        ck_assert_uint_eq(again.count, strlen(cases[i].text));
        ck_assert_mem_eq(again.string, cases[i].text, again.count);
        arena_destroy(&arena);
        buffer_destroy(&yaml);
    }
}
END_TEST

TEST_TABLE(TEST(valid_texts_read_and_write_back), TEST(invalid_texts_name_place_and_path),
           TEST(every_prefix_of_a_valid_text_is_refused), TEST(nesting_is_bounded),
           TEST(a_text_over_the_byte_limit_is_refused_unread),
           TEST(a_full_arena_is_an_error_and_bounds_all_memory), TEST(values_know_where_they_stood),
           TEST(strings_without_escapes_are_slices_of_the_input),
           TEST(numbers_that_json_has_no_form_for_become_null), TEST(mutated_texts_never_crash),
           TEST(map_is_filled_pair_by_pair), TEST(yaml_escapes_what_it_refuses_or_ends_lines_at))
