/* Masks read back what was written and refuse every byte that changed. */
#include <stdlib.h>
#include <string.h>

#include "store/files/table.h"
#include "tests/store/table_memory_io.h"
#include "tests/support/test_main.h"

enum { FILE_NUMBER = 9, TABLE_NUMBER = 4, ROWS = 1000 };

static uint32_t draw(uint64_t *state, struct mask_entry *entries)
{
    uint32_t count = 0;

    for (uint32_t row = 0; row < ROWS; row++) {
        if (test_random(state) % 8 == 0)
            entries[count++] = (struct mask_entry){
                .row = row, .dead_at_offset = (int64_t)(test_random(state) >> 1)};
    }
    return count;
}

START_TEST(mask_reads_back)
{
    static struct mask_entry entries[ROWS];
    struct memory_io memory;
    uint64_t state = test_seed();

    memory_io_create(&memory);
    for (int i = 0; i < 50; i++) {
        uint32_t count = i == 0 ? 0 : draw(&state, entries);
        struct mask_entry *read = NULL;
        uint32_t read_count = 99;
        uint64_t size_bytes = 0;
        ck_assert_int_eq(mask_write(&memory.io, "d", FILE_NUMBER, TABLE_NUMBER, entries, count,
                                    &size_bytes, ERROR_IGNORED),
                         0);
        ck_assert_uint_eq(size_bytes, 40 + count * 16);
        ck_assert_int_eq(mask_read(&memory.io, "d", FILE_NUMBER, TABLE_NUMBER, ROWS, &read,
                                   &read_count, ERROR_IGNORED),
                         0);
        ck_assert_uint_eq(read_count, count);
        if (count > 0)
            ck_assert_mem_eq(read, entries, count * sizeof(*entries));
        free(read);
    }
    memory_io_destroy(&memory);
}
END_TEST

static int read_mask(struct memory_io *memory, uint64_t file_number, uint64_t table_number,
                     uint32_t rows)
{
    struct mask_entry *read = NULL;
    uint32_t count;
    int result =
        mask_read(&memory->io, "d", file_number, table_number, rows, &read, &count, ERROR_IGNORED);

    if (result == 0)
        free(read);
    return result;
}

START_TEST(mask_of_another_table_is_refused)
{
    const struct mask_entry entries[] = {{.row = 3, .dead_at_offset = 7},
                                         {.row = 5, .dead_at_offset = 6}};
    struct memory_io memory;
    uint64_t size_bytes;
    struct buffer *file;

    memory_io_create(&memory);
    ck_assert_int_eq(mask_write(&memory.io, "d", FILE_NUMBER, TABLE_NUMBER, entries, 2, &size_bytes,
                                ERROR_IGNORED),
                     0);
    ck_assert_int_eq(read_mask(&memory, FILE_NUMBER, TABLE_NUMBER, 6), 0);
    ck_assert_int_eq(read_mask(&memory, FILE_NUMBER, TABLE_NUMBER + 1, 6), ERROR_CORRUPT);
    ck_assert_int_eq(read_mask(&memory, FILE_NUMBER, TABLE_NUMBER, 5), ERROR_CORRUPT);
    ck_assert_int_eq(read_mask(&memory, FILE_NUMBER + 1, TABLE_NUMBER, 6), ERROR_NOT_FOUND);
    file = memory_io_file(&memory, "d/000009.mask");
    memory_io_put(&memory, "d/000010.mask", file->data, file->size);
    ck_assert_int_eq(read_mask(&memory, FILE_NUMBER + 1, TABLE_NUMBER, 6), ERROR_CORRUPT);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(every_changed_or_missing_byte_of_a_mask_is_found)
{
    static struct mask_entry entries[ROWS];
    struct memory_io memory;
    uint64_t state = test_seed();
    uint32_t count = draw(&state, entries);
    uint64_t size_bytes;
    struct buffer *file;

    memory_io_create(&memory);
    ck_assert_int_eq(mask_write(&memory.io, "d", FILE_NUMBER, TABLE_NUMBER, entries, count,
                                &size_bytes, ERROR_IGNORED),
                     0);
    file = memory_io_file(&memory, "d/000009.mask");
    for (size_t i = 0; i < file->size; i++) {
        uint8_t flip = (uint8_t)(1 + test_random(&state) % 255);
        size_t whole = file->size;
        file->data[i] ^= flip;
        ck_assert_int_eq(read_mask(&memory, FILE_NUMBER, TABLE_NUMBER, ROWS), ERROR_CORRUPT);
        file->data[i] ^= flip;
        file->size = i;
        ck_assert_int_eq(read_mask(&memory, FILE_NUMBER, TABLE_NUMBER, ROWS), ERROR_CORRUPT);
        file->size = whole;
    }
    ck_assert_int_eq(read_mask(&memory, FILE_NUMBER, TABLE_NUMBER, ROWS), 0);
    memory_io_destroy(&memory);
}
END_TEST

START_TEST(mask_that_cannot_be_written_is_removed)
{
    const struct mask_entry entry = {.row = 3, .dead_at_offset = 7};
    struct memory_io memory;
    uint64_t size_bytes;

    memory_io_create(&memory);
    for (int64_t i = 0; i < 2; i++) {
        memory.fail_after = i;
        ck_assert_int_eq(mask_write(&memory.io, "d", FILE_NUMBER, TABLE_NUMBER, &entry, 1,
                                    &size_bytes, ERROR_IGNORED),
                         ERROR_NO_SPACE);
        ck_assert_ptr_null(memory_io_file(&memory, "d/000009.mask"));
    }
    memory_io_destroy(&memory);
}
END_TEST

TEST_TABLE(TEST(mask_reads_back), TEST(mask_of_another_table_is_refused),
           TEST(every_changed_or_missing_byte_of_a_mask_is_found),
           TEST(mask_that_cannot_be_written_is_removed))
