/* One turn of a shard (what is due, the drops and one merge) or of a byte cap. */
#include "base/logger.h"
#include "base/text.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/lease.h"
#include "store/store.h"
#include "twcs/compaction/compaction_internal.h"

enum {
    DECISIONS_MAX = 32,
    RETRY_MS = 1000, /* other work held a window and did not say that it ended */
    STARVED_MS = 1000,
    KEEP_CLOCK_MS = 10 * 60 * 1000 /* far below the downtime that a start accepts unasked */
};

struct metric *compaction_seal_seconds(struct metrics *metrics, const char *collection)
{
    const struct metric_label labels[] = {{"collection", collection}};

    return metrics_histogram(metrics, "windrow_seal_seconds", "Time to seal or reseal a window",
                             labels, 1, metrics_seconds_bounds, metrics_seconds_bound_count);
}

void compaction_announce_seal(struct compaction_scheduler *scheduler, struct store_shard *shard,
                              const struct store_window_info *window, int64_t start_ns)
{
    const struct compaction_scheduler_options *options = compaction_scheduler_options(scheduler);
    double seconds = (double)(io_monotonic_ns(options->io) - start_ns) * 1e-9;
    char start[TEXT_TIME_BYTES];

    metric_observe(compaction_seal_seconds(options->metrics, store_shard_collection(shard)),
                   seconds);
    if (!window->sealed)
        return; /* none of its rows was left, or a rebuilt window is open */
    logger_write_event(LOGGER_INFO, "compaction", "window_sealed",
                       "sealed window %s of %s/%s: generation %llu, %llu rows, %.0f ms",
                       text_format_time(window->start_ms, start), store_shard_collection(shard),
                       store_shard_name(shard), (unsigned long long)window->generation,
                       (unsigned long long)window->run.rows, seconds * 1e3);
    if (options->on_sealed)
        options->on_sealed(options->context, shard, window);
}

/* Makes the safe clock of a shard durable that takes no records: what a start finds then is what
 * the time was. */
static void keep_clock(struct store_shard *shard, const struct compaction_view *view,
                       struct compaction_turn *turn)
{
    int64_t due_ms = view->info.clock.safe_wall_ms + KEEP_CLOCK_MS;
    struct error error = {0};
    int code;

    if (view->info.next_offset < 0 || store_shard_stopped(shard))
        return;
    if (view->clock.safe_wall_ms >= due_ms) {
        code = store_shard_keep_clock(shard, view->clock.safe_wall_ms, &error);
        due_ms = view->clock.safe_wall_ms + KEEP_CLOCK_MS;
        if (code != 0 && !error_is_shortage(code)) {
            log_error("compaction", "%s", error.text);
            turn->failed = true;
        }
    }
    if (due_ms < turn->due_ms)
        turn->due_ms = due_ms;
}

void turn_of_shard(struct compaction_scheduler *scheduler, const struct store_lease *lease,
                   const struct config_collection *collection, struct arena *arena,
                   struct compaction_turn *turn)
{
    const struct compaction_scheduler_options *options = compaction_scheduler_options(scheduler);
    struct twcs_decision decisions[DECISIONS_MAX];
    struct compaction_view view;
    size_t count;

    compaction_describe(lease->shard, collection, io_wall_ms(options->io), arena, &view);
    turn->due_ms =
        twcs_next_due_ms(&view.policy, &view.clock, view.windows, view.info.window_count);
    for (size_t i = 0; i < view.info.window_count; i++)
        if (twcs_drop_waits(&view.clock, &view.windows[i]))
            turn->look_ms = RETRY_MS;
    keep_clock(lease->shard, &view, turn);
    view.policy.max_jobs = 1;
    count = twcs_decide(&view.policy, &view.clock, view.windows, view.info.window_count, decisions,
                        DECISIONS_MAX);
    for (size_t i = 0; i < count && !*lease->closing; i++) {
        bool seals = decisions[i].action == TWCS_SEAL || decisions[i].action == TWCS_RESEAL;
        int64_t start_ns = io_monotonic_ns(options->io);
        struct store_compaction_result result;
        struct error error = {0};
        int code = compaction_execute(lease->shard, &view, &decisions[i], options->job_count,
                                      lease->closing, &result, &error);
        turn->again |= code == 0;
        if (code == 0 && seals)
            compaction_announce_seal(scheduler, lease->shard, &result.window, start_ns);
        if (code == ERROR_BUSY || code == ERROR_NOT_FOUND)
            turn->look_ms = RETRY_MS;
        if (code == 0 || code == ERROR_BUSY || code == ERROR_CANCELLED || code == ERROR_NOT_FOUND)
            continue;
        log_error("compaction", "%s", error.text);
        turn->failed = true;
        return;
    }
}

void turn_of_byte_cap(struct compaction_scheduler *scheduler,
                      const struct config_collection *collection, struct arena *arena,
                      struct compaction_turn *turn)
{
    switch (byte_cap_enforce(compaction_scheduler_options(scheduler), collection, arena)) {
    case BYTE_CAP_KEPT:
        break;
    case BYTE_CAP_DROPPED:
        turn->again = true;
        break;
    case BYTE_CAP_STARVED:
        turn->look_ms = STARVED_MS;
        break;
    case BYTE_CAP_FAILED:
        turn->failed = true;
        break;
    }
}
