#include "indexer/endpoint/rest/render.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/lease.h"

enum { REPLY_MAX_BYTES = 256 * 1024 * 1024 };

/* Payload selection, as Qdrant's: only `[]` reaches the items of an array, so that an index selects
 * nothing; a value that is neither object nor array stays where a path leads through it. */

/* What is left of the selector's paths at one value of the payload. */
struct paths {
    struct doc_path *items;
    uint32_t count;
    bool whole; /* one of them ends here: it selects everything below */
};

/* The paths that lead on by a key, or with `key` NULL by `[]`. */
static struct paths step(struct arena *arena, const struct paths *paths, const struct doc *key)
{
    struct paths next = {
        .items = memory_checked(arena_calloc(arena, paths->count + 1, sizeof(*next.items)))};

    for (uint32_t i = 0; i < paths->count; i++) {
        struct doc_path path = paths->items[i];
        struct doc_path_part part;
        bool leads;
        if (doc_path_next(&path, &part) <= 0)
            continue;
        leads = key ? part.kind == DOC_PATH_KEY && part.key_length == key->count &&
                          memcmp(part.key, key->string, key->count) == 0
                    : part.kind == DOC_PATH_EACH;
        next.whole |= leads && path.at == path.end;
        if (leads)
            next.items[next.count++] = path;
    }
    return next;
}

static struct doc select_below(struct arena *arena, const struct doc *value,
                               const struct paths *paths, bool include);

static struct doc select_map(struct arena *arena, const struct doc *map, const struct paths *paths,
                             bool include)
{
    struct doc *items = doc_items(arena, 2 * map->count);
    struct doc selected = {.type = DOC_MAP, .items = items};

    for (uint32_t i = 0; i < map->count; i++) {
        const struct doc *key = &map->items[2 * i];
        struct paths next = step(arena, paths, key);
        bool named = next.whole || next.count > 0;
        if (include ? !named : next.whole)
            continue;
        items[2 * selected.count] = *key;
        items[2 * selected.count++ + 1] =
            next.whole || !named ? key[1] : select_below(arena, &key[1], &next, include);
    }
    return selected;
}

static struct doc select_array(struct arena *arena, const struct doc *array,
                               const struct paths *paths, bool include)
{
    struct paths next = step(arena, paths, NULL);
    struct doc selected = {.type = DOC_ARRAY};
    struct doc *items;

    if (next.whole || next.count == 0)
        return next.whole == include ? *array : selected;
    items = doc_items(arena, array->count);
    selected.items = items;
    for (uint32_t i = 0; i < array->count; i++)
        items[selected.count++] = select_below(arena, &array->items[i], &next, include);
    return selected;
}

static struct doc select_below(struct arena *arena, const struct doc *value,
                               const struct paths *paths, bool include)
{
    if (value->type == DOC_MAP)
        return select_map(arena, value, paths, include);
    return value->type == DOC_ARRAY ? select_array(arena, value, paths, include) : *value;
}

static struct doc select_by(struct arena *arena, const struct doc *payload,
                            const struct doc *selector, bool include)
{
    struct paths paths = {.count = selector->count};

    paths.items = memory_checked(arena_calloc(arena, paths.count + 1, sizeof(*paths.items)));
    for (uint32_t i = 0; i < paths.count; i++) {
        const struct doc *text = &selector->items[i];
        paths.items[i] = (struct doc_path){text->string, text->string + text->count, false};
    }
    return select_map(arena, payload, &paths, include);
}

static struct doc select_payload(struct arena *arena, const struct doc *payload,
                                 const struct parse_selector *selector)
{
    struct doc selected = *payload;

    if (selector->include)
        selected = select_by(arena, &selected, selector->include, true);
    if (selector->exclude)
        selected = select_by(arena, &selected, selector->exclude, false);
    return selected;
}

/* Points. */

static void render_values(struct http_request *request, const struct doc *values,
                          struct buffer *out)
{
    if (request->call)
        buffer_append_format(out, "%zu",
                             http_call_add_vector(request, values->floats, values->count));
    else
        doc_write_json(out, values);
}

static int render_dense(struct http_request *request, const struct query_row *row,
                        struct buffer *out, struct error *error)
{
    struct doc values = {.type = DOC_FLOATS, .count = request->collection->dim};

    if (query_row_vector(row, &request->arena, &values.floats, error) != 0)
        return error->code;
    render_values(request, &values, out);
    return 0;
}

static void render_sparse(const struct doc *sparse, struct buffer *out)
{
    const struct doc *values = doc_get(sparse, "values");

    buffer_append_text(out, "{\"indices\":");
    doc_write_json(out, doc_get(sparse, "indices"));
    buffer_append_text(out, ",\"values\":[");
    for (uint32_t i = 0; i < values->count; i++) {
        if (i > 0)
            buffer_append_byte(out, ',');
        doc_write_json_float(out, (float)values->items[i].number);
    }
    buffer_append_text(out, "]}");
}

/* As parts_read has it. */
static void render_part(struct http_request *request, const struct doc *part, struct buffer *out)
{
    if (part->type == DOC_MAP) {
        render_sparse(part, out);
        return;
    }
    if (part->type == DOC_FLOATS) {
        render_values(request, part, out);
        return;
    }
    for (uint32_t i = 0; i < part->count; i++) {
        buffer_append_byte(out, i > 0 ? ',' : '[');
        render_values(request, &part->items[i], out);
    }
    buffer_append_byte(out, ']');
}

static bool is_named(const struct doc *names, const struct doc *name)
{
    for (uint32_t i = 0; names && i < names->count; i++)
        if (doc_equal(&names->items[i], name))
            return true;
    return !names;
}

/* By name; a vector that has none, alone, without one. */
static int render_vectors(struct http_request *request, const struct query_row *row,
                          const struct parse_selector *selector, const struct doc *parts,
                          struct buffer *out, struct error *error)
{
    const char *name = config_vector_name(request->collection);
    const bool dense = selector->vector && !query_row_is_bare(row);
    uint32_t others = 0, written = 0;

    for (uint32_t i = 0; i < parts->count; i++)
        others += is_named(selector->names, &parts->items[2 * i]);
    buffer_append_text(out, ",\"vector\":");
    if (others == 0 && dense && !*name)
        return render_dense(request, row, out, error);
    buffer_append_byte(out, '{');
    if (dense) {
        doc_write_json_string(out, name, strlen(name));
        buffer_append_byte(out, ':');
        if (render_dense(request, row, out, error) != 0)
            return error->code;
        written++;
    }
    for (uint32_t i = 0; i < parts->count; i++) {
        if (!is_named(selector->names, &parts->items[2 * i]))
            continue;
        if (written++ > 0)
            buffer_append_byte(out, ',');
        doc_write_json(out, &parts->items[2 * i]);
        buffer_append_byte(out, ':');
        render_part(request, &parts->items[2 * i + 1], out);
    }
    buffer_append_byte(out, '}');
    return 0;
}

static void render_place(const struct query_row *row, bool whole, struct buffer *out)
{
    buffer_append_format(out, ",\"windrow\":{\"time_ms\":%lld", (long long)query_row_time_ms(row));
    if (whole) {
        buffer_append_text(out, ",\"shard\":");
        doc_write_json_string(out, row->shard, strlen(row->shard));
        buffer_append_format(out, ",\"offset\":%lld,\"window_start_ms\":%lld",
                             (long long)query_row_offset(row), (long long)query_row_window_ms(row));
    }
    buffer_append_byte(out, '}');
}

static void write_payload(struct http_request *request, const struct doc *payload,
                          const struct parse_selector *selector, struct buffer *out)
{
    const struct doc selected = select_payload(&request->arena, payload, selector);

    doc_write_json(out, &selected);
}

int render_payload(struct http_request *request, const struct query_row *row,
                   const struct parse_selector *selector, struct buffer *out, struct error *error)
{
    struct doc payload;

    if (query_row_payload(row, &request->arena, &payload, error) != 0)
        return error->code;
    write_payload(request, &payload, selector, out);
    return 0;
}

int render_check_size(size_t bytes, struct error *error)
{
    if (bytes <= REPLY_MAX_BYTES)
        return 0;
    return error_set(
        error, ERROR_INVALID,
        "Wrong input: the reply would exceed %d bytes: request fewer points, or no vectors",
        REPLY_MAX_BYTES);
}

static int render_order(struct http_request *request, const struct query_hit *hit,
                        const char *order_by, struct buffer *out, struct error *error)
{
    struct doc value;

    if (query_hit_order_value(hit, order_by, &request->arena, &value, error) != 0)
        return error->code;
    buffer_append_text(out, ",\"order_value\":");
    doc_write_json(out, &value);
    return 0;
}

/* `hit`: what the row was found by, or NULL. */
static int render_row(struct http_request *request, const struct query_row *row,
                      const struct query_hit *hit, bool scored,
                      const struct parse_selector *selector, bool explain, struct buffer *out,
                      struct error *error)
{
    struct doc id = query_row_id(row, &request->arena);
    struct doc payload, parts = {.type = DOC_MAP};

    if (render_check_size(out->size, error) != 0)
        return error->code;
    if ((selector->payload || selector->parts) &&
        query_row_body(row, &request->arena, &payload, selector->parts ? &parts : NULL, error) != 0)
        return error->code;
    buffer_append_text(out, "{\"id\":");
    doc_write_json(out, &id);
    if (scored) {
        buffer_append_text(out, ",\"version\":");
        buffer_append_integer(out, query_row_offset(row));
        buffer_append_text(out, ",\"score\":");
        doc_write_json_float(out, hit->score);
    }
    if (hit && selector->order_by &&
        render_order(request, hit, selector->order_by, out, error) != 0)
        return error->code;
    if (selector->payload) {
        buffer_append_text(out, ",\"payload\":");
        write_payload(request, &payload, selector, out);
    }
    if ((selector->vector || selector->parts || selector->names) &&
        render_vectors(request, row, selector, &parts, out, error) != 0)
        return error->code;
    if (explain || selector->place)
        render_place(row, selector->place, out);
    buffer_append_byte(out, '}');
    return 0;
}

int render_point(struct http_request *request, const struct query_row *row,
                 const struct parse_selector *selector, struct buffer *out, struct error *error)
{
    return render_row(request, row, NULL, false, selector, false, out, error);
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
        if (render_row(request, &hit->row, hit, scored, selector, result->explain != NULL, out,
                       error) != 0)
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
        buffer_append_format(
            out,
            ",\"window_start_ms\":%lld,\"window_end_ms\":%lld,\"source\":\"%s\","
            "\"generation\":%llu,\"rows\":%llu,\"seconds\":%.9f,\"reads\":%.1f,\"choice\":",
            (long long)entry->window_start_ms,
            (long long)(entry->window_start_ms + entry->window_length_ms), entry->source,
            (unsigned long long)entry->generation, (unsigned long long)entry->rows, entry->seconds,
            entry->reads);
        doc_write_json(out, &entry->choice);
        if (entry->effort > 0)
            buffer_append_format(out, ",\"effort\":%.3f", entry->effort);
        buffer_append_byte(out, '}');
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
    buffer_append_text(out, request->partial ? "\"partial\":true,\"missing\":"
                                             : "\"partial\":false,\"missing\":");
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

/* Only where there are any. */
static void append_lacking(struct buffer *out, const struct query_shard_freshness *shards,
                           size_t count)
{
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        if (!shards[i].lacks)
            continue;
        buffer_append_text(out, any ? "," : "},\"behind\":{");
        any = true;
        doc_write_json_string(out, shards[i].shard, strlen(shards[i].shard));
        buffer_append_byte(out, ':');
        buffer_append_integer(out, shards[i].known_offset);
    }
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
        buffer_append_byte(&out, ':');
        buffer_append_integer(&out, shards[i].next_offset < 0 ? 0 : shards[i].next_offset);
    }
    append_lacking(&out, shards, count);
    buffer_append_text(&out, "},\"watermarks_ms\":{");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&out, ',');
        doc_write_json_string(&out, shards[i].shard, strlen(shards[i].shard));
        buffer_append_byte(&out, ':');
        if (shards[i].watermark_ms == INT64_MIN)
            buffer_append_text(&out, "null");
        else
            buffer_append_integer(&out, shards[i].watermark_ms);
    }
    buffer_append_byte(&out, '}');
    if (result) {
        buffer_append_text(&out, ",\"windows\":{\"searched\":");
        buffer_append_unsigned(&out, result->windows_searched, 1);
        buffer_append_text(&out, ",\"pruned\":");
        buffer_append_unsigned(&out, result->windows_pruned, 1);
        buffer_append_text(&out, ",\"live\":");
        buffer_append_unsigned(&out, result->windows_live, 1);
        buffer_append_byte(&out, '}');
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
