/* A peer's request, answered from the shards that are open here. */
#include <string.h>

#include "base/memory.h"
#include "indexer/query/gather.h"

/* The last fields of an explanation, the choice and the reads, are not sent by windrow 0.2 and before. */
enum {
    RESULT_KEYS = 8,
    SHARD_FIELDS = 7,
    EXPLAIN_FIELDS = 10,
    EXPLAIN_FIELDS_MIN = 7,
    SHARDS_MAX = 100000
};

static const struct doc_limits request_limits = {.max_bytes = (size_t)64 << 20, .max_depth = 96};

/* {"do": NAME} */
static const struct {
    const char *name;
    int (*run)(struct query_view *view, const struct doc *op, struct arena *arena,
               struct doc *result, struct error *error);
} operations[] = {
    {"search", answer_search},     {"searches", answer_searches}, {"scroll", answer_scroll},
    {"count", answer_count},       {"facet", answer_facet},       {"find", answer_find},
    {"locate", answer_locate},     {"totals", answer_totals},     {"wait", answer_wait},
    {"describe", answer_describe},
};

/* Results that searches and scrolls share. */

int answer_result(const struct query_view *view, const struct query_result *result,
                  struct query_wants wants, struct arena *arena, struct doc *map,
                  struct error *error)
{
    struct doc *hits = doc_items(arena, (uint32_t)result->hit_count);
    struct doc *windows = doc_items(arena, 3);
    struct doc *explain = doc_items(arena, (uint32_t)result->explain_count);

    for (size_t i = 0; i < result->hit_count; i++) {
        const struct query_hit *hit = &result->hits[i];
        if (wire_from_hit(hit, query_view_place(view, hit->row.shard), view->collection->dim, wants,
                          arena, &hits[i], error) != 0)
            return error->code;
    }
    windows[0] = doc_integer(result->windows_searched);
    windows[1] = doc_integer(result->windows_pruned);
    windows[2] = doc_integer(result->windows_live);
    for (size_t i = 0; i < result->explain_count; i++) {
        const struct query_explain *entry = &result->explain[i];
        struct doc *fields = doc_items(arena, EXPLAIN_FIELDS);
        fields[0] = doc_integer(query_view_place(view, entry->shard));
        fields[1] = doc_integer(entry->window_start_ms);
        fields[2] = doc_integer(entry->window_length_ms);
        fields[3] = wire_text(entry->source);
        fields[4] = doc_integer((int64_t)entry->generation);
        fields[5] = doc_integer((int64_t)entry->rows);
        fields[6] = doc_number(entry->seconds);
        fields[7] = entry->choice;
        fields[8] = doc_number(entry->reads);
        fields[9] = doc_number(entry->effort);
        explain[i] = (struct doc){.type = DOC_ARRAY, .count = EXPLAIN_FIELDS, .items = fields};
    }
    doc_put(map, "hits",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)result->hit_count, .items = hits});
    doc_put(map, "windows", (struct doc){.type = DOC_ARRAY, .count = 3, .items = windows});
    doc_put(map, "partial", doc_bool(result->partial));
    doc_put(map, "explain",
            (struct doc){
                .type = DOC_ARRAY, .count = (uint32_t)result->explain_count, .items = explain});
    return 0;
}

static int take_explain(const struct gather_answer *answer, const struct doc *fields,
                        struct arena *arena, struct query_explain *entry, struct error *error)
{
    const struct doc *items = fields->items;
    double seconds;

    if (fields->type != DOC_ARRAY || fields->count < EXPLAIN_FIELDS_MIN ||
        items[3].type != DOC_STRING || !doc_as_double(&items[6], &seconds))
        return error_set(error, ERROR_INVALID, "peer: an explanation is not sound");
    for (int i = 0; i < 6; i++)
        if (i != 3 && items[i].type != DOC_INT)
            return error_set(error, ERROR_INVALID, "peer: an explanation is not sound");
    if (items[0].integer < 0 || (size_t)items[0].integer >= answer->shard_count)
        return error_set(error, ERROR_INVALID, "peer: an explanation is not sound");
    *entry = (struct query_explain){.shard = answer->shards[items[0].integer],
                                    .node = answer->node,
                                    .window_start_ms = items[1].integer,
                                    .window_length_ms = items[2].integer,
                                    .source = arena_copy(arena, items[3].string, items[3].count),
                                    .generation = (uint64_t)items[4].integer,
                                    .rows = (uint64_t)items[5].integer,
                                    .seconds = seconds};
    if (fields->count > 7 && items[7].type == DOC_MAP)
        entry->choice = items[7];
    if (fields->count > 8)
        (void)doc_as_double(&items[8], &entry->reads);
    if (fields->count > 9)
        (void)doc_as_double(&items[9], &entry->effort);
    return 0;
}

int gather_result(const struct gather_answer *answer, struct arena *arena,
                  struct query_result *result, struct error *error)
{
    const struct doc *windows, *explain;
    struct query_explain *all;
    size_t count = result->explain_count;

    if (wire_get(answer->result, "windows", DOC_ARRAY, &windows, error) != 0 ||
        wire_get(answer->result, "explain", DOC_ARRAY, &explain, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < 3; i++)
        if (windows->count < 3 || windows->items[i].type != DOC_INT ||
            windows->items[i].integer < 0 || windows->items[i].integer > UINT32_MAX)
            return error_set(error, ERROR_INVALID, "peer: `windows` is not sound");
    if (explain->count > 0) {
        all = memory_checked(arena_calloc(arena, count + explain->count, sizeof(*all)));
        if (count > 0)
            memcpy(all, result->explain, count * sizeof(*all));
        for (uint32_t i = 0; i < explain->count; i++)
            if (take_explain(answer, &explain->items[i], arena, &all[count + i], error) != 0)
                return error->code;
        result->explain = all;
        result->explain_count = count + explain->count;
    }
    result->windows_searched += (uint32_t)windows->items[0].integer;
    result->windows_pruned += (uint32_t)windows->items[1].integer;
    result->windows_live += (uint32_t)windows->items[2].integer;
    result->partial |= wire_get_bool(answer->result, "partial");
    return 0;
}

/* A request. */

static int read_shards(const struct doc *list, struct arena *arena,
                       struct query_view_options *options, struct error *error)
{
    const char **names;

    if (list->type != DOC_ARRAY || list->count > SHARDS_MAX)
        return error_set(error, ERROR_INVALID, "peer: the list of shards is not one");
    names = memory_checked(arena_calloc(arena, (size_t)list->count + 1, sizeof(*names)));
    for (uint32_t i = 0; i < list->count; i++) {
        if (list->items[i].type != DOC_STRING)
            return error_set(error, ERROR_INVALID, "peer: the list of shards is not one");
        names[i] = arena_copy(arena, list->items[i].string, list->items[i].count);
    }
    options->shards = names;
    options->shard_count = list->count;
    return 0;
}

/* Offsets of shards that are not asked for are somebody else's to wait for. */
static int read_offsets(const struct doc *map, struct arena *arena,
                        struct query_view_options *options, struct error *error)
{
    struct query_min_offset *offsets =
        memory_checked(arena_calloc(arena, (size_t)map->count + 1, sizeof(*offsets)));

    options->min_offsets = offsets;
    for (uint32_t i = 0; i < map->count; i++) {
        const struct doc *name = &map->items[2 * i], *offset = name + 1;
        size_t k = 0;
        if (offset->type != DOC_INT || offset->integer < 0)
            return error_set(error, ERROR_INVALID, "peer: min_offsets is not sound");
        while (k < options->shard_count && !doc_string_equals(name, options->shards[k]))
            k++;
        if (k < options->shard_count)
            offsets[options->min_offset_count++] =
                (struct query_min_offset){options->shards[k], offset->integer};
    }
    return 0;
}

/* What a peer asks for. */
struct peer_request {
    int64_t version;
    const struct doc *op;
};

static int read_request(const struct config *config, const struct doc *whole, struct arena *arena,
                        struct query_view_options *options, struct peer_request *peer,
                        struct error *error)
{
    const struct doc *request, *name, *offsets;
    uint32_t dim;

    if (whole->type != DOC_ARRAY || whole->count != 2 || whole->items[1].type != DOC_MAP)
        return error_set(error, ERROR_INVALID, "peer: the body is not a request");
    request = &whole->items[1];
    if (wire_get_version(request, &peer->version, error) != 0 ||
        wire_get(request, "collection", DOC_STRING, &name, error) != 0 ||
        wire_get_u32(request, "dim", UINT32_MAX, &dim, error) != 0 ||
        wire_get_i64(request, "now_ms", &options->score_now_ms, error) != 0 ||
        wire_get(request, "min_offsets", DOC_MAP, &offsets, error) != 0 ||
        wire_get(request, "op", DOC_MAP, &peer->op, error) != 0 ||
        read_shards(&whole->items[0], arena, options, error) != 0 ||
        read_offsets(offsets, arena, options, error) != 0)
        return error->code;
    if (config)
        options->collection =
            config_collection_find(config, arena_copy(arena, name->string, name->count));
    if (!options->collection)
        return error_set(error, ERROR_NOT_FOUND, "peer: this process has no such collection");
    if (options->collection->refused)
        return error_set(error, ERROR_NOT_FOUND, "peer: `%s` is refused here: %s",
                         options->collection->name, options->collection->refused);
    if (options->collection->dim != dim)
        return error_set(error, ERROR_NOT_FOUND,
                         "peer: `%s` has %u dimensions here, the request has %u",
                         options->collection->name, options->collection->dim, dim);
    return 0;
}

static int run_operation(struct query_view *view, const struct doc *op, struct arena *arena,
                         struct doc *result, struct error *error)
{
    const struct doc *name;

    if (wire_get(op, "do", DOC_STRING, &name, error) != 0)
        return error->code;
    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
        if (doc_string_equals(name, operations[i].name))
            return operations[i].run(view, op, arena, result, error);
    return error_set(error, ERROR_UNSUPPORTED, "peer: this process does not know the operation");
}

static struct doc shards_of(struct query_view *view, struct arena *arena)
{
    struct doc *list = doc_items(arena, (uint32_t)view->shard_count);

    for (size_t i = 0; i < view->shard_count; i++) {
        struct doc *fields = doc_items(arena, SHARD_FIELDS);
        fields[0] = wire_text(view->freshness[i].shard);
        fields[1] = doc_integer(view->freshness[i].next_offset);
        fields[2] = doc_integer(view->freshness[i].watermark_ms);
        fields[3] = wire_from_residues(query_shard_residues(&view->shards[i]), arena);
        fields[4] = doc_bool(view_shard_lacks(&view->shards[i]));
        fields[5] = doc_integer(view->shards[i].lease->known_offset);
        fields[6] = doc_integer(view->shards[i].lease->generation);
        list[i] = (struct doc){.type = DOC_ARRAY, .count = SHARD_FIELDS, .items = fields};
    }
    return (struct doc){.type = DOC_ARRAY, .count = (uint32_t)view->shard_count, .items = list};
}

/* Others are served while it waits for offsets. */
static int open_view(const struct query_view_options *options, struct query_view **view,
                     struct error *error)
{
    bool waits = options->pool && options->min_offset_count > 0 && !options->lacking;
    int code;

    if (waits && !thread_pool_wait_begin(options->pool))
        return error_set(error, ERROR_BUSY, "Too many requests wait for offsets");
    code = query_view_open(options, view, error);
    if (waits)
        thread_pool_wait_end(options->pool);
    return code;
}

static int answer(const struct query_view_options *options, const struct peer_request *peer,
                  struct arena *arena, struct buffer *out, struct error *error)
{
    struct doc whole = doc_map(arena, RESULT_KEYS);
    struct doc result = doc_map(arena, RESULT_KEYS);
    struct query_view *view = NULL;
    int code = open_view(options, &view, error);

    if (code == 0)
        code = run_operation(view, peer->op, arena, &result, error);
    if (code == 0)
        code = query_view_check_awake(view, error);
    if (code == 0) {
        doc_put(&whole, "v", doc_integer(peer->version));
        doc_put(&whole, "collection", wire_text(options->collection->name));
        doc_put(&whole, "dim", doc_integer(options->collection->dim));
        doc_put(&whole, "shards", shards_of(view, arena));
        doc_put(&whole, "result", result);
        doc_write_msgpack(out, &whole);
    }
    query_view_close(view);
    return code;
}

/* The asking node would get the same from everybody: it is told in an answer of its own. */
static void write_error(const struct peer_request *peer, const struct error *error,
                        struct arena *arena, struct buffer *out)
{
    struct doc map = doc_map(arena, 2);
    struct doc *pair = doc_items(arena, 2);

    pair[0] = doc_integer(error->code);
    pair[1] = wire_text(error->text);
    doc_put(&map, "v", doc_integer(peer->version));
    doc_put(&map, "error", (struct doc){.type = DOC_ARRAY, .count = 2, .items = pair});
    doc_write_msgpack(out, &map);
}

int query_answer(const struct config *config, const struct query_view_options *options,
                 const void *body, size_t body_bytes, struct buffer *out, struct error *error)
{
    struct query_view_options local = *options;
    const size_t first = out->size;
    struct peer_request peer = {0};
    struct arena arena;
    struct doc whole;
    int code;

    arena_create(&arena, 0);
    local.peers = NULL;
    code = wire_open(body, &body_bytes, error);
    if (code == 0)
        code = doc_parse_msgpack(&arena, body, body_bytes, &request_limits, &whole, error);
    if (code == 0)
        code = read_request(config, &whole, &arena, &local, &peer, error);
    if (code == 0) {
        code = answer(&local, &peer, &arena, out, error);
        if (code == ERROR_TIMEOUT) {
            out->size = first;
            write_error(&peer, error, &arena, out);
            code = 0;
        }
        if (code == 0)
            wire_seal(out, first);
    }
    arena_destroy(&arena);
    return code;
}
