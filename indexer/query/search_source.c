/* One source of a search: scanned where it lies, or walked through its segment.
 *
 * A walk is trusted when it brings as many rows as were asked for, or saw everything. When rows
 * that may not be returned (dead, expired, filtered) crowd out the ones that may, the source is
 * scanned: k rows come back whenever k matching rows exist. */
#include "indexer/query/column.h"
#include "indexer/query/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCAN_BLOCK_ROWS = 256,
    SCAN_DEADLINE_BLOCKS = 64, /* blocks between two looks at the clock */
    /* A place in the pool of a walk costs as much as scanning 20 rows (measured at 384-d, 60,000
     * rows): wider pools than this are left to the scan, which is exact. */
    WALK_PLACE_COST = 20,
    WALK_COST = 12,
    NARROW_ROWS_A_VALUE = 8, /* conditions on paths with fewer rows a value are not tried for all */
    NARROW_CERTAIN = 512,    /* so few rows are looked at without weighing */
    PENDING_ROWS = 16,
    CACHE_LINE_FLOATS = 16,
    SAMPLE_ROWS = 512, /* looked at to learn how many rows a filter accepts */
    WALK_ROUNDS = 5,
    FILTER_POOL = 2 /* room in the pool for each row expected before the k-th accepted one */
};

/* Everything but the filter. */
static bool row_eligible(const struct source_search *source, uint32_t row)
{
    const struct searcher *searcher = source->searcher;
    const struct query_search *search = searcher->search;

    if (!store_row_visible(searcher->view->shards[source->shard].snapshot, source->source, row))
        return false;
    if (searcher->bounded) {
        int64_t time_ms = store_row_event_time_ms(source->source, row);
        if (time_ms < searcher->from_ms || time_ms >= searcher->to_ms)
            return false;
    }
    if (search->exclude_key) {
        size_t key_bytes;
        const uint8_t *key = store_row_key(source->source, row, &key_bytes);
        return query_key_compare(key, key_bytes, search->exclude_key, search->exclude_key_bytes) !=
               0;
    }
    return true;
}

static void report_damage(struct source_search *source, const struct error *error)
{
    query_view_report(source->searcher->view, source->shard, source->source, error);
    atomic_store_explicit(&source->searcher->partial, true, memory_order_relaxed);
}

/* `bytes` is the row's payload when it was read already, else NULL. A row whose payload is damaged
 * cannot be said to match. */
static bool row_passes_filter(struct source_search *source, uint32_t row, const uint8_t *bytes,
                              size_t size_bytes)
{
    const struct searcher *searcher = source->searcher;
    struct query_row outside = query_view_row(searcher->view, source->shard, source->source, row);
    struct error error; /* a kilobyte: zeroing it for every row would cost more than the filter */
    struct filter_subject subject = {.row = &outside,
                                     .scratch = &source->payloads,
                                     .binding = source->binding,
                                     .bytes = bytes,
                                     .size_bytes = size_bytes,
                                     .error = &error};
    bool matches;

    error.text[0] = '\0';
    if (filter_subject_match(searcher->filter, &subject, &matches) == 0)
        return matches;
    report_damage(source, &error);
    return false;
}

static bool row_accepted(struct source_search *source, uint32_t row)
{
    bool accepted;

    if (!source->searcher->filter)
        return row_eligible(source, row);
    /* On columns the filter is the cheaper question, on payloads the dearer one. */
    if (!source->binding && !row_eligible(source, row))
        return false;
    accepted =
        row_passes_filter(source, row, NULL, 0) && (!source->binding || row_eligible(source, row));
    if (source->payloads.used_bytes > 0)
        arena_reset(&source->payloads);
    return accepted;
}

static bool accept_in_walk(void *context, uint32_t row)
{
    struct source_search *source = context;
    bool accepted = row_accepted(source, row);

    source->accepted += accepted;
    source->rejected += !accepted;
    return accepted;
}

static const float *vector_in_walk(void *context, uint32_t row, struct error *error)
{
    const struct source_search *source = context;
    const float *vector;
    uint32_t count;

    return store_row_vectors(source->source, row, &vector, &count, error) == 0 ? vector : NULL;
}

static double row_order(const struct source_search *source, uint32_t row, float raw)
{
    double decay =
        source->decay_min == source->decay_max
            ? source->decay_max
            : search_decay(source->searcher, store_row_event_time_ms(source->source, row));

    return search_order(source->searcher, raw, decay);
}

static bool out_of_time(struct searcher *searcher)
{
    if (!query_view_expired(searcher->view))
        return false;
    atomic_store_explicit(&searcher->partial, true, memory_order_relaxed);
    return true;
}

static bool was_offered(const struct source_search *source, uint32_t row)
{
    for (uint32_t i = 0; i < source->offered_count; i++)
        if (source->offered[i] == row)
            return true;
    return false;
}

/* ---- scan --------------------------------------------------------------------------------- */

/* Payloads of a block's candidates are read together: each compressed block once. */
static void filter_candidates(struct source_search *source, const uint32_t *rows, uint32_t count,
                              bool *passed)
{
    const uint8_t *payloads[SCAN_BLOCK_ROWS];
    uint32_t payload_bytes[SCAN_BLOCK_ROWS];
    struct error error = {0};

    if (!source->searcher->filter->needs_payload || source->binding ||
        store_rows_payloads(source->source, rows, count, &source->payloads, payloads, payload_bytes,
                            &error) != 0) {
        for (uint32_t i = 0; i < count; i++)
            passed[i] = row_passes_filter(source, rows[i], NULL, 0);
    } else {
        for (uint32_t i = 0; i < count; i++)
            passed[i] = row_passes_filter(source, rows[i], payloads[i], payload_bytes[i]);
    }
    if (source->payloads.used_bytes > 0)
        arena_reset(&source->payloads);
}

static void scan_block(struct source_search *source, uint32_t first, const float *scores,
                       uint32_t count)
{
    struct searcher *searcher = source->searcher;
    double floor = search_floor(searcher);
    float raw_floor = search_raw_floor(source, floor);
    uint32_t rows[SCAN_BLOCK_ROWS];
    double orders[SCAN_BLOCK_ROWS];
    bool passed[SCAN_BLOCK_ROWS];
    uint32_t candidates = 0;

    for (uint32_t i = 0; i < count; i++) {
        double order;
        if (scores[i] < raw_floor)
            continue;
        order = row_order(source, first + i, scores[i]);
        if (order < floor || (source->offered_count && was_offered(source, first + i)) ||
            !row_eligible(source, first + i))
            continue;
        if (searcher->filter) {
            rows[candidates] = first + i;
            orders[candidates++] = order;
            continue;
        }
        search_offer(source, first + i, order);
        floor = search_floor(searcher);
        raw_floor = search_raw_floor(source, floor);
    }
    if (candidates == 0)
        return;
    filter_candidates(source, rows, candidates, passed);
    for (uint32_t i = 0; i < candidates; i++)
        if (passed[i] && orders[i] >= search_floor(searcher))
            search_offer(source, rows[i], orders[i]);
}

static int scan(struct source_search *source, struct error *error)
{
    struct searcher *searcher = source->searcher;
    uint32_t total = source->source->row_count;
    float scores[SCAN_BLOCK_ROWS];
    uint32_t blocks = 0;

    for (uint32_t row = 0; row < total;) {
        const float *vectors;
        uint32_t span;
        int code = store_row_vectors(source->source, row, &vectors, &span, error);
        if (code != 0)
            return code;
        if (span > total - row)
            span = total - row;
        while (span > 0) {
            uint32_t count = span < SCAN_BLOCK_ROWS ? span : SCAN_BLOCK_ROWS;
            if (++blocks % SCAN_DEADLINE_BLOCKS == 0 && out_of_time(searcher))
                return 0;
            index_score_block(searcher->metric, searcher->query, vectors, count, searcher->dim,
                              scores);
            scan_block(source, row, scores, count);
            vectors += (size_t)count * searcher->dim;
            row += count;
            span -= count;
        }
    }
    return 0;
}

/* ---- few rows match ---- */

/* Share of the rows that are accepted, from a sample over the whole source. */
static double sample_selectivity(struct source_search *source)
{
    uint32_t rows = source->source->row_count;
    uint32_t step = rows / SAMPLE_ROWS + 1;
    uint32_t looked_at = 0;
    uint32_t accepted = 0;

    for (uint32_t row = step / 2; row < rows; row += step, looked_at++)
        accepted += row_accepted(source, row);
    /* None of so many: below one in so many, say half of that. */
    return looked_at ? fmax(accepted, 0.5) / looked_at : 1;
}

static const double ROW_ALONE = 3;

enum scan_plan {
    PLAN_FULL,    /* walk, or score everything and ask the filter about what is good */
    PLAN_SPARSE,  /* ask the filter about every row, score the accepted ones */
    PLAN_POSTINGS /* the same for the rows of one condition */
};

struct sparse_plan {
    enum scan_plan plan;
    uint32_t slot; /* PLAN_POSTINGS: the condition's */
};

/* Costs are in scored rows: a look at a row costs as much as some 50 of its dimensions, a row on
 * its own three times one in a block, a place in a walk's pool WALK_PLACE_COST. */
static void plan_scan(struct source_search *source, struct sparse_plan *out)
{
    const struct searcher *searcher = source->searcher;
    double rows = source->source->row_count;
    double look = 50.0 / searcher->dim;
    double pool, sparse, otherwise;
    uint64_t narrow_rows;
    bool narrow = false;

    out->plan = PLAN_FULL;
    if (!searcher->filter && !searcher->bounded)
        return;
    if (searcher->filter && searcher->filter->needs_payload && !source->binding)
        return;
    if (source->binding)
        narrow = filter_binding_narrow(searcher->filter, source->binding, &source->payloads,
                                       source->source->row_count / NARROW_ROWS_A_VALUE, &out->slot,
                                       &narrow_rows);
    if (narrow && narrow_rows < NARROW_CERTAIN) {
        out->plan = PLAN_POSTINGS;
        return;
    }
    source->share = sample_selectivity(source);
    sparse = rows * (look + source->share * ROW_ALONE);
    out->plan = PLAN_SPARSE;
    if (narrow && (double)narrow_rows * look + rows * source->share * ROW_ALONE < sparse) {
        sparse = (double)narrow_rows * look + rows * source->share * ROW_ALONE;
        out->plan = PLAN_POSTINGS;
    }
    otherwise = rows * (1 + source->share * look);
    pool = fmax(source->pool, source->wanted * FILTER_POOL / source->share);
    if (search_source_walks(source) && pool <= rows / WALK_COST)
        otherwise = pool * WALK_PLACE_COST;
    if (sparse >= otherwise)
        out->plan = PLAN_FULL;
}

/* Accepted rows on their way to being scored: a row on its own is a walk through memory, so that
 * several are asked for before the first is used. */
struct pending {
    uint32_t rows[PENDING_ROWS];
    const float *vectors[PENDING_ROWS];
    uint32_t count;
};

static void pending_score(struct source_search *source, struct pending *pending)
{
    struct searcher *searcher = source->searcher;

    for (uint32_t i = 0; i < pending->count; i++) {
        float raw =
            index_score(searcher->metric, searcher->query, pending->vectors[i], searcher->dim);
        double order = row_order(source, pending->rows[i], raw);
        if (order >= search_floor(searcher))
            search_offer(source, pending->rows[i], order);
    }
    pending->count = 0;
}

static int try_row(struct source_search *source, struct pending *pending, uint32_t row,
                   struct error *error)
{
    const float *vector;
    uint32_t span;
    int code;

    if (!row_accepted(source, row))
        return 0;
    code = store_row_vectors(source->source, row, &vector, &span, error);
    if (code != 0)
        return code;
    for (uint32_t i = 0; i < source->searcher->dim; i += CACHE_LINE_FLOATS)
        __builtin_prefetch(vector + i);
    pending->rows[pending->count] = row;
    pending->vectors[pending->count++] = vector;
    if (pending->count == PENDING_ROWS)
        pending_score(source, pending);
    return 0;
}

static int scan_postings(struct source_search *source, uint32_t slot, struct error *error)
{
    const struct column *column = source->binding->columns[slot];
    const uint8_t *answers = source->binding->answers[slot];
    struct pending pending = {.count = 0};
    int code = 0;

    for (uint32_t value = 0; value < column->value_count && code == 0; value++) {
        if (answers[value] != 2)
            continue;
        if (out_of_time(source->searcher))
            break;
        for (uint32_t i = column->starts[value]; i < column->starts[value + 1] && code == 0; i++)
            code = try_row(source, &pending, column->rows[i], error);
    }
    pending_score(source, &pending);
    return code;
}

static int scan_sparse(struct source_search *source, struct error *error)
{
    struct pending pending = {.count = 0};
    int code = 0;

    for (uint32_t row = 0; row < source->source->row_count && code == 0; row++) {
        if (row % (SCAN_BLOCK_ROWS * SCAN_DEADLINE_BLOCKS) == 0 && out_of_time(source->searcher))
            break;
        code = try_row(source, &pending, row, error);
    }
    pending_score(source, &pending);
    return code;
}

/* ---- walk --------------------------------------------------------------------------------- */

enum walk_outcome { WALK_DONE, WALK_SHORT };

struct walk {
    struct index_hit *hits;
    double *orders; /* of the hits, decayed */
    uint32_t wanted, pool, found;
    bool enough; /* as many as wanted were accepted, or every node was seen */
};

static int walk_once(struct source_search *source, struct walk *walk, struct error *error)
{
    struct searcher *searcher = source->searcher;
    struct index_search search = {.query = searcher->query,
                                  .k = walk->wanted,
                                  .ef = walk->pool,
                                  .floor_score = search_raw_floor(source, search_floor(searcher)),
                                  .accept = accept_in_walk,
                                  .accept_context = source,
                                  .vector = vector_in_walk,
                                  .vector_context = source};
    int code;

    arena_reset(&source->working);
    source->accepted = 0;
    source->rejected = 0;
    walk->found = 0;
    walk->hits = arena_calloc(&source->working, walk->wanted, sizeof(*walk->hits));
    code = index_segment_search(source->source->segment->object, &search, walk->hits, &walk->found,
                                &walk->enough, error);
    walk->enough = walk->enough || walk->found == walk->wanted;
    walk->orders = arena_calloc(&source->working, walk->wanted, sizeof(*walk->orders));
    for (uint32_t i = 0; code == 0 && i < walk->found; i++)
        walk->orders[i] = row_order(source, walk->hits[i].row, walk->hits[i].score);
    return code;
}

/* Only the last walk's hits are offered, and none again that an earlier round of the search
 * brought: the top does not look for rows it has already. */
static void offer_hits(struct source_search *source, const struct walk *walk)
{
    uint32_t before = source->offered_count;
    uint32_t fresh = 0;

    for (uint32_t i = 0; i < walk->found; i++) {
        uint32_t row = walk->hits[i].row;
        if (walk->orders[i] < search_floor(source->searcher) ||
            (before && was_offered(source, row)))
            continue;
        search_offer(source, row, walk->orders[i]);
        if (before == 0 && fresh < SEARCH_SHARE_MAX)
            source->offered[fresh++] = row;
    }
    if (before == 0)
        source->offered_count = fresh;
    /* All it was asked for, and all of it good: there may be more. */
    source->last_order = walk->found == walk->wanted ? walk->orders[walk->found - 1] : -INFINITY;
}

static bool is_too_wide(const struct source_search *source, const struct walk *walk)
{
    uint32_t rows = source->source->row_count;

    return walk->wanted >= rows || walk->pool > rows / WALK_COST;
}

/* When one of ten rows around the query is accepted, the nearest k accepted rows are among the
 * nearest 10 k, and the pool has to hold those. */
static bool widen_for_filter(const struct source_search *source, struct walk *walk)
{
    uint64_t seen = (uint64_t)source->accepted + source->rejected;
    uint64_t needed = walk->wanted * FILTER_POOL * seen / (source->accepted ? source->accepted : 1);

    if (needed <= walk->pool)
        return false;
    walk->pool = needed < UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
    return true;
}

static int order_descending(const void *a, const void *b)
{
    double left = *(const double *)a;
    double right = *(const double *)b;

    return (left < right) - (left > right);
}

/* Rows behind the last hit score at most as much as it does; with decay a younger one may still be
 * better than the k-th of what was found. */
static bool widen_for_decay(struct source_search *source, struct walk *walk)
{
    size_t limit = source->searcher->top.limit;
    double floor = search_floor(source->searcher);
    double *orders;

    if (source->decay_min == source->decay_max || walk->found < walk->wanted)
        return false;
    orders = arena_calloc(&source->working, walk->found, sizeof(*orders));
    memcpy(orders, walk->orders, walk->found * sizeof(*orders));
    qsort(orders, walk->found, sizeof(*orders), order_descending);
    floor = orders[limit - 1] > floor ? orders[limit - 1] : floor;
    if (search_order_bound(source, (double)walk->hits[walk->found - 1].score) < floor)
        return false;
    walk->wanted = walk->wanted < UINT32_MAX / 4 ? walk->wanted * 4 : UINT32_MAX;
    walk->pool = walk->pool < walk->wanted ? walk->wanted : walk->pool;
    return true;
}

static int walk_segment(struct source_search *source, enum walk_outcome *outcome,
                        struct error *error)
{
    struct searcher *searcher = source->searcher;
    struct walk walk = {.wanted = source->wanted};
    bool filtered = searcher->filter || searcher->bounded || source->source->masked_rows > 0;

    walk.pool = (uint32_t)fmin(walk.wanted * FILTER_POOL / source->share, UINT32_MAX);
    if (walk.pool < source->pool || source->share >= 1)
        walk.pool = walk.wanted > source->pool ? walk.wanted : source->pool;
    *outcome = WALK_SHORT;
    for (int round = 0; round < WALK_ROUNDS && !is_too_wide(source, &walk); round++) {
        int code = walk_once(source, &walk, error);
        if (code != 0 || !walk.enough)
            return code;
        if (filtered && widen_for_filter(source, &walk)) {
            filtered = false;
        } else if (!widen_for_decay(source, &walk)) {
            offer_hits(source, &walk);
            *outcome = WALK_DONE;
            return 0;
        }
    }
    return 0;
}

bool search_source_walks(const struct source_search *source)
{
    const struct store_source *table = source->source;

    return table->segment && table->segment->object && table->sealed && !source->searcher->exact;
}

/* ---- both --------------------------------------------------------------------------------- */

/* Nothing in the source can reach the floor: a cosine is at most 1, decay takes its part. */
static bool is_hopeless(const struct source_search *source)
{
    struct searcher *searcher = source->searcher;

    return searcher->metric == INDEX_METRIC_COSINE &&
           search_order_bound(source, 1.0 + 1e-4) < search_floor(searcher);
}

static void bind_filter(struct source_search *source)
{
    const struct searcher *searcher = source->searcher;

    if (searcher->filter && searcher->filter->needs_payload)
        source->binding = query_binding_make(searcher->view, source->shard, source->source,
                                             searcher->filter, &source->bound);
}

static int run_fitting(struct source_search *source, struct error *error)
{
    enum walk_outcome outcome = WALK_SHORT;
    struct sparse_plan sparse;
    int code = 0;

    plan_scan(source, &sparse);
    if (sparse.plan == PLAN_POSTINGS)
        return scan_postings(source, sparse.slot, error);
    if (sparse.plan == PLAN_SPARSE)
        return scan_sparse(source, error);
    if (search_source_walks(source)) {
        code = walk_segment(source, &outcome, error);
        if (code == 0 && outcome == WALK_DONE)
            source->how = index_segment_kind(source->source->segment->object);
    }
    return code == 0 && outcome == WALK_SHORT ? scan(source, error) : code;
}

int search_source_run(struct source_search *source, struct error *error)
{
    struct searcher *searcher = source->searcher;
    const struct store_source *table = source->source;
    struct error local = {0};
    int code;

    source->how = table->kind == STORE_SOURCE_MEMTABLE ? "memtable"
                  : table->kind == STORE_SOURCE_CHUNK  ? "chunk"
                                                       : "run";
    source->share = 1;
    source->decay_min = search_decay(searcher, table->min_event_ms);
    source->decay_max = search_decay(searcher, table->max_event_ms);
    if (is_hopeless(source) || out_of_time(searcher))
        return 0;
    bind_filter(source);
    code = run_fitting(source, &local);
    query_binding_drop(source->binding, searcher->filter);
    source->binding = NULL;
    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        report_damage(source, &local);
        return 0;
    }
    if (code != 0 && error)
        *error = local;
    return code;
}
