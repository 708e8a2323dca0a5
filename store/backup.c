/* A shard's part of a backup: what is flushed, in a folder of its own, while the shard goes on.
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
#include "store/backup.h"

#include <limits.h>

#include "store/compaction.h"
#include "store/describe.h"
#include "store/files/backup_files.h"
#include "store/operations.h"

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
    done->folder = shard->folder;
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
        code = backup_make_shard(shard->io, folder, shard->collection, shard->folder, path, error);
    if (code == 0)
        code = back_up(shard, path, cancel, done, error);
    if (code != 0)
        (void)error_wrap(error, "%s/%s: backup", shard->collection, shard->name);
    return code;
}
