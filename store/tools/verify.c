/* store_verify: every shard of a data folder, from CURRENT down.
 *
 * CURRENT -> manifest -> tables (index, vectors, masks, segments) and logs. What a manifest refers
 * to must be there and be exactly what it says; what no manifest refers to is an orphan of a crash
 * that the next opening removes, not damage. Damage is listed and the walk goes on. */
#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/folder.h"
#include "store/files/log_frame.h"
#include "store/files/manifest.h"
#include "store/files/manifest_format.h"
#include "store/files/table_format.h"
#include "store/files/table_map.h"
#include "store/store.h"
#include "store/tools/verify.h"

struct verification {
    struct io *io;
    struct store_verify_checks checks;
    struct buffer *findings;
    uint32_t shard_count;
};

static void note(struct verification *verification, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void note(struct verification *verification, const char *format, ...)
{
    char text[1400];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    buffer_append_text(verification->findings, text);
    buffer_append_byte(verification->findings, '\n');
}

/* Tables. */

static void verify_mask(struct verification *verification, const char *directory,
                        const struct manifest_table *table)
{
    uint64_t expected = sizeof(struct mask_header) + sizeof(uint64_t);
    struct mask_entry *entries = NULL;
    struct error error;
    uint32_t count;

    if (table->mask_number == 0)
        return;
    if (mask_read(verification->io, directory, table->mask_number, table->description.file_number,
                  (uint32_t)table->info.row_count, &entries, &count, &error) != 0) {
        note(verification, "%s", error.text);
        return;
    }
    expected += count * sizeof(*entries);
    if (expected != table->mask_bytes)
        note(verification, "%s/%06" PRIu64 ".mask: %" PRIu64 " bytes, the manifest says %" PRIu64,
             directory, table->mask_number, expected, table->mask_bytes);
    free(entries);
}

/* The segment's own format is the indexer's, which is asked once the bytes are those that were
 * attached. */
static void verify_segment(struct verification *verification, const char *directory, uint32_t dim,
                           const struct store_segment_info *segment, uint64_t row_count)
{
    struct table_map map = {0};
    struct error error = {0};
    int code;

    if (segment->file_number == 0)
        return;
    if (table_map_open(verification->io, directory, segment->file_number, "segment", 0, &map,
                       &error) != 0) {
        note(verification, "%s", error.text);
        return;
    }
    if (map.size_bytes != segment->bytes)
        note(verification, "%s: %" PRIu64 " bytes, the manifest says %" PRIu64, map.path,
             map.size_bytes, segment->bytes);
    else if (segment->checksum != 0 &&
             manifest_segment_checksum(map.bytes, map.size_bytes, segment->file_number) !=
                 segment->checksum)
        note(verification, "%s: checksum of the file does not match", map.path);
    else if (verification->checks.segment) {
        code = verification->checks.segment(verification->io, map.path, segment->file_number, dim,
                                            (uint32_t)row_count, &error);
        if (code != 0 && code != ERROR_UNSUPPORTED)
            note(verification, "%s: %s", map.path, error.text);
    }
    table_map_close(verification->io, &map);
}

static void verify_columns(struct verification *verification, const char *directory,
                           const struct manifest_table *known)
{
    char path[PATH_MAX];
    struct error error = {0};
    int file, code;

    if (known->description.kind == TABLE_CHUNK || !verification->checks.columns)
        return;
    table_path(directory, known->description.file_number, "columns", path, sizeof(path));
    if (io_open(verification->io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return;                                                  /* none was made so far */
    (void)io_close(verification->io, file, path, ERROR_IGNORED); /* nothing was written */
    code = verification->checks.columns(verification->io, path, known->description.file_number,
                                        (uint32_t)known->info.row_count, &error);
    if (code != 0 && code != ERROR_UNSUPPORTED)
        note(verification, "%s: %s", path, error.text);
}

static void verify_table(struct verification *verification, const char *directory, uint32_t dim,
                         const struct manifest_table *known)
{
    struct table_description description = known->description;
    struct table *table = NULL;
    struct error error;

    description.dim = dim;
    if (table_open(verification->io, directory, &description, &known->info, &table, &error) != 0)
        note(verification, "%s", error.text);
    else
        (void)table_verify(table, verification->findings, &error);
    table_close(table);
    verify_mask(verification, directory, known);
    verify_segment(verification, directory, dim, &known->segment, known->info.row_count);
    verify_columns(verification, directory, known);
}

static void verify_windows(struct verification *verification, const char *directory,
                           const struct manifest_state *state)
{
    for (size_t i = 0; i < state->table_count; i++) {
        const struct manifest_table *one = &state->tables[i];
        for (size_t j = i + 1; one->sealed && j < state->table_count; j++) {
            const struct manifest_table *other = &state->tables[j];
            if (other->sealed &&
                other->description.window_start_ms == one->description.window_start_ms &&
                other->description.window_length_ms == one->description.window_length_ms)
                note(verification, "%s: runs %06" PRIu64 " and %06" PRIu64 " both seal window %lld",
                     directory, one->description.file_number, other->description.file_number,
                     (long long)one->description.window_start_ms);
        }
    }
}

/* Logs. */

/* Whether the bytes are, or were, the header of a frame of this use of the file: one damaged field
 * does not hide it, and a frame of a former use differs in generation and salt. */
static bool is_frame_of(const struct log_frame_header *header,
                        const struct log_frame_identity *identity)
{
    return header->salt == identity->salt ||
           (header->log_generation == identity->log_generation &&
            header->magic == LOG_FRAME_MAGIC && header->file_number == identity->file_number);
}

static const struct log_frame_header *header_at(const struct table_map *map, uint64_t position)
{
    return map->size_bytes - position < sizeof(struct log_frame_header)
               ? NULL
               : (const struct log_frame_header *)(map->bytes + position);
}

/* Behind the last whole frame of this use there may be no whole one (a hole), and in a log that
 * will be replayed not the beginning of one either: a write that was interrupted or damage, no one
 * can tell. What a flushed log ends with is of no more interest. */
static void verify_log_tail(struct verification *verification, const struct table_map *map,
                            const struct log_frame_identity *last, uint32_t dim, bool active,
                            const struct error *end)
{
    struct log_frame_identity identity = *last;
    const struct log_frame_header *header = header_at(map, identity.position);
    struct log_frame frame;

    if (active && header && is_frame_of(header, &identity)) {
        note(verification, "%s: byte %" PRIu64 ": an interrupted write or a damaged frame: %s",
             map->path, identity.position, end->text);
        return;
    }
    while (map->size_bytes - identity.position > LOG_FRAME_ALIGNMENT) {
        identity.position += LOG_FRAME_ALIGNMENT;
        header = header_at(map, identity.position);
        /* Without a sync for each frame (durability kafka) a crash may leave a hole: recovery gives
         * up what follows it, and Kafka has it. */
        if (header && is_frame_of(header, &identity) && (header->flags & LOG_FRAME_SYNCED) &&
            log_frame_parse(map->bytes + identity.position, map->size_bytes - identity.position,
                            &identity, dim, &frame, ERROR_IGNORED) == 0) {
            note(verification,
                 "%s: byte %" PRIu64 ": damaged, a whole frame follows at byte %" PRIu64 ": %s",
                 map->path, last->position, identity.position, end->text);
            return;
        }
    }
}

/* Sequence number behind the last frame, or the first when the file cannot be read. */
static int64_t verify_log(struct verification *verification, const char *directory, uint32_t dim,
                          const struct manifest_log *log)
{
    struct log_frame_identity identity = {log->number, log->log_generation, log->salt, 0};
    struct table_map map = {0};
    struct log_frame frame;
    struct error error = {0};
    int64_t sequence = log->first_sequence;

    if (table_map_open(verification->io, directory, log->number, "log", 0, &map, &error) != 0) {
        note(verification, "%s", error.text);
        return sequence;
    }
    while (identity.position < map.size_bytes &&
           log_frame_parse(map.bytes + identity.position, map.size_bytes - identity.position,
                           &identity, dim, &frame, &error) == 0) {
        if (frame.header->sequence != (uint64_t)sequence)
            note(verification, "%s: byte %" PRIu64 ": frame %" PRIu64 " where %" PRId64 " belongs",
                 map.path, identity.position, frame.header->sequence, sequence);
        sequence = (int64_t)frame.header->sequence + 1;
        identity.position += frame.header->frame_bytes;
    }
    if (identity.position < map.size_bytes)
        verify_log_tail(verification, &map, &identity, dim, log->active, &error);
    table_map_close(verification->io, &map);
    return sequence;
}

static int compare_logs(const void *a, const void *b)
{
    const struct manifest_log *left = a, *right = b;

    return left->first_sequence < right->first_sequence
               ? -1
               : left->first_sequence > right->first_sequence;
}

static bool holds_chunk(const struct manifest_state *state, uint64_t log_number)
{
    for (size_t i = 0; i < state->table_count; i++) {
        if (state->tables[i].description.kind == TABLE_CHUNK &&
            state->tables[i].description.log_file_number == log_number)
            return true;
    }
    return false;
}

/* Frames of the logs that will be replayed follow one another. Of flushed logs those are read that
 * hold vectors of a chunk; the others wait to be written over. */
static void verify_logs(struct verification *verification, const char *directory,
                        const struct manifest_state *state)
{
    const struct manifest_log *before = NULL;
    struct manifest_log *logs = malloc(sizeof(*logs) * (state->log_count + 1));
    int64_t end = 0;

    if (!logs)
        abort();
    if (state->log_count > 0) {
        memcpy(logs, state->logs, sizeof(*logs) * state->log_count);
        qsort(logs, state->log_count, sizeof(*logs), compare_logs);
    }
    for (size_t i = 0; i < state->log_count; i++) {
        if (!logs[i].active) {
            if (holds_chunk(state, logs[i].number))
                (void)verify_log(verification, directory, state->dim, &logs[i]);
            continue;
        }
        if (before && logs[i].first_sequence != end)
            note(verification,
                 "%s/%06" PRIu64 ".log: it ends before frame %" PRId64
                 ", the next log begins with %" PRId64,
                 directory, before->number, end, logs[i].first_sequence);
        end = verify_log(verification, directory, state->dim, &logs[i]);
        before = &logs[i];
    }
    free(logs);
}

/* Shards. */

static void verify_state(struct verification *verification, const char *directory, uint64_t number)
{
    struct manifest_state state = {0};
    struct error error;
    uint64_t end, edits;
    bool clean = true;

    if (manifest_read(verification->io, directory, number, &state, &end, &edits, &clean, &error) !=
        0) {
        note(verification, "%s", error.text);
        manifest_state_destroy(&state);
        return;
    }
    if (!clean)
        note(verification,
             "%s/MANIFEST-%06" PRIu64 ": byte %" PRIu64
             ": an interrupted write or a damaged edit; opening the store leaves it out",
             directory, number, end);
    if (manifest_truncation_check(verification->io, directory, &state, &error) != 0)
        note(verification, "%s", error.text);
    for (size_t i = 0; i < state.table_count; i++)
        verify_table(verification, directory, state.dim, &state.tables[i]);
    for (size_t i = 0; i < state.span_count; i++)
        verify_segment(verification, directory, state.dim, &state.spans[i].segment,
                       state.spans[i].row_count);
    verify_windows(verification, directory, &state);
    verify_logs(verification, directory, &state);
    manifest_state_destroy(&state);
}

static void verify_shard(struct verification *verification, const char *directory)
{
    struct error error;
    uint64_t number = 0;

    verification->shard_count++;
    if (manifest_current_read(verification->io, directory, &number, &error) != 0)
        note(verification, "%s", error.text);
    else
        verify_state(verification, directory, number);
}

/* Folders. */

struct names {
    char **items;
    size_t count;
};

static int collect_name(void *context, const char *name)
{
    struct names *names = context;

    names->items = realloc(names->items, sizeof(*names->items) * (names->count + 1));
    if (!names->items)
        abort();
    names->items[names->count] = strdup(name);
    if (!names->items[names->count++])
        abort();
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int list_folder(struct io *io, const char *path, struct names *names, struct error *error)
{
    int result;

    *names = (struct names){0};
    result = io_list(io, path, collect_name, names, error);
    if (names->count > 0)
        qsort(names->items, names->count, sizeof(*names->items), compare_names);
    return result;
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static bool holds_shard(const struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->items[i], "CURRENT") == 0 ||
            strncmp(names->items[i], "MANIFEST-", 9) == 0)
            return true;
    }
    return false;
}

/* Folders two levels below collections.d that hold a manifest are shards, and in data folders of before, backups and
 * copies those two levels down; plain files and other folders are not the store's to judge. */
static void verify_folder(struct verification *verification, const char *path, int depth)
{
    struct names names;

    if (list_folder(verification->io, path, &names, ERROR_IGNORED) == 0) {
        if (depth == 2 && holds_shard(&names))
            verify_shard(verification, path);
        for (size_t i = 0; depth < 2 && i < names.count; i++) {
            char inner[PATH_MAX];
            int length = snprintf(inner, sizeof(inner), "%s/%s", path, names.items[i]);
            if (length < 0 || (size_t)length >= sizeof(inner))
                note(verification, "%s: path too long", path);
            else if (strcmp(names.items[i], STORE_NOTICE) != 0)
                verify_folder(
                    verification, inner,
                    depth == 0 && strcmp(names.items[i], STORE_COLLECTIONS) == 0 ? 0 : depth + 1);
        }
    }
    free_names(&names);
}

/* Holds the lock while reading, so that no process opens the store in between. */
static int lock_folder(struct io *io, const char *data_dir, char *path, int *file,
                       struct error *error)
{
    int result;

    (void)snprintf(path, PATH_MAX, "%s/LOCK", data_dir);
    *file = -1;
    result = io_open(io, path, IO_READ, file, error);
    if (result)
        return result;
    return io_lock(io, *file, path, error);
}

int store_verify(struct io *io, const char *data_dir, const struct store_verify_checks *checks,
                 struct buffer *findings, struct error *error)
{
    struct verification verification = {.io = io, .findings = findings};
    size_t before = findings->size;
    char lock_path[PATH_MAX];
    int lock_file;
    int result;

    if (checks)
        verification.checks = *checks;
    if (strlen(data_dir) > PATH_MAX / 2)
        return error_set(error, ERROR_INVALID, "path too long: %s", data_dir);
    result = lock_folder(io, data_dir, lock_path, &lock_file, error);
    if (result == 0) {
        verify_folder(&verification, data_dir, 0);
        if (findings->size > before)
            result = error_set(error, ERROR_CORRUPT, "%s: damaged", data_dir);
    } else {
        (void)error_wrap(error, "no data folder to verify");
    }
    if (lock_file >= 0)
        (void)io_close(io, lock_file, lock_path, ERROR_IGNORED);
    return result;
}
