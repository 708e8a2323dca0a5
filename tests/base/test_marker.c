#include "base/marker.h"

#include <string.h>

#include "tests/support/test_main.h"

START_TEST(a_marker_stays_until_it_is_removed)
{
    const char *folder = test_directory();
    struct io *io = io_posix();

    ck_assert(!marker_is_set(io, folder, "stands"));
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(marker_set(io, folder, "stands", true, ERROR_IGNORED), 0);
        ck_assert(marker_is_set(io, folder, "stands"));
        ck_assert(!marker_is_set(io, folder, "other"));
    }
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(marker_set(io, folder, "stands", false, ERROR_IGNORED), 0);
        ck_assert(!marker_is_set(io, folder, "stands"));
    }
}
END_TEST

START_TEST(a_marker_that_cannot_be_written_is_an_error)
{
    struct error error = {0};

    ck_assert_int_eq(marker_set(io_posix(), "/nowhere/at/all", "stands", true, &error),
                     ERROR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(error.text, "/nowhere/at/all/stands"));
}
END_TEST

TEST_TABLE(TEST(a_marker_stays_until_it_is_removed),
           TEST(a_marker_that_cannot_be_written_is_an_error))
