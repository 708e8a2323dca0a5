/* One source of a search: scanned where it lies, or walked through its segment.
 *
 * A walk is trusted when it brings as many rows as were asked for, or saw everything. When rows
 * that may not be returned (dead, expired, filtered) crowd out the ones that may, the source is
 * scanned: k rows come back whenever k matching rows exist. */
#include "indexer/query/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCAN_BLOCK_ROWS = 256,
    SCAN_DEADLINE_BLOCKS = 64, /* blocks between two looks at the clock */
    /* A place in the pool of a walk costs as much as scanning 20 rows (measured at 384-d, 60,000
     * rows): wider pools than this are left to the scan, which is exact. */
    WALK_COST = 12,
    WALK_ROUNDS = 5,
    FILTER_POOL = 2 /* room in the pool for each row expected before the k-th accepted one */
};

static bool row_accepted(struct source_search *source, uint32_t row)
{
    const struct searcher *searcher = source->searcher;
    const struct query_search *search = searcher->search;
    struct query_row outside = query_view_row(searcher->view, source->shard, source->source, row);
    struct error error = {0};
    bool matches = true;

    if (!store_row_visible(outside.snapshot, source->source, row))
        return false;
    if (searcher->bounded) {
        int64_t time_ms = store_row_event_time_ms(source->source, row);
        if (time_ms < searcher->from_ms || time_ms >= searcher->to_ms)
            return false;
    }
    if (search->exclude_key) {
        size_t key_bytes;
        const uint8_t *key = store_row_key(source->source, row, &key_bytes);
        if (query_key_compare(key, key_bytes, search->exclude_key, search->exclude_key_bytes) == 0)
            return false;
    }
    if (!searcher->filter)
        return true;
    if (query_filter_match(searcher->filter, &outside, &source->payloads, &matches, &error) != 0) {
        /* The row's payload is damaged: it cannot be said to match. */
        query_view_report(searcher->view, source->shard, source->source, &error);
        atomic_store_explicit(&source->searcher->partial, true, memory_order_relaxed);
        matches = false;
    }
    arena_reset(&source->payloads);
    return matches;
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

static void scan_block(struct source_search *source, uint32_t first, const float *scores,
                       uint32_t count)
{
    struct searcher *searcher = source->searcher;
    double floor = search_floor(searcher);
    float raw_floor = search_raw_floor(source, floor);

    for (uint32_t i = 0; i < count; i++) {
        double order;
        if (scores[i] < raw_floor)
            continue;
        order = row_order(source, first + i, scores[i]);
        if (order < floor || (source->offered_count && was_offered(source, first + i)) ||
            !row_accepted(source, first + i))
            continue;
        search_offer(source, first + i, order);
        floor = search_floor(searcher);
        raw_floor = search_raw_floor(source, floor);
    }
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

int search_source_run(struct source_search *source, struct error *error)
{
    struct searcher *searcher = source->searcher;
    const struct store_source *table = source->source;
    enum walk_outcome outcome = WALK_SHORT;
    struct error local = {0};
    int code = 0;

    source->how = table->kind == STORE_SOURCE_MEMTABLE ? "memtable"
                  : table->kind == STORE_SOURCE_CHUNK  ? "chunk"
                                                       : "run";
    source->decay_min = search_decay(searcher, table->min_event_ms);
    source->decay_max = search_decay(searcher, table->max_event_ms);
    if (is_hopeless(source) || out_of_time(searcher))
        return 0;
    if (search_source_walks(source)) {
        code = walk_segment(source, &outcome, &local);
        if (code == 0 && outcome == WALK_DONE)
            source->how = index_segment_kind(table->segment->object);
    }
    if (code == 0 && outcome == WALK_SHORT)
        code = scan(source, &local);
    if (code == ERROR_CORRUPT || code == ERROR_IO) {
        query_view_report(searcher->view, source->shard, table, &local);
        atomic_store_explicit(&searcher->partial, true, memory_order_relaxed);
        return 0;
    }
    if (code != 0 && error)
        *error = local;
    return code;
}
