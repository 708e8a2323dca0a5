/* The one hand that wires the parts: what each of them gets, in which order they start and stop. */
#include "windrow/daemon/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "base/thread_pool.h"
#include "base/version.h"
#include "cluster/cluster.h"
#include "indexer/endpoint/embedder/embedder.h"
#include "indexer/endpoint/grpc/dialect.h"
#include "indexer/endpoint/pages/pages.h"
#include "indexer/endpoint/rest/rest.h"
#include "ingest/ingest.h"
#include "net/grpc/grpc.h"
#include "net/http/http.h"
#include "store/append.h"
#include "store/registry.h"
#include "store/settings.h"
#include "store/store.h"
#include "twcs/compaction/compaction.h"
#include "windrow/daemon/administration.h"
#include "windrow/daemon/bad_records.h"
#include "windrow/daemon/builds.h"
#include "windrow/daemon/clock_watch.h"
#include "windrow/daemon/collections.h"
#include "windrow/daemon/daemon.h"
#include "windrow/daemon/descriptors.h"
#include "windrow/daemon/drain.h"
#include "windrow/daemon/health.h"
#include "windrow/daemon/history.h"
#include "windrow/daemon/log_control.h"
#include "windrow/daemon/moved.h"
#include "windrow/daemon/parts.h"
#include "windrow/daemon/reload.h"
#include "windrow/daemon/safe_clock.h"
#include "windrow/daemon/shared_collections.h"
#include "windrow/daemon/status.h"
#include "windrow/daemon/telemetry.h"
#include "windrow/daemon/trace_export.h"
#include "windrow/daemon/writer.h"

static int shard_opened(void *context, struct store_shard *shard, struct error *error)
{
    struct service *service = context;

    safe_clock_raise(service->clock, store_shard_clock(shard).safe_wall_ms);
    return service_builds(service) ? builds_shard_opened(service->builds, shard, error) : 0;
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

/* The endpoint. */

static int start_builds(struct service *service, struct error *error)
{
    const struct builds_options options = {.config = service->config,
                                           .registry = service->registry,
                                           .metrics = service->metrics,
                                           .io = service->io,
                                           .roles = service->roles};

    return builds_start(&options, &service->builds, error);
}

static int open_cluster(struct service *service, struct error *error)
{
    const struct cluster_options options = {.config = service->config,
                                            .roles = service->roles,
                                            .registry = service->registry,
                                            .metrics = service->metrics,
                                            .io = service->io,
                                            .describer = &service->describer};

    return service->config->cluster_name ? cluster_open(&options, &service->cluster, error) : 0;
}

static void make_server(struct service *service)
{
    service->http = http_server_new(&(struct http_options){
        .config = service->config,
        .metrics = service->metrics,
        .io = service->io,
        .connections_max = descriptors_connections_max(service->descriptors_max)});
    service->embedder = embedder_new(service->config, service->metrics, service->io);
    service->rest = rest_new(&(struct rest_options){
        .config = service->config,
        .embedder = service->embedder,
        .registry = service->registry,
        .metrics = service->metrics,
        .io = service->io,
        .writer = writer_rest(service->writer),
        .collections = service->shared ? shared_collections_rest(service->shared)
                                       : collections_rest(service->collections),
        .describer = &service->describer,
        .peers = service->cluster ? cluster_peers(service->cluster) : NULL});
    pages_add_routes(service->http);
    administration_add_routes(service, service->http);
    if (service->cluster)
        cluster_add_routes(service->cluster, service->http);
    rest_add_routes(service->rest, service->http);
    builds_add_routes(service->builds, service->http);
}

static int start_grpc(struct service *service, struct error *error)
{
    const char *host = service->config->http_grpc_host;

    if (!host)
        return 0;
    service->grpc_catalog = grpc_catalog_new(service->http, service->metrics);
    service->grpc = grpc_server_new(
        &(struct grpc_options){.config = service->config,
                               .http = service->http,
                               .dialect = grpc_catalog_dialect(service->grpc_catalog),
                               .metrics = service->metrics,
                               .io = service->io});
    if (grpc_server_start(service->grpc, error) != 0)
        return error->code;
    log_info("grpc", strchr(host, ':') ? "answering gRPC on [%s]:%u" : "answering gRPC on %s:%u",
             host, grpc_server_port(service->grpc));
    return 0;
}

/* Where builders on other machines find this one: where other nodes do, the address it listens on, or its
 * name. */
static void tell_address(struct service *service)
{
    const struct config *config = service->config;
    const char *host = config->http_host;
    char address[300];

    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        host = config->node;
    if (config->cluster_advertise)
        (void)snprintf(address, sizeof(address), "%s", config->cluster_advertise);
    else
        (void)snprintf(address, sizeof(address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                       http_server_port(service->http));
    builds_set_address(service->builds, address);
}

/* Routes before the servers, the servers before the address of this process is announced: whoever hears of it can
 * ask it. HTTP answers from then on: /livez at once, /readyz once the shards are open and caught up. */
static int start_endpoint(struct service *service, struct error *error)
{
    int code;

    service->describer = status_describer(service);
    code = start_builds(service, error);
    if (code == 0)
        code = open_cluster(service, error);
    if (code == 0) {
        make_server(service);
        code = http_server_start(service->http, error);
    }
    if (code == 0)
        code = start_grpc(service, error);
    if (code == 0)
        tell_address(service);
    if (code == 0 && service->cluster)
        code = cluster_announce(service->cluster, http_server_port(service->http), error);
    if (code == 0)
        atomic_store(&service->answers, true);
    return code;
}

/* No new requests, no builds: shards may be closed after it. The cluster first: nodes that hear of the leaving stop
 * asking before the server refuses. */
static void stop_accepting(struct service *service)
{
    if (service->cluster)
        cluster_leave(service->cluster);
    if (service->grpc)
        grpc_server_refuse(service->grpc);
    if (service->http)
        http_server_stop(service->http);
    if (service->grpc)
        grpc_server_stop(service->grpc);
    builds_quiesce(service->builds);
}

static void close_endpoint(struct service *service)
{
    builds_stop(service->builds);
    grpc_server_delete(service->grpc);
    grpc_catalog_delete(service->grpc_catalog);
    rest_delete(service->rest);
    embedder_delete(service->embedder);
    cluster_close(service->cluster);
    http_server_delete(service->http);
}

/* Before anybody is answered: no request of a collection that its stored records contradict finds it served. */
static int check_settings(struct service *service, struct error *error)
{
    struct config *config = service->config;
    int code = 0;

    if ((service->roles & CONFIG_ROLE_INGEST) == 0)
        return 0;
    for (size_t i = 0; i < config->collection_count && code == 0; i++) {
        const char *name = config->collections[i].name;
        code = store_settings_check_data(service->io, config->data_dir, &config->collections[i],
                                         error);
        if (code == ERROR_INVALID) {
            config_refuse_collection(config, i, error->text);
            reload_tell_refused(&config->collections[i]);
            *error = (struct error){0};
            code = 0;
        } else if (code != 0) {
            (void)error_wrap(error, "collections.%s", name);
        }
    }
    return code;
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

    builds_window_sealed(service->builds, shard, window);
}

static bool reconcile(void *context)
{
    struct service *service = context;

    return builds_reconcile(service->builds);
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
    struct cluster *cluster = service_cluster(service);

    return cluster ? cluster_fetch_worth(cluster, collection->name, shard, next_offset) : -1;
}

static int fetch(void *context, const struct config_collection *collection, const char *shard,
                 int64_t next_offset, const atomic_bool *cancel, char *folder, struct error *error)
{
    struct service *service = context;
    const struct cluster_fetch wanted = {
        .collection = collection, .shard = shard, .next_offset = next_offset, .cancel = cancel};

    return cluster_fetch_shard(service_cluster(service), &wanted, folder, error);
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
    fresh->descriptors_max = descriptors_raise();
    fresh->wall = options->wall ? options->wall : io_posix();
    fresh->clock = safe_clock_new(fresh->wall);
    fresh->io = safe_clock_io(fresh->clock);
    fresh->metrics = metrics_new();
    fresh->history = history_new();
    fresh->bad_records = bad_records_new();
    thread_budget_set(fresh->config->processors);
    fresh->clock_watch = clock_watch_new();
    fresh->drain = drain_new();
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
        code = check_settings(fresh, error);
    if (code == 0)
        code = start_endpoint(fresh, error);
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
    stop_accepting(service);
    if (service->registry)
        store_registry_interrupt(service->registry);
    if (ingest)
        ingest_stop(ingest); /* its last groups may need a flush to get room */
    compaction_scheduler_stop(atomic_exchange(&service->scheduler, NULL));
    if (service->registry)
        store_registry_close_all(service->registry, true);
    close_endpoint(service);
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
    drain_delete(service->drain);
    moved_delete(service->moved);
    clock_watch_delete(service->clock_watch);
    free(service);
}

static bool settled(struct service *service)
{
    struct ingest *ingest = atomic_load(&service->ingest);

    return !ingest || ingest_settled(ingest);
}

void service_tick(struct service *service)
{
    struct cluster *cluster = service_cluster(service);
    char why[256];

    clock_watch_tick(service);
    if (cluster)
        cluster_tick(cluster);
    drain_tick(service);
    moved_tick(service->moved);
    history_tick(service->history, service);
    if (!atomic_load(&service->unclaimed_closed) && settled(service) &&
        health_ready(service, why, sizeof(why))) {
        atomic_store(&service->unclaimed_closed, true);
        store_registry_close_unclaimed(service->registry);
        log_info("windrow", "%s",
                 service->roles & CONFIG_ROLE_INGEST ? "caught up with Kafka"
                                                     : "builds segments for other machines");
    }
}

uint16_t service_port(const struct service *service)
{
    return http_server_port(service->http);
}

bool service_hand_over(struct service *service)
{
    int64_t timeout_ms = service->config->cluster_drain_timeout_ms;
    struct error error = {0};

    if (timeout_ms == 0 || !service->config->cluster_name || drain_begin(service, &error) != 0)
        return false;
    service->hand_over_end_ns = io_monotonic_ns(service->io) + timeout_ms * 1000000;
    return true;
}

bool service_handed_over(struct service *service)
{
    return drain_over(service) || io_monotonic_ns(service->io) >= service->hand_over_end_ns;
}
