/* Merge sstables of a window into runs, swap them in, drop the sstables.
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
#include "store/compaction_internal.h"

#include "base/memory.h"
#include "store/operations.h"
#include "store/stored_type.h"

#include <stdlib.h>

static void add(struct sstable ***sstables, size_t *count, struct sstable *sstable)
{
    struct sstable **grown = memory_resize(*sstables, (*count + 1), sizeof(**sstables));
    *sstables = grown;
    grown[(*count)++] = sstable;
    sstable_ref(sstable);
}

void compaction_add(struct compaction *compaction, struct sstable *sstable)
{
    add(&compaction->merge.inputs, &compaction->merge.input_count, sstable);
}

void compaction_replace(struct compaction *compaction, struct sstable *sstable)
{
    add(&compaction->replaced, &compaction->replaced_count, sstable);
}

/* The sstables that go. */
static struct sstable **replaced(const struct compaction *compaction, size_t *count)
{
    *count = compaction->rebuilds ? compaction->replaced_count : compaction->merge.input_count;
    return compaction->rebuilds ? compaction->replaced : compaction->merge.inputs;
}

/* The offset below which everything is flushed, and the window's next generation. */
static void read_bounds(struct compaction *compaction)
{
    struct store_shard *shard = compaction->shard;
    struct table_description *description = &compaction->like.description;
    struct window_note *window;
    uint64_t generation = 0;
    size_t count;
    struct sstable **sstables = replaced(compaction, &count);

    for (size_t i = 0; i < count; i++)
        if (sstables[i]->description.generation > generation)
            generation = sstables[i]->description.generation;
    pthread_mutex_lock(&shard->windows.lock);
    window =
        windows_note(&shard->windows, description->window_start_ms, description->window_length_ms);
    if (window->last_generation > generation)
        generation = window->last_generation;
    if (compaction->like.sealed)
        description->generation = window->last_generation = generation + 1;
    pthread_mutex_unlock(&shard->windows.lock);
    if (compaction->rebuilds)
        return;
    pthread_mutex_lock(&shard->commit.lock);
    compaction->merge.dead_below = shard->commit.flushed_offset;
    pthread_mutex_unlock(&shard->commit.lock);
}

static void carry_masks(const struct compaction *compaction, int64_t below)
{
    if (!compaction->rebuilds)
        merge_carry_masks(&compaction->merge, &compaction->outputs, below);
}

/* Marks what died and collects the edit. Under the commit lock. */
static int prepare_edit(struct compaction *compaction, struct manifest_edit *edit,
                        struct mask_update *updates, struct error *error)
{
    struct store_shard *shard = compaction->shard;
    const struct table_description *window = &compaction->like.description;
    bool masks_written = false;
    size_t count;
    struct sstable **sstables = replaced(compaction, &count);
    int code = 0;

    carry_masks(compaction, shard->commit.flushed_offset);
    for (size_t i = 0; i < compaction->outputs.count && code == 0; i++) {
        const struct merge_output *output = &compaction->outputs.items[i];
        manifest_edit_table(edit, &output->table);
        code = masks_persist(shard, output->sstable, shard->commit.flushed_offset, edit,
                             &updates[i], error);
        masks_written |= updates[i].number != 0;
    }
    if (code == 0 && masks_written)
        code = io_sync_directory(shard->io, shard->directory, error);
    for (size_t i = 0; i < count; i++)
        manifest_edit_table_drop(edit, sstables[i]->description.file_number);
    if (compaction->rebuilds)
        (void)damages_edit_drop(&shard->damages, window->window_start_ms, window->window_length_ms,
                                edit);
    if (compaction->clock)
        manifest_edit_clock(edit, compaction->clock);
    return code;
}

static void publish(struct compaction *compaction)
{
    struct store_shard *shard = compaction->shard;
    const struct table_description *window = &compaction->like.description;
    struct version *next;
    size_t count;
    struct sstable **sstables = replaced(compaction, &count);

    shard_publish_lock(shard);
    carry_masks(compaction, INT64_MAX);
    next = version_copy(atomic_load(&shard->versions.current));
    for (size_t i = 0; i < count; i++)
        version_drop_sstable(next, sstables[i]);
    for (size_t i = 0; i < compaction->outputs.count; i++)
        version_add_sstable(next, compaction->outputs.items[i].sstable, NULL);
    version_drop_dead_spans(shard, next);
    version_publish(shard, next);
    pthread_mutex_unlock(&shard->writer.lock);
    if (compaction->rebuilds)
        damages_forget(&shard->damages, shard->io, shard->directory, window->window_start_ms,
                       window->window_length_ms);
}

int compaction_commit(struct compaction *compaction, struct error *error)
{
    struct store_shard *shard = compaction->shard;
    size_t count = compaction->outputs.count;
    struct mask_update *updates = memory_new(count + 1, sizeof(*updates));
    struct manifest_edit edit = {0};
    int code;

    for (size_t i = 0; i < count; i++)
        updates[i].sstable = compaction->outputs.items[i].sstable;
    pthread_mutex_lock(&shard->commit.lock);
    code = shard_check_running(shard, error);
    if (code == 0)
        code = prepare_edit(compaction, &edit, updates, error);
    if (code == 0)
        code = manifest_commit(shard->manifest, &edit, error);
    for (size_t i = 0; i < count; i++) {
        if (code == 0)
            masks_written(shard, &updates[i]);
        else
            masks_abandoned(shard, &updates[i], code != ERROR_IO);
    }
    if (code == 0)
        publish(compaction);
    pthread_mutex_unlock(&shard->commit.lock);
    manifest_edit_destroy(&edit);
    free(updates);
    return code;
}

/* Descriptions of the window tell how far it is. */
static int merge_in_sight(struct compaction *compaction, struct error *error)
{
    struct store_shard *shard = compaction->shard;
    const struct table_description *window = &compaction->like.description;
    struct merge *merge = &compaction->merge;
    int code;

    compaction->progress = (struct merge_progress){0};
    merge->progress = &compaction->progress;
    for (size_t i = 0; i < merge->input_count; i++)
        merge->progress->rows += merge->inputs[i]->row_count;
    windows_set_merge(&shard->windows, window->window_start_ms, window->window_length_ms,
                      merge->progress);
    metric_add(shard->metrics.compactions, 1);
    code = merge_run(merge, &compaction->like, &compaction->outputs, error);
    metric_add(shard->metrics.compactions, -1);
    windows_set_merge(&shard->windows, window->window_start_ms, window->window_length_ms, NULL);
    return code;
}

/* For those who ask why: until the shard is opened again. */
static void note_refusal(const struct compaction *compaction)
{
    for (size_t i = 0; i < compaction->outputs.count; i++) {
        struct sstable *sstable = compaction->outputs.items[i].sstable;
        sstable->refused_codec = compaction->refused;
        sstable->refused_recall = compaction->measured_recall;
    }
}

int compaction_merge(struct compaction *compaction, struct error *error)
{
    struct manifest_table *like = &compaction->like;
    int code;

    read_bounds(compaction);
    for (size_t i = 0; i < compaction->merge.input_count; i++) {
        const struct table_description *input = table_describe(compaction->merge.inputs[i]->table);
        like->description.has_parts |= input->has_parts;
        like->description.has_bare |= input->has_bare;
    }
    like->description.kind = TABLE_RUN;
    like->description.dim = compaction->shard->dim;
    code = stored_type_choose(compaction, error);
    if (code == 0)
        code = merge_in_sight(compaction, error);
    if (code == ERROR_UNSUPPORTED && !vector_codec_is_float32(like->description.codec)) {
        compaction->measured_recall = -1; /* of a sample without that row */
        stored_type_refuse(compaction, error->text);
        *error = (struct error){0};
        code = merge_in_sight(compaction, error);
    }
    if (code == 0)
        note_refusal(compaction);
    return code;
}

static void release(struct sstable **sstables, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sstable_unref(sstables[i]);
    free(sstables);
}

void compaction_end(struct compaction *compaction, bool remove)
{
    merge_outputs_release(compaction->shard, &compaction->outputs, remove);
    release(compaction->merge.inputs, compaction->merge.input_count);
    release(compaction->replaced, compaction->replaced_count);
    compaction->merge.inputs = compaction->replaced = NULL;
    compaction->merge.input_count = compaction->replaced_count = 0;
}
