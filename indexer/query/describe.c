/* Shards as operators see them, one document each, those of peers as they sent them. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/query/gather.h"
#include "indexer/query/view.h"
#include "store/snapshot.h"

enum {
    WINDOW_KEYS = 20,
    CHOICE_KEYS = 5,
    SHARD_KEYS = 25,
    RECALL_KEYS = 4,
    WHY_BYTES = 160,
    WINDOWS_MAX = 1 << 20
};

static const char *copy(struct arena *arena, const char *text)
{
    return memory_checked(arena_copy(arena, text, strlen(text)));
}

/* Windows. */

static const char *choice_reason(const struct index_choice *choice, bool lists)
{
    switch (choice->how) {
    case INDEX_CHOICE_TRIAL:
        return lists ? "lists were as fast as a graph, or faster, on a sample of the rows"
                     : "a graph was faster than lists on a sample of the rows";
    case INDEX_CHOICE_KNOWN:
        return lists ? "lists were as fast as graphs, or faster, in segments of about as many rows"
                     : "graphs were faster than lists in segments of about as many rows";
    case INDEX_CHOICE_COMPARE:
        return "built to measure this kind: the other one is expected to be about as fast";
    default:
        return NULL;
    }
}

static struct doc rate_doc(const struct index_choice *choice, float cost)
{
    double rate = index_choice_rate(choice, (double)cost);

    return rate > 0 ? doc_number(round(rate)) : doc_null();
}

struct doc query_choice_doc(const struct index_segment *segment, struct arena *arena)
{
    const struct index_choice *choice = segment ? index_segment_choice(segment) : NULL;
    const char *reason;
    struct doc map;

    if (!choice || !(choice->cost > 0))
        return doc_null();
    reason = choice_reason(choice, index_segment_kind(segment) == SEGMENT_IVF_PQ);
    map = doc_map(arena, CHOICE_KEYS);
    doc_put(&map, "reason", reason ? doc_string(arena, reason) : doc_null());
    doc_put(&map, "hnsw_per_second", rate_doc(choice, choice->graph_cost));
    doc_put(&map, "ivf_pq_per_second", rate_doc(choice, choice->lists_cost));
    doc_put(&map, "measured_per_second", rate_doc(choice, choice->cost));
    doc_put(&map, "at_recall", doc_number(round((double)choice->recall * 1e6) / 1e6));
    return map;
}

/* A shard that is described. What the store says of it is newer than the view's snapshot and older than the
 * other one: a segment that came or went meanwhile is in one of them. */
struct described_shard {
    struct store_shard *shard;
    const struct query_describer *describer; /* NULL: nobody knows more than the store. */
    const struct store_snapshot *before, *after;
};

static const struct index_segment *find_in(const struct store_snapshot *snapshot,
                                           uint64_t file_number)
{
    size_t count, span_count;
    const struct store_source *sources = store_snapshot_sources(snapshot, &count);
    const struct store_span *spans = store_snapshot_spans(snapshot, &span_count);

    for (size_t i = 0; i < count; i++)
        if (sources[i].segment && sources[i].segment->info.file_number == file_number)
            return sources[i].segment->object;
    for (size_t i = 0; i < span_count; i++)
        if (spans[i].segment->info.file_number == file_number)
            return spans[i].segment->object;
    return NULL;
}

/* The segment of that file; NULL: there is none, or it could not be opened. */
static const struct index_segment *find_segment(const struct described_shard *shard,
                                                uint64_t file_number)
{
    const struct index_segment *segment = NULL;

    if (file_number > 0)
        segment = find_in(shard->before, file_number);
    if (file_number > 0 && !segment)
        segment = find_in(shard->after, file_number);
    return segment;
}

static struct doc segment_doc(const struct described_shard *shard,
                              const struct store_segment_info *segment, struct arena *arena)
{
    struct doc map;

    if (segment->file_number == 0)
        return doc_null();
    map = doc_map(arena, 4);
    doc_put(&map, "kind", doc_string(arena, segment_kind_name(segment->kind)));
    doc_put(&map, "bytes", doc_integer((int64_t)segment->bytes));
    doc_put(&map, "recall", segment->recall < 0 ? doc_null() : doc_number(segment->recall));
    doc_put(&map, "choice", query_choice_doc(find_segment(shard, segment->file_number), arena));
    return map;
}

static struct doc span_doc(const struct described_shard *shard, const struct store_span_info *span,
                           struct arena *arena)
{
    const struct store_span_part *last = &span->parts[span->part_count - 1];
    struct doc map = doc_map(arena, 9);

    doc_put(&map, "tier", doc_integer(span->tier));
    doc_put(&map, "kind", doc_string(arena, segment_kind_name(span->segment.kind)));
    doc_put(&map, "start_ms", doc_integer(span->parts[0].window_start_ms));
    doc_put(&map, "end_ms", doc_integer(last->window_start_ms + span->window_length_ms));
    doc_put(&map, "windows", doc_integer(span->part_count));
    doc_put(&map, "rows", doc_integer((int64_t)span->rows));
    doc_put(&map, "live", doc_number((double)span->live_rows / (double)span->rows));
    doc_put(&map, "bytes", doc_integer((int64_t)span->segment.bytes));
    doc_put(&map, "choice",
            query_choice_doc(find_segment(shard, span->segment.file_number), arena));
    return map;
}

/* How the vectors of a sealed window are stored, and what that costs; NULL for others. */
static struct doc storage_doc(const struct store_window_info *window, struct arena *arena)
{
    const struct store_file_info *run = &window->run;
    bool refused = run->refused != VECTOR_CODEC_RAW;
    double recall = refused ? run->refused_recall : run->recall;
    struct doc map;

    if (!window->sealed)
        return doc_null();
    map = doc_map(arena, 3);
    doc_put(&map, "type",
            doc_string(arena, vector_codec_is_float32(run->codec) ? "float32"
                                                                  : vector_codec_name(run->codec)));
    doc_put(&map, "recall", recall < 0 ? doc_null() : doc_number(recall));
    doc_put(&map, "refused",
            refused ? doc_string(arena, vector_codec_name(run->refused)) : doc_null());
    return map;
}

/* The spans that have the window's run as a part: at most one of a tier. */
static struct doc spans_doc(const struct described_shard *shard,
                            const struct store_shard_info *info,
                            const struct store_window_info *window, struct arena *arena)
{
    struct doc *items = doc_items(arena, STORE_SPAN_TIERS);
    uint32_t count = 0;

    for (size_t i = 0; window->sealed && i < info->span_count; i++) {
        const struct store_span_info *span = &info->spans[i];
        for (uint32_t k = 0; k < span->part_count && count < STORE_SPAN_TIERS; k++)
            if (span->parts[k].file_number == window->run.file_number)
                items[count++] = span_doc(shard, span, arena);
    }
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = items};
}

/* How far a merge of its files is. */
static struct doc merge_doc(const struct store_window_info *window, struct arena *arena)
{
    struct doc map;

    if (window->merge_rows == 0)
        return doc_null();
    map = doc_map(arena, 2);
    doc_put(&map, "rows", doc_integer((int64_t)window->merge_rows));
    doc_put(&map, "rows_done", doc_integer((int64_t)window->merge_rows_done));
    return map;
}

/* Why a sealed window has no segment. Builds know it where they gave the window up. */
static const char *no_segment_reason(const struct config_collection *collection,
                                     const struct described_shard *shard,
                                     const struct store_window_info *window, struct arena *arena)
{
    const struct query_describer *describer = shard->describer;
    char why[WHY_BYTES];

    if (collection->index_kind == CONFIG_INDEX_FLAT)
        return "index.kind is flat: the window is scanned";
    if (describer && describer->why_scanned &&
        describer->why_scanned(describer->context, shard->shard, window, why, sizeof(why)))
        return copy(arena, why);
    return window->run.rows < config_flat_below_rows(collection)
               ? "fewer rows than index.flat_below (with spans, an eighth of it): the window "
                 "is scanned"
               : "no segment yet: the window is scanned until one is built";
}

/* Why a window is searched in the way it is. */
static const char *reason_of(const struct config_collection *collection,
                             const struct described_shard *shard,
                             const struct store_window_info *window, struct arena *arena)
{
    const struct store_segment_info *segment = &window->run.segment;
    const struct index_segment *opened = find_segment(shard, segment->file_number);
    bool lists = segment->kind == SEGMENT_IVF_PQ;
    bool chosen_here = collection->index_kind == CONFIG_INDEX_AUTO;

    if (!window->sealed)
        return "open windows are scanned; large chunks of them have segments of their own";
    if (segment->file_number == 0 || collection->index_kind == CONFIG_INDEX_FLAT)
        return no_segment_reason(collection, shard, window, arena);
    if (!chosen_here)
        return "index.kind names it";
    if (opened && index_segment_choice(opened)->how != INDEX_CHOICE_NONE)
        return choice_reason(index_segment_choice(opened), lists);
    return lists ? "older than index.ivf_pq_after, or too large to build a graph"
                 : "younger than index.ivf_pq_after; built before the kinds were compared";
}

static struct doc window_doc(const struct config_collection *collection,
                             const struct described_shard *shard,
                             const struct store_shard_info *info,
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
    doc_put(&map, "storage", storage_doc(window, arena));
    doc_put(&map, "segment", segment_doc(shard, &window->run.segment, arena));
    doc_put(&map, "span", spans_doc(shard, info, window, arena));
    doc_put(&map, "merge", merge_doc(window, arena));
    doc_put(&map, "reason", doc_string(arena, reason_of(collection, shard, window, arena)));
    return map;
}

/* What was measured of answers from the shards of this process; null: nothing yet. */
static struct doc recall_doc(const struct query_view *view, struct arena *arena)
{
    struct query_recall recall;
    struct doc map;

    if (!query_recall_get(view->registry, view->collection->name, &recall))
        return doc_null();
    map = doc_map(arena, RECALL_KEYS);
    doc_put(&map, "asked", doc_number(recall.asked));
    doc_put(&map, "measured", doc_number(recall.measured));
    doc_put(&map, "effort", doc_number(recall.effort));
    doc_put(&map, "searches", doc_integer(recall.searches));
    return map;
}

/* Shards of this process. */

static void describe_shard(const struct query_view *view, size_t i, struct arena *arena,
                           struct query_described *out)
{
    struct store_snapshot *after;
    struct described_shard shard;
    uint32_t count;

    out->lease = view->shards[i].lease;
    store_shard_describe(out->lease->shard, arena, &out->info);
    after = store_snapshot_acquire(out->lease->shard, view->now_ms);
    shard = (struct described_shard){out->lease->shard, view->describer, view->shards[i].snapshot,
                                     after};
    count = (uint32_t)out->info.window_count;
    out->windows = doc_items(arena, count);
    for (uint32_t k = 0; k < count; k++)
        out->windows[k] =
            window_doc(view->collection, &shard, &out->info, &out->info.windows[k], arena);
    store_snapshot_release(after);
    out->shard = doc_map(arena, SHARD_KEYS);
    doc_put(&out->shard, "shard", doc_string(arena, view->shards[i].name));
    doc_put(&out->shard, "windows",
            (struct doc){.type = DOC_ARRAY, .count = count, .items = out->windows});
    doc_put(&out->shard, "recall", recall_doc(view, arena));
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

    if (wire_get(answer->result, "shards", DOC_ARRAY, &list, error) != 0)
        return error->code;
    if (list->count != answer->shard_count)
        return error_set(error, ERROR_INVALID, "peer: not one description a shard");
    for (uint32_t i = 0; i < list->count; i++)
        if (check_shard(&list->items[i], answer->shards[i], error) != 0)
            return error->code;
    for (uint32_t i = 0; i < list->count; i++)
        taken->shards[taken->count++] =
            (struct query_shard_doc){.shard = copy(taken->arena, answer->shards[i]),
                                     .node = answer->node,
                                     .doc = list->items[i]};
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
