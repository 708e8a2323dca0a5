/* Shards as operators see them, one document each, those of peers as they sent them. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/query/gather.h"

enum { WINDOW_KEYS = 20, SHARD_KEYS = 24, WINDOWS_MAX = 1 << 20 };

static const char *copy(struct arena *arena, const char *text)
{
    return memory_checked(arena_copy(arena, text, strlen(text)));
}

/* Windows. */

static struct doc segment_doc(const struct store_segment_info *segment, struct arena *arena)
{
    struct doc map;

    if (segment->file_number == 0)
        return doc_null();
    map = doc_map(arena, 3);
    doc_put(&map, "kind", doc_string(arena, segment_kind_name(segment->kind)));
    doc_put(&map, "bytes", doc_integer((int64_t)segment->bytes));
    doc_put(&map, "recall", segment->recall < 0 ? doc_null() : doc_number(segment->recall));
    return map;
}

/* Why a window is searched in the way it is. */
static const char *reason_of(const struct config_collection *collection,
                             const struct store_window_info *window)
{
    const struct store_segment_info *segment = &window->run.segment;
    bool chosen_here = collection->index_kind == CONFIG_INDEX_AUTO;

    if (!window->sealed)
        return "open windows are scanned; large chunks of them have segments of their own";
    if (collection->index_kind == CONFIG_INDEX_FLAT)
        return "index.kind is flat: the window is scanned";
    if (segment->file_number == 0)
        return window->run.rows < collection->flat_below_rows
                   ? "fewer rows than index.flat_below: the window is scanned"
                   : "no segment yet: the window is scanned until one is built";
    if (!chosen_here)
        return "index.kind names it";
    return segment->kind == SEGMENT_IVF_PQ
               ? "older than index.ivf_pq_after, or too large to build a graph"
               : "younger than index.ivf_pq_after, and a graph fits the memory for builds";
}

struct doc query_window_doc(const struct config_collection *collection,
                            const struct store_window_info *window, struct arena *arena)
{
    struct doc map = doc_map(arena, WINDOW_KEYS);
    uint64_t dead = window->sealed ? window->masked_rows : 0;
    size_t chunk_segments = 0;

    for (size_t i = 0; i < window->chunk_count; i++) {
        chunk_segments += window->chunks[i].segment.file_number != 0;
        dead += window->chunks[i].dead_rows;
    }
    doc_put(&map, "start_ms", doc_integer(window->start_ms));
    doc_put(&map, "end_ms", doc_integer(window->start_ms + window->length_ms));
    doc_put(&map, "state", doc_string(arena, store_window_state(window)));
    doc_put(&map, "rows", doc_integer((int64_t)window->live_rows));
    doc_put(&map, "dead_rows", doc_integer((int64_t)dead));
    doc_put(&map, "bytes", doc_integer((int64_t)window->total_bytes));
    doc_put(&map, "generation", doc_integer((int64_t)window->generation));
    doc_put(&map, "chunks", doc_integer((int64_t)window->chunk_count));
    doc_put(&map, "chunk_segments", doc_integer((int64_t)chunk_segments));
    doc_put(&map, "segment", segment_doc(&window->run.segment, arena));
    doc_put(&map, "reason", doc_string(arena, reason_of(collection, window)));
    return map;
}

/* Shards of this process. */

static void describe_shard(const struct query_view *view, size_t i, struct arena *arena,
                           struct query_described *out)
{
    uint32_t count;

    out->lease = view->shards[i].lease;
    store_shard_describe(out->lease->shard, arena, &out->info);
    count = (uint32_t)out->info.window_count;
    out->windows = doc_items(arena, count);
    for (uint32_t k = 0; k < count; k++)
        out->windows[k] = query_window_doc(view->collection, &out->info.windows[k], arena);
    out->shard = doc_map(arena, SHARD_KEYS);
    doc_put(&out->shard, "shard", doc_string(arena, view->shards[i].name));
    doc_put(&out->shard, "windows",
            (struct doc){.type = DOC_ARRAY, .count = count, .items = out->windows});
}

/* NULL: nobody waits for it any more. */
static struct query_described *describe_here(struct query_view *view, struct arena *arena,
                                             struct error *error)
{
    struct query_described *all =
        memory_checked(arena_calloc(arena, view->shard_count + 1, sizeof(*all)));

    for (size_t i = 0; i < view->shard_count; i++) {
        if (query_view_check(view, error) != 0)
            return NULL;
        describe_shard(view, i, arena, &all[i]);
    }
    if (view->describer)
        view->describer->add(view->describer->context, all, view->shard_count, arena);
    return all;
}

int answer_describe(struct query_view *view, const struct doc *op, struct arena *arena,
                    struct doc *result, struct error *error)
{
    const struct query_described *here = describe_here(view, arena, error);
    struct doc *shards = doc_items(arena, (uint32_t)view->shard_count);

    (void)op;
    if (!here)
        return error->code;
    for (size_t i = 0; i < view->shard_count; i++)
        shards[i] = here[i].shard;
    doc_put(result, "shards",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)view->shard_count, .items = shards});
    return 0;
}

/* Shards of peers: {"shards": [a document for each shard of the answer, in its order]}. What readers
 * of windows rely on is checked, the rest is passed on as it is. */

struct taken {
    struct arena *arena;
    struct query_shard_doc *shards;
    size_t count;
};

static int check_window(const struct doc *window, struct error *error)
{
    static const char *const numbers[] = {"rows", "bytes", "generation"};
    const struct doc *value;
    int64_t start_ms, end_ms, number;

    if (wire_get_i64(window, "start_ms", &start_ms, error) != 0 ||
        wire_get_i64(window, "end_ms", &end_ms, error) != 0 ||
        wire_get(window, "state", DOC_STRING, &value, error) != 0)
        return error->code;
    if (end_ms < start_ms)
        return error_set(error, ERROR_INVALID, "peer: a window ends before it starts");
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (wire_get_i64(window, numbers[i], &number, error) != 0)
            return error->code;
        if (number < 0)
            return error_set(error, ERROR_INVALID, "peer: `%s` of a window is negative",
                             numbers[i]);
    }
    return 0;
}

static int check_shard(const struct doc *shard, const char *name, struct error *error)
{
    const struct doc *value, *windows;

    if (shard->type != DOC_MAP)
        return error_set(error, ERROR_INVALID, "peer: a shard is not described by a map");
    if (wire_get(shard, "shard", DOC_STRING, &value, error) != 0 ||
        wire_get(shard, "windows", DOC_ARRAY, &windows, error) != 0)
        return error->code;
    if (!doc_string_equals(value, name) || windows->count > WINDOWS_MAX)
        return error_set(error, ERROR_INVALID, "peer: the description of a shard is not sound");
    for (uint32_t i = 0; i < windows->count; i++)
        if (windows->items[i].type != DOC_MAP || check_window(&windows->items[i], error) != 0)
            return error_set(error, ERROR_INVALID, "peer: windows[%u] is not sound", i);
    return 0;
}

static int take_describe(void *context, const struct gather_answer *answer, struct error *error)
{
    struct taken *taken = context;
    const struct doc *list;
    const char *node;

    if (wire_get(answer->result, "shards", DOC_ARRAY, &list, error) != 0)
        return error->code;
    if (list->count != answer->shard_count)
        return error_set(error, ERROR_INVALID, "peer: not one description a shard");
    for (uint32_t i = 0; i < list->count; i++)
        if (check_shard(&list->items[i], answer->shards[i], error) != 0)
            return error->code;
    node = copy(taken->arena, answer->node);
    for (uint32_t i = 0; i < list->count; i++)
        taken->shards[taken->count++] = (struct query_shard_doc){
            .shard = copy(taken->arena, answer->shards[i]), .node = node, .doc = list->items[i]};
    return 0;
}

static int by_shard(const void *a, const void *b)
{
    const struct query_shard_doc *left = a, *right = b;

    return query_shard_compare(left->shard, right->shard);
}

int query_describe(struct query_view *view, struct arena *arena, struct query_shard_doc **shards,
                   size_t *count, struct error *error)
{
    const struct doc op = wire_from_filter("describe", NULL, NULL, arena);
    struct taken taken = {.arena = arena};
    const struct query_described *here;
    struct gather gather;
    int code;

    gather_start(&gather, view, arena, &op);
    taken.shards = memory_checked(
        arena_calloc(arena, view->shard_count + view->remote_count + 1, sizeof(*taken.shards)));
    here = describe_here(view, arena, error);
    for (size_t i = 0; here && i < view->shard_count; i++)
        taken.shards[taken.count++] = (struct query_shard_doc){
            .shard = copy(arena, view->shards[i].name), .doc = here[i].shard};
    code = gather_finish(&gather, here ? 0 : error->code, take_describe, &taken, error);
    if (taken.count > 1)
        qsort(taken.shards, taken.count, sizeof(*taken.shards), by_shard);
    *shards = taken.shards;
    *count = taken.count;
    return code;
}
