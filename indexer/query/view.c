/* Views: leases and snapshots of all shards of a collection. */
#include "indexer/query/view.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "base/logger.h"
#include "base/memory.h"

enum { DEFAULT_TIMEOUT_MS = 30000 };

/* Takes what is open right now. Leases and snapshots live in the view's arena. */
static void view_take(struct query_view *view)
{
    struct store_lease *leases = NULL;

    view->now_ms = io_wall_ms(view->io);
    view->shard_count = store_registry_acquire_covered(view->registry, view->collection->name,
                                                       &view->arena, &leases, &view->coverage);
    view->shards = arena_calloc(&view->arena, view->shard_count + 1, sizeof(*view->shards));
    view->freshness = arena_calloc(&view->arena, view->shard_count + 1, sizeof(*view->freshness));
    for (size_t i = 0; i < view->shard_count; i++) {
        struct view_shard *shard = &view->shards[i];
        shard->lease = &leases[i];
        shard->name = store_shard_name(leases[i].shard);
        shard->snapshot = store_snapshot_acquire(leases[i].shard, view->now_ms);
        assert(shard->snapshot);
        shard->sources = store_snapshot_sources(shard->snapshot, &shard->source_count);
        view->freshness[i] = (struct query_shard_freshness){
            .shard = shard->name,
            .next_offset = store_snapshot_next_offset(shard->snapshot),
            .watermark_ms = store_snapshot_watermark_ms(shard->snapshot)};
    }
}

static void view_give_back(struct query_view *view)
{
    for (size_t i = 0; i < view->shard_count; i++) {
        store_snapshot_release(view->shards[i].snapshot);
        store_registry_release(view->registry, view->shards[i].lease);
    }
    view->shard_count = 0;
    arena_reset(&view->arena);
}

static int64_t timeout_of(const struct query_view_options *options)
{
    int64_t most_ms = INT64_MAX / 4 / 1000000;

    if (options->timeout_ms <= 0)
        return DEFAULT_TIMEOUT_MS;
    return options->timeout_ms < most_ms ? options->timeout_ms : most_ms;
}

/* One offset after the other: the view that is taken then sees them all, since offsets only grow.
 * Nothing is held meanwhile: a lease would keep a shard open that has to move. */
static int wait_for_offsets(const struct query_view *view, const struct query_view_options *options,
                            struct error *error)
{
    for (size_t i = 0; i < options->min_offset_count; i++) {
        const struct query_min_offset *wanted = &options->min_offsets[i];
        int code = store_registry_wait_visible(view->registry, view->collection->name,
                                               wanted->shard, wanted->offset, view->deadline_ns,
                                               options->cancelled, error);
        if (code == ERROR_CANCELLED)
            return error_set(error, code, "the service is stopping");
        if (code == ERROR_TIMEOUT)
            return error_set(
                error, code, "offset %lld of partition %s was not searchable within %lld ms",
                (long long)wanted->offset, wanted->shard, (long long)timeout_of(options));
        if (code != 0)
            return code;
    }
    return 0;
}

/* A shard may close between the wait and the snapshot: then its offset is waited for again. */
static bool sees_offsets(const struct query_view *view, const struct query_view_options *options)
{
    for (size_t i = 0; i < options->min_offset_count; i++) {
        const struct query_min_offset *wanted = &options->min_offsets[i];
        bool there = false;
        for (size_t j = 0; j < view->shard_count && !there; j++)
            there = strcmp(view->freshness[j].shard, wanted->shard) == 0 &&
                    view->freshness[j].next_offset > wanted->offset;
        if (!there)
            return false;
    }
    return true;
}

/* An error has room for a few names only. */
static void join_names(const struct store_coverage *coverage, char *out, size_t out_bytes)
{
    enum { NAMED_MAX = 4 };
    int used = 0;

    out[0] = '\0';
    for (size_t i = 0; i < coverage->missing_count && i < NAMED_MAX; i++)
        used += snprintf(out + used, out_bytes - (size_t)used, "%s%.60s", i > 0 ? ", " : "",
                         coverage->missing[i]);
    if (coverage->missing_count > NAMED_MAX)
        (void)snprintf(out + used, out_bytes - (size_t)used, " and %zu more",
                       coverage->missing_count - NAMED_MAX);
}

static int check_coverage(const struct query_view *view, bool whole, struct error *error)
{
    const char *collection = view->collection->name;
    char names[320];

    if (view->coverage.elsewhere)
        return error_set(error, ERROR_UNAVAILABLE,
                         "This process has no points of %s: it runs without the ingest role. Ask a "
                         "process that has it",
                         collection);
    if (!whole || query_view_whole(view))
        return 0;
    if (!view->coverage.known)
        return error_set(error, ERROR_UNAVAILABLE,
                         "Not complete: it is not known yet which partitions %s has, because no "
                         "Kafka broker has answered",
                         collection);
    join_names(&view->coverage, names, sizeof(names));
    return error_set(error, ERROR_UNAVAILABLE, "Not complete: this process does not serve %s of %s",
                     names, collection);
}

int query_view_open(const struct query_view_options *options, struct query_view **view,
                    struct error *error)
{
    struct query_view *fresh = memory_new(1, sizeof(*fresh));

    arena_create(&fresh->arena, 0);
    fresh->io = options->io ? options->io : io_posix();
    fresh->collection = options->collection;
    fresh->registry = options->registry;
    fresh->pool = options->pool;
    fresh->shared_work_min = options->shared_work_min;
    fresh->deadline_ns = io_monotonic_ns(fresh->io) + timeout_of(options) * 1000000;
    view_take(fresh);
    while (!sees_offsets(fresh, options)) {
        view_give_back(fresh);
        if (wait_for_offsets(fresh, options, error) != 0) {
            query_view_close(fresh);
            return error->code;
        }
        view_take(fresh);
    }
    if (check_coverage(fresh, options->whole, error) != 0) {
        query_view_close(fresh);
        return ERROR_UNAVAILABLE;
    }
    *view = fresh;
    return 0;
}

void query_view_close(struct query_view *view)
{
    if (!view)
        return;
    view_give_back(view);
    arena_destroy(&view->arena);
    free(view);
}

const struct query_shard_freshness *query_view_freshness(const struct query_view *view,
                                                         size_t *count)
{
    *count = view->shard_count;
    return view->freshness;
}

const struct store_coverage *query_view_coverage(const struct query_view *view)
{
    return &view->coverage;
}

bool query_view_whole(const struct query_view *view)
{
    return store_coverage_whole(&view->coverage);
}

bool query_view_expired(const struct query_view *view)
{
    return io_monotonic_ns(view->io) > view->deadline_ns;
}

int query_view_check(const struct query_view *view, struct error *error)
{
    if (query_view_expired(view))
        return error_set(error, ERROR_TIMEOUT, "the request took longer than its timeout");
    for (size_t i = 0; i < view->shard_count; i++)
        if (atomic_load(view->shards[i].lease->closing))
            return error_set(error, ERROR_CANCELLED, "this process is closing partition %s",
                             view->shards[i].name);
    return 0;
}

struct query_row query_view_row(const struct query_view *view, size_t shard,
                                const struct store_source *source, uint32_t row)
{
    return (struct query_row){.snapshot = view->shards[shard].snapshot,
                              .source = source,
                              .row = row,
                              .shard = view->shards[shard].name,
                              .window_ms = view->collection->window_ms};
}

/* A damaged file is met again by every search until its window is rebuilt: one line is enough. The
 * table forgets by being overwritten, which only repeats a line. */
void query_view_report(const struct query_view *view, size_t shard,
                       const struct store_source *source, const struct error *error)
{
    enum { REMEMBERED = 256 };
    static _Atomic uint64_t reported[REMEMBERED];
    const char *shard_name = view->shards[shard].name, *collection = view->collection->name;
    uint64_t name = XXH3_64bits_withSeed(
        collection, strlen(collection),
        XXH3_64bits_withSeed(shard_name, strlen(shard_name), source->file_number));
    uint64_t former =
        atomic_exchange_explicit(&reported[(name >> 32) % REMEMBERED], name, memory_order_relaxed);
    if (former != name)
        log_error("query",
                  "excluded from searches: collection=%s shard=%s file=%llu window=%lld: %s",
                  view->collection->name, view->shards[shard].name,
                  (unsigned long long)source->file_number, (long long)source->window_start_ms,
                  error->text);
}
