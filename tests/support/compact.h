/* Short forms of store_shard_compact for tests. */
#ifndef TESTS_SUPPORT_COMPACT_H
#define TESTS_SUPPORT_COMPACT_H

#include "store/compaction.h"
#include "store/describe.h"

/** Seals the window; rows expired at `now_ms` go. */
static inline int compact_seal(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                               int64_t now_ms, struct error *error)
{
    const struct store_compaction_request request = {.kind = STORE_COMPACTION_SEAL,
                                                     .window_start_ms = start_ms,
                                                     .window_length_ms = length_ms,
                                                     .now_ms = now_ms};

    return store_shard_compact(shard, &request, NULL, error);
}

/** Merges files of the window into files of a level. */
static inline int compact_merge(struct store_shard *shard, const struct store_window_info *window,
                                const uint64_t *numbers, size_t count, uint8_t level,
                                uint64_t target_file_bytes, int64_t now_ms, unsigned jobs,
                                struct error *error)
{
    const struct store_compaction_request request = {.kind = STORE_COMPACTION_MERGE,
                                                     .window_start_ms = window->start_ms,
                                                     .window_length_ms = window->length_ms,
                                                     .file_numbers = numbers,
                                                     .file_count = count,
                                                     .output_level = level,
                                                     .target_file_bytes = target_file_bytes,
                                                     .now_ms = now_ms,
                                                     .jobs = jobs};

    return store_shard_compact(shard, &request, NULL, error);
}

/** Puts one file of the window into another level as it is. */
static inline int compact_move(struct store_shard *shard, const struct store_window_info *window,
                               uint64_t number, uint8_t level, struct error *error)
{
    const struct store_compaction_request request = {.kind = STORE_COMPACTION_MOVE,
                                                     .window_start_ms = window->start_ms,
                                                     .window_length_ms = window->length_ms,
                                                     .file_numbers = &number,
                                                     .file_count = 1,
                                                     .output_level = level};

    return store_shard_compact(shard, &request, NULL, error);
}

/** Merges the first `count` chunks of a window (as many as there are, at most) into one of level 0,
 * as tiering does: expired rows stay. */
static inline int compact_tier(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                               size_t count, struct error *error)
{
    enum { FILES_MAX = 1024 };
    const struct store_window_info window = {.start_ms = start_ms, .length_ms = length_ms};
    uint64_t numbers[FILES_MAX];
    struct store_shard_info info;
    size_t taken = 0;
    struct arena arena;

    arena_create(&arena, 0);
    store_shard_describe(shard, &arena, &info);
    for (size_t i = 0; i < info.window_count; i++)
        for (size_t j = 0;
             info.windows[i].start_ms == start_ms && info.windows[i].length_ms == length_ms &&
             j < info.windows[i].chunk_count && taken < count && taken < FILES_MAX;
             j++)
            numbers[taken++] = info.windows[i].chunks[j].file_number;
    arena_destroy(&arena);
    return compact_merge(shard, &window, numbers, taken, 0, 0, INT64_MIN, 0, error);
}

#endif
