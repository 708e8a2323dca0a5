/* Seal and tier: merge parts of a window into one run, swap it in, drop the parts.
 *
 * Rows may die while the merge runs. Let F be the flushed offset when it starts and G when it is
 * committed. Rows dead below F are left out. Rows that died in [F, G) are masks of the run that
 * become durable with the edit (the records that killed them are no longer replayed). Rows that
 * died at G or later are marked under the append lock, right before the version is published:
 * replay would find them again.
 *
 * One major a window: the window is claimed for the whole time. Chunks that a flush adds meanwhile
 * are not inputs; they stay as late chunks. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "store/flush.h"
#include "store/merge.h"
#include "store/shard.h"

struct seal_job {
    struct store_shard *shard;
    struct merge merge;
    struct manifest_table table;
    struct part *run; /* NULL: no row was left */
    const struct store_clock *clock;
};

static int check_damage(struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                        struct error *error)
{
    bool damaged = false;

    pthread_mutex_lock(&shard->commit_lock);
    for (size_t i = 0; i < shard->damage_count; i++)
        damaged |= shard->damages[i].window_start_ms == start_ms &&
                   shard->damages[i].window_length_ms == length_ms;
    pthread_mutex_unlock(&shard->commit_lock);
    return damaged ? error_set(error, ERROR_CORRUPT, "the window has damaged files") : 0;
}

/* Marks what died and collects the edit. Under the commit lock. */
static int prepare_edit(struct seal_job *job, struct manifest_edit *edit,
                        struct part_mask_update *update, struct error *error)
{
    struct store_shard *shard = job->shard;
    int code = 0;

    if (job->run) {
        merge_carry_masks(&job->merge, job->run, shard->flushed_offset);
        manifest_edit_table(edit, &job->table);
        code = part_persist_masks(job->run, shard->flushed_offset, edit, update, error);
        if (code == 0 && update->number != 0)
            code = io_sync_directory(shard->io, shard->directory, error);
    }
    for (size_t i = 0; i < job->merge.input_count; i++)
        manifest_edit_table_drop(edit, job->merge.inputs[i]->description.file_number);
    if (job->clock)
        manifest_edit_clock(edit, job->clock);
    return code;
}

static void publish(struct seal_job *job)
{
    struct store_shard *shard = job->shard;
    struct version *next;

    shard_publish_lock(shard);
    if (job->run)
        merge_carry_masks(&job->merge, job->run, INT64_MAX);
    next = version_copy(atomic_load(&shard->current));
    for (size_t i = 0; i < job->merge.input_count; i++) {
        struct part *input = job->merge.inputs[i];
        struct version_entry *entry = version_find(next, input->description.file_number);
        atomic_store(&input->dropped, true);
        if (entry && entry->attachment)
            atomic_store(&entry->attachment->dropped, true);
        version_remove_part(next, input);
    }
    if (job->run)
        version_add_part(next, job->run, NULL);
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->append_lock);
}

static int commit(struct seal_job *job, struct error *error)
{
    struct store_shard *shard = job->shard;
    struct manifest_edit edit = {0};
    struct part_mask_update update = {.part = job->run};
    int code;

    pthread_mutex_lock(&shard->commit_lock);
    code = shard_check_running(shard, error);
    if (code == 0)
        code = prepare_edit(job, &edit, &update, error);
    if (code == 0)
        code = manifest_commit(shard->manifest, &edit, error);
    if (code == 0) {
        if (job->run)
            part_masks_written(&update);
        publish(job);
    } else if (job->run) {
        part_masks_abandoned(&update, code != ERROR_IO);
        /* Unless the edit may count after all, the run goes. */
        atomic_store(&job->run->dropped, code != ERROR_IO);
    }
    pthread_mutex_unlock(&shard->commit_lock);
    manifest_edit_destroy(&edit);
    return code;
}

/* Merges `job->merge.inputs` into one run and commits. */
static int run_job(struct seal_job *job, struct error *error)
{
    struct store_shard *shard = job->shard;
    struct manifest_table *table = &job->table;
    int code = shard_pending_reserve(shard, &table->description.file_number, error);

    if (code != 0)
        return code;
    metric_add(shard->metrics.compactions, 1);
    table->description.kind = TABLE_RUN;
    table->description.codec =
        table->sealed && shard->codec == STORE_CODEC_PACKED ? TABLE_CODEC_PACKED : TABLE_CODEC_RAW;
    table->description.dim = shard->dim;
    code = merge_run(&job->merge, table, &job->run, error);
    if (code == 0)
        code = commit(job, error);
    shard_pending_done(shard, table->description.file_number);
    part_unref(job->run);
    metric_add(shard->metrics.compactions, -1);
    return code;
}

/* Takes inputs [first, first + count) of the window's entries, with references. */
static void take_inputs(struct seal_job *job, const struct version *version, size_t first,
                        size_t count)
{
    job->merge.inputs = calloc(count, sizeof(struct part *));
    if (!job->merge.inputs)
        abort();
    for (size_t i = 0; i < count; i++) {
        job->merge.inputs[i] = version->entries[first + i].part;
        part_ref(job->merge.inputs[i]);
    }
    job->merge.input_count = count;
}

static void release_inputs(struct seal_job *job)
{
    for (size_t i = 0; i < job->merge.input_count; i++)
        part_unref(job->merge.inputs[i]);
    free(job->merge.inputs);
}

/* The offset below which everything is flushed, and the window's next generation. */
static void read_bounds(struct seal_job *job, const struct version *version, size_t first,
                        size_t count)
{
    struct store_shard *shard = job->shard;
    const struct table_description *description = &job->table.description;
    struct shard_window *window;
    uint64_t generation = 0;

    for (size_t i = 0; i < count; i++)
        if (version->entries[first + i].part->description.generation > generation)
            generation = version->entries[first + i].part->description.generation;
    pthread_mutex_lock(&shard->window_lock);
    window = shard_window(shard, description->window_start_ms, description->window_length_ms);
    if (window->last_generation > generation)
        generation = window->last_generation;
    if (job->table.sealed)
        job->table.description.generation = window->last_generation = generation + 1;
    pthread_mutex_unlock(&shard->window_lock);
    pthread_mutex_lock(&shard->commit_lock);
    job->merge.dead_below = shard->flushed_offset;
    pthread_mutex_unlock(&shard->commit_lock);
}

static int seal_claimed(struct store_shard *shard, struct seal_job *job, struct error *error)
{
    int64_t start_ms = job->table.description.window_start_ms;
    int64_t length_ms = job->table.description.window_length_ms;
    struct version *version;
    size_t first;
    size_t count;
    int code = 0;

    if (shard_memtables_touch(shard, start_ms, length_ms))
        code = flush_all(shard, error);
    if (code == 0)
        code = check_damage(shard, start_ms, length_ms, error);
    if (code != 0)
        return code;
    version = version_acquire(shard);
    count = version_window(version, start_ms, length_ms, &first);
    if (count > 0) {
        take_inputs(job, version, first, count);
        read_bounds(job, version, first, count);
    }
    version_unref(version);
    if (count == 0)
        return 0; /* all its rows were dead or expired before they were flushed */
    code = run_job(job, error);
    release_inputs(job);
    return code;
}

int store_shard_seal(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     int64_t now_ms, const struct store_clock *clock, const atomic_bool *cancel,
                     struct error *error)
{
    struct seal_job job = {.shard = shard,
                           .merge = {.shard = shard, .now_ms = now_ms, .cancel = cancel},
                           .table = {.sealed = true,
                                     .description = {.window_start_ms = window_start_ms,
                                                     .window_length_ms = window_length_ms}},
                           .clock = clock};
    int code;

    garbage_collect(shard);
    code = shard_check_running(shard, error);
    if (code == 0)
        code = shard_window_claim(shard, window_start_ms, window_length_ms, error);
    if (code == 0) {
        code = seal_claimed(shard, &job, error);
        (void)shard_check_stop(shard, code, error);
        shard_window_free(shard, window_start_ms, window_length_ms);
    }
    garbage_collect(shard);
    if (code != 0 && error)
        error_wrap(error, "%s/%s: seal window %lld", shard->collection, shard->name,
                   (long long)window_start_ms);
    return code;
}

static int tier_claimed(struct store_shard *shard, struct seal_job *job, size_t first_chunk,
                        size_t chunk_count, struct error *error)
{
    const struct table_description *description = &job->table.description;
    struct version *version = version_acquire(shard);
    size_t first;
    size_t count = version_window(version, description->window_start_ms,
                                  description->window_length_ms, &first);
    int code =
        check_damage(shard, description->window_start_ms, description->window_length_ms, error);

    /* The sealed run stands first and is no chunk. */
    if (count > 0 && version->entries[first].part->sealed) {
        first++;
        count--;
    }
    if (code == 0 && (chunk_count < 1 || first_chunk > count || chunk_count > count - first_chunk))
        code = error_set(error, ERROR_INVALID, "chunks %zu to %zu of %zu", first_chunk,
                         first_chunk + chunk_count, count);
    if (code == 0) {
        take_inputs(job, version, first + first_chunk, chunk_count);
        read_bounds(job, version, first + first_chunk, chunk_count);
    }
    version_unref(version);
    if (code != 0)
        return code;
    code = run_job(job, error);
    release_inputs(job);
    return code;
}

int store_shard_tier(struct store_shard *shard, int64_t window_start_ms, int64_t window_length_ms,
                     size_t first_chunk, size_t chunk_count, const atomic_bool *cancel,
                     struct error *error)
{
    struct seal_job job = {.shard = shard,
                           .merge = {.shard = shard, .now_ms = INT64_MIN, .cancel = cancel},
                           .table = {.sealed = false,
                                     .description = {.window_start_ms = window_start_ms,
                                                     .window_length_ms = window_length_ms}}};
    int code;

    garbage_collect(shard);
    code = shard_check_running(shard, error);
    if (code == 0)
        code = shard_window_claim(shard, window_start_ms, window_length_ms, error);
    if (code == 0) {
        code = tier_claimed(shard, &job, first_chunk, chunk_count, error);
        (void)shard_check_stop(shard, code, error);
        shard_window_free(shard, window_start_ms, window_length_ms);
    }
    garbage_collect(shard);
    if (code != 0 && error)
        error_wrap(error, "%s/%s: tier window %lld", shard->collection, shard->name,
                   (long long)window_start_ms);
    return code;
}
