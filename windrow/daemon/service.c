#include "windrow/daemon/service.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "base/version.h"
#include "cluster/cluster.h"
#include "store/append.h"
#include "store/registry.h"
#include "store/store.h"
#include "windrow/daemon/administration.h"
#include "windrow/daemon/log_control.h"
#include "windrow/daemon/status.h"
#include "windrow/daemon/telemetry.h"
#include "windrow/daemon/trace_export.h"

static int shard_opened(void *context, struct store_shard *shard, struct error *error)
{
    struct service *service = context;

    safe_clock_raise(service->clock, store_shard_clock(shard).safe_wall_ms);
    /* Shards found on disk at start are opened before the indexer runs; it is told about them then.
     */
    return service->indexer ? indexer_shard_opened(service->indexer, shard, error) : 0;
}

static int open_store(struct service *service, struct error *error)
{
    const struct config *config = service->config;
    const struct store_options options = {
        .data_dir = config->data_dir,
        .memory_max_bytes = config->memory_max_bytes,
        .memtable_max_bytes = config->memtable_max_bytes,
        .merge_threads = config->max_background_jobs,
        .io = service->io,
        .metrics = service->metrics,
    };

    if (store_open(&options, &service->store, error) != 0)
        return error->code;
    service->registry = store_registry_new(
        &(struct store_registry_options){.store = service->store,
                                         .level0_files_max = TWCS_LEVEL0_FILES_MAX,
                                         .opened = shard_opened,
                                         .opened_context = service,
                                         .expects_shards = true,
                                         .owns_none = (service->roles & CONFIG_ROLE_INGEST) == 0});
    collections_listen(service->collections);
    store_metrics_register(service);
    process_metrics_register(service);
    return 0;
}

static int start_indexer(struct service *service, struct error *error)
{
    struct indexer_options options = {
        .config = service->config,
        .registry = service->registry,
        .writer = writer_rest(service->writer),
        .collections = service->shared ? shared_collections_rest(service->shared)
                                       : collections_rest(service->collections),
        .metrics = service->metrics,
        .io = service->io,
        .roles = service->roles,
    };
    struct indexer *indexer;

    service->describer = status_describer(service);
    options.describer = &service->describer;
    service->http = http_server_new(&(struct http_options){
        .config = service->config, .metrics = service->metrics, .io = service->io});
    administration_add_routes(service, service->http);
    options.http = service->http;
    /* HTTP answers from here on: /livez at once, /readyz once the shards are open and caught up. */
    if (indexer_start(&options, &indexer, error) != 0)
        return error->code;
    atomic_store(&service->indexer, indexer);
    return 0;
}

/* Nothing expires, drops or judges before all shards have told where their clocks stood. */
static int open_shards(struct service *service, bool trust_clock, struct error *error)
{
    int code = 0;

    /* A builder for other machines owns nothing. */
    if ((service->roles & CONFIG_ROLE_INGEST) != 0)
        code = store_registry_open_existing(service->registry, service->config, error);
    if (code == 0)
        clock_watch_begin(service, trust_clock);
    return code;
}

static void window_sealed(void *context, struct store_shard *shard,
                          const struct store_window_info *window)
{
    struct service *service = context;

    indexer_window_sealed(service->indexer, shard, window);
}

static bool reconcile(void *context)
{
    struct service *service = context;

    return indexer_reconcile(service->indexer);
}

static int start_compaction(struct service *service, struct error *error)
{
    struct compaction_scheduler *scheduler;
    const struct compaction_scheduler_options options = {
        .store = service->store,
        .registry = service->registry,
        .metrics = service->metrics,
        .io = service->io,
        .job_count = service->config->max_background_jobs,
        .on_sealed = window_sealed,
        .reconcile = reconcile,
        .context = service,
    };

    if (compaction_scheduler_start(&options, &scheduler, error) != 0)
        return error->code;
    atomic_store(&service->scheduler, scheduler);
    return 0;
}

static void partition_left(void *context, const struct config_collection *collection,
                           const char *shard, bool lost)
{
    struct service *service = context;

    (void)collection;
    (void)shard;
    if (lost)
        atomic_store(&service->unclaimed_closed, false);
}

static void ingest_alive(void *context)
{
    struct service *service = context;

    atomic_store(&service->ingest_alive_ns, io_monotonic_ns(service->io));
}

static void buried(void *context, const struct ingest_bad_record *record)
{
    struct service *service = context;

    bad_records_add(service->bad_records, record, io_wall_ms(service->wall));
}

/* A node that holds no shards and one that is alone have nobody to copy from. */
static int64_t fetch_worth(void *context, const struct config_collection *collection,
                           const char *shard, int64_t next_offset)
{
    struct service *service = context;
    struct cluster *cluster = indexer_cluster(service->indexer);

    return cluster ? cluster_fetch_worth(cluster, collection->name, shard, next_offset) : -1;
}

static int fetch(void *context, const struct config_collection *collection, const char *shard,
                 int64_t next_offset, const atomic_bool *cancel, char *folder, struct error *error)
{
    struct service *service = context;
    const struct cluster_fetch wanted = {
        .collection = collection, .shard = shard, .next_offset = next_offset, .cancel = cancel};

    return cluster_fetch_shard(indexer_cluster(service->indexer), &wanted, folder, error);
}

static int start_ingest(struct service *service, struct error *error)
{
    struct ingest *ingest;
    struct ingest_options options = {
        .config = service->config,
        .registry = service->registry,
        .host = {.context = service,
                 .partition_left = partition_left,
                 .buried = buried,
                 .fetch_worth = fetch_worth,
                 .fetch = fetch,
                 .alive = ingest_alive},
        .metrics = service->metrics,
        .io = service->io,
        .wall = service->wall,
    };

    if (ingest_start(&options, &ingest, error) != 0)
        return error->code;
    atomic_store(&service->ingest, ingest);
    return 0;
}

static void set_build_info(struct metrics *metrics)
{
    struct metric_label labels[] = {{"version", WINDROW_VERSION}};

    metric_set(metrics_gauge(metrics, "windrow_build_info", "Version of this process, always 1",
                             labels, 1),
               1);
}

int service_start(const struct daemon_options *options, struct service **service,
                  struct error *error)
{
    struct service *fresh = memory_new(1, sizeof(*fresh));
    int code;

    fresh->config = options->config;
    log_control_apply(fresh->config);
    fresh->roles = options->roles;
    fresh->wall = options->wall ? options->wall : io_posix();
    fresh->clock = safe_clock_new(fresh->wall);
    fresh->io = safe_clock_io(fresh->clock);
    fresh->metrics = metrics_new();
    fresh->history = history_new();
    fresh->bad_records = bad_records_new();
    thread_budget_set(fresh->config->processors);
    pthread_mutex_init(&fresh->clock_watch.lock, NULL);
    drain_create(&fresh->drain);
    fresh->moved = moved_new(fresh);
    fresh->start_ns = io_monotonic_ns(fresh->io);
    atomic_store(&fresh->ingest_alive_ns, fresh->start_ns);
    fresh->writer = writer_new(fresh->config, fresh->metrics);
    fresh->collections = collections_new(fresh);
    fresh->shared = shared_collections_new(fresh);
    set_build_info(fresh->metrics);

    code = trace_export_start(fresh->config, fresh->metrics, &fresh->traces, error);
    if (code == 0)
        code = open_store(fresh, error);
    if (code == 0)
        code = start_indexer(fresh, error);
    if (code == 0)
        code = open_shards(fresh, options->trust_clock, error);
    if (code == 0)
        code = start_compaction(fresh, error);
    if (code == 0 && (fresh->roles & CONFIG_ROLE_INGEST) != 0)
        code = start_ingest(fresh, error);
    if (code == 0)
        code = shared_collections_start(fresh, fresh->shared, error);
    if (code != 0) {
        service_stop(fresh);
        return code;
    }
    *service = fresh;
    return 0;
}

/* Reading stops first and searches last, so that nobody is answered from a half closed store: the
 * consumer closes the shards it owns, which waits for the searches that hold them. */
void service_stop(struct service *service)
{
    struct ingest *ingest;

    writer_interrupt(service->writer); /* requests that wait for Kafka would hold up the rest */
    shared_collections_stop(service->shared);
    ingest = atomic_exchange(&service->ingest, NULL);
    if (service->indexer)
        indexer_stop_accepting(service->indexer);
    if (service->registry)
        store_registry_interrupt(service->registry);
    if (ingest)
        ingest_stop(ingest); /* its last groups may need a flush to get room */
    compaction_scheduler_stop(atomic_exchange(&service->scheduler, NULL));
    if (service->registry)
        store_registry_close_all(service->registry, true);
    if (service->indexer)
        indexer_stop(service->indexer);
    http_server_delete(service->http);
    trace_export_stop(service->traces);
    writer_delete(service->writer);
    if (service->registry)
        collections_unlisten(service->collections);
    shared_collections_delete(service->shared);
    collections_delete(service->collections);
    store_registry_delete(service->registry);
    if (service->store)
        store_close(service->store);
    metrics_delete(service->metrics);
    history_delete(service->history);
    bad_records_delete(service->bad_records);
    config_free(service->config);
    safe_clock_delete(service->clock);
    drain_destroy(&service->drain);
    moved_delete(service->moved);
    pthread_mutex_destroy(&service->clock_watch.lock);
    free(service);
}

/* A process without shards has nothing to catch up with. One that is there to ask others has to reach them. */
static bool reaches_others(struct service *service, char *why, size_t why_bytes)
{
    const struct indexer *indexer = atomic_load(&service->indexer);
    const struct cluster *cluster = indexer ? indexer_cluster(indexer) : NULL;

    if ((service->roles & CONFIG_ROLE_QUERY) == 0 || !cluster || cluster_reaches_others(cluster))
        return true;
    snprintf(why, why_bytes, "NATS does not answer; other nodes are not heard");
    return false;
}

bool service_ready(struct service *service, char *why, size_t why_bytes)
{
    struct ingest *ingest = atomic_load(&service->ingest);

    if ((service->roles & CONFIG_ROLE_INGEST) == 0)
        return reaches_others(service, why, why_bytes);
    if (!ingest) {
        snprintf(why, why_bytes, "starting or stopping");
        return false;
    }
    if (atomic_load(&service->drain.begun)) {
        snprintf(why, why_bytes, "its shards are handed over to other nodes");
        return false;
    }
    return ingest_ready(ingest, why, why_bytes);
}

static bool recent(struct service *service, int64_t alive_ns)
{
    int64_t age_ns = io_monotonic_ns(service->io) - alive_ns;

    return age_ns < (int64_t)SERVICE_LOOP_TIMEOUT_MS * 1000000;
}

bool service_alive(struct service *service)
{
    struct compaction_scheduler *scheduler = atomic_load(&service->scheduler);

    return recent(service,
                  scheduler ? compaction_scheduler_alive_ns(scheduler) : service->start_ns) &&
           ((service->roles & CONFIG_ROLE_INGEST) == 0 ||
            recent(service, atomic_load(&service->ingest_alive_ns)));
}

static bool settled(struct service *service)
{
    struct ingest *ingest = atomic_load(&service->ingest);

    return !ingest || ingest_settled(ingest);
}

void service_tick(struct service *service)
{
    char why[256];

    clock_watch_tick(service);
    drain_tick(service);
    moved_tick(service->moved);
    history_tick(service->history, service);
    if (!atomic_load(&service->unclaimed_closed) && settled(service) &&
        service_ready(service, why, sizeof(why))) {
        atomic_store(&service->unclaimed_closed, true);
        store_registry_close_unclaimed(service->registry);
        log_info("windrow", "%s",
                 service->roles & CONFIG_ROLE_INGEST ? "caught up with Kafka"
                                                     : "builds segments for other machines");
    }
}
