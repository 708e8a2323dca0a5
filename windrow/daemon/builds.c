#include "windrow/daemon/builds.h"

#include <stdlib.h>

#include "base/logger.h"
#include "base/memory.h"
#include "indexer/query/query.h"
#include "indexer/worker/worker.h"

struct builds {
    struct builds_options options;
    struct worker_queue *queue;
    struct worker_pool *pool;
    /* The collection whose recall is looked at first. For the thread of builds_reconcile. */
    size_t recall_turn;
};

static int start_pool(struct builds *builds, struct error *error)
{
    const struct builds_options *options = &builds->options;
    struct worker_pool_options pool_options = {
        .config = options->config,
        .registry = options->registry,
        .metrics = options->metrics,
        .io = options->io,
        .thread_count = options->config->build_threads ? options->config->build_threads
                                                       : options->config->max_background_jobs,
        .build = (options->roles & CONFIG_ROLE_INDEXER) != 0,
    };
    int code = options->config->nats_url
                   ? worker_queue_nats(options->config, options->metrics, &builds->queue, error)
                   : worker_queue_local(options->metrics, &builds->queue, error);

    if (code != 0)
        return code;
    if ((options->roles & CONFIG_ROLE_INDEXER) == 0 && !options->config->nats_url)
        log_warning("indexer", "this process has neither the indexer role nor nats.url: sealed "
                               "windows get no index and are scanned");
    pool_options.queue = builds->queue;
    return worker_pool_start(&pool_options, &builds->pool, error);
}

int builds_start(const struct builds_options *options, struct builds **builds, struct error *error)
{
    struct builds *fresh = memory_new(1, sizeof(*fresh));

    fresh->options = *options;
    if (start_pool(fresh, error) != 0) {
        builds_stop(fresh);
        return error->code;
    }
    for (size_t i = 0; i < options->config->collection_count; i++)
        query_recall_begin(options->registry, &options->config->collections[i]);
    *builds = fresh;
    return 0;
}

void builds_quiesce(struct builds *builds)
{
    if (builds)
        worker_pool_quiesce(builds->pool);
}

void builds_stop(struct builds *builds)
{
    if (!builds)
        return;
    worker_pool_quiesce(builds->pool);
    worker_pool_stop(builds->pool);
    if (builds->queue)
        builds->queue->operations->close(builds->queue);
    query_recall_forget(builds->options.registry, NULL);
    free(builds);
}

void builds_add_routes(struct builds *builds, struct http_server *server)
{
    worker_pool_add_routes(builds->pool, server);
}

void builds_set_address(struct builds *builds, const char *address)
{
    worker_pool_set_address(builds->pool, address);
}

bool builds_connected(const struct builds *builds, char *why, size_t why_bytes)
{
    return builds->queue->operations->connected(builds->queue, why, why_bytes);
}

enum { BUILDS_SHOWN = 16 };

static struct doc builds_doc(const struct builds *builds, struct arena *arena)
{
    struct worker_build_info *running =
        arena_alloc(arena, BUILDS_SHOWN * sizeof(*running), _Alignof(struct worker_build_info));
    uint32_t count = worker_pool_builds(builds->pool, running, BUILDS_SHOWN);
    struct doc *items = doc_items(arena, count);

    for (uint32_t i = 0; i < count; i++) {
        items[i] = doc_map(arena, 5);
        doc_put(&items[i], "collection", doc_string(arena, running[i].collection));
        doc_put(&items[i], "shard", doc_string(arena, running[i].shard));
        doc_put(&items[i], "window_start_ms", doc_integer(running[i].window_start_ms));
        doc_put(&items[i], "rows", doc_integer(running[i].rows));
        doc_put(&items[i], "rows_done", doc_integer(running[i].rows_done));
    }
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = items};
}

void builds_status(const struct builds *builds, struct arena *arena, struct doc *out)
{
    const struct worker_queue_operations *queue = builds->queue->operations;
    char why[256] = "";
    bool connected = queue->connected(builds->queue, why, sizeof(why));
    int64_t depth = queue->depth(builds->queue);
    uint32_t threads;
    uint32_t building;
    uint64_t memory_bytes;

    worker_pool_describe(builds->pool, &threads, &building, &memory_bytes);
    *out = doc_map(arena, 9);
    doc_put(out, "queue", doc_string(arena, builds->options.config->nats_url ? "nats" : "local"));
    doc_put(out, "connected", doc_bool(connected));
    doc_put(out, "why", connected ? doc_null() : doc_string(arena, why));
    doc_put(out, "depth", depth < 0 ? doc_null() : doc_integer(depth));
    doc_put(out, "threads", doc_integer(threads));
    doc_put(out, "building", doc_integer(building));
    doc_put(out, "builds", builds_doc(builds, arena));
    doc_put(out, "build_memory_bytes", doc_integer((int64_t)memory_bytes));
    doc_put(out, "build_memory_max_bytes",
            doc_integer((int64_t)builds->options.config->build_memory_max_bytes));
}

bool builds_why_scanned(const struct builds *builds, struct store_shard *shard,
                        const struct store_window_info *window, char *why, size_t why_bytes)
{
    return worker_pool_why_scanned(builds->pool, shard, window, why, why_bytes);
}

uint32_t builds_running(const struct builds *builds)
{
    uint32_t threads, building;
    uint64_t memory_bytes;

    worker_pool_describe(builds->pool, &threads, &building, &memory_bytes);
    return building;
}

int builds_shard_opened(struct builds *builds, struct store_shard *shard, struct error *error)
{
    int code = worker_pool_load_segments(builds->pool, shard, error);

    if (code == 0)
        worker_pool_reconcile_shard(builds->pool, shard);
    return code;
}

void builds_window_sealed(struct builds *builds, struct store_shard *shard,
                          const struct store_window_info *window)
{
    struct error error = {0};

    if (worker_pool_submit(builds->pool, shard, window, &error) != 0)
        log_warning("indexer", "%s/%s window %lld will be indexed later: %s",
                    store_shard_collection(shard), store_shard_name(shard),
                    (long long)window->start_ms, error.text);
}

/* Fields of payload_index are ready before a filter asks for them. */
static bool preload_columns(struct builds *builds)
{
    const struct config *config = builds->options.config;
    bool all = true;

    query_columns_limit(config->column_memory_max_bytes);
    for (size_t i = 0; i < config->collection_count; i++) {
        const struct query_view_options options = {.collection = &config->collections[i],
                                                   .registry = builds->options.registry,
                                                   .io = builds->options.io};
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

static void tell_recall(struct builds *builds, const char *collection)
{
    const struct metric_label label = {"collection", collection};
    struct metrics *metrics = builds->options.metrics;
    struct query_recall recall;

    if (!query_recall_get(builds->options.registry, collection, &recall))
        return;
    metric_set(metrics_gauge(metrics, "windrow_search_recall_ratio",
                             "Share of the true nearest rows that default searches found, by those "
                             "that were compared last",
                             &label, 1),
               recall.measured);
    metric_set(metrics_gauge(metrics, "windrow_search_effort_ratio",
                             "How far default searches go, over what was measured when segments "
                             "were built",
                             &label, 1),
               recall.effort);
}

/* Answers have the recall that they are asked for. One round is made at a time, so collections take turns to be first.
 * Returns whether there is more to compare. */
static bool hold_recall(struct builds *builds)
{
    const struct config *config = builds->options.config;
    size_t count = config->collection_count, first = builds->recall_turn++;
    bool more = false;

    for (size_t i = 0; i < count; i++) {
        const struct query_view_options options = {.collection =
                                                       &config->collections[(first + i) % count],
                                                   .registry = builds->options.registry,
                                                   .io = builds->options.io};
        struct error error = {0};
        bool goes_on = false;
        if (query_recall_hold(&options, &goes_on, &error) != 0)
            log_debug("indexer", "the recall of %s will be measured later: %s",
                      options.collection->name, error.text);
        more |= goes_on;
        tell_recall(builds, options.collection->name);
    }
    return more;
}

bool builds_reconcile(struct builds *builds)
{
    bool all = preload_columns(builds);
    bool more = hold_recall(builds);

    return worker_pool_reconcile(builds->pool) || more || !all;
}
