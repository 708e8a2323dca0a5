#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "tests/support/test_main.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

START_TEST(durations_read_and_write_their_shortest_form)
{
    static const struct {
        const char *text;
        int64_t duration_ms;
        const char *shortest;
    } cases[] = {
        {"250ms", 250, "250ms"},
        {"5s", 5000, "5s"},
        {"10m", 600000, "10m"},
        {"1h", 3600000, "1h"},
        {"7d", 604800000, "7d"},
        {"1h30m", 5400000, "1h30m"},
        {"90m", 5400000, "1h30m"},
        {"24h", 86400000, "1d"},
        {"1500ms", 1500, "1s500ms"},
        {"1d2h3m4s5ms", 93784005, "1d2h3m4s5ms"},
        {"0s", 0, "0s"},
        {"0ms", 0, "0s"},
        {"9223372036854775807ms", INT64_MAX, "106751991167d7h12m55s807ms"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[TEXT_TIME_BYTES];
        int64_t duration_ms;
        int64_t again_ms;
        ck_assert_int_eq(text_parse_duration_ms(cases[i].text, &duration_ms, ERROR_IGNORED), 0);
        ck_assert_int_eq(duration_ms, cases[i].duration_ms);
        ck_assert_str_eq(text_format_duration(duration_ms, out), cases[i].shortest);
        ck_assert_int_eq(text_parse_duration_ms(out, &again_ms, ERROR_IGNORED), 0);
        ck_assert_int_eq(again_ms, duration_ms);
    }
}
END_TEST

START_TEST(what_is_no_duration_is_refused)
{
    static const char *const texts[] = {
        "",
        " ",
        "5",
        "s",
        "5 s",
        "-5s",
        "+5s",
        "5S",
        "5sec",
        "1.5h",
        "30m1h",
        "1h1h",
        "5s ",
        "5ms3",
        "1w",
        "5s\n",
        "9223372036854775808ms",
        "99999999999999999999s",
        "106751991168d",
        "1d18446744073709551615ms",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct error error;
        int64_t duration_ms;
        ck_assert_msg(text_parse_duration_ms(texts[i], &duration_ms, &error) == ERROR_INVALID, "%s",
                      texts[i]);
        ck_assert_ptr_nonnull(strstr(error.text, "invalid duration"));
    }
}
END_TEST

START_TEST(sizes_know_binary_and_decimal_units)
{
    static const struct {
        const char *text;
        int result;
        uint64_t size_bytes;
    } cases[] = {
        {"512", 0, 512},
        {"0", 0, 0},
        {"7B", 0, 7},
        {"64KiB", 0, 65536},
        {"128MiB", 0, UINT64_C(128) << 20},
        {"1GiB", 0, UINT64_C(1) << 30},
        {"2TiB", 0, UINT64_C(2) << 40},
        {"1GB", 0, 1000000000},
        {"10MB", 0, 10000000},
        {"3kB", 0, 3000},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", ERROR_INVALID, 0},
        {"17179869184GiB", ERROR_INVALID, 0},
        {"", ERROR_INVALID, 0},
        {"GiB", ERROR_INVALID, 0},
        {"1gib", ERROR_INVALID, 0},
        {"1 GiB", ERROR_INVALID, 0},
        {"-1", ERROR_INVALID, 0},
        {"1.5GiB", ERROR_INVALID, 0},
        {"1GiB1", ERROR_INVALID, 0},
        {"1G", ERROR_INVALID, 0},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t size_bytes = 0;
        ck_assert_msg(text_parse_size_bytes(cases[i].text, &size_bytes, ERROR_IGNORED) ==
                          cases[i].result,
                      "%s", cases[i].text);
        ck_assert_uint_eq(size_bytes, cases[i].size_bytes);
    }
}
END_TEST

START_TEST(sizes_are_written_for_people)
{
    static const struct {
        uint64_t size_bytes;
        const char *text;
    } cases[] = {
        {0, "0 B"},
        {1023, "1023 B"},
        {1024, "1.0 KiB"},
        {1536, "1.5 KiB"},
        {1048575, "1.0 MiB"},
        {UINT64_C(1288490189), "1.2 GiB"},
        {UINT64_MAX, "16.0 EiB"},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        char out[TEXT_TIME_BYTES];
        ck_assert_str_eq(text_format_size(cases[i].size_bytes, out), cases[i].text);
    }
}
END_TEST

START_TEST(times_read_as_rfc_3339_has_them)
{
    static const struct {
        const char *text;
        int64_t time_ms;
    } cases[] = {
        {"1970-01-01T00:00:00Z", 0},
        {"1970-01-01", 0},
        {"1969-12-31T23:59:59.999Z", -1},
        {"2026-11-21T03:04:05.678Z", INT64_C(1795230245678)},
        {"2026-11-21 03:04:05.678Z", INT64_C(1795230245678)},
        {"2026-11-21t03:04:05.678z", INT64_C(1795230245678)},
        {"2026-11-21T03:04:05.678", INT64_C(1795230245678)},
        {"2026-11-21T03:04:05.6789999Z", INT64_C(1795230245678)},
        {"2026-11-21T05:04:05.678+02:00", INT64_C(1795230245678)},
        {"2026-11-20T21:34:05.678-05:30", INT64_C(1795230245678)},
        {"2026-11-21T03:04Z", INT64_C(1795230240000)},
        {"2026-11-21T03:04:05.6Z", INT64_C(1795230245600)},
        {"2024-02-29T00:00:00Z", INT64_C(1709164800000)},
        {"2000-02-29T12:00:00Z", INT64_C(951825600000)},
        {"0000-01-01T00:00:00Z", INT64_C(-62167219200000)},
        {"9999-12-31T23:59:59.999Z", INT64_C(253402300799999)},
        {"2016-12-31T23:59:60Z", INT64_C(1483228800000)},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        int64_t time_ms;
        struct error error = {0};
        ck_assert_msg(text_parse_time_ms(cases[i].text, strlen(cases[i].text), &time_ms, &error) ==
                          0,
                      "%s", error.text);
        ck_assert_msg(time_ms == cases[i].time_ms, "%s: %lld", cases[i].text, (long long)time_ms);
    }
}
END_TEST

START_TEST(what_is_no_time_is_refused)
{
    static const char *const texts[] = {
        "",
        "2026",
        "2026-11",
        "2026-13-01",
        "2026-00-01",
        "2026-02-29",
        "1900-02-29",
        "2026-04-31",
        "2026-11-21T",
        "2026-11-21T3:04:05Z",
        "2026-11-21T24:00:00Z",
        "2026-11-21T03:60:00Z",
        "2026-11-21T03:04:61Z",
        "2026-11-21T03:04:05.Z",
        "2026-11-21T03:04:05Zx",
        "2026-11-21T03:04:05+2",
        "2026-11-21T03:04:05+25:00",
        "2026-11-21X03:04:05Z",
        "+2026-11-21",
        "yesterday",
    };

    for (size_t i = 0; i < COUNT(texts); i++) {
        int64_t time_ms;
        ck_assert_msg(text_parse_time_ms(texts[i], strlen(texts[i]), &time_ms, ERROR_IGNORED) ==
                          ERROR_INVALID,
                      "%s", texts[i]);
    }
}
END_TEST

START_TEST(written_times_read_back)
{
    uint64_t random = test_seed();
    const int64_t first = INT64_C(-62167219200000);
    const uint64_t span = UINT64_C(253402300799999) + UINT64_C(62167219200000);
    char out[TEXT_TIME_BYTES];

    for (int i = 0; i < 100000; i++) {
        int64_t time_ms = first + (int64_t)(test_random(&random) % (span + 1));
        int64_t again_ms;
        text_format_time(time_ms, out);
        ck_assert_int_eq(text_parse_time_ms(out, strlen(out), &again_ms, ERROR_IGNORED), 0);
        ck_assert_int_eq(again_ms, time_ms);
    }
    ck_assert_str_eq(text_format_time(0, out), "1970-01-01T00:00:00.000Z");
    ck_assert_str_eq(text_format_time(-1, out), "1969-12-31T23:59:59.999Z");
    ck_assert_str_eq(text_format_time(INT64_MAX, out), "9223372036854775807ms");
    ck_assert_str_eq(text_format_time(INT64_MIN, out), "-9223372036854775808ms");
}
END_TEST

START_TEST(u64_is_strict)
{
    static const struct {
        const char *text;
        int result;
        uint64_t value;
    } cases[] = {
        {"0", 0, 0},
        {"7", 0, 7},
        {"18446744073709551615", 0, UINT64_MAX},
        {"18446744073709551616", ERROR_INVALID, 0},
        {"99999999999999999999", ERROR_INVALID, 0},
        {"100000000000000000000", ERROR_INVALID, 0},
        {"", ERROR_INVALID, 0},
        {"00", ERROR_INVALID, 0},
        {"01", ERROR_INVALID, 0},
        {"+1", ERROR_INVALID, 0},
        {"-1", ERROR_INVALID, 0},
        {" 1", ERROR_INVALID, 0},
        {"1 ", ERROR_INVALID, 0},
        {"1x", ERROR_INVALID, 0},
    };

    for (size_t i = 0; i < COUNT(cases); i++) {
        uint64_t value = 0;
        ck_assert_msg(text_parse_u64(cases[i].text, strlen(cases[i].text), &value) ==
                          cases[i].result,
                      "%s", cases[i].text);
        ck_assert_uint_eq(value, cases[i].value);
    }
}
END_TEST

START_TEST(uuids_have_three_spellings_and_one_written_form)
{
    static const char *const same[] = {
        "550e8400-e29b-41d4-a716-446655440000",
        "550E8400-E29B-41D4-A716-446655440000",
        "550e8400e29b41d4a716446655440000",
        "urn:uuid:550e8400-e29b-41d4-a716-446655440000",
        "URN:UUID:550e8400-e29b-41d4-a716-446655440000",
    };
    static const char *const wrong[] = {
        "",
        "550e8400-e29b-41d4-a716-44665544000",
        "550e8400-e29b-41d4-a716-4466554400000",
        "550e8400-e29b-41d4-a716-44665544000g",
        "550e8400e-29b-41d4-a716-446655440000",
        "550e8400-e29b-41d4-a716_446655440000",
        "{550e8400-e29b-41d4-a716-446655440000}",
        "urn:uuid:550e8400e29b41d4a716446655440000",
        "550e8400-e29b41d4-a716-4466554400000",
    };
    uint8_t uuid[16];
    char out[TEXT_UUID_BYTES];

    for (size_t i = 0; i < COUNT(same); i++) {
        ck_assert_msg(text_parse_uuid(same[i], strlen(same[i]), uuid) == 0, "%s", same[i]);
        ck_assert_str_eq(text_format_uuid(uuid, out), same[0]);
    }
    for (size_t i = 0; i < COUNT(wrong); i++)
        ck_assert_msg(text_parse_uuid(wrong[i], strlen(wrong[i]), uuid) == ERROR_INVALID, "%s",
                      wrong[i]);
}
END_TEST

/* Encodes without checks: also what is not allowed. */
static size_t encode(uint32_t code, unsigned length, char *to)
{
    static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0, 0xf8};

    if (length == 1) {
        to[0] = (char)code;
        return 1;
    }
    for (unsigned i = length - 1; i > 0; i--, code >>= 6)
        to[i] = (char)(0x80 | (code & 63));
    to[0] = (char)(heads[length] | code);
    return length;
}

START_TEST(utf8_takes_every_character_in_its_shortest_form_only)
{
    for (uint32_t code = 0; code < 0x110000; code++) {
        unsigned shortest = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        bool surrogate = code >= 0xd800 && code <= 0xdfff;
        char bytes[4];
        for (unsigned length = shortest; length <= 4; length++) {
            encode(code, length, bytes);
            size_t expected = length == shortest && !surrogate ? length : 0;
            if (text_utf8_valid(bytes, length) != expected)
                ck_abort_msg("U+%04X in %u bytes", code, length);
            if (length > 1 && text_utf8_valid(bytes, length - 1) != 0)
                ck_abort_msg("U+%04X cut", code);
        }
    }
}
END_TEST

START_TEST(utf8_reports_the_length_of_the_valid_prefix)
{
    char bytes[64];

    for (size_t bad = 0; bad < sizeof(bytes); bad++) {
        memset(bytes, 'a', sizeof(bytes));
        ck_assert_uint_eq(text_utf8_valid(bytes, bad), bad);
        bytes[bad] = (char)0xff;
        ck_assert_uint_eq(text_utf8_valid(bytes, sizeof(bytes)), bad);
        bytes[bad] = (char)0xf4;
        ck_assert_uint_eq(text_utf8_valid(bytes, sizeof(bytes)), bad);
    }
    ck_assert_uint_eq(text_utf8_valid("\xf4\x90\x80\x80", 4), 0);
    ck_assert_uint_eq(text_utf8_valid("\x80", 1), 0);
    ck_assert_uint_eq(text_utf8_valid("", 0), 0);
}
END_TEST

START_TEST(base64_is_read_with_and_without_padding)
{
    static const struct {
        const char *text, *bytes;
    } good[] = {{"", ""},
                {"Zg==", "f"},
                {"Zg", "f"},
                {"Zm8=", "fo"},
                {"Zm8", "fo"},
                {"Zm9v", "foo"},
                {"Zm9vYg==", "foob"},
                {"Zm9vYmE=", "fooba"},
                {"Zm9vYmFy", "foobar"},
                {"+/+/", "\xfb\xff\xbf"}};
    static const struct {
        const char *text;
        size_t bad;
    } bad[] = {{"Z", 0},     {"Zm9vY", 4}, {"Zm 9v", 2}, {"Zm9=v", 3},
               {"Zg===", 2}, {"Zm-_", 2},  {"=", 0}};
    uint8_t bytes[8];
    size_t place;

    for (size_t i = 0; i < COUNT(good); i++) {
        size_t length = strlen(good[i].text);
        ck_assert_uint_eq(text_base64_bytes(good[i].text, length), strlen(good[i].bytes));
        ck_assert_int_eq(text_parse_base64(good[i].text, length, bytes, &place), 0);
        ck_assert_mem_eq(bytes, good[i].bytes, strlen(good[i].bytes));
    }
    for (size_t i = 0; i < COUNT(bad); i++) {
        ck_assert_int_eq(text_parse_base64(bad[i].text, strlen(bad[i].text), bytes, &place),
                         ERROR_INVALID);
        ck_assert_msg(place == bad[i].bad, "%s: %zu", bad[i].text, place);
    }
}
END_TEST

TEST_TABLE(TEST(base64_is_read_with_and_without_padding),
           TEST(durations_read_and_write_their_shortest_form), TEST(what_is_no_duration_is_refused),
           TEST(sizes_know_binary_and_decimal_units), TEST(sizes_are_written_for_people),
           TEST(times_read_as_rfc_3339_has_them), TEST(what_is_no_time_is_refused),
           TEST(written_times_read_back), TEST(u64_is_strict),
           TEST(uuids_have_three_spellings_and_one_written_form),
           TEST(utf8_takes_every_character_in_its_shortest_form_only),
           TEST(utf8_reports_the_length_of_the_valid_prefix))
