#include "windrow/on_demand.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/doc.h"
#include "base/logger.h"
#include "base/text.h"
#include "windrow/decision.h"

enum { BUSY_POLL_MS = 50, SORTED_LEVEL_LEVELED = 1, SORTED_LEVEL_HYBRID = 3 };

struct request {
    struct service *service;
    const struct config_collection *collection;
    const struct on_demand_choice *choice;
    struct buffer *out;
    struct arena arena;
    size_t found;   /* windows */
    bool unbounded; /* one of them has no bounds and cannot be rebuilt */
};

/* ---- choosing ---- */

static bool holds(const struct store_window_info *window, int64_t time_ms)
{
    /* Windows start at multiples of their length: the end is as safe as a longer window is. */
    return window->length_ms == 0 ||
           (time_ms >= window->start_ms && time_ms - window->length_ms < window->start_ms);
}

static bool is_chosen(const struct request *request, const struct maintenance_view *view,
                      const struct store_window_info *window)
{
    if (request->choice->has_time)
        return holds(window, request->choice->time_ms);
    return window->length_ms == 0 || window->sealed ||
           twcs_window_closed(&view->policy, &view->clock, window->start_ms + window->length_ms);
}

/* ---- one window ---- */

/* The level that the rows of all runs go to: the deepest there is. */
static uint8_t output_level(const struct maintenance_view *view,
                            const struct store_window_info *window, uint64_t *target_file_bytes)
{
    uint8_t level = 0;

    *target_file_bytes = 0;
    for (size_t i = 0; i < window->chunk_count; i++)
        if (window->chunks[i].level > level)
            level = window->chunks[i].level;
    if (view->policy.style == TWCS_STYLE_LEVELED && level < SORTED_LEVEL_LEVELED)
        level = SORTED_LEVEL_LEVELED;
    if (view->policy.style == TWCS_STYLE_HYBRID && level < SORTED_LEVEL_HYBRID)
        level = SORTED_LEVEL_HYBRID;
    if (view->policy.style == TWCS_STYLE_LEVELED || view->policy.style == TWCS_STYLE_HYBRID)
        *target_file_bytes = view->policy.target_file_bytes;
    return level;
}

static int merge_all(struct store_shard *shard, const struct maintenance_view *view,
                     const struct store_window_info *window, struct arena *arena, unsigned jobs,
                     const atomic_bool *cancel, struct error *error)
{
    uint64_t *numbers = arena_calloc(arena, window->chunk_count + 1, sizeof(*numbers));
    uint64_t target_file_bytes;
    uint8_t level = output_level(view, window, &target_file_bytes);

    if (!numbers)
        abort();
    for (size_t i = 0; i < window->chunk_count; i++)
        numbers[i] = window->chunks[i].file_number;
    return store_shard_compact(
        shard,
        &(struct store_compaction_request){.kind = STORE_COMPACTION_MERGE,
                                           .window_start_ms = window->start_ms,
                                           .window_length_ms = window->length_ms,
                                           .file_numbers = numbers,
                                           .file_count = window->chunk_count,
                                           .output_level = level,
                                           .target_file_bytes = target_file_bytes,
                                           .now_ms = view->clock.safe_wall_ms,
                                           .jobs = jobs,
                                           .cancel = cancel},
        NULL, error);
}

static const char *action_of(const struct store_window_info *window)
{
    if (window->length_ms == 0)
        return window->chunk_count > 0 ? "merge" : "none";
    if (!window->sealed)
        return "seal";
    return window->chunk_count > 0 || window->memtable_rows > 0 || window->masked_rows > 0
               ? "reseal"
               : "none";
}

static int act(struct request *request, struct store_lease *lease,
               const struct maintenance_view *view, size_t index, const char *action,
               struct error *error)
{
    const struct store_window_info *window = &view->info.windows[index];
    struct service *service = request->service;
    int64_t start_ns = io_monotonic_ns(service->io);
    struct maintenance *maintenance = atomic_load(&service->maintenance);
    const struct twcs_decision seal = {.action = window->sealed ? TWCS_RESEAL : TWCS_SEAL,
                                       .window = index};
    unsigned jobs = service->config->max_background_jobs;
    struct store_compaction_result result;
    int code;

    if (strcmp(action, "none") == 0)
        return 0;
    if (strcmp(action, "merge") == 0)
        return merge_all(lease->shard, view, window, &request->arena, jobs, lease->closing, error);
    code = decision_carry_out(lease->shard, view, &seal, jobs, lease->closing, &result, error);
    if (code == 0 && maintenance)
        maintenance_announce_seal(maintenance, lease->shard, &result.window,
                                  (double)(io_monotonic_ns(service->io) - start_ns) * 1e-9);
    return code;
}

/* What became of it. */
static void append_window(struct request *request, struct store_shard *shard, int64_t start_ms,
                          int64_t length_ms, const char *action)
{
    struct store_window_info window;
    struct buffer *out = request->out;

    store_shard_describe_window(shard, start_ms, length_ms, &window);
    buffer_append_text(out, request->found++ > 0 ? ",{\"shard\":" : "{\"shard\":");
    doc_write_json_string(out, store_shard_name(shard), strlen(store_shard_name(shard)));
    buffer_append_format(
        out,
        ",\"window_start_ms\":%lld,\"window_length_ms\":%lld,\"action\":\"%s\","
        "\"generation\":%llu,\"rows\":%llu,\"bytes\":%llu}",
        (long long)start_ms, (long long)length_ms, action, (unsigned long long)window.generation,
        (unsigned long long)window.live_rows, (unsigned long long)window.total_bytes);
}

static bool gives_up(const struct request *request, const struct store_lease *lease)
{
    return atomic_load(lease->closing) ||
           (request->choice->cancelled && atomic_load(request->choice->cancelled));
}

/* The maintenance threads may be at work on the window: then it is looked at again. */
static int compact_window(struct request *request, struct store_lease *lease, int64_t start_ms,
                          int64_t length_ms, struct error *error)
{
    const struct timespec pause = {.tv_nsec = BUSY_POLL_MS * 1000000};
    const char *action = "none";
    int code = ERROR_BUSY;

    while (code == ERROR_BUSY || code == ERROR_NOT_FOUND) {
        struct maintenance_view view;
        size_t i = 0;
        if (gives_up(request, lease))
            return error_set(error, ERROR_CANCELLED, "shard %s is about to close here",
                             store_shard_name(lease->shard));
        maintenance_describe(lease->shard, request->collection, io_wall_ms(request->service->io),
                             &request->arena, &view);
        while (i < view.info.window_count && (view.info.windows[i].start_ms != start_ms ||
                                              view.info.windows[i].length_ms != length_ms))
            i++;
        if (i == view.info.window_count)
            return 0; /* it expired meanwhile */
        action = action_of(&view.info.windows[i]);
        code = act(request, lease, &view, i, action, error);
        if (code == ERROR_BUSY)
            (void)nanosleep(&pause, NULL);
    }
    if (code == 0)
        append_window(request, lease->shard, start_ms, length_ms, action);
    return code;
}

/* ---- rebuilding ---- */

struct replay_target {
    struct store_rebuild *rebuild;
    const atomic_bool *cancel;
};

static int take_records(void *context, const struct store_record *records, size_t count,
                        int64_t next_offset, struct error *error)
{
    const struct replay_target *target = context;

    return store_rebuild_append(target->rebuild, records, count, next_offset, target->cancel,
                                error);
}

static int replay(struct request *request, struct store_lease *lease, struct store_rebuild *rebuild,
                  int64_t from_offset, int64_t to_offset, struct error *error)
{
    struct replay_target target = {.rebuild = rebuild, .cancel = lease->closing};
    const struct ingest_replay range = {.config = request->service->config,
                                        .collection = request->collection,
                                        .shard = store_shard_name(lease->shard),
                                        .from_offset = from_offset,
                                        .to_offset = to_offset,
                                        .topic = store_shard_topic_fingerprint(lease->shard),
                                        .cancelled = {lease->closing, request->choice->cancelled}};

    return ingest_replay(&range, take_records, &target, error);
}

/* What comes to the shard while the window is written is read before appends are held, so that they
 * wait for little. */
static int make_anew(struct request *request, struct store_lease *lease,
                     struct store_rebuild *rebuild, int64_t from_offset, int64_t to_offset,
                     struct error *error)
{
    struct service *service = request->service;
    int64_t next_offset;
    int code = replay(request, lease, rebuild, from_offset, to_offset, error);

    if (code == 0)
        code = store_rebuild_write(rebuild, io_wall_ms(service->io), lease->closing, &next_offset,
                                   error);
    if (code == 0)
        code = replay(request, lease, rebuild, to_offset, next_offset, error);
    if (code != 0)
        return code;
    to_offset = next_offset;
    code = store_rebuild_hold(rebuild, &next_offset, error);
    if (code == 0)
        code = replay(request, lease, rebuild, to_offset, next_offset, error);
    return code == 0 ? store_rebuild_commit(rebuild, error) : code;
}

static int rebuild_window(struct request *request, struct store_lease *lease, int64_t start_ms,
                          int64_t length_ms, struct error *error)
{
    const struct timespec pause = {.tv_nsec = BUSY_POLL_MS * 1000000};
    struct maintenance *maintenance = atomic_load(&request->service->maintenance);
    struct store_window_info window;
    int64_t start_ns = io_monotonic_ns(request->service->io);
    struct store_rebuild *rebuild;
    int64_t from_offset, to_offset;
    int code;

    while ((code = store_rebuild_begin(lease->shard, start_ms, length_ms, &rebuild, &from_offset,
                                       &to_offset, error)) == ERROR_BUSY &&
           !gives_up(request, lease))
        (void)nanosleep(&pause, NULL);
    if (code != 0)
        return code;
    code = make_anew(request, lease, rebuild, from_offset, to_offset, error);
    store_rebuild_end(rebuild);
    if (code != 0)
        return code;
    log_info("windrow", "%s/%s: window %lld rebuilt from offset %lld on", request->collection->name,
             store_shard_name(lease->shard), (long long)start_ms, (long long)from_offset);
    store_shard_describe_window(lease->shard, start_ms, length_ms, &window);
    /* An open window stays open: then there is nothing to index. */
    if (maintenance)
        maintenance_announce_seal(maintenance, lease->shard, &window,
                                  (double)(io_monotonic_ns(request->service->io) - start_ns) *
                                      1e-9);
    append_window(request, lease->shard, start_ms, length_ms, "rebuild");
    return 0;
}

/* A window that is damaged is in no version: it is looked for among the damages as well. */
static int rebuild_shard(struct request *request, struct store_lease *lease, struct error *error)
{
    struct store_shard_info info;
    int code = store_shard_flush(lease->shard, error);

    if (code != 0)
        return code;
    store_shard_describe(lease->shard, &request->arena, &info);
    for (size_t i = 0; i < info.damage_count && code == 0; i++) {
        const struct store_window_info damaged = {.start_ms = info.damages[i].start_ms,
                                                  .length_ms = info.damages[i].length_ms};
        if (holds(&damaged, request->choice->time_ms))
            code = rebuild_window(request, lease, damaged.start_ms, damaged.length_ms, error);
    }
    for (size_t i = 0; i < info.window_count && code == 0; i++) {
        bool damaged = false;
        for (size_t k = 0; k < info.damage_count; k++)
            damaged |= info.damages[k].start_ms == info.windows[i].start_ms &&
                       info.damages[k].length_ms == info.windows[i].length_ms;
        request->unbounded |= info.windows[i].length_ms == 0;
        if (!damaged && info.windows[i].length_ms > 0 &&
            holds(&info.windows[i], request->choice->time_ms))
            code = rebuild_window(request, lease, info.windows[i].start_ms,
                                  info.windows[i].length_ms, error);
    }
    return code;
}

/* ---- shards ---- */

static int compact_shard(struct request *request, struct store_lease *lease, struct error *error)
{
    struct maintenance_view view;
    int code = 0;

    /* Rows in memory belong to it as well. */
    if (store_shard_flush(lease->shard, error) != 0)
        return error->code;
    maintenance_describe(lease->shard, request->collection, io_wall_ms(request->service->io),
                         &request->arena, &view);
    for (size_t i = 0; i < view.info.window_count && code == 0; i++)
        if (is_chosen(request, &view, &view.info.windows[i]))
            code = compact_window(request, lease, view.info.windows[i].start_ms,
                                  view.info.windows[i].length_ms, error);
    return code;
}

static int nothing_found(const struct request *request, bool shard_found, struct error *error)
{
    char time[TEXT_TIME_BYTES];

    if (!shard_found && request->choice->shard)
        return error_set(error, ERROR_NOT_FOUND, "Not found: shard %s of %s is not open here",
                         request->choice->shard, request->collection->name);
    if (request->unbounded)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: %s keeps its records without windows, so there is none to "
                         "rebuild: to read a shard of it again, stop windrow, move "
                         "DATA_DIR/%s/SHARD away and start it",
                         request->collection->name, request->collection->name);
    if (request->choice->has_time)
        return error_set(error, ERROR_NOT_FOUND, "Not found: %s has no window that holds %s",
                         request->collection->name,
                         text_format_time(request->choice->time_ms, time));
    return 0;
}

typedef int (*shard_function)(struct request *request, struct store_lease *lease,
                              struct error *error);

static int for_shards(struct service *service, const struct config_collection *collection,
                      const struct on_demand_choice *choice, struct buffer *out,
                      shard_function function, struct error *error)
{
    struct request request = {
        .service = service, .collection = collection, .choice = choice, .out = out};
    struct store_lease *leases;
    bool shard_found = false;
    size_t count;
    int code = 0;

    arena_create(&request.arena, 0);
    count = store_registry_acquire(service->registry, collection->name, &request.arena, &leases);
    buffer_append_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        bool wanted =
            !choice->shard || strcmp(choice->shard, store_shard_name(leases[i].shard)) == 0;
        shard_found |= wanted;
        if (wanted && code == 0)
            code = function(&request, &leases[i], error);
        store_registry_release(service->registry, &leases[i]);
    }
    buffer_append_byte(out, ']');
    if (code == 0 && request.found == 0)
        code = nothing_found(&request, shard_found, error);
    arena_destroy(&request.arena);
    return code;
}

int on_demand_compact(struct service *service, const struct config_collection *collection,
                      const struct on_demand_choice *choice, struct buffer *out,
                      struct error *error)
{
    return for_shards(service, collection, choice, out, compact_shard, error);
}

int on_demand_rebuild(struct service *service, const struct config_collection *collection,
                      const struct on_demand_choice *choice, struct buffer *out,
                      struct error *error)
{
    if (!choice->has_time)
        return error_set(error, ERROR_INVALID, "Wrong input: window: which one? (a time in it)");
    return for_shards(service, collection, choice, out, rebuild_shard, error);
}
