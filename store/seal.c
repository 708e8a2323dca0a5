/* Seal: the major of a window, all its sstables into one sealed run. Tier: some of its chunks into
 * one that stays unsealed. */
#include "store/compaction.h"
#include "store/flush.h"
#include "store/shard.h"
#include "store/window_lock.h"

struct seal_work {
    struct compaction compaction;
    size_t first_chunk, chunk_count; /* tier */
};

/* The window's entries [first, first + count) of the version are the inputs. */
static void add_entries(struct compaction *compaction, const struct version *version, size_t first,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        compaction_add(compaction, version->entries[first + i].sstable);
}

static int seal(void *context, struct error *error)
{
    struct seal_work *work = context;
    struct store_shard *shard = work->compaction.shard;
    int64_t start_ms = work->compaction.like.description.window_start_ms;
    int64_t length_ms = work->compaction.like.description.window_length_ms;
    struct version *version;
    size_t first;
    size_t count;
    int code = 0;

    if (shard_memtables_touch(shard, start_ms, length_ms))
        code = flush_all(shard, error);
    if (code == 0)
        code = window_check_damage(shard, start_ms, length_ms, error);
    if (code != 0)
        return code;
    version = version_acquire(shard);
    count = version_window(version, start_ms, length_ms, &first);
    add_entries(&work->compaction, version, first, count);
    version_unref(version);
    /* Without any, all its rows were dead or expired before they were flushed. */
    return count == 0 ? 0 : compaction_run(&work->compaction, error);
}

int store_shard_seal(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     int64_t now_ms, const struct store_clock *clock, const atomic_bool *cancel,
                     struct error *error)
{
    struct seal_work work = {
        .compaction = {.shard = shard,
                       .merge = {.shard = shard,
                                 .now_ms = now_ms,
                                 .jobs = shard->store->merge_threads,
                                 .cancel = cancel},
                       .like = {.sealed = true,
                                .description = {.window_start_ms = window_start_ms,
                                                .window_length_ms = window_length_ms}},
                       .clock = clock}};

    if (window_length_ms == 0)
        return error_set(error, ERROR_INVALID, "a window without an end is never sealed");
    return window_lock_run(shard, "seal", window_start_ms, window_length_ms, seal, &work, error);
}

static int tier(void *context, struct error *error)
{
    struct seal_work *work = context;
    struct store_shard *shard = work->compaction.shard;
    const struct table_description *description = &work->compaction.like.description;
    struct version *version;
    size_t first;
    size_t count;
    int code = window_check_damage(shard, description->window_start_ms,
                                   description->window_length_ms, error);

    if (code != 0)
        return code;
    version = version_acquire(shard);
    count = version_window(version, description->window_start_ms, description->window_length_ms,
                           &first);
    /* The sealed run stands first and is no chunk. */
    if (count > 0 && version->entries[first].sstable->sealed) {
        first++;
        count--;
    }
    if (work->chunk_count < 1 || work->first_chunk > count ||
        work->chunk_count > count - work->first_chunk)
        code = error_set(error, ERROR_INVALID, "chunks %zu to %zu of %zu", work->first_chunk,
                         work->first_chunk + work->chunk_count, count);
    else
        add_entries(&work->compaction, version, first + work->first_chunk, work->chunk_count);
    version_unref(version);
    return code == 0 ? compaction_run(&work->compaction, error) : code;
}

int store_shard_tier(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     size_t first_chunk, size_t chunk_count, const atomic_bool *cancel,
                     struct error *error)
{
    struct seal_work work = {
        .compaction = {.shard = shard,
                       .merge = {.shard = shard,
                                 .now_ms = INT64_MIN,
                                 .jobs = shard->store->merge_threads,
                                 .cancel = cancel},
                       .like = {.description = {.window_start_ms = window_start_ms,
                                                .window_length_ms = window_length_ms}}},
        .first_chunk = first_chunk,
        .chunk_count = chunk_count};

    return window_lock_run(shard, "tier", window_start_ms, window_length_ms, tier, &work, error);
}
