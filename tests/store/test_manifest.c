/* The manifest: edits survive, damage is told from a torn end, files roll. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/files/manifest.h"
#include "store/files/manifest_format.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

static struct manifest *reopen(struct manifest *manifest)
{
    struct error error = {0};
    struct manifest *opened = NULL;

    manifest_close(manifest);
    ck_assert_msg(manifest_open(io_posix(), test_directory(), 8, 1, &opened, &error) == 0, "%s",
                  error.text);
    return opened;
}

static struct manifest_table make_table(uint64_t number)
{
    return (struct manifest_table){
        .description = {.kind = TABLE_RUN,
                        .file_number = number,
                        .dim = 8,
                        .window_start_ms = (int64_t)number * 1000,
                        .window_length_ms = 1000,
                        .generation = 2},
        .info = {.row_count = number * 3, .footer_checksum = number * 77, .max_offset = 5},
        .sealed = true,
        .segment = {.file_number = number + 1, .bytes = 9, .kind = SEGMENT_HNSW, .recall = 0.97}};
}

static void commit(struct manifest *manifest, struct manifest_edit *edit)
{
    struct error error = {0};

    ck_assert_msg(manifest_commit(manifest, edit, &error) == 0, "%s", error.text);
    manifest_edit_destroy(edit);
    *edit = (struct manifest_edit){0};
}

START_TEST(edits_are_there_after_opening_again)
{
    struct manifest *manifest = reopen(NULL);
    struct manifest_edit edit = {0};
    struct manifest_table table = make_table(10);
    const struct manifest_table *found;
    const struct store_clock clock = {
        .watermark_ms = 1, .last_record_wall_ms = 2, .safe_wall_ms = 3};
    const struct store_topic_fingerprint topic = {98, 0xfeed};
    struct manifest_log log = {.number = 30,
                               .log_generation = 4,
                               .salt = 5,
                               .first_sequence = 6,
                               .active = 1,
                               .durable = 1};

    manifest_edit_table(&edit, &table);
    manifest_edit_mask(&edit, 10, 20, 64);
    manifest_edit_log_use(&edit, &log);
    manifest_edit_progress(&edit, 100, 7, &clock);
    manifest_edit_topic_fingerprint(&edit, &topic);
    commit(manifest, &edit);
    manifest = reopen(manifest);
    found = manifest_state_table(&manifest->state, 10);
    ck_assert_ptr_nonnull(found);
    ck_assert_uint_eq(found->info.footer_checksum, 770);
    ck_assert_uint_eq(found->mask_number, 20);
    ck_assert_int_eq(found->segment.kind, SEGMENT_HNSW);
    ck_assert_double_eq(found->segment.recall, 0.97);
    ck_assert_uint_eq(found->description.dim, 8);
    ck_assert_int_eq(manifest->state.next_offset, 100);
    ck_assert_int_eq(manifest->state.topic.offset, 98);
    ck_assert_uint_eq(manifest->state.topic.hash, 0xfeed);
    ck_assert_int_eq(manifest->state.clock.safe_wall_ms, 3);
    ck_assert_uint_gt(manifest->state.next_log_generation, 4);
    ck_assert(manifest_state_refers(&manifest->state, 11) && "its segment");
    ck_assert(manifest_state_refers(&manifest->state, 20) && "its mask");
    ck_assert(manifest_state_log(&manifest->state, 30)->active);

    manifest_edit_table_drop(&edit, 10);
    manifest_edit_log_done(&edit, 30);
    commit(manifest, &edit);
    manifest = reopen(manifest);
    ck_assert_uint_eq(manifest->state.table_count, 0);
    ck_assert_uint_eq(manifest->state.dropped_count, 3);
    ck_assert(!manifest_state_log(&manifest->state, 30)->active);
    manifest_close(manifest);
}
END_TEST

START_TEST(numbers_are_never_handed_out_twice)
{
    struct manifest *manifest = reopen(NULL);
    uint64_t last = 0;

    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 100; i++) {
            uint64_t number;
            ck_assert_int_eq(manifest_reserve(manifest, &number, ERROR_IGNORED), 0);
            ck_assert_uint_gt(number, last);
            ck_assert_uint_lt(number, manifest->state.next_file_number);
            last = number;
        }
        manifest = reopen(manifest);
    }
    manifest_close(manifest);
}
END_TEST

START_TEST(manifest_rolls_over_and_the_old_file_goes)
{
    struct manifest *manifest = reopen(NULL);
    struct manifest_edit edit = {0};
    char old_path[512];

    manifest->roll_bytes = 64 * 1024;
    snprintf(old_path, sizeof(old_path), "%s", manifest->path);
    for (uint64_t i = 1; i <= 50; i++) {
        struct manifest_table table = make_table(i * 10);
        manifest_edit_table(&edit, &table);
        if (i > 3)
            manifest_edit_table_drop(&edit, (i - 3) * 10);
        commit(manifest, &edit);
    }
    ck_assert_uint_gt(manifest->manifest_number, 1);
    ck_assert_int_ne(access(old_path, F_OK), 0);
    manifest = reopen(manifest);
    ck_assert_uint_eq(manifest->state.table_count, 3);
    ck_assert_ptr_nonnull(manifest_state_table(&manifest->state, 500));
    manifest_close(manifest);
}
END_TEST

static void damage(const char *path, off_t offset, const void *bytes, size_t size)
{
    int file = open(path, O_WRONLY | O_CLOEXEC);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(pwrite(file, bytes, size, offset), (ssize_t)size);
    ck_assert_int_eq(close(file), 0);
}

/* Three edits behind the first frame; returns the path. */
static void make_history(char *path, size_t path_bytes)
{
    struct manifest *manifest = reopen(NULL);
    struct manifest_edit edit = {0};

    for (uint64_t i = 1; i <= 3; i++) {
        struct manifest_table table = make_table(i * 10);
        manifest_edit_table(&edit, &table);
        commit(manifest, &edit);
    }
    snprintf(path, path_bytes, "%s", manifest->path);
    manifest_close(manifest);
}

START_TEST(torn_last_edit_does_not_count)
{
    struct manifest *manifest;
    char path[512];

    make_history(path, sizeof(path));
    damage(path, 3 * 4096 + 100, "torn", 4);
    manifest = reopen(NULL);
    ck_assert_uint_eq(manifest->state.table_count, 2);
    ck_assert_uint_gt(manifest->manifest_number, 1); /* nothing is written behind a torn end */
    manifest_close(manifest);
}
END_TEST

START_TEST(damaged_edit_before_others_fails_the_opening)
{
    static const off_t places[] = {8, 100, 4096, 4096 + 70, 2 * 4096 + 4000};
    char path[512];

    make_history(path, sizeof(path));
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        struct manifest *manifest = NULL;
        struct error error = {0};
        uint8_t before;
        uint8_t after;
        int file = open(path, O_RDONLY | O_CLOEXEC);
        ck_assert_int_eq(pread(file, &before, 1, places[i]), 1);
        close(file);
        after = before ^ 0x10;
        damage(path, places[i], &after, 1);
        ck_assert_int_eq(manifest_open(io_posix(), test_directory(), 8, 1, &manifest, &error),
                         ERROR_CORRUPT);
        damage(path, places[i], &before, 1);
    }
    manifest_close(reopen(NULL));
}
END_TEST

START_TEST(damaged_or_missing_current_fails_the_opening)
{
    struct manifest *manifest = NULL;
    struct error error = {0};
    char path[512];
    int file;

    make_history(path, sizeof(path));
    snprintf(path, sizeof(path), "%s/CURRENT", test_directory());
    damage(path, 12, "7", 1);
    ck_assert_int_eq(manifest_open(io_posix(), test_directory(), 8, 1, &manifest, &error),
                     ERROR_CORRUPT);
    ck_assert_int_eq(unlink(path), 0);
    snprintf(path, sizeof(path), "%s/000010.run", test_directory());
    file = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    ck_assert_int_ge(file, 0);
    close(file);
    ck_assert_int_eq(manifest_open(io_posix(), test_directory(), 8, 1, &manifest, &error),
                     ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "no CURRENT"), "%s", error.text);
}
END_TEST

/* Manifests from before the fingerprint was kept have progress alone: what was known of an earlier
 * offset must not be taken for it. */
START_TEST(progress_without_a_mark_takes_the_old_one_away)
{
    static const struct store_topic_fingerprint bad[] = {{100, 1}, {-1, 1}, {INT64_MAX, 1}};
    const struct store_clock clock = {
        .watermark_ms = 1, .last_record_wall_ms = 2, .safe_wall_ms = 3};
    const struct store_topic_fingerprint topic = {98, 0xfeed};
    const struct store_topic_fingerprint none = {0};
    struct manifest *manifest = reopen(NULL);
    struct manifest_edit edit = {0};

    manifest_edit_progress(&edit, 100, 7, &clock);
    manifest_edit_topic_fingerprint(&edit, &topic);
    commit(manifest, &edit);
    manifest_edit_clock(&edit, &clock);
    commit(manifest, &edit);
    ck_assert_uint_eq(manifest->state.topic.hash, 0xfeed);
    manifest_edit_progress(&edit, 100, 8, &clock);
    manifest_edit_topic_fingerprint(&edit, &none);
    commit(manifest, &edit);
    manifest = reopen(manifest);
    ck_assert_int_eq(manifest->state.next_offset, 100);
    ck_assert_uint_eq(manifest->state.topic.hash, 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        manifest_edit_topic_fingerprint(&edit, &bad[i]);
        ck_assert_int_eq(
            manifest_state_apply(&manifest->state, edit.body.data, edit.body.size, ERROR_IGNORED),
            ERROR_CORRUPT);
        manifest_edit_destroy(&edit);
        edit = (struct manifest_edit){0};
    }
    manifest_close(manifest);
}
END_TEST

START_TEST(the_ownership_of_the_last_edit_is_there_after_opening_again)
{
    struct manifest *manifest = reopen(NULL);
    struct store_ownership none = manifest->state.ownership, former;
    struct manifest_state copy;
    struct manifest_edit edit = {0};

    ck_assert_int_eq(none.generation, 0);
    former = manifest_set_ownership(manifest, (struct store_ownership){77, 5});
    ck_assert_int_eq(former.generation, 0);
    manifest = reopen(manifest); /* nothing was written under it */
    ck_assert_int_eq(manifest->state.ownership.generation, 0);

    (void)manifest_set_ownership(manifest, (struct store_ownership){77, 5});
    manifest_edit_forget(&edit, 3);
    commit(manifest, &edit);
    manifest = reopen(manifest);
    ck_assert_uint_eq(manifest->state.ownership.group, 77);
    ck_assert_int_eq(manifest->state.ownership.generation, 5);

    /* The first frame of the next file has it, too, and what is copied. */
    manifest->roll_bytes = 1;
    for (int i = 0; i < 8; i++) {
        manifest_edit_forget(&edit, 3);
        commit(manifest, &edit);
    }
    ck_assert_uint_gt(manifest->manifest_number, 1);
    manifest_copy_state(manifest, &copy);
    ck_assert_int_eq(copy.ownership.generation, 5);
    manifest_state_destroy(&copy);
    manifest = reopen(manifest);
    former = manifest_set_ownership(manifest, (struct store_ownership){77, 6});
    ck_assert_int_eq(former.generation, 5);
    manifest_close(manifest);
}
END_TEST

START_TEST(hostile_edits_are_refused)
{
    uint64_t random = test_seed();
    struct manifest_edit edit = {0};
    struct manifest_table table = make_table(10);
    const struct store_clock clock = {
        .watermark_ms = 1, .last_record_wall_ms = 2, .safe_wall_ms = 3};
    const struct store_topic_fingerprint topic = {98, 0xfeed};
    unsigned refused = 0;

    manifest_edit_identity(&edit, 8, 1);
    manifest_edit_table(&edit, &table);
    manifest_edit_table_drop(&edit, 10);
    manifest_edit_progress(&edit, 100, 7, &clock);
    manifest_edit_topic_fingerprint(&edit, &topic);
    for (int i = 0; i < 20000; i++) {
        struct manifest_state state = {.next_offset = -1};
        size_t size = (size_t)(test_random(&random) % (edit.body.size + 1));
        uint8_t *bytes = malloc(size ? size : 1);
        ck_assert_ptr_nonnull(bytes);
        memcpy(bytes, edit.body.data, size);
        for (uint64_t flips = test_random(&random) % 4; flips > 0 && size > 0; flips--)
            bytes[test_random(&random) % size] = (uint8_t)test_random(&random);
        refused += manifest_state_apply(&state, bytes, size, ERROR_IGNORED) != 0;
        manifest_state_destroy(&state);
        free(bytes);
    }
    ck_assert_uint_gt(refused, 1000);
    manifest_edit_destroy(&edit);
}
END_TEST

TEST_TABLE(TEST(the_ownership_of_the_last_edit_is_there_after_opening_again),
           TEST(edits_are_there_after_opening_again), TEST(numbers_are_never_handed_out_twice),
           TEST(manifest_rolls_over_and_the_old_file_goes), TEST(torn_last_edit_does_not_count),
           TEST(damaged_edit_before_others_fails_the_opening),
           TEST(damaged_or_missing_current_fails_the_opening),
           TEST(progress_without_a_mark_takes_the_old_one_away), TEST(hostile_edits_are_refused))
