#include "indexer/query/search.h"
#include "indexer/query/filter.h"
#include "indexer/query/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    VECTOR_ALIGNMENT = 64,
    DUPLICATE_ROUNDS = 3,
    PARALLEL_WALK_ROWS = 1000 /* a walk costs as much as a scan of so many rows */
};

static const double SHARE_DEVIATIONS = 2.0;
static const double SHARE_POOL_POWER = 0.5;

static enum index_metric metric_of(const struct config_collection *collection)
{
    switch (collection->metric) {
    case CONFIG_METRIC_COSINE:
        return INDEX_METRIC_COSINE;
    case CONFIG_METRIC_DOT:
        return INDEX_METRIC_DOT;
    default:
        return INDEX_METRIC_L2;
    }
}

static int check(const struct query_search *search, uint32_t dim, struct error *error)
{
    if (search->limit == 0)
        return error_set(error, ERROR_INVALID, "limit: value 0 invalid, must be 1 or larger");
    if ((uint64_t)search->limit + search->offset > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit and offset: together at most %d",
                         QUERY_LIMIT_MAX);
    if (search->has_threshold && isnan(search->threshold))
        return error_set(error, ERROR_INVALID, "score_threshold: not a number");
    if (search->half_life_ms < 0)
        return error_set(error, ERROR_INVALID, "half_life: must be positive");
    for (uint32_t i = 0; i < dim; i++)
        if (!isfinite(search->vector[i]))
            return error_set(error, ERROR_INVALID, "vector[%u]: not a finite number", i);
    return 0;
}

/* A vector of zeros has no direction. Qdrant answers with score 0 for everything; so do we, by a
 * scan, because a graph has no way to walk: the result is then the first ids. */
static void prepare_query(struct searcher *searcher)
{
    const struct query_search *search = searcher->search;
    size_t bytes = (size_t)searcher->dim * sizeof(float);
    float *query = arena_alloc(search->arena, bytes, VECTOR_ALIGNMENT);

    memcpy(query, search->vector, bytes);
    if (searcher->metric == INDEX_METRIC_COSINE && index_normalise(query, searcher->dim) == 0)
        searcher->exact = true;
    searcher->query = query;
}

/* ---- plan --------------------------------------------------------------------------------- */

struct plan {
    struct source_search *sources;
    struct query_explain *explain; /* one a source, or NULL */
    size_t count;
    uint64_t rows;
};

static int64_t order_time(const struct source_search *source)
{
    return source->source->max_event_ms;
}

/* Unsealed rows first, then the newest window: what is asked for most is often fresh, and a high
 * floor makes the rest cheap. */
static bool goes_before(const struct source_search *a, const struct source_search *b)
{
    bool a_sealed = a->source->sealed;
    bool b_sealed = b->source->sealed;

    return a_sealed != b_sealed ? b_sealed : order_time(a) > order_time(b);
}

static void plan_add(struct plan *plan, const struct source_search *fresh)
{
    size_t place = plan->count++;

    for (; place > 0 && goes_before(fresh, &plan->sources[place - 1]); place--)
        plan->sources[place] = plan->sources[place - 1];
    plan->sources[place] = *fresh;
    plan->rows += fresh->source->row_count;
}

static void plan_make(struct plan *plan, struct searcher *searcher, struct query_result *result)
{
    const struct query_view *view = searcher->view;
    struct arena *arena = searcher->search->arena;
    struct window_tally tally;
    size_t most = 0;

    for (size_t i = 0; i < view->shard_count; i++)
        most += view->shards[i].source_count;
    *plan = (struct plan){.sources = arena_calloc(arena, most + 1, sizeof(*plan->sources))};
    query_tally_start(&tally, view, arena);
    for (size_t i = 0; i < view->shard_count; i++) {
        for (size_t j = 0; j < view->shards[i].source_count; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            bool searched = query_source_overlaps(source, searcher->from_ms, searcher->to_ms);
            struct source_search fresh = {.searcher = searcher, .shard = i, .source = source};
            if (source->kind != STORE_SOURCE_MEMTABLE)
                query_tally_table(&tally, i, source, searched);
            else if (searched)
                query_tally_memtable(&tally, view, i, source, searcher->from_ms, searcher->to_ms);
            if (searched)
                plan_add(plan, &fresh);
        }
    }
    query_tally_finish(&tally, result);
    if (searcher->search->explain)
        plan->explain = arena_calloc(arena, plan->count + 1, sizeof(*plan->explain));
}

/* ---- run ---------------------------------------------------------------------------------- */

static int run_source(struct plan *plan, size_t index, struct error *error)
{
    struct source_search *source = &plan->sources[index];
    const struct query_view *view = source->searcher->view;
    int64_t start_ns = plan->explain ? io_monotonic_ns(view->io) : 0;
    int code;

    arena_create(&source->payloads, 0);
    arena_create(&source->working, 0);
    arena_create(&source->bound, 0);
    code = search_source_run(source, error);
    arena_destroy(&source->payloads);
    arena_destroy(&source->working);
    arena_destroy(&source->bound);
    if (plan->explain)
        plan->explain[index] =
            (struct query_explain){.window_start_ms = source->source->window_start_ms,
                                   .window_length_ms = source->source->window_length_ms,
                                   .shard = view->shards[source->shard].name,
                                   .source = source->how,
                                   .generation = source->source->generation,
                                   .rows = source->source->row_count,
                                   .seconds = plan->explain[index].seconds +
                                              (double)(io_monotonic_ns(view->io) - start_ns) / 1e9};
    return code;
}

/* About how many float32 multiplications it takes. */
static uint64_t plan_work(const struct plan *plan)
{
    uint64_t work = 0;

    for (size_t i = 0; i < plan->count; i++) {
        const struct source_search *source = &plan->sources[i];
        uint64_t rows = source->source->row_count;
        if (source->source->segment && !source->searcher->exact && rows > PARALLEL_WALK_ROWS)
            rows = PARALLEL_WALK_ROWS;
        work += rows * source->searcher->dim;
    }
    return work;
}

/* k and ef of each source. A window that holds a tenth of the rows holds about a tenth of the
 * answer: of many segments each is asked for its share and some more (two standard deviations),
 * with a pool that shrinks less than the share does. Windows in which the answer is concentrated
 * show themselves by bringing nothing but good hits and are asked again in full. With a filter or
 * decay shares say little: every segment is asked in full. */
static void plan_shares(struct plan *plan, const struct searcher *searcher, uint32_t limit)
{
    bool shared = !searcher->filter && !searcher->bounded && searcher->search->half_life_ms == 0;
    uint64_t rows = 0;
    size_t segments = 0;

    for (size_t i = 0; i < plan->count; i++) {
        if (!search_source_walks(&plan->sources[i]))
            continue;
        rows += plan->sources[i].source->row_count;
        segments++;
    }
    for (size_t i = 0; i < plan->count; i++) {
        struct source_search *source = &plan->sources[i];
        double share = (double)source->source->row_count / (double)(rows ? rows : 1);
        double expected = share * (double)limit;
        double wanted = ceil(expected + SHARE_DEVIATIONS * sqrt(expected));
        source->offered_count = 0;
        source->last_order = -INFINITY;
        source->wanted = limit;
        source->pool = searcher->ef;
        if (!shared || segments < 2 || wanted >= (double)limit || wanted > SEARCH_SHARE_MAX)
            continue;
        source->wanted = (uint32_t)wanted;
        source->pool = (uint32_t)ceil((double)searcher->ef * pow(share, SHARE_POOL_POWER));
    }
}

struct plan_run {
    struct plan *plan;
    size_t *chosen; /* sources of the second round; NULL: all */
    size_t count;
    pthread_mutex_t lock; /* of `error` */
    atomic_int code;      /* of the first source that failed; the others are not begun */
    struct error *error;
};

static void run_task(void *context, size_t index)
{
    struct plan_run *run = context;
    struct error local = {0};
    int code;

    if (run->chosen)
        index = run->chosen[index];
    if (atomic_load(&run->code) != 0 || (code = run_source(run->plan, index, &local)) == 0)
        return;
    (void)pthread_mutex_lock(&run->lock);
    if (atomic_load(&run->code) == 0 && run->error)
        *run->error = local;
    atomic_store(&run->code, code);
    (void)pthread_mutex_unlock(&run->lock);
}

/* Chooses the sources whose every hit of the first round is among the best. */
static bool plan_second_round(struct plan *plan, struct searcher *searcher, struct plan_run *run)
{
    uint32_t limit = (uint32_t)searcher->top.limit;
    double floor = search_floor(searcher);

    run->chosen = arena_calloc(searcher->search->arena, plan->count + 1, sizeof(*run->chosen));
    run->count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct source_search *source = &plan->sources[i];
        if (source->wanted >= limit || source->last_order < floor ||
            !(source->last_order > -INFINITY))
            continue;
        source->wanted = limit;
        source->pool = searcher->ef;
        run->chosen[run->count++] = i;
    }
    return run->count > 0;
}

static int run_plan(struct searcher *searcher, struct plan *plan, size_t limit, struct error *error)
{
    struct query_pool *pool = searcher->view->pool;
    struct plan_run run = {.plan = plan, .lock = PTHREAD_MUTEX_INITIALIZER, .error = error};

    if (limit > plan->rows)
        limit = (size_t)plan->rows;
    query_top_start(&searcher->top, limit, searcher->search->arena);
    atomic_store(&searcher->floor, searcher->threshold_order);
    plan_shares(plan, searcher, (uint32_t)limit);
    if (pool && plan_work(plan) < query_pool_threshold(pool))
        pool = NULL;
    run.count = plan->count;
    query_pool_run(pool, run.count, run_task, &run);
    if (atomic_load(&run.code) == 0 && plan_second_round(plan, searcher, &run))
        query_pool_run(pool, run.count, run_task, &run);
    query_top_sort(&searcher->top);
    return atomic_load(&run.code);
}

/* ---- result ------------------------------------------------------------------------------- */

static int key_then_newest(const void *a, const void *b)
{
    const struct top_entry *left = *(struct top_entry *const *)a;
    const struct top_entry *right = *(struct top_entry *const *)b;
    int order = query_key_compare(left->key, left->key_bytes, right->key, right->key_bytes);
    int64_t left_ms, right_ms;

    if (order != 0)
        return order;
    left_ms = store_row_event_time_ms(left->source, left->row);
    right_ms = store_row_event_time_ms(right->source, right->row);
    return left_ms != right_ms ? (left_ms < right_ms) - (left_ms > right_ms)
                               : (left->shard > right->shard) - (left->shard < right->shard);
}

/* Kafka keeps an id in one partition, until partitions are added or a second topic carries it too.
 * Of such an id the version with the newest event time stays. Returns how many rows left. */
static size_t drop_duplicates(struct searcher *searcher)
{
    struct top *top = &searcher->top;
    struct top_entry **by_key;
    size_t kept = 0;
    size_t dropped = 0;

    if (searcher->view->shard_count < 2 || top->count < 2)
        return 0;
    by_key = arena_calloc(searcher->search->arena, top->count, sizeof(*by_key));
    for (size_t i = 0; i < top->count; i++)
        by_key[i] = &top->entries[i];
    qsort(by_key, top->count, sizeof(*by_key), key_then_newest);
    /* The newest of an id comes first; the others are marked by having no source. */
    for (size_t i = top->count - 1; i > 0; i--)
        if (query_key_compare(by_key[i]->key, by_key[i]->key_bytes, by_key[i - 1]->key,
                              by_key[i - 1]->key_bytes) == 0)
            by_key[i]->source = NULL;
    for (size_t i = 0; i < top->count; i++)
        if (top->entries[i].source)
            top->entries[kept++] = top->entries[i];
    dropped = top->count - kept;
    top->count = kept;
    return dropped;
}

static void result_fill(const struct searcher *searcher, const struct plan *plan,
                        struct query_result *result)
{
    const struct top *top = &searcher->top;
    size_t first = searcher->search->offset;
    size_t count = top->count > first ? top->count - first : 0;

    if (count > searcher->search->limit)
        count = searcher->search->limit;
    result->hits = arena_calloc(searcher->search->arena, count + 1, sizeof(*result->hits));
    result->hit_count = count;
    for (size_t i = 0; i < count; i++) {
        const struct top_entry *entry = &top->entries[first + i];
        result->hits[i] = (struct query_hit){
            .row = query_view_row(searcher->view, entry->shard, entry->source, entry->row),
            .score = entry->score};
    }
    result->partial = atomic_load(&searcher->partial);
    result->explain = plan->explain;
    result->explain_count = plan->explain ? plan->count : 0;
}

int query_search_run(struct query_view *view, const struct query_search *search,
                     struct query_result *result, struct error *error)
{
    const struct config_collection *collection = view->collection;
    struct searcher searcher = {
        .view = view,
        .search = search,
        .filter = search->filter && !search->filter->accepts_all ? search->filter : NULL,
        .metric = metric_of(collection),
        .dim = collection->dim,
        .ef = search->ef ? search->ef : collection->hnsw_ef,
        .exact = search->exact,
        .from_ms = search->from_ms,
        .to_ms = search->to_ms,
        .lock = PTHREAD_MUTEX_INITIALIZER};
    size_t limit = (size_t)search->limit + search->offset;
    struct plan plan;
    int code = check(search, searcher.dim, error);

    *result = (struct query_result){0};
    if (code != 0)
        return code;
    query_filter_time_range(searcher.filter, &searcher.from_ms, &searcher.to_ms);
    searcher.bounded = searcher.from_ms != INT64_MIN || searcher.to_ms != INT64_MAX;
    searcher.threshold_order = search_threshold_order(searcher.metric, search);
    prepare_query(&searcher);
    plan_make(&plan, &searcher, result);
    for (int round = 0; round < DUPLICATE_ROUNDS; round++) {
        bool full;
        size_t dropped;
        code = run_plan(&searcher, &plan, limit, error);
        if (code != 0)
            return code;
        full = searcher.top.count == searcher.top.limit;
        dropped = drop_duplicates(&searcher);
        if (dropped == 0 || !full)
            break;
        limit += dropped;
    }
    result_fill(&searcher, &plan, result);
    return 0;
}
