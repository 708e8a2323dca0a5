/* Compact: chosen runs of a window into runs of a level, or a run into another level as it is. */
#include "store/compaction.h"
#include "store/shard.h"
#include "store/window_lock.h"

struct compact_work {
    struct compaction compaction;
    const uint64_t *file_numbers;
    size_t count;
};

/* The part of that number, if it is an unsealed one of the window. */
static struct sstable *find_sstable(struct version *version, const struct table_description *window,
                                    uint64_t file_number, struct error *error)
{
    struct version_entry *entry = version_find(version, file_number);
    const struct table_description *description = entry ? &entry->sstable->description : NULL;

    if (!entry || description->window_start_ms != window->window_start_ms ||
        description->window_length_ms != window->window_length_ms) {
        error_set(error, ERROR_NOT_FOUND, "file %llu is no longer part of the window",
                  (unsigned long long)file_number);
        return NULL;
    }
    if (entry->sstable->sealed) {
        error_set(error, ERROR_INVALID, "file %llu is sealed", (unsigned long long)file_number);
        return NULL;
    }
    return entry->sstable;
}

static int compact(void *context, struct error *error)
{
    struct compact_work *work = context;
    struct compaction *compaction = &work->compaction;
    const struct table_description *window = &compaction->like.description;
    struct store_shard *shard = compaction->shard;
    struct version *version;
    int code = window_check_damage(shard, window->window_start_ms, window->window_length_ms, error);

    if (code != 0)
        return code;
    version = version_acquire(shard);
    /* Checked before any is taken. */
    for (size_t i = 0; i < work->count && code == 0; i++) {
        if (!find_sstable(version, window, work->file_numbers[i], error))
            code = ERROR_NOT_FOUND;
        for (size_t j = 0; j < i && code == 0; j++)
            if (work->file_numbers[i] == work->file_numbers[j])
                code = error_set(error, ERROR_INVALID, "file %llu is named twice",
                                 (unsigned long long)work->file_numbers[i]);
    }
    for (size_t i = 0; i < work->count && code == 0; i++)
        compaction_add(compaction, version_find(version, work->file_numbers[i])->sstable);
    version_unref(version);
    return code == 0 ? compaction_run(compaction, error) : code;
}

static int check_level(uint8_t level, struct error *error)
{
    return level >= STORE_LEVELS
               ? error_set(error, ERROR_INVALID, "level %u of %d", level, STORE_LEVELS)
               : 0;
}

int store_shard_compact(struct store_shard *shard, int64_t window_start_ms,
                        int64_t window_length_ms, const uint64_t *file_numbers, size_t count,
                        uint8_t output_level, uint64_t target_file_bytes, int64_t now_ms,
                        unsigned jobs, const atomic_bool *cancel, struct error *error)
{
    struct compact_work work = {
        .compaction = {.shard = shard,
                       .merge = {.shard = shard,
                                 .now_ms = now_ms,
                                 .target_file_bytes = target_file_bytes,
                                 .jobs = jobs,
                                 .cancel = cancel},
                       .like = {.level = output_level,
                                .description = {.window_start_ms = window_start_ms,
                                                .window_length_ms = window_length_ms}}},
        .file_numbers = file_numbers,
        .count = count};
    int code = check_level(output_level, error);

    if (code == 0 && count == 0)
        code = error_set(error, ERROR_INVALID, "nothing to compact");
    if (code != 0)
        return code;
    return window_lock_run(shard, "compact", window_start_ms, window_length_ms, compact, &work,
                           error);
}

struct move_work {
    struct store_shard *shard;
    struct table_description window;
    uint64_t file_number;
    uint8_t level;
};

/* Descriptions read it from the sstable; the new version is for the count of level 0 alone. */
static void set_level(struct store_shard *shard, struct sstable *sstable, uint8_t level)
{
    shard_publish_lock(shard);
    atomic_store_explicit(&sstable->level, level, memory_order_relaxed);
    version_publish(shard, version_copy(atomic_load(&shard->current)));
    pthread_mutex_unlock(&shard->append_lock);
}

static int move(void *context, struct error *error)
{
    struct move_work *work = context;
    struct store_shard *shard = work->shard;
    struct manifest_edit edit = {0};
    struct version *version;
    struct sstable *sstable;
    int code;

    pthread_mutex_lock(&shard->commit_lock);
    version = version_acquire(shard);
    sstable = find_sstable(version, &work->window, work->file_number, error);
    code = sstable ? 0 : ERROR_NOT_FOUND;
    if (code == 0) {
        manifest_edit_level(&edit, work->file_number, work->level);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    if (code == 0)
        set_level(shard, sstable, work->level);
    version_unref(version);
    pthread_mutex_unlock(&shard->commit_lock);
    manifest_edit_destroy(&edit);
    return code;
}

int store_shard_move_level(struct store_shard *shard, int64_t window_start_ms,
                           int64_t window_length_ms, uint64_t file_number, uint8_t level,
                           struct error *error)
{
    struct move_work work = {
        .shard = shard,
        .window = {.window_start_ms = window_start_ms, .window_length_ms = window_length_ms},
        .file_number = file_number,
        .level = level};
    int code = check_level(level, error);

    if (code != 0)
        return code;
    return window_lock_run(shard, "move in", window_start_ms, window_length_ms, move, &work, error);
}
