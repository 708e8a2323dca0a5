/* store_inspect: tells a file's kind by its first bytes and lets it be described. */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/log_frame.h"
#include "store/files/manifest.h"
#include "store/files/manifest_format.h"
#include "store/files/table_format.h"
#include "store/files/table_map.h"
#include "store/tools/inspect.h"
#include "store/tools/report.h"
#include "store/tools/table_inspect.h"

enum file_kind { FILE_UNKNOWN, FILE_TABLE, FILE_MASK, FILE_LOG, FILE_MANIFEST, FILE_CURRENT };

static enum file_kind kind_of(const struct table_map *map)
{
    uint8_t head[16] = {0};
    uint32_t magic;

    memcpy(head, map->bytes, map->size_bytes < sizeof(head) ? (size_t)map->size_bytes : 16);
    memcpy(&magic, head + offsetof(struct log_frame_header, magic), sizeof(magic));
    if (memcmp(head, TABLE_MAGIC_CHUNK, TABLE_MAGIC_BYTES) == 0 ||
        memcmp(head, TABLE_MAGIC_RUN, TABLE_MAGIC_BYTES) == 0 ||
        memcmp(head, TABLE_MAGIC_VECTORS, TABLE_MAGIC_BYTES) == 0)
        return FILE_TABLE;
    if (memcmp(head, MASK_MAGIC, TABLE_MAGIC_BYTES) == 0)
        return FILE_MASK;
    if (memcmp(head, "MANIFEST-", 9) == 0)
        return FILE_CURRENT;
    if (magic == LOG_FRAME_MAGIC)
        return FILE_LOG;
    return magic == MANIFEST_MAGIC ? FILE_MANIFEST : FILE_UNKNOWN;
}

/* Masks. */

static int inspect_mask(struct io *io, const struct table_map *map, const char *directory,
                        const char *name, bool json, struct buffer *out, struct error *error)
{
    struct mask_header header;
    struct mask_entry *entries = NULL;
    struct report report;
    uint32_t count = 0;
    char expected[64];
    int result;

    if (map->size_bytes < sizeof(header))
        return error_set(error, ERROR_CORRUPT, "%s: too short for a mask", map->path);
    memcpy(&header, map->bytes, sizeof(header));
    (void)snprintf(expected, sizeof(expected), "%06" PRIu64 ".mask", header.file_number);
    if (strcmp(expected, name) != 0)
        return error_set(error, ERROR_CORRUPT, "%s: its header names file %s", map->path, expected);
    result = mask_read(io, directory, header.file_number, header.table_number, TABLE_ROWS_MAX,
                       &entries, &count, error);
    if (result)
        return result;
    report_begin(&report, out, json);
    report_text(&report, "kind", "mask");
    report_u64(&report, "file_number", header.file_number);
    report_u64(&report, "table_number", header.table_number);
    report_u64(&report, "dead_rows", count);
    report_list_begin(&report, "rows");
    for (uint32_t i = 0; i < count; i++) {
        report_item_begin(&report);
        report_u64(&report, "row", entries[i].row);
        report_i64(&report, "dead_at_offset", entries[i].dead_at_offset);
        report_item_end(&report);
    }
    report_list_end(&report);
    report_end(&report);
    free(entries);
    return 0;
}

/* Logs. */

static void report_mark(struct report *report, int64_t offset, uint64_t fingerprint)
{
    report_i64(report, "topic_offset", fingerprint != 0 ? offset : -1);
    report_hex(report, "topic_hash", fingerprint);
}

static void report_frame(struct report *report, const struct log_frame_header *header)
{
    report_item_begin(report);
    report_u64(report, "position", header->position);
    report_u64(report, "sequence", header->sequence);
    report_u64(report, "bytes", header->frame_bytes);
    report_u64(report, "records", header->record_count);
    report_u64(report, "vectors", header->vector_count);
    report_i64(report, "first_offset", header->first_offset);
    report_i64(report, "next_offset", header->next_offset);
    report_mark(report, header->topic_offset, header->topic_hash);
    report_bool(report, "synced", header->flags & LOG_FRAME_SYNCED);
    report_item_end(report);
}

/* Epoch and salt are the manifest's to know: alone, a log is read as what its first frame says. */
static int inspect_log(const struct table_map *map, bool json, struct buffer *out,
                       struct error *error)
{
    const struct log_frame_header *first = (const struct log_frame_header *)map->bytes;
    struct log_frame_identity identity;
    struct report report;
    struct error end = {0};
    struct log_frame frame;
    uint64_t frames = 0;

    if (map->size_bytes < sizeof(*first))
        return error_set(error, ERROR_CORRUPT, "%s: too short for a frame", map->path);
    identity =
        (struct log_frame_identity){first->file_number, first->log_generation, first->salt, 0};
    report_begin(&report, out, json);
    report_text(&report, "kind", "log");
    report_u64(&report, "file_number", identity.file_number);
    report_u64(&report, "file_bytes", map->size_bytes);
    report_u64(&report, "epoch", identity.log_generation);
    report_hex(&report, "salt", identity.salt);
    report_list_begin(&report, "frames");
    while (identity.position < map->size_bytes &&
           log_frame_parse(map->bytes + identity.position, map->size_bytes - identity.position,
                           &identity, 0, &frame, &end) == 0) {
        report_frame(&report, frame.header);
        identity.position += frame.header->frame_bytes;
        frames++;
    }
    report_list_end(&report);
    report_u64(&report, "frame_count", frames);
    report_u64(&report, "end", identity.position);
    report_text(&report, "behind_the_end",
                identity.position < map->size_bytes ? end.text : "nothing");
    report_end(&report);
    if (frames == 0)
        return error_set(error, ERROR_CORRUPT, "%s: the first frame: %s", map->path, end.text);
    return 0;
}

/* Log files are made of zeros before their first use. */
static bool is_unused_log(const struct table_map *map, const char *name)
{
    const char *dot = strrchr(name, '.');

    if (!dot || strcmp(dot, ".log") != 0)
        return false;
    for (uint64_t i = 0; i < map->size_bytes; i++)
        if (map->bytes[i] != 0)
            return false;
    return true;
}

static int inspect_unused_log(const struct table_map *map, bool json, struct buffer *out)
{
    struct report report;

    report_begin(&report, out, json);
    report_text(&report, "kind", "log");
    report_text(&report, "state", "never used: all zeros");
    report_u64(&report, "file_bytes", map->size_bytes);
    report_u64(&report, "frame_count", 0);
    report_end(&report);
    return 0;
}

/* Manifests. */

static void report_table(struct report *report, const struct manifest_table *table)
{
    report_item_begin(report);
    report_u64(report, "file_number", table->description.file_number);
    report_text(report, "kind", table->description.kind == TABLE_CHUNK ? "chunk" : "run");
    report_time(report, "window_start", table->description.window_start_ms);
    report_i64(report, "window_length_ms", table->description.window_length_ms);
    report_bool(report, "sealed", table->sealed);
    report_u64(report, "level", table->level);
    report_u64(report, "generation", table->description.generation);
    report_u64(report, "rows", table->info.row_count);
    report_u64(report, "index_bytes", table->info.index_bytes);
    report_u64(report, "vector_bytes", table->info.vector_bytes);
    report_hex(report, "footer_checksum", table->info.footer_checksum);
    report_u64(report, "log_file_number", table->description.log_file_number);
    report_u64(report, "mask_number", table->mask_number);
    report_u64(report, "segment_number", table->segment.file_number);
    report_hex(report, "segment_checksum", table->segment.checksum);
    report_item_end(report);
}

static void report_span(struct report *report, const struct manifest_state *state,
                        const struct span *span)
{
    uint32_t live_parts = 0;

    for (uint32_t i = 0; i < span->part_count; i++)
        live_parts += manifest_state_table(state, span->parts[i].file_number) != NULL;
    report_item_begin(report);
    report_u64(report, "segment_number", span->segment.file_number);
    report_hex(report, "segment_checksum", span->segment.checksum);
    report_u64(report, "tier", span->tier);
    report_time(report, "first_window_start", span->parts[0].window_start_ms);
    report_time(report, "last_window_start", span->parts[span->part_count - 1].window_start_ms);
    report_i64(report, "window_length_ms", span->window_length_ms);
    report_u64(report, "rows", span->row_count);
    report_u64(report, "parts", span->part_count);
    report_u64(report, "live_parts", live_parts);
    report_item_end(report);
}

static void report_state(struct report *report, const struct manifest_state *state)
{
    report_u64(report, "dim", state->dim);
    report_u64(report, "next_file_number", state->next_file_number);
    report_u64(report, "next_epoch", state->next_log_generation);
    report_i64(report, "next_offset", state->next_offset);
    report_mark(report, state->topic.offset, state->topic.hash);
    report_i64(report, "next_sequence", state->next_sequence);
    report_u64(report, "group", state->ownership.group);
    report_i64(report, "generation", state->ownership.generation);
    report_time(report, "watermark", state->clock.watermark_ms);
    if (state->clock.log.known) {
        report_time(report, "log_time", state->clock.log.time_ms);
        report_time(report, "log_watermark", state->clock.log.watermark_ms);
    }
    report_list_begin(report, "tables");
    for (size_t i = 0; i < state->table_count; i++)
        report_table(report, &state->tables[i]);
    report_list_end(report);
    report_list_begin(report, "spans");
    for (size_t i = 0; i < state->span_count; i++)
        report_span(report, state, &state->spans[i]);
    report_list_end(report);
    report_list_begin(report, "logs");
    for (size_t i = 0; i < state->log_count; i++) {
        report_item_begin(report);
        report_u64(report, "file_number", state->logs[i].number);
        report_u64(report, "epoch", state->logs[i].log_generation);
        report_i64(report, "first_sequence", state->logs[i].first_sequence);
        report_bool(report, "active", state->logs[i].active);
        report_item_end(report);
    }
    report_list_end(report);
    report_list_begin(report, "dropped");
    for (size_t i = 0; i < state->dropped_count; i++) {
        report_item_begin(report);
        report_u64(report, "file_number", state->dropped[i]);
        report_item_end(report);
    }
    report_list_end(report);
}

static int inspect_manifest(struct io *io, const struct table_map *map, const char *directory,
                            const char *name, bool json, struct buffer *out, struct error *error)
{
    struct manifest_state state = {0};
    struct report report;
    uint64_t number, end, edits;
    bool clean;
    int result;

    if (sscanf(name, "MANIFEST-%" SCNu64, &number) != 1)
        return error_set(error, ERROR_INVALID, "%s: a manifest's name is MANIFEST-<number>",
                         map->path);
    result = manifest_read(io, directory, number, &state, &end, &edits, &clean, error);
    if (result == 0) {
        report_begin(&report, out, json);
        report_text(&report, "kind", "manifest");
        report_u64(&report, "file_number", number);
        report_u64(&report, "file_bytes", map->size_bytes);
        report_u64(&report, "edits", edits);
        report_u64(&report, "end", end);
        report_bool(&report, "ends_cleanly", clean);
        report_state(&report, &state);
        report_end(&report);
    }
    manifest_state_destroy(&state);
    return result;
}

static int inspect_current(struct io *io, const char *directory, bool json, struct buffer *out,
                           struct error *error)
{
    struct report report;
    uint64_t number = 0;
    int result = manifest_current_read(io, directory, &number, error);

    if (result)
        return result;
    report_begin(&report, out, json);
    report_text(&report, "kind", "current");
    report_u64(&report, "manifest_number", number);
    report_end(&report);
    return 0;
}

static int inspect_mapped(struct io *io, const struct table_map *map, bool json, struct buffer *out,
                          struct error *error)
{
    const char *slash = strrchr(map->path, '/');
    const char *name = slash ? slash + 1 : map->path;
    char directory[PATH_MAX] = ".";

    if (slash)
        (void)snprintf(directory, sizeof(directory), "%.*s",
                       slash > map->path ? (int)(slash - map->path) : 1, map->path);
    switch (kind_of(map)) {
    case FILE_TABLE:
        return table_inspect(io, map->path, json, out, error);
    case FILE_MASK:
        return inspect_mask(io, map, directory, name, json, out, error);
    case FILE_LOG:
        return inspect_log(map, json, out, error);
    case FILE_MANIFEST:
        return inspect_manifest(io, map, directory, name, json, out, error);
    case FILE_CURRENT:
        return inspect_current(io, directory, json, out, error);
    case FILE_UNKNOWN:
        break;
    }
    if (is_unused_log(map, name))
        return inspect_unused_log(map, json, out);
    return error_set(error, ERROR_UNSUPPORTED, "%s: not a file of the store (unknown first bytes)",
                     map->path);
}

int store_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                  struct error *error)
{
    struct table_map map = {0};
    int result;

    if ((size_t)snprintf(map.path, sizeof(map.path), "%s", path) >= sizeof(map.path))
        return error_set(error, ERROR_INVALID, "path too long: %s", path);
    result = table_map_path(io, 1, &map, error);
    if (result)
        return result;
    result = inspect_mapped(io, &map, json, out, error);
    table_map_close(io, &map);
    return result;
}
