/* What a chunk, a run or a vector file says of itself. Reads one file alone: whether it fits its
 * siblings and the manifest is store_verify's question. */
#include "store/tools/table_inspect.h"

#include <stdio.h>
#include <string.h>

#include "base/doc.h"
#include "store/files/key.h"
#include "store/files/table_internal.h"
#include "store/tools/report.h"

static const char *kind_name(uint32_t kind)
{
    return kind == TABLE_CHUNK ? "chunk" : kind == TABLE_RUN ? "run" : "unknown";
}

/* The id as people write it; a key that is none (only tests make such) as null. */
static void report_key(struct report *report, const char *name, const uint8_t *key,
                       size_t key_bytes)
{
    struct buffer text = {0};
    struct arena arena;
    struct doc id;

    arena_create(&arena, 0);
    id = store_key_to_doc(key, key_bytes, &arena);
    if (id.type == DOC_STRING)
        buffer_append(&text, id.string, id.count);
    else
        doc_write_json(&text, &id);
    report_text(report, name, buffer_text(&text));
    buffer_destroy(&text);
    arena_destroy(&arena);
}

static void report_footer(struct report *report, const struct table *table)
{
    const struct table_footer *footer = table->footer;

    report_text(report, "kind", kind_name(footer->kind));
    report_u64(report, "version", footer->version);
    report_u64(report, "file_number", footer->file_number);
    report_u64(report, "file_bytes", table->index.size_bytes);
    report_text(report, "codec", vector_codec_name((enum vector_codec)footer->codec));
    if (!vector_codec_is_float32((enum vector_codec)footer->codec))
        report_number(report, "recall", footer->recall);
    report_u64(report, "dim", footer->dim);
    if (footer->kind == TABLE_CHUNK)
        report_u64(report, "log_file_number", footer->log_file_number);
    else
        report_u64(report, "generation", footer->generation);
    report_time(report, "window_start", footer->window_start_ms);
    report_i64(report, "window_length_ms", footer->window_length_ms);
    report_u64(report, "rows", footer->row_count);
    report_time(report, "min_event_time", footer->min_event_ms);
    report_time(report, "max_event_time", footer->max_event_ms);
    report_i64(report, "min_offset", footer->min_offset);
    report_i64(report, "max_offset", footer->max_offset);
    report_i64(report, "max_row_ttl_ms", footer->max_row_ttl_ms);
    report_u64(report, "vector_bytes", footer->vector_bytes);
    report_hex(report, "footer_checksum", footer->checksum);
}

static void report_keys(struct report *report, const struct table *table)
{
    size_t key_bytes;
    const uint8_t *key;

    if (table->row_count == 0)
        return;
    key = table_key(table, table_row_at(table, 0), &key_bytes);
    report_key(report, "min_id", key, key_bytes);
    key = table_key(table, table_row_at(table, table->row_count - 1), &key_bytes);
    report_key(report, "max_id", key, key_bytes);
}

/* One line a column; `*damage` keeps the first error. */
static void report_columns(struct report *report, const struct table *table, struct error *damage)
{
    report_list_begin(report, "columns");
    for (int i = 0; i < TABLE_COLUMN_COUNT; i++) {
        const struct table_extent *extent = &table->footer->columns[i];
        const struct table_block *blocks = table_column_blocks(table, (enum table_column_id)i);
        uint64_t raw_bytes = 0;
        struct error error = {0};
        int result = 0;
        for (uint32_t j = 0; j < extent->block_count; j++)
            raw_bytes += blocks[j].raw_bytes;
        if (i != TABLE_COLUMN_VECTORS)
            result = table_check_column(table, (enum table_column_id)i, &error);
        report_item_begin(report);
        report_text(report, "column", table_column_name((enum table_column_id)i));
        report_u64(report, "offset", extent->offset);
        report_u64(report, "bytes", extent->size_bytes);
        report_u64(report, "raw_bytes", raw_bytes);
        report_u64(report, "blocks", extent->block_count);
        report_text(report, "checksums",
                    i == TABLE_COLUMN_VECTORS ? "in another file"
                    : result                  ? "wrong"
                                              : "right");
        report_item_end(report);
        if (result && damage->code == 0)
            *damage = error;
    }
    report_list_end(report);
}

static int inspect_index(struct table *table, bool json, struct buffer *out, struct error *error)
{
    const struct table_footer *footer;
    struct table_description *description = &table->description;
    struct error damage = {0};
    struct report report;
    int result;

    if (table->index.size_bytes < sizeof(struct table_header) + sizeof(*footer) ||
        table->index.size_bytes % 8 != 0)
        return error_set(error, ERROR_CORRUPT, "%s: a table of %llu bytes is incomplete",
                         table->index.path, (unsigned long long)table->index.size_bytes);
    footer = (const struct table_footer *)(table->index.bytes + table->index.size_bytes -
                                           sizeof(*footer));
    description->kind = footer->kind == TABLE_CHUNK ? TABLE_CHUNK : TABLE_RUN;
    description->codec =
        footer->codec < VECTOR_CODEC_COUNT ? (enum vector_codec)footer->codec : VECTOR_CODEC_RAW;
    description->file_number = footer->file_number;
    description->log_file_number = footer->log_file_number;
    description->dim = footer->dim;
    description->window_start_ms = footer->window_start_ms;
    description->window_length_ms = footer->window_length_ms;
    description->generation = footer->generation;
    result = table_check_structure(table, description, NULL, error);
    if (result)
        return result;
    report_begin(&report, out, json);
    report_footer(&report, table);
    report_columns(&report, table, &damage);
    if (damage.code == 0 && table_check_content(table, &damage) == 0)
        report_keys(&report, table);
    report_text(&report, "state", damage.code ? damage.text : "sound");
    report_end(&report);
    return damage.code ? error_set(error, damage.code, "%s", damage.text) : 0;
}

static int inspect_vectors(struct table *table, bool json, struct buffer *out, struct error *error)
{
    struct table_header header;
    struct report report;
    bool right;

    memcpy(&header, table->index.bytes, sizeof(header));
    right = checksum_block(&header, offsetof(struct table_header, checksum), header.file_number,
                           TABLE_PART_HEADER, 0) == header.checksum;
    report_begin(&report, out, json);
    report_text(&report, "kind", "vectors");
    report_u64(&report, "version", header.version);
    report_u64(&report, "file_number", header.file_number);
    report_u64(&report, "file_bytes", table->index.size_bytes);
    report_text(&report, "codec", vector_codec_name((enum vector_codec)header.codec));
    report_u64(&report, "dim", header.dim);
    report_text(&report, "block_index", "in the .run file of the same number");
    report_text(&report, "state", right ? "the header is sound" : "the header is damaged");
    report_end(&report);
    if (!right)
        return error_set(error, ERROR_CORRUPT, "%s: header: checksum mismatch", table->index.path);
    return 0;
}

int table_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                  struct error *error)
{
    struct table table = {.io = io};
    int result;

    if ((size_t)snprintf(table.index.path, sizeof(table.index.path), "%s", path) >=
        sizeof(table.index.path))
        return error_set(error, ERROR_INVALID, "path too long: %s", path);
    result = table_map_path(io, sizeof(struct table_header), &table.index, error);
    if (result)
        return result;
    if (memcmp(table.index.bytes, TABLE_MAGIC_VECTORS, TABLE_MAGIC_BYTES) == 0)
        result = inspect_vectors(&table, json, out, error);
    else
        result = inspect_index(&table, json, out, error);
    table_map_close(io, &table.index);
    return result;
}
