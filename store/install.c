/* A verified copy takes the place of a shard's folder.
 *
 *     install     the old folder aside, the new one in its place
 *     uninstall   the new one could not be opened: removed, and the old one put back
 *
 * A crash in between leaves the old folder or none, and then Kafka, or another copy, has the
 * records. */
#include "store/install.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "store/files/manifest_format.h"
#include "store/shard.h"

enum { DEPTH_MAX = 4 };

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

int store_folder_remove(struct io *io, const char *folder, struct error *error)
{
    struct removal removal = {io, folder, DEPTH_MAX, error};
    int code = io_list(io, folder, remove_entry, &removal, error);

    if (code == ERROR_NOT_FOUND)
        return 0;
    return code == 0 ? io_remove_directory(io, folder, error) : code;
}

static int append_name(void *context, const char *name)
{
    struct buffer *names = context;

    buffer_append(names, name, strlen(name) + 1);
    return 0;
}

int store_list_names(struct io *io, const char *folder, struct buffer *names, struct error *error)
{
    return io_list(io, folder, append_name, names, error);
}

const char *store_next_name(const struct buffer *names, const char *name)
{
    const char *first = (const char *)names->data;
    const char *next = name ? name + strlen(name) + 1 : first;

    return (size_t)(next - first) < names->size ? next : NULL;
}

int64_t store_shard_peek(struct store *store, const char *collection, const char *shard_folder)
{
    struct manifest_state state = {0};
    char directory[PATH_MAX];
    int64_t next_offset = -1;

    (void)snprintf(directory, sizeof(directory), "%s/%s/%s", store->collections, collection,
                   shard_folder);
    if (manifest_read_current(store->io, directory, &state, ERROR_IGNORED) == 0)
        next_offset = state.next_offset;
    manifest_state_destroy(&state);
    return next_offset;
}

/* Where a copy and what it replaces lie. */
struct install {
    char from[PATH_MAX], parent[PATH_MAX], to[PATH_MAX], aside[PATH_MAX];
};

static void find_places(const struct store *store, const char *folder, const char *collection,
                        const char *shard_folder, struct install *install)
{
    (void)snprintf(install->from, PATH_MAX, "%.3000s/%s/%s", folder, collection, shard_folder);
    (void)snprintf(install->aside, PATH_MAX, "%.3000s/replaced", folder);
    (void)snprintf(install->parent, PATH_MAX, "%.3000s/%s", store->collections, collection);
    (void)snprintf(install->to, PATH_MAX, "%.3500s/%s", install->parent, shard_folder);
}

int store_shard_install(struct store *store, const char *folder, const char *collection,
                        const char *shard_folder, struct error *error)
{
    struct io *io = store->io;
    struct install install;
    int code;

    find_places(store, folder, collection, shard_folder, &install);
    code = io_make_directory(io, install.parent, error);
    if (code == 0)
        code = io_sync_directory(io, store->collections, error);
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
                          const char *shard_folder, struct error *error)
{
    struct io *io = store->io;
    struct install install;
    int code = 0;

    find_places(store, folder, collection, shard_folder, &install);
    if (io_list(io, install.from, find_any, NULL, ERROR_IGNORED) == ERROR_NOT_FOUND)
        code = store_folder_remove(io, install.to, error);
    if (code == 0)
        code = io_rename(io, install.aside, install.to, error);
    if (code == ERROR_NOT_FOUND)
        code = 0;
    return code == 0 ? io_sync_directory(io, install.parent, error) : code;
}
