#include "indexer/rest/render.h"

#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX_BYTES = 256 * 1024 * 1024 };

/* Payload selection. */

/* Whether a path of the selector is exactly this key path or lies above (is_prefix) or below it. */
enum path_relation { PATH_UNRELATED, PATH_COVERS, PATH_LEADS_INTO };

static enum path_relation relate(const struct doc *selector_path, const char *key, size_t length)
{
    size_t common = selector_path->count < length ? selector_path->count : length;

    if (memcmp(selector_path->string, key, common) != 0)
        return PATH_UNRELATED;
    if (selector_path->count == length)
        return PATH_COVERS;
    if (selector_path->count < length)
        return key[selector_path->count] == '.' ? PATH_COVERS : PATH_UNRELATED;
    return selector_path->string[length] == '.' ? PATH_LEADS_INTO : PATH_UNRELATED;
}

static enum path_relation relate_any(const struct doc *paths, const char *key, size_t length)
{
    enum path_relation best = PATH_UNRELATED;

    for (uint32_t i = 0; i < paths->count; i++) {
        enum path_relation one = relate(&paths->items[i], key, length);
        if (one == PATH_COVERS)
            return PATH_COVERS;
        if (one == PATH_LEADS_INTO)
            best = one;
    }
    return best;
}

static struct doc select_map(struct arena *arena, const struct doc *map, const struct doc *paths,
                             bool include, const struct buffer *prefix)
{
    struct doc *items = doc_items(arena, map->count);
    struct doc selected = {.type = DOC_MAP, .items = items};

    for (uint32_t i = 0; i < map->count; i++) {
        const struct doc *key = &map->items[2 * i];
        const struct doc *value = &map->items[2 * i + 1];
        struct buffer path = {0};
        enum path_relation relation;
        buffer_append(&path, prefix->data, prefix->size);
        buffer_append(&path, key->string, key->count);
        relation = relate_any(paths, buffer_text(&path), path.size);
        if (relation == PATH_LEADS_INTO && value->type == DOC_MAP) {
            buffer_append_byte(&path, '.');
            items[2 * selected.count] = *key;
            items[2 * selected.count++ + 1] = select_map(arena, value, paths, include, &path);
        } else if ((relation == PATH_COVERS) == include) {
            items[2 * selected.count] = *key;
            items[2 * selected.count++ + 1] = *value;
        }
        buffer_destroy(&path);
    }
    return selected;
}

static struct doc select_payload(struct arena *arena, const struct doc *payload,
                                 const struct parse_selector *selector)
{
    const struct buffer root = {0};
    struct doc selected = *payload;

    if (selector->include)
        selected = select_map(arena, &selected, selector->include, true, &root);
    if (selector->exclude)
        selected = select_map(arena, &selected, selector->exclude, false, &root);
    return selected;
}

/* Points. */

static int render_vector(struct http_request *request, const struct query_row *row,
                         struct buffer *out, struct error *error)
{
    const struct config_collection *collection =
        config_collection_find(rest_of(request)->config, request->parts[0]);
    const float *vector;

    if (query_row_vector(row, &vector, error) != 0)
        return error->code;
    buffer_append_text(out, ",\"vector\":[");
    for (uint32_t i = 0; i < collection->dim; i++) {
        if (i > 0)
            buffer_append_byte(out, ',');
        doc_write_json_float(out, vector[i]);
    }
    buffer_append_byte(out, ']');
    return 0;
}

static int render_row(struct http_request *request, const struct query_row *row, const float *score,
                      const struct parse_selector *selector, bool explain, struct buffer *out,
                      struct error *error)
{
    struct doc id = query_row_id(row, &request->arena);

    if (out->size > REPLY_MAX_BYTES)
        return error_set(
            error, ERROR_INVALID,
            "Wrong input: the reply would exceed %d bytes: request fewer points, or no vectors",
            REPLY_MAX_BYTES);
    buffer_append_text(out, "{\"id\":");
    doc_write_json(out, &id);
    if (score) {
        buffer_append_format(out, ",\"version\":%lld,\"score\":", (long long)query_row_offset(row));
        doc_write_json_float(out, *score);
    }
    if (selector->payload) {
        struct doc payload;
        if (query_row_payload(row, &request->arena, &payload, error) != 0)
            return error->code;
        payload = select_payload(&request->arena, &payload, selector);
        buffer_append_text(out, ",\"payload\":");
        doc_write_json(out, &payload);
    }
    if (selector->vector && render_vector(request, row, out, error) != 0)
        return error->code;
    if (explain)
        buffer_append_format(out, ",\"windrow\":{\"time_ms\":%lld}",
                             (long long)query_row_time_ms(row));
    buffer_append_byte(out, '}');
    return 0;
}

int render_point(struct http_request *request, const struct query_row *row, const float *score,
                 const struct parse_selector *selector, struct buffer *out, struct error *error)
{
    return render_row(request, row, score, selector, false, out, error);
}

int render_hits(struct http_request *request, const struct query_result *result, bool scored,
                const struct parse_selector *selector, struct buffer *out, struct error *error)
{
    enum { STEPS_A_HIT = 100 };
    /* Hits that were found in time are shown, however late it is. */
    struct stop_meter meter = {.stop = result->partial ? NULL : &request->stop};

    buffer_append_byte(out, '[');
    for (size_t i = 0; i < result->hit_count; i++) {
        const struct query_hit *hit = &result->hits[i];
        if (stop_meter_add(&meter, STEPS_A_HIT, error) != 0)
            return error->code;
        if (i > 0)
            buffer_append_byte(out, ',');
        if (render_row(request, &hit->row, scored ? &hit->score : NULL, selector,
                       result->explain != NULL, out, error) != 0)
            return error->code;
    }
    buffer_append_byte(out, ']');
    return 0;
}

/* The windrow key. */

static void append_explain(struct buffer *out, const struct query_result *result)
{
    buffer_append_text(out, ",\"explain\":[");
    for (size_t i = 0; i < result->explain_count; i++) {
        const struct query_explain *entry = &result->explain[i];
        buffer_append_text(out, i > 0 ? ",{\"shard\":" : "{\"shard\":");
        doc_write_json_string(out, entry->shard, strlen(entry->shard));
        if (entry->node) {
            buffer_append_text(out, ",\"node\":");
            doc_write_json_string(out, entry->node, strlen(entry->node));
        }
        buffer_append_format(out,
                             ",\"window_start_ms\":%lld,\"window_end_ms\":%lld,\"source\":\"%s\","
                             "\"generation\":%llu,\"rows\":%llu,\"seconds\":%.9f}",
                             (long long)entry->window_start_ms,
                             (long long)(entry->window_start_ms + entry->window_length_ms),
                             entry->source, (unsigned long long)entry->generation,
                             (unsigned long long)entry->rows, entry->seconds);
    }
    buffer_append_byte(out, ']');
}

static void append_peers(struct buffer *out, const struct query_view *view,
                         const struct http_request *request)
{
    const struct query_peer_counts counts = query_view_peers(view);

    if (rest_of(request)->peers)
        buffer_append_format(out, ",\"nodes\":{\"asked\":%u,\"answered\":%u,\"hedged\":%u}",
                             counts.asked, counts.answered, counts.hedged);
}

void render_coverage(struct http_request *request, const struct store_coverage *coverage,
                     bool damaged, struct buffer *out)
{
    request->partial = damaged || !store_coverage_whole(coverage);
    buffer_append_format(out, "\"partial\":%s,\"missing\":", request->partial ? "true" : "false");
    if (!coverage->known) {
        buffer_append_text(out, "null");
        return;
    }
    buffer_append_byte(out, '[');
    for (size_t i = 0; i < coverage->missing_count; i++) {
        if (i > 0)
            buffer_append_byte(out, ',');
        doc_write_json_string(out, coverage->missing[i], strlen(coverage->missing[i]));
    }
    buffer_append_byte(out, ']');
}

const char *render_windrow(struct http_request *request, const struct query_view *view,
                           const struct query_result *result)
{
    struct buffer out = {0};
    const struct query_shard_freshness *shards;
    const char *text;
    size_t count;

    shards = query_view_freshness(view, &count);
    buffer_append_text(&out, ",\"windrow\":{\"offsets\":{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&out, ',');
        doc_write_json_string(&out, shards[i].shard, strlen(shards[i].shard));
        buffer_append_format(&out, ":%lld",
                             (long long)(shards[i].next_offset < 0 ? 0 : shards[i].next_offset));
    }
    buffer_append_text(&out, "},\"watermarks_ms\":{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&out, ',');
        doc_write_json_string(&out, shards[i].shard, strlen(shards[i].shard));
        if (shards[i].watermark_ms == INT64_MIN)
            buffer_append_text(&out, ":null");
        else
            buffer_append_format(&out, ":%lld", (long long)shards[i].watermark_ms);
    }
    buffer_append_byte(&out, '}');
    if (result) {
        buffer_append_format(&out, ",\"windows\":{\"searched\":%u,\"pruned\":%u,\"live\":%u}",
                             result->windows_searched, result->windows_pruned,
                             result->windows_live);
        if (result->explain)
            append_explain(&out, result);
    }
    append_peers(&out, view, request);
    buffer_append_byte(&out, ',');
    render_coverage(request, query_view_coverage(view), result && result->partial, &out);
    buffer_append_byte(&out, '}');
    text = arena_copy(&request->arena, out.data, out.size);
    buffer_destroy(&out);
    return text;
}
