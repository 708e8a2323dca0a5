/* The folder of a backup, apart from what the shards put into it.
 *
 *     begin    BACKUP.begun with the token, which proves to another process that it may write here
 *     finish   syncs the shards' folders, then writes BACKUP, which makes the folder a backup
 *
 * Failures: whatever stops it leaves a folder without BACKUP, which restore refuses. */
#include "store/tools/backup_folder.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "base/logger.h"
#include "store/files/backup_files.h"

int store_backup_begin(struct io *io, const char *folder, char token[STORE_BACKUP_TOKEN_BYTES],
                       struct error *error)
{
    uint64_t random[2];
    int code = backup_make_empty(io, folder, error);

    io_random(io, random, sizeof(random));
    snprintf(token, STORE_BACKUP_TOKEN_BYTES, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    if (code == 0)
        code = io_replace_file(io, folder, BACKUP_BEGUN_NAME, token, strlen(token), error);
    if (code == 0)
        code = io_replace_file(io, folder, "LOCK", "", 0, error); /* verify wants one */
    return code;
}

int store_backup_check(struct io *io, const char *folder, const char *token, struct error *error)
{
    struct buffer begun = {0};
    struct error local = {0};
    bool equal = strlen(folder) < PATH_MAX - 1000 &&
                 io_read_file(io, folder, BACKUP_BEGUN_NAME, &begun, &local) == 0 &&
                 begun.size == STORE_BACKUP_TOKEN_BYTES - 1 &&
                 strcmp(buffer_text(&begun), token) == 0;

    buffer_destroy(&begun);
    if (equal)
        return 0;
    /* The reply must not tell which paths exist: it is the same for all of them. */
    log_warning("store", "%s is not a backup begun with the token of the request%s%s", folder,
                local.text[0] ? ": " : "", local.text);
    return error_set(error, ERROR_INVALID,
                     "%s is not a backup begun with this token: the log of the service says why",
                     folder);
}

int store_backup_finish(struct io *io, const char *folder, const struct store_backup_shard *shards,
                        size_t count, struct error *error)
{
    struct buffer text = {0};
    struct error ignored;
    char path[PATH_MAX];
    uint64_t checksum;
    int code = 0;

    buffer_append_text(&text, BACKUP_FIRST_LINE);
    for (size_t i = 0; i < count && code == 0; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, shards[i].collection);
        code = io_sync_directory(io, path, error);
        buffer_append_format(&text, "%s %s %" PRId64 "\n", shards[i].collection, shards[i].folder,
                             shards[i].next_offset);
    }
    checksum = checksum_block(text.data, text.size, 0, 0, text.size);
    buffer_append_format(&text, "end %016" PRIx64 "\n", checksum);
    if (code == 0)
        code = io_replace_file(io, folder, BACKUP_NAME, text.data, text.size, error);
    buffer_destroy(&text);
    snprintf(path, sizeof(path), "%s/%s", folder, BACKUP_BEGUN_NAME);
    if (code == 0)
        (void)io_unlink(io, path, &ignored); /* BACKUP is what counts */
    return code;
}
