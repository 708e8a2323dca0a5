/* Copies of shards that come from another process.
 *
 *     .outgoing/ID/COLLECTION/SHARD          made by store_shard_backup, read by who asked for it
 *     .incoming/COLLECTION.HASH/COLLECTION/SHARD    fetched here; a data folder of its own, so that it is
 *                                            verified as one
 *
 * Nothing that was fetched is believed: every byte is read and every checksum compared before the
 * install (store/install.h). */
#include "store/tools/copy.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "store/files/backup_files.h"
#include "store/files/manifest_format.h"
#include "store/install.h"
#include "store/tools/verify.h"

#define OUTGOING ".outgoing"
#define INCOMING ".incoming"

enum { ROOM_BYTES = 64 << 20 };

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
    /* Both names together may be longer than a name of a folder. */
    (void)snprintf(folder, PATH_MAX, "%.3000s/" INCOMING "/%s.%016" PRIx64, data_dir, collection,
                   checksum_block(name, strlen(name), 0, 0, 0));
    code = io_make_directory(io, folder, error);
    if (code == 0)
        code = io_replace_file(io, folder, "LOCK", "", 0, error); /* verify wants one */
    if (code == 0)
        code = backup_make_shard(io, folder, collection, name, path, error);
    return code;
}

int store_copy_clean(struct io *io, const char *data_dir, struct error *error)
{
    char path[PATH_MAX];
    int code;

    (void)snprintf(path, sizeof(path), "%.3000s/" OUTGOING, data_dir);
    code = store_folder_remove(io, path, error);
    (void)snprintf(path, sizeof(path), "%.3000s/" INCOMING, data_dir);
    return code == 0 ? store_folder_remove(io, path, error) : code;
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
    code = manifest_read_current(io, directory, &state, error);
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
