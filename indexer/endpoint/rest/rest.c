/* The routes of the dialect, and what its handlers share. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "base/version.h"
#include "indexer/endpoint/rest/handlers.h"
#include "indexer/endpoint/rest/schema.h"
#include "indexer/query/query.h"
#include "store/lease.h"

/* Made once: a look-up by name takes a lock of the whole registry. */
struct search_metrics {
    _Atomic(struct metric *)
        seconds; /* NULL: the collection came later; made with its first search */
    _Atomic(struct metric *) windows;
};

struct rest {
    struct rest_options options;
    int64_t started_ms;
    struct search_metrics *searches; /* one for each collection that the config has room for */
};

/* Who this is, without its name where that is asked for; what it does is in /metrics. */
static void handle_telemetry(struct http_request *request)
{
    const struct rest *rest = request->context;
    const struct config *config = rest->options.config;
    char started[TEXT_TIME_BYTES];
    const char *anonymize = http_request_argument(request, "anonymize");
    bool named = !anonymize || strcmp(anonymize, "true") != 0;
    size_t count = 0;

    for (size_t i = 0; i < config->collection_count; i++)
        count += !config->collections[i].removed;
    (void)text_format_time(rest->started_ms, started);
    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"id\":");
    doc_write_json_string(&request->reply, config->node, named ? strlen(config->node) : 0);
    buffer_append_format(&request->reply,
                         ",\"app\":{\"name\":\"windrow\",\"version\":\"" WINDROW_VERSION
                         "\",\"startup\":\"%s\"},\"collections\":{\"number_of_collections\":%zu}}",
                         started, count);
    http_reply_end(request, NULL);
}

/* Problems are told in the log, /metrics and /status. */
static void handle_issues(struct http_request *request)
{
    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"issues\":[]}");
    http_reply_end(request, NULL);
}

static void handle_no_issues(struct http_request *request)
{
    http_reply_begin(request);
    buffer_append_text(&request->reply, "true");
    http_reply_end(request, NULL);
}

/* They only say no, also to clients that send no content type. */
#define NOT_OFFERED(method, pattern, handler)                                                      \
    {                                                                                              \
        method, pattern, handler, HTTP_READ, &rest_schema_not_offered                              \
    }
#define NO_SNAPSHOT(method, pattern) NOT_OFFERED(method, pattern, rest_handle_snapshots)

static const struct http_route routes[] = {
    {"GET", "/telemetry", handle_telemetry, HTTP_READ, &rest_schema_telemetry},
    {"GET", "/windows", rest_handle_windows, HTTP_READ, &rest_schema_windows},
    {"GET", "/aliases", rest_handle_aliases, HTTP_READ, NULL},
    {"GET", "/collections", rest_handle_collections, HTTP_READ, NULL},
    {"GET", "/collections/{}", rest_handle_collection, HTTP_READ, NULL},
    {"PUT", "/collections/{}", rest_handle_collection_create, HTTP_WRITE, &rest_schema_collection},
    {"PATCH", "/collections/{}", rest_handle_collection_update, HTTP_WRITE,
     &rest_schema_collection_update},
    {"DELETE", "/collections/{}", rest_handle_collection_delete, HTTP_WRITE,
     &rest_schema_collection_delete},
    {"GET", "/collections/{}/exists", rest_handle_collection_exists, HTTP_READ, NULL},
    {"GET", "/collections/{}/aliases", rest_handle_collection_aliases, HTTP_READ, NULL},
    {"PUT", "/collections/{}/index", rest_handle_index_create, HTTP_WRITE,
     &rest_schema_index_create},
    {"DELETE", "/collections/{}/index/{}", rest_handle_index_delete, HTTP_WRITE,
     &rest_schema_index_delete},
    {"POST", "/collections/{}/facet", rest_handle_facet, HTTP_READ, &rest_schema_facet},
    {"POST", "/collections/{}/points", rest_handle_retrieve, HTTP_SEARCH, &rest_schema_retrieve},
    {"GET", "/collections/{}/points/{}", rest_handle_point, HTTP_SEARCH, &rest_schema_point},
    {"PUT", "/collections/{}/points", rest_handle_upsert, HTTP_WRITE, &rest_schema_upsert},
    {"POST", "/collections/{}/points/delete", rest_handle_delete, HTTP_WRITE, &rest_schema_delete},
    {"POST", "/collections/{}/points/repair", rest_handle_repair, HTTP_WRITE, &rest_schema_repair},
    {"POST", "/collections/{}/points/query", rest_handle_query, HTTP_SEARCH, &rest_schema_query},
    {"POST", "/collections/{}/points/query/batch", rest_handle_query_batch, HTTP_READ,
     &rest_schema_query_batch},
    {"POST", "/collections/{}/points/query/groups", rest_handle_query_groups, HTTP_READ,
     &rest_schema_query_groups},
    {"POST", "/collections/{}/points/search", rest_handle_search, HTTP_SEARCH, &rest_schema_search},
    {"POST", "/collections/{}/points/search/batch", rest_handle_search_batch, HTTP_READ,
     &rest_schema_search_batch},
    {"POST", "/collections/{}/points/search/groups", rest_handle_search_groups, HTTP_READ,
     &rest_schema_search_groups},
    {"POST", "/collections/{}/points/search/matrix/pairs", rest_handle_matrix_pairs, HTTP_READ,
     &rest_schema_matrix},
    {"POST", "/collections/{}/points/search/matrix/offsets", rest_handle_matrix_offsets, HTTP_READ,
     &rest_schema_matrix},
    {"POST", "/collections/{}/points/recommend", rest_handle_recommend, HTTP_READ,
     &rest_schema_recommend},
    {"POST", "/collections/{}/points/recommend/batch", rest_handle_recommend_batch, HTTP_READ,
     &rest_schema_recommend_batch},
    {"POST", "/collections/{}/points/recommend/groups", rest_handle_recommend_groups, HTTP_READ,
     &rest_schema_recommend_groups},
    {"POST", "/collections/{}/points/discover", rest_handle_discover, HTTP_READ,
     &rest_schema_discover},
    {"POST", "/collections/{}/points/discover/batch", rest_handle_discover_batch, HTTP_READ,
     &rest_schema_discover_batch},
    {"POST", "/collections/{}/points/scroll", rest_handle_scroll, HTTP_SEARCH, &rest_schema_scroll},
    {"POST", "/collections/{}/points/count", rest_handle_count, HTTP_SEARCH, &rest_schema_count},
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
     &rest_schema_vectors_delete},
    {"GET", "/collections/{}/snapshots", rest_handle_snapshots, HTTP_READ, NULL},
    NO_SNAPSHOT("POST", "/collections/{}/snapshots"),
    NO_SNAPSHOT("GET", "/collections/{}/snapshots/{}"),
    NO_SNAPSHOT("DELETE", "/collections/{}/snapshots/{}"),
    NO_SNAPSHOT("PUT", "/collections/{}/snapshots/recover"),
    NO_SNAPSHOT("POST", "/collections/{}/snapshots/upload"),
    NO_SNAPSHOT("GET", "/collections/{}/shards/{}/snapshots"),
    NO_SNAPSHOT("POST", "/collections/{}/shards/{}/snapshots"),
    NO_SNAPSHOT("GET", "/collections/{}/shards/{}/snapshots/{}"),
    NO_SNAPSHOT("DELETE", "/collections/{}/shards/{}/snapshots/{}"),
    NO_SNAPSHOT("PUT", "/collections/{}/shards/{}/snapshots/recover"),
    NO_SNAPSHOT("POST", "/collections/{}/shards/{}/snapshots/upload"),
    NO_SNAPSHOT("GET", "/collections/{}/shards/{}/snapshot"),
    {"GET", "/snapshots", rest_handle_snapshots, HTTP_READ, NULL},
    NO_SNAPSHOT("POST", "/snapshots"),
    NO_SNAPSHOT("GET", "/snapshots/{}"),
    NO_SNAPSHOT("DELETE", "/snapshots/{}"),
    {"GET", "/issues", handle_issues, HTTP_READ, NULL},
    {"DELETE", "/issues", handle_no_issues, HTTP_WRITE, NULL},
    {"GET", "/collections/{}/optimizations", rest_handle_optimizations, HTTP_READ,
     &rest_schema_state},
    {"GET", "/collections/{}/cluster", rest_handle_collection_cluster, HTTP_READ,
     &rest_schema_state},
    {"GET", "/collections/{}/shards", rest_handle_shard_keys, HTTP_READ, NULL},
    NOT_OFFERED("POST", "/collections/aliases", rest_handle_no_aliases),
    NOT_OFFERED("PUT", "/collections/{}/shards", rest_handle_no_shards),
    NOT_OFFERED("POST", "/collections/{}/shards/delete", rest_handle_no_shards),
    NOT_OFFERED("POST", "/collections/{}/cluster", rest_handle_no_shards),
    NOT_OFFERED("PUT", "/collections/{}/vectors/{}", rest_handle_no_named_vectors),
    NOT_OFFERED("DELETE", "/collections/{}/vectors/{}", rest_handle_no_named_vectors),
    NOT_OFFERED("GET", "/cluster/telemetry", rest_handle_no_peers),
    NOT_OFFERED("POST", "/cluster/recover", rest_handle_no_peers),
    NOT_OFFERED("DELETE", "/cluster/peer/{}", rest_handle_no_peers),
    NOT_OFFERED("GET", "/cluster/metadata/keys", rest_handle_no_peers),
    NOT_OFFERED("GET", "/cluster/metadata/keys/{}", rest_handle_no_peers),
    NOT_OFFERED("PUT", "/cluster/metadata/keys/{}", rest_handle_no_peers),
    NOT_OFFERED("DELETE", "/cluster/metadata/keys/{}", rest_handle_no_peers),
    NOT_OFFERED("GET", "/quotas", rest_handle_no_quotas),
    NOT_OFFERED("PUT", "/quotas", rest_handle_no_quotas),
};

const struct rest_options *rest_of(const struct http_request *request)
{
    const struct rest *rest = request->context;

    return &rest->options;
}

static void make_metrics(struct search_metrics *made, struct metrics *metrics,
                         const struct config_collection *collection)
{
    static const double windows_bounds[] = {0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024};
    const struct metric_label label[] = {{"collection", collection->name}};

    made->windows = metrics_histogram(metrics, "windrow_search_windows_searched",
                                      "Windows that one search visited", label, 1, windows_bounds,
                                      sizeof(windows_bounds) / sizeof(windows_bounds[0]));
    made->seconds = metrics_histogram(metrics, "windrow_search_seconds",
                                      "Time of one search, without waiting for offsets", label, 1,
                                      metrics_seconds_bounds, metrics_seconds_bound_count);
}

void rest_count_search(struct http_request *request, const struct config_collection *collection,
                       uint32_t windows_searched, int64_t start_ns)
{
    const struct rest *rest = request->context;
    struct search_metrics *metrics =
        &rest->searches[collection - rest->options.config->collections];
    int64_t now_ns = io_monotonic_ns(rest->options.io);

    if (!metrics->seconds)
        make_metrics(metrics, rest->options.metrics, collection);
    metric_observe(metrics->seconds, (double)(now_ns - start_ns) * 1e-9);
    metric_observe(metrics->windows, windows_searched);
}

struct rest *rest_new(const struct rest_options *options)
{
    const struct config *config = options->config;
    struct rest *rest = memory_new(1, sizeof(*rest));

    rest->options = *options;
    rest->started_ms = io_wall_ms(options->io);
    rest->searches =
        memory_new(config->collection_room + config->collection_count, sizeof(*rest->searches));
    for (size_t i = 0; i < config->collection_count; i++)
        make_metrics(&rest->searches[i], options->metrics, &config->collections[i]);
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
