#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "tests/support/test_main.h"

START_TEST(context_reads_from_the_outside_in)
{
    struct error error;

    ck_assert_int_eq(error_set_errno(&error, ENOSPC, "open %s", "7.log"), ERROR_NO_SPACE);
    ck_assert_int_eq(error_wrap(&error, "shard %d", 3), ERROR_NO_SPACE);
    ck_assert_int_eq(error_wrap(&error, "collection %s", "news"), ERROR_NO_SPACE);
    ck_assert_str_eq(error.text, "collection news: shard 3: open 7.log: No space left on device");
}
END_TEST

START_TEST(errno_values_become_codes_to_branch_on)
{
    static const struct {
        int errno_value;
        int code;
    } cases[] = {
        {EMFILE, ERROR_NO_FILES}, {ENFILE, ERROR_NO_FILES},  {ENOSPC, ERROR_NO_SPACE},
        {EDQUOT, ERROR_NO_SPACE}, {ENOENT, ERROR_NOT_FOUND}, {EEXIST, ERROR_EXISTS},
        {ENOMEM, ERROR_MEMORY},   {EINVAL, ERROR_INVALID},   {EWOULDBLOCK, ERROR_BUSY},
        {EIO, ERROR_IO},          {EACCES, ERROR_IO},        {EOPNOTSUPP, ERROR_UNSUPPORTED},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct error error;
        ck_assert_int_eq(error_set_errno(&error, cases[i].errno_value, "x"), cases[i].code);
        ck_assert_int_eq(error.code, cases[i].code);
    }
}
END_TEST

START_TEST(long_texts_are_cut_not_overrun)
{
    char longer[3000];
    struct error error;

    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    error_set(&error, ERROR_IO, "%s", longer);
    error_wrap(&error, "%s", longer);
    error_set_errno(&error, EIO, "%s", longer);
    ck_assert_uint_eq(strlen(error.text), sizeof(error.text) - 1);
}
END_TEST

START_TEST(an_ignored_error_still_gives_the_code)
{
    ck_assert_int_eq(error_set(ERROR_IGNORED, ERROR_BUSY, "x"), ERROR_BUSY);
    ck_assert_int_eq(error_set_errno(ERROR_IGNORED, ENOENT, "x"), ERROR_NOT_FOUND);
}
END_TEST

START_TEST(code_names_are_stable)
{
    ck_assert_str_eq(error_code_name(ERROR_NONE), "none");
    ck_assert_str_eq(error_code_name(ERROR_NO_SPACE), "no_space");
    ck_assert_str_eq(error_code_name(ERROR_PEER), "peer");
    ck_assert_str_eq(error_code_name(ERROR_UNAVAILABLE), "unavailable");
    ck_assert_str_eq(error_code_name(-99), "unknown");
    ck_assert_str_eq(error_code_name(1), "unknown");
}
END_TEST

TEST_TABLE(TEST(context_reads_from_the_outside_in), TEST(errno_values_become_codes_to_branch_on),
           TEST(long_texts_are_cut_not_overrun), TEST(an_ignored_error_still_gives_the_code),
           TEST(code_names_are_stable))
