/* Columns of payload_index in files beside runs: made once, mapped after a restart, made again when
 * they are damaged, and never a reason for another answer. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/checksum.h"
#include "indexer/query/filter/column_file.h"
#include "store/backup.h"
#include "store/store.h"
#include "store/tools/backup_folder.h"
#include "store/tools/verify.h"
#include "tests/indexer/query/query_world.h"

enum { ROWS = 600, WINDOW_MS = 1000 };

#define OK(call)                                                                                   \
    do {                                                                                           \
        struct error ok_error = {0};                                                               \
        int ok_code = (call);                                                                      \
        ck_assert_msg(ok_code == 0, "%s: %d %s", #call, ok_code, ok_error.text);                   \
    } while (0)

static const char *const fields[] = {"n", "tag", "near", "text"};

static void name_fields(struct world *world, size_t count)
{
    world->collection.payload_index = (const char **)(uintptr_t)fields;
    world->collection.payload_index_count = count;
}

/* Two sealed windows and a chunk. */
static void create(struct world *world)
{
    const struct world_options options = {
        .shard_count = 1, .dim = 4, .window_ms = WINDOW_MS, .seed = test_seed()};

    query_columns_forget();
    world_open(world, &options);
    name_fields(world, 2);
    for (uint64_t id = 0; id < ROWS; id++)
        world_upsert(world, 0, id, 1000 + (int64_t)(id % 3) * WINDOW_MS, 0, NULL);
    world_flush(world, 0);
    world_seal(world, 0, 1000);
    world_seal(world, 0, 2000);
}

static void destroy(struct world *world)
{
    world->collection.payload_index_count = 0;
    world_close(world);
    query_columns_forget();
}

static void restart(struct world *world)
{
    world_restart(world);
    query_columns_forget();
}

static uint64_t passes(void)
{
    struct query_columns_info info;

    query_columns_describe(&info);
    return info.passes;
}

static void preload(struct world *world)
{
    struct query_view_options options = {
        .collection = &world->collection, .registry = world->registry, .io = &world->clock.io};
    size_t made;

    OK(query_column_preload(&options, &made, &ok_error));
}

/* Filters by number and by tag, counted and compared with the model. */
static void check_answers(struct world *world)
{
    static const int64_t limits[] = {0, 17, 100, 5000, 10000};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        for (int tag = 0; tag < 3; tag++) {
            struct query_view *view = world_view(world);
            uint64_t count, expected = 0;
            struct arena arena;
            char json[200];
            (void)snprintf(json, sizeof(json),
                           "{\"must\":[{\"key\":\"n\",\"range\":{\"lt\":%lld}}],\"must_not\":[{"
                           "\"key\":\"tag\",\"match\":{\"any\":[\"t%d\",\"none\"]}}]}",
                           (long long)limits[i], tag);
            for (size_t id = 0; id < world->record_count; id++)
                expected += world_visible(world, &world->records[id]) &&
                            world->records[id].number < limits[i] &&
                            world->records[id].number % 10 != tag;
            arena_create(&arena, 0);
            OK(query_count(view, world_filter(&arena, json), &count, &ok_error));
            ck_assert_uint_eq(count, expected);
            arena_destroy(&arena);
            query_view_close(view);
        }
}

/* Paths of the files of columns, in no order; returns how many. */
static size_t find_files(struct world *world, const char *extension, char paths[][PATH_MAX],
                         size_t room)
{
    const char *directory = store_shard_directory(world->shards[0]);
    DIR *folder = opendir(directory);
    size_t count = 0;

    ck_assert_ptr_nonnull(folder);
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const char *dot = strchr(entry->d_name, '.');
        if (!dot || strcmp(dot, extension) != 0)
            continue;
        ck_assert_uint_lt(count, room);
        (void)snprintf(paths[count++], PATH_MAX, "%s/%s", directory, entry->d_name);
    }
    (void)closedir(folder);
    return count;
}

static size_t read_whole(const char *path, uint8_t **bytes)
{
    struct buffer content = {0};
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');

    (void)snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path), path);
    OK(io_read_file(io_posix(), folder, slash + 1, &content, &ok_error));
    *bytes = content.data;
    return content.size;
}

static void write_whole(const char *path, const uint8_t *bytes, size_t size_bytes)
{
    FILE *file = fopen(path, "wb");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size_bytes, file), size_bytes);
    ck_assert_int_eq(fclose(file), 0);
}

static void number_and_rows(const char *path, const uint8_t *bytes, uint64_t *number,
                            uint32_t *rows)
{
    struct column_file_header header;

    memcpy(&header, bytes, sizeof(header));
    *number = strtoull(strrchr(path, '/') + 1, NULL, 10);
    *rows = header.row_count;
    ck_assert_uint_eq(header.file_number, *number);
}

START_TEST(no_payload_is_read_for_filters_after_a_restart)
{
    struct world world;
    char paths[4][PATH_MAX];
    struct query_columns_info info;
    uint64_t before = passes();

    create(&world);
    preload(&world);
    ck_assert_uint_eq(passes(), before + 3); /* two runs and a chunk */
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    check_answers(&world);
    ck_assert_uint_eq(passes(), before + 3);
    world_seal(&world, 0, 3000);
    check_answers(&world); /* nothing was preloaded: the first filter writes the third */
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 3);
    restart(&world);
    before = passes();
    check_answers(&world);
    preload(&world);
    ck_assert_uint_eq(passes(), before);
    query_columns_describe(&info);
    ck_assert_uint_eq(info.bytes, 0);
    ck_assert_uint_gt(info.mapped_bytes, 0);
    destroy(&world);
}
END_TEST

START_TEST(new_field_of_the_payload_index_makes_new_files)
{
    struct world world;
    char paths[4][PATH_MAX];
    struct buffer text = {0};
    uint64_t before;

    create(&world);
    preload(&world);
    before = passes();
    name_fields(&world, 4); /* nothing has a "text": that is a column, too */
    preload(&world);
    ck_assert_uint_eq(passes(), before + 3);
    restart(&world);
    before = passes();
    preload(&world);
    check_answers(&world);
    ck_assert_uint_eq(passes(), before + 1); /* the chunk */
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    OK(query_columns_inspect(io_posix(), paths[0], true, &text, &ok_error));
    for (size_t i = 0; i < 4; i++) {
        char wanted[32];
        (void)snprintf(wanted, sizeof(wanted), "\"path\":\"%s\",\"fit\":true", fields[i]);
        ck_assert_msg(strstr(buffer_text(&text), wanted) != NULL, "%s", buffer_text(&text));
    }
    text.size = 0;
    OK(query_columns_inspect(io_posix(), paths[0], false, &text, &ok_error));
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "path: tag, fit: true"));
    buffer_destroy(&text);
    destroy(&world);
}
END_TEST

START_TEST(every_flipped_byte_and_every_cut_is_found)
{
    struct world world;
    char paths[4][PATH_MAX], path[PATH_MAX];
    struct error error = {0};
    uint8_t *bytes;
    size_t size_bytes;
    uint64_t number;
    uint32_t rows;

    create(&world);
    preload(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    size_bytes = read_whole(paths[0], &bytes);
    number_and_rows(paths[0], bytes, &number, &rows);
    OK(query_columns_check(io_posix(), paths[0], number, rows, &ok_error));
    ck_assert_int_eq(query_columns_check(io_posix(), paths[0], number + 1, rows, &error),
                     ERROR_CORRUPT);
    (void)snprintf(path, sizeof(path), "%s/damaged.columns", test_directory());
    for (size_t at = 0; at < size_bytes; at += at < 128 ? 1 : 61) {
        bytes[at] ^= (uint8_t)(1 << at % 8);
        write_whole(path, bytes, size_bytes);
        ck_assert_int_eq(query_columns_check(io_posix(), path, number, rows, &error),
                         ERROR_CORRUPT);
        write_whole(path, bytes, at);
        ck_assert_int_eq(query_columns_check(io_posix(), path, number, rows, &error),
                         ERROR_CORRUPT);
        bytes[at] ^= (uint8_t)(1 << at % 8);
    }
    free(bytes);
    destroy(&world);
}
END_TEST

static void seal_checksums(uint8_t *bytes, size_t size_bytes)
{
    struct column_file_header header;

    memcpy(&header, bytes, sizeof(header));
    header.data_checksum = checksum_block(bytes + sizeof(header), size_bytes - sizeof(header),
                                          header.file_number, 1, header.column_count);
    header.checksum = checksum_block(&header, offsetof(struct column_file_header, checksum),
                                     header.file_number, 0, 0);
    memcpy(bytes, &header, sizeof(header));
}

/* Everything that a search may touch. */
static void walk(const struct column_file *file)
{
    struct arena arena;
    volatile uint64_t sum = 0; /* else nothing would be read */

    arena_create(&arena, 0);
    for (uint32_t i = 0; i < file->column_count; i++) {
        const struct column_image *image = &file->columns[i];
        for (uint32_t row = 0; row < image->head->row_count; row++) {
            uint32_t code = column_image_code(image, row);
            ck_assert_uint_lt(code, image->head->value_count);
            ck_assert_uint_lt(image->rows[row], image->head->row_count);
            sum += column_image_bytes_of(image, code).size_bytes;
        }
        for (uint32_t code = 0; code < image->head->value_count; code++) {
            struct doc values;
            OK(column_image_values(image, code, &arena, &values, &ok_error));
            sum += values.count;
        }
    }
    (void)sum;
    arena_destroy(&arena);
}

START_TEST(hostile_file_with_right_checksums_leads_nowhere)
{
    struct world world;
    char paths[4][PATH_MAX], path[PATH_MAX];
    uint64_t number, random = test_seed();
    uint32_t rows, accepted = 0;
    uint8_t *bytes, *changed;
    size_t size_bytes;

    create(&world);
    name_fields(&world, 4);
    preload(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    size_bytes = read_whole(paths[0], &bytes);
    number_and_rows(paths[0], bytes, &number, &rows);
    (void)snprintf(path, sizeof(path), "%s/hostile.columns", test_directory());
    changed = malloc(size_bytes);
    for (int round = 0; round < 500; round++) {
        struct column_file *file;
        struct error error = {0};
        memcpy(changed, bytes, size_bytes);
        for (int i = 0; i <= round % 3; i++) {
            size_t at;
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            /* Heads and counts half of the time. */
            at = random >> 33 & 1 ? (random >> 34) % size_bytes : 8 + (random >> 34) % 120;
            changed[at] = (uint8_t)(random >> 24);
        }
        seal_checksums(changed, size_bytes);
        write_whole(path, changed, size_bytes);
        if (column_file_open(io_posix(), path, number, rows, &file, &error) != 0)
            continue;
        accepted++;
        walk(file);
        column_file_unref(file);
    }
    ck_assert_uint_lt(accepted, 500);
    free(changed);
    free(bytes);
    destroy(&world);
}
END_TEST

START_TEST(damaged_file_is_made_again)
{
    struct world world;
    char paths[4][PATH_MAX];
    uint64_t before;

    create(&world);
    preload(&world);
    for (int how = 0; how < 4; how++) {
        size_t count = find_files(&world, ".columns", paths, 4);
        ck_assert_uint_eq(count, 2);
        for (size_t i = 0; i < count; i++) {
            uint8_t *bytes;
            size_t size_bytes = read_whole(paths[i], &bytes);
            bytes[how == 0 ? 100 : 8] ^= 2; /* else of another version, empty, or not there */
            if (how == 1)
                seal_checksums(bytes, size_bytes);
            ck_assert_int_eq(unlink(paths[i]), 0);
            if (how < 3)
                write_whole(paths[i], bytes, how == 2 ? 0 : size_bytes);
            free(bytes);
        }
        restart(&world);
        before = passes();
        check_answers(&world);
        ck_assert_uint_eq(passes(), before + 3); /* and the chunk */
        restart(&world);
        before = passes();
        check_answers(&world);
        ck_assert_uint_eq(passes(), before + 1);
    }
    destroy(&world);
}
END_TEST

START_TEST(files_go_with_their_run)
{
    struct world world;
    char paths[4][PATH_MAX], temporary[PATH_MAX + 8];

    create(&world);
    preload(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    (void)snprintf(temporary, sizeof(temporary), "%s.tmp", paths[0]);
    write_whole(temporary, (const uint8_t *)"torn", 4); /* as a crash leaves it */
    restart(&world);
    ck_assert_uint_eq(find_files(&world, ".columns.tmp", paths, 4), 0);
    check_answers(&world);
    world_upsert(&world, 0, ROWS + 1, 1500, 0, NULL);
    world_flush(&world, 0);
    world_seal(&world, 0, 1000); /* again: the former run goes */
    preload(&world);             /* and what maps its columns */
    restart(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    check_answers(&world);
    world_drop(&world, 0, 2000);
    preload(&world);
    restart(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 1);
    check_answers(&world);
    destroy(&world);
}
END_TEST

static int failing_step; /* 0: none, 1 to 4: open, write, sync, rename */

static int failing_open(struct io *io, const char *path, unsigned flags)
{
    if (failing_step == 1 && flags & IO_CREATE && strstr(path, ".columns"))
        return -EACCES;
    return io_posix()->operations->open(io, path, flags);
}

static int64_t failing_write(struct io *io, int file, const void *bytes, size_t size_bytes,
                             uint64_t offset)
{
    return failing_step == 2 ? -ENOSPC
                             : io_posix()->operations->pwrite(io, file, bytes, size_bytes, offset);
}

static int failing_sync(struct io *io, int file)
{
    return failing_step == 3 ? -EIO : io_posix()->operations->datasync(io, file);
}

static int failing_rename(struct io *io, const char *from, const char *to)
{
    return failing_step == 4 ? -EIO : io_posix()->operations->rename(io, from, to);
}

START_TEST(answers_do_not_need_the_file_to_be_written)
{
    struct world world;
    char paths[4][PATH_MAX];
    uint64_t before;

    create(&world);
    world.clock.operations.open = failing_open;
    world.clock.operations.pwrite = failing_write;
    world.clock.operations.datasync = failing_sync;
    world.clock.operations.rename = failing_rename;
    for (failing_step = 1; failing_step <= 4; failing_step++) {
        query_columns_forget();
        check_answers(&world);
        before = passes();
        check_answers(&world); /* from memory */
        ck_assert_uint_eq(passes(), before);
        ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 0);
        ck_assert_uint_eq(find_files(&world, ".columns.tmp", paths, 4), 0);
    }
    failing_step = 0;
    query_columns_forget();
    check_answers(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    destroy(&world);
}
END_TEST

START_TEST(memory_of_other_columns_is_bounded_by_the_limit)
{
    struct world world;
    struct query_columns_info info;
    uint64_t all;

    create(&world);
    name_fields(&world, 0); /* all in memory */
    check_answers(&world);
    query_columns_describe(&info);
    all = info.bytes;
    ck_assert_uint_gt(all, 0);
    ck_assert_uint_eq(info.mapped_bytes, 0);
    query_columns_limit(all / 2);
    query_columns_describe(&info);
    ck_assert_uint_le(info.bytes, all / 2);
    ck_assert_uint_eq(info.max_bytes, all / 2);
    for (int round = 0; round < 3; round++) {
        check_answers(&world);
        query_columns_describe(&info);
        ck_assert_uint_le(info.bytes, all / 2);
    }
    name_fields(&world, 2); /* files take nothing of it */
    query_columns_limit(1);
    query_columns_forget();
    check_answers(&world);
    query_columns_describe(&info);
    ck_assert_uint_gt(info.mapped_bytes, 0);
    query_columns_limit((uint64_t)256 << 20);
    destroy(&world);
}
END_TEST

START_TEST(backup_brings_columns_and_verify_reads_them)
{
    const struct store_verify_checks checks = {.columns = query_columns_check};
    struct world world;
    char token[STORE_BACKUP_TOKEN_BYTES], folder[PATH_MAX], data_dir[PATH_MAX], path[3 * PATH_MAX];
    char paths[4][PATH_MAX];
    struct store_shard_info info;
    struct store_backup_shard done;
    struct buffer findings = {0};
    uint64_t bytes;
    size_t shards;
    uint8_t *content;
    struct arena arena;

    create(&world);
    preload(&world);
    ck_assert_uint_eq(find_files(&world, ".columns", paths, 4), 2);
    arena_create(&arena, 0);
    store_shard_describe(world.shards[0], &arena, &info);
    bytes = read_whole(paths[0], &content);
    ck_assert_uint_gt(info.bytes[STORE_BYTES_COLUMNS], bytes); /* both */
    arena_destroy(&arena);
    free(content);
    (void)snprintf(folder, sizeof(folder), "%s/backup", test_directory());
    (void)snprintf(data_dir, sizeof(data_dir), "%s/restored", test_directory());
    OK(store_backup_begin(&world.clock.io, folder, token, &ok_error));
    OK(store_shard_backup(world.shards[0], folder, NULL, &done, &ok_error));
    OK(store_backup_finish(&world.clock.io, folder, &done, 1, &ok_error));
    OK(store_restore(&world.clock.io, folder, data_dir, &shards, &bytes, &ok_error));
    OK(store_verify(io_posix(), data_dir, &checks, &findings, &ok_error));
    (void)snprintf(path, sizeof(path), "%s/collections.d/%s/world-0%s", data_dir,
                   world.collection.name, strrchr(paths[0], '/'));
    bytes = read_whole(path, &content);
    content[bytes - 1] ^= 1;
    ck_assert_int_eq(unlink(path), 0); /* a link to the original */
    write_whole(path, content, bytes);
    ck_assert_int_eq(store_verify(io_posix(), data_dir, &checks, &findings, ERROR_IGNORED),
                     ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(buffer_text(&findings), ".columns: "));
    free(content);
    buffer_destroy(&findings);
    destroy(&world);
}
END_TEST

START_TEST(rows_of_a_span_are_those_with_its_codes)
{
    /* Codes of 1, 2 and 4 bytes; rows that do and do not fill whole steps. */
    static const uint32_t sizes[][2] = {{77, 10},       {256, 256}, {1000, 300},     {70000, 65536},
                                        {70001, 70001}, {64, 1},    {100003, 90000}, {4096, 2}};
    const struct filter_slot slot = {"v", 1};
    uint64_t random = test_seed();

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct column_making *making = column_making_new(sizes[i][0], &slot);
        struct buffer image = {0};
        struct arena arena;
        struct column_image view;
        uint64_t *bits = calloc(sizes[i][0] / 64 + 1, sizeof(*bits));
        arena_create(&arena, 0);
        for (uint32_t row = 0; row < sizes[i][0]; row++) {
            struct doc map;
            map = doc_map(&arena, 1);
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            doc_put(&map, "v",
                    doc_integer(row < sizes[i][1] ? row : (int64_t)((random >> 33) % sizes[i][1])));
            column_making_add(making, &map);
            arena_reset(&arena);
        }
        column_making_finish(making, &image);
        column_making_delete(making);
        OK(column_image_check(image.data, image.size, sizes[i][0], &view, &ok_error));
        ck_assert_uint_eq(view.head->value_count, sizes[i][1]);
        for (int round = 0; round < 12; round++) {
            uint32_t first, last, wrong = 0;
            random = random * 6364136223846793005ULL + 1442695040888963407ULL;
            first = round == 0 ? 0 : (uint32_t)((random >> 33) % sizes[i][1]);
            last = round == 0 ? sizes[i][1]
                              : first + 1 + (uint32_t)((random >> 13) % (sizes[i][1] - first));
            column_image_mark(&view, first, last, bits);
            for (uint32_t row = 0; row < sizes[i][0]; row++) {
                uint32_t code = column_image_code(&view, row);
                wrong += (bits[row / 64] >> row % 64 & 1) != (code >= first && code < last);
            }
            ck_assert_uint_eq(wrong, 0);
        }
        arena_destroy(&arena);
        free(bits);
        buffer_destroy(&image);
    }
}
END_TEST

START_TEST(window_without_a_match_is_skipped_and_explain_says_so)
{
    struct world world;
    struct query_view *view;
    struct query_result result;
    struct arena arena;
    uint32_t skipped = 0;
    float vector[4] = {1, 0, 0, 0};

    create(&world);
    preload(&world);
    view = world_view(&world);
    arena_create(&arena, 0);
    OK(query_search_run(
        view,
        &(struct query_search){
            .vector = vector,
            .limit = 5,
            .from_ms = INT64_MIN,
            .to_ms = INT64_MAX,
            .explain = true,
            .arena = &arena,
            .filter = world_filter(&arena, "{\"must\":{\"key\":\"tag\",\"match\":{\"value\":"
                                           "\"elsewhere\"}}}")},
        &result, &ok_error));
    ck_assert_uint_eq(result.hit_count, 0);
    for (size_t i = 0; i < result.explain_count; i++)
        skipped += strcmp(result.explain[i].source, "skipped") == 0;
    ck_assert_uint_eq(skipped, 3); /* two runs and a chunk */
    arena_destroy(&arena);
    query_view_close(view);
    destroy(&world);
}
END_TEST

TEST_TABLE(TEST(no_payload_is_read_for_filters_after_a_restart),
           TEST(new_field_of_the_payload_index_makes_new_files),
           TEST(every_flipped_byte_and_every_cut_is_found),
           TEST(hostile_file_with_right_checksums_leads_nowhere), TEST(damaged_file_is_made_again),
           TEST(files_go_with_their_run), TEST(answers_do_not_need_the_file_to_be_written),
           TEST(memory_of_other_columns_is_bounded_by_the_limit),
           TEST(backup_brings_columns_and_verify_reads_them),
           TEST(rows_of_a_span_are_those_with_its_codes),
           TEST(window_without_a_match_is_skipped_and_explain_says_so))
