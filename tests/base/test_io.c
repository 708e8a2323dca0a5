#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "tests/support/test_main.h"

static const char *path_of(const char *name)
{
    static char paths[4][256];
    static int next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", test_directory(), name);
    return path;
}

static int open_ok(const char *path, unsigned flags)
{
    struct error error = {0};
    int file = -1;

    ck_assert_msg(io_open(io_posix(), path, flags, &file, &error) == 0, "%s", error.text);
    return file;
}

START_TEST(written_bytes_read_back)
{
    const char *path = path_of("a");
    struct io *io = io_posix();
    struct error error = {0};
    uint64_t size_bytes;
    char bytes[6] = "";
    const void *mapped;
    int file = open_ok(path, IO_WRITE | IO_CREATE | IO_EXCLUSIVE);

    ck_assert_int_eq(io_write(io, file, path, "hello", 5, 3, &error), 0);
    ck_assert_int_eq(io_datasync(io, file, path, &error), 0);
    ck_assert_int_eq(io_sync_directory(io, test_directory(), &error), 0);
    ck_assert_int_eq(io_size(io, file, path, &size_bytes, &error), 0);
    ck_assert_uint_eq(size_bytes, 8);
    ck_assert_int_eq(io_read(io, file, path, bytes, 5, 3, &error), 0);
    ck_assert_str_eq(bytes, "hello");
    ck_assert_int_eq(io_map(io, file, path, 8, &mapped, &error), 0);
    ck_assert_mem_eq(mapped, "\0\0\0hello", 8);
    io_unmap(io, mapped, 8);
    ck_assert_int_eq(io_truncate(io, file, path, 4, &error), 0);
    ck_assert_int_eq(io_size(io, file, path, &size_bytes, &error), 0);
    ck_assert_uint_eq(size_bytes, 4);
    ck_assert_int_eq(io_close(io, file, path, &error), 0);
}
END_TEST

START_TEST(errors_name_operation_and_path)
{
    struct io *io = io_posix();
    struct error error;
    char expected[400];
    char bytes[16];
    int file;

    ck_assert_int_eq(io_open(io, path_of("missing"), IO_READ, &file, &error), ERROR_NOT_FOUND);
    snprintf(expected, sizeof(expected), "open %s: No such file or directory", path_of("missing"));
    ck_assert_str_eq(error.text, expected);
    file = open_ok(path_of("short"), IO_WRITE | IO_CREATE);
    ck_assert_int_eq(io_write(io, file, "short", "abc", 3, 0, &error), 0);
    ck_assert_int_eq(io_read(io, file, "short", bytes, 16, 0, &error), ERROR_CORRUPT);
    ck_assert_str_eq(error.text, "read short: the file ends at byte 3, 13 bytes short");
    ck_assert_int_eq(
        io_open(io, path_of("short"), IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &file, &error),
        ERROR_EXISTS);
    ck_assert_int_eq(io_list(io, path_of("nowhere"), NULL, NULL, &error), ERROR_NOT_FOUND);
    ck_assert_int_eq(io_rename(io, path_of("nowhere"), path_of("x"), &error), ERROR_NOT_FOUND);
    ck_assert_int_eq(io_read(io, 9999, "closed", bytes, 1, 0, &error), ERROR_IO);
}
END_TEST

START_TEST(allocation_extends_with_zeros_and_keeps_what_is_there)
{
    const char *path = path_of("allocated");
    struct io *io = io_posix();
    struct error error = {0};
    struct stat info;
    uint8_t *bytes = malloc(1000000);
    int file = open_ok(path, IO_WRITE | IO_CREATE);

    ck_assert_int_eq(io_write(io, file, path, "abc", 3, 0, &error), 0);
    ck_assert_int_eq(io_allocate(io, file, path, 1000000, &error), 0);
    ck_assert_int_eq(io_read(io, file, path, bytes, 1000000, 0, &error), 0);
    ck_assert_mem_eq(bytes, "abc", 3);
    for (int i = 3; i < 1000000; i++)
        ck_assert_uint_eq(bytes[i], 0);
    ck_assert_int_eq(fstat(file, &info), 0);
    ck_assert_int_eq(info.st_size, 1000000);
    ck_assert_int_ge(info.st_blocks * 512, 1000000);
    ck_assert_int_eq(io_allocate(io, file, path, 10, &error), 0);
    ck_assert_int_eq(fstat(file, &info), 0);
    ck_assert_int_eq(info.st_size, 1000000);
    ck_assert_int_eq(io_close(io, file, path, &error), 0);
    free(bytes);
}
END_TEST

START_TEST(direct_writes_go_through_or_say_unsupported)
{
    const char *path = path_of("direct");
    struct io *io = io_posix();
    struct error error = {0};
    void *block = aligned_alloc(4096, 4096);
    int file;
    int result = io_open(io, path, IO_WRITE | IO_CREATE | IO_DIRECT, &file, &error);

    if (result == 0) {
        memset(block, 'x', 4096);
        ck_assert_int_eq(io_allocate(io, file, path, 8192, &error), 0);
        ck_assert_int_eq(io_write(io, file, path, block, 4096, 4096, &error), 0);
        memset(block, 0, 4096);
        ck_assert_int_eq(io_read(io, file, path, block, 4096, 4096, &error), 0);
        ck_assert_int_eq(((char *)block)[4095], 'x');
        ck_assert_int_eq(io_close(io, file, path, &error), 0);
    } else {
        ck_assert_int_eq(result, ERROR_UNSUPPORTED);
    }
    free(block);
}
END_TEST

START_TEST(a_lock_held_elsewhere_is_busy)
{
    const char *path = path_of("LOCK");
    struct io *io = io_posix();
    struct error error = {0};
    int first = open_ok(path, IO_WRITE | IO_CREATE);
    int second = open_ok(path, IO_WRITE);

    ck_assert_int_eq(io_lock(io, first, path, &error), 0);
    ck_assert_int_eq(io_lock(io, second, path, &error), ERROR_BUSY);
    ck_assert_int_eq(io_close(io, first, path, &error), 0);
    ck_assert_int_eq(io_lock(io, second, path, &error), 0);
    ck_assert_int_eq(io_close(io, second, path, &error), 0);
}
END_TEST

static int count_name(void *context, const char *name)
{
    int *counts = context;

    if (strcmp(name, "one") == 0 || strcmp(name, "two") == 0)
        counts[0]++;
    counts[1]++;
    return counts[1] == counts[2];
}

START_TEST(folders_are_made_listed_and_removed)
{
    struct io *io = io_posix();
    struct error error = {0};
    char folder[256], one[300], two[300], three[300];
    int counts[3] = {0};

    snprintf(folder, sizeof(folder), "%s", path_of("folder"));
    snprintf(one, sizeof(one), "%s/one", folder);
    snprintf(two, sizeof(two), "%s/two", folder);
    snprintf(three, sizeof(three), "%s/three", folder);
    ck_assert_int_eq(io_make_directory(io, folder, &error), 0);
    ck_assert_int_eq(io_make_directory(io, folder, &error), 0);
    ck_assert_int_eq(io_close(io, open_ok(one, IO_WRITE | IO_CREATE), one, &error), 0);
    ck_assert_int_eq(io_make_directory(io, one, &error), ERROR_IO);
    ck_assert_int_eq(io_link(io, one, two, &error), 0);
    ck_assert_int_eq(io_link(io, one, two, &error), ERROR_EXISTS);
    ck_assert_int_eq(io_list(io, folder, count_name, counts, &error), 0);
    ck_assert(counts[0] == 2 && counts[1] == 2);
    counts[1] = 0;
    counts[2] = 1;
    ck_assert_int_eq(io_list(io, folder, count_name, counts, &error), 0);
    ck_assert_int_eq(counts[1], 1);
    ck_assert_int_ne(io_remove_directory(io, folder, &error), 0);
    ck_assert_int_eq(io_rename(io, two, three, &error), 0);
    ck_assert_int_eq(io_unlink(io, two, &error), 0);
    ck_assert_int_eq(io_unlink(io, three, &error), 0);
    ck_assert_int_eq(io_unlink(io, one, &error), 0);
    ck_assert_int_eq(io_remove_directory(io, folder, &error), 0);
}
END_TEST

/* A device that gives and takes a few bytes at a time, then fails. */
struct slow_io {
    struct io io;
    uint8_t bytes[64];
    size_t step;
    int failures_from; /* calls until errno EIO; negative: never */
    int calls;
};

static int64_t slow_pread(struct io *io, int file, void *bytes, size_t size_bytes, uint64_t offset)
{
    struct slow_io *slow = (struct slow_io *)io;
    size_t count = size_bytes < slow->step ? size_bytes : slow->step;

    (void)file;
    if (slow->failures_from >= 0 && slow->calls++ >= slow->failures_from)
        return -EIO;
    memcpy(bytes, slow->bytes + offset, count);
    return (int64_t)count;
}

static int64_t slow_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                           uint64_t offset)
{
    struct slow_io *slow = (struct slow_io *)io;
    size_t count = size_bytes < slow->step ? size_bytes : slow->step;

    (void)file;
    if (slow->failures_from >= 0 && slow->calls++ >= slow->failures_from)
        return -EIO;
    memcpy(slow->bytes + offset, bytes, count);
    return (int64_t)count;
}

static const struct io_operations slow_operations = {.pread = slow_pread, .pwrite = slow_pwrite};

START_TEST(short_transfers_go_on_and_a_failure_is_not_retried)
{
    struct slow_io slow = {{&slow_operations}, {0}, 3, -1, 0};
    struct error error;
    char bytes[21] = "";

    ck_assert_int_eq(io_write(&slow.io, 0, "p", "abcdefghijklmnopqrst", 20, 5, &error), 0);
    ck_assert_int_eq(io_read(&slow.io, 0, "p", bytes, 20, 5, &error), 0);
    ck_assert_str_eq(bytes, "abcdefghijklmnopqrst");
    slow.failures_from = 2;
    ck_assert_int_eq(io_write(&slow.io, 0, "p", bytes, 20, 0, &error), ERROR_IO);
    ck_assert_int_eq(slow.calls, 3);
    ck_assert_str_eq(error.text, "write p: Input/output error");
    slow.step = 0;
    slow.failures_from = -1;
    ck_assert_int_eq(io_write(&slow.io, 0, "p", bytes, 20, 0, &error), ERROR_IO);
}
END_TEST

START_TEST(clocks_run_and_random_bytes_differ)
{
    struct io *io = io_posix();
    uint8_t a[40] = {0}, b[40] = {0};
    int64_t before_ns = io_monotonic_ns(io);

    ck_assert_int_gt(io_wall_ms(io), INT64_C(1577836800000)); /* 2020 */
    ck_assert_int_ge(io_monotonic_ns(io), before_ns);
    io_random(io, a, sizeof(a));
    io_random(io, b, sizeof(b));
    ck_assert_mem_ne(a, b, sizeof(a));
}
END_TEST

enum { MANY = 300, MANY_FILE_BYTES = 200 * IO_PAGE_BYTES + 100 };

static uint8_t byte_at(uint64_t offset)
{
    return (uint8_t)(offset * 31 + offset / IO_PAGE_BYTES);
}

static struct io_mapping map_pattern(const char *path)
{
    struct io_mapping mapping = {
        .io = io_posix(), .path = path, .size_bytes = MANY_FILE_BYTES, .file = -1};
    uint8_t *bytes = malloc(MANY_FILE_BYTES);
    int file = open_ok(path, IO_WRITE | IO_CREATE | IO_TRUNCATE);
    struct error error;
    const void *mapped;

    for (uint64_t i = 0; i < MANY_FILE_BYTES; i++)
        bytes[i] = byte_at(i);
    ck_assert_int_eq(io_write(io_posix(), file, path, bytes, MANY_FILE_BYTES, 0, &error), 0);
    ck_assert_int_eq(io_datasync(io_posix(), file, path, &error), 0);
    ck_assert_int_eq(io_map(io_posix(), file, path, MANY_FILE_BYTES, &mapped, &error), 0);
    ck_assert_int_eq(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
    ck_assert_int_eq(io_close(io_posix(), file, path, &error), 0);
    mapping.bytes = mapped;
    free(bytes);
    return mapping;
}

/* More than the kernel is given at once, of one to three pages, the last ones beyond the file's end. */
START_TEST(many_reads_bring_what_the_file_has)
{
    struct io_mapping mapping = map_pattern(path_of("many"));
    uint8_t *room = aligned_alloc(IO_PAGE_BYTES, MANY * 3 * IO_PAGE_BYTES);
    struct io_read reads[MANY];

    for (uint32_t i = 0; i < MANY; i++)
        reads[i] = (struct io_read){.mapping = &mapping,
                                    .offset = (uint64_t)(i * 67 % 201) * IO_PAGE_BYTES,
                                    .size_bytes = (1 + i % 3) * IO_PAGE_BYTES,
                                    .bytes = room + (size_t)i * 3 * IO_PAGE_BYTES};
    io_read_many(reads, MANY);
    for (uint32_t i = 0; i < MANY; i++) {
        uint64_t left = MANY_FILE_BYTES - reads[i].offset;
        ck_assert_int_eq(reads[i].got,
                         (int64_t)(left < reads[i].size_bytes ? left : reads[i].size_bytes));
        for (int64_t at = 0; at < reads[i].got; at++)
            ck_assert_uint_eq(reads[i].bytes[at], byte_at(reads[i].offset + (uint64_t)at));
    }
    io_mapping_close(&mapping);
    io_unmap(io_posix(), mapping.bytes, MANY_FILE_BYTES);
    free(room);
}
END_TEST

START_TEST(a_read_of_a_file_that_is_gone_says_so)
{
    struct io_mapping mapping = map_pattern(path_of("gone"));
    uint8_t *room = aligned_alloc(IO_PAGE_BYTES, 2 * IO_PAGE_BYTES);
    struct io_read reads[2] = {{&mapping, 0, IO_PAGE_BYTES, room, 0},
                               {&mapping, IO_PAGE_BYTES, IO_PAGE_BYTES, room + IO_PAGE_BYTES, 0}};
    struct error error;

    ck_assert_int_eq(io_unlink(io_posix(), mapping.path, &error), 0);
    io_read_many(reads, 2);
    ck_assert_int_lt(reads[0].got, 0);
    ck_assert_int_lt(reads[1].got, 0);
    ck_assert_uint_eq(mapping.bytes[5000], byte_at(5000));
    io_mapping_close(&mapping);
    io_unmap(io_posix(), mapping.bytes, MANY_FILE_BYTES);
    free(room);
}
END_TEST

START_TEST(pages_that_were_given_up_are_not_resident_until_they_are_touched)
{
    struct io_mapping mapping = map_pattern(path_of("resident"));
    struct io_thread_reads before = io_thread_reads();
    const uint8_t *middle = mapping.bytes + 100 * IO_PAGE_BYTES;

    if (io_is_resident(&mapping, middle, 10))
        test_skip("this file system keeps its pages");
    io_expect_random(io_posix(), mapping.bytes, MANY_FILE_BYTES);
    ck_assert_uint_eq(*(const volatile uint8_t *)middle, byte_at(100 * IO_PAGE_BYTES));
    ck_assert(io_is_resident(&mapping, middle + 5, 10));
    ck_assert(!io_is_resident(&mapping, middle + IO_PAGE_BYTES - 5, 10)); /* the next page */
    ck_assert_uint_eq(io_thread_reads().pages, before.pages + 1);
    ck_assert_uint_eq(io_thread_reads().waits, before.waits + 1);
    io_fetch(io_posix(), &(struct io_range){middle + 50 * IO_PAGE_BYTES, 10}, 1);
    ck_assert_uint_eq(io_thread_reads().pages, before.pages + 2);
    io_unmap(io_posix(), mapping.bytes, MANY_FILE_BYTES);
}
END_TEST

TEST_TABLE(TEST(written_bytes_read_back), TEST(errors_name_operation_and_path),
           TEST(allocation_extends_with_zeros_and_keeps_what_is_there),
           TEST(direct_writes_go_through_or_say_unsupported), TEST(a_lock_held_elsewhere_is_busy),
           TEST(folders_are_made_listed_and_removed),
           TEST(short_transfers_go_on_and_a_failure_is_not_retried),
           TEST(many_reads_bring_what_the_file_has), TEST(a_read_of_a_file_that_is_gone_says_so),
           TEST(pages_that_were_given_up_are_not_resident_until_they_are_touched),
           TEST(clocks_run_and_random_bytes_differ))
