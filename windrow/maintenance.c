#include "windrow/maintenance.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/logger.h"
#include "base/text.h"
#include "base/thread.h"
#include "ingest/ingest.h"
#include "twcs/twcs.h"
#include "windrow/decision.h"

enum {
    FLUSH_POLL_MS = 20,
    DECIDE_POLL_MS = 200,
    DECISIONS_MAX = 32,
    JOB_THREADS_MAX = 64,
    RECONCILE_EVERY_ROUNDS = 25, /* every 5 s */
    FAILURE_PAUSE_MS = 2000,
    KEEP_CLOCK_MS = 10 * 60 * 1000 /* far below what a start follows */
};

struct maintenance {
    struct store_registry *registry;
    struct indexer *indexer;
    struct metrics *metrics;
    struct io *io;
    _Atomic int64_t *flush_alive_ns;
    atomic_bool stopping;
    pthread_t flush_thread;
    pthread_t job_threads[JOB_THREADS_MAX];
    uint32_t job_count;
    atomic_bool leading; /* one thread looks at all shards at once */
};

static void pause_ms(int64_t duration_ms)
{
    struct timespec pause = {.tv_sec = duration_ms / 1000,
                             .tv_nsec = (long)(duration_ms % 1000) * 1000000};

    (void)nanosleep(&pause, NULL);
}

/* After a failure, so that it is not met again in a busy loop. Ends early when somebody waits for
 * this thread or its lease. */
static void pause_after_failure(struct maintenance *maintenance, const struct store_lease *lease)
{
    for (int64_t paused_ms = 0;
         paused_ms < FAILURE_PAUSE_MS && !maintenance->stopping && !atomic_load(lease->closing);
         paused_ms += FLUSH_POLL_MS)
        pause_ms(FLUSH_POLL_MS);
}

/* ---- flushing ---- */

static void flush_due(struct maintenance *maintenance)
{
    struct store_registry_position position = {0};
    struct store_lease lease;

    while (!maintenance->stopping &&
           store_registry_acquire_next(maintenance->registry, &position, &lease)) {
        struct error error = {0};
        if (!store_shard_compaction_behind(lease.shard) &&
            store_shard_flush_due(lease.shard, &error) != 0 && error.code != ERROR_BUSY) {
            log_error("windrow", "flush: %s", error.text);
            pause_after_failure(maintenance, &lease);
        }
        store_registry_release(maintenance->registry, &lease);
    }
}

static void *flush_loop(void *context)
{
    struct maintenance *maintenance = context;

    while (!maintenance->stopping) {
        atomic_store(maintenance->flush_alive_ns, io_monotonic_ns(maintenance->io));
        flush_due(maintenance);
        pause_ms(FLUSH_POLL_MS);
    }
    return NULL;
}

/* ---- deciding and carrying out ---- */

void maintenance_announce_seal(struct maintenance *maintenance, struct store_shard *shard,
                               const struct store_window_info *window, double seconds)
{
    struct metric_label labels[] = {{"collection", store_shard_collection(shard)}};
    char start[TEXT_TIME_BYTES];

    metric_observe(metrics_histogram(maintenance->metrics, "windrow_seal_seconds",
                                     "Time to seal or reseal a window", labels, 1,
                                     metrics_seconds_bounds, metrics_seconds_bound_count),
                   seconds);
    if (!window->sealed)
        return; /* none of its rows was left */
    log_info("windrow", "sealed window %s of %s/%s: generation %llu, %llu rows, %.0f ms",
             text_format_time(window->start_ms, start), store_shard_collection(shard),
             store_shard_name(shard), (unsigned long long)window->generation,
             (unsigned long long)window->run.rows, seconds * 1e3);
    indexer_window_sealed(maintenance->indexer, shard, window);
}

static int carry_out(struct maintenance *maintenance, struct store_lease *lease,
                     const struct maintenance_view *view, const struct twcs_decision *decision,
                     struct error *error)
{
    int64_t start_ns = io_monotonic_ns(maintenance->io);
    struct store_compaction_result result;
    int code = decision_carry_out(lease->shard, view, decision, maintenance->job_count,
                                  lease->closing, &result, error);

    if (code == 0 && (decision->action == TWCS_SEAL || decision->action == TWCS_RESEAL))
        maintenance_announce_seal(maintenance, lease->shard, &result.window,
                                  (double)(io_monotonic_ns(maintenance->io) - start_ns) * 1e-9);
    return code;
}

/* What a shard knows of the time without records. */
static void keep_clock(struct maintenance *maintenance, struct store_lease *lease,
                       const struct maintenance_view *view)
{
    struct error error = {0};
    int code;

    if (view->info.next_offset < 0 || store_shard_stopped(lease->shard) ||
        view->clock.safe_wall_ms - view->info.clock.safe_wall_ms < KEEP_CLOCK_MS)
        return;
    code = store_shard_keep_clock(lease->shard, view->clock.safe_wall_ms, &error);
    if (code == 0 || code == ERROR_NO_SPACE)
        return;
    log_error("windrow", "%s", error.text);
    pause_after_failure(maintenance, lease);
}

/* What is due, the drops and one merge: then it is another shard's turn. Returns whether anything
 * was done. A failure of one window must not turn into a busy loop over it: the round ends after a
 * pause. */
static bool maintain_shard(struct maintenance *maintenance, struct store_lease *lease,
                           struct arena *arena)
{
    struct twcs_decision decisions[DECISIONS_MAX];
    struct maintenance_view view;
    bool done = false;
    size_t count;

    maintenance_describe(lease->shard, store_lease_collection(lease), io_wall_ms(maintenance->io),
                         arena, &view);
    keep_clock(maintenance, lease, &view);
    view.policy.max_jobs = 1;
    count = twcs_decide(&view.policy, &view.clock, view.windows, view.info.window_count, decisions,
                        DECISIONS_MAX);
    for (size_t i = 0; i < count && !maintenance->stopping && !*lease->closing; i++) {
        struct error error = {0};
        int code = carry_out(maintenance, lease, &view, &decisions[i], &error);
        done |= code == 0;
        if (code == 0 || code == ERROR_BUSY || code == ERROR_CANCELLED || code == ERROR_NOT_FOUND)
            continue;
        log_error("windrow", "%s/%s: %s", store_shard_collection(lease->shard),
                  store_shard_name(lease->shard), error.text);
        pause_after_failure(maintenance, lease);
        return false;
    }
    return done;
}

/* ---- the byte cap ---- */

struct fifo_round {
    struct twcs_fifo_window *windows;
    struct store_window_info *infos;
    size_t *owners; /* lease of each window */
    size_t count;
    uint64_t total_bytes;
};

static void fifo_add_shard(struct fifo_round *round, size_t owner,
                           const struct maintenance_view *view, size_t capacity)
{
    round->total_bytes += view->info.total_bytes;
    for (size_t i = 0; i < view->info.window_count && round->count < capacity; i++) {
        const struct store_window_info *info = &view->info.windows[i];
        round->windows[round->count] = (struct twcs_fifo_window){
            .end_ms = info->start_ms + info->length_ms,
            .bytes = info->total_bytes,
            .open = !info->sealed,
            .busy = info->busy,
            .expired = view->windows[i].max_expiry_ms <= view->clock.safe_wall_ms,
        };
        round->infos[round->count] = *info;
        round->owners[round->count++] = owner;
    }
}

static void fifo_drop(struct store_lease *lease, const struct store_window_info *window,
                      uint64_t total_bytes, uint64_t cap_bytes)
{
    struct error error = {0};
    char start[TEXT_TIME_BYTES];

    log_warning("windrow",
                "%s holds %llu bytes, its cap is %llu: dropping its oldest window %s (shard %s)",
                store_shard_collection(lease->shard), (unsigned long long)total_bytes,
                (unsigned long long)cap_bytes, text_format_time(window->start_ms, start),
                store_shard_name(lease->shard));
    if (store_shard_drop(lease->shard, window->start_ms, window->length_ms, "fifo", &error) != 0)
        log_error("windrow", "%s", error.text);
}

static void enforce_cap(struct maintenance *maintenance, const struct config_collection *collection,
                        struct store_lease *leases, size_t count, struct arena *arena)
{
    enum { WINDOWS_MAX = 16384 };
    struct twcs_policy policy = ingest_policy(collection);
    struct fifo_round round = {.windows = arena_calloc(arena, WINDOWS_MAX, sizeof(*round.windows)),
                               .infos = arena_calloc(arena, WINDOWS_MAX, sizeof(*round.infos)),
                               .owners = arena_calloc(arena, WINDOWS_MAX, sizeof(*round.owners))};
    bool starved = false;
    bool was_starved = false;
    size_t pick;

    if (!round.windows || !round.infos || !round.owners)
        abort();
    for (size_t i = 0; i < count; i++) {
        struct maintenance_view view;
        maintenance_describe(leases[i].shard, collection, io_wall_ms(maintenance->io), arena,
                             &view);
        fifo_add_shard(&round, i, &view, WINDOWS_MAX);
    }
    pick = twcs_fifo_pick(&policy, round.windows, round.count, round.total_bytes, &starved);
    if (pick != SIZE_MAX)
        fifo_drop(&leases[round.owners[pick]], &round.infos[pick], round.total_bytes,
                  policy.max_bytes);
    for (size_t i = 0; i < count; i++)
        was_starved |= store_shard_set_over_cap(leases[i].shard, starved);
    if (starved != was_starved)
        log_warning("windrow", "%s holds %llu bytes, its cap is %llu: %s", collection->name,
                    (unsigned long long)round.total_bytes, (unsigned long long)policy.max_bytes,
                    starved ? "none of its windows may go, ingestion waits" : "ingestion goes on");
}

static void enforce_caps(struct maintenance *maintenance, struct arena *arena)
{
    struct store_lease *leases;
    size_t count = store_registry_acquire(maintenance->registry, NULL, arena, &leases);

    /* Leases come ordered by collection: each group is one collection. */
    for (size_t first = 0, last; first < count; first = last) {
        const struct config_collection *collection = store_lease_collection(&leases[first]);
        for (last = first + 1; last < count; last++) {
            if (strcmp(store_lease_collection(&leases[last])->name, collection->name) != 0)
                break;
        }
        if (collection->max_bytes > 0)
            enforce_cap(maintenance, collection, leases + first, last - first, arena);
    }
    for (size_t i = 0; i < count; i++)
        store_registry_release(maintenance->registry, &leases[i]);
}

/* ---- threads ---- */

/* One turn for each shard that has had none since the round began, the one that waited longest
 * first. Returns whether anything was done: then there may be more. */
static bool job_round(struct maintenance *maintenance, struct arena *arena)
{
    int64_t began_ns = io_monotonic_ns(maintenance->io);
    struct store_lease lease;
    bool done = false;

    while (!maintenance->stopping &&
           store_registry_begin_turn(maintenance->registry, began_ns, &lease)) {
        done |= maintain_shard(maintenance, &lease, arena);
        store_registry_end_turn(maintenance->registry, &lease, io_monotonic_ns(maintenance->io));
        arena_reset(arena);
    }
    return done;
}

static void *job_loop(void *context)
{
    struct maintenance *maintenance = context;
    struct arena arena;
    unsigned round = 0;

    arena_create(&arena, 0);
    while (!maintenance->stopping) {
        bool done = job_round(maintenance, &arena);
        /* What concerns all shards at once is done by one thread at a time. */
        if (!atomic_exchange(&maintenance->leading, true)) {
            enforce_caps(maintenance, &arena);
            if (++round % RECONCILE_EVERY_ROUNDS == 0)
                indexer_reconcile(maintenance->indexer);
            atomic_store(&maintenance->leading, false);
        }
        arena_reset(&arena);
        if (!done)
            pause_ms(DECIDE_POLL_MS);
    }
    arena_destroy(&arena);
    return NULL;
}

int maintenance_start(const struct maintenance_options *options, struct maintenance **maintenance,
                      struct error *error)
{
    struct maintenance *fresh = calloc(1, sizeof(*fresh));

    if (!fresh)
        abort();
    fresh->registry = options->registry;
    fresh->indexer = options->indexer;
    fresh->metrics = options->metrics;
    fresh->io = options->io;
    fresh->flush_alive_ns = options->flush_alive_ns;
    if (thread_start(&fresh->flush_thread, "flush", flush_loop, fresh) != 0) {
        free(fresh);
        return error_set(error, ERROR_MEMORY, "cannot start the flush thread");
    }
    while (fresh->job_count < options->job_count && fresh->job_count < JOB_THREADS_MAX) {
        if (thread_start(&fresh->job_threads[fresh->job_count], "compact", job_loop, fresh) != 0) {
            maintenance_stop(fresh);
            return error_set(error, ERROR_MEMORY, "cannot start a compaction thread");
        }
        fresh->job_count++;
    }
    *maintenance = fresh;
    return 0;
}

void maintenance_stop(struct maintenance *maintenance)
{
    if (!maintenance)
        return;
    maintenance->stopping = true;
    pthread_join(maintenance->flush_thread, NULL);
    for (uint32_t i = 0; i < maintenance->job_count; i++)
        pthread_join(maintenance->job_threads[i], NULL);
    free(maintenance);
}
