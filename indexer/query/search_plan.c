/* How each source of a search is asked.
 *
 * Costs are counted in rows scored one after another. Constants were measured with
 * windrow-bench-serve at 384 dimensions (bench/notes/search.md). */
#include "indexer/query/column.h"
#include "indexer/query/searcher.h"

#include <math.h>
#include <string.h>

enum {
    SAMPLE_ROWS = 512,   /* looked at to learn how many rows are accepted */
    FILTER_EF = 2,       /* room in the pool for each row expected before the k-th accepted one */
    ROWS_PER_EF_MIN = 12 /* rows to a place in the pool: below that a scan, which is exact */
};
static const double EF_COST = 20;         /* of each place of ef */
static const double ENTRY_COST = 60;      /* finding the ways into a segment */
static const double SUBGRAPH_COST = 4;    /* a place costs so much more when few rows match ... */
static const double SUBGRAPH_EF = 0.625;  /* ... and so many of them do as well */
static const double SHARE_MIN = 0.5;      /* of ef, for a group of sources */
static const double ROW_ALONE_COST = 1.2; /* scoring a row that has no neighbour in the scan */
static const double LOOK_DIMENSIONS = 50; /* a look at a row costs as much as so many of its dims */

/* Nothing in the source can reach the floor: a cosine is at most 1, decay takes its part. */
static bool is_hopeless(const struct source_search *source)
{
    struct searcher *searcher = source->searcher;

    return searcher->metric == VECTOR_METRIC_COSINE &&
           search_order_bound(source, 1.0 + 1e-4) < search_floor(searcher);
}

static void bind_filter(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;

    if (searcher->filter && searcher->filter->needs_payload)
        source->binding = query_binding_make(searcher->view, source->shard, source->source,
                                             searcher->filter, &source->bound);
}

/* Share of the rows that are accepted, from a sample over the whole source. */
static double sample_share(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;
    uint32_t rows = source->source->row_count;
    uint32_t step = rows / SAMPLE_ROWS + 1;
    uint32_t looked_at = 0;
    uint32_t accepted = 0;

    for (uint32_t row = step / 2; row < rows && !search_was_cut(searcher); row += step, looked_at++)
        accepted += search_row_accepted(source, row);
    /* None of so many: below one in so many, say half of that. */
    return looked_at ? fmax(accepted, 0.5) / looked_at : 1;
}

/* The exact set when the postings of some condition leave at most half of the rows. */
static bool find_matching(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;
    uint32_t rows = source->source->row_count;
    uint64_t *matching = arena_calloc(&source->bound, rows / 64 + 1, sizeof(*matching));
    struct query_row row = query_view_row(searcher->view, source->shard, source->source, 0);

    if (query_postings_match(searcher->filter, source->binding, &row, rows / 2, &source->payloads,
                             &source->meter, matching, &source->matching_rows))
        source->matching = matching;
    return source->matching != NULL;
}

/* The cheapest way without the segment. */
static void choose_access_path(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;
    double rows = source->source->row_count;
    double look = LOOK_DIMENSIONS / searcher->dim;
    double sparse;

    source->path = ACCESS_SCAN;
    source->cost = rows;
    source->matching_rows = source->source->row_count;
    if ((!searcher->filter && !source->bounded) ||
        (searcher->filter && searcher->filter->needs_payload && !source->binding))
        return;
    if (source->binding && find_matching(source)) {
        sparse = (double)source->matching_rows * ROW_ALONE_COST;
        source->path = source->matching_rows == 0 ? ACCESS_NONE : ACCESS_ROW_LIST;
    } else {
        double share = search_is_stopped(source->searcher) ? 1 : sample_share(source);
        source->matching_rows = (uint64_t)ceil(rows * share);
        sparse = rows * (look + share * ROW_ALONE_COST);
        source->path = ACCESS_FILTER_FIRST;
    }
    if (sparse < rows || source->path == ACCESS_NONE)
        source->cost = sparse;
    else
        source->path = ACCESS_SCAN;
}

void search_source_prepare(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;
    const struct store_source *table = source->source;

    arena_create(&source->payloads, 0);
    arena_create(&source->bound, 0);
    source->meter = (struct stop_meter){.stop = searcher->view->stop};
    source->how = table->kind == STORE_SOURCE_MEMTABLE ? "memtable"
                  : table->kind == STORE_SOURCE_CHUNK  ? "chunk"
                                                       : "run";
    source->decay_min = search_decay(searcher, table->min_event_ms);
    source->decay_max = search_decay(searcher, table->max_event_ms);
    source->bounded = searcher->bounded && (table->min_event_ms < searcher->from_ms ||
                                            table->max_event_ms >= searcher->to_ms);
    source->path = ACCESS_NONE;
    if (is_hopeless(source))
        return;
    bind_filter(source);
    choose_access_path(source);
}

void search_source_finish(struct source_search *source)
{
    query_binding_drop(source->binding, source->searcher->filter);
    source->binding = NULL;
    source->matching = NULL;
    arena_destroy(&source->payloads);
    arena_destroy(&source->bound);
}

/* Walks. */

static bool has_usable_segment(const struct source_search *source)
{
    const struct store_source *table = source->source;

    return source->path != ACCESS_NONE && !source->searcher->exact && table->segment &&
           table->segment->object;
}

/* A search of the predicate subgraph needs no room for rows that do not match. */
static bool searches_matching_only(const struct source_search *source)
{
    return source->matching &&
           index_uses_predicate_subgraph(source->matching_rows, source->source->row_count);
}

/* Each segment alone, for the nearest `wanted` rows: most of the answer may lie in any of them, so
 * the group's list has to be as wide as one needs. Segments weigh by their rows, as in the answer. */
static double measured_ef(const struct searcher *searcher, struct source_search *const *sources,
                          size_t count, uint32_t wanted)
{
    double sum = 0, rows = 0;

    for (size_t i = 0; i < count; i++) {
        uint32_t ef =
            index_segment_effort(sources[i]->source->segment->object, wanted, searcher->recall);
        sum += (ef ? ef : INDEX_EF_UNMEASURED) * (double)sources[i]->source->row_count;
        rows += sources[i]->source->row_count;
    }
    return rows > 0 ? ceil(sum / rows) : INDEX_EF_UNMEASURED;
}

uint32_t search_source_depth(const struct source_search *source, uint32_t wanted)
{
    const struct searcher *searcher = source->searcher;
    const struct index_segment *segment = source->source->segment->object;
    bool matching_only = searches_matching_only(source);
    double rows = matching_only ? (double)source->matching_rows : source->source->row_count;

    if (searcher->ef > 0 || searcher->segment_rows == 0 ||
        index_segment_kind(segment) != SEGMENT_HNSW)
        return 0;
    /* Its share of the accepted rows, and of its own rows those that have to be met for them. */
    return (uint32_t)ceil(
        (matching_only ? SUBGRAPH_EF : 1) *
        index_segment_effort(segment, wanted * rows / fmax((double)searcher->segment_accepted, 1),
                             searcher->recall));
}

/* When one of ten rows around the query is accepted, the nearest k accepted rows are among the
 * nearest 10 k, and the pool has to hold those.
 *
 * Groups that are walked each on its own bring the best of all together: the nearest are shared
 * among them, and so is ef, by the root as among the trees of one forest, down to a half. */
uint32_t search_group_ef(const struct searcher *searcher, struct source_search *const *sources,
                         size_t count, uint32_t wanted)
{
    double met = 0, accepted = 0, rows = 0, share = 1, ef;
    bool sparse = true;

    for (size_t i = 0; i < count; i++) {
        bool matching_only = searches_matching_only(sources[i]);
        sparse = sparse && matching_only;
        accepted += (double)sources[i]->matching_rows;
        rows += sources[i]->source->row_count;
        met += matching_only ? (double)sources[i]->matching_rows : sources[i]->source->row_count;
    }
    ef = accepted >= met ? wanted : wanted * FILTER_EF * met / fmax(accepted, 1);
    if (searcher->segment_rows > 0)
        share = fmax(sqrt(rows / (double)searcher->segment_rows), SHARE_MIN);
    share *= searcher->ef > 0 ? searcher->ef : INDEX_EF_UNMEASURED;
    if (searcher->ef == 0) /* what was measured only ever adds: easy data loses nothing */
        share = fmax(share, measured_ef(searcher, sources, count, wanted));
    return (uint32_t)fmin(fmax(ef, ceil(share * (sparse ? SUBGRAPH_EF : 1))), UINT32_MAX);
}

/* Cost of a search through the segments of these sources; INFINITY when it would see nearly every
 * row. */
static double group_cost(const struct searcher *searcher, struct source_search *const *sources,
                         size_t count)
{
    double ef = search_group_ef(searcher, sources, count, (uint32_t)searcher->top.limit);
    double met = 0, depths = 0;
    bool sparse = false;

    for (size_t i = 0; i < count; i++) {
        depths += search_source_depth(sources[i], (uint32_t)searcher->top.limit);
        sparse = sparse || searches_matching_only(sources[i]);
        met += searches_matching_only(sources[i]) ? (double)sources[i]->matching_rows
                                                  : sources[i]->source->row_count;
    }
    if (ef > met / ROWS_PER_EF_MIN)
        return INFINITY;
    return fmax(ef, depths) * EF_COST * (sparse ? SUBGRAPH_COST : 1) + ENTRY_COST * (double)count;
}

void search_plan_segments(struct searcher *searcher, struct source_search *sources, size_t count)
{
    struct source_search **chosen =
        arena_calloc(searcher->search->arena, count + 1, sizeof(struct source_search *));
    bool together = searcher->search->half_life_ms == 0;
    double alone = 0;
    size_t chosen_count = 0;

    searcher->segment_rows = searcher->segment_accepted = 0;
    for (size_t i = 0; i < count; i++) {
        struct source_search *source = &sources[i];
        source->through_segment = false;
        if (!has_usable_segment(source) || source->cost <= ENTRY_COST)
            continue;
        source->through_segment = !together && group_cost(searcher, &source, 1) < source->cost;
        alone += source->cost;
        chosen[chosen_count++] = source;
        if (together) {
            searcher->segment_rows += source->source->row_count;
            searcher->segment_accepted += source->matching_rows;
        }
    }
    if (!together)
        return;
    if (group_cost(searcher, chosen, chosen_count) < alone)
        for (size_t i = 0; i < chosen_count; i++)
            chosen[i]->through_segment = true;
    else
        searcher->segment_rows = searcher->segment_accepted = 0;
}
