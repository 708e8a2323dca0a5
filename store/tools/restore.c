/* Restore: a finished backup becomes a data folder.
 *
 * RESTORING is there from before the first shard until after the last one: a crash in between
 * leaves a folder that no store opens. Nothing of the backup is believed: its list has a checksum,
 * and what each shard consists of is read from its manifest. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum.h"
#include "base/text.h"
#include "store/files/backup_files.h"
#include "store/files/manifest_format.h"
#include "store/files/wire.h"
#include "store/store.h"
#include "store/tools/backup_folder.h"

/* Checks the list and ends it behind the last shard's line. */
static int read_list(struct io *io, const char *folder, struct buffer *list, struct error *error)
{
    static const char first[] = BACKUP_FIRST_LINE;
    enum { END_BYTES = 4 + 16 + 1 }; /* "end ", digits, newline */
    char expected[32];
    size_t size;
    int code = io_read_file(io, folder, BACKUP_NAME, list, error);

    if (code == ERROR_NOT_FOUND)
        return error_set(error, ERROR_CORRUPT,
                         "%s is not a complete backup: it has no file " BACKUP_NAME, folder);
    if (code != 0)
        return code;
    if (list->size > sizeof(first) && memcmp(list->data, first, BACKUP_VERSION_AT) == 0 &&
        strtoul((const char *)list->data + BACKUP_VERSION_AT, NULL, 10) > BACKUP_VERSION)
        return error_set(error, ERROR_UNSUPPORTED, "%s/" BACKUP_NAME ": " NEWER_FORMAT, folder,
                         (unsigned)strtoul((const char *)list->data + BACKUP_VERSION_AT, NULL, 10),
                         BACKUP_VERSION);
    if (list->size < sizeof(first) - 1 + END_BYTES ||
        memcmp(list->data, first, sizeof(first) - 1) != 0)
        return error_set(error, ERROR_CORRUPT, "%s/" BACKUP_NAME " is not a list of shards",
                         folder);
    size = list->size - END_BYTES;
    snprintf(expected, sizeof(expected), "end %016" PRIx64 "\n",
             checksum_block(list->data, size, 0, 0, size));
    if (memcmp(list->data + size, expected, END_BYTES) != 0)
        return error_set(error, ERROR_CORRUPT, "%s/" BACKUP_NAME " does not match its checksum",
                         folder);
    list->size = size;
    return 0;
}

static int restore_shard(struct io *io, const char *from, const char *to, uint64_t *bytes,
                         struct error *error)
{
    struct backup_files files = {.io = io, .from = from, .to = to};
    struct manifest_state state = {0};
    uint64_t number, end, edits;
    bool clean = true;
    int code = manifest_current_read(io, from, &number, error);

    if (code == 0)
        code = manifest_read(io, from, number, &state, &end, &edits, &clean, error);
    if (code == 0)
        backup_trim_state(&state); /* somebody may have opened it as a store meanwhile */
    if (code == 0)
        code = backup_bring_masks(&files, &state, error);
    if (code == 0)
        code = backup_bring_tables(&files, &state, error);
    if (code == 0)
        code = manifest_write_new(io, to, &state, error);
    manifest_state_destroy(&state);
    *bytes += files.bytes;
    return code == ERROR_NOT_FOUND ? error_set(error, ERROR_CORRUPT, "%s is incomplete", from)
                                   : code;
}

/* "COLLECTION SHARD NEXT_OFFSET"; both names become folders. */
static bool parse_line(char *line, char **collection, char **name)
{
    *collection = line;
    *name = strchr(line, ' ');
    if (!*name)
        return false;
    *(*name)++ = '\0';
    line = strchr(*name, ' ');
    if (!line)
        return false;
    *line = '\0';
    return **collection && **collection != '.' && !strchr(*collection, '/') && **name &&
           **name != '.' && !strchr(*name, '/') && strlen(*collection) <= 200 &&
           strlen(*name) <= NAME_MAX;
}

static int restore_line(struct io *io, const char *folder, const char *collections, char *line,
                        uint64_t *bytes, struct error *error)
{
    char from[PATH_MAX], to[PATH_MAX];
    char *collection, *name;
    uint64_t number;
    int code;

    if (!parse_line(line, &collection, &name))
        return error_set(error, ERROR_CORRUPT, "%s/" BACKUP_NAME ": unexpected entry %s", folder,
                         line);
    if (snprintf(from, sizeof(from), "%s/%s/%s", folder, collection, name) >= PATH_MAX - 100)
        return error_set(error, ERROR_INVALID, "path too long: %s", folder);
    /* Who opened the backup as a store moved its collections. */
    if (manifest_current_read(io, from, &number, ERROR_IGNORED) == ERROR_NOT_FOUND)
        (void)snprintf(from, sizeof(from), "%.3000s/" STORE_COLLECTIONS "/%s/%s", folder,
                       collection, name);
    code = backup_make_shard(io, collections, collection, name, to, error);
    if (code == 0)
        code = restore_shard(io, from, to, bytes, error);
    if (code == 0) {
        snprintf(to, sizeof(to), "%.3000s/%s", collections, collection);
        code = io_sync_directory(io, to, error);
    }
    return code == 0 ? 0 : error_wrap(error, "%s/%s", collection, name);
}

int store_restore(struct io *io, const char *folder, const char *data_dir, size_t *shard_count,
                  uint64_t *bytes, struct error *error)
{
    struct buffer list = {0};
    char path[PATH_MAX], collections[PATH_MAX];
    int code = strlen(folder) > PATH_MAX - 1000
                   ? error_set(error, ERROR_INVALID, "path too long: %s", folder)
                   : read_list(io, folder, &list, error);

    *shard_count = 0;
    *bytes = 0;
    if (code == 0)
        code = backup_make_empty(io, data_dir, error);
    if (code == 0)
        code = io_replace_file(io, data_dir, BACKUP_RESTORING_NAME, "", 0, error);
    if (code == 0)
        code = io_replace_file(io, data_dir, "LOCK", "", 0, error); /* verify wants one */
    (void)snprintf(collections, sizeof(collections), "%.3000s/" STORE_COLLECTIONS, data_dir);
    if (code == 0)
        code = io_make_directory(io, collections, error);
    for (size_t at = strlen(BACKUP_FIRST_LINE); code == 0 && at < list.size; (*shard_count)++) {
        char *line = (char *)list.data + at;
        char *newline = memchr(line, '\n', list.size - at);
        if (!newline) {
            code = error_set(error, ERROR_CORRUPT,
                             "%s/" BACKUP_NAME ": the last line is incomplete", folder);
            break;
        }
        *newline = '\0';
        at = (size_t)(newline - (char *)list.data) + 1;
        code = restore_line(io, folder, collections, line, bytes, error);
    }
    if (code == 0) {
        snprintf(path, sizeof(path), "%s/%s", data_dir, BACKUP_RESTORING_NAME);
        code = io_unlink(io, path, error);
    }
    if (code == 0)
        code = io_sync_directory(io, data_dir, error);
    buffer_destroy(&list);
    return code;
}
