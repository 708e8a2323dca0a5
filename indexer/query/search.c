#include "indexer/query/filter.h"
#include "indexer/query/gather.h"
#include "indexer/query/searcher.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum {
    VECTOR_ALIGNMENT = 64,
    /* Multiplications: a tenth of a millisecond or more. Waking a helper takes tens of
     * microseconds. */
    SHARED_WORK_MIN = 2000000,
    DUPLICATE_ROUNDS = 3,
    ANSWER_KEYS = 8,            /* of one search, for a peer */
    SEGMENT_SEARCH_ROWS = 1000, /* searching a segment costs as much as scanning so many rows */
    GROUP_SEGMENTS_MAX = 32,    /* with more, entry points take longest: split, for other threads */
    GROUP_NODES_MAX = 1 << 30   /* the same */
};

static int check(const struct query_search *search, uint32_t dim, struct error *error)
{
    if (search->limit == 0)
        return error_set(error, ERROR_INVALID, "limit: value 0 invalid, must be 1 or larger");
    if ((uint64_t)search->limit + search->offset > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit plus offset must be at most %d",
                         QUERY_LIMIT_MAX);
    if (search->has_threshold && isnan(search->threshold))
        return error_set(error, ERROR_INVALID, "score_threshold: not a number");
    if (search->recall != 0 &&
        !(search->recall >= CONFIG_RECALL_MIN && search->recall <= CONFIG_RECALL_MAX))
        return error_set(error, ERROR_INVALID, "recall: must be from %g to %g", CONFIG_RECALL_MIN,
                         CONFIG_RECALL_MAX);
    if (search->half_life_ms < 0)
        return error_set(error, ERROR_INVALID, "half_life: must be positive");
    for (uint32_t i = 0; i < dim; i++)
        if (!isfinite(search->vector[i]))
            return error_set(error, ERROR_INVALID, "vector[%u]: not a finite number", i);
    return 0;
}

/* A vector of zeros has no direction. Qdrant answers with score 0 for everything; so do we, by a
 * scan, because no direction leads through a graph: the result is then the first ids. */
static void prepare_query(struct searcher *searcher)
{
    const struct query_search *search = searcher->search;
    size_t bytes = (size_t)searcher->dim * sizeof(float);
    float *query = arena_alloc(search->arena, bytes, VECTOR_ALIGNMENT);

    memcpy(query, search->vector, bytes);
    if (searcher->metric == VECTOR_METRIC_COSINE && index_normalise(query, searcher->dim) == 0)
        searcher->exact = true;
    searcher->query = query;
}

/* Plan. */

struct plan {
    struct source_search *sources;
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
    struct window_stats stats;
    size_t most = 0;

    for (size_t i = 0; i < view->shard_count; i++)
        most += view->shards[i].source_count;
    *plan = (struct plan){.sources = arena_calloc(arena, most + 1, sizeof(*plan->sources))};
    query_window_stats_start(&stats, view, arena);
    for (size_t i = 0; i < view->shard_count; i++) {
        for (size_t j = 0; j < view->shards[i].source_count; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            bool searched = query_source_overlaps(source, searcher->from_ms, searcher->to_ms);
            struct source_search fresh = {.searcher = searcher, .shard = i, .source = source};
            if (source->kind != STORE_SOURCE_MEMTABLE)
                query_window_stats_table(&stats, i, source, searched);
            else if (searched)
                query_window_stats_memtable(&stats, view, i, source, searcher->from_ms,
                                            searcher->to_ms);
            if (searched)
                plan_add(plan, &fresh);
        }
    }
    query_window_stats_finish(&stats, result);
}

/* Run. */

/* About how many float32 multiplications it takes. */
static uint64_t plan_work(const struct plan *plan)
{
    uint64_t work = 0;

    for (size_t i = 0; i < plan->count; i++) {
        const struct source_search *source = &plan->sources[i];
        uint64_t rows = source->source->row_count;
        if (source->source->segment && !source->searcher->exact && rows > SEGMENT_SEARCH_ROWS)
            rows = SEGMENT_SEARCH_ROWS;
        work += rows * source->searcher->dim;
    }
    return work;
}

/* One round of tasks over the plan: sources alone, then groups of segments. */
struct plan_run {
    struct searcher *searcher;
    struct plan *plan;
    struct source_search **alone;
    size_t alone_count;
    struct source_search **in_groups; /* group after group */
    uint32_t *group_ends;
    bool *enough; /* by group */
    size_t group_count;
    pthread_mutex_t lock; /* of `error` */
    atomic_int code;      /* of the first task that failed; the others are not begun */
    struct error *error;
};

static void prepare_sources(void *context, uint32_t thread, uint32_t index, uint32_t end)
{
    struct plan_run *run = context;
    struct source_search *source = &run->plan->sources[index];
    int64_t start_ns = io_monotonic_ns(run->searcher->view->io);

    (void)thread;
    assert(end == index + 1);
    search_source_prepare(source);
    source->seconds += (double)(io_monotonic_ns(run->searcher->view->io) - start_ns) / 1e9;
}

static int run_group(struct plan_run *run, size_t group, struct error *error)
{
    uint32_t first = group > 0 ? run->group_ends[group - 1] : 0;
    uint32_t count = run->group_ends[group] - first;
    int64_t start_ns = io_monotonic_ns(run->searcher->view->io);
    int code =
        search_group_run(run->searcher, run->in_groups + first, count, &run->enough[group], error);
    double seconds = (double)(io_monotonic_ns(run->searcher->view->io) - start_ns) / 1e9;

    for (uint32_t i = first; i < first + count; i++)
        run->in_groups[i]->seconds += seconds / count;
    return code;
}

static int run_alone(const struct plan_run *run, size_t index, struct error *error)
{
    int64_t start_ns = io_monotonic_ns(run->searcher->view->io);
    int code = search_source_run(run->alone[index], error);

    run->alone[index]->seconds +=
        (double)(io_monotonic_ns(run->searcher->view->io) - start_ns) / 1e9;
    return code;
}

static void run_task(void *context, uint32_t thread, uint32_t index, uint32_t end)
{
    struct plan_run *run = context;
    struct error local = {0};
    int code;

    (void)thread;
    assert(end == index + 1);
    if (atomic_load(&run->code) != 0)
        return;
    code = index < run->alone_count ? run_alone(run, index, &local)
                                    : run_group(run, index - run->alone_count, &local);
    if (code == 0)
        return;
    (void)pthread_mutex_lock(&run->lock);
    if (atomic_load(&run->code) == 0)
        *run->error = local;
    atomic_store(&run->code, code);
    (void)pthread_mutex_unlock(&run->lock);
}

static bool searched_together(const struct source_search *a, const struct source_search *b)
{
    uint32_t group = index_segment_group(a->source->segment->object);

    return group > 0 && group == index_segment_group(b->source->segment->object);
}

/* Puts `first` and all that can be searched with it into a new group, as far as it has room. */
static void make_group(struct plan_run *run, size_t first)
{
    struct plan *plan = run->plan;
    bool together = run->searcher->search->half_life_ms == 0;
    uint32_t begin = run->group_count > 0 ? run->group_ends[run->group_count - 1] : 0;
    uint32_t end = begin;
    uint64_t nodes = 0;

    for (size_t i = first; i < plan->count && end - begin < (together ? GROUP_SEGMENTS_MAX : 1);
         i++) {
        struct source_search *source = &plan->sources[i];
        uint64_t more = (uint64_t)source->source->row_count + 2 * SEGMENT_SEARCH_ROWS;
        if (!source->through_segment || source->grouped)
            continue;
        if (i > first &&
            (nodes + more > GROUP_NODES_MAX || !searched_together(&plan->sources[first], source)))
            continue;
        source->grouped = true;
        run->in_groups[end++] = source;
        nodes += more;
    }
    run->group_ends[run->group_count++] = end;
}

/* Every source is a task alone or goes into a group. Segments that share a codebook are searched as
 * one group, even when windows of other shards lie between them. */
static void make_tasks(struct plan_run *run)
{
    struct plan *plan = run->plan;

    run->alone_count = run->group_count = 0;
    for (size_t i = 0; i < plan->count; i++)
        plan->sources[i].grouped = false;
    for (size_t i = 0; i < plan->count; i++) {
        struct source_search *source = &plan->sources[i];
        if (!source->through_segment && source->path != ACCESS_NONE)
            run->alone[run->alone_count++] = source;
        if (source->through_segment && !source->grouped)
            make_group(run, i);
    }
}

/* Where a group found too few rows, its sources are searched without their segments. */
static void make_second_tasks(struct plan_run *run)
{
    uint32_t at = 0;

    run->alone_count = 0;
    for (size_t i = 0; i < run->group_count; i++)
        for (; at < run->group_ends[i]; at++)
            if (!run->enough[i])
                run->alone[run->alone_count++] = run->in_groups[at];
    run->group_count = 0;
}

static void share_out(struct thread_pool *pool, size_t count, thread_loop_function function,
                      struct plan_run *run)
{
    /* The pool may have more threads than there are processors: some of its tasks wait. */
    const struct thread_team team = {.pool = pool, .threads = thread_budget_processors()};

    (void)thread_team_for(&team, (uint32_t)count, 1, function, run);
}

static void run_prepared(struct plan_run *run, struct thread_pool *pool)
{
    search_plan_segments(run->searcher, run->plan->sources, run->plan->count);
    make_tasks(run);
    share_out(pool, run->alone_count + run->group_count, run_task, run);
    make_second_tasks(run);
    share_out(pool, run->alone_count, run_task, run);
}

/* What was found until the time was over is an answer to those who asked for that. */
static int settle_cut(struct searcher *searcher, struct error *error)
{
    int code = search_was_cut(searcher) ? stop_check(searcher->view->stop, error) : 0;

    if (code != ERROR_TIMEOUT || !searcher->search->partial)
        return code;
    *error = (struct error){0};
    atomic_store(&searcher->partial, true);
    return 0;
}

static int run_plan(struct searcher *searcher, struct plan *plan, size_t limit, struct error *error)
{
    struct arena *arena = searcher->search->arena;
    struct thread_pool *pool = searcher->view->pool;
    struct plan_run run = {
        .searcher = searcher, .plan = plan, .lock = PTHREAD_MUTEX_INITIALIZER, .error = error};

    if (limit > plan->rows)
        limit = (size_t)plan->rows;
    query_top_start(&searcher->top, limit, arena);
    atomic_store(&searcher->floor, searcher->threshold_order);
    run.alone = arena_calloc(arena, plan->count + 1, sizeof(struct source_search *));
    run.in_groups = arena_calloc(arena, plan->count + 1, sizeof(struct source_search *));
    run.group_ends = arena_calloc(arena, plan->count + 1, sizeof(*run.group_ends));
    run.enough = arena_calloc(arena, plan->count + 1, sizeof(*run.enough));
    if (plan_work(plan) <
        (searcher->view->shared_work_min ? searcher->view->shared_work_min : SHARED_WORK_MIN))
        pool = NULL;
    share_out(searcher->filter ? pool : NULL, plan->count, prepare_sources, &run);
    run_prepared(&run, pool);
    for (size_t i = 0; i < plan->count; i++)
        search_source_finish(&plan->sources[i]);
    query_top_sort(&searcher->top);
    return atomic_load(&run.code) ? atomic_load(&run.code) : settle_cut(searcher, error);
}

/* Result. */

/* Hits of this process and of its peers, while they are merged. */
struct merged {
    struct query_hit *hits;
    size_t count;
};

/* As the heap ranks them; the names of shards stand for their places. */
static int best_first(const void *a, const void *b)
{
    const struct query_hit *left = a, *right = b;
    int order = (left->order < right->order) - (left->order > right->order);

    if (order == 0)
        order = query_row_compare_ids(&left->row, &right->row);
    return order != 0 ? order : query_shard_compare(left->row.shard, right->row.shard);
}

static int key_then_newest(const void *a, const void *b)
{
    const struct query_hit *left = *(struct query_hit *const *)a;
    const struct query_hit *right = *(struct query_hit *const *)b;
    int order = query_row_compare_ids(&left->row, &right->row);

    return order != 0 ? order : query_row_compare_versions(&left->row, &right->row);
}

/* Kafka keeps an id in one partition, until partitions are added or a second topic carries it too.
 * Of such an id the version with the newest event time stays. Returns how many rows left. */
static size_t drop_duplicates(const struct searcher *searcher, struct merged *merged)
{
    const struct query_view *view = searcher->view;
    struct query_hit **by_key;
    size_t kept = 0;
    size_t dropped = 0;

    if (searcher->search->duplicates || view->shard_count + view->remote_count < 2 ||
        merged->count < 2)
        return 0;
    by_key = arena_calloc(searcher->search->arena, merged->count, sizeof(*by_key));
    for (size_t i = 0; i < merged->count; i++)
        by_key[i] = &merged->hits[i];
    qsort(by_key, merged->count, sizeof(*by_key), key_then_newest);
    /* The newest of an id comes first; the others are marked by having no shard. */
    for (size_t i = merged->count - 1; i > 0; i--)
        if (query_row_compare_ids(&by_key[i]->row, &by_key[i - 1]->row) == 0)
            by_key[i]->row.shard = NULL;
    for (size_t i = 0; i < merged->count; i++)
        if (merged->hits[i].row.shard)
            merged->hits[kept++] = merged->hits[i];
    dropped = merged->count - kept;
    merged->count = kept;
    return dropped;
}

static void take_top(const struct searcher *searcher, struct merged *merged)
{
    const struct top *top = &searcher->top;

    merged->hits = arena_calloc(searcher->search->arena, top->count + 1, sizeof(*merged->hits));
    merged->count = top->count;
    for (size_t i = 0; i < top->count; i++) {
        const struct top_entry *entry = &top->entries[i];
        merged->hits[i] = (struct query_hit){
            .row = query_view_row(searcher->view, entry->shard, entry->source, entry->row),
            .score = entry->score,
            .order = entry->order};
    }
}

/* One of the searches that run together. */
struct search_run {
    struct searcher searcher;
    struct plan plan;
    size_t limit;                /* of this round */
    struct query_result windows; /* counts of this process */
    struct merged merged;
    /* What the answers of one round bring. */
    struct merged more;
    struct query_result gathered; /* windows, partial, explanations */
};

/* The searches of one round. */
struct search_round {
    struct search_run **runs;
    uint32_t count;
};

/* The answers to one round; `result` is what one of its searches gets from this node. */
struct round_part {
    struct query_hit *hits;
    size_t count;
    struct query_result gathered;
};

static int read_part(const struct search_run *run, const struct gather_answer *answer,
                     struct round_part *part, struct error *error)
{
    const struct query_search *search = run->searcher.search;

    part->gathered = run->gathered;
    if (gather_hits(answer, run->searcher.dim, search->wants, search->arena, &part->hits,
                    &part->count, error) != 0)
        return error->code;
    return gather_result(answer, search->arena, &part->gathered, error);
}

static void keep_part(struct search_run *run, const struct round_part *part)
{
    struct merged *more = &run->more;
    struct query_hit *all = memory_checked(
        arena_calloc(run->searcher.search->arena, more->count + part->count + 1, sizeof(*all)));

    if (more->count > 0)
        memcpy(all, more->hits, more->count * sizeof(*all));
    memcpy(all + more->count, part->hits, part->count * sizeof(*all));
    more->hits = all;
    more->count += part->count;
    run->gathered = part->gathered;
}

static int take_answer(void *context, const struct gather_answer *answer, struct error *error)
{
    const struct search_round *round = context;
    const struct doc *list = answer->result;
    struct round_part *parts = memory_checked(
        arena_calloc(round->runs[0]->searcher.search->arena, round->count, sizeof(*parts)));

    if (round->count > 1) {
        if (wire_get(answer->result, "results", DOC_ARRAY, &list, error) != 0)
            return error->code;
        if (list->count != round->count)
            return error_set(error, ERROR_INVALID, "peer: %u results of %u searches", list->count,
                             round->count);
        list = list->items;
    }
    for (uint32_t i = 0; i < round->count; i++) {
        struct gather_answer one = *answer;
        one.result = &list[i];
        if (list[i].type != DOC_MAP)
            return error_set(error, ERROR_INVALID, "peer: results[%u] is not an object", i);
        if (read_part(round->runs[i], &one, &parts[i], error) != 0)
            return error->code;
    }
    for (uint32_t i = 0; i < round->count; i++)
        keep_part(round->runs[i], &parts[i]);
    return 0;
}

/* The best of both; peers rank as this process does, so the order is known. */
static void merge(struct search_run *run)
{
    const struct merged *more = &run->more;
    struct merged *merged = &run->merged;
    struct query_hit *all;

    if (more->count == 0)
        return;
    all = memory_checked(
        arena_calloc(run->searcher.search->arena, merged->count + more->count, sizeof(*all)));
    if (merged->count > 0)
        memcpy(all, merged->hits, merged->count * sizeof(*all));
    memcpy(all + merged->count, more->hits, more->count * sizeof(*all));
    merged->hits = all;
    merged->count += more->count;
    qsort(all, merged->count, sizeof(*all), best_first);
    if (merged->count > run->limit)
        merged->count = run->limit;
}

static struct doc round_op(const struct search_round *round)
{
    struct arena *arena = round->runs[0]->searcher.search->arena;
    struct doc *ops = doc_items(arena, round->count);

    for (uint32_t i = 0; i < round->count; i++)
        ops[i] = wire_from_search(round->runs[i]->searcher.search, (uint32_t)round->runs[i]->limit,
                                  round->runs[i]->searcher.dim, arena);
    return round->count == 1 ? ops[0] : wire_from_searches(ops, round->count, arena);
}

/* The best rows of the shards that are open here and of those of peers. */
static int run_round(struct query_view *view, const struct search_round *round, struct error *error)
{
    struct arena *arena = round->runs[0]->searcher.search->arena;
    struct gather gather;
    struct doc op = {0};
    int code = 0;

    if (gather_needed(view))
        op = round_op(round);
    gather_start(&gather, view, arena, &op);
    for (uint32_t i = 0; code == 0 && i < round->count; i++) {
        struct search_run *run = round->runs[i];
        run->more = (struct merged){0};
        run->gathered = (struct query_result){0};
        code = run_plan(&run->searcher, &run->plan, run->limit, error);
    }
    code = gather_finish(&gather, code, take_answer, (void *)round, error);
    for (uint32_t i = 0; code == 0 && i < round->count; i++) {
        struct search_run *run = round->runs[i];
        if (run->more.count > 0 && search_is_stopped(&run->searcher))
            code = settle_cut(&run->searcher, error);
        take_top(&run->searcher, &run->merged);
        merge(run);
    }
    return code;
}

/* Windows of this process come first, then those of peers, which are in the result already. */
static void explain_fill(const struct searcher *searcher, const struct plan *plan,
                         struct query_result *result)
{
    struct query_explain *explain = arena_calloc(
        searcher->search->arena, plan->count + result->explain_count + 1, sizeof(*explain));

    for (size_t i = 0; i < plan->count; i++) {
        const struct source_search *source = &plan->sources[i];
        explain[i] = (struct query_explain){.window_start_ms = source->source->window_start_ms,
                                            .window_length_ms = source->source->window_length_ms,
                                            .shard = searcher->view->shards[source->shard].name,
                                            .source = source->how,
                                            .generation = source->source->generation,
                                            .rows = source->source->row_count,
                                            .seconds = source->seconds};
    }
    if (result->explain_count > 0)
        memcpy(explain + plan->count, result->explain, result->explain_count * sizeof(*explain));
    result->explain = explain;
    result->explain_count += plan->count;
}

static void efforts_fill(const struct plan *plan, struct query_result *result)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct source_search *source = &plan->sources[i];
        struct query_effort *effort = result->efforts;
        while (effort->source && strcmp(effort->source, source->how) != 0)
            effort++;
        if (effort == &result->efforts[QUERY_EFFORTS_MAX])
            continue;
        effort->source = source->how;
        effort->count++;
        effort->rows += source->source->row_count;
        effort->seconds += source->seconds;
    }
}

static void result_fill(const struct searcher *searcher, const struct plan *plan,
                        const struct merged *merged, struct query_result *result)
{
    const struct query_search *search = searcher->search;
    size_t first = search->offset < merged->count ? search->offset : merged->count;

    result->hits = merged->hits + first;
    result->hit_count = merged->count - first;
    if (result->hit_count > search->limit)
        result->hit_count = search->limit;
    result->partial |= atomic_load(&searcher->partial);
    efforts_fill(plan, result);
    if (search->explain)
        explain_fill(searcher, plan, result);
}

static int search_run_start(struct search_run *run, struct query_view *view,
                            const struct query_search *search, struct error *error)
{
    const struct config_collection *collection = view->collection;
    struct searcher *searcher = &run->searcher;

    *searcher = (struct searcher){
        .view = view,
        .whole_view = view,
        .search = search,
        .filter = search->filter && !search->filter->accepts_all ? search->filter : NULL,
        .metric = collection->metric,
        .dim = collection->dim,
        .ef = search->ef || search->recall > 0 ? search->ef : collection->hnsw_ef,
        .recall = search->recall > 0 ? search->recall : collection->recall,
        .exact = search->exact,
        .from_ms = search->from_ms,
        .to_ms = search->to_ms,
        .lock = PTHREAD_MUTEX_INITIALIZER};
    if (check(search, searcher->dim, error) != 0)
        return error->code;
    run->limit = (size_t)search->limit + search->offset;
    query_filter_time_range(searcher->filter, &searcher->from_ms, &searcher->to_ms);
    searcher->bounded = searcher->from_ms != INT64_MIN || searcher->to_ms != INT64_MAX;
    searcher->threshold_order = search_threshold_order(searcher->metric, search);
    prepare_query(searcher);
    plan_make(&run->plan, searcher, &run->windows);
    return 0;
}

/* Older versions of ids took places: whether it is worth asking for more rows. */
static bool needs_more(struct search_run *run)
{
    bool full = run->merged.count == run->limit;
    size_t dropped = drop_duplicates(&run->searcher, &run->merged);

    if (dropped == 0 || !full ||
        (gather_needed(run->searcher.whole_view) && run->limit + dropped > QUERY_LIMIT_MAX))
        return false;
    run->limit += dropped;
    return true;
}

/* Rounds until no search of them needs another one. */
static int run_rounds(struct query_view *view, struct search_round round, struct error *error)
{
    for (int rounds = 0; rounds < DUPLICATE_ROUNDS && round.count > 0; rounds++) {
        uint32_t left = 0;
        if (run_round(view, &round, error) != 0)
            return error->code;
        for (uint32_t i = 0; i < round.count; i++)
            if (needs_more(round.runs[i]))
                round.runs[left++] = round.runs[i];
        round.count = left;
    }
    return 0;
}

int query_searches_run(struct query_view *view, const struct query_search *searches, size_t count,
                       struct query_result *results, struct error *error)
{
    struct arena *arena = searches[0].arena;
    struct search_run *runs = memory_checked(arena_calloc(arena, count, sizeof(*runs)));
    struct search_run **order = memory_checked(arena_calloc(arena, count, sizeof(*order)));
    bool together =
        count == 1 || !gather_needed(view) || gather_protocol(view) >= QUERY_PROTOCOL_SEARCHES;
    int code = 0;

    assert(count > 0 && count <= QUERY_SEARCHES_MAX);
    memset(results, 0, count * sizeof(*results));
    for (size_t i = 0; code == 0 && i < count; i++) {
        order[i] = &runs[i];
        code = search_run_start(&runs[i], view, &searches[i], error);
    }
    for (size_t i = 0; code == 0 && i < count; i += together ? count : 1)
        code = run_rounds(view, (struct search_round){&order[i], together ? (uint32_t)count : 1},
                          error);
    for (size_t i = 0; code == 0 && i < count; i++) {
        results[i] = runs[i].gathered;
        results[i].windows_searched += runs[i].windows.windows_searched;
        results[i].windows_pruned += runs[i].windows.windows_pruned;
        results[i].windows_live += runs[i].windows.windows_live;
        result_fill(&runs[i].searcher, &runs[i].plan, &runs[i].merged, &results[i]);
    }
    return code;
}

int query_search_run(struct query_view *view, const struct query_search *search,
                     struct query_result *result, struct error *error)
{
    return query_searches_run(view, search, 1, result, error);
}

int answer_search(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error)
{
    struct query_search search;
    struct query_result found;

    if (wire_to_search(op, view->collection->dim, arena, &search, error) != 0 ||
        query_search_run(view, &search, &found, error) != 0)
        return error->code;
    return answer_result(view, &found, search.wants, arena, result, error);
}

int answer_searches(struct query_view *view, const struct doc *op, struct arena *arena,
                    struct doc *result, struct error *error)
{
    const struct doc *list;
    struct query_search *searches;
    struct query_result *found;
    struct doc *items;

    if (wire_get(op, "searches", DOC_ARRAY, &list, error) != 0)
        return error->code;
    if (list->count == 0 || list->count > QUERY_SEARCHES_MAX)
        return error_set(error, ERROR_INVALID, "peer: %u searches in one request", list->count);
    searches = memory_checked(arena_calloc(arena, list->count, sizeof(*searches)));
    found = memory_checked(arena_calloc(arena, list->count, sizeof(*found)));
    items = doc_items(arena, list->count);
    for (uint32_t i = 0; i < list->count; i++)
        if (wire_to_search(&list->items[i], view->collection->dim, arena, &searches[i], error) != 0)
            return error->code;
    if (query_searches_run(view, searches, list->count, found, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < list->count; i++) {
        items[i] = doc_map(arena, ANSWER_KEYS);
        if (answer_result(view, &found[i], searches[i].wants, arena, &items[i], error) != 0)
            return error->code;
    }
    doc_put(result, "results",
            (struct doc){.type = DOC_ARRAY, .count = list->count, .items = items});
    return 0;
}
