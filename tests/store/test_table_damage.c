/* Damaged files: an error or the right data, never wrong data, never a crash; verify finds every
 * change of every byte. */
#include <string.h>

#include "store/files/table.h"
#include "tests/store/table_fixture.h"
#include "tests/store/table_memory_io.h"
#include "tests/support/test_main.h"

enum { PAGE_BYTES = 4096, FILE_NUMBER = 5 };

/* Opens and verifies; whether damage was found on the way. */
static bool verify_finds(const struct table_fixture *fixture, struct io *io)
{
    struct table *table;
    struct buffer findings = {0};
    int result = table_open(io, "d", &fixture->description, &fixture->info, &table, ERROR_IGNORED);

    if (result)
        return true;
    result = table_verify(table, &findings, ERROR_IGNORED);
    ck_assert_int_eq(result, findings.size > 0 ? ERROR_CORRUPT : 0);
    buffer_destroy(&findings);
    table_close(table);
    return result != 0;
}

static void create(struct table_fixture *fixture, struct memory_io *memory, enum table_kind kind,
                   enum vector_codec codec, uint32_t dim, uint32_t rows)
{
    struct table_fixture_options options = {.kind = kind,
                                            .codec = codec,
                                            .dim = dim,
                                            .row_count = rows,
                                            .file_number = FILE_NUMBER,
                                            .seed = test_seed()};

    memory_io_create(memory);
    table_fixture_create(fixture, &memory->io, "d", &options);
    ck_assert_int_eq(table_fixture_compare(fixture, &memory->io, "d"), 0);
    ck_assert(!verify_finds(fixture, &memory->io));
}

static void destroy(struct table_fixture *fixture, struct memory_io *memory)
{
    /* Whatever was damaged was put back: the test did not wear the file out. */
    ck_assert_int_eq(table_fixture_compare(fixture, &memory->io, "d"), 0);
    table_fixture_destroy(fixture);
    memory_io_destroy(memory);
}

/* `ours`: every byte is the table's. Of a log file only the vectors are. */
static void flip_every_byte(const struct table_fixture *fixture, struct memory_io *memory,
                            const char *path, bool ours)
{
    struct buffer *file = memory_io_file(memory, path);
    uint64_t state = test_seed();

    ck_assert_ptr_nonnull(file);
    for (size_t i = 0; i < file->size; i++) {
        uint8_t flip = (uint8_t)(1 + test_random(&state) % 255);
        int result;
        file->data[i] ^= flip;
        result = table_fixture_compare(fixture, &memory->io, "d");
        if (result != ERROR_CORRUPT && verify_finds(fixture, &memory->io) != ours)
            ck_abort_msg("%s: byte %zu", path, i);
        file->data[i] ^= flip;
    }
}

START_TEST(every_flipped_byte_of_a_chunk_is_found)
{
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_CHUNK, VECTOR_CODEC_RAW, 5, 40);
    flip_every_byte(&fixture, &memory, "d/000005.chunk", true);
    flip_every_byte(&fixture, &memory, "d/000006.log", false);
    destroy(&fixture, &memory);
}
END_TEST

START_TEST(every_flipped_byte_of_a_run_is_found)
{
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_RUN, VECTOR_CODEC_RAW, 5, 60);
    flip_every_byte(&fixture, &memory, "d/000005.run", true);
    flip_every_byte(&fixture, &memory, "d/000005.vectors", true);
    destroy(&fixture, &memory);
}
END_TEST

START_TEST(every_flipped_byte_of_a_packed_run_is_found)
{
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_RUN, VECTOR_CODEC_PACKED, 64, 40);
    flip_every_byte(&fixture, &memory, "d/000005.vectors", true);
    destroy(&fixture, &memory);
}
END_TEST

START_TEST(every_flipped_byte_of_a_run_of_another_type_is_found)
{
    for (int codec = VECTOR_CODEC_FLOAT16; codec < VECTOR_CODEC_COUNT; codec++) {
        struct table_fixture fixture;
        struct memory_io memory;
        create(&fixture, &memory, TABLE_RUN, (enum vector_codec)codec, 5, 12);
        flip_every_byte(&fixture, &memory, "d/000005.run", true);
        flip_every_byte(&fixture, &memory, "d/000005.vectors", true);
        destroy(&fixture, &memory);
    }
}
END_TEST

START_TEST(every_shorter_file_is_found)
{
    static const char *const paths[] = {"d/000005.run", "d/000005.vectors"};
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_RUN, VECTOR_CODEC_RAW, 5, 60);
    for (int i = 0; i < 2; i++) {
        struct buffer *file = memory_io_file(&memory, paths[i]);
        size_t whole = file->size;
        for (file->size = 0; file->size < whole; file->size++)
            ck_assert_int_eq(table_fixture_compare(&fixture, &memory.io, "d"), ERROR_CORRUPT);
        buffer_append(file, "\0", 1);
        ck_assert_int_eq(table_fixture_compare(&fixture, &memory.io, "d"), ERROR_CORRUPT);
        file->size = whole;
    }
    destroy(&fixture, &memory);
}
END_TEST

static void swap_bytes(uint8_t *a, uint8_t *b, size_t size_bytes)
{
    uint8_t kept[PAGE_BYTES];

    memcpy(kept, a, size_bytes);
    memmove(a, b, size_bytes);
    memcpy(b, kept, size_bytes);
}

/* One damaged page: the data is right or an error, and verify agrees with whether bytes changed. */
static void judge(const struct table_fixture *fixture, struct memory_io *memory, const char *path,
                  const struct buffer *before, const char *what, size_t page)
{
    struct buffer *file = memory_io_file(memory, path);
    bool changed = memcmp(file->data, before->data, before->size) != 0;

    (void)table_fixture_compare(fixture, &memory->io, "d");
    ck_assert_msg(verify_finds(fixture, &memory->io) == changed, "%s: page %zu %s", path, page,
                  what);
    memcpy(file->data, before->data, before->size);
}

static void damage_every_page(const struct table_fixture *fixture, struct memory_io *memory,
                              const char *path)
{
    struct buffer *file = memory_io_file(memory, path);
    struct buffer before = {0};
    uint64_t state = test_seed();
    size_t pages = file->size / PAGE_BYTES;

    ck_assert_uint_ge(pages, 10);
    buffer_append(&before, file->data, file->size);
    for (size_t page = 0; page < pages; page++) {
        uint8_t *bytes = file->data + page * PAGE_BYTES;
        uint8_t *other =
            file->data + (page + 1 + test_random(&state) % (pages - 1)) % pages * PAGE_BYTES;
        bytes[test_random(&state) % PAGE_BYTES] ^= (uint8_t)(1U << test_random(&state) % 8);
        judge(fixture, memory, path, &before, "with a flipped bit", page);
        memset(bytes, 0, PAGE_BYTES);
        judge(fixture, memory, path, &before, "zeroed", page);
        memcpy(bytes, other, PAGE_BYTES);
        judge(fixture, memory, path, &before, "replaced by another", page);
        swap_bytes(bytes, other, PAGE_BYTES);
        judge(fixture, memory, path, &before, "swapped with another", page);
        file->size = page * PAGE_BYTES;
        ck_assert_int_eq(table_fixture_compare(fixture, &memory->io, "d"), ERROR_CORRUPT);
        file->size = before.size;
    }
    buffer_destroy(&before);
}

START_TEST(every_damaged_page_of_a_chunk_is_found)
{
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_CHUNK, VECTOR_CODEC_RAW, 16, 1500);
    damage_every_page(&fixture, &memory, "d/000005.chunk");
    destroy(&fixture, &memory);
}
END_TEST

START_TEST(every_damaged_page_of_a_run_is_found)
{
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_RUN, VECTOR_CODEC_RAW, 128, 1500);
    damage_every_page(&fixture, &memory, "d/000005.run");
    damage_every_page(&fixture, &memory, "d/000005.vectors");
    destroy(&fixture, &memory);
}
END_TEST

START_TEST(every_damaged_page_of_a_packed_run_is_found)
{
    struct table_fixture fixture;
    struct memory_io memory;

    create(&fixture, &memory, TABLE_RUN, VECTOR_CODEC_PACKED, 128, 1500);
    damage_every_page(&fixture, &memory, "d/000005.vectors");
    destroy(&fixture, &memory);
}
END_TEST

START_TEST(vectors_of_an_older_file_with_the_same_number_are_refused)
{
    struct table_fixture old, new;
    struct memory_io memory;
    struct table_fixture_options options = {
        .kind = TABLE_RUN, .dim = 8, .row_count = 50, .file_number = FILE_NUMBER, .seed = 1};
    struct buffer stale = {0};
    struct buffer *file;

    memory_io_create(&memory);
    table_fixture_create(&old, &memory.io, "d", &options);
    file = memory_io_file(&memory, "d/000005.vectors");
    buffer_append(&stale, file->data, file->size);
    table_fixture_destroy(&old);
    options.seed = 2;
    table_fixture_create(&new, &memory.io, "d", &options);
    memory_io_put(&memory, "d/000005.vectors", stale.data, stale.size);
    ck_assert_int_eq(table_fixture_compare(&new, &memory.io, "d"), ERROR_CORRUPT);
    table_fixture_destroy(&new);
    buffer_destroy(&stale);
    memory_io_destroy(&memory);
}
END_TEST

TEST_TABLE(TEST(every_flipped_byte_of_a_chunk_is_found), TEST(every_flipped_byte_of_a_run_is_found),
           TEST(every_flipped_byte_of_a_packed_run_is_found),
           TEST(every_flipped_byte_of_a_run_of_another_type_is_found),
           TEST(every_damaged_page_of_a_packed_run_is_found), TEST(every_shorter_file_is_found),
           TEST(every_damaged_page_of_a_chunk_is_found), TEST(every_damaged_page_of_a_run_is_found),
           TEST(vectors_of_an_older_file_with_the_same_number_are_refused))
