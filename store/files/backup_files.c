#include "store/files/backup_files.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/files/table.h"

enum { COPY_BYTES = 1 << 20 };

/* One file. */

static bool is_cancelled(const struct backup_files *files)
{
    return files->cancel && atomic_load_explicit(files->cancel, memory_order_relaxed);
}

static int copy_bytes(struct backup_files *files, int from, const char *from_path, int to,
                      const char *to_path, struct error *error)
{
    uint64_t size_bytes = 0;
    uint8_t *block = malloc(COPY_BYTES);
    int code = io_size(files->io, from, from_path, &size_bytes, error);

    if (!block)
        abort();
    for (uint64_t at = 0; at < size_bytes && code == 0; at += COPY_BYTES) {
        size_t part = size_bytes - at < COPY_BYTES ? (size_t)(size_bytes - at) : COPY_BYTES;
        if (is_cancelled(files))
            code = error_set(error, ERROR_CANCELLED, "cancelled");
        if (code == 0)
            code = io_read(files->io, from, from_path, block, part, at, error);
        if (code == 0)
            code = io_write(files->io, to, to_path, block, part, at, error);
    }
    if (code == 0)
        code = io_datasync(files->io, to, to_path, error);
    files->copied_bytes += size_bytes;
    free(block);
    return code;
}

static int copy_file(struct backup_files *files, const char *from_path, const char *to_path,
                     struct error *error)
{
    int from, to;
    int code = io_open(files->io, from_path, IO_READ, &from, error);

    if (code != 0)
        return code;
    code = io_open(files->io, to_path, IO_WRITE | IO_CREATE | IO_EXCLUSIVE, &to, error);
    if (code == 0) {
        code = copy_bytes(files, from, from_path, to, to_path, error);
        if (io_close(files->io, to, to_path, code == 0 ? error : ERROR_IGNORED) != 0 && code == 0)
            code = ERROR_IO;
    }
    (void)io_close(files->io, from, from_path, ERROR_IGNORED); /* only read */
    return code;
}

static int count_bytes(struct backup_files *files, const char *path, struct error *error)
{
    uint64_t size_bytes = 0;
    int file;
    int code = io_open(files->io, path, IO_READ, &file, error);

    if (code != 0)
        return code;
    code = io_size(files->io, file, path, &size_bytes, error);
    (void)io_close(files->io, file, path, ERROR_IGNORED); /* only read */
    files->file_count++;
    files->bytes += size_bytes;
    return code;
}

/* `changes`: the file is written over one day, a link to it would be too. */
static int bring(struct backup_files *files, uint64_t number, const char *extension, bool changes,
                 struct error *error)
{
    char from[PATH_MAX], to[PATH_MAX];
    int code = 0;

    if (is_cancelled(files))
        return error_set(error, ERROR_CANCELLED, "cancelled");
    table_path(files->from, number, extension, from, sizeof(from));
    table_path(files->to, number, extension, to, sizeof(to));
    if (!changes && !files->links_refused) {
        /* Another file system, or one without links: what is really wrong, the copy finds too. */
        files->links_refused = io_link(files->io, from, to, ERROR_IGNORED) != 0;
        if (!files->links_refused)
            return count_bytes(files, to, error);
    }
    code = copy_file(files, from, to, error);
    return code == 0 ? count_bytes(files, to, error) : code;
}

/* The files of a state. */

int backup_bring_masks(struct backup_files *files, const struct manifest_state *state,
                       struct error *error)
{
    int code = 0;

    for (size_t i = 0; i < state->table_count && code == 0; i++)
        if (state->tables[i].mask_number != 0)
            code = bring(files, state->tables[i].mask_number, "mask", false, error);
    return code;
}

/* The file may be there or not. One that is written meanwhile is renamed over it: it never goes. */
static int bring_columns(struct backup_files *files, uint64_t number, struct error *error)
{
    char path[PATH_MAX];
    int file;

    table_path(files->from, number, "columns", path, sizeof(path));
    if (io_open(files->io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return 0;
    (void)io_close(files->io, file, path, ERROR_IGNORED); /* nothing was written */
    return bring(files, number, "columns", false, error);
}

static int bring_table(struct backup_files *files, const struct manifest_table *table,
                       struct error *error)
{
    uint64_t number = table->description.file_number;
    int code;

    if (table->description.kind == TABLE_CHUNK) {
        code = bring(files, number, "chunk", false, error);
    } else {
        code = bring(files, number, "run", false, error);
        if (code == 0)
            code = bring(files, number, "vectors", false, error);
        if (code == 0)
            code = bring_columns(files, number, error);
    }
    if (code == 0 && table->segment.file_number != 0)
        code = bring(files, table->segment.file_number, "segment", false, error);
    return code;
}

int backup_bring_tables(struct backup_files *files, const struct manifest_state *state,
                        struct error *error)
{
    int code = 0;

    for (size_t i = 0; i < state->table_count && code == 0; i++)
        code = bring_table(files, &state->tables[i], error);
    for (size_t i = 0; i < state->span_count && code == 0; i++)
        code = bring(files, state->spans[i].segment.file_number, "segment", false, error);
    for (size_t i = 0; i < state->log_count && code == 0; i++)
        code = bring(files, state->logs[i].number, "log", true, error);
    return code == 0 ? io_sync_directory(files->io, files->to, error) : code;
}

static bool holds_vectors(const struct manifest_state *state, uint64_t log_number)
{
    for (size_t i = 0; i < state->table_count; i++)
        if (state->tables[i].description.kind == TABLE_CHUNK &&
            state->tables[i].description.log_file_number == log_number)
            return true;
    return false;
}

void backup_trim_state(struct manifest_state *state)
{
    size_t kept = 0;

    for (size_t i = 0; i < state->log_count; i++)
        if (!state->logs[i].active && holds_vectors(state, state->logs[i].number))
            state->logs[kept++] = state->logs[i];
    state->log_count = kept;
    state->dropped_count = 0;
}

/* Folders and what lies beside the shards. */

int backup_make_shard(struct io *io, const char *folder, const char *collection, const char *name,
                      char *path, struct error *error)
{
    int code;

    if (snprintf(path, PATH_MAX, "%s/%s", folder, collection) >= PATH_MAX - 600)
        return error_set(error, ERROR_INVALID, "path too long: %s", folder);
    code = io_make_directory(io, path, error);
    if (code == 0)
        code = io_sync_directory(io, folder, error);
    if (code != 0)
        return code;
    snprintf(path + strlen(path), PATH_MAX - strlen(path), "/%s", name);
    code = io_make_directory(io, path, error);
    if (code != 0)
        return code;
    /* Its own name is durable with BACKUP, or with the removal of RESTORING. */
    return io_sync_directory(io, path, error);
}

static int find_entry(void *context, const char *name)
{
    if (strcmp(name, "lost+found") == 0) /* a file system of its own */
        return 0;
    *(bool *)context = true;
    return 1;
}

int backup_make_empty(struct io *io, const char *folder, struct error *error)
{
    bool found = false;
    int code;

    if (strlen(folder) == 0 || strlen(folder) > PATH_MAX - 1000)
        return error_set(error, ERROR_INVALID, "the folder name has %zu bytes, which is too long",
                         strlen(folder));
    code = io_make_directory(io, folder, error);
    if (code == 0)
        code = io_list(io, folder, find_entry, &found, error);
    if (code == 0 && found)
        code = error_set(error, ERROR_EXISTS, "%s is not empty", folder);
    return code;
}

int backup_check_restored(struct io *io, const char *data_dir, struct error *error)
{
    char path[PATH_MAX];
    int file;

    snprintf(path, sizeof(path), "%s/%s", data_dir, BACKUP_RESTORING_NAME);
    if (io_open(io, path, IO_READ, &file, ERROR_IGNORED) != 0)
        return 0;
    (void)io_close(io, file, path, ERROR_IGNORED); /* only read */
    return error_set(error, ERROR_CORRUPT,
                     "%s: an earlier restore did not finish (empty the folder and restore again)",
                     data_dir);
}
