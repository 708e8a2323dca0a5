#include <string.h>

#include "base/buffer.h"
#include "tests/support/test_main.h"

START_TEST(appended_parts_stand_one_after_another)
{
    struct buffer buffer = {0};

    buffer_append_text(&buffer, "ab");
    buffer_append_byte(&buffer, 'c');
    buffer_append(&buffer, "de", 2);
    buffer_append(&buffer, NULL, 0);
    buffer_append_format(&buffer, "-%d-%s", 7, "x");
    ck_assert_str_eq(buffer_text(&buffer), "abcde-7-x");
    ck_assert_uint_eq(buffer.size, 9);
    buffer_destroy(&buffer);
}
END_TEST

START_TEST(it_grows_past_every_former_capacity)
{
    struct buffer buffer = {0};

    for (int i = 0; i < 100000; i++)
        buffer_append_byte(&buffer, (uint8_t)(i * 31));
    ck_assert_uint_eq(buffer.size, 100000);
    for (int i = 0; i < 100000; i++)
        ck_assert_uint_eq(buffer.data[i], (uint8_t)(i * 31));
    buffer_destroy(&buffer);
    ck_assert_ptr_null(buffer.data);
}
END_TEST

START_TEST(formatted_text_may_be_longer_than_the_room_left)
{
    char word[2000];
    struct buffer buffer = {0};

    memset(word, 'w', sizeof(word) - 1);
    word[sizeof(word) - 1] = '\0';
    buffer_append_format(&buffer, "<%s>", word);
    ck_assert_uint_eq(buffer.size, 2001);
    ck_assert_int_eq(buffer.data[2000], '>');
    buffer_destroy(&buffer);
}
END_TEST

START_TEST(numbers_are_written_as_printf_writes_them)
{
    static const int64_t numbers[] = {0,  1,   -1,        9,         10,        -10,
                                      99, 100, 123456789, INT64_MAX, INT64_MIN, -987654321012};
    struct buffer buffer = {0}, expected = {0};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        buffer_append_integer(&buffer, numbers[i]);
        buffer_append_format(&expected, "%lld", (long long)numbers[i]);
        for (unsigned digits = 1; digits <= 20; digits++) {
            buffer_append_unsigned(&buffer, (uint64_t)numbers[i], digits);
            buffer_append_format(&expected, "%0*llu", (int)digits, (unsigned long long)numbers[i]);
        }
    }
    ck_assert_str_eq(buffer_text(&buffer), buffer_text(&expected));
    buffer_destroy(&buffer);
    buffer_destroy(&expected);
}
END_TEST

START_TEST(the_terminating_zero_does_not_count)
{
    struct buffer buffer = {0};

    ck_assert_str_eq(buffer_text(&buffer), "");
    ck_assert_uint_eq(buffer.size, 0);
    buffer_append_text(&buffer, "a");
    ck_assert_str_eq(buffer_text(&buffer), "a");
    buffer_append_text(&buffer, "b");
    ck_assert_str_eq(buffer_text(&buffer), "ab");
    buffer_destroy(&buffer);
}
END_TEST

TEST_TABLE(TEST(appended_parts_stand_one_after_another), TEST(it_grows_past_every_former_capacity),
           TEST(formatted_text_may_be_longer_than_the_room_left),
           TEST(numbers_are_written_as_printf_writes_them),
           TEST(the_terminating_zero_does_not_count))
