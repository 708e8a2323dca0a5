#include "windrow/daemon/status.h"

#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "cluster/cluster.h"
#include "ingest/ingest.h"
#include "store/append.h"
#include "store/lease.h"
#include "store/store.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/builds.h"
#include "windrow/daemon/clock_watch.h"
#include "windrow/daemon/health.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/safe_clock.h"

static struct doc text_or_null(struct arena *arena, const char *text)
{
    return text && *text ? doc_string(arena, text) : doc_null();
}

static struct doc u64_doc(uint64_t value)
{
    return doc_integer((int64_t)value);
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

static void add_shard(struct service *service, struct query_described *described,
                      const struct ingest_partition_status *partition, struct arena *arena)
{
    const struct store_lease *lease = described->lease;
    const struct store_shard_info *info = &described->info;
    struct doc *map = &described->shard;
    struct compaction_view view = {.info = *info};

    compaction_view_complete(&view, store_lease_collection(lease), io_wall_ms(service->io), arena);
    doc_put(map, "next_offset", doc_integer(info->next_offset));
    put_partition(map, partition, lease->shard, arena);
    doc_put(map, "watermark_ms",
            info->clock.watermark_ms == TWCS_NO_TIME ? doc_null()
                                                     : doc_integer(info->clock.watermark_ms));
    doc_put(map, "damage", text_or_null(arena, store_shard_damage(lease->shard)));
    doc_put(map, "memtable_bytes", u64_doc(info->memtable_bytes));
    doc_put(map, "log_bytes", u64_doc(info->log_bytes));
    doc_put(map, "total_bytes", u64_doc(info->total_bytes));
    for (size_t i = 0; i < info->window_count; i++)
        doc_put(
            &described->windows[i], "drop_blocked_by",
            text_or_null(arena, twcs_drop_blocker(&view.policy, &view.clock, &view.windows[i])));
}

/* What the policy of time and Kafka say of shards of this process. */
static void add_shards(void *context, struct query_described *shards, size_t count,
                       struct arena *arena)
{
    struct service *service = context;
    struct ingest *ingest = atomic_load(&service->ingest);
    struct ingest_partition_status *partitions = NULL;
    size_t partition_count = ingest ? ingest_status(ingest, arena, &partitions) : 0;

    for (size_t i = 0; i < count; i++)
        add_shard(service, &shards[i],
                  partition_of(partitions, partition_count, shards[i].lease->shard), arena);
}

static bool status_why_scanned(void *context, struct store_shard *shard,
                               const struct store_window_info *window, char *why, size_t why_bytes)
{
    const struct builds *builds = service_builds(context);

    return builds && builds_why_scanned(builds, shard, window, why, why_bytes);
}

struct query_describer status_describer(struct service *service)
{
    return (struct query_describer){
        .context = service, .add = add_shards, .why_scanned = status_why_scanned};
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

/* The shards of all nodes. Puts "partial", "missing" and "shards". What peers do not tell in the
 * request's time counts as missing: a report comes without it rather than not at all. */
static void put_shards(struct service *service, const struct config_collection *collection,
                       const struct status_request *request, struct arena *arena, struct doc *map)
{
    struct cluster *cluster = service_cluster(service);
    struct query_view_options options = {
        .collection = collection,
        .registry = service->registry,
        .io = service->io,
        .stop = request->stop,
        .pool = request->pool,
        .describer = &service->describer,
        .peers = cluster && !request->local ? cluster_peers(cluster) : NULL};
    struct query_shard_doc *shards = NULL;
    struct query_view *view = NULL;
    struct store_coverage coverage;
    struct error error = {0};
    struct doc *items;
    size_t count = 0;

    store_registry_coverage(service->registry, collection->name, arena, &coverage);
    if (query_view_open(&options, &view, &error) == 0 &&
        query_describe(view, arena, &shards, &count, &error) == 0)
        coverage = *query_view_coverage(view);
    else
        count = 0;
    items = doc_items(arena, (uint32_t)count);
    for (size_t i = 0; i < count; i++) {
        items[i] = doc_map(arena, shards[i].doc.count + 1);
        doc_put(&items[i], "node",
                doc_string(arena, shards[i].node ? shards[i].node : service->config->node));
        doc_merge(&items[i], &shards[i].doc);
    }
    doc_put(map, "partial", doc_bool(error.code != 0 || !store_coverage_whole(&coverage)));
    doc_put(map, "missing", missing_doc(arena, &coverage));
    doc_put(map, "shards",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items});
    query_view_close(view);
}

/* Whether queries may bring words. */
static struct doc embedder_doc(const struct config_collection *collection, struct arena *arena)
{
    struct doc map = doc_map(arena, 1);

    if (!collection->embedder_url)
        return doc_null();
    doc_put(&map, "model", doc_text(arena, collection->embedder_model));
    return map;
}

static struct doc collection_doc(struct service *service,
                                 const struct config_collection *collection,
                                 const struct status_request *request, struct arena *arena)
{
    struct ingest *ingest = atomic_load(&service->ingest);
    struct doc map = doc_map(arena, 12);

    doc_put(&map, "name", doc_string(arena, collection->name));
    doc_put(&map, "refused", doc_text(arena, collection->refused));
    doc_put(&map, "dim", doc_integer(collection->dim));
    if (collection->vector_name)
        doc_put(&map, "vector_name", doc_string(arena, collection->vector_name));
    doc_put(&map, "metric", doc_string(arena, vector_metric_name(collection->metric)));
    doc_put(&map, "window_ms", doc_integer(collection->window_ms));
    doc_put(&map, "paused", doc_bool(ingest && ingest_paused(ingest, collection->name)));
    doc_put(&map, "ttl_ms", doc_integer(collection->ttl_ms));
    doc_put(&map, "embedder", embedder_doc(collection, arena));
    put_shards(service, collection, request, arena, &map);
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

void status_build(struct service *service, const struct status_request *request,
                  struct arena *arena, struct doc *out)
{
    const struct config *config = service->config;
    struct doc map = doc_map(arena, 9);
    const size_t all = config->collection_count;
    struct doc *items = doc_items(arena, (uint32_t)all);
    uint32_t count = 0;
    char why[256] = "";
    bool ready = health_ready(service, why, sizeof(why));

    for (size_t i = 0; i < all; i++)
        if (!config->collections[i].removed)
            items[count++] = collection_doc(service, &config->collections[i], request, arena);
    doc_put(&map, "node", doc_string(arena, config->node));
    doc_put(&map, "version", doc_string(arena, WINDROW_VERSION));
    doc_put(&map, "cluster", doc_text(arena, config->cluster_name));
    doc_put(&map, "uptime_seconds",
            doc_integer((io_monotonic_ns(service->io) - service->start_ns) / 1000000000));
    doc_put(&map, "ready", doc_bool(ready));
    doc_put(&map, "why", ready ? doc_null() : text_or_null(arena, why));
    doc_put(&map, "clock", clock_doc(service, arena));
    if (service_builds(service)) {
        struct doc workers;
        builds_status(service_builds(service), arena, &workers);
        doc_put(&map, "workers", workers);
    }
    doc_put(&map, "collections", (struct doc){.type = DOC_ARRAY, .count = count, .items = items});
    *out = map;
}
