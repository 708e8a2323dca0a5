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
           TEST(the_terminating_zero_does_not_count))
