/* Runs work on a window under its window lock, and tells what changed once the lock is free: whoever
 * is woken by it can take the window. Garbage is collected before (there may be space to gain) and
 * after (the work has just dropped files). */
#include "store/operations.h"

int window_lock_run(struct store_shard *shard, const char *verb, int64_t start_ms,
                    int64_t length_ms, window_lock_function work, void *context,
                    struct error *error)
{
    int code;

    garbage_collect_behind(shard);
    code = shard_check_running(shard, error);
    if (code == 0)
        code = window_lock_take(&shard->windows, start_ms, length_ms, error);
    if (code == 0) {
        code = shard_check_stop(shard, work(context, error), error);
        window_lock_release(&shard->windows, start_ms, length_ms);
        events_notify(&shard->store->events);
    }
    garbage_collect_behind(shard);
    if (code == 0)
        shard_windows_changed(shard);
    if (code != 0)
        error_wrap(error, "%s/%s: %s window %lld", shard->collection, shard->name, verb,
                   (long long)start_ms);
    return code;
}

int window_check_damage(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                        struct error *error)
{
    bool damaged = false;

    pthread_mutex_lock(&shard->commit.lock);
    for (size_t i = 0; i < shard->damages.count; i++)
        damaged |= damage_is_of(&shard->damages.items[i], start_ms, length_ms);
    pthread_mutex_unlock(&shard->commit.lock);
    return damaged ? error_set(error, ERROR_CORRUPT, "the window has damaged files") : 0;
}
