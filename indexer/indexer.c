/* Puts the parts together: queue, worker pool, routes of the HTTP server. */
#include "indexer/indexer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "cluster/cluster.h"
#include "indexer/endpoint/embedder/embedder.h"
#include "indexer/endpoint/grpc/grpc.h"
#include "indexer/query/query.h"
#include "indexer/worker/worker.h"

struct indexer {
    struct indexer_options options;
    struct worker_queue *queue;
    struct worker_pool *pool;
    struct rest *rest;
    struct embedder *embedder;
    struct grpc_server *grpc; /* NULL: not configured */
    struct cluster *cluster;  /* NULL: this process is alone */
};

static int start_pool(struct indexer *indexer, struct error *error)
{
    const struct indexer_options *options = &indexer->options;
    struct worker_pool_options pool_options = {
        .config = options->config,
        .registry = options->registry,
        .metrics = options->metrics,
        .io = options->io,
        .thread_count = options->worker_count            ? options->worker_count
                        : options->config->build_threads ? options->config->build_threads
                                                         : options->config->max_background_jobs,
        .build = (options->roles & CONFIG_ROLE_INDEXER) != 0,
    };
    int code = options->config->nats_url
                   ? worker_queue_nats(options->config, options->metrics, &indexer->queue, error)
                   : worker_queue_local(options->metrics, &indexer->queue, error);

    if (code != 0)
        return code;
    if ((options->roles & CONFIG_ROLE_INDEXER) == 0 && !options->config->nats_url)
        log_warning("indexer", "this process has neither the indexer role nor nats.url: sealed "
                               "windows get no index and are scanned");
    pool_options.queue = indexer->queue;
    return worker_pool_start(&pool_options, &indexer->pool, error);
}

/* Where builders on other machines find this one: where other nodes do, the address it listens on, or its
 * name. */
static void tell_address(struct indexer *indexer)
{
    const struct config *config = indexer->options.config;
    const char *host = config->http_host;
    char address[300];

    if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        host = config->node;
    if (config->cluster_advertise)
        (void)snprintf(address, sizeof(address), "%s", config->cluster_advertise);
    else
        (void)snprintf(address, sizeof(address), strchr(host, ':') ? "[%s]:%u" : "%s:%u", host,
                       http_server_port(indexer->options.http));
    worker_pool_set_address(indexer->pool, address);
}

static void add_routes(struct indexer *indexer)
{
    const struct indexer_options *options = &indexer->options;

    indexer->embedder = embedder_new(options->config, options->metrics, options->io);
    indexer->rest = rest_new(
        &(struct rest_options){.config = options->config,
                               .embedder = indexer->embedder,
                               .registry = options->registry,
                               .metrics = options->metrics,
                               .io = options->io,
                               .writer = options->writer,
                               .collections = options->collections,
                               .describer = options->describer,
                               .peers = indexer->cluster ? cluster_peers(indexer->cluster) : NULL});
    if (indexer->cluster)
        cluster_add_routes(indexer->cluster, options->http);
    rest_add_routes(indexer->rest, options->http);
    worker_pool_add_routes(indexer->pool, options->http);
}

static int open_cluster(struct indexer *indexer, struct error *error)
{
    const struct indexer_options *options = &indexer->options;
    const struct cluster_options cluster_options = {.config = options->config,
                                                    .roles = options->roles,
                                                    .registry = options->registry,
                                                    .metrics = options->metrics,
                                                    .io = options->io,
                                                    .describer = options->describer};

    return cluster_open(&cluster_options, &indexer->cluster, error);
}

static int start_grpc(struct indexer *indexer, struct error *error)
{
    const struct indexer_options *options = &indexer->options;
    const char *host = options->config->http_grpc_host;

    if (!host)
        return 0;
    indexer->grpc = grpc_server_new(&(struct grpc_options){.config = options->config,
                                                           .http = options->http,
                                                           .metrics = options->metrics,
                                                           .io = options->io});
    if (grpc_server_start(indexer->grpc, error) != 0)
        return error->code;
    log_info("grpc", strchr(host, ':') ? "answering gRPC on [%s]:%u" : "answering gRPC on %s:%u",
             host, grpc_server_port(indexer->grpc));
    return 0;
}

/* Routes before the servers, the servers before its address is announced: whoever hears of this
 * process can ask it. */
int indexer_start(const struct indexer_options *options, struct indexer **indexer,
                  struct error *error)
{
    struct indexer *fresh = memory_new(1, sizeof(*fresh));
    int code;

    fresh->options = *options;
    if (!fresh->options.io)
        fresh->options.io = io_posix();
    code = start_pool(fresh, error);
    if (code == 0 && options->config->cluster_name)
        code = open_cluster(fresh, error);
    if (code == 0) {
        add_routes(fresh);
        code = http_server_start(options->http, error);
    }
    if (code == 0)
        code = start_grpc(fresh, error);
    if (code == 0)
        tell_address(fresh);
    if (code == 0 && fresh->cluster)
        code = cluster_announce(fresh->cluster, http_server_port(options->http), error);
    if (code != 0) {
        indexer_stop(fresh);
        return code;
    }
    *indexer = fresh;
    return 0;
}

/* The cluster first: nodes that hear of the leaving stop asking before the server refuses. */
void indexer_stop_accepting(struct indexer *indexer)
{
    if (indexer->cluster)
        cluster_leave(indexer->cluster);
    if (indexer->grpc)
        grpc_server_refuse(indexer->grpc);
    http_server_stop(indexer->options.http);
    if (indexer->grpc)
        grpc_server_stop(indexer->grpc);
    worker_pool_quiesce(indexer->pool);
}

void indexer_stop(struct indexer *indexer)
{
    if (!indexer)
        return;
    indexer_stop_accepting(indexer);
    worker_pool_stop(indexer->pool);
    grpc_server_delete(indexer->grpc);
    rest_delete(indexer->rest);
    embedder_delete(indexer->embedder);
    cluster_close(indexer->cluster);
    if (indexer->queue)
        indexer->queue->operations->close(indexer->queue);
    free(indexer);
}

struct cluster *indexer_cluster(const struct indexer *indexer)
{
    return indexer->cluster;
}

enum { BUILDS_SHOWN = 16 };

static struct doc builds_doc(const struct indexer *indexer, struct arena *arena)
{
    struct worker_build_info *builds =
        arena_alloc(arena, BUILDS_SHOWN * sizeof(*builds), _Alignof(struct worker_build_info));
    uint32_t count = worker_pool_builds(indexer->pool, builds, BUILDS_SHOWN);
    struct doc *items = doc_items(arena, count);

    for (uint32_t i = 0; i < count; i++) {
        items[i] = doc_map(arena, 5);
        doc_put(&items[i], "collection", doc_string(arena, builds[i].collection));
        doc_put(&items[i], "shard", doc_string(arena, builds[i].shard));
        doc_put(&items[i], "window_start_ms", doc_integer(builds[i].window_start_ms));
        doc_put(&items[i], "rows", doc_integer(builds[i].rows));
        doc_put(&items[i], "rows_done", doc_integer(builds[i].rows_done));
    }
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = items};
}

void indexer_status(const struct indexer *indexer, struct arena *arena, struct doc *out)
{
    const struct worker_queue_operations *queue = indexer->queue->operations;
    char why[256] = "";
    bool connected = queue->connected(indexer->queue, why, sizeof(why));
    int64_t depth = queue->depth(indexer->queue);
    uint32_t threads;
    uint32_t building;
    uint64_t memory_bytes;

    worker_pool_describe(indexer->pool, &threads, &building, &memory_bytes);
    *out = doc_map(arena, 9);
    doc_put(out, "queue", doc_string(arena, indexer->options.config->nats_url ? "nats" : "local"));
    doc_put(out, "connected", doc_bool(connected));
    doc_put(out, "why", connected ? doc_null() : doc_string(arena, why));
    doc_put(out, "depth", depth < 0 ? doc_null() : doc_integer(depth));
    doc_put(out, "threads", doc_integer(threads));
    doc_put(out, "building", doc_integer(building));
    doc_put(out, "builds", builds_doc(indexer, arena));
    doc_put(out, "build_memory_bytes", doc_integer((int64_t)memory_bytes));
    doc_put(out, "build_memory_max_bytes",
            doc_integer((int64_t)indexer->options.config->build_memory_max_bytes));
}

bool indexer_connected(const struct indexer *indexer, char *why, size_t why_bytes)
{
    char trouble[256] = "";
    bool queued = indexer->queue->operations->connected(indexer->queue, trouble, sizeof(trouble));
    bool heard = !indexer->cluster || cluster_connected(indexer->cluster);

    if (!queued || !heard)
        (void)snprintf(why, why_bytes, "NATS does not answer%s%s%s%s", trouble[0] ? ": " : "",
                       trouble, queued ? "" : "; index jobs wait",
                       heard ? "" : "; other nodes are not heard");
    return queued && heard;
}

bool indexer_why_scanned(const struct indexer *indexer, struct store_shard *shard,
                         const struct store_window_info *window, char *why, size_t why_bytes)
{
    return worker_pool_why_scanned(indexer->pool, shard, window, why, why_bytes);
}

uint32_t indexer_builds(const struct indexer *indexer)
{
    uint32_t threads, building;
    uint64_t memory_bytes;

    worker_pool_describe(indexer->pool, &threads, &building, &memory_bytes);
    return building;
}

const struct query_peers *indexer_peers(const struct indexer *indexer)
{
    return indexer->cluster ? cluster_peers(indexer->cluster) : NULL;
}

int indexer_shard_opened(struct indexer *indexer, struct store_shard *shard, struct error *error)
{
    int code = worker_pool_load_segments(indexer->pool, shard, error);

    if (code == 0)
        worker_pool_reconcile_shard(indexer->pool, shard);
    return code;
}

void indexer_window_sealed(struct indexer *indexer, struct store_shard *shard,
                           const struct store_window_info *window)
{
    struct error error = {0};

    if (worker_pool_submit(indexer->pool, shard, window, &error) != 0)
        log_warning("indexer", "%s/%s window %lld will be indexed later: %s",
                    store_shard_collection(shard), store_shard_name(shard),
                    (long long)window->start_ms, error.text);
}

/* Fields of payload_index are ready before a filter asks for them. */
static bool preload_columns(struct indexer *indexer)
{
    const struct config *config = indexer->options.config;
    bool all = true;

    query_columns_limit(config->column_memory_max_bytes);
    for (size_t i = 0; i < config->collection_count; i++) {
        const struct query_view_options options = {.collection = &config->collections[i],
                                                   .registry = indexer->options.registry,
                                                   .io = indexer->options.io};
        struct error error = {0};
        size_t made;
        if (options.collection->removed || query_column_preload(&options, &made, &error) == 0)
            continue;
        log_debug("indexer", "payload_index of %s will be read later: %s", options.collection->name,
                  error.text);
        all = false;
    }
    return all;
}

bool indexer_reconcile(struct indexer *indexer)
{
    bool all = preload_columns(indexer);

    return worker_pool_reconcile(indexer->pool) || !all;
}
