/* The byte cap of a collection: over it, the oldest window goes, whichever shard has it. */
#include <stdlib.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/text.h"
#include "store/append.h"
#include "store/compaction.h"
#include "store/lease.h"
#include "store/store.h"
#include "twcs/compaction/compaction_internal.h"

enum { WINDOWS_MAX = 16384 };

struct capped_windows {
    struct twcs_fifo_window *windows;
    struct store_window_info *infos;
    size_t *owners; /* the lease of each window */
    size_t count;
    uint64_t total_bytes;
};

static void add_shard(struct capped_windows *all, size_t owner, const struct compaction_view *view)
{
    all->total_bytes += view->info.total_bytes;
    for (size_t i = 0; i < view->info.window_count && all->count < WINDOWS_MAX; i++) {
        const struct store_window_info *info = &view->info.windows[i];
        bool expired = view->windows[i].max_expiry_ms <= view->clock.safe_wall_ms;
        all->windows[all->count] = (struct twcs_fifo_window){
            .end_ms = info->start_ms + info->length_ms,
            .bytes = info->total_bytes,
            /* Nobody sees its rows: it need not have been sealed, nor wait for the log. */
            .open = !info->sealed && !(expired && info->length_ms > 0),
            .busy = info->busy,
            .expired = expired,
        };
        all->infos[all->count] = *info;
        all->owners[all->count++] = owner;
    }
}

static enum byte_cap_outcome drop(struct store_shard *shard, const struct store_window_info *window,
                                  uint64_t total_bytes, uint64_t max_bytes)
{
    struct error error = {0};
    char start[TEXT_TIME_BYTES];

    logger_write_event(
        LOGGER_WARNING, "compaction", "byte_cap_drop",
        "%s holds %llu bytes, more than max_bytes (%llu): dropping its oldest window %s (shard %s)",
        store_shard_collection(shard), (unsigned long long)total_bytes,
        (unsigned long long)max_bytes, text_format_time(window->start_ms, start),
        store_shard_name(shard));
    if (store_shard_drop(shard, window->start_ms, window->length_ms, "fifo", &error) == 0)
        return BYTE_CAP_DROPPED;
    log_error("compaction", "%s", error.text);
    return BYTE_CAP_FAILED;
}

/* Only if all its rows are still expired: a record that lives may have come meanwhile. Then the cap
 * looks again. */
static enum byte_cap_outcome drop_expired(struct store_shard *shard,
                                          const struct store_window_info *window, int64_t now_ms)
{
    struct error error = {0};
    int code = store_shard_drop_expired(shard, window->start_ms, window->length_ms, now_ms, &error);

    if (code == 0)
        return BYTE_CAP_DROPPED;
    if (code == ERROR_BUSY)
        return BYTE_CAP_STARVED;
    log_error("compaction", "%s", error.text);
    return BYTE_CAP_FAILED;
}

static void set_starved(const struct config_collection *collection,
                        const struct store_lease *leases, size_t count, uint64_t total_bytes,
                        bool starved)
{
    bool was_starved = false;

    for (size_t i = 0; i < count; i++)
        was_starved |= store_shard_set_over_cap(leases[i].shard, starved);
    if (starved != was_starved)
        logger_write_event(
            LOGGER_WARNING, "compaction", "byte_cap", "%s holds %llu bytes, max_bytes is %llu: %s",
            collection->name, (unsigned long long)total_bytes,
            (unsigned long long)collection->max_bytes,
            starved ? "no window may be dropped, ingestion waits" : "ingestion continues");
}

enum byte_cap_outcome byte_cap_enforce(const struct compaction_scheduler_options *options,
                                       const struct config_collection *collection,
                                       struct arena *arena)
{
    const struct twcs_policy policy = compaction_policy(collection);
    struct capped_windows all = {
        .windows = memory_checked(arena_calloc(arena, WINDOWS_MAX, sizeof(*all.windows))),
        .infos = memory_checked(arena_calloc(arena, WINDOWS_MAX, sizeof(*all.infos))),
        .owners = memory_checked(arena_calloc(arena, WINDOWS_MAX, sizeof(*all.owners)))};
    enum byte_cap_outcome outcome = BYTE_CAP_KEPT;
    struct store_lease *leases;
    size_t count = store_registry_acquire(options->registry, collection->name, arena, &leases);
    /* The safe clock of each lease's shard. */
    int64_t *safe_ms = memory_checked(arena_calloc(arena, count + 1, sizeof(*safe_ms)));
    bool starved = false;
    size_t pick;

    for (size_t i = 0; i < count; i++) {
        struct compaction_view view;
        compaction_describe(leases[i].shard, collection, io_wall_ms(options->io), arena, &view);
        add_shard(&all, i, &view);
        safe_ms[i] = view.clock.safe_wall_ms;
    }
    pick = twcs_fifo_pick(&policy, all.windows, all.count, all.total_bytes, &starved);
    if (pick != SIZE_MAX && all.windows[pick].expired)
        outcome = drop_expired(leases[all.owners[pick]].shard, &all.infos[pick],
                               safe_ms[all.owners[pick]]);
    else if (pick != SIZE_MAX)
        outcome = drop(leases[all.owners[pick]].shard, &all.infos[pick], all.total_bytes,
                       policy.max_bytes);
    else if (starved)
        outcome = BYTE_CAP_STARVED;
    set_starved(collection, leases, count, all.total_bytes, starved);
    for (size_t i = 0; i < count; i++)
        store_registry_release(options->registry, &leases[i]);
    return outcome;
}
