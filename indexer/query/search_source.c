/* One source of a search: scanned where it lies, or walked through its segment.
 *
 * A walk is trusted when it brings as many rows as were asked for, or saw everything. When rows
 * that may not be returned (dead, expired, filtered) crowd out the ones that may, the source is
 * scanned: k rows come back whenever k matching rows exist. */
#include "indexer/query/search.h"

#include <math.h>
#include <string.h>

enum {
    SCAN_BLOCK_ROWS = 256,
    SCAN_DEADLINE_BLOCKS = 64, /* blocks between two looks at the clock */
    /* A walk computes about this many code distances for each place in its pool, and a code
     * distance costs about half of a float one: a pool past rows / 8 is slower than a scan. */
    WALK_COST = 8,
    DECAY_ROUNDS = 4
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
        if (order < floor || !row_accepted(source, first + i))
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
    uint32_t wanted, found;
    bool exhausted;
};

static int walk_once(struct source_search *source, struct walk *walk, double floor,
                     struct error *error)
{
    struct searcher *searcher = source->searcher;
    float raw_floor = search_raw_floor(source, floor);
    struct index_search search = {.query = searcher->query,
                                  .k = walk->wanted,
                                  .ef = walk->wanted > searcher->ef ? walk->wanted : searcher->ef,
                                  .floor_score = raw_floor,
                                  .accept = accept_in_walk,
                                  .accept_context = source,
                                  .vector = vector_in_walk,
                                  .vector_context = source};
    int code;

    source->accepted = 0;
    source->rejected = 0;
    walk->found = 0;
    walk->exhausted = false;
    walk->hits = arena_calloc(&source->working, walk->wanted, sizeof(*walk->hits));
    code = index_segment_search(source->source->segment->object, &search, walk->hits, &walk->found,
                                &walk->exhausted, error);
    for (uint32_t i = 0; code == 0 && i < walk->found; i++) {
        double order = row_order(source, walk->hits[i].row, walk->hits[i].score);
        if (order >= search_floor(searcher))
            search_offer(source, walk->hits[i].row, order);
    }
    return code;
}

/* Whether what the walk did not bring can be disregarded. With a floor a walk may bring fewer rows
 * because the rest is of no use, and only rows that were turned away raise a doubt. */
static bool walk_is_enough(const struct source_search *source, const struct walk *walk)
{
    return walk->found == walk->wanted || walk->exhausted || source->rejected == 0 ||
           source->accepted >= walk->wanted;
}

static bool is_too_wide(const struct source_search *source, uint32_t wanted)
{
    const struct searcher *searcher = source->searcher;
    uint32_t pool = wanted > searcher->ef ? wanted : searcher->ef;

    return wanted >= source->source->row_count || pool > source->source->row_count / WALK_COST;
}

static int walk(struct source_search *source, enum walk_outcome *outcome, struct error *error)
{
    struct searcher *searcher = source->searcher;
    bool decays = source->decay_min != source->decay_max;
    /* With a filter the floor stays out: whether a short answer is the filter's or the floor's
     * doing could not be told apart. */
    bool filtered = searcher->filter || searcher->bounded;
    struct walk walk = {.wanted = (uint32_t)searcher->top.limit};
    int code;

    *outcome = WALK_SHORT;
    for (int round = 0; round < DECAY_ROUNDS && !is_too_wide(source, walk.wanted); round++) {
        code = walk_once(source, &walk, filtered ? -INFINITY : search_floor(searcher), error);
        if (code != 0)
            return code;
        if (!walk_is_enough(source, &walk) && !filtered)
            code = walk_once(source, &walk, -INFINITY, error);
        if (code != 0 || !walk_is_enough(source, &walk))
            return code;
        /* Rows behind the last one score at most as much; decay may still carry them past it. */
        if (!decays || walk.found < walk.wanted ||
            search_order_bound(source, (double)walk.hits[walk.found - 1].score) <
                search_floor(searcher)) {
            *outcome = WALK_DONE;
            return 0;
        }
        walk.wanted *= 4;
        arena_reset(&source->working);
    }
    return 0;
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
    if (table->segment && table->segment->object && table->sealed && !searcher->exact) {
        code = walk(source, &outcome, &local);
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
