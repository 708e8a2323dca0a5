#include "windrow/decision.h"

#include <stdlib.h>

#include "base/logger.h"
#include "ingest/ingest.h"

/* ---- describing ---- */

static struct twcs_run twcs_run_of(const struct store_file_info *file)
{
    return (struct twcs_run){.file_number = file->file_number,
                             .bytes = file->bytes,
                             .rows = file->rows,
                             .min_event_ms = file->min_event_ms,
                             .max_event_ms = file->max_event_ms,
                             .level = file->level,
                             .dead_rows = file->dead_rows,
                             .max_expiry_ms = file->max_expiry_ms,
                             .first_key = file->first_key,
                             .last_key = file->last_key,
                             .first_key_bytes = file->first_key_bytes,
                             .last_key_bytes = file->last_key_bytes};
}

static void describe_window(const struct store_window_info *from, struct arena *arena,
                            struct twcs_window *to)
{
    struct twcs_run *chunks = arena_calloc(arena, from->chunk_count + 1, sizeof(*chunks));

    if (!chunks)
        abort();
    for (size_t i = 0; i < from->chunk_count; i++)
        chunks[i] = twcs_run_of(&from->chunks[i]);
    *to = (struct twcs_window){
        .start_ms = from->start_ms,
        .length_ms = from->length_ms,
        .sealed = from->sealed,
        .busy = from->busy,
        .generation = from->generation,
        .sealed_run = twcs_run_of(&from->run),
        .masked_rows = from->masked_rows,
        .chunks = chunks,
        .chunk_count = from->chunk_count,
        .memtable_rows = from->memtable_rows,
        .max_expiry_ms = from->max_expiry_ms,
        .last_arrival_wall_ms = from->last_arrival_wall_ms,
        .total_bytes = from->total_bytes,
        .pinned_by_hidden = false, /* masks are durable: a window hides nothing (store.h) */
    };
}

void maintenance_describe(struct store_shard *shard, const struct config_collection *collection,
                          int64_t now_ms, struct arena *arena, struct maintenance_view *view)
{
    store_shard_describe(shard, arena, &view->info);
    view->policy = ingest_policy(collection);
    view->clock = (struct twcs_clock){
        .watermark_ms = view->info.clock.watermark_ms,
        .last_record_wall_ms = view->info.clock.last_record_wall_ms,
        .safe_wall_ms = view->info.clock.safe_wall_ms,
    };
    (void)twcs_clock_follow(&view->clock, now_ms);
    view->windows = arena_calloc(arena, view->info.window_count + 1, sizeof(*view->windows));
    if (!view->windows)
        abort();
    for (size_t i = 0; i < view->info.window_count; i++)
        describe_window(&view->info.windows[i], arena, &view->windows[i]);
}

/* ---- carrying out ---- */

static int seal(struct store_shard *shard, const struct maintenance_view *view,
                const struct store_window_info *window, const atomic_bool *cancel,
                struct error *error)
{
    struct store_clock clock = {.watermark_ms = view->clock.watermark_ms,
                                .last_record_wall_ms = view->clock.last_record_wall_ms,
                                .safe_wall_ms = view->clock.safe_wall_ms};

    return store_shard_seal(shard, window->start_ms, window->length_ms, view->clock.safe_wall_ms,
                            &clock, cancel, error);
}

static int compact(struct store_shard *shard, const struct maintenance_view *view,
                   const struct twcs_decision *decision, unsigned jobs, const atomic_bool *cancel,
                   struct error *error)
{
    const struct store_window_info *window = &view->info.windows[decision->window];
    uint64_t numbers[TWCS_COMPACT_INPUTS_MAX];

    for (uint32_t i = 0; i < decision->input_count; i++)
        numbers[i] = window->chunks[decision->inputs[i]].file_number;
    log_debug("windrow", "%s/%s: %s %u files into level %u: %s", store_shard_collection(shard),
              store_shard_name(shard), decision->trivial_move ? "move" : "compact",
              decision->input_count, decision->output_level, twcs_reason_name(decision->reason));
    if (decision->trivial_move)
        return store_shard_move_level(shard, window->start_ms, window->length_ms, numbers[0],
                                      decision->output_level, error);
    return store_shard_compact(shard, window->start_ms, window->length_ms, numbers,
                               decision->input_count, decision->output_level,
                               decision->target_file_bytes, view->clock.safe_wall_ms, jobs, cancel,
                               error);
}

int decision_carry_out(struct store_shard *shard, const struct maintenance_view *view,
                       const struct twcs_decision *decision, unsigned jobs,
                       const atomic_bool *cancel, struct error *error)
{
    const struct store_window_info *window = &view->info.windows[decision->window];

    switch (decision->action) {
    case TWCS_DROP_TTL:
        return store_shard_drop_expired(shard, window->start_ms, window->length_ms,
                                        view->clock.safe_wall_ms, error);
    case TWCS_SEAL:
    case TWCS_RESEAL:
        return seal(shard, view, window, cancel, error);
    case TWCS_TIER:
        return store_shard_tier(shard, window->start_ms, window->length_ms, decision->first_chunk,
                                decision->chunk_count, cancel, error);
    case TWCS_COMPACT:
        return compact(shard, view, decision, jobs, cancel, error);
    }
    return 0;
}
