#include "windrow/daemon/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/service.h"

static struct doc text_or_null(struct arena *arena, const char *text)
{
    return text && *text ? doc_string(arena, text) : doc_null();
}

static struct doc u64_doc(uint64_t value)
{
    return doc_integer((int64_t)value);
}

static struct doc segment_doc(struct arena *arena, const struct store_segment_info *segment)
{
    struct doc map;

    if (segment->file_number == 0)
        return doc_null();
    map = doc_map(arena, 3);
    doc_put(&map, "kind", doc_string(arena, segment_kind_name(segment->kind)));
    doc_put(&map, "bytes", u64_doc(segment->bytes));
    doc_put(&map, "recall", segment->recall < 0 ? doc_null() : doc_number(segment->recall));
    return map;
}

static struct doc window_doc(struct arena *arena, const struct compaction_view *view, size_t i)
{
    const struct store_window_info *window = &view->info.windows[i];
    struct doc map = doc_map(arena, 8);

    doc_put(&map, "start_ms", doc_integer(window->start_ms));
    doc_put(&map, "end_ms", doc_integer(window->start_ms + window->length_ms));
    doc_put(&map, "state", doc_string(arena, store_window_state(window)));
    doc_put(&map, "rows", u64_doc(window->live_rows));
    doc_put(&map, "bytes", u64_doc(window->total_bytes));
    doc_put(&map, "generation", u64_doc(window->generation));
    doc_put(&map, "segment", segment_doc(arena, &window->run.segment));
    doc_put(&map, "drop_blocked_by",
            text_or_null(arena, twcs_drop_blocker(&view->policy, &view->clock, &view->windows[i])));
    return map;
}

static const struct ingest_partition_status *partition_of(
    const struct ingest_partition_status *partitions, size_t count, struct store_shard *shard)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(partitions[i].collection, store_shard_collection(shard)) == 0 &&
            strcmp(partitions[i].shard, store_shard_name(shard)) == 0)
            return &partitions[i];
    }
    return NULL;
}

static void put_partition(struct doc *map, const struct ingest_partition_status *partition,
                          struct store_shard *shard, struct arena *arena)
{
    const char *stopped = store_shard_stopped(shard);
    struct doc none = doc_null();

    if (partition && partition->stopped[0])
        stopped = partition->stopped;
    doc_put(map, "topic", partition ? doc_string(arena, partition->topic) : none);
    doc_put(map, "partition", partition ? doc_integer(partition->partition) : none);
    doc_put(map, "begin_offset", partition ? doc_integer(partition->begin_offset) : none);
    doc_put(map, "end_offset", partition ? doc_integer(partition->end_offset) : none);
    doc_put(map, "lag_records", partition ? doc_integer(partition->lag_records) : none);
    doc_put(map, "last_timestamp_ms", partition ? doc_integer(partition->last_timestamp_ms) : none);
    doc_put(map, "paused", partition ? doc_bool(partition->paused) : none);
    doc_put(map, "stopped", text_or_null(arena, stopped));
    doc_put(map, "waiting", text_or_null(arena, partition ? partition->waiting : NULL));
}

static struct doc shard_doc(struct service *service, struct store_lease *lease,
                            const struct ingest_partition_status *partition, struct arena *arena)
{
    const struct config_collection *collection = store_lease_collection(lease);
    struct doc map = doc_map(arena, 18);
    struct compaction_view view;
    struct doc windows = {.type = DOC_ARRAY};
    struct doc *items;

    compaction_describe(lease->shard, collection, io_wall_ms(service->io), arena, &view);
    doc_put(&map, "shard", doc_string(arena, store_shard_name(lease->shard)));
    doc_put(&map, "next_offset", doc_integer(view.info.next_offset));
    put_partition(&map, partition, lease->shard, arena);
    doc_put(&map, "watermark_ms",
            view.info.clock.watermark_ms == TWCS_NO_TIME
                ? doc_null()
                : doc_integer(view.info.clock.watermark_ms));
    doc_put(&map, "damage", text_or_null(arena, store_shard_damage(lease->shard)));
    doc_put(&map, "memtable_bytes", u64_doc(view.info.memtable_bytes));
    doc_put(&map, "log_bytes", u64_doc(view.info.log_bytes));
    doc_put(&map, "total_bytes", u64_doc(view.info.total_bytes));
    items = doc_items(arena, (uint32_t)view.info.window_count);
    for (size_t i = 0; i < view.info.window_count; i++)
        items[i] = window_doc(arena, &view, i);
    windows.items = items;
    windows.count = (uint32_t)view.info.window_count;
    doc_put(&map, "windows", windows);
    return map;
}

/* The partitions that this process does not serve; null while it is not known which there are. */
static struct doc missing_doc(struct arena *arena, const struct store_coverage *coverage)
{
    struct doc *items = doc_items(arena, (uint32_t)coverage->missing_count);

    if (!coverage->known)
        return doc_null();
    for (size_t i = 0; i < coverage->missing_count; i++)
        items[i] = doc_string(arena, coverage->missing[i]);
    return (struct doc){
        .type = DOC_ARRAY, .count = (uint32_t)coverage->missing_count, .items = items};
}

static struct doc collection_doc(struct service *service,
                                 const struct config_collection *collection,
                                 const struct ingest_partition_status *partitions,
                                 size_t partition_count, struct arena *arena)
{
    struct doc map = doc_map(arena, 10);
    struct ingest *ingest = atomic_load(&service->ingest);
    struct store_coverage coverage;
    struct store_lease *leases;
    size_t count = store_registry_acquire_covered(service->registry, collection->name, arena,
                                                  &leases, &coverage);
    struct doc *items = doc_items(arena, (uint32_t)count);

    for (size_t i = 0; i < count; i++) {
        items[i] = shard_doc(service, &leases[i],
                             partition_of(partitions, partition_count, leases[i].shard), arena);
        store_registry_release(service->registry, &leases[i]);
    }
    doc_put(&map, "name", doc_string(arena, collection->name));
    doc_put(&map, "dim", doc_integer(collection->dim));
    doc_put(&map, "metric", doc_string(arena, vector_metric_name(collection->metric)));
    doc_put(&map, "window_ms", doc_integer(collection->window_ms));
    doc_put(&map, "paused", doc_bool(ingest && ingest_paused(ingest, collection->name)));
    doc_put(&map, "ttl_ms", doc_integer(collection->ttl_ms));
    doc_put(&map, "partial", doc_bool(!store_coverage_whole(&coverage)));
    doc_put(&map, "missing", missing_doc(arena, &coverage));
    doc_put(&map, "shards",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items});
    return map;
}

static struct doc clock_doc(struct service *service, struct arena *arena)
{
    struct doc map = doc_map(arena, 4);
    int64_t safe_ms, wall_ms;
    bool frozen = safe_clock_frozen(service->clock, &safe_ms, &wall_ms);
    char advice[512];

    doc_put(&map, "safe_ms", doc_integer(safe_ms));
    doc_put(&map, "wall_ms", doc_integer(wall_ms));
    doc_put(&map, "stands", doc_bool(frozen));
    doc_put(&map, "advice",
            clock_watch_advice(service, advice, sizeof(advice)) ? doc_string(arena, advice)
                                                                : doc_null());
    return map;
}

void status_build(struct service *service, struct arena *arena, struct doc *out)
{
    const struct config *config = service->config;
    struct doc map = doc_map(arena, 8);
    struct ingest *ingest = atomic_load(&service->ingest);
    struct ingest_partition_status *partitions = NULL;
    size_t partition_count = ingest ? ingest_status(ingest, arena, &partitions) : 0;
    struct doc *items = doc_items(arena, (uint32_t)config->collection_count);
    char why[256] = "";
    bool ready = service_ready(service, why, sizeof(why));

    for (size_t i = 0; i < config->collection_count; i++)
        items[i] =
            collection_doc(service, &config->collections[i], partitions, partition_count, arena);
    doc_put(&map, "node", doc_string(arena, config->node));
    doc_put(&map, "version", doc_string(arena, WINDROW_VERSION));
    doc_put(&map, "uptime_seconds",
            doc_integer((io_monotonic_ns(service->io) - service->start_ns) / 1000000000));
    doc_put(&map, "ready", doc_bool(ready));
    doc_put(&map, "why", ready ? doc_null() : text_or_null(arena, why));
    doc_put(&map, "clock", clock_doc(service, arena));
    if (service->indexer) {
        struct doc workers;
        indexer_status(service->indexer, arena, &workers);
        doc_put(&map, "workers", workers);
    }
    doc_put(&map, "collections",
            (struct doc){
                .type = DOC_ARRAY, .count = (uint32_t)config->collection_count, .items = items});
    *out = map;
}

static const char *const states[] = {"open", "sealing", "sealed", "indexed"};

enum { STATE_COUNT = sizeof(states) / sizeof(states[0]) };

static void count_shard(struct store_shard *shard, struct arena *arena,
                        unsigned counts[STATE_COUNT])
{
    struct store_shard_info info;

    store_shard_describe(shard, arena, &info);
    for (size_t i = 0; i < info.window_count; i++) {
        const char *state = store_window_state(&info.windows[i]);
        for (size_t k = 0; k < STATE_COUNT; k++)
            counts[k] += strcmp(states[k], state) == 0;
    }
}

static void count_collection(struct service *service, const struct config_collection *collection)
{
    unsigned counts[STATE_COUNT] = {0};
    struct store_lease *leases;
    struct arena arena;
    size_t count;

    arena_create(&arena, 0);
    count = store_registry_acquire(service->registry, collection->name, &arena, &leases);
    for (size_t i = 0; i < count; i++) {
        count_shard(leases[i].shard, &arena, counts);
        store_registry_release(service->registry, &leases[i]);
    }
    arena_destroy(&arena);
    for (size_t k = 0; k < STATE_COUNT; k++) {
        struct metric_label labels[] = {{"collection", collection->name}, {"state", states[k]}};
        metric_set(
            metrics_gauge(service->metrics, "windrow_windows", "Windows by state", labels, 2),
            counts[k]);
    }
}

static void refresh_window_counts(void *context)
{
    struct service *service = context;

    for (size_t i = 0; i < service->config->collection_count; i++)
        count_collection(service, &service->config->collections[i]);
}

void status_register_metrics(struct service *service)
{
    metrics_on_render(service->metrics, refresh_window_counts, service);
}
