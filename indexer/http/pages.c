/* What is not the dialect: root, health, metrics, windows, status, the API description. */
#include <stdlib.h>
#include <string.h>

#include "indexer/http/dashboard.h"
#include "indexer/http/parse.h"

/* Clients compare this with their own version and warn when it is far off. */
#define QDRANT_VERSION "1.19.0"

static void reply_text(struct http_request *request, unsigned status, const char *text)
{
    request->reply.size = 0;
    request->status = status;
    request->content_type = "text/plain; charset=utf-8";
    buffer_append_text(&request->reply, text);
}

void http_handle_root(struct http_request *request)
{
    if (strstr(request->accept, "text/html")) {
        request->status = 200;
        request->content_type = "text/html; charset=utf-8";
        buffer_append(&request->reply, dashboard_html,
                      (size_t)(dashboard_html_end - dashboard_html));
        return;
    }
    request->status = 200;
    request->content_type = "application/json";
    buffer_append_text(&request->reply,
                       "{\"title\":\"windrow (speaks the query side of qdrant's REST API)\","
                       "\"version\":\"" QDRANT_VERSION "\"}");
}

void http_handle_health(struct http_request *request)
{
    reply_text(request, 200, "healthz check passed");
}

void http_handle_livez(struct http_request *request)
{
    const struct indexer_host *host = request->options->host;

    if (!host->alive || host->alive(host->context))
        reply_text(request, 200, "alive\n");
    else
        reply_text(request, 503, "a loop of the process is stuck\n");
}

void http_handle_readyz(struct http_request *request)
{
    const struct indexer_host *host = request->options->host;
    char why[512] = "";

    if (!host->ready || host->ready(host->context, why, sizeof(why))) {
        reply_text(request, 200, "ready\n");
        return;
    }
    reply_text(request, 503, "not ready: ");
    buffer_append_text(&request->reply, why);
    buffer_append_byte(&request->reply, '\n');
    request->retry_after_seconds = 1;
}

void http_handle_metrics(struct http_request *request)
{
    request->status = 200;
    request->content_type = "text/plain; version=0.0.4; charset=utf-8";
    metrics_render(request->options->metrics, &request->reply);
}

void http_handle_status(struct http_request *request)
{
    const struct indexer_host *host = request->options->host;
    struct doc status = {.type = DOC_MAP};

    if (host->status)
        host->status(host->context, &request->arena, &status);
    request->status = 200;
    request->content_type = "application/json";
    doc_write_json(&request->reply, &status);
}

/* ---- windows ---- */

struct listed_window {
    const struct store_window_info *info;
    const char *collection;
    const char *shard;
};

static int by_start(const void *a, const void *b)
{
    const struct listed_window *left = a;
    const struct listed_window *right = b;

    if (left->info->start_ms != right->info->start_ms)
        return left->info->start_ms < right->info->start_ms ? -1 : 1;
    return strverscmp(left->shard, right->shard);
}

static size_t chunk_segments(const struct store_window_info *window)
{
    size_t count = 0;

    for (size_t i = 0; i < window->chunk_count; i++)
        count += window->chunks[i].segment.file_number != 0;
    return count;
}

static void append_window(struct buffer *out, const struct listed_window *listed)
{
    const struct store_window_info *window = listed->info;

    buffer_append_text(out, "{\"collection\":");
    doc_write_json_string(out, listed->collection, strlen(listed->collection));
    buffer_append_text(out, ",\"shard\":");
    doc_write_json_string(out, listed->shard, strlen(listed->shard));
    buffer_append_format(
        out,
        ",\"start_ms\":%lld,\"end_ms\":%lld,\"state\":\"%s\",\"rows\":%llu,"
        "\"bytes\":%llu,\"generation\":%llu,\"chunks\":%zu,\"chunk_segments\":%zu,\"segment\":",
        (long long)window->start_ms, (long long)(window->start_ms + window->length_ms),
        store_window_state(window), (unsigned long long)window->live_rows,
        (unsigned long long)window->total_bytes, (unsigned long long)window->generation,
        window->chunk_count, chunk_segments(window));
    if (window->run.segment.file_number == 0) {
        buffer_append_text(out, "null}");
        return;
    }
    buffer_append_format(out,
                         "{\"kind\":\"%s\",\"bytes\":%llu,\"recall\":", window->run.segment.kind,
                         (unsigned long long)window->run.segment.bytes);
    if (window->run.segment.recall < 0)
        buffer_append_text(out, "null}}");
    else
        buffer_append_format(out, "%.4f}}", window->run.segment.recall);
}

static size_t list_windows(struct http_request *request, const char *collection,
                           struct listed_window **windows)
{
    struct store_registry *registry = request->options->registry;
    struct store_lease *leases;
    size_t shard_count = store_registry_acquire(registry, collection, &request->arena, &leases);
    struct store_shard_info *infos = arena_calloc(&request->arena, shard_count + 1, sizeof(*infos));
    const char **shards = arena_calloc(&request->arena, shard_count + 1, sizeof(*shards));
    size_t count = 0;

    for (size_t i = 0; i < shard_count; i++) {
        const char *name = store_shard_name(leases[i].shard);
        store_shard_describe(leases[i].shard, &request->arena, &infos[i]);
        shards[i] = arena_copy(&request->arena, name, strlen(name));
        count += infos[i].window_count;
        store_registry_release(registry, &leases[i]);
    }
    *windows = arena_calloc(&request->arena, count + 1, sizeof(**windows));
    count = 0;
    for (size_t i = 0; i < shard_count; i++) {
        for (size_t j = 0; j < infos[i].window_count; j++)
            (*windows)[count++] = (struct listed_window){
                .info = &infos[i].windows[j], .collection = collection, .shard = shards[i]};
    }
    qsort(*windows, count, sizeof(**windows), by_start);
    return count;
}

void http_handle_windows(struct http_request *request)
{
    const char *name = http_request_argument(request, "collection");
    const struct config *config = request->options->config;
    const struct config_collection *collection = name ? config_collection_find(config, name) : NULL;
    struct listed_window *windows;
    size_t count;

    if (!name && config->collection_count == 1)
        collection = &config->collections[0];
    if (!collection) {
        if (name)
            http_reply_error(request, 404, "Not found: Collection `%.200s` doesn't exist!", name);
        else
            http_reply_error(request, 400, "Wrong input: which collection? ?collection=NAME");
        return;
    }
    count = list_windows(request, collection->name, &windows);
    request->status = 200;
    request->content_type = "application/json";
    buffer_append_text(&request->reply, "{\"windows\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&request->reply, ',');
        append_window(&request->reply, &windows[i]);
    }
    buffer_append_text(&request->reply, "]}");
}
