/* IVF-PQ files are hostile input, as those of graphs are (index_segment.c). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/ivf_file.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

enum { ROWS = 300, DIM = 20 };

struct file {
    uint8_t *bytes;
    size_t size;
};

static struct file small_segment(void)
{
    uint64_t state = 11;
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, ROWS, DIM, 4, 0.5f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, DIM);
    struct file file;

    index_segment_close(fixture_ivf_segment(&data, &options));
    fixture_data_destroy(&data);
    file.bytes = fixture_read_file(&file.size);
    return file;
}

static int open_status(enum vector_metric metric, uint32_t dim, uint32_t rows, struct error *error)
{
    struct index_segment *segment;
    int status = index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, metric, dim,
                                    rows, &segment, error);

    if (status == 0)
        index_segment_close(segment);
    return status;
}

START_TEST(every_flipped_bit_is_found)
{
    struct file file = small_segment();
    const struct index_ivf_header *header = (const void *)file.bytes;
    struct error error;

    for (size_t at = 0; at < file.size; at += at < 400 ? 1 : 61) {
        bool matters = at < INDEX_SEGMENT_PAGE;
        for (int i = 0; i < INDEX_IVF_SECTION_COUNT; i++)
            matters |= at >= header->sections[i].offset &&
                       at < header->sections[i].offset + header->sections[i].size_bytes;
        file.bytes[at] ^= (uint8_t)(1u << at % 8);
        fixture_write_file(file.bytes, file.size);
        file.bytes[at] ^= (uint8_t)(1u << at % 8);
        ck_assert_msg((open_status(VECTOR_METRIC_L2, DIM, ROWS, &error) != 0) == matters,
                      "byte %zu", at);
    }
    free(file.bytes);
}
END_TEST

START_TEST(truncated_files_and_files_of_something_else_are_refused)
{
    struct file file = small_segment();
    struct error error;

    ck_assert_int_eq(open_status(VECTOR_METRIC_L2, DIM, ROWS, &error), 0);
    ck_assert_int_eq(open_status(VECTOR_METRIC_DOT, DIM, ROWS, &error), ERROR_CORRUPT);
    ck_assert_int_eq(open_status(VECTOR_METRIC_L2, DIM + 1, ROWS, &error), ERROR_CORRUPT);
    ck_assert_int_eq(open_status(VECTOR_METRIC_L2, DIM, ROWS + 1, &error), ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, fixture_path()));
    for (size_t size = 0; size < file.size; size += size < 4200 ? 97 : 1013) {
        fixture_write_file(file.bytes, size);
        ck_assert_int_ne(open_status(VECTOR_METRIC_L2, DIM, ROWS, &error), 0);
    }
    free(file.bytes);
}
END_TEST

/* Whoever can write a file can write its checksums. */
static void sign(uint8_t *bytes)
{
    struct index_ivf_header *header = (void *)bytes;

    for (uint32_t i = 0; i < INDEX_IVF_SECTION_COUNT; i++)
        header->sections[i].checksum =
            index_section_checksum(bytes + header->sections[i].offset,
                                   header->sections[i].size_bytes, header->file_number, i);
    header->checksum = index_ivf_header_checksum(header);
}

static void check_refused(const struct file *file, uint8_t *changed, const char *text)
{
    struct error error;

    sign(changed);
    fixture_write_file(changed, file->size);
    ck_assert_int_eq(open_status(VECTOR_METRIC_L2, DIM, ROWS, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, text) != NULL, "%s, not %s", error.text, text);
    memcpy(changed, file->bytes, file->size);
}

START_TEST(numbers_out_of_bounds_are_found_behind_right_checksums)
{
    struct file file = small_segment();
    const struct index_ivf_header *header = (const void *)file.bytes;
    const uint32_t nan = 0x7fc00000, infinity = 0x7f800000;
    const struct {
        enum index_ivf_section section;
        uint32_t word, value;
        const char *text;
    } cases[] = {
        {INDEX_IVF_LOW, 3, nan, "finite"},
        {INDEX_IVF_CENTROIDS, 5, infinity, "finite"},
        {INDEX_IVF_CENTROIDS, header->list_count * DIM + 1, nan, "finite"},
        {INDEX_IVF_CODES, 1, 0x00800000, "code"},
        {INDEX_IVF_CODEWORDS, 7, nan, "finite"},
        {INDEX_IVF_LISTS, 0, 1, "list"},
        {INDEX_IVF_LISTS, 2, 0xffffffff, "list"},
        {INDEX_IVF_LISTS, header->list_count, 0, "lists"},
        {INDEX_IVF_LISTS, header->list_count + 1, 0xffffffff, "list"},
        {INDEX_IVF_LISTS, header->list_count + 2, 0, "list"},
        {INDEX_IVF_ROWS, 0, ROWS, "row number"},
        {INDEX_IVF_ROWS, header->block_count * 32 - 1, 3, "behind the end"},
    };
    uint8_t *changed = malloc(file.size);
    uint32_t *rows;

    memcpy(changed, file.bytes, file.size);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(changed + header->sections[cases[i].section].offset + 4 * cases[i].word,
               &cases[i].value, 4);
        check_refused(&file, changed, cases[i].text);
    }
    rows = (void *)(changed + header->sections[INDEX_IVF_ROWS].offset);
    rows[1] = rows[0];
    check_refused(&file, changed, "twice");
    free(changed);
    free(file.bytes);
}
END_TEST

START_TEST(headers_out_of_bounds_are_found_behind_right_checksums)
{
    struct file file = small_segment();
    static const struct {
        size_t offset;
        uint32_t value;
    } cases[] = {
        {offsetof(struct index_ivf_header, metric), 3},
        {offsetof(struct index_ivf_header, code_kind), 3},
        {offsetof(struct index_ivf_header, dim), 0},
        {offsetof(struct index_ivf_header, dim), 70000},
        {offsetof(struct index_ivf_header, stride), 128},
        {offsetof(struct index_ivf_header, part_dim), 0},
        {offsetof(struct index_ivf_header, part_dim), 2},
        {offsetof(struct index_ivf_header, part_dim), 0x40000000},
        {offsetof(struct index_ivf_header, part_count), 0},
        {offsetof(struct index_ivf_header, part_count), 22},
        {offsetof(struct index_ivf_header, part_count), 24},
        {offsetof(struct index_ivf_header, part_count), 1024},
        {offsetof(struct index_ivf_header, count), 0},
        {offsetof(struct index_ivf_header, list_count), 0},
        {offsetof(struct index_ivf_header, list_count), 0xffffffff},
        {offsetof(struct index_ivf_header, block_count), 0},
        {offsetof(struct index_ivf_header, block_count), 0xffffffff},
        {offsetof(struct index_ivf_header, step), 0},
        {offsetof(struct index_ivf_header, bias_step), 0xbf800000},
        {offsetof(struct index_ivf_header, bias_low), 0x7fc00000},
        {offsetof(struct index_ivf_header, error), 0x7fc00000},
    };
    struct error error;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t *changed = malloc(file.size);
        struct index_ivf_header *header = (void *)changed;
        memcpy(changed, file.bytes, file.size);
        memcpy(changed + cases[i].offset, &cases[i].value, 4);
        header->checksum = index_ivf_header_checksum(header);
        fixture_write_file(changed, file.size);
        ck_assert_msg(open_status(VECTOR_METRIC_L2, DIM, ROWS, &error) == ERROR_CORRUPT, "case %zu",
                      i);
        free(changed);
    }
    free(file.bytes);
}
END_TEST

START_TEST(inspect_describes_lists_for_people_and_programs)
{
    struct file file = small_segment();
    struct buffer text = {0}, json = {0};
    struct error error;

    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), false, &text, &error), 0);
    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), true, &json, &error), 0);
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "kind          ivf_pq\n"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&text), "rows          300\n"));
    ck_assert_ptr_nonnull(strstr(buffer_text(&json), "{\"kind\":\"ivf_pq\""));
    ck_assert_ptr_nonnull(strstr(buffer_text(&json), "\"rows\":300,\"dim\":20,\"metric\":\"l2\""));
    ck_assert_ptr_nonnull(strstr(buffer_text(&json), "\"valid\":true}"));
    fixture_write_file(file.bytes, 5000);
    ck_assert_int_eq(index_segment_inspect(io_posix(), fixture_path(), true, &json, &error),
                     ERROR_CORRUPT);
    buffer_destroy(&text);
    buffer_destroy(&json);
    free(file.bytes);
}
END_TEST

TEST_TABLE(TEST(every_flipped_bit_is_found),
           TEST(truncated_files_and_files_of_something_else_are_refused),
           TEST(numbers_out_of_bounds_are_found_behind_right_checksums),
           TEST(headers_out_of_bounds_are_found_behind_right_checksums),
           TEST(inspect_describes_lists_for_people_and_programs))
