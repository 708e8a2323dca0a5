/* Between twcs, which decides, and the store, which carries out. */
#include <stdlib.h>

#include "base/logger.h"
#include "base/memory.h"
#include "store/compaction.h"
#include "store/store.h"
#include "twcs/compaction/compaction.h"

struct twcs_policy compaction_policy(const struct config_collection *collection)
{
    static const enum twcs_late_policy late[] = {
        [CONFIG_LATE_ACCEPT] = TWCS_LATE_ACCEPT,
        [CONFIG_LATE_DROP] = TWCS_LATE_DROP,
        [CONFIG_LATE_DEAD_LETTER] = TWCS_LATE_DEAD_LETTER,
    };
    static const enum twcs_style styles[] = {
        [CONFIG_STYLE_TIME_WINDOW] = TWCS_STYLE_TIME_WINDOW,
        [CONFIG_STYLE_FIFO] = TWCS_STYLE_FIFO,
        [CONFIG_STYLE_SIZE_TIERED] = TWCS_STYLE_SIZE_TIERED,
        [CONFIG_STYLE_LEVELED] = TWCS_STYLE_LEVELED,
        [CONFIG_STYLE_HYBRID] = TWCS_STYLE_HYBRID,
    };
    const int64_t minute_ms = 60 * 1000;
    int64_t quiet_ms = collection->window_ms;

    /* A window is written anew for stragglers once they have stopped coming for about as long as
     * the window took to fill. */
    if (quiet_ms < minute_ms)
        quiet_ms = minute_ms;
    if (quiet_ms > 60 * minute_ms)
        quiet_ms = 60 * minute_ms;
    return (struct twcs_policy){
        .window_ms = collection->window_ms,
        .ttl_ms = collection->ttl_ms,
        .late_allowed_ms = collection->late_allowed_ms,
        .max_future_ms = collection->max_future_ms,
        .idle_timeout_ms = collection->idle_timeout_ms,
        .late_policy = late[collection->late_policy],
        .max_bytes = collection->max_bytes,
        .tiered_min_threshold = collection->size_tiered_min_threshold,
        .tiered_max_threshold = collection->size_tiered_max_threshold,
        .reseal_ratio = 0.1,
        .dead_ratio = 0.3,
        .reseal_quiet_ms = quiet_ms,
        .style = styles[collection->compaction_style],
        .max_space_amplification = collection->max_space_amplification,
        .target_file_bytes = collection->leveled_target_file_size_bytes,
        .size_ratio = collection->leveled_size_ratio,
        .level0_trigger = 4,
    };
}

/* A windrow that kept no log clock wrote the shard: its watermark, idle closes included, becomes the
 * log's. What was closed for its users stays closed. */
struct twcs_clock compaction_clock(const struct store_clock *clock)
{
    const struct twcs_log_clock log = {clock->log.time_ms, clock->log.stamp_ms,
                                       clock->log.watermark_ms};
    const struct twcs_log_clock none = {TWCS_NO_TIME, TWCS_NO_TIME, clock->watermark_ms};

    return (struct twcs_clock){clock->watermark_ms, clock->last_record_wall_ms, clock->safe_wall_ms,
                               clock->log.known ? log : none, 0};
}

struct store_clock compaction_store_clock(const struct twcs_clock *clock)
{
    return (struct store_clock){
        clock->watermark_ms,
        clock->last_record_wall_ms,
        clock->safe_wall_ms,
        {true, clock->log.time_ms, clock->log.stamp_ms, clock->log.watermark_ms}};
}

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
    struct twcs_run *chunks =
        memory_checked(arena_calloc(arena, from->chunk_count + 1, sizeof(*chunks)));
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
    };
}

void compaction_describe(struct store_shard *shard, const struct config_collection *collection,
                         int64_t now_ms, struct arena *arena, struct compaction_view *view)
{
    store_shard_describe(shard, arena, &view->info);
    compaction_view_complete(view, collection, now_ms, arena);
}

void compaction_view_complete(struct compaction_view *view,
                              const struct config_collection *collection, int64_t now_ms,
                              struct arena *arena)
{
    view->policy = compaction_policy(collection);
    view->clock = compaction_clock(&view->info.clock);
    (void)twcs_clock_follow(&view->clock, now_ms);
    if (view->info.log_passed_ms < view->clock.safe_wall_ms)
        view->clock.log_lag_ms = view->clock.safe_wall_ms - view->info.log_passed_ms;
    view->windows =
        memory_checked(arena_calloc(arena, view->info.window_count + 1, sizeof(*view->windows)));
    for (size_t i = 0; i < view->info.window_count; i++)
        describe_window(&view->info.windows[i], arena, &view->windows[i]);
}

int compaction_execute(struct store_shard *shard, const struct compaction_view *view,
                       const struct twcs_decision *decision, unsigned jobs,
                       const atomic_bool *cancel, struct store_compaction_result *result,
                       struct error *error)
{
    const struct store_window_info *window = &view->info.windows[decision->window];
    const struct store_clock clock = compaction_store_clock(&view->clock);
    const int64_t expired_before_ms = twcs_expired_before_ms(&view->clock);
    struct store_compaction_request request = {.window_start_ms = window->start_ms,
                                               .window_length_ms = window->length_ms,
                                               .now_ms = expired_before_ms,
                                               .jobs = jobs,
                                               .cancel = cancel};
    uint64_t *numbers = memory_new(window->chunk_count + 1, sizeof(*numbers));
    int code;

    request.file_numbers = numbers;
    switch (decision->action) {
    case TWCS_DROP_TTL:
        free(numbers);
        if (result)
            *result = (struct store_compaction_result){0};
        return store_shard_drop_expired(shard, window->start_ms, window->length_ms,
                                        expired_before_ms, error);
    case TWCS_SEAL:
    case TWCS_RESEAL:
        request.kind = STORE_COMPACTION_SEAL;
        request.clock = &clock;
        break;
    case TWCS_TIER:
        request.kind = STORE_COMPACTION_MERGE;
        request.now_ms = INT64_MIN;
        for (size_t i = 0; i < decision->chunk_count; i++)
            numbers[request.file_count++] = window->chunks[decision->first_chunk + i].file_number;
        break;
    case TWCS_COMPACT:
        request.kind = decision->trivial_move ? STORE_COMPACTION_MOVE : STORE_COMPACTION_MERGE;
        request.output_level = decision->output_level;
        request.target_file_bytes = decision->target_file_bytes;
        for (uint32_t i = 0; i < decision->input_count; i++)
            numbers[request.file_count++] = window->chunks[decision->inputs[i]].file_number;
        log_debug("compaction", "%s/%s: %s %u files into level %u: %s",
                  store_shard_collection(shard), store_shard_name(shard),
                  decision->trivial_move ? "move" : "compact", decision->input_count,
                  decision->output_level, twcs_reason_name(decision->reason));
        break;
    }
    code = store_shard_compact(shard, &request, result, error);
    free(numbers);
    return code;
}
