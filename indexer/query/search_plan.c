/* How each source of a search is asked.
 *
 * Costs are counted in rows scored one after another. Constants were measured with
 * windrow-bench-serve at 384 dimensions (bench/notes/search.md). */
#include "indexer/query/columns.h"
#include "indexer/query/searcher.h"
#include "store/snapshot.h"

#include <math.h>
#include <string.h>

enum {
    SAMPLE_ROWS = 512,   /* looked at to learn how many rows are accepted */
    FILTER_EF = 2,       /* room in the pool for each row expected before the k-th accepted one */
    ROWS_PER_EF_MIN = 12 /* rows to a place in the pool: below that a scan, which is exact */
};
static const double EF_COST = 20;         /* of each place of ef */
static const double SUBGRAPH_COST = 4;    /* a place costs so much more when few rows match ... */
static const double SUBGRAPH_EF = 0.625;  /* ... and so many of them do as well */
static const double SHARE_MIN = 0.5;      /* of ef, for a group of sources */
static const double CODES_COST = 0.5;     /* the codes of a row that matches */
static const double DEPTH_MIN = 4;        /* places of ef, for each of many graphs */
static const double NODE_DIMENSIONS = 4;  /* as LOOK_DIMENSIONS, among the rows of a graph */
static const double ROW_ALONE_COST = 1.2; /* scoring a row that has no neighbour in the scan */
static const double LOOK_DIMENSIONS = 50; /* a look at a row costs as much as so many of its dims */

/* Nothing in the source can reach the floor: a cosine is at most 1, decay takes its part. */
static bool is_hopeless(const struct source_search *source)
{
    struct searcher *searcher = source->searcher;

    return searcher->metric == VECTOR_METRIC_COSINE && searcher->scorer.kind == QUERY_NEAREST &&
           !searcher->search->extra && /* of lists a score is a sum */
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

/* The exact set when the filter is one span of values, or the postings of some condition leave at
 * most half of the rows. */
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

static void start(struct source_search *source)
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
    source->all_eligible = !source->bounded && !searcher->search->exclude_key &&
                           (!table->has_bare || searcher->search->extra) &&
                           store_source_all_visible(table);
    source->path = ACCESS_NONE;
    source->prepared = !is_hopeless(source);
}

void search_source_prepare(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;

    start(source);
    if (source->prepared) {
        bind_filter(source);
        choose_access_path(source);
        if (searcher->search->extra && source->path != ACCESS_NONE)
            source->path = ACCESS_EXTRA;
    }
    if (source->path == ACCESS_NONE)
        source->how = "skipped";
}

bool search_source_borrow(struct source_search *source, const struct source_search *lender)
{
    if (lender->source != source->source || !lender->prepared || !lender->matching ||
        !lender->searcher->search->extra != !source->searcher->search->extra)
        return false;
    start(source);
    if (source->prepared) {
        source->path = lender->path;
        source->cost = lender->cost;
        source->matching = lender->matching;
        source->matching_rows = lender->matching_rows;
    }
    if (source->path == ACCESS_NONE)
        source->how = "skipped";
    return true;
}

void search_source_finish(struct source_search *source)
{
    query_binding_drop(source->binding, source->searcher->filter);
    source->binding = NULL;
    source->matching = NULL;
    arena_destroy(&source->payloads);
    arena_destroy(&source->bound);
}

/* Segments. */

static bool has_lists(const struct segment_search *segment)
{
    return index_segment_kind(segment->segment) == SEGMENT_IVF_PQ;
}

/* A search of the predicate subgraph needs no room for rows that do not match. */
static bool searches_matching_only(const struct segment_search *segment)
{
    return segment->matching && !has_lists(segment) &&
           index_uses_predicate_subgraph(segment->matching_rows, segment->row_count);
}

/* Rows that take a place of the ef. Lists read on by themselves until enough rows match. */
static double rows_met(const struct segment_search *segment)
{
    return searches_matching_only(segment) || has_lists(segment) ? (double)segment->matching_rows
                                                                 : segment->row_count;
}

/* For the nearest `k` rows of the segment: as measured of it, times what answers were found to need; 0: not measured. */
static double segment_effort(const struct searcher *searcher, const struct index_segment *segment,
                             double k)
{
    return ceil(index_segment_effort(segment, k, searcher->recall) * searcher->effort);
}

/* Each segment alone, for the nearest `wanted` rows: most of the answer may lie in any of them, so
 * the group's list has to be as wide as one needs. Segments weigh by their rows, as in the answer. */
static double measured_ef(const struct searcher *searcher, struct segment_search *const *segments,
                          size_t count, uint32_t wanted)
{
    double sum = 0, rows = 0;

    for (size_t i = 0; i < count; i++) {
        double ef = segment_effort(searcher, segments[i]->segment, wanted);
        sum += (ef > 0 ? ef : INDEX_EF_UNMEASURED * searcher->effort) * segments[i]->row_count;
        rows += segments[i]->row_count;
    }
    return rows > 0 ? ceil(sum / rows) : INDEX_EF_UNMEASURED;
}

/* Its share of the accepted rows, and of its own rows those that have to be met for them. */
static double share_effort(const struct searcher *searcher, const struct index_segment *segment,
                           double rows, uint32_t wanted)
{
    return segment_effort(searcher, segment,
                          wanted * rows / fmax((double)searcher->segment_accepted, 1));
}

uint32_t search_segment_depth(const struct searcher *searcher, const struct segment_search *segment,
                              uint32_t wanted)
{
    bool matching_only = searches_matching_only(segment);
    double rows = matching_only ? (double)segment->matching_rows : segment->row_count;

    if (searcher->ef > 0 || searcher->segment_rows == 0 ||
        index_segment_kind(segment->segment) != SEGMENT_HNSW)
        return 0;
    return (uint32_t)ceil((matching_only ? SUBGRAPH_EF : 1) *
                          share_effort(searcher, segment->segment, rows, wanted));
}

double search_segment_cost(const struct searcher *searcher, const struct index_segment *segment,
                           uint64_t row_count)
{
    uint32_t wanted = (uint32_t)searcher->top.limit;
    double effort = searcher->search->half_life_ms > 0 /* each is searched alone */
                        ? segment_effort(searcher, segment, wanted)
                        : share_effort(searcher, segment, (double)row_count, wanted);

    return SEARCH_ENTRY_COST + EF_COST * effort;
}

/* When one of ten rows around the query is accepted, the nearest k accepted rows are among the
 * nearest 10 k, and the pool has to hold those.
 *
 * Groups that are walked each on its own bring the best of all together: the nearest are shared
 * among them, and so is ef, by the root as among the members of one group, down to a half. */
uint32_t search_group_ef(const struct searcher *searcher, struct segment_search *const *segments,
                         size_t count, uint32_t wanted)
{
    double met = 0, accepted = 0, rows = 0, share = 1, ef;
    double least = searcher->ef;
    bool sparse = true;

    for (size_t i = 0; i < count; i++) {
        double own = index_segment_least_ef(segments[i]->segment) * searcher->effort;
        sparse = sparse && searches_matching_only(segments[i]);
        if (searcher->ef == 0 && own > least)
            least = own;
        accepted += (double)segments[i]->matching_rows;
        rows += segments[i]->row_count;
        met += rows_met(segments[i]);
    }
    ef = accepted >= met ? wanted : wanted * FILTER_EF * met / fmax(accepted, 1);
    if (searcher->segment_rows > 0)
        share = fmax(sqrt(rows / (double)searcher->segment_rows), SHARE_MIN);
    share *= least;
    if (searcher->ef == 0)
        share = fmax(share, measured_ef(searcher, segments, count, wanted));
    return (uint32_t)fmin(fmax(ef, ceil(share * (sparse ? SUBGRAPH_EF : 1))), UINT32_MAX);
}

/* Places of ef that a search goes through in a segment, at least. */
static double least_depth(const struct searcher *searcher, const struct segment_search *segment,
                          double ef, double group_rows, size_t count)
{
    double depth = search_segment_depth(searcher, segment, (uint32_t)searcher->top.limit);

    if (count == 1 || has_lists(segment))
        return depth;
    return fmax(depth, fmax(ef * sqrt(segment->row_count / group_rows), DEPTH_MIN));
}

/* Cost of a search through these segments; INFINITY when it would see nearly every row. Lists read on
 * until enough rows match, and cost as if those they pass had places of the ef, too. */
static double group_cost(const struct searcher *searcher, struct segment_search *const *segments,
                         size_t count)
{
    uint32_t wanted = (uint32_t)searcher->top.limit;
    double ef = search_group_ef(searcher, segments, count, wanted);
    double met = 0, depths = 0, rows = 0, matching = 0;
    bool sparse = false;

    for (size_t i = 0; i < count; i++) {
        rows += segments[i]->row_count;
        matching += (double)segments[i]->matching_rows;
    }
    for (size_t i = 0; i < count; i++) {
        depths += least_depth(searcher, segments[i], ef, fmax(rows, 1), count);
        sparse = sparse || searches_matching_only(segments[i]);
        met += rows_met(segments[i]);
    }
    if (count > 0 && has_lists(segments[0]) && matching < rows)
        ef = fmax(ef, wanted * FILTER_EF * rows / fmax(matching, 1));
    if (ef > met / ROWS_PER_EF_MIN)
        return INFINITY;
    return fmax(ef, depths) * EF_COST * (sparse ? SUBGRAPH_COST : 1) +
           SEARCH_ENTRY_COST * (double)count;
}

/* Cost of looking at the codes of all rows that match instead; INFINITY where it is not known which
 * do, and through lists. */
static double codes_cost(const struct searcher *searcher, struct segment_search *const *segments,
                         size_t count)
{
    double cost = SEARCH_ENTRY_COST;

    for (size_t i = 0; i < count; i++) {
        if (!segments[i]->matching || has_lists(segments[i]) ||
            searcher->scorer.kind != QUERY_NEAREST)
            return INFINITY;
        cost += segments[i]->row_count * NODE_DIMENSIONS / searcher->dim +
                (double)segments[i]->matching_rows * CODES_COST;
    }
    return cost;
}

bool search_scans_codes(const struct searcher *searcher, struct segment_search *const *segments,
                        size_t count)
{
    return codes_cost(searcher, segments, count) < group_cost(searcher, segments, count);
}

/* The cheaper one. */
static double segments_cost(const struct searcher *searcher, struct segment_search *const *segments,
                            size_t count)
{
    return fmin(group_cost(searcher, segments, count), codes_cost(searcher, segments, count));
}

/* What the segment's sources cost without it. */
static double cost_alone(const struct segment_search *segment)
{
    double cost = 0;

    for (uint32_t i = 0; i < segment->part_count; i++)
        cost += segment->parts[i] ? segment->parts[i]->cost : 0;
    return cost;
}

static void go_without(const struct segment_search *segment)
{
    for (uint32_t i = 0; i < segment->part_count; i++)
        if (segment->parts[i])
            segment->parts[i]->through = NULL;
}

struct segment_search *search_plan_segments(struct searcher *searcher,
                                            struct source_search *sources, size_t count,
                                            size_t *segment_count)
{
    struct segment_search *segments = search_cover(searcher, sources, count, segment_count);
    struct segment_search **all =
        arena_calloc(searcher->search->arena, *segment_count + 1, sizeof(struct segment_search *));
    bool together = searcher->search->half_life_ms == 0;
    double alone = 0;
    size_t kept = 0;

    searcher->segment_rows = searcher->segment_accepted = 0;
    for (size_t i = 0; i < *segment_count; i++) {
        all[i] = &segments[i];
        alone += cost_alone(&segments[i]);
        if (together) {
            searcher->segment_rows += segments[i].row_count;
            searcher->segment_accepted += segments[i].matching_rows;
        }
    }
    if (together && segments_cost(searcher, all, *segment_count) < alone)
        return segments;
    searcher->segment_rows = searcher->segment_accepted = 0;
    for (size_t i = 0; i < *segment_count; i++) {
        bool alone_pays =
            !together && segments_cost(searcher, &all[i], 1) < cost_alone(&segments[i]);
        if (alone_pays)
            segments[kept++] = segments[i];
        else
            go_without(&segments[i]);
    }
    for (size_t i = 0; i < kept; i++)
        for (uint32_t part = 0; part < segments[i].part_count; part++)
            if (segments[i].parts[part])
                segments[i].parts[part]->through = &segments[i];
    *segment_count = kept;
    return segments;
}
