/* Segment files are hostile input: damage is found when they are opened, and a file of another
 * window, metric or place is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/segment.h"
#include "tests/indexer/index/index_fixture.h"
#include "tests/support/test_main.h"

struct file {
    uint8_t *bytes;
    size_t size;
};

static struct file read_file(void)
{
    struct file file;

    file.bytes = fixture_read_file(&file.size);
    return file;
}

static struct file small_segment(uint32_t rows, uint32_t dim)
{
    uint64_t state = 11;
    struct fixture_data data = fixture_clusters(VECTOR_METRIC_L2, rows, dim, 4, 0.5f, &state);
    struct index_build_options options = fixture_options(VECTOR_METRIC_L2, dim);

    options.m = 4;
    index_segment_close(fixture_segment(&data, &options));
    fixture_data_destroy(&data);
    return read_file();
}

/* Link `i` of a node, in the file. */
static uint32_t change_link(struct file *file, uint32_t node, uint32_t i, uint32_t to)
{
    const struct index_segment_header *header = (const void *)file->bytes;
    const struct index_link_block *blocks =
        (const void *)(file->bytes + header->sections[INDEX_SECTION_PLACES].offset);
    const struct index_link_block *block = &blocks[node / INDEX_LINK_BLOCK_NODES];
    uint64_t bit = (block->first + block->begins[node % INDEX_LINK_BLOCK_NODES]) * 8 +
                   (uint64_t)i * header->link_bits;
    uint8_t *bytes = file->bytes + header->sections[INDEX_SECTION_LINKS].offset;
    uint32_t from = 0;

    for (uint32_t j = 0; j < header->link_bits; j++, bit++) {
        from |= (uint32_t)(bytes[bit / 8] >> bit % 8 & 1) << j;
        bytes[bit / 8] = (uint8_t)((bytes[bit / 8] & ~(1u << bit % 8)) | (to >> j & 1) << bit % 8);
    }
    return from;
}

/* The first node's first link becomes the same as its second. */
static void repeat_link(struct file *file)
{
    uint32_t second = change_link(file, 0, 1, 0);

    change_link(file, 0, 1, second);
    change_link(file, 0, 0, second);
}

static int open_status(uint32_t rows, uint32_t dim, struct error *error)
{
    struct index_segment *segment;
    int status = index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                    VECTOR_METRIC_L2, dim, rows, &segment, error);

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
        fixture_write_file(file.bytes, file.size);
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
        fixture_write_file(file.bytes, size);
        ck_assert_int_ne(open_status(200, 20, &error), 0);
    }
    memcpy(longer, file.bytes, file.size);
    fixture_write_file(longer, file.size + 4096);
    ck_assert_int_eq(open_status(200, 20, &error), ERROR_CORRUPT);
    fixture_write_file(file.bytes, file.size);
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
        enum vector_metric metric;
        uint32_t dim, rows;
    } cases[] = {
        {FIXTURE_FILE_NUMBER + 1, VECTOR_METRIC_L2, 20, 50},
        {FIXTURE_FILE_NUMBER, VECTOR_METRIC_DOT, 20, 50},
        {FIXTURE_FILE_NUMBER, VECTOR_METRIC_L2, 21, 50},
        {FIXTURE_FILE_NUMBER, VECTOR_METRIC_L2, 20, 51},
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
        {INDEX_SECTION_LINKS, 3, 0xffffffff, "link is out of bounds"},
        {INDEX_SECTION_PLACES, 0, 1, "follow one another"},
        {INDEX_SECTION_PLACES, 1, 1, "follow one another"},
        {INDEX_SECTION_PLACES, 2, 1, "follow one another"},           /* where the first begins */
        {INDEX_SECTION_PLACES, 15, 0x00010001, "place of a node"},    /* a block's last two ends */
        {INDEX_SECTION_PLACES, 2, 0xffff0000, "place of a node"},     /* more than 8 links */
        {INDEX_SECTION_PLACES, 16, 0x7fffffff, "follow one another"}, /* the next block */
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
        fixture_write_file(changed, file.size);
        ck_assert_int_eq(open_status(2000, 20, &error), ERROR_CORRUPT);
        ck_assert_msg(strstr(error.text, cases[i].text) != NULL, "%s", error.text);
        free(changed);
    }
    free(file.bytes);
}
END_TEST

/* Nodes that are not there have no links, and the last byte is where the header says. */
START_TEST(places_of_links_agree_with_the_header)
{
    struct file file = small_segment(50, 20);
    struct index_segment_header *header = (void *)file.bytes;
    struct index_link_block *blocks =
        (void *)(file.bytes + header->sections[INDEX_SECTION_PLACES].offset);
    uint16_t *behind = &blocks[1].begins[50 - INDEX_LINK_BLOCK_NODES + 1];
    struct error error;

    *behind = (uint16_t)(*behind + header->link_bits / 8);
    sign(file.bytes);
    fixture_write_file(file.bytes, file.size);
    ck_assert_int_eq(open_status(50, 20, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "place of a node") != NULL, "%s", error.text);
    *behind = (uint16_t)(*behind - header->link_bits / 8);
    header->link_bytes++;
    header->sections[INDEX_SECTION_LINKS].size_bytes++;
    sign(file.bytes);
    fixture_write_file(file.bytes, file.size);
    ck_assert_int_eq(open_status(50, 20, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "links end") != NULL, "%s", error.text);
    free(file.bytes);
}
END_TEST

START_TEST(the_width_and_size_of_links_are_checked)
{
    static const struct {
        uint32_t bits;
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {9, 100, "width"},
        {32, 100, "width"},
        {0, 100, "width"},
        {8, 0, "size of the links"},
        {8, UINT64_MAX, "size of the links"},
        {8, 50 * 8 + INDEX_LINK_SLACK + 1, "size of the links"},
    };
    struct file file = small_segment(50, 20);
    struct index_segment_header *header = (void *)file.bytes;
    struct error error;

    ck_assert_uint_eq(header->link_bits, 8);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        header->link_bits = cases[i].bits;
        header->link_bytes = cases[i].bytes;
        header->checksum = index_header_checksum(header);
        fixture_write_file(file.bytes, file.size);
        ck_assert_int_eq(open_status(50, 20, &error), ERROR_CORRUPT);
        ck_assert_msg(strstr(error.text, cases[i].text) != NULL, "%s", error.text);
    }
    free(file.bytes);
}
END_TEST

START_TEST(another_format_version_is_unsupported)
{
    struct file file = small_segment(50, 20);
    struct index_segment_header *header = (void *)file.bytes;
    struct error error;

    for (uint32_t version = 0; version < 6; version++) {
        header->version = version;
        header->checksum = index_header_checksum(header);
        fixture_write_file(file.bytes, file.size);
        ck_assert_int_eq(open_status(50, 20, &error),
                         version == INDEX_SEGMENT_VERSION ? 0
                         : version == INDEX_SEGMENT_VERSION_HALF ||
                                 version == INDEX_SEGMENT_VERSION_OUTLIERS
                             ? ERROR_CORRUPT
                             : ERROR_UNSUPPORTED);
    }
    free(file.bytes);
}
END_TEST

/* Every width that node numbers may have, against numbers taken bit by bit. */
START_TEST(links_of_every_width_are_read)
{
    uint64_t state = 5;

    for (uint32_t bits = 1; bits <= 31; bits++) {
        uint32_t most = bits == 31 ? INT32_MAX : (UINT32_C(1) << bits) - 1;
        uint32_t width = index_link_bits(most), degree = 16, packed[16 * 16];
        uint8_t bytes[sizeof(packed) + INDEX_LINK_SLACK] = {0};
        struct index_link_block block = {.first = 0};
        struct index_links links = {&block, bytes, width};

        ck_assert_uint_ge(width, bits);
        for (uint32_t node = 0; node < 16; node++) {
            uint32_t count = node; /* 0 to 15 links */
            uint64_t bit = block.begins[node] * 8u;
            for (uint32_t i = 0; i < count; i++) {
                uint32_t link = (uint32_t)(fixture_gauss(&state) * 1e9f) & (most - 1);
                packed[node * degree + i] = i % 3 == 0 ? most - 1 : link;
                for (uint32_t j = 0; j < width; j++, bit++)
                    bytes[bit / 8] |= (uint8_t)((packed[node * degree + i] >> j & 1) << bit % 8);
            }
            block.begins[node + 1] = (uint16_t)((bit + 7) / 8);
        }
        for (uint32_t node = 0; node < 16; node++) {
            struct index_link_run run = index_links_of(&links, node);
            uint32_t i = 0;
            ck_assert_uint_eq(index_links_count(&links, node), node);
            for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits, i++)
                ck_assert_uint_eq(index_link_at(&run, at), packed[node * degree + i]);
            ck_assert_uint_eq(i, node);
        }
    }
}
END_TEST

START_TEST(packed_links_are_those_that_were_packed)
{
    enum { NODES = 1000, DEGREE = 12 };
    uint32_t *from = malloc((size_t)NODES * DEGREE * sizeof(*from));
    struct index_links links = {.bits = index_link_bits(NODES)};
    struct index_link_block *blocks;
    uint64_t state = 8, size_bytes;
    uint8_t *bytes;

    for (uint32_t i = 0; i < NODES * DEGREE; i++)
        from[i] = i % DEGREE < i / DEGREE % (DEGREE + 1) /* 0 to 12 links */
                      ? (uint32_t)((fixture_gauss(&state) + 10) * 1e6f) % NODES
                      : UINT32_MAX;
    index_links_pack(from, NODES, DEGREE, &blocks, &bytes, &size_bytes);
    links.blocks = blocks;
    links.bytes = bytes;
    ck_assert_ptr_null(index_links_check(&links, NODES, DEGREE, size_bytes));
    for (uint32_t node = 0; node < NODES; node++) {
        struct index_link_run run = index_links_of(&links, node);
        uint32_t i = node * DEGREE;
        ck_assert_uint_eq(index_links_count(&links, node), node % (DEGREE + 1));
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits, i++)
            ck_assert_uint_eq(index_link_at(&run, at), from[i]);
    }
    free(from);
    free(blocks);
    free(bytes);
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
    fixture_write_file(file.bytes, file.size);
    ck_assert_int_eq(open_status(50, 20, &error), ERROR_CORRUPT);
    free(file.bytes);
}
END_TEST

static void check_invalid(struct file *file, uint32_t rows, const char *text)
{
    struct index_segment *segment;
    struct error error = {0};

    sign(file->bytes);
    fixture_write_file(file->bytes, file->size);
    ck_assert_int_eq(index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                        VECTOR_METRIC_L2, 20, rows, &segment, &error),
                     0);
    ck_assert_int_eq(index_segment_validate(segment, &error), ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, text) != NULL, "%s", error.text);
    index_segment_close(segment);
}

START_TEST(the_check_of_a_segment_looks_at_its_run_and_its_graph)
{
    struct file file = small_segment(300, 20);
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
    repeat_link(&file);
    sign(file.bytes);
    fixture_write_file(file.bytes, file.size);
    ck_assert_int_eq(index_segment_check(io_posix(), path, FIXTURE_FILE_NUMBER, 20, 300, &error),
                     ERROR_CORRUPT);
    ck_assert_msg(strstr(error.text, "twice") != NULL, "%s", error.text);
    free(file.bytes);
}
END_TEST

/* The same graph, but the first node leads nowhere. */
static void write_without_ways(uint32_t rows)
{
    struct index_segment *segment;
    struct index_hnsw_graph hnsw = {0};
    struct error error = {0};
    uint64_t size_bytes;
    uint32_t degree;

    ck_assert_int_eq(index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER,
                                        VECTOR_METRIC_L2, 20, rows, &segment, &error),
                     0);
    hnsw.graph = segment->graph;
    degree = 2 * hnsw.graph.m;
    hnsw.links = malloc((size_t)rows * degree * sizeof(uint32_t));
    memset(hnsw.links, 0xff, (size_t)rows * degree * sizeof(uint32_t));
    for (uint32_t node = 1; node < rows; node++) {
        struct index_link_run run = index_links_of(&hnsw.graph.links, node);
        uint32_t *to = hnsw.links + (size_t)node * degree;
        for (uint32_t at = 0; index_link_is_at(&run, at); at += run.bits)
            *to++ = index_link_at(&run, at);
    }
    (void)remove(fixture_path()); /* the mapping keeps the file */
    ck_assert_int_eq(index_segment_write(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, &hnsw,
                                         &size_bytes, &error),
                     0);
    index_segment_close(segment);
    free(hnsw.links);
}

START_TEST(the_validator_finds_broken_graphs)
{
    struct file file = small_segment(2000, 20);
    struct index_segment_header *header = (void *)file.bytes;
    uint32_t *level = (void *)(file.bytes + header->sections[INDEX_SECTION_LEVELS].offset);
    uint32_t *links = level + (size_t)2 * header->level_items[0];
    uint32_t saved = change_link(&file, 0, 0, 0);

    check_invalid(&file, 2000, "to itself");
    repeat_link(&file);
    check_invalid(&file, 2000, "twice");
    change_link(&file, 0, 0, saved);
    saved = links[0];
    links[0] = UINT32_MAX;
    check_invalid(&file, 2000, "gap");
    links[0] = saved;
    sign(file.bytes);
    fixture_write_file(file.bytes, file.size);
    write_without_ways(2000);
    free(file.bytes);
    file = read_file();
    check_invalid(&file, 2000, "not reachable");
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
    fixture_write_file(file.bytes, 100);
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
           TEST(places_of_links_agree_with_the_header),
           TEST(the_width_and_size_of_links_are_checked),
           TEST(another_format_version_is_unsupported), TEST(links_of_every_width_are_read),
           TEST(packed_links_are_those_that_were_packed), TEST(a_row_that_appears_twice_is_found),
           TEST(the_check_of_a_segment_looks_at_its_run_and_its_graph),
           TEST(the_validator_finds_broken_graphs),
           TEST(inspect_describes_a_segment_for_people_and_programs))
