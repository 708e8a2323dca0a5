/* Segment files are hostile input: damage is found when they are opened, and a file of another
 * window, metric or place is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/segment.h"
#include "indexer/index/segment_format.h"
#include "tests/indexer/index_fixture.h"
#include "tests/support/test_main.h"

struct file {
    uint8_t *bytes;
    size_t size;
};

static struct file read_file(void)
{
    struct file file = {0};
    FILE *stream = fopen(fixture_path(), "rb");

    ck_assert_ptr_nonnull(stream);
    fseek(stream, 0, SEEK_END);
    file.size = (size_t)ftell(stream);
    rewind(stream);
    file.bytes = malloc(file.size);
    ck_assert_uint_eq(fread(file.bytes, 1, file.size, stream), file.size);
    fclose(stream);
    return file;
}

static void write_file(const uint8_t *bytes, size_t size)
{
    FILE *stream = fopen(fixture_path(), "wb");

    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, size, stream), size);
    ck_assert_int_eq(fclose(stream), 0);
}

static struct file small_segment(uint32_t rows, uint32_t dim)
{
    uint64_t state = 11;
    struct fixture_data data = fixture_clusters(INDEX_METRIC_L2, rows, dim, 4, 0.5f, &state);
    struct index_build_options options = fixture_options(INDEX_METRIC_L2, dim);

    options.m = 4;
    index_segment_close(fixture_segment(&data, &options));
    fixture_data_destroy(&data);
    return read_file();
}

static int open_status(uint32_t rows, uint32_t dim, struct error *error)
{
    struct index_segment *segment;
    int status = index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                    INDEX_METRIC_L2, dim, rows, &segment, error);

    if (status == 0)
        index_segment_close(segment);
    return status;
}

/* Every byte of the header, and bytes all over the sections; zeros between sections mean nothing.
 */
START_TEST(every_flipped_bit_is_found)
{
    struct file file = small_segment(200, 20);
    const struct index_segment_header *header = (const void *)file.bytes;
    struct error error;

    for (size_t at = 0; at < file.size; at += at < 320 ? 1 : 61) {
        bool matters = at < INDEX_SEGMENT_PAGE;
        for (int i = 0; i < INDEX_SECTION_COUNT; i++)
            matters |= at >= header->sections[i].offset &&
                       at < header->sections[i].offset + header->sections[i].size_bytes;
        file.bytes[at] ^= (uint8_t)(1u << at % 8);
        write_file(file.bytes, file.size);
        file.bytes[at] ^= (uint8_t)(1u << at % 8);
        ck_assert_msg((open_status(200, 20, &error) != 0) == matters, "byte %zu", at);
    }
    free(file.bytes);
}
END_TEST

START_TEST(every_truncated_or_longer_file_is_refused)
{
    struct file file = small_segment(200, 20);
    uint8_t *longer = calloc(1, file.size + 4096);
    struct error error;

    for (size_t size = 0; size < file.size; size += size < 4200 ? 97 : 1013) {
        write_file(file.bytes, size);
        ck_assert_int_ne(open_status(200, 20, &error), 0);
    }
    memcpy(longer, file.bytes, file.size);
    write_file(longer, file.size + 4096);
    ck_assert_int_eq(open_status(200, 20, &error), ERROR_CORRUPT);
    write_file(file.bytes, file.size);
    ck_assert_int_eq(open_status(200, 20, &error), 0);
    free(longer);
    free(file.bytes);
}
END_TEST

START_TEST(a_segment_of_something_else_is_refused)
{
    struct file file = small_segment(50, 20);
    static const struct {
        uint64_t file_number;
        enum index_metric metric;
        uint32_t dim, rows;
    } cases[] = {
        {FIXTURE_FILE_NUMBER + 1, INDEX_METRIC_L2, 20, 50},
        {FIXTURE_FILE_NUMBER, INDEX_METRIC_DOT, 20, 50},
        {FIXTURE_FILE_NUMBER, INDEX_METRIC_L2, 21, 50},
        {FIXTURE_FILE_NUMBER, INDEX_METRIC_L2, 20, 51},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct index_segment *segment;
        struct error error;
        ck_assert_int_eq(index_segment_open(io_posix(), fixture_path(), cases[i].file_number,
                                            cases[i].metric, cases[i].dim, cases[i].rows, &segment,
                                            &error),
                         ERROR_CORRUPT);
        ck_assert_ptr_null(segment);
        ck_assert_ptr_nonnull(strstr(error.text, fixture_path()));
    }
    free(file.bytes);
}
END_TEST

START_TEST(a_missing_file_is_not_found)
{
    struct error error;

    (void)remove(fixture_path());
    ck_assert_int_eq(open_status(1, 1, &error), ERROR_NOT_FOUND);
}
END_TEST

/* Whoever can write a file can write its checksums. */
static void sign(uint8_t *bytes)
{
    struct index_segment_header *header = (void *)bytes;

    for (uint32_t i = 0; i < INDEX_SECTION_COUNT; i++)
        header->sections[i].checksum =
            index_section_checksum(bytes + header->sections[i].offset,
                                   header->sections[i].size_bytes, header->file_number, i);
    header->checksum = index_header_checksum(header);
}

START_TEST(numbers_out_of_bounds_are_found_behind_right_checksums)
{
    struct file file = small_segment(2000, 20);
    const struct index_segment_header *header = (const void *)file.bytes;
    static const struct {
        enum index_section section;
        uint32_t word, value;
        const char *text;
    } cases[] = {
        {INDEX_SECTION_ROWS, 7, 2000, "row number"},
        {INDEX_SECTION_LINKS, 3, 2000, "link"},
        {INDEX_SECTION_LINKS, 9, 0xfffffffe, "link"},
        {INDEX_SECTION_CODES, 5, 0x00800000, "code"},
        {INDEX_SECTION_LEVELS, 0, 2000, "upper level"},
        {INDEX_SECTION_LEVELS, 125, 2000, "upper level"},
        {INDEX_SECTION_LEVELS, 252, 125, "upper level"},
    };
    struct error error;

    ck_assert_uint_eq(header->level_items[0], 125);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *changed = malloc(file.size);
        memcpy(changed, file.bytes, file.size);
        memcpy(changed + header->sections[cases[i].section].offset + 4 * cases[i].word,
               &cases[i].value, 4);
        sign(changed);
        write_file(changed, file.size);
        ck_assert_int_eq(open_status(2000, 20, &error), ERROR_CORRUPT);
        ck_assert_msg(strstr(error.text, cases[i].text) != NULL, "%s", error.text);
        free(changed);
    }
    free(file.bytes);
}
END_TEST

START_TEST(a_row_that_appears_twice_is_found)
{
    struct file file = small_segment(50, 20);
    struct index_segment_header *header = (void *)file.bytes;
    uint32_t *rows = (void *)(file.bytes + header->sections[INDEX_SECTION_ROWS].offset);
    struct error error;

    rows[3] = rows[30];
    sign(file.bytes);
    write_file(file.bytes, file.size);
    ck_assert_int_eq(open_status(50, 20, &error), ERROR_CORRUPT);
    free(file.bytes);
}
END_TEST

static void check_invalid(struct file *file, uint32_t rows, const char *text)
{
    struct index_segment *segment;
    struct error error = {0};

    sign(file->bytes);
    write_file(file->bytes, file->size);
    ck_assert_int_eq(index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                        INDEX_METRIC_L2, 20, rows, &segment, &error),
                     0);
    ck_assert_int_eq(index_segment_validate(segment, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, text) != NULL, "%s", error.text);
    index_segment_close(segment);
}

START_TEST(the_check_of_a_segment_looks_at_its_run_and_its_graph)
{
    struct file file = small_segment(300, 20);
    struct index_segment_header *header = (void *)file.bytes;
    uint32_t *links = (void *)(file.bytes + header->sections[INDEX_SECTION_LINKS].offset);
    struct error error = {0};
    const char *path = fixture_path();

    ck_assert_int_eq(index_segment_check(io_posix(), path, FIXTURE_FILE_NUMBER, 20, 300, &error),
                     0);
    ck_assert_int_ne(index_segment_check(io_posix(), path, FIXTURE_FILE_NUMBER, 20, 301, &error),
                     0);
    ck_assert_int_ne(index_segment_check(io_posix(), path, FIXTURE_FILE_NUMBER, 21, 300, &error),
                     0);
    ck_assert_int_ne(
        index_segment_check(io_posix(), path, FIXTURE_FILE_NUMBER + 1, 20, 300, &error), 0);
    links[0] = links[1];
    sign(file.bytes);
    write_file(file.bytes, file.size);
    ck_assert_int_eq(index_segment_check(io_posix(), path, FIXTURE_FILE_NUMBER, 20, 300, &error),
                     ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "twice") != NULL, "%s", error.text);
    free(file.bytes);
}
END_TEST

START_TEST(the_validator_finds_broken_graphs)
{
    struct file file = small_segment(300, 20);
    struct index_segment_header *header = (void *)file.bytes;
    uint32_t *links = (void *)(file.bytes + header->sections[INDEX_SECTION_LINKS].offset);
    uint32_t degree = 2 * header->m, saved = links[0];

    links[0] = 0;
    check_invalid(&file, 300, "to itself");
    links[0] = UINT32_MAX;
    check_invalid(&file, 300, "gap");
    links[0] = links[1];
    check_invalid(&file, 300, "twice");
    links[0] = saved;
    for (uint32_t i = 0; i < degree; i++)
        links[i] = UINT32_MAX;
    check_invalid(&file, 300, "not reachable");
    free(file.bytes);
}
END_TEST

START_TEST(inspect_describes_a_segment_for_people_and_programs)
{
    struct file file = small_segment(300, 20);
    struct buffer text = {0}, json = {0};
    struct error error;

    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), false, &text, &error), 0);
    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), true, &json, &error), 0);
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "rows          300\n"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "graph         valid"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&json), "\"rows\":300,\"dim\":20,\"metric\":\"l2\""));
    ck_assert_ptr_nonnull(strstr(buffer_text(&json), "\"valid\":true}"));
    write_file(file.bytes, 100);
    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), false, &text, &error),
                     ERROR_CORRUPT);
    buffer_destroy(&text);
    buffer_destroy(&json);
    free(file.bytes);
}
END_TEST

TEST_TABLE(TEST(every_flipped_bit_is_found), TEST(every_truncated_or_longer_file_is_refused),
           TEST(a_segment_of_something_else_is_refused), TEST(a_missing_file_is_not_found),
           TEST(numbers_out_of_bounds_are_found_behind_right_checksums),
           TEST(a_row_that_appears_twice_is_found),
           TEST(the_check_of_a_segment_looks_at_its_run_and_its_graph),
           TEST(the_validator_finds_broken_graphs),
           TEST(inspect_describes_a_segment_for_people_and_programs))
