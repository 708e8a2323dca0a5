/* A file of a table: small ones through the page cache, large ones past it; whole or not there. */
#include "store/files/table_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/shadow_disk.h"
#include "tests/support/test_main.h"

enum { MANY_BYTES = 5 << 19 }; /* two blocks and a half */

static const size_t sizes[] = {0, 1, 4096, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, MANY_BYTES};
enum { SIZES = sizeof(sizes) / sizeof(sizes[0]) };

static const uint8_t *content(void)
{
    static uint8_t bytes[MANY_BYTES];
    uint64_t random = 42;

    for (size_t i = 0; i < MANY_BYTES && bytes[MANY_BYTES - 1] == 0; i += 8) {
        uint64_t value = test_random(&random) | UINT64_C(1) << 56;
        memcpy(bytes + i, &value, 8);
    }
    return bytes;
}

/* Writes the content's first bytes in pieces of any length; aborts by itself when it fails. */
static int write_file(struct io *io, const char *path, size_t size_bytes, uint64_t seed)
{
    uint64_t random = seed | 1;
    struct table_file file;
    struct error error = {0};
    int code = table_file_open(&file, io, path, &error);

    for (size_t at = 0; code == 0 && at < size_bytes;) {
        size_t piece = (size_t)(test_random(&random) % 400000) + 1;
        piece = piece < size_bytes - at ? piece : size_bytes - at;
        ck_assert_uint_eq(table_file_offset(&file), at);
        code = table_file_append(&file, content() + at, piece, &error);
        at += piece;
    }
    if (code != 0)
        table_file_abort(&file);
    else
        code = table_file_finish(&file, &error);
    return code;
}

static void check_file(struct io *io, const char *path, size_t size_bytes)
{
    uint8_t *bytes = malloc(size_bytes + 1);
    struct error error = {0};
    uint64_t size = 0;
    int file = -1;

    ck_assert_ptr_nonnull(bytes);
    ck_assert_msg(io_open(io, path, IO_READ, &file, &error) == 0, "%s", error.text);
    ck_assert_int_eq(io_size(io, file, path, &size, &error), 0);
    ck_assert_uint_eq(size, size_bytes);
    ck_assert_int_eq(io_read(io, file, path, bytes, size_bytes, 0, &error), 0);
    ck_assert(memcmp(bytes, content(), size_bytes) == 0);
    ck_assert_int_eq(io_close(io, file, path, &error), 0);
    free(bytes);
}

START_TEST(files_of_all_sizes_read_back_as_they_were_written)
{
    uint64_t seed = test_seed();
    char path[4096];

    for (int i = 0; i < SIZES; i++) {
        snprintf(path, sizeof(path), "%s/%d", test_directory(), i);
        ck_assert_int_eq(write_file(io_posix(), path, sizes[i], seed + (uint64_t)i), 0);
        check_file(io_posix(), path, sizes[i]);
    }
}
END_TEST

/* What came through the one handle is durable once the other was synced. */
START_TEST(finished_file_outlives_a_crash)
{
    uint64_t seed = test_seed();

    for (int i = 0; i < SIZES; i++) {
        struct shadow_disk *disk = shadow_disk_new(seed + (uint64_t)i);
        struct io *io = shadow_disk_io(disk);
        ck_assert_int_eq(io_make_directory(io, "/d", ERROR_IGNORED), 0);
        ck_assert_int_eq(write_file(io, "/d/f", sizes[i], seed), 0);
        ck_assert_int_eq(io_sync_directory(io, "/d", ERROR_IGNORED), 0);
        shadow_disk_crash(disk);
        check_file(io, "/d/f", sizes[i]);
        shadow_disk_delete(disk);
    }
}
END_TEST

START_TEST(any_failing_operation_leaves_no_file)
{
    static const enum shadow_fault faults[] = {SHADOW_FAULT_EIO, SHADOW_FAULT_ENOSPC};
    uint64_t seed = test_seed();

    for (int fault = 0; fault < 2; fault++) {
        for (uint64_t n = 1;; n++) {
            struct shadow_disk *disk = shadow_disk_new(seed + n);
            struct io *io = shadow_disk_io(disk);
            bool struck;
            int code;
            ck_assert_int_eq(io_make_directory(io, "/d", ERROR_IGNORED), 0);
            shadow_disk_fail_at(disk, shadow_disk_operations(disk) + n, faults[fault], false);
            code = write_file(io, "/d/f", MANY_BYTES, seed);
            struck = shadow_disk_struck(disk);
            ck_assert_msg(struck == (code != 0), "operation %llu", (unsigned long long)n);
            ck_assert(shadow_disk_has(disk, "/d/f") == !struck);
            shadow_disk_delete(disk);
            if (!struck)
                break;
            ck_assert_uint_lt(n, 100);
        }
    }
}
END_TEST

TEST_TABLE(TEST(files_of_all_sizes_read_back_as_they_were_written),
           TEST(finished_file_outlives_a_crash), TEST(any_failing_operation_leaves_no_file))
