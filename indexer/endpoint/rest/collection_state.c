/* What a collection is: its state and settings as Qdrant shows them, where its shards are, what is being
 * built. */
#include <string.h>

#include "base/checksum.h"
#include "base/memory.h"
#include "indexer/endpoint/rest/client_settings.h"
#include "indexer/endpoint/rest/parse.h"
#include "indexer/endpoint/rest/payload_indexes.h"
#include "indexer/endpoint/rest/render.h"

/* Numbers that JavaScript holds exactly. */
#define PEER_ID_MASK ((UINT64_C(1) << 53) - 1)

/* The collection of the path, and a view of it. */
static int open_collection(struct http_request *request,
                           const struct config_collection **collection, struct query_view **view,
                           struct error *error)
{
    const struct doc no_body = {.type = DOC_NULL};
    struct parse_extras extras;

    if (rest_request_collection(request, collection, error) != 0)
        return error->code;
    return parse_view(request, &no_body, *collection, &extras, view, error);
}

/* Every key that the clients' models require, and those their users read (points_count,
 * indexed_vectors_count). red: damage or a stopped shard; yellow: a segment is being built. */
void rest_handle_collection(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_totals totals;
    struct error error = {0};
    struct buffer schema = {0};
    struct doc indexes, config, warnings;
    size_t shard_count;
    const char *status;

    if (open_collection(request, &collection, &view, &error) != 0 ||
        query_totals(view, &totals, &error) != 0 ||
        payload_indexes_read(request, collection, &indexes, &error) != 0 ||
        payload_indexes_render(view, &indexes, &request->arena, &schema, &error) != 0) {
        query_view_close(view);
        buffer_destroy(&schema);
        http_reply_from_error(request, &error);
        return;
    }
    status = totals.damaged ? "red" : totals.building ? "yellow" : "green";
    http_reply_begin(request);
    buffer_append_format(&request->reply,
                         "{\"status\":\"%s\",\"optimizer_status\":\"ok\","
                         "\"points_count\":%llu,\"indexed_vectors_count\":%llu,"
                         "\"segments_count\":%llu,",
                         status, (unsigned long long)totals.points,
                         (unsigned long long)totals.indexed, (unsigned long long)totals.segments);
    (void)query_view_freshness(view, &shard_count);
    config = client_settings_describe(&request->arena, collection,
                                      rest_metric_name(collection->metric), shard_count);
    buffer_append_text(&request->reply, "\"config\":");
    doc_write_json(&request->reply, &config);
    warnings = client_settings_warnings(&request->arena, collection);
    if (warnings.count > 0) {
        buffer_append_text(&request->reply, ",\"warnings\":");
        doc_write_json(&request->reply, &warnings);
    }
    buffer_append_text(&request->reply, ",\"payload_schema\":");
    buffer_append(&request->reply, schema.data, schema.size);
    buffer_destroy(&schema);
    buffer_append_byte(&request->reply, '}');
    http_reply_end(request, render_windrow(request, view, NULL));
    query_view_close(view);
}

/* Qdrant's optimizers are builds of segments here. How many of them wait is not known, whether any does. */
void rest_handle_optimizations(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_totals totals;
    struct error error = {0};

    if (open_collection(request, &collection, &view, &error) == 0 &&
        query_totals(view, &totals, &error) == 0) {
        const unsigned long long waiting =
            totals.building && totals.points > totals.indexed ? totals.points - totals.indexed : 0;
        http_reply_begin(request);
        buffer_append_format(&request->reply,
                             "{\"summary\":{\"queued_optimizations\":%d,\"queued_segments\":%d,"
                             "\"queued_points\":%llu,\"idle_segments\":%llu},\"running\":[]}",
                             totals.building, totals.building, waiting,
                             (unsigned long long)totals.segments);
        http_reply_end(request, render_windrow(request, view, NULL));
    } else {
        http_reply_from_error(request, &error);
    }
    query_view_close(view);
}

static unsigned long long peer_id(const char *node)
{
    return checksum_block(node, strlen(node), 0, 0, 0) & PEER_ID_MASK;
}

static int64_t living_rows(const struct query_shard_doc *shard)
{
    const struct doc *windows = doc_get(&shard->doc, "windows");
    int64_t sum = 0;

    for (uint32_t i = 0; windows && i < windows->count; i++) {
        int64_t rows = 0, dead = 0;
        (void)doc_as_i64(doc_get(&windows->items[i], "rows"), &rows);
        (void)doc_as_i64(doc_get(&windows->items[i], "dead_rows"), &dead);
        sum += rows - dead;
    }
    return sum;
}

/* A shard is a partition; Qdrant numbers shards. */
static void append_shards(struct http_request *request, const struct query_shard_doc *shards,
                          size_t count, bool remote)
{
    struct buffer *reply = &request->reply;
    bool first = true;

    buffer_append_text(reply, remote ? "\"remote_shards\":[" : "\"local_shards\":[");
    for (size_t i = 0; i < count; i++) {
        if ((shards[i].node != NULL) != remote)
            continue;
        buffer_append_format(reply, "%s{\"shard_id\":%zu,\"state\":\"Active\",", first ? "" : ",",
                             i);
        if (remote)
            buffer_append_format(reply, "\"peer_id\":%llu}", peer_id(shards[i].node));
        else
            buffer_append_format(reply, "\"points_count\":%lld}",
                                 (long long)living_rows(&shards[i]));
        first = false;
    }
    buffer_append_text(reply, "],");
}

void rest_handle_collection_cluster(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_shard_doc *shards;
    struct query_view *view = NULL;
    struct error error = {0};
    size_t count;

    if (open_collection(request, &collection, &view, &error) == 0 &&
        query_describe(view, &request->arena, &shards, &count, &error) == 0) {
        http_reply_begin(request);
        buffer_append_format(&request->reply, "{\"peer_id\":%llu,\"shard_count\":%zu,",
                             peer_id(rest_of(request)->config->node), count);
        append_shards(request, shards, count, false);
        append_shards(request, shards, count, true);
        buffer_append_text(&request->reply, "\"shard_transfers\":[]}");
        http_reply_end(request, render_windrow(request, view, NULL));
    } else {
        http_reply_from_error(request, &error);
    }
    query_view_close(view);
}

/* A record's id chooses its partition: there are no keys of shards. */
void rest_handle_shard_keys(struct http_request *request)
{
    const struct config_collection *collection;
    struct error error = {0};

    if (rest_request_collection(request, &collection, &error) != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"shard_keys\":[]}");
    http_reply_end(request, NULL);
}
