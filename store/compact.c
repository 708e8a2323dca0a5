/* The compaction verb: seals a window, merges some of its unsealed files, or moves one of them to
 * another level. What merges have in common is in compaction.c.
 *
 *     seal    flush what memtables hold of the window -> all of its files into one sealed run
 *     merge   named files into runs of a level, cut at target_file_bytes
 *     move    one edit: a file that overlaps nothing in the next level need not be written again
 *
 * All three run under the window lock, so that what they chose is still there when they commit. A
 * seal takes every file of the window, the sealed run of an earlier seal included: that is what a
 * reseal is. Chunks that are flushed meanwhile are not inputs; they stay beside the run until the
 * next reseal. */
#include "store/compaction.h"
#include "store/compaction_internal.h"
#include "store/describe.h"
#include "store/operations.h"

struct compact_work {
    struct store_shard *shard;
    const struct store_compaction_request *request;
    struct store_compaction_result *result;
    struct compaction compaction;
};

/* Merges the inputs that were added and swaps the outputs in; counts both. */
static int merge_and_swap(struct compact_work *work, struct error *error)
{
    struct compaction *compaction = &work->compaction;
    struct store_compaction_result *result = work->result;
    int code = compaction_merge(compaction, error);

    if (code == 0)
        code = compaction_commit(compaction, error);
    for (size_t i = 0; i < compaction->merge.input_count && code == 0; i++) {
        const struct table_info *info = &compaction->merge.inputs[i]->info;
        result->rows_in += info->row_count;
        result->bytes_in += info->index_bytes + info->vector_bytes;
    }
    for (size_t i = 0; i < compaction->outputs.count && code == 0; i++) {
        const struct table_info *info = &compaction->outputs.items[i].sstable->info;
        result->rows_out += info->row_count;
        result->bytes_out += info->index_bytes + info->vector_bytes;
    }
    /* After ERROR_IO the edit may count after all: only then do the files stay. */
    compaction_end(compaction, code != 0 && code != ERROR_IO);
    return code;
}

static int seal(struct compact_work *work, struct error *error)
{
    struct store_shard *shard = work->shard;
    int64_t start_ms = work->request->window_start_ms;
    int64_t length_ms = work->request->window_length_ms;
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
    for (size_t i = first; i < first + count; i++)
        compaction_add(&work->compaction, version->entries[i].sstable);
    version_unref(version);
    /* Without any, all its rows were dead or expired before they were flushed. */
    return count == 0 ? 0 : merge_and_swap(work, error);
}

/* The file of that number, if it is an unsealed one of the window. */
static int find_file(const struct compact_work *work, struct version *version, uint64_t file_number,
                     struct sstable **sstable, struct error *error)
{
    struct version_entry *entry = version_find(version, file_number);
    const struct table_description *description = entry ? &entry->sstable->description : NULL;

    if (!entry || description->window_start_ms != work->request->window_start_ms ||
        description->window_length_ms != work->request->window_length_ms)
        return error_set(error, ERROR_NOT_FOUND, "file %llu no longer belongs to the window",
                         (unsigned long long)file_number);
    if (entry->sstable->sealed)
        return error_set(error, ERROR_INVALID, "file %llu is sealed",
                         (unsigned long long)file_number);
    *sstable = entry->sstable;
    return 0;
}

static int merge(struct compact_work *work, struct error *error)
{
    const struct store_compaction_request *request = work->request;
    struct version *version;
    int code = window_check_damage(work->shard, request->window_start_ms, request->window_length_ms,
                                   error);

    if (code != 0)
        return code;
    version = version_acquire(work->shard);
    /* All are checked before any is taken. */
    for (size_t i = 0; i < request->file_count && code == 0; i++) {
        struct sstable *unused;
        code = find_file(work, version, request->file_numbers[i], &unused, error);
        for (size_t j = 0; j < i && code == 0; j++)
            if (request->file_numbers[i] == request->file_numbers[j])
                code = error_set(error, ERROR_INVALID, "file %llu is listed twice",
                                 (unsigned long long)request->file_numbers[i]);
    }
    for (size_t i = 0; i < request->file_count && code == 0; i++)
        compaction_add(&work->compaction, version_find(version, request->file_numbers[i])->sstable);
    version_unref(version);
    return code == 0 ? merge_and_swap(work, error) : code;
}

/* Descriptions read the level from the sstable. The new version is there for the count of level 0.
 */
static void set_level(struct store_shard *shard, struct sstable *sstable, uint8_t level)
{
    shard_publish_lock(shard);
    atomic_store_explicit(&sstable->level, level, memory_order_relaxed);
    version_publish(shard, version_copy(atomic_load(&shard->versions.current)));
    pthread_mutex_unlock(&shard->writer.lock);
}

static int move(struct compact_work *work, struct error *error)
{
    struct store_shard *shard = work->shard;
    uint64_t file_number = work->request->file_numbers[0];
    struct manifest_edit edit = {0};
    struct version *version;
    struct sstable *sstable = NULL;
    int code;

    pthread_mutex_lock(&shard->commit.lock);
    version = version_acquire(shard);
    code = find_file(work, version, file_number, &sstable, error);
    if (code == 0) {
        manifest_edit_level(&edit, file_number, work->request->output_level);
        code = manifest_commit(shard->manifest, &edit, error);
    }
    if (code == 0)
        set_level(shard, sstable, work->request->output_level);
    version_unref(version);
    pthread_mutex_unlock(&shard->commit.lock);
    manifest_edit_destroy(&edit);
    return code;
}

static int compact(void *context, struct error *error)
{
    struct compact_work *work = context;
    int code = ERROR_INVALID;

    switch (work->request->kind) {
    case STORE_COMPACTION_SEAL:
        code = seal(work, error);
        break;
    case STORE_COMPACTION_MERGE:
        code = merge(work, error);
        break;
    case STORE_COMPACTION_MOVE:
        code = move(work, error);
        break;
    }
    if (code == 0)
        store_shard_describe_window(work->shard, work->request->window_start_ms,
                                    work->request->window_length_ms, &work->result->window);
    return code;
}

static int check_request(const struct store_compaction_request *request, struct error *error)
{
    if (request->output_level >= STORE_LEVELS)
        return error_set(error, ERROR_INVALID, "level %u of %d", request->output_level,
                         STORE_LEVELS);
    if (request->kind == STORE_COMPACTION_SEAL && request->window_length_ms == 0)
        return error_set(error, ERROR_INVALID, "a collection without windows has nothing to seal");
    if (request->kind == STORE_COMPACTION_MERGE && request->file_count == 0)
        return error_set(error, ERROR_INVALID, "a merge needs files");
    if (request->kind == STORE_COMPACTION_MOVE && request->file_count != 1)
        return error_set(error, ERROR_INVALID, "a move takes one file, not %zu",
                         request->file_count);
    return 0;
}

int store_shard_compact(struct store_shard *shard, const struct store_compaction_request *request,
                        struct store_compaction_result *result, struct error *error)
{
    static const char *const verbs[] = {[STORE_COMPACTION_SEAL] = "seal",
                                        [STORE_COMPACTION_MERGE] = "merge files of",
                                        [STORE_COMPACTION_MOVE] = "move a file of"};
    bool seals = request->kind == STORE_COMPACTION_SEAL;
    struct store_compaction_result unasked = {0};
    struct compact_work work = {
        .shard = shard,
        .request = request,
        .result = result ? result : &unasked,
        .compaction = {
            .shard = shard,
            .merge = {.shard = shard,
                      .now_ms = request->now_ms,
                      .target_file_bytes = seals ? 0 : request->target_file_bytes,
                      .jobs = request->jobs ? request->jobs : shard->store->merge_threads,
                      .cancel = request->cancel},
            .like = {.sealed = seals,
                     .level = seals ? 0 : request->output_level,
                     .description = {.window_start_ms = request->window_start_ms,
                                     .window_length_ms = request->window_length_ms}},
            .clock = request->clock}};
    int code = check_request(request, error);

    *work.result = (struct store_compaction_result){0};
    if (code != 0)
        return code;
    return window_lock_run(shard, verbs[request->kind], request->window_start_ms,
                           request->window_length_ms, compact, &work, error);
}
