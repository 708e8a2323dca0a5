/* verify finds every change of every byte that the store would ever read, and nothing in a sound
 * folder; inspect describes each of its files. */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/doc.h"
#include "store/append.h"
#include "store/attach.h"
#include "store/files/log_frame.h"
#include "store/store.h"
#include "store/tools/inspect.h"
#include "store/tools/verify.h"
#include "tests/support/compact.h"
#include "tests/support/shard_fixture.h"
#include "tests/support/test_main.h"

enum { PAGE_BYTES = 4096, WINDOW_MS = 1000, FILES_MAX = 64 };

struct folder {
    struct io *io;
    char data_dir[256];
    char shard[300];
    char names[FILES_MAX][256];
    size_t count;
};

static void release_nothing(void *object)
{
    (void)object;
}

static void append(struct store_shard *shard, uint64_t *random, int64_t *next_offset,
                   int64_t now_ms, int groups)
{
    struct fixture_group *group = calloc(1, sizeof(*group));
    struct error error = {0};

    for (int i = 0; i < groups; i++) {
        fixture_group_random(group, random, *next_offset, 20, 200, now_ms - 3 * WINDOW_MS, now_ms);
        ck_assert_msg(store_shard_append(shard, &group->group, &error) == 0, "%s", error.text);
        *next_offset = group->group.next_offset;
    }
    free(group);
}

/* To the window's run, and another one as a span over it. */
static void attach_segment(struct store_shard *shard, const struct store_window_info *window,
                           bool as_span)
{
    const struct store_span_part part = {.window_start_ms = window->start_ms,
                                         .file_number = window->run.file_number,
                                         .row_count = (uint32_t)window->run.rows};
    struct store_segment segment = {.info = {.kind = SEGMENT_FLAT, .recall = 1}};
    struct error error = {0};
    char path[PATH_MAX], final[PATH_MAX];
    char bytes[5000];
    FILE *file;

    memset(bytes, 7, sizeof(bytes));
    store_shard_reserve_segment(shard, &segment.info.file_number, path, sizeof(path));
    file = fopen(path, "wb");
    ck_assert_uint_eq(fwrite(bytes, 1, sizeof(bytes), file), sizeof(bytes));
    ck_assert_int_eq(fclose(file), 0);
    (void)snprintf(final, sizeof(final), "%.*s", (int)(strlen(path) - 4), path);
    ck_assert_int_eq(rename(path, final), 0);
    segment.info.bytes = sizeof(bytes);
    segment.object = shard;
    segment.release = release_nothing;
    ck_assert_msg((as_span
                       ? store_shard_attach_span(shard, &segment, 1, WINDOW_MS, &part, 1, &error)
                       : store_shard_attach(shard, window->run.file_number, &segment, &error)) == 0,
                  "%s", error.text);
}

static void list_files(struct folder *folder)
{
    DIR *directory = opendir(folder->shard);
    struct dirent *entry;

    ck_assert_ptr_nonnull(directory);
    folder->count = 0;
    while ((entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        ck_assert_uint_lt(folder->count, FILES_MAX);
        (void)snprintf(folder->names[folder->count++], 256, "%s", entry->d_name);
    }
    closedir(directory);
}

/* A run with a segment, a span and a mask, chunks of other windows, and records that only the log has. */
static void create(struct folder *folder)
{
    uint64_t random = test_seed();
    int64_t *wall_ms;
    int64_t next_offset = 0;
    struct store_shard_info info;
    struct store_shard *shard;
    struct store *store;
    struct arena arena;
    struct error error = {0};

    folder->io = fixture_io(&wall_ms);
    *wall_ms = 1700000000000;
    (void)snprintf(folder->data_dir, sizeof(folder->data_dir), "%s/data", test_directory());
    (void)snprintf(folder->shard, sizeof(folder->shard), "%s/collections.d/news/3",
                   folder->data_dir);
    store = fixture_store(folder->io, folder->data_dir, 1 << 20);
    shard = fixture_shard(store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
    append(shard, &random, &next_offset, *wall_ms, 10);
    ck_assert_msg(store_shard_flush(shard, &error) == 0, "%s", error.text);
    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    ck_assert_msg(compact_seal(shard, info.windows[0].start_ms, WINDOW_MS, *wall_ms, &error) == 0,
                  "%s", error.text);
    store_shard_describe(shard, &arena, &info);
    attach_segment(shard, &info.windows[0], false);
    attach_segment(shard, &info.windows[0], true);
    append(shard, &random, &next_offset, *wall_ms, 6); /* overwrites rows of the run: a mask */
    ck_assert_msg(store_shard_flush(shard, &error) == 0, "%s", error.text);
    append(shard, &random, &next_offset, *wall_ms, 4);
    ck_assert_msg(store_shard_close(shard, false, &error) == 0, "%s", error.text);
    store_close(store);
    arena_destroy(&arena);
    list_files(folder);
}

static bool finds(const struct folder *folder)
{
    struct buffer findings = {0};
    struct error error = {0};
    int result = store_verify(folder->io, folder->data_dir, NULL, &findings, &error);
    bool found = findings.size > 0;

    ck_assert_int_eq(result, found ? ERROR_CORRUPT : 0);
    buffer_destroy(&findings);
    return found;
}

static const char *path_of(const struct folder *folder, const char *name)
{
    static char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/%s", folder->shard, name);
    return path;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t length = strlen(name), tail = strlen(suffix);

    return length >= tail && strcmp(name + length - tail, suffix) == 0;
}

static uint8_t *read_whole(const char *path, size_t *size_bytes)
{
    FILE *file = fopen(path, "rb");
    struct stat info;
    uint8_t *bytes;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fstat(fileno(file), &info), 0);
    *size_bytes = (size_t)info.st_size;
    bytes = aligned_alloc(64, (*size_bytes + 64) / 64 * 64);
    ck_assert_uint_eq(fread(bytes, 1, *size_bytes, file), *size_bytes);
    fclose(file);
    return bytes;
}

static void write_at(const char *path, const uint8_t *bytes, size_t size_bytes, size_t offset)
{
    int file = open(path, O_WRONLY);

    ck_assert_int_ge(file, 0);
    ck_assert_int_eq(pwrite(file, bytes, size_bytes, (off_t)offset), (ssize_t)size_bytes);
    close(file);
}

/* Where a log's frames end; behind that lie zeros or an earlier use. The last frame of a flushed
 * log is of interest for its vectors only, so that it is left out when a whole one is not needed.
 */
static size_t end_of_frames(const uint8_t *bytes, size_t size_bytes, size_t *last)
{
    const struct log_frame_header *header = (const struct log_frame_header *)bytes;
    struct log_frame_identity identity = {header->file_number, header->log_generation, header->salt,
                                          0};
    struct log_frame frame;

    *last = 0;
    while (identity.position < size_bytes &&
           log_frame_parse(bytes + identity.position, size_bytes - identity.position, &identity, 0,
                           &frame, ERROR_IGNORED) == 0) {
        *last = identity.position;
        identity.position += frame.header->frame_bytes;
    }
    return identity.position;
}

START_TEST(sound_folder_has_no_findings)
{
    struct folder folder;
    int kinds[7] = {0};
    static const char *const suffixes[] = {".log",  ".chunk",   ".run",   ".vectors",
                                           ".mask", ".segment", "CURRENT"};

    create(&folder);
    ck_assert(!finds(&folder));
    for (size_t i = 0; i < folder.count; i++) {
        for (int j = 0; j < 7; j++)
            kinds[j] += has_suffix(folder.names[i], suffixes[j]);
    }
    /* Without one file of each kind the tests below would prove little. */
    for (int j = 0; j < 7; j++)
        ck_assert_msg(kinds[j] > 0, "the life left no %s", suffixes[j]);
}
END_TEST

START_TEST(every_damaged_page_of_a_store_is_found)
{
    struct folder folder;
    uint64_t state = test_seed();
    unsigned damaged = 0, active_logs = 0;

    create(&folder);
    for (size_t i = 0; i < folder.count; i++) {
        const char *path = path_of(&folder, folder.names[i]);
        size_t size_bytes, end, last = 0;
        uint8_t *bytes = read_whole(path, &size_bytes);
        end = size_bytes;
        if (has_suffix(folder.names[i], ".log") && size_bytes > 0)
            end = end_of_frames(bytes, size_bytes, &last);
        for (size_t at = 0; at < end; at += PAGE_BYTES) {
            size_t length = end - at < PAGE_BYTES ? end - at : PAGE_BYTES;
            uint8_t flipped;
            size_t place = at + test_random(&state) % length;
            bool found;
            flipped = bytes[place] ^ (uint8_t)(1U << test_random(&state) % 8);
            write_at(path, &flipped, 1, place);
            found = finds(&folder);
            if (!found && last > 0 && at >= last)
                found = true; /* see end_of_frames */
            else if (last > 0 && at >= last)
                active_logs++;
            ck_assert_msg(found, "%s: byte %zu", folder.names[i], place);
            write_at(path, bytes + at, length, at);
            damaged++;
        }
        free(bytes);
    }
    ck_assert(!finds(&folder));
    ck_assert_uint_gt(damaged, 30);
    /* Of the log that would be replayed every page counts, the last frame's too. */
    ck_assert_uint_gt(active_logs, 0);
}
END_TEST

START_TEST(every_missing_or_shorter_file_is_found)
{
    struct folder folder;

    create(&folder);
    for (size_t i = 0; i < folder.count; i++) {
        const char *path = path_of(&folder, folder.names[i]);
        char aside[PATH_MAX + 8];
        size_t size_bytes;
        uint8_t *bytes = read_whole(path, &size_bytes);
        (void)snprintf(aside, sizeof(aside), "%s.aside", path);
        ck_assert_int_eq(rename(path, aside), 0);
        ck_assert_msg(finds(&folder), "%s is missing", folder.names[i]);
        ck_assert_int_eq(rename(aside, path), 0);
        if (!has_suffix(folder.names[i], ".log")) {
            ck_assert_int_eq(truncate(path, (off_t)size_bytes - 1), 0);
            ck_assert_msg(finds(&folder), "%s is a byte short", folder.names[i]);
            ck_assert_int_eq(truncate(path, (off_t)size_bytes), 0);
            write_at(path, bytes, size_bytes, 0);
        }
        free(bytes);
    }
    ck_assert(!finds(&folder));
}
END_TEST

START_TEST(folder_that_is_open_or_none_is_not_verified)
{
    struct folder folder;
    struct store *store;
    struct buffer findings = {0};
    struct error error = {0};

    create(&folder);
    ck_assert_int_eq(store_verify(folder.io, "/tmp/no/such/folder", NULL, &findings, &error),
                     ERROR_NOT_FOUND);
    store = fixture_store(folder.io, folder.data_dir, 1 << 20);
    ck_assert_int_eq(store_verify(folder.io, folder.data_dir, NULL, &findings, &error), ERROR_BUSY);
    store_close(store);
    ck_assert(!finds(&folder));
    ck_assert_uint_eq(findings.size, 0);
}
END_TEST

START_TEST(only_files_with_numbers_that_were_given_out_are_orphans)
{
    static const struct {
        const char *name;
        bool stays;
    } cases[] = {{"000060.chunk", false}, {"999999.chunk", true}, {"notes.txt", true}};
    struct folder folder;
    struct store *store;
    struct store_shard *shard;

    create(&folder);
    for (size_t i = 0; i < 3; i++)
        ck_assert_int_eq(close(open(path_of(&folder, cases[i].name), O_WRONLY | O_CREAT, 0600)), 0);
    store = fixture_store(folder.io, folder.data_dir, 1 << 20);
    shard = fixture_shard(store, WINDOW_MS, 0, STORE_DURABILITY_LOG);
    for (size_t i = 0; i < 3; i++)
        ck_assert_msg((access(path_of(&folder, cases[i].name), F_OK) == 0) == cases[i].stays, "%s",
                      cases[i].name);
    ck_assert_int_eq(store_shard_close(shard, false, ERROR_IGNORED), 0);
    store_close(store);
}
END_TEST

START_TEST(inspect_describes_every_file_in_both_forms)
{
    struct folder folder;
    struct arena arena;

    create(&folder);
    arena_create(&arena, 0);
    for (size_t i = 0; i < folder.count; i++) {
        const char *path = path_of(&folder, folder.names[i]);
        struct buffer text = {0}, json = {0};
        struct error error = {0};
        struct doc doc;
        if (has_suffix(folder.names[i], ".segment")) {
            ck_assert_int_eq(store_inspect(folder.io, path, false, &text, &error),
                             ERROR_UNSUPPORTED);
            continue;
        }
        ck_assert_msg(store_inspect(folder.io, path, false, &text, &error) == 0, "%s", error.text);
        ck_assert_msg(store_inspect(folder.io, path, true, &json, &error) == 0, "%s", error.text);
        ck_assert_ptr_nonnull(strstr(buffer_text(&text), "kind: "));
        ck_assert_msg(doc_parse_json(&arena, buffer_text(&json), json.size, NULL, &doc, &error) ==
                          0,
                      "%s: %s", error.text, buffer_text(&json));
        ck_assert_ptr_nonnull(doc_get(&doc, "kind"));
        buffer_destroy(&text);
        buffer_destroy(&json);
    }
    arena_destroy(&arena);
}
END_TEST

START_TEST(inspect_of_a_log_that_was_never_used_says_so)
{
    static const struct {
        const char *name;
        off_t damage; /* a byte that is not zero; -1: none */
        int code;
    } cases[] = {{"000900.log", -1, 0},
                 {"000901.log", 70000, ERROR_UNSUPPORTED},
                 {"000902.run", -1, ERROR_UNSUPPORTED}};
    struct folder folder = {.io = io_posix()};

    (void)snprintf(folder.shard, sizeof(folder.shard), "%s", test_directory());
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *path = path_of(&folder, cases[i].name);
        int file = open(path, O_RDWR | O_CREAT, 0600);
        struct buffer out = {0};
        ck_assert_int_ge(file, 0);
        ck_assert_int_eq(ftruncate(file, 1 << 20), 0);
        if (cases[i].damage >= 0)
            ck_assert_int_eq(pwrite(file, "x", 1, cases[i].damage), 1);
        ck_assert_int_eq(close(file), 0);
        ck_assert_int_eq(store_inspect(folder.io, path, true, &out, ERROR_IGNORED), cases[i].code);
        ck_assert_int_eq(strstr(buffer_text(&out), "never used") != NULL, cases[i].code == 0);
        buffer_destroy(&out);
    }
}
END_TEST

static unsigned checks;

static int refuse_segment(struct io *io, const char *path, uint64_t file_number, uint32_t dim,
                          uint32_t row_count, struct error *error)
{
    char name[32];

    (void)io;
    (void)snprintf(name, sizeof(name), "/%06llu.segment", (unsigned long long)file_number);
    ck_assert_ptr_nonnull(strstr(path, name));
    ck_assert_uint_eq(dim, FIXTURE_DIM);
    ck_assert_uint_gt(row_count, 0);
    checks++;
    return error_set(error, ERROR_CORRUPT, "not a graph");
}

START_TEST(verify_lists_what_is_wrong_inside_a_segment)
{
    struct folder folder;
    struct buffer findings = {0};

    create(&folder);
    ck_assert_int_eq(store_verify(folder.io, folder.data_dir,
                                  &(struct store_verify_checks){.segment = refuse_segment},
                                  &findings, ERROR_IGNORED),
                     ERROR_CORRUPT);
    ck_assert_uint_eq(checks, 2); /* of the run and of the span over it */
    ck_assert_ptr_nonnull(strstr(buffer_text(&findings), ".segment: not a graph\n"));
    buffer_destroy(&findings);
}
END_TEST

static int know_no_such_version(struct io *io, const char *path, uint64_t file_number, uint32_t dim,
                                uint32_t row_count, struct error *error)
{
    (void)refuse_segment(io, path, file_number, dim, row_count, error);
    return error_set(error, ERROR_UNSUPPORTED, "format version 1");
}

START_TEST(segment_of_another_format_version_is_no_damage)
{
    struct folder folder;
    struct buffer findings = {0};
    struct error error = {0};

    create(&folder);
    ck_assert_int_eq(store_verify(folder.io, folder.data_dir,
                                  &(struct store_verify_checks){.segment = know_no_such_version},
                                  &findings, &error),
                     0);
    ck_assert_uint_eq(checks, 2); /* of the run and of the span over it */
    ck_assert_str_eq(buffer_text(&findings), "");
    buffer_destroy(&findings);
}
END_TEST

START_TEST(inspect_of_damaged_files_neither_crashes_nor_hides_it)
{
    struct folder folder;
    uint64_t state = test_seed();
    unsigned refused = 0;

    create(&folder);
    for (size_t i = 0; i < folder.count; i++) {
        const char *path = path_of(&folder, folder.names[i]);
        size_t size_bytes;
        uint8_t *bytes = read_whole(path, &size_bytes);
        for (int round = 0; round < 60 && size_bytes > 0; round++) {
            size_t place = test_random(&state) % (round % 2 && size_bytes > 600 ? 600 : size_bytes);
            uint8_t changed = (uint8_t)test_random(&state);
            struct buffer out = {0};
            write_at(path, &changed, 1, round % 3 ? place : size_bytes - 1 - place);
            refused += store_inspect(folder.io, path, round % 2, &out, ERROR_IGNORED) != 0;
            write_at(path, bytes, size_bytes, 0);
            buffer_destroy(&out);
        }
        free(bytes);
    }
    ck_assert_uint_gt(refused, 100);
}
END_TEST

TEST_TABLE(TEST(sound_folder_has_no_findings), TEST(every_damaged_page_of_a_store_is_found),
           TEST(every_missing_or_shorter_file_is_found),
           TEST(folder_that_is_open_or_none_is_not_verified),
           TEST(only_files_with_numbers_that_were_given_out_are_orphans),
           TEST(inspect_describes_every_file_in_both_forms),
           TEST(inspect_of_a_log_that_was_never_used_says_so),
           TEST(verify_lists_what_is_wrong_inside_a_segment),
           TEST(segment_of_another_format_version_is_no_damage),
           TEST(inspect_of_damaged_files_neither_crashes_nor_hides_it))
