/* The routes of the dialect, and what its handlers share. */
#include <stdlib.h>

#include "base/memory.h"
#include "indexer/query/query.h"
#include "indexer/rest/handlers.h"
#include "indexer/rest/schema.h"

/* Made once: a look-up by name takes a lock of the whole registry. */
struct search_metrics {
    struct metric *seconds;
    struct metric *windows;
};

struct rest {
    struct rest_options options;
    struct search_metrics *searches; /* one for each collection of the config */
};

static const struct http_route routes[] = {
    {"GET", "/windows", rest_handle_windows, HTTP_READ, &rest_schema_windows},
    {"GET", "/aliases", rest_handle_aliases, HTTP_READ, NULL},
    {"GET", "/collections", rest_handle_collections, HTTP_READ, NULL},
    {"GET", "/collections/{}", rest_handle_collection, HTTP_READ, NULL},
    {"PUT", "/collections/{}", rest_handle_collection_create, HTTP_WRITE, &rest_schema_collection},
    {"PATCH", "/collections/{}", rest_handle_collection_update, HTTP_WRITE,
     &rest_schema_collection},
    {"DELETE", "/collections/{}", rest_handle_collection_delete, HTTP_WRITE,
     &rest_schema_collection_delete},
    {"GET", "/collections/{}/exists", rest_handle_collection_exists, HTTP_READ, NULL},
    {"GET", "/collections/{}/aliases", rest_handle_collection_aliases, HTTP_READ, NULL},
    {"PUT", "/collections/{}/index", rest_handle_index_create, HTTP_WRITE,
     &rest_schema_index_create},
    {"DELETE", "/collections/{}/index/{}", rest_handle_index_delete, HTTP_WRITE,
     &rest_schema_index_delete},
    {"POST", "/collections/{}/facet", rest_handle_facet, HTTP_READ, &rest_schema_facet},
    {"POST", "/collections/{}/points", rest_handle_retrieve, HTTP_READ, &rest_schema_retrieve},
    {"PUT", "/collections/{}/points", rest_handle_upsert, HTTP_WRITE, &rest_schema_upsert},
    {"POST", "/collections/{}/points/delete", rest_handle_delete, HTTP_WRITE, &rest_schema_delete},
    {"POST", "/collections/{}/points/repair", rest_handle_repair, HTTP_WRITE, &rest_schema_repair},
    {"POST", "/collections/{}/points/query", rest_handle_query, HTTP_READ, &rest_schema_query},
    {"POST", "/collections/{}/points/query/batch", rest_handle_query_batch, HTTP_READ,
     &rest_schema_query_batch},
    {"POST", "/collections/{}/points/query/groups", rest_handle_query_groups, HTTP_READ,
     &rest_schema_query_groups},
    {"POST", "/collections/{}/points/search", rest_handle_search, HTTP_READ, &rest_schema_search},
    {"POST", "/collections/{}/points/scroll", rest_handle_scroll, HTTP_READ, &rest_schema_scroll},
    {"POST", "/collections/{}/points/count", rest_handle_count, HTTP_READ, &rest_schema_count},
    {"POST", "/collections/{}/points/batch", rest_handle_write_batch, HTTP_WRITE,
     &rest_schema_write_batch},
    {"POST", "/collections/{}/points/payload", rest_handle_payload_set, HTTP_WRITE,
     &rest_schema_payload_set},
    {"PUT", "/collections/{}/points/payload", rest_handle_payload_overwrite, HTTP_WRITE,
     &rest_schema_payload_set},
    {"POST", "/collections/{}/points/payload/delete", rest_handle_payload_delete, HTTP_WRITE,
     &rest_schema_payload_delete},
    {"POST", "/collections/{}/points/payload/clear", rest_handle_payload_clear, HTTP_WRITE,
     &rest_schema_payload_clear},
    {"PUT", "/collections/{}/points/vectors", rest_handle_vectors_update, HTTP_WRITE,
     &rest_schema_vectors_update},
    {"POST", "/collections/{}/points/vectors/delete", rest_handle_vectors_delete, HTTP_WRITE,
     &rest_schema_not_offered},
    {"POST", "/collections/aliases", rest_handle_not_available, HTTP_WRITE,
     &rest_schema_not_offered},
};

const struct rest_options *rest_of(const struct http_request *request)
{
    const struct rest *rest = request->context;

    return &rest->options;
}

static struct search_metrics metrics_of(struct metrics *metrics,
                                        const struct config_collection *collection)
{
    static const double windows_bounds[] = {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024};
    const struct metric_label label[] = {{"collection", collection->name}};

    return (struct search_metrics){
        .seconds = metrics_histogram(metrics, "windrow_search_seconds",
                                     "Time of one search, without waiting for offsets", label, 1,
                                     metrics_seconds_bounds, metrics_seconds_bound_count),
        .windows = metrics_histogram(metrics, "windrow_search_windows_searched",
                                     "Windows that one search visited", label, 1, windows_bounds,
                                     sizeof(windows_bounds) / sizeof(windows_bounds[0])),
    };
}

void rest_count_search(struct http_request *request, const struct config_collection *collection,
                       uint32_t windows_searched, int64_t start_ns)
{
    const struct rest *rest = request->context;
    const struct search_metrics *metrics =
        &rest->searches[collection - rest->options.config->collections];
    int64_t now_ns = io_monotonic_ns(rest->options.io);

    metric_observe(metrics->seconds, (double)(now_ns - start_ns) * 1e-9);
    metric_observe(metrics->windows, windows_searched);
}

struct rest *rest_new(const struct rest_options *options)
{
    const struct config *config = options->config;
    struct rest *rest = memory_new(1, sizeof(*rest));

    rest->options = *options;
    rest->searches = memory_new(config->collection_count + 1, sizeof(*rest->searches));
    for (size_t i = 0; i < config->collection_count; i++)
        rest->searches[i] = metrics_of(options->metrics, &config->collections[i]);
    return rest;
}

void rest_delete(struct rest *rest)
{
    if (!rest)
        return;
    free(rest->searches);
    free(rest);
}

static void wake_waits(void *context)
{
    const struct rest *rest = context;

    store_registry_wake_waits(rest->options.registry);
}

void rest_add_routes(struct rest *rest, struct http_server *server)
{
    http_server_on_stop(server, wake_waits, rest);
    http_server_add_routes(server, routes, sizeof(routes) / sizeof(routes[0]), rest);
}
