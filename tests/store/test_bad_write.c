/* A disk that writes other bytes than it was given: a seal reads the vectors of its run back before
 * the log files with the only other copy of them may go. */
#include <string.h>

#include "store/append.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { WINDOW_MS = 1000, START_MS = 900000, NOW_MS = 1000000, GROUPS = 12, HANDLES_MAX = 4096 };

static struct {
    struct io io;
    struct io_operations operations;
    bool bad;                     /* from now on */
    bool of_vectors[HANDLES_MAX]; /* by handle */
    unsigned spoilt;              /* writes */
} disk;

static int disk_open(struct io *io, const char *path, unsigned flags)
{
    int file = io_posix()->operations->open(io, path, flags);

    if (file >= 0 && file < HANDLES_MAX)
        disk.of_vectors[file] = (flags & IO_WRITE) && strstr(path, ".vectors");
    return file;
}

static int64_t disk_pwrite(struct io *io, int file, const void *bytes, size_t size_bytes,
                           uint64_t offset)
{
    static uint8_t copy[1 << 20];

    if (!disk.bad || file >= HANDLES_MAX || !disk.of_vectors[file] || size_bytes > sizeof(copy))
        return io_posix()->operations->pwrite(io, file, bytes, size_bytes, offset);
    memcpy(copy, bytes, size_bytes);
    copy[size_bytes / 3] ^= 0x10;
    disk.spoilt++;
    return io_posix()->operations->pwrite(io, file, copy, size_bytes, offset);
}

static int64_t disk_wall_ms(struct io *io)
{
    (void)io;
    return NOW_MS;
}

static struct io *disk_create(void)
{
    disk.operations = *io_posix()->operations;
    disk.operations.open = disk_open;
    disk.operations.pwrite = disk_pwrite;
    disk.operations.wall_ms = disk_wall_ms;
    disk.io.operations = &disk.operations;
    return &disk.io;
}

START_TEST(a_seal_notices_what_was_written_wrong_and_keeps_the_logs)
{
    static struct fixture_group group;
    struct store *store = fixture_store(disk_create(), test_directory(), 256 * 1024);
    struct store_shard *shard = fixture_shard(store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
    struct model model = {.next_offset = -1};
    struct error error = {0};
    const char *problem;
    uint64_t random = test_seed();

    for (int i = 0; i < GROUPS; i++) {
        fixture_group_random(&group, &random, model.next_offset, 32, 300, START_MS,
                             START_MS + WINDOW_MS);
        ck_assert_int_eq(store_shard_append(shard, &group.group, &error), 0);
        model_apply(&model, &group.group);
    }
    disk.bad = true;
    ck_assert_int_eq(compact_seal(shard, START_MS, WINDOW_MS, NOW_MS, &error), ERROR_CORRUPT);
    ck_assert_uint_gt(disk.spoilt, 0);
    problem = fixture_check(shard, &model, NOW_MS, 0);
    ck_assert_msg(!problem, "%s", problem);

    disk.bad = false;
    error = (struct error){0};
    ck_assert_msg(compact_seal(shard, START_MS, WINDOW_MS, NOW_MS, &error) == 0, "%s", error.text);
    problem = fixture_check(shard, &model, NOW_MS, 0);
    ck_assert_msg(!problem, "%s", problem);
    ck_assert_int_eq(store_shard_close(shard, true, &error), 0);
    store_close(store);
    model_destroy(&model);
}
END_TEST

TEST_TABLE(TEST(a_seal_notices_what_was_written_wrong_and_keeps_the_logs))
