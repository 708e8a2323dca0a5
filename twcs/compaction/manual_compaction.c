/* What operators ask of windows. The scheduler works at the same time: whoever holds a window first
 * finishes, then the window is described again. */
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/lease.h"
#include "store/listen.h"
#include "store/rebuild.h"
#include "store/store.h"
#include "twcs/compaction/compaction_internal.h"

enum {
    WINDOW_WAIT_MS = 1000, /* then whoever asked may have given up */
    SORTED_LEVEL_LEVELED = 1,
    SORTED_LEVEL_HYBRID = 3
};

struct work {
    struct compaction_scheduler *scheduler;
    const struct compaction_scheduler_options *options;
    const struct manual_compaction_request *request;
    struct arena *arena;
    struct manual_compaction_result *results;
    size_t count, capacity;
    bool unbounded; /* a window has no bounds and cannot be rebuilt */
};

const char *compaction_action_name(enum compaction_action action)
{
    static const char *const names[] = {[COMPACTION_NONE] = "none",
                                        [COMPACTION_SEAL] = "seal",
                                        [COMPACTION_RESEAL] = "reseal",
                                        [COMPACTION_MERGE] = "merge",
                                        [COMPACTION_REBUILD] = "rebuild"};
    return names[action];
}

static void add_result(struct work *work, struct store_shard *shard, enum compaction_action action,
                       const struct store_window_info *window)
{
    const char *name = store_shard_name(shard);

    if (work->count == work->capacity) {
        size_t capacity = work->capacity ? work->capacity * 2 : 16;
        struct manual_compaction_result *grown =
            memory_checked(arena_calloc(work->arena, capacity, sizeof(*grown)));
        if (work->count > 0)
            memcpy(grown, work->results, work->count * sizeof(*grown));
        work->results = grown;
        work->capacity = capacity;
    }
    work->results[work->count++] = (struct manual_compaction_result){
        .shard = memory_checked(arena_copy(work->arena, name, strlen(name) + 1)),
        .action = action,
        .window = *window};
}

/* Which windows are meant. */

static bool holds(int64_t start_ms, int64_t length_ms, int64_t time_ms)
{
    /* Windows start at multiples of their length: the end is as safe as a longer window is. */
    return length_ms == 0 || (time_ms >= start_ms && time_ms - length_ms < start_ms);
}

static bool is_chosen(const struct work *work, const struct compaction_view *view,
                      const struct store_window_info *window)
{
    if (work->request->has_time)
        return holds(window->start_ms, window->length_ms, work->request->time_ms);
    return window->length_ms == 0 || window->sealed ||
           twcs_window_closed(&view->policy, &view->clock, window->start_ms + window->length_ms);
}

/* One window. */

/* The level that the rows of all files go to: the deepest there is. */
static uint8_t output_level(const struct compaction_view *view,
                            const struct store_window_info *window, uint64_t *target_file_bytes)
{
    bool leveled = view->policy.style == TWCS_STYLE_LEVELED;
    bool hybrid = view->policy.style == TWCS_STYLE_HYBRID;
    uint8_t level = leveled ? SORTED_LEVEL_LEVELED : hybrid ? SORTED_LEVEL_HYBRID : 0;

    *target_file_bytes = leveled || hybrid ? view->policy.target_file_bytes : 0;
    for (size_t i = 0; i < window->chunk_count; i++)
        if (window->chunks[i].level > level)
            level = window->chunks[i].level;
    return level;
}

static int merge_all(struct work *work, const struct store_lease *lease,
                     const struct compaction_view *view, const struct store_window_info *window,
                     struct store_compaction_result *result, struct error *error)
{
    struct store_compaction_request merge = {.kind = STORE_COMPACTION_MERGE,
                                             .window_start_ms = window->start_ms,
                                             .window_length_ms = window->length_ms,
                                             .file_count = window->chunk_count,
                                             .now_ms = twcs_expired_before_ms(&view->clock),
                                             .jobs = work->options->job_count,
                                             .cancel = lease->closing};
    uint64_t *numbers =
        memory_checked(arena_calloc(work->arena, window->chunk_count + 1, sizeof(*numbers)));

    for (size_t i = 0; i < window->chunk_count; i++)
        numbers[i] = window->chunks[i].file_number;
    merge.file_numbers = numbers;
    merge.output_level = output_level(view, window, &merge.target_file_bytes);
    return store_shard_compact(lease->shard, &merge, result, error);
}

static enum compaction_action action_of(const struct store_window_info *window)
{
    if (window->length_ms == 0)
        return window->chunk_count > 0 ? COMPACTION_MERGE : COMPACTION_NONE;
    if (!window->sealed)
        return COMPACTION_SEAL;
    return window->chunk_count > 0 || window->memtable_rows > 0 || window->masked_rows > 0
               ? COMPACTION_RESEAL
               : COMPACTION_NONE;
}

static int act(struct work *work, const struct store_lease *lease,
               const struct compaction_view *view, size_t index, enum compaction_action action,
               struct store_compaction_result *result, struct error *error)
{
    const struct store_window_info *window = &view->info.windows[index];
    const struct twcs_decision seal = {.action = window->sealed ? TWCS_RESEAL : TWCS_SEAL,
                                       .window = index};
    int64_t start_ns = io_monotonic_ns(work->options->io);
    int code;

    if (action == COMPACTION_NONE) {
        store_shard_describe_window(lease->shard, window->start_ms, window->length_ms,
                                    &result->window);
        return 0;
    }
    if (action == COMPACTION_MERGE)
        return merge_all(work, lease, view, window, result, error);
    code = compaction_execute(lease->shard, view, &seal, work->options->job_count, lease->closing,
                              result, error);
    if (code == 0)
        compaction_announce_seal(work->scheduler, lease->shard, &result->window, start_ns);
    return code;
}

/* Sleeps until no other work holds the window; gives up with whoever asked. */
static int wait_for_window(struct work *work, const struct store_lease *lease, int64_t start_ms,
                           int64_t length_ms, struct error *error)
{
    const atomic_bool *cancelled = work->request->cancelled;
    int code = ERROR_TIMEOUT;

    while (code == ERROR_TIMEOUT && !atomic_load(lease->closing) &&
           !(cancelled && atomic_load(cancelled)))
        code = store_shard_wait_window(lease->shard, start_ms, length_ms,
                                       io_monotonic_ns(work->options->io) +
                                           WINDOW_WAIT_MS * INT64_C(1000000),
                                       lease->closing, error);
    return code == ERROR_TIMEOUT
               ? error_set(error, ERROR_CANCELLED,
                           "this process is closing shard %s, or the request was cancelled",
                           store_shard_name(lease->shard))
               : code;
}

static int compact_window(struct work *work, const struct store_lease *lease, int64_t start_ms,
                          int64_t length_ms, struct error *error)
{
    struct store_compaction_result result;
    int code = ERROR_BUSY;

    while (code == ERROR_BUSY || code == ERROR_NOT_FOUND) {
        struct compaction_view view;
        enum compaction_action action;
        size_t i = 0;
        if (wait_for_window(work, lease, start_ms, length_ms, error) != 0)
            return error->code;
        compaction_describe(lease->shard, work->request->collection, io_wall_ms(work->options->io),
                            work->arena, &view);
        while (i < view.info.window_count && (view.info.windows[i].start_ms != start_ms ||
                                              view.info.windows[i].length_ms != length_ms))
            i++;
        if (i == view.info.window_count)
            return 0; /* it expired meanwhile */
        action = action_of(&view.info.windows[i]);
        code = act(work, lease, &view, i, action, &result, error);
        if (code == 0)
            add_result(work, lease->shard, action, &result.window);
    }
    return code;
}

static int compact_shard(struct work *work, const struct store_lease *lease, struct error *error)
{
    struct compaction_view view;
    int code = store_shard_flush(lease->shard, error); /* rows in memory belong to windows, too */

    if (code != 0)
        return code;
    compaction_describe(lease->shard, work->request->collection, io_wall_ms(work->options->io),
                        work->arena, &view);
    for (size_t i = 0; i < view.info.window_count && code == 0; i++)
        if (is_chosen(work, &view, &view.info.windows[i]))
            code = compact_window(work, lease, view.info.windows[i].start_ms,
                                  view.info.windows[i].length_ms, error);
    return code;
}

/* Rebuilding. */

struct rebuild_target {
    struct store_rebuild *rebuild;
    const atomic_bool *cancel;
};

static int take_records(void *context, const struct store_record *records, size_t count,
                        int64_t next_offset, struct error *error)
{
    const struct rebuild_target *target = context;

    return store_rebuild_append(target->rebuild, records, count, next_offset, target->cancel,
                                error);
}

static int replay(struct work *work, const struct store_lease *lease, struct store_rebuild *rebuild,
                  int64_t from_offset, int64_t to_offset, struct error *error)
{
    const struct manual_compaction_request *request = work->request;
    struct rebuild_target target = {.rebuild = rebuild, .cancel = lease->closing};
    const struct compaction_replay range = {.collection = request->collection,
                                            .shard = lease->shard,
                                            .from_offset = from_offset,
                                            .to_offset = to_offset,
                                            .cancelled = {lease->closing, request->cancelled},
                                            .take = take_records,
                                            .take_context = &target};

    return request->replay(request->replay_context, &range, error);
}

/* What comes to the shard while the window is written is read before appends are held, so that they
 * wait for little. */
static int make_anew(struct work *work, const struct store_lease *lease,
                     struct store_rebuild *rebuild, int64_t from_offset, int64_t to_offset,
                     struct error *error)
{
    int64_t next_offset;
    int code = replay(work, lease, rebuild, from_offset, to_offset, error);

    if (code == 0)
        code = store_rebuild_write(
            rebuild, store_shard_expired_before_ms(lease->shard, io_wall_ms(work->options->io)),
            lease->closing, &next_offset, error);
    if (code == 0)
        code = replay(work, lease, rebuild, to_offset, next_offset, error);
    if (code != 0)
        return code;
    to_offset = next_offset;
    code = store_rebuild_hold(rebuild, &next_offset, error);
    if (code == 0)
        code = replay(work, lease, rebuild, to_offset, next_offset, error);
    return code == 0 ? store_rebuild_commit(rebuild, error) : code;
}

static int rebuild_window(struct work *work, const struct store_lease *lease, int64_t start_ms,
                          int64_t length_ms, struct error *error)
{
    int64_t start_ns = io_monotonic_ns(work->options->io);
    struct store_rebuild *rebuild;
    struct store_window_info window;
    int64_t from_offset, to_offset;
    int code;

    do {
        if (wait_for_window(work, lease, start_ms, length_ms, error) != 0)
            return error->code;
        code = store_rebuild_begin(lease->shard, start_ms, length_ms, &rebuild, &from_offset,
                                   &to_offset, error);
    } while (code == ERROR_BUSY);
    if (code != 0)
        return code;
    code = make_anew(work, lease, rebuild, from_offset, to_offset, error);
    store_rebuild_end(rebuild);
    if (code != 0)
        return code;
    logger_write_event(LOGGER_INFO, "compaction", "window_rebuilt",
                       "%s/%s: window %lld rebuilt from offset %lld on",
                       work->request->collection->name, store_shard_name(lease->shard),
                       (long long)start_ms, (long long)from_offset);
    store_shard_describe_window(lease->shard, start_ms, length_ms, &window);
    compaction_announce_seal(work->scheduler, lease->shard, &window, start_ns);
    add_result(work, lease->shard, COMPACTION_REBUILD, &window);
    return 0;
}

/* A damaged window is in no version: the list of damages tells it. */
static int rebuild_shard(struct work *work, const struct store_lease *lease, struct error *error)
{
    int64_t time_ms = work->request->time_ms;
    struct store_shard_info info;
    int code = store_shard_flush(lease->shard, error);

    if (code != 0)
        return code;
    store_shard_describe(lease->shard, work->arena, &info);
    for (size_t i = 0; i < info.damage_count && code == 0; i++)
        if (holds(info.damages[i].start_ms, info.damages[i].length_ms, time_ms))
            code = rebuild_window(work, lease, info.damages[i].start_ms, info.damages[i].length_ms,
                                  error);
    for (size_t i = 0; i < info.window_count && code == 0; i++) {
        const struct store_window_info *window = &info.windows[i];
        bool damaged = false;
        for (size_t k = 0; k < info.damage_count; k++)
            damaged |= info.damages[k].start_ms == window->start_ms &&
                       info.damages[k].length_ms == window->length_ms;
        work->unbounded |= window->length_ms == 0;
        if (!damaged && window->length_ms > 0 &&
            holds(window->start_ms, window->length_ms, time_ms))
            code = rebuild_window(work, lease, window->start_ms, window->length_ms, error);
    }
    return code;
}

/* All chosen shards. */

static int nothing_found(const struct work *work, bool shard_found, struct error *error)
{
    const struct manual_compaction_request *request = work->request;
    const char *collection = request->collection->name;
    char time[TEXT_TIME_BYTES];

    if (!shard_found && request->shard)
        return error_set(error, ERROR_NOT_FOUND, "Not found: shard %s of %s is not open here",
                         request->shard, collection);
    if (work->unbounded)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: %s has no windows to rebuild. To read a shard again from "
                         "Kafka, stop windrow, move DATA_DIR/%s/SHARD away and start it",
                         collection, collection);
    if (request->has_time)
        return error_set(error, ERROR_NOT_FOUND, "Not found: %s has no window that contains %s",
                         collection, text_format_time(request->time_ms, time));
    return 0;
}

typedef int (*shard_function)(struct work *work, const struct store_lease *lease,
                              struct error *error);

static int for_shards(struct compaction_scheduler *scheduler,
                      const struct manual_compaction_request *request, struct arena *arena,
                      struct manual_compaction_result **results, size_t *result_count,
                      shard_function function, struct error *error)
{
    struct work work = {.scheduler = scheduler,
                        .options = compaction_scheduler_options(scheduler),
                        .request = request,
                        .arena = arena};
    struct store_registry *registry = work.options->registry;
    struct store_lease *leases;
    size_t count = store_registry_acquire(registry, request->collection->name, arena, &leases);
    bool shard_found = false;
    int code = 0;

    for (size_t i = 0; i < count; i++) {
        const char *name = store_shard_name(leases[i].shard);
        bool wanted = !request->shard || strcmp(request->shard, name) == 0;
        shard_found |= wanted;
        if (wanted && code == 0)
            code = function(&work, &leases[i], error);
        store_registry_release(registry, &leases[i]);
    }
    if (code == 0 && work.count == 0)
        code = nothing_found(&work, shard_found, error);
    *results = work.results;
    *result_count = work.count;
    return code;
}

int manual_compaction_compact(struct compaction_scheduler *scheduler,
                              const struct manual_compaction_request *request, struct arena *arena,
                              struct manual_compaction_result **results, size_t *count,
                              struct error *error)
{
    return for_shards(scheduler, request, arena, results, count, compact_shard, error);
}

int manual_compaction_rebuild(struct compaction_scheduler *scheduler,
                              const struct manual_compaction_request *request, struct arena *arena,
                              struct manual_compaction_result **results, size_t *count,
                              struct error *error)
{
    if (!request->has_time)
        return error_set(error, ERROR_INVALID, "Wrong input: window is missing: give a time in it");
    return for_shards(scheduler, request, arena, results, count, rebuild_shard, error);
}
