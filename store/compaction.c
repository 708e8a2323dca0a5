/* Merge parts of a window into runs, swap them in, drop the parts.
 *
 * Rows may die while the merge runs. Let F be the flushed offset when it starts and G when it is
 * committed. Rows dead below F are left out. Rows that died in [F, G) are masks of the runs that
 * become durable with the edit (the records that killed them are no longer replayed). Rows that
 * died at G or later are marked under the append lock, right before the version is published:
 * replay would find them again.
 *
 * The window is claimed for the whole time. Chunks that a flush adds meanwhile are not inputs; they
 * stay. Until the edit nothing of the window has changed: a compaction that is cancelled, fails or
 * dies with the process leaves files that no edit names. */
#include "store/compaction.h"

#include <stdlib.h>

#include "store/shard.h"

void compaction_add(struct compaction *compaction, struct part *part)
{
    struct merge *merge = &compaction->merge;
    struct part **grown = realloc(merge->inputs, (merge->input_count + 1) * sizeof(*merge->inputs));

    if (!grown)
        abort();
    merge->inputs = grown;
    merge->inputs[merge->input_count++] = part;
    part_ref(part);
}

static void release_inputs(struct compaction *compaction)
{
    for (size_t i = 0; i < compaction->merge.input_count; i++)
        part_unref(compaction->merge.inputs[i]);
    free(compaction->merge.inputs);
    compaction->merge.inputs = NULL;
    compaction->merge.input_count = 0;
}

/* The offset below which everything is flushed, and the window's next generation. */
static void read_bounds(struct compaction *compaction)
{
    struct store_shard *shard = compaction->shard;
    struct table_description *description = &compaction->like.description;
    struct shard_window *window;
    uint64_t generation = 0;

    for (size_t i = 0; i < compaction->merge.input_count; i++)
        if (compaction->merge.inputs[i]->description.generation > generation)
            generation = compaction->merge.inputs[i]->description.generation;
    pthread_mutex_lock(&shard->window_lock);
    window = shard_window(shard, description->window_start_ms, description->window_length_ms);
    if (window->last_generation > generation)
        generation = window->last_generation;
    if (compaction->like.sealed)
        description->generation = window->last_generation = generation + 1;
    pthread_mutex_unlock(&shard->window_lock);
    pthread_mutex_lock(&shard->commit_lock);
    compaction->merge.dead_below = shard->flushed_offset;
    pthread_mutex_unlock(&shard->commit_lock);
}

/* Marks what died and collects the edit. Under the commit lock. */
static int prepare_edit(struct compaction *compaction, struct manifest_edit *edit,
                        struct part_mask_update *updates, struct error *error)
{
    struct store_shard *shard = compaction->shard;
    const struct merge *merge = &compaction->merge;
    bool masks_written = false;
    int code = 0;

    merge_carry_masks(merge, &compaction->outputs, shard->flushed_offset);
    for (size_t i = 0; i < compaction->outputs.count && code == 0; i++) {
        const struct merge_output *output = &compaction->outputs.items[i];
        manifest_edit_table(edit, &output->table);
        code = part_persist_masks(output->part, shard->flushed_offset, edit, &updates[i], error);
        masks_written |= updates[i].number != 0;
    }
    if (code == 0 && masks_written)
        code = io_sync_directory(shard->io, shard->directory, error);
    for (size_t i = 0; i < merge->input_count; i++)
        manifest_edit_table_drop(edit, merge->inputs[i]->description.file_number);
    if (compaction->clock)
        manifest_edit_clock(edit, compaction->clock);
    return code;
}

static void publish(struct compaction *compaction)
{
    struct store_shard *shard = compaction->shard;
    const struct merge *merge = &compaction->merge;
    struct version *next;

    shard_publish_lock(shard);
    merge_carry_masks(merge, &compaction->outputs, INT64_MAX);
    next = version_copy(atomic_load(&shard->current));
    for (size_t i = 0; i < merge->input_count; i++)
        version_drop_part(next, merge->inputs[i]);
    for (size_t i = 0; i < compaction->outputs.count; i++)
        version_add_part(next, compaction->outputs.items[i].part, NULL);
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->append_lock);
}

static int commit(struct compaction *compaction, struct error *error)
{
    struct store_shard *shard = compaction->shard;
    size_t count = compaction->outputs.count;
    struct part_mask_update *updates = calloc(count + 1, sizeof(*updates));
    struct manifest_edit edit = {0};
    int code;

    if (!updates)
        abort();
    for (size_t i = 0; i < count; i++)
        updates[i].part = compaction->outputs.items[i].part;
    pthread_mutex_lock(&shard->commit_lock);
    code = shard_check_running(shard, error);
    if (code == 0)
        code = prepare_edit(compaction, &edit, updates, error);
    if (code == 0)
        code = manifest_commit(shard->manifest, &edit, error);
    for (size_t i = 0; i < count; i++) {
        if (code == 0)
            part_masks_written(&updates[i]);
        else
            part_masks_abandoned(&updates[i], code != ERROR_IO);
    }
    if (code == 0)
        publish(compaction);
    pthread_mutex_unlock(&shard->commit_lock);
    manifest_edit_destroy(&edit);
    free(updates);
    return code;
}

int compaction_run(struct compaction *compaction, struct error *error)
{
    struct store_shard *shard = compaction->shard;
    struct manifest_table *like = &compaction->like;
    int code;

    read_bounds(compaction);
    like->description.kind = TABLE_RUN;
    like->description.codec =
        like->sealed && shard->codec == STORE_CODEC_PACKED ? TABLE_CODEC_PACKED : TABLE_CODEC_RAW;
    like->description.dim = shard->dim;
    metric_add(shard->metrics.compactions, 1);
    code = merge_run(&compaction->merge, like, &compaction->outputs, error);
    if (code == 0) {
        code = commit(compaction, error);
        /* Unless the edit may count after all, what was written for nothing goes. */
        merge_outputs_release(shard, &compaction->outputs, code != 0 && code != ERROR_IO);
    }
    release_inputs(compaction);
    metric_add(shard->metrics.compactions, -1);
    return code;
}
