/* Numbers against the C library: reading bit-identical to strtod, writing short and exact. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc.h"
#include "tests/support/test_main.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static void check_reads_like_strtod(const char *text)
{
    struct arena arena;
    struct doc doc;
    double expected = strtod(text, NULL);
    int result;

    arena_create(&arena, 0);
    result = doc_parse_json(&arena, text, strlen(text), NULL, &doc, ERROR_IGNORED);
    if (isinf(expected)) {
        ck_assert_msg(result == ERROR_INVALID, "%s", text);
        return;
    }
    ck_assert_msg(result == 0 && doc.type == DOC_DOUBLE, "%s", text);
    ck_assert_msg(memcmp(&doc.number, &expected, sizeof(expected)) == 0,
                  "%s reads as %.17g, strtod says %.17g", text, doc.number, expected);
}

static double random_double(uint64_t *random)
{
    double value;

    do {
        uint64_t bits = test_random(random);
        memcpy(&value, &bits, sizeof(value));
    } while (!isfinite(value));
    return value;
}

static float random_float(uint64_t *random)
{
    float value;

    do {
        uint32_t bits = (uint32_t)test_random(random);
        memcpy(&value, &bits, sizeof(value));
    } while (!isfinite(value));
    return value;
}

START_TEST(doubles_of_all_magnitudes_read_like_strtod)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 400000; i++) {
        char text[64];
        double value = random_double(&random);
        snprintf(text, sizeof(text), "%.*e", (int)(test_random(&random) % 20), value);
        check_reads_like_strtod(text);
    }
}
END_TEST

START_TEST(embeddings_written_as_doubles_read_like_strtod)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 300000; i++) {
        char text[64];
        float value = ldexpf((float)(int32_t)test_random(&random), -31 - (int)(i % 12));
        snprintf(text, sizeof(text), i % 2 ? "%.17f" : "%#.17g", (double)value);
        check_reads_like_strtod(text);
    }
}
END_TEST

START_TEST(random_decimals_read_like_strtod)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 300000; i++) {
        char text[64];
        size_t at = 0;
        uint64_t whole = test_random(&random) >> (test_random(&random) % 64);
        at += (size_t)snprintf(
            text, sizeof(text), "%s%llu.%0*llu", i % 2 ? "-" : "", (unsigned long long)whole,
            (int)(test_random(&random) % 20),
            (unsigned long long)(test_random(&random) >> (test_random(&random) % 64)));
        if (i % 3)
            snprintf(text + at, sizeof(text) - at, "e%d", (int)(test_random(&random) % 80) - 40);
        check_reads_like_strtod(text);
    }
}
END_TEST

/* Of the last two kinds hardly any item is something else, so that long runs are read together. */
enum items { ITEMS_MIXED, ITEMS_SHORT, ITEMS_IN_FULL };

/* Something like an item of an array: mostly a number as embeddings have them. */
static void append_item(struct buffer *text, uint64_t *random, enum items kind)
{
    static const char *const others[] = {
        "0",     "-7",      "1e-5", "true",  "12.5",        "\"a,b\"", "-0.0",
        "0.",    ".5",      "00.5", "-",     "[0.25,-0.5]", "+0.25",   "0,5",
        "",      "nul",     "-.1",  "0.1e3", " 0.25",       "0.25 ",   "0.1 2.5",
        "- 0.5", "0.1-0.2", "0..1", "0.1.2", "--0.1",       "05",      "-07"};
    char item[64];
    uint64_t choice = test_random(random);
    int length = (int)((choice >> 8) % 24);

    if (kind == ITEMS_IN_FULL && choice % 128 > 1)
        snprintf(item, sizeof(item), "%.*f", 12 + length % 10,
                 (double)(int64_t)test_random(random) / 0x1p60 / (1 << (choice >> 32) % 12));
    else if (kind == ITEMS_IN_FULL && choice % 128 == 1)
        snprintf(item, sizeof(item), "-0.%0*d", 1 + length % 20, (int)(choice >> 32) % 10);
    else if (kind == ITEMS_SHORT && choice % 128 != 0)
        snprintf(item, sizeof(item), "%s%u.%0*llu", choice & 1 ? "-" : "",
                 choice & 6 ? 0 : (unsigned)(choice >> 16) % 10, 1 + length % 14,
                 (unsigned long long)test_random(random) % 10000000000000 >> (choice >> 32) % 44);
    else if (kind != ITEMS_MIXED || choice % 97 == 0)
        snprintf(item, sizeof(item), "%s", others[test_random(random) % COUNT(others)]);
    else if (choice % 3 == 0)
        snprintf(item, sizeof(item), "%.9g", (double)random_float(random));
    else
        snprintf(item, sizeof(item), "%s%u.%0*llu%.*s", choice & 1 ? "-" : "",
                 choice & 64 ? 0 : (unsigned)(choice >> 16) % 10, length < 19 ? length : 19,
                 (unsigned long long)(test_random(random) >> (choice >> 32) % 64),
                 length < 19 ? 0 : length - 19, "0123456");
    buffer_append_text(text, item);
}

/* The same items twice: `text` with what parsers meet, `apart` with line ends between, which make
 * each item a number by itself. */
static void random_arrays(uint64_t *random, struct buffer *text, struct buffer *apart)
{
    enum items kind = (enum items)(test_random(random) % 3);
    size_t count = 1 + test_random(random) % (kind == ITEMS_MIXED ? 40 : 400);
    const char *space = test_random(random) % 2 ? "," : ", ";

    text->size = apart->size = 0;
    for (size_t i = 0; i < count; i++) {
        struct buffer item = {0};
        append_item(&item, random, kind);
        buffer_append_text(text, i ? space : "[");
        buffer_append_text(apart, i ? ",\n" : "[\n");
        buffer_append(text, item.data, item.size);
        buffer_append(apart, item.data, item.size);
        buffer_destroy(&item);
    }
    buffer_append_text(text, "]");
    buffer_append_text(apart, "]");
}

/* The first item that is not what strtod or the other reading says; -1: none. Bits count, not
 * values: zeros have signs. */
static int64_t wrong_item(const struct doc *doc, const struct doc *expected, const char *text)
{
    if (doc->count != expected->count)
        return doc->count;
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct doc *item = &doc->items[i];
        double value;
        if (item->type != expected->items[i].type)
            return i;
        if (item->type != DOC_DOUBLE)
            continue;
        value = strtod(text + item->place, NULL);
        if (memcmp(&item->number, &value, sizeof(value)) != 0 ||
            memcmp(&item->number, &expected->items[i].number, sizeof(value)) != 0)
            return i;
    }
    return -1;
}

START_TEST(arrays_read_like_each_of_their_numbers)
{
    uint64_t random = test_seed();
    struct buffer text = {0};
    struct buffer apart = {0};
    struct arena arena;
    int valid = 0;

    arena_create(&arena, 0);
    for (int i = 0; i < (TEST_SANITIZED ? 5000 : 50000); i++) {
        struct doc doc, expected;
        char *exact;
        int code;
        random_arrays(&random, &text, &apart);
        /* No byte behind it, which a sanitizer would see read. */
        exact = malloc(text.size);
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, text.data, text.size);
        arena_reset(&arena);
        code = doc_parse_json(&arena, (const char *)apart.data, apart.size, NULL, &expected,
                              ERROR_IGNORED);
        ck_assert_int_eq(doc_parse_json(&arena, exact, text.size, NULL, &doc, ERROR_IGNORED), code);
        if (code == 0)
            ck_assert_msg(
                wrong_item(&doc, &expected, buffer_text(&text)) < 0, "item %lld of %.1000s",
                (long long)wrong_item(&doc, &expected, buffer_text(&text)), buffer_text(&text));
        valid += code == 0;
        free(exact);
    }
    ck_assert_int_gt(valid, TEST_SANITIZED ? 1000 : 10000);
    arena_destroy(&arena);
    buffer_destroy(&text);
    buffer_destroy(&apart);
}
END_TEST

/* Half way between two doubles and one off: where a wrong rounding shows. */
START_TEST(ties_round_to_even_like_strtod)
{
    uint64_t random = test_seed();

    for (int i = 0; i < 100000; i++) {
        unsigned shift = (unsigned)(test_random(&random) % 11);
        uint64_t odd = (UINT64_C(1) << 53 | (test_random(&random) >> 11)) | 1;
        uint64_t tie = odd << shift;
        for (int off = -1; off <= 1; off++) {
            char text[64];
            snprintf(text, sizeof(text), "%llu.0", (unsigned long long)(tie + (uint64_t)off));
            check_reads_like_strtod(text);
            snprintf(text, sizeof(text), "%llue-%d", (unsigned long long)(tie + (uint64_t)off),
                     (int)(test_random(&random) % 25));
            check_reads_like_strtod(text);
        }
    }
}
END_TEST

START_TEST(long_and_extreme_numbers_read_like_strtod)
{
    static const char *const texts[] = {
        "2.2250738585072011e-308",
        "2.2250738585072014e-308",
        "4.9406564584124654e-324",
        "2.4703282292062327e-324",
        "2.4703282292062328e-324",
        "1e-400",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "179769313486231580793728971405303415079934132710037826936173778980444968292764750946649017"
        "977587207096330286416692887910946555547851940402630657488671505820681908902000708383676273"
        "854845817711531764475730270069855571366959622842914819860834936475292719074168444365510704"
        "342711559699508093042880.0",
        "0.000000000000000000000000000000000000000000000000000000000000000000000000000000000001",
        "9007199254740993.00000000000000000000000000000000000000000000000000000000000000001",
        "9007199254740992.99999999999999999999999999999999999999999999999999999999999999999",
        "1.00000000000000011102230246251565404236316680908203125",
        "1.00000000000000011102230246251565404236316680908203124",
        "1.00000000000000011102230246251565404236316680908203126",
        "123456789012345678901234567890e-30",
        "8.5e22",
        "8.5e-22",
        "1e23",
        "9007199254740993e0",
    };

    for (size_t i = 0; i < COUNT(texts); i++)
        check_reads_like_strtod(texts[i]);
}
END_TEST

/* Significant digits of a written number. */
static int digit_count(const char *text)
{
    int count = 0;
    int zeros = 0;

    for (; *text && *text != 'e'; text++) {
        if (*text < '0' || *text > '9' || (count == 0 && *text == '0'))
            continue;
        zeros = *text == '0' ? zeros + 1 : 0;
        count++;
    }
    return count - zeros;
}

static int shortest_double(double value)
{
    char text[64];

    for (int digits = 1;; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, value);
        if (strtod(text, NULL) == value)
            return digits;
    }
}

static int shortest_float(float value)
{
    char text[64];

    for (int digits = 1;; digits++) {
        snprintf(text, sizeof(text), "%.*e", digits - 1, (double)value);
        if (strtof(text, NULL) == value)
            return digits;
    }
}

START_TEST(written_doubles_are_short_and_read_back)
{
    struct buffer out = {0};
    uint64_t random = test_seed();

    for (int i = 0; i < 200000; i++) {
        double value;
        if (i % 4 == 0)
            value = random_double(&random);
        else if (i % 4 == 1)
            value = (double)(int32_t)test_random(&random) / 1000;
        else if (i % 4 == 2)
            value = ldexp(1, (int)(test_random(&random) % 2000) - 1000);
        else
            value = (double)test_random(&random) / 0x1p64;
        out.size = 0;
        doc_write_json_double(&out, value);
        ck_assert_msg(strtod(buffer_text(&out), NULL) == value, "%.17g -> %s", value, out.data);
        ck_assert_msg(digit_count((char *)out.data) <= shortest_double(fabs(value)), "%.17g -> %s",
                      value, out.data);
    }
    buffer_destroy(&out);
}
END_TEST

START_TEST(written_floats_are_short_and_read_back_either_way)
{
    struct buffer out = {0};
    uint64_t random = test_seed();

    for (int i = 0; i < 300000; i++) {
        float value;
        if (i % 4 == 0)
            value = random_float(&random);
        else if (i % 4 == 1)
            value = ldexpf((float)(int32_t)test_random(&random), -31);
        else if (i % 4 == 2)
            value = (float)(int32_t)(test_random(&random) % 200001 - 100000) / 1000.0F;
        else
            value = ldexpf(1, (int)(test_random(&random) % 250) - 125);
        out.size = 0;
        doc_write_json_float(&out, value);
        ck_assert_msg(strtof(buffer_text(&out), NULL) == value, "%.9g -> %s", (double)value,
                      out.data);
        ck_assert_msg((float)strtod(buffer_text(&out), NULL) == value, "%.9g -> %s", (double)value,
                      out.data);
        ck_assert_msg(digit_count((char *)out.data) <= shortest_float(fabsf(value)), "%.9g -> %s",
                      (double)value, out.data);
    }
    buffer_destroy(&out);
}
END_TEST

/* As Python's repr writes them. */
START_TEST(written_numbers_have_the_expected_form)
{
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {100.0, "100.0"},
        {1e15, "1000000000000000.0"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e16, "1e+16"},
        {1.5e16, "1.5e+16"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {1.25e-5, "1.25e-05"},
        {1e22, "1e+22"},
        {1e100, "1e+100"},
        {5e-324, "5e-324"},
        {0x1p-44, "5.684341886080802e-14"},
        {0.30000000000000004, "0.30000000000000004"},
        {123456.789, "123456.789"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buffer out = {0};
        doc_write_json_double(&out, cases[i].value);
        ck_assert_str_eq(buffer_text(&out), cases[i].text);
        buffer_destroy(&out);
    }
    struct buffer out = {0};
    doc_write_json_float(&out, 0.1F);
    buffer_append_byte(&out, ' ');
    doc_write_json_float(&out, 3.4028235e38F);
    buffer_append_byte(&out, ' ');
    doc_write_json_float(&out, 16777216.0F);
    buffer_append_byte(&out, ' ');
    doc_write_json_float(&out, 1e-45F);
    ck_assert_str_eq(buffer_text(&out), "0.1 3.4028235e+38 16777216.0 1e-45");
    buffer_destroy(&out);
}
END_TEST

TEST_TABLE(TEST(doubles_of_all_magnitudes_read_like_strtod),
           TEST(embeddings_written_as_doubles_read_like_strtod),
           TEST(random_decimals_read_like_strtod), TEST(arrays_read_like_each_of_their_numbers),
           TEST(ties_round_to_even_like_strtod), TEST(long_and_extreme_numbers_read_like_strtod),
           TEST(written_doubles_are_short_and_read_back),
           TEST(written_floats_are_short_and_read_back_either_way),
           TEST(written_numbers_have_the_expected_form))
