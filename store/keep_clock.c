/* The safe clock of a shard that takes no records: idle, or without a broker. A start must know how
 * long nobody ran, and that is more than how long nothing was appended. */
#include "store/shard.h"

int store_shard_keep_clock(struct store_shard *shard, int64_t safe_wall_ms, struct error *error)
{
    const struct store_clock clock = {.watermark_ms = INT64_MIN, .safe_wall_ms = safe_wall_ms};
    struct manifest_edit edit = {0};
    int code;

    pthread_mutex_lock(&shard->commit.lock);
    code = shard_check_running(shard, error);
    if (code == 0) {
        manifest_edit_clock(&edit, &clock);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    pthread_mutex_unlock(&shard->commit.lock);
    if (code == 0) {
        pthread_mutex_lock(&shard->writer.lock);
        if (safe_wall_ms >
            atomic_load_explicit(&shard->progress.safe_wall_ms, memory_order_relaxed))
            atomic_store_explicit(&shard->progress.safe_wall_ms, safe_wall_ms,
                                  memory_order_relaxed);
        pthread_mutex_unlock(&shard->writer.lock);
    }
    manifest_edit_destroy(&edit);
    return shard_check_stop(shard, code, error);
}
