/* docs/formats.md says what the structs are: every field, its offset and its size, and no other. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/log_frame.h"
#include "store/files/manifest_format.h"
#include "store/files/table.h"
#include "store/files/table_format.h"
#include "tests/support/test_main.h"

struct field {
    const char *structure;
    const char *name;
    size_t offset, size_bytes, structure_bytes;
};

#define FIELD(structure, field)                                                                    \
    {                                                                                              \
#structure, #field, offsetof(struct structure, field),                                     \
            sizeof(((struct structure *)0)->field), sizeof(struct structure)                       \
    }

static const struct field fields[] = {
    FIELD(table_header, magic),
    FIELD(table_header, version),
    FIELD(table_header, kind),
    FIELD(table_header, codec),
    FIELD(table_header, dim),
    FIELD(table_header, file_number),
    FIELD(table_header, reserved),
    FIELD(table_header, checksum),
    FIELD(table_block, offset),
    FIELD(table_block, size_bytes),
    FIELD(table_block, raw_bytes),
    FIELD(table_block, first_row),
    FIELD(table_block, row_count),
    FIELD(table_block, checksum),
    FIELD(table_extent, offset),
    FIELD(table_extent, size_bytes),
    FIELD(table_extent, first_block),
    FIELD(table_extent, block_count),
    FIELD(table_extent, reserved),
    FIELD(table_footer, magic),
    FIELD(table_footer, version),
    FIELD(table_footer, kind),
    FIELD(table_footer, codec),
    FIELD(table_footer, dim),
    FIELD(table_footer, file_number),
    FIELD(table_footer, log_file_number),
    FIELD(table_footer, window_start_ms),
    FIELD(table_footer, window_length_ms),
    FIELD(table_footer, generation),
    FIELD(table_footer, row_count),
    FIELD(table_footer, min_event_ms),
    FIELD(table_footer, max_event_ms),
    FIELD(table_footer, min_offset),
    FIELD(table_footer, max_offset),
    FIELD(table_footer, max_row_ttl_ms),
    FIELD(table_footer, vector_bytes),
    FIELD(table_footer, prefix_bytes),
    FIELD(table_footer, block_count),
    FIELD(table_footer, index_offset),
    FIELD(table_footer, index_checksum),
    FIELD(table_footer, columns),
    FIELD(table_footer, recall),
    FIELD(table_footer, checksum),
    FIELD(mask_header, magic),
    FIELD(mask_header, version),
    FIELD(mask_header, count),
    FIELD(mask_header, file_number),
    FIELD(mask_header, table_number),
    FIELD(mask_entry, row),
    FIELD(mask_entry, reserved),
    FIELD(mask_entry, dead_at_offset),
    FIELD(log_frame_header, checksum),
    FIELD(log_frame_header, magic),
    FIELD(log_frame_header, version),
    FIELD(log_frame_header, flags),
    FIELD(log_frame_header, file_number),
    FIELD(log_frame_header, log_generation),
    FIELD(log_frame_header, salt),
    FIELD(log_frame_header, position),
    FIELD(log_frame_header, sequence),
    FIELD(log_frame_header, frame_bytes),
    FIELD(log_frame_header, used_bytes),
    FIELD(log_frame_header, first_offset),
    FIELD(log_frame_header, next_offset),
    FIELD(log_frame_header, watermark_ms),
    FIELD(log_frame_header, last_record_wall_ms),
    FIELD(log_frame_header, safe_wall_ms),
    FIELD(log_frame_header, record_count),
    FIELD(log_frame_header, vector_count),
    FIELD(log_frame_header, dim),
    FIELD(log_frame_header, keys_bytes),
    FIELD(log_frame_header, payloads_bytes),
    FIELD(log_frame_header, topic_offset),
    FIELD(log_frame_header, topic_hash),
    FIELD(log_frame_header, log_time_ms),
    FIELD(log_frame_header, log_stamp_ms),
    FIELD(log_frame_header, log_watermark_ms),
    FIELD(log_frame_header, log_known),
    FIELD(log_frame_header, reserved),
    FIELD(log_frame_record, offset),
    FIELD(log_frame_record, event_time_ms),
    FIELD(log_frame_record, ttl_ms),
    FIELD(log_frame_record, payload_bytes),
    FIELD(log_frame_record, key_bytes),
    FIELD(log_frame_record, flags),
    FIELD(manifest_frame_header, checksum),
    FIELD(manifest_frame_header, magic),
    FIELD(manifest_frame_header, version),
    FIELD(manifest_frame_header, key_rule),
    FIELD(manifest_frame_header, manifest_number),
    FIELD(manifest_frame_header, sequence),
    FIELD(manifest_frame_header, position),
    FIELD(manifest_frame_header, frame_bytes),
    FIELD(manifest_frame_header, body_bytes),
    FIELD(manifest_frame_header, group),
    FIELD(manifest_frame_header, generation),
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static char *read_document(void)
{
    FILE *file = fopen(FORMATS_DOCUMENT, "rb");
    char *text;
    long size;

    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    rewind(file);
    text = calloc(1, (size_t)size + 1);
    ck_assert_uint_eq(fread(text, 1, (size_t)size, file), (size_t)size);
    ck_assert_int_eq(fclose(file), 0);
    return text;
}

/* The section of a struct: from its heading to the next. */
static char *section_of(const char *document, const char *structure, size_t structure_bytes)
{
    char heading[128];
    const char *start, *end;

    (void)snprintf(heading, sizeof(heading), "### struct %s (%zu bytes)\n", structure,
                   structure_bytes);
    start = strstr(document, heading);
    ck_assert_msg(start, "no heading \"%s\"", heading);
    start += strlen(heading);
    end = strstr(start, "\n#");
    return strndup(start, end ? (size_t)(end - start) : strlen(start));
}

static size_t rows_of(const char *section)
{
    size_t rows = 0;

    for (const char *line = section; (line = strstr(line, "\n| ")) != NULL; line++)
        rows += line[3] >= '0' && line[3] <= '9';
    return rows;
}

START_TEST(every_field_is_documented_where_it_lies)
{
    char *document = read_document();

    for (size_t i = 0; i < FIELDS; i++) {
        char *section = section_of(document, fields[i].structure, fields[i].structure_bytes);
        size_t documented = rows_of(section), known = 0;
        char row[128];
        (void)snprintf(row, sizeof(row), "\n| %zu | %zu | `%s` |", fields[i].offset,
                       fields[i].size_bytes, fields[i].name);
        ck_assert_msg(strstr(section, row), "struct %s lacks%s", fields[i].structure, row);
        for (size_t j = 0; j < FIELDS; j++)
            known += strcmp(fields[j].structure, fields[i].structure) == 0;
        ck_assert_msg(documented == known, "struct %s: %zu fields, %zu documented",
                      fields[i].structure, known, documented);
        free(section);
    }
    free(document);
}
END_TEST

START_TEST(structs_have_no_bytes_between_fields)
{
    size_t end = 0;

    for (size_t i = 0; i < FIELDS; i++) {
        bool first = i == 0 || strcmp(fields[i - 1].structure, fields[i].structure) != 0;
        bool last = i + 1 == FIELDS || strcmp(fields[i + 1].structure, fields[i].structure) != 0;
        ck_assert_msg(fields[i].offset == (first ? 0 : end), "struct %s: a gap before %s",
                      fields[i].structure, fields[i].name);
        end = fields[i].offset + fields[i].size_bytes;
        ck_assert_msg(!last || end == fields[i].structure_bytes, "struct %s ends with a gap",
                      fields[i].structure);
    }
}
END_TEST

/* Bytes of the fields that a row of the table of records lists. */
static size_t documented_bytes(const char *row)
{
    static const struct {
        const char *type;
        size_t size_bytes;
    } types[] = {{" u8 ", 1},  {" u32 ", 4}, {" u64 ", 8},
                 {" i64 ", 8}, {" f64 ", 8}, {" 16 bytes ", 16}};
    const char *end = strchr(row, '\n');
    size_t size_bytes = 0;

    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        for (const char *at = row; (at = strstr(at, types[i].type)) != NULL && at < end; at++)
            size_bytes += types[i].size_bytes;
    return size_bytes;
}

START_TEST(every_record_of_an_edit_is_documented_with_its_fields)
{
    const struct store_clock clock = {0};
    const struct store_log_clock log_clock = {.known = true};
    const struct manifest_log log = {0};
    const struct store_segment_info segment = {.file_number = 1};
    struct manifest_table table = {.segment = segment};
    const struct store_topic_fingerprint topic = {.hash = 1};
    struct manifest_edit edits[MANIFEST_LOG_CLOCK + 2] = {0};
    struct store_span_part part = {0};
    const struct span span = {.segment = segment, .part_count = 1, .parts = &part};
    char *document = read_document();

    manifest_edit_identity(&edits[MANIFEST_IDENTITY], 1, 1);
    manifest_edit_numbers(&edits[MANIFEST_NUMBERS], 1, 1);
    manifest_edit_progress(&edits[MANIFEST_PROGRESS], 1, 1, &clock);
    manifest_edit_clock(&edits[MANIFEST_CLOCK], &clock);
    manifest_edit_table(&edits[MANIFEST_TABLE], &table);
    manifest_edit_table_drop(&edits[MANIFEST_TABLE_DROP], 1);
    manifest_edit_mask(&edits[MANIFEST_MASK], 1, 1, 1);
    manifest_edit_segment(&edits[MANIFEST_SEGMENT], 1, &segment);
    manifest_edit_log_use(&edits[MANIFEST_LOG_USE], &log);
    manifest_edit_log_done(&edits[MANIFEST_LOG_DONE], 1);
    manifest_edit_log_drop(&edits[MANIFEST_LOG_DROP], 1);
    manifest_edit_dropped(&edits[MANIFEST_DROPPED], 1);
    manifest_edit_forget(&edits[MANIFEST_FORGET], 1);
    manifest_edit_level(&edits[MANIFEST_LEVEL], 1, 1);
    manifest_edit_topic_fingerprint(&edits[MANIFEST_TOPIC_FINGERPRINT], &topic);
    manifest_edit_span(&edits[MANIFEST_SPAN], &span);
    manifest_edit_span_drop(&edits[MANIFEST_SPAN_DROP], 1);
    manifest_edit_log_clock(&edits[MANIFEST_LOG_CLOCK], &log_clock);
    /* The checksum is a record behind the one that names the segment: what comes on top. */
    table.segment.checksum = 1;
    manifest_edit_table(&edits[MANIFEST_SEGMENT_CHECKSUM], &table);
    memmove(edits[MANIFEST_SEGMENT_CHECKSUM].body.data,
            edits[MANIFEST_SEGMENT_CHECKSUM].body.data + edits[MANIFEST_TABLE].body.size,
            edits[MANIFEST_SEGMENT_CHECKSUM].body.size -= edits[MANIFEST_TABLE].body.size);
    for (int type = 1; type <= MANIFEST_LOG_CLOCK; type++) {
        const struct buffer *body = &edits[type].body;
        char heading[32];
        const char *row;
        (void)snprintf(heading, sizeof(heading), "\n| %d | ", type);
        row = strstr(strstr(document, "### Records of an edit"), heading);
        ck_assert_msg(row, "record %d is not documented", type);
        ck_assert_int_eq(body->data[0], type);
        ck_assert_msg(body->size == 1 + documented_bytes(row + 1),
                      "record %d: %zu bytes, documented are 1 + %zu", type, body->size,
                      documented_bytes(row + 1));
        manifest_edit_destroy(&edits[type]);
    }
    free(document);
}
END_TEST

TEST_TABLE(TEST(every_field_is_documented_where_it_lies),
           TEST(structs_have_no_bytes_between_fields),
           TEST(every_record_of_an_edit_is_documented_with_its_fields))
