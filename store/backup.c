/* Backup: what is flushed, in a folder of its own, while the shard goes on.
 *
 *     flush     everything acknowledged so far is in chunks and runs; no log has to be replayed
 *     pin       under the commit lock the manifest's state and the version say the same; the
 *               version's reference keeps every file until it is linked. Masks belong to no
 *               version: they are linked under the lock
 *     bring     files that never change as links, logs (written over one day) as copies
 *     manifest  last: without CURRENT the folder is no shard
 *
 * Failures: whatever stops it leaves a folder without BACKUP, which restore refuses. The shard is
 * only read. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checksum.h"
#include "store/backup_files.h"
#include "store/operations.h"

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
    return error_set(error, ERROR_INVALID, "%s is not a backup begun with this token%s%s", folder,
                     local.text[0] ? ": " : "", local.text);
}

/* State and version that belong together, and the masks, which the next flush may replace. */
static int pin(struct store_shard *shard, struct backup_files *files, struct manifest_state *state,
               struct version **version, struct error *error)
{
    int code;

    pthread_mutex_lock(&shard->commit.lock);
    manifest_copy_state(shard->manifest, state);
    *version = version_acquire(shard);
    code = backup_bring_masks(files, state, error);
    pthread_mutex_unlock(&shard->commit.lock);
    return code;
}

static int back_up(struct store_shard *shard, const char *path, const atomic_bool *cancel,
                   struct store_backup_shard *done, struct error *error)
{
    struct backup_files files = {
        .io = shard->io, .from = shard->directory, .to = path, .cancel = cancel};
    struct manifest_state state = {0};
    struct version *version = NULL;
    int code = pin(shard, &files, &state, &version, error);

    backup_trim_state(&state);
    if (code == 0)
        code = backup_bring_tables(&files, &state, error);
    if (code == 0)
        code = manifest_write_new(shard->io, path, &state, error);
    version_unref(version);
    garbage_collect_behind(shard);
    done->collection = shard->collection;
    done->name = shard->name;
    done->next_offset = state.next_offset;
    done->file_count = files.file_count;
    done->bytes = files.bytes;
    done->copied_bytes = files.copied_bytes;
    manifest_state_destroy(&state);
    return code;
}

int store_shard_backup(struct store_shard *shard, const char *folder, const atomic_bool *cancel,
                       struct store_backup_shard *done, struct error *error)
{
    const char *damage = store_shard_damage(shard);
    char path[PATH_MAX];
    int code = 0;

    if (damage)
        code = error_set(error, ERROR_CORRUPT, "rebuild the damaged window first: %s", damage);
    if (code == 0)
        code = store_shard_flush(shard, error);
    if (code == 0)
        code = backup_make_shard(shard->io, folder, shard->collection, shard->name, path, error);
    if (code == 0)
        code = back_up(shard, path, cancel, done, error);
    if (code != 0)
        (void)error_wrap(error, "%s/%s: backup", shard->collection, shard->name);
    return code;
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
        buffer_append_format(&text, "%s %s %" PRId64 "\n", shards[i].collection, shards[i].name,
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
