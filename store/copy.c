/* Copies of shards that come from another process.
 *
 *     .outgoing/ID/COLLECTION/SHARD          made by store_shard_backup, read by who asked for it
 *     .incoming/COLLECTION.SHARD/COLLECTION/SHARD    fetched here; a data folder of its own, so that it is
 *                                            verified as one
 *     install    the old folder aside, the new one in its place; the old one is removed when the new one is open,
 *                and put back when it cannot be opened
 *
 * Nothing that was fetched is believed: every byte is read and every checksum compared before the
 * install. A crash in between leaves the old folder or none, and then Kafka, or another copy, has
 * the records. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "store/backup_files.h"
#include "store/manifest_format.h"
#include "store/operations.h"

#define OUTGOING ".outgoing"
#define INCOMING ".incoming"

enum { DEPTH_MAX = 4, ROOM_BYTES = 64 << 20 };

static int make(struct io *io, const char *path, const char *under, struct error *error)
{
    char parent[PATH_MAX];

    if (snprintf(parent, sizeof(parent), "%s/%s", path, under) >= PATH_MAX - 600)
        return error_set(error, ERROR_INVALID, "path too long: %s", path);
    return io_make_directory(io, parent, error);
}

int store_copy_outgoing(struct io *io, const char *data_dir, const char *id, char *folder,
                        struct error *error)
{
    int code = make(io, data_dir, OUTGOING, error);

    if (code != 0)
        return code;
    (void)snprintf(folder, PATH_MAX, "%s/" OUTGOING "/%s", data_dir, id);
    return io_make_directory(io, folder, error);
}

int store_copy_incoming(struct io *io, const char *data_dir, const char *collection,
                        const char *name, char *folder, struct error *error)
{
    char path[PATH_MAX];
    int code = make(io, data_dir, INCOMING, error);

    if (code != 0)
        return code;
    (void)snprintf(folder, PATH_MAX, "%s/" INCOMING "/%s.%s", data_dir, collection, name);
    code = io_make_directory(io, folder, error);
    if (code == 0)
        code = io_replace_file(io, folder, "LOCK", "", 0, error); /* verify wants one */
    if (code == 0)
        code = backup_make_shard(io, folder, collection, name, path, error);
    return code;
}

/* Folders are told from files by whether they can be listed. */
struct removal {
    struct io *io;
    const char *path;
    int depth;
    struct error *error;
};

static int remove_entry(void *context, const char *name)
{
    struct removal *removal = context;
    char path[PATH_MAX];
    struct removal inner = {removal->io, path, removal->depth - 1, removal->error};

    if ((size_t)snprintf(path, sizeof(path), "%s/%s", removal->path, name) >= sizeof(path))
        return ERROR_INVALID;
    if (io_unlink(removal->io, path, ERROR_IGNORED) == 0)
        return 0;
    if (removal->depth == 0)
        return error_set(removal->error, ERROR_IO, "%s cannot be removed", path);
    (void)io_list(removal->io, path, remove_entry, &inner, removal->error);
    return io_remove_directory(removal->io, path, removal->error);
}

int store_copy_remove(struct io *io, const char *folder, struct error *error)
{
    struct removal removal = {io, folder, DEPTH_MAX, error};
    int code = io_list(io, folder, remove_entry, &removal, error);

    if (code == ERROR_NOT_FOUND)
        return 0;
    return code == 0 ? io_remove_directory(io, folder, error) : code;
}

int store_copy_clean(struct io *io, const char *data_dir, struct error *error)
{
    char path[PATH_MAX];
    int code;

    (void)snprintf(path, sizeof(path), "%.3000s/" OUTGOING, data_dir);
    code = store_copy_remove(io, path, error);
    (void)snprintf(path, sizeof(path), "%.3000s/" INCOMING, data_dir);
    return code == 0 ? store_copy_remove(io, path, error) : code;
}

int store_copy_check_room(const char *data_dir, uint64_t bytes, struct error *error)
{
    uint64_t free_bytes, size_bytes;

    if (!io_disk_room(data_dir, &free_bytes, &size_bytes))
        return error_set(error, ERROR_IO, "%s: its free space is not known", data_dir);
    if (free_bytes >= bytes && free_bytes - bytes >= ROOM_BYTES)
        return 0;
    return error_set(error, ERROR_NO_SPACE,
                     "%llu bytes and %d more do not fit beside the present data: %llu are free",
                     (unsigned long long)bytes, ROOM_BYTES, (unsigned long long)free_bytes);
}

/* What a shard folder says of itself. */
static int read_state(struct io *io, const char *directory, struct manifest_state *state,
                      struct error *error)
{
    uint64_t number, end, edits;
    bool clean;
    int code = manifest_current_read(io, directory, &number, error);

    return code == 0 ? manifest_read(io, directory, number, state, &end, &edits, &clean, error)
                     : code;
}

int64_t store_shard_peek(struct store *store, const char *collection, const char *name)
{
    struct manifest_state state = {0};
    char directory[PATH_MAX];
    int64_t next_offset = -1;

    (void)snprintf(directory, sizeof(directory), "%s/%s/%s", store->data_dir, collection, name);
    if (read_state(store->io, directory, &state, ERROR_IGNORED) == 0)
        next_offset = state.next_offset;
    manifest_state_destroy(&state);
    return next_offset;
}

static const char *first_line(struct buffer *text)
{
    char *start = (char *)buffer_text(text);

    start[strcspn(start, "\n")] = '\0';
    return start;
}

int store_copy_verify(struct io *io, const char *folder, const struct store_copy_wanted *wanted,
                      struct error *error)
{
    struct manifest_state state = {0};
    struct buffer findings = {0};
    char directory[PATH_MAX];
    int code;

    (void)snprintf(directory, sizeof(directory), "%.3000s/%s/%s", folder, wanted->collection,
                   wanted->name);
    code = read_state(io, directory, &state, error);
    if (code == ERROR_NOT_FOUND)
        code = error_set(error, ERROR_CORRUPT, "it has no manifest");
    if (code == 0 && state.dim != wanted->dim)
        code =
            error_set(error, ERROR_INVALID, "its dimension is %u, not %u", state.dim, wanted->dim);
    if (code == 0 && state.metric != (uint32_t)wanted->metric)
        code = error_set(error, ERROR_INVALID, "its vectors are of another metric");
    if (code == 0 && state.next_offset != wanted->next_offset)
        code = error_set(error, ERROR_INVALID, "it ends at offset %lld, not at %lld",
                         (long long)state.next_offset, (long long)wanted->next_offset);
    manifest_state_destroy(&state);
    if (code == 0 && store_verify(io, folder, NULL, &findings, error) != 0)
        code = findings.size == 0
                   ? error->code
                   : error_set(error, ERROR_CORRUPT, "it is damaged: %s", first_line(&findings));
    buffer_destroy(&findings);
    return code;
}

/* Where a copy and what it replaces lie. */
struct install {
    char from[PATH_MAX], parent[PATH_MAX], to[PATH_MAX], aside[PATH_MAX];
};

static void find_places(const struct store *store, const char *folder, const char *collection,
                        const char *name, struct install *install)
{
    (void)snprintf(install->from, PATH_MAX, "%.3000s/%s/%s", folder, collection, name);
    (void)snprintf(install->aside, PATH_MAX, "%.3000s/replaced", folder);
    (void)snprintf(install->parent, PATH_MAX, "%.3000s/%s", store->data_dir, collection);
    (void)snprintf(install->to, PATH_MAX, "%.3500s/%s", install->parent, name);
}

int store_shard_install(struct store *store, const char *folder, const char *collection,
                        const char *name, struct error *error)
{
    struct io *io = store->io;
    struct install install;
    int code;

    find_places(store, folder, collection, name, &install);
    code = io_make_directory(io, install.parent, error);
    if (code == 0)
        code = io_sync_directory(io, store->data_dir, error);
    if (code == 0)
        code = io_rename(io, install.to, install.aside, error);
    if (code == ERROR_NOT_FOUND)
        code = 0;
    if (code == 0)
        code = io_rename(io, install.from, install.to, error);
    return code == 0 ? io_sync_directory(io, install.parent, error) : code;
}

static int find_any(void *context, const char *name)
{
    (void)context;
    (void)name;
    return 1;
}

/* A copy that is not in its own folder any more is in the shard's place. */
int store_shard_uninstall(struct store *store, const char *folder, const char *collection,
                          const char *name, struct error *error)
{
    struct io *io = store->io;
    struct install install;
    int code = 0;

    find_places(store, folder, collection, name, &install);
    if (io_list(io, install.from, find_any, NULL, ERROR_IGNORED) == ERROR_NOT_FOUND)
        code = store_copy_remove(io, install.to, error);
    if (code == 0)
        code = io_rename(io, install.aside, install.to, error);
    if (code == ERROR_NOT_FOUND)
        code = 0;
    return code == 0 ? io_sync_directory(io, install.parent, error) : code;
}
