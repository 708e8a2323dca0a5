/* Tables read back what was written, in every shape, and refuse what is not theirs. */
#include <pthread.h>
#include <string.h>

#include "store/files/key.h"
#include "store/files/table.h"
#include "tests/store/table_fixture.h"
#include "tests/store/table_memory_io.h"
#include "tests/support/test_main.h"

static const uint32_t dims[] = {1, 3, 16, 128, 768, 65536};

static void round_trip(enum table_kind kind, enum vector_codec codec, struct io *io,
                       const char *directory, int rounds)
{
    uint64_t state = test_seed();

    for (int i = 0; i < rounds; i++) {
        struct table_fixture fixture;
        struct table_fixture_options options = {.kind = kind, .codec = codec, .file_number = 10};
        options.dim = dims[test_random(&state) % 6];
        options.row_count = (uint32_t)(1 + test_random(&state) % (options.dim > 1000 ? 20 : 3000));
        options.key_space = test_random(&state) % 2 ? 0 : options.row_count * 10;
        options.seed = test_random(&state);
        table_fixture_create(&fixture, io, directory, &options);
        ck_assert_int_eq(table_fixture_compare(&fixture, io, directory), 0);
        table_fixture_destroy(&fixture);
    }
}

START_TEST(chunk_reads_back_what_was_written)
{
    struct memory_io memory;

    memory_io_create(&memory);
    round_trip(TABLE_CHUNK, VECTOR_CODEC_RAW, &memory.io, "d", 20);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(run_reads_back_what_was_written)
{
    struct memory_io memory;

    memory_io_create(&memory);
    round_trip(TABLE_RUN, VECTOR_CODEC_RAW, &memory.io, "d", 20);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(packed_run_reads_back_bit_by_bit)
{
    struct memory_io memory;

    memory_io_create(&memory);
    round_trip(TABLE_RUN, VECTOR_CODEC_PACKED, &memory.io, "d", 20);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(run_of_every_type_reads_back_bit_by_bit)
{
    struct memory_io memory;

    memory_io_create(&memory);
    for (int codec = VECTOR_CODEC_FLOAT16; codec < VECTOR_CODEC_COUNT; codec++)
        round_trip(TABLE_RUN, (enum vector_codec)codec, &memory.io, "d", 8);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(tables_on_a_file_system_read_back)
{
    round_trip(TABLE_CHUNK, VECTOR_CODEC_RAW, io_posix(), test_directory(), 3);
    round_trip(TABLE_RUN, VECTOR_CODEC_RAW, io_posix(), test_directory(), 3);
    round_trip(TABLE_RUN, VECTOR_CODEC_PACKED, io_posix(), test_directory(), 3);
}
END_TEST

START_TEST(empty_run_and_chunk_are_tables)
{
    const enum table_kind kinds[] = {TABLE_CHUNK, TABLE_RUN};
    struct memory_io memory;

    memory_io_create(&memory);
    for (int i = 0; i < 2; i++) {
        struct table_fixture fixture;
        struct table_fixture_options options = {
            .kind = kinds[i], .dim = 8, .file_number = 3, .seed = 1};
        struct table *table;
        uint32_t row;
        table_fixture_create(&fixture, &memory.io, "d", &options);
        ck_assert_int_eq(table_fixture_compare(&fixture, &memory.io, "d"), 0);
        ck_assert_int_eq(
            table_open(&memory.io, "d", &fixture.description, &fixture.info, &table, ERROR_IGNORED),
            0);
        ck_assert_uint_eq(table_lower_bound(table, (const uint8_t *)"x", 1), 0);
        ck_assert(!table_find(table, (const uint8_t *)"x", 1, 7, &row));
        table_close(table);
        table_fixture_destroy(&fixture);
    }
    memory_io_destroy(&memory);
}
END_TEST

static int order_of(const struct table_row *row, const uint8_t *key, size_t key_bytes)
{
    size_t common = row->key_bytes < key_bytes ? row->key_bytes : key_bytes;
    int order = memcmp(row->key, key, common);

    return order ? order : (row->key_bytes > key_bytes) - (row->key_bytes < key_bytes);
}

/* By a scan over what was written: how many rows are below the key, and its newest row or -1. */
static int64_t newest_by_scan(const struct table_fixture *fixture, const uint8_t *key,
                              size_t key_bytes, uint32_t *below)
{
    int64_t newest = -1;

    *below = 0;
    for (uint32_t i = 0; i < fixture->row_count; i++) {
        int order = order_of(&fixture->rows[i], key, key_bytes);
        *below += order < 0;
        if (order == 0 && (newest < 0 || fixture->rows[i].offset >= fixture->rows[newest].offset))
            newest = i;
    }
    return newest;
}

static void check_searches(const struct table_fixture *fixture, struct io *io, uint64_t *state)
{
    struct table *table;

    ck_assert_int_eq(
        table_open(io, "d", &fixture->description, &fixture->info, &table, ERROR_IGNORED), 0);
    for (int i = 0; i < 300; i++) {
        const struct table_row *any = &fixture->rows[test_random(state) % fixture->row_count];
        uint8_t key[STORE_KEY_MAX_BYTES];
        size_t key_bytes = any->key_bytes;
        uint32_t below, row;
        int64_t newest;
        bool found;
        memcpy(key, any->key, key_bytes);
        if (i % 3 == 1) /* a neighbour that is probably absent */
            key[test_random(state) % key_bytes] ^= (uint8_t)(1 + test_random(state) % 255);
        else if (i % 3 == 2)
            key_bytes = 1 + test_random(state) % key_bytes;
        newest = newest_by_scan(fixture, key, key_bytes, &below);
        ck_assert_uint_eq(table_lower_bound(table, key, key_bytes), below);
        found = table_find(table, key, key_bytes, table_key_hash(key, key_bytes), &row);
        ck_assert_int_eq(found ? (int64_t)row : -1, newest);
    }
    table_close(table);
}

START_TEST(find_returns_the_newest_version_and_lower_bound_agrees_with_a_scan)
{
    struct memory_io memory;
    uint64_t state = test_seed();

    memory_io_create(&memory);
    for (int i = 0; i < 40; i++) {
        struct table_fixture fixture;
        struct table_fixture_options options = {.kind = i % 2 ? TABLE_CHUNK : TABLE_RUN,
                                                .dim = 2,
                                                .file_number = 5,
                                                .small_payloads = true};
        options.row_count = (uint32_t)(1 + test_random(&state) % 1000);
        options.key_space = (uint32_t)(1 + test_random(&state) % 2000);
        options.seed = test_random(&state);
        table_fixture_create(&fixture, &memory.io, "d", &options);
        check_searches(&fixture, &memory.io, &state);
        table_fixture_destroy(&fixture);
    }
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(table_of_another_description_is_refused)
{
    struct memory_io memory;
    struct table_fixture fixture;
    struct table_fixture_options options = {
        .kind = TABLE_RUN, .dim = 4, .row_count = 100, .file_number = 5, .seed = 9};
    struct table *table = NULL;

    memory_io_create(&memory);
    table_fixture_create(&fixture, &memory.io, "d", &options);
    for (int i = 0; i < 8; i++) {
        struct table_description description = fixture.description;
        struct table_info info = fixture.info;
        struct error error = {0};
        description.dim += i == 0;
        description.window_start_ms += i == 1;
        description.window_length_ms += i == 2;
        description.generation += i == 3;
        info.footer_checksum ^= i == 4;
        info.row_count += i == 5;
        info.index_bytes += i == 6;
        info.max_event_ms += i == 7;
        ck_assert_int_eq(table_open(&memory.io, "d", &description, &info, &table, &error),
                         ERROR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "d/000005.run"));
    }
    table_fixture_destroy(&fixture);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(file_under_another_number_is_refused)
{
    struct memory_io memory;
    struct table_fixture fixture;
    struct table_fixture_options options = {
        .kind = TABLE_CHUNK, .dim = 4, .row_count = 100, .file_number = 5, .seed = 9};
    struct table_description description;
    struct table *table = NULL;
    struct buffer *file;

    memory_io_create(&memory);
    table_fixture_create(&fixture, &memory.io, "d", &options);
    file = memory_io_file(&memory, "d/000005.chunk");
    memory_io_put(&memory, "d/000007.chunk", file->data, file->size);
    description = fixture.description;
    description.file_number = 7;
    ck_assert_int_eq(table_open(&memory.io, "d", &description, NULL, &table, ERROR_IGNORED),
                     ERROR_CORRUPT);
    table_fixture_destroy(&fixture);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(writer_refuses_rows_that_no_table_may_hold)
{
    static const uint8_t long_key[300];
    const float vector[4] = {0};
    const struct table_row good = {
        .key = (const uint8_t *)"b", .key_bytes = 1, .vector = vector, .log_position = 64};
    struct {
        const char *what;
        enum table_kind kind;
        struct table_row row;
    } cases[] = {
        {"keys that do not ascend", TABLE_RUN, good},
        {"a smaller key", TABLE_RUN, good},
        {"an empty key", TABLE_CHUNK, good},
        {"a key that is too long", TABLE_CHUNK, good},
        {"a payload that is too large", TABLE_RUN, good},
        {"a position that is not aligned", TABLE_CHUNK, good},
    };
    struct memory_io memory;

    cases[1].row.key = (const uint8_t *)"a";
    cases[2].row.key_bytes = 0;
    cases[3].row.key = long_key;
    cases[3].row.key_bytes = 257;
    cases[4].row.key = (const uint8_t *)"c";
    cases[4].row.payload_bytes = 70000000;
    cases[5].row.log_position = 66;
    memory_io_create(&memory);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct table_description description = {
            .kind = cases[i].kind, .dim = 4, .file_number = 1, .log_file_number = 2};
        struct table_writer *writer;
        struct table_info info;
        struct error error = {0};
        ck_assert_int_eq(table_writer_open(&memory.io, "d", &description, &writer, ERROR_IGNORED),
                         0);
        ck_assert_int_eq(table_writer_add(writer, &good, ERROR_IGNORED), 0);
        ck_assert_msg(table_writer_add(writer, &cases[i].row, &error) == ERROR_INVALID, "%s",
                      cases[i].what);
        /* A table without the refused row would be silently wrong. */
        ck_assert_int_eq(table_writer_finish(writer, &info, &error), ERROR_INVALID);
        ck_assert_ptr_null(memory_io_file(&memory, "d/000001.run"));
        ck_assert_ptr_null(memory_io_file(&memory, "d/000001.chunk"));
        ck_assert_ptr_null(memory_io_file(&memory, "d/000001.vectors"));
    }
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(failed_write_or_sync_leaves_no_file)
{
    struct memory_io memory;
    struct table_fixture fixture;
    struct table_fixture_options options = {
        .kind = TABLE_RUN, .dim = 64, .row_count = 5000, .file_number = 5, .seed = 9};
    int64_t operations = 0;
    int result;

    memory_io_create(&memory);
    table_fixture_create(&fixture, &memory.io, "d", &options);
    do {
        struct table_writer *writer;
        struct table_info info;
        struct error error = {0};
        fixture.description.file_number = 6;
        memory.fail_after = operations++;
        ck_assert_int_eq(table_writer_open(&memory.io, "d", &fixture.description, &writer, &error),
                         0);
        (void)table_fixture_add_rows(&fixture, writer, &error);
        result = table_writer_finish(writer, &info, &error);
        if (result) {
            ck_assert_int_eq(result, ERROR_NO_SPACE);
            ck_assert_ptr_null(memory_io_file(&memory, "d/000006.run"));
            ck_assert_ptr_null(memory_io_file(&memory, "d/000006.vectors"));
        }
    } while (result);
    /* Several writes of each file, two syncs, the folder's sync. */
    ck_assert_int_ge(operations, 6);
    table_fixture_destroy(&fixture);
    memory_io_destroy(&memory);
}
END_TEST

static void check_gather(enum table_kind kind, enum vector_codec codec)
{
    static float out[500 * 96];
    struct memory_io memory;
    uint64_t state = test_seed();
    struct table_fixture fixture;
    struct table_fixture_options options = {.kind = kind,
                                            .codec = codec,
                                            .dim = 96,
                                            .row_count = 3000,
                                            .file_number = 5,
                                            .seed = state};
    struct table *table;
    uint32_t rows[500];

    memory_io_create(&memory);
    table_fixture_create(&fixture, &memory.io, "d", &options);
    ck_assert_int_eq(
        table_open(&memory.io, "d", &fixture.description, &fixture.info, &table, ERROR_IGNORED), 0);
    for (int i = 0; i < 500; i++)
        rows[i] = (uint32_t)(test_random(&state) % fixture.row_count);
    ck_assert_int_eq(table_gather(table, rows, 500, out, ERROR_IGNORED), 0);
    for (int i = 0; i < 500; i++)
        ck_assert_mem_eq(out + i * 96, fixture.rows[rows[i]].vector, 96 * 4);
    /* A merge must not fill memory with what it reads once. */
    ck_assert_uint_eq(table_decoded_bytes(table), 0);
    table_close(table);
    table_fixture_destroy(&fixture);
    memory_io_destroy(&memory);
}

START_TEST(gather_returns_rows_in_the_asked_order)
{
    check_gather(TABLE_CHUNK, VECTOR_CODEC_RAW);
    check_gather(TABLE_RUN, VECTOR_CODEC_RAW);
    for (int codec = VECTOR_CODEC_PACKED; codec < VECTOR_CODEC_COUNT; codec++)
        check_gather(TABLE_RUN, (enum vector_codec)codec);
}
END_TEST

START_TEST(decoded_blocks_stay_where_they_are_until_trimmed)
{
    struct memory_io memory;
    struct table_fixture fixture;
    struct table_fixture_options options = {.kind = TABLE_RUN,
                                            .codec = VECTOR_CODEC_PACKED,
                                            .dim = 1024,
                                            .row_count = 300,
                                            .file_number = 5,
                                            .seed = 1};
    struct table *table;
    const float *first, *last, *again;
    uint32_t count;

    memory_io_create(&memory);
    table_fixture_create(&fixture, &memory.io, "d", &options);
    ck_assert_uint_gt(fixture.row_count, 64); /* more than one block */
    ck_assert_uint_lt(fixture.info.vector_bytes, fixture.row_count * UINT64_C(4096));
    ck_assert_int_eq(
        table_open(&memory.io, "d", &fixture.description, &fixture.info, &table, ERROR_IGNORED), 0);
    ck_assert_int_eq(table_vectors(table, 0, &first, &count, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, 64);
    ck_assert_uint_eq(table_decoded_bytes(table), 262144);
    ck_assert_int_eq(table_vectors(table, fixture.row_count - 1, &last, &count, ERROR_IGNORED), 0);
    ck_assert_uint_eq(count, 1);
    ck_assert_ptr_eq(last, first + (size_t)(fixture.row_count - 1) * 1024);
    ck_assert_int_eq(table_vectors(table, 3, &again, &count, ERROR_IGNORED), 0);
    ck_assert_ptr_eq(again, first + 3 * 1024);
    table_trim(table);
    ck_assert_uint_eq(table_decoded_bytes(table), 0);
    ck_assert_int_eq(table_vectors(table, 3, &again, &count, ERROR_IGNORED), 0);
    ck_assert_mem_eq(again, fixture.rows[3].vector, 4096);
    table_close(table);
    table_fixture_destroy(&fixture);
    memory_io_destroy(&memory);
}
END_TEST

struct reader {
    const struct table *table;
    const struct table_fixture *fixture;
    uint64_t seed;
    bool wrong;
};

static void *read_rows(void *context)
{
    struct reader *reader = context;
    uint64_t state = reader->seed;

    for (int i = 0; i < 2000; i++) {
        uint32_t row = (uint32_t)(test_random(&state) % reader->fixture->row_count);
        const float *vector;
        uint32_t count;
        if (table_vectors(reader->table, row, &vector, &count, ERROR_IGNORED) != 0 ||
            memcmp(vector, reader->fixture->rows[row].vector,
                   (size_t)reader->fixture->description.dim * 4) != 0)
            reader->wrong = true;
    }
    return NULL;
}

START_TEST(threads_that_meet_on_a_packed_block_read_it_whole)
{
    struct memory_io memory;
    struct table_fixture fixture;
    struct table_fixture_options options = {.kind = TABLE_RUN,
                                            .codec = VECTOR_CODEC_PACKED,
                                            .dim = 512,
                                            .row_count = 2000,
                                            .file_number = 5,
                                            .seed = test_seed()};
    struct reader readers[4];
    pthread_t threads[4];
    struct table *table;

    memory_io_create(&memory);
    table_fixture_create(&fixture, &memory.io, "d", &options);
    ck_assert_int_eq(
        table_open(&memory.io, "d", &fixture.description, &fixture.info, &table, ERROR_IGNORED), 0);
    for (int i = 0; i < 4; i++) {
        readers[i] = (struct reader){table, &fixture, options.seed + (uint64_t)i, false};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_rows, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert(!readers[i].wrong);
    }
    table_close(table);
    table_fixture_destroy(&fixture);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(path_that_does_not_fit_is_nobodys)
{
    char path[32];

    table_path("folder", 42, "chunk", path, sizeof(path));
    ck_assert_str_eq(path, "folder/000042.chunk");
    table_path("folder", 12345678, "run", path, sizeof(path));
    ck_assert_str_eq(path, "folder/12345678.run");
    table_path("a folder with a name too long for", 1, "run", path, sizeof(path));
    ck_assert_str_eq(path, "");
}
END_TEST

TEST_TABLE(TEST(chunk_reads_back_what_was_written), TEST(run_reads_back_what_was_written),
           TEST(tables_on_a_file_system_read_back), TEST(empty_run_and_chunk_are_tables),
           TEST(find_returns_the_newest_version_and_lower_bound_agrees_with_a_scan),
           TEST(table_of_another_description_is_refused),
           TEST(file_under_another_number_is_refused),
           TEST(writer_refuses_rows_that_no_table_may_hold),
           TEST(failed_write_or_sync_leaves_no_file), TEST(gather_returns_rows_in_the_asked_order),
           TEST(packed_run_reads_back_bit_by_bit), TEST(run_of_every_type_reads_back_bit_by_bit),
           TEST(decoded_blocks_stay_where_they_are_until_trimmed),
           TEST(threads_that_meet_on_a_packed_block_read_it_whole),
           TEST(path_that_does_not_fit_is_nobodys))
