#include "store/damage.h"

bool damage_is_of(const struct shard_damage *damage, int64_t start_ms, int64_t length_ms)
{
    return damage->window_start_ms == start_ms && damage->window_length_ms == length_ms;
}

size_t damage_edit_drop(const struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                        struct manifest_edit *edit)
{
    size_t count = 0;

    for (size_t i = 0; i < shard->damage_count; i++) {
        if (!damage_is_of(&shard->damages[i], start_ms, length_ms))
            continue;
        manifest_edit_table_drop(edit, shard->damages[i].file_number);
        count++;
    }
    return count;
}

void damage_forget(struct store_shard *shard, int64_t start_ms, int64_t length_ms)
{
    static const char *const extensions[] = {"chunk", "run", "vectors"};
    char path[LOG_PATH_BYTES];
    size_t kept = 0;

    for (size_t i = 0; i < shard->damage_count; i++) {
        const struct shard_damage *damage = &shard->damages[i];
        if (!damage_is_of(damage, start_ms, length_ms)) {
            shard->damages[kept++] = *damage;
            continue;
        }
        for (size_t e = 0; e < sizeof(extensions) / sizeof(extensions[0]); e++) {
            table_path(shard->directory, damage->file_number, extensions[e], path, sizeof(path));
            (void)io_unlink(shard->io, path, NULL); /* else removed at the next opening */
        }
        log_file_unref(damage->log);
    }
    shard->damage_count = kept;
    if (kept == 0)
        atomic_store(&shard->damage_shown, NULL);
}
