/* Files of a later format are refused by name. They are not taken for damage, which would leave
 * their windows out, nor for a torn end, which would drop what was acknowledged. */
#include <fcntl.h>
#include <glob.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "store/append.h"
#include "store/files/backup_files.h"
#include "store/files/log_frame.h"
#include "store/files/manifest_format.h"
#include "store/files/table_internal.h"
#include "store/operations.h"
#include "store/store.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

/* A file in memory, written back when it is closed. */
struct patch {
    uint8_t *bytes;
    size_t size;
    uint64_t number; /* in its name */
};

static struct patch patch_open(const char *pattern)
{
    struct patch patch;
    char path[600];
    struct stat found;
    glob_t names;
    int file;

    snprintf(path, sizeof(path), "%s/%s", test_directory(), pattern);
    ck_assert_msg(glob(path, 0, NULL, &names) == 0, "%s", path);
    file = open(names.gl_pathv[0], O_RDWR);
    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(fstat(file, &found), 0);
    patch.size = (size_t)found.st_size;
    patch.bytes = mmap(NULL, patch.size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    ck_assert_ptr_ne(patch.bytes, MAP_FAILED);
    patch.number = 0;
    sscanf(strrchr(names.gl_pathv[0], '/'), "/%*[A-Z-]%llu", (unsigned long long *)&patch.number);
    if (patch.number == 0)
        sscanf(strrchr(names.gl_pathv[0], '/'), "/%llu", (unsigned long long *)&patch.number);
    close(file);
    globfree(&names);
    return patch;
}

static void make_newer_manifest(void)
{
    struct patch patch = patch_open("data/collections.d/news/3/MANIFEST-*");
    struct manifest_frame_header *header;
    size_t last = 0;

    /* The last edit: a torn one would be dropped without a word. */
    for (size_t at = 0; at < patch.size; at += MANIFEST_FRAME_ALIGNMENT)
        if (((struct manifest_frame_header *)(patch.bytes + at))->magic ==
            ((struct manifest_frame_header *)patch.bytes)->magic)
            last = at;
    ck_assert_uint_gt(last, 0);
    header = (struct manifest_frame_header *)(patch.bytes + last);
    header->version = MANIFEST_VERSION + 6;
    header->checksum = checksum_block(patch.bytes + last + sizeof(header->checksum),
                                      header->frame_bytes - sizeof(header->checksum),
                                      header->manifest_number, header->sequence, header->position);
    munmap(patch.bytes, patch.size);
}

/* The last frame of the log that takes appends. */
static void make_newer_log(void)
{
    uint32_t magic = 0;
    char pattern[] = "data/collections.d/news/3/00000?.log";
    struct log_frame_header *last = NULL;
    struct patch patch;

    for (char digit = '9'; digit > '0' && !last; digit--) {
        char path[600];
        pattern[strlen("data/collections.d/news/3/00000")] = digit;
        snprintf(path, sizeof(path), "%s/%s", test_directory(), pattern);
        if (access(path, F_OK) != 0)
            continue;
        patch = patch_open(pattern);
        magic = ((struct log_frame_header *)patch.bytes)->magic;
        for (size_t at = 0; magic != 0 && at < patch.size; at += LOG_FRAME_ALIGNMENT)
            if (((struct log_frame_header *)(patch.bytes + at))->magic == magic)
                last = (struct log_frame_header *)(patch.bytes + at);
        if (last) {
            last->version = LOG_FRAME_VERSION + 6;
            last->checksum = log_frame_checksum(last);
        }
        munmap(patch.bytes, patch.size);
    }
    ck_assert_ptr_nonnull(last);
}

static void make_newer_table(const char *pattern)
{
    struct patch patch = patch_open(pattern);
    struct table_footer *footer =
        (struct table_footer *)(patch.bytes + patch.size - sizeof(struct table_footer));

    footer->version = TABLE_VERSION + 6;
    footer->checksum = checksum_block(footer, offsetof(struct table_footer, checksum),
                                      footer->file_number, TABLE_PART_FOOTER, 0);
    munmap(patch.bytes, patch.size);
}

static void make_newer_chunk(void)
{
    make_newer_table("data/collections.d/news/3/*.chunk");
}

static void make_newer_run(void)
{
    make_newer_table("data/collections.d/news/3/*.run");
}

static void make_newer_mask(void)
{
    struct patch patch = patch_open("data/collections.d/news/3/*.mask");
    struct mask_header *header = (struct mask_header *)patch.bytes;
    uint64_t checksum;

    header->version = TABLE_VERSION + 6;
    checksum = checksum_block(patch.bytes, patch.size - sizeof(checksum), header->file_number,
                              TABLE_PART_MASK, header->table_number);
    memcpy(patch.bytes + patch.size - sizeof(checksum), &checksum, sizeof(checksum));
    munmap(patch.bytes, patch.size);
}

static void append(struct store_shard *shard, int64_t *offset, uint32_t first, uint32_t count,
                   int64_t time_ms)
{
    static struct fixture_group group;

    fixture_group_start(&group, *offset);
    for (uint32_t i = first; i < first + count; i++)
        fixture_group_put(&group, i, time_ms, 0, 8, false);
    ck_assert_int_eq(store_shard_append(shard, &group.group, ERROR_IGNORED), 0);
    *offset = group.group.next_offset;
}

/* A run with a mask, a chunk, and rows that are in the log only. Its files are left as a crash would. */
static void fill(const char *data_dir)
{
    struct store *store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
    struct store_shard *shard = fixture_shard(store, 1000, 0, STORE_DURABILITY_LOG);
    int64_t offset = 0;

    append(shard, &offset, 0, 40, 500);
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    ck_assert_int_eq(compact_seal(shard, 0, 1000, 0, ERROR_IGNORED), 0);
    append(shard, &offset, 0, 5, 1500); /* newer versions: the run gets a mask */
    ck_assert_int_eq(store_shard_flush(shard, ERROR_IGNORED), 0);
    append(shard, &offset, 50, 5, 1500);
    append(shard, &offset, 60, 5, 1500);
    fixture_abandon(&store, &shard);
}

START_TEST(store_with_a_file_of_a_later_format_is_refused)
{
    static const struct {
        void (*make_newer)(void);
        const char *name, *version;
    } cases[] = {{make_newer_manifest, "MANIFEST-", "version 7: a newer windrow wrote it"},
                 {make_newer_log, ".log", "version 7: a newer windrow wrote it"},
                 {make_newer_chunk, ".chunk", "version 7: a newer windrow wrote it"},
                 {make_newer_run, ".run", "version 7: a newer windrow wrote it"},
                 {make_newer_mask, ".mask", "version 7: a newer windrow wrote it"}};
    const struct store_shard_options options = {.collection = "news",
                                                .name = "3",
                                                .dim = FIXTURE_DIM,
                                                .metric = VECTOR_METRIC_L2,
                                                .window_ms = 1000};
    char data_dir[600], command[700];

    snprintf(data_dir, sizeof(data_dir), "%s/data", test_directory());
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct store_shard *shard = NULL;
        struct error error = {0};
        struct store *store;
        snprintf(command, sizeof(command), "rm -rf '%s'", data_dir);
        ck_assert_int_eq(system(command), 0);
        ck_assert_int_eq(mkdir(data_dir, 0700), 0);
        fill(data_dir);
        cases[i].make_newer();
        store = fixture_store(fixture_io(NULL), data_dir, 1 << 20);
        ck_assert_msg(store_shard_open(store, &options, &shard, &error) == ERROR_UNSUPPORTED,
                      "%s: %s", cases[i].name, error.text);
        ck_assert_msg(strstr(error.text, cases[i].name) && strstr(error.text, cases[i].version),
                      "%s: %s", cases[i].name, error.text);
        store_close(store);
    }
}
END_TEST

TEST_TABLE(TEST(store_with_a_file_of_a_later_format_is_refused))
