#include "indexer/query/filter/filter.h"
#include "indexer/query/gather.h"
#include "indexer/query/recall_loop.h"
#include "indexer/query/searcher.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/snapshot.h"

enum { ANSWER_KEYS = 8 }; /* of one search, for a peer */

/* Plan. */

/* The sources that overlap the time range, shard after shard; counts windows on the way. */
static void plan_make(struct search_plan *plan, struct searcher *searcher,
                      struct query_result *result)
{
    const struct query_view *view = searcher->view;
    struct window_stats stats;
    size_t most = 0;

    for (size_t i = 0; i < view->shard_count; i++)
        most += view->shards[i].source_count;
    *plan = (struct search_plan){.searcher = searcher};
    plan->sources = arena_calloc(searcher->search->arena, most + 1, sizeof(*plan->sources));
    query_window_stats_start(&stats, view, searcher->search->arena);
    for (size_t i = 0; i < view->shard_count; i++) {
        for (size_t j = 0; j < view->shards[i].source_count; j++) {
            const struct store_source *source = &view->shards[i].sources[j];
            bool searched = query_source_overlaps(source, searcher->from_ms, searcher->to_ms);
            struct source_search *planned = &plan->sources[plan->count];
            if (source->kind != STORE_SOURCE_MEMTABLE)
                query_window_stats_table(&stats, i, source, searched);
            else if (searched)
                query_window_stats_memtable(&stats, view, i, source, searcher->from_ms,
                                            searcher->to_ms);
            if (!searched)
                continue;
            planned->searcher = searcher;
            planned->shard = i;
            planned->source = source;
            plan->rows += source->row_count;
            plan->count++;
        }
    }
    query_window_stats_finish(&stats, result);
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

/* Result. */

static void take_top(const struct searcher *searcher, struct hit_list *merged)
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
    struct search_plan plan;
    size_t limit;                /* of this round */
    bool full;                   /* the round found as many */
    struct query_result windows; /* counts of this process */
    struct hit_list merged;      /* of this process and of its peers */
    /* What the answers of one round bring. */
    struct hit_list more;
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
    if (gather_hits(answer, run->searcher.view->collection->dim, search->wants, search->arena,
                    &part->hits, &part->count, error) != 0)
        return error->code;
    for (size_t i = 0; i < part->count; i++) /* only values of payloads may be infinite */
        if (!isfinite(part->hits[i].order))
            return error_set(error, ERROR_INVALID, "peer: a hit's score is not finite");
    return gather_result(answer, search->arena, &part->gathered, error);
}

static void keep_part(struct search_run *run, const struct round_part *part)
{
    struct hit_list *more = &run->more;
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
    const struct hit_list *more = &run->more;
    struct hit_list *merged = &run->merged;
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
    qsort(all, merged->count, sizeof(*all), search_best_first);
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

/* Those of the shards that are open here, into `top` of each. */
static int run_plans(const struct search_round *round, struct error *error)
{
    struct search_plan **plans = memory_checked(
        arena_calloc(round->runs[0]->searcher.search->arena, round->count, sizeof(*plans)));
    int code;

    for (uint32_t i = 0; i < round->count; i++) {
        struct search_run *run = round->runs[i];
        run->more = (struct hit_list){0};
        run->gathered = (struct query_result){0};
        plans[i] = &run->plan;
        query_top_start(&run->searcher.top,
                        run->limit < run->plan.rows ? run->limit : (size_t)run->plan.rows,
                        run->searcher.search->arena);
        atomic_store(&run->searcher.floor, run->searcher.threshold_order);
    }
    code = search_plans_run(plans, round->count, error);
    for (uint32_t i = 0; i < round->count; i++) {
        query_top_sort(&round->runs[i]->searcher.top);
        if (code == 0)
            code = settle_cut(&round->runs[i]->searcher, error);
    }
    return code;
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
    code = run_plans(round, error);
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
static void explain_fill(const struct searcher *searcher, const struct search_plan *plan,
                         struct query_result *result)
{
    struct query_explain *explain = arena_calloc(
        searcher->search->arena, plan->count + result->explain_count + 1, sizeof(*explain));
    struct source_search **order =
        arena_calloc(searcher->search->arena, plan->count + 1, sizeof(struct source_search *));

    for (size_t i = 0; i < plan->count; i++)
        order[i] = &plan->sources[i];
    search_sources_sort(order, plan->count);
    for (size_t i = 0; i < plan->count; i++) {
        const struct source_search *source = order[i];
        explain[i] = (struct query_explain){
            .window_start_ms = source->source->window_start_ms,
            .window_length_ms = source->source->window_length_ms,
            .shard = searcher->view->shards[source->shard].name,
            .source = source->how,
            .generation = source->source->generation,
            .rows = source->source->row_count,
            .seconds = source->seconds,
            .reads = source->reads,
            .choice = query_choice_doc(source->through ? source->through->segment : NULL,
                                       searcher->search->arena),
            .effort = source->through && searcher->ef == 0 ? searcher->effort : 0};
    }
    if (result->explain_count > 0)
        memcpy(explain + plan->count, result->explain, result->explain_count * sizeof(*explain));
    result->explain = explain;
    result->explain_count += plan->count;
}

static void efforts_fill(const struct search_plan *plan, struct query_result *result)
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

static void result_fill(const struct searcher *searcher, const struct search_plan *plan,
                        const struct hit_list *merged, struct query_result *result)
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
    if (search_start(&run->searcher, view, search, error) != 0)
        return error->code;
    run->searcher.effort = recall_loop_begin(&run->searcher);
    run->limit = (size_t)search->limit + search->offset;
    plan_make(&run->plan, &run->searcher, &run->windows);
    return 0;
}

/* Kafka keeps an id in one partition, until partitions are added or a second topic carries it too. Of such
 * an id the newest version is a hit, or none. For all searches of the round together. */
static int drop_old_versions(struct query_view *view, const struct search_round *round,
                             struct error *error)
{
    struct arena *arena = round->runs[0]->searcher.search->arena;
    struct hit_list **lists =
        memory_checked(arena_calloc(arena, round->count, sizeof(struct hit_list *)));
    bool takes_part = true;
    size_t count = 0;
    int code;

    for (uint32_t i = 0; i < round->count; i++) {
        struct search_run *run = round->runs[i];
        run->full = run->merged.count == run->limit;
        takes_part &= run->searcher.search->partial;
        if (!run->searcher.search->duplicates)
            lists[count++] = &run->merged;
    }
    code = query_keep_newest(view, lists, count, arena, error);
    if (code != ERROR_TIMEOUT || !takes_part)
        return code;
    *error = (struct error){0};
    for (uint32_t i = 0; i < round->count; i++)
        atomic_store(&round->runs[i]->searcher.partial, true);
    return 0;
}

/* Whether old versions of ids took places. Where all ids moved to other partitions most of what is
 * near may be old: the places double, so that a few rounds find the others. */
static bool needs_more(struct search_run *run)
{
    const struct query_search *search = run->searcher.search;
    const size_t wanted = (size_t)search->limit + search->offset;
    const size_t most = gather_needed(run->searcher.whole_view) ? QUERY_LIMIT_MAX : SIZE_MAX;

    if (search->duplicates || !run->full || run->merged.count >= wanted ||
        search_was_cut(&run->searcher))
        return false;
    if (run->limit >= most) {
        atomic_store(&run->searcher.partial, true);
        return false;
    }
    run->limit = 2 * run->limit + (run->limit - run->merged.count);
    if (run->limit > most)
        run->limit = most;
    return true;
}

/* Searches that ask for the same rows have one filter, compiled once, and one of them finds the rows
 * that match for all. */
static void share_filters(struct search_run *runs, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        struct searcher *searcher = &runs[i].searcher;
        for (size_t j = 0; searcher->filter && j < i && !runs[i].plan.lender; j++) {
            const struct searcher *other = &runs[j].searcher;
            if (!other->filter || runs[j].plan.lender || other->from_ms != searcher->from_ms ||
                other->to_ms != searcher->to_ms ||
                (other->filter != searcher->filter &&
                 (other->filter->document.type == DOC_NULL ||
                  !doc_equal(&other->filter->document, &searcher->filter->document))))
                continue;
            searcher->filter = other->filter;
            runs[i].plan.lender = &runs[j].plan;
        }
    }
}

/* Rounds until no search of them needs another one. */
static int run_rounds(struct query_view *view, struct search_round round, struct error *error)
{
    while (round.count > 0) {
        uint32_t left = 0;
        if (run_round(view, &round, error) != 0 || drop_old_versions(view, &round, error) != 0)
            return error->code;
        for (uint32_t i = 0; i < round.count; i++)
            if (needs_more(round.runs[i]))
                round.runs[left++] = round.runs[i];
        round.count = left;
    }
    return 0;
}

int search_together_run(struct query_view *view, const struct query_search *searches, size_t count,
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
    if (code == 0 && together)
        share_filters(runs, count);
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

int answer_search(struct query_view *view, const struct doc *op, struct arena *arena,
                  struct doc *result, struct error *error)
{
    struct query_search search;
    struct query_result found;

    if (wire_to_search(op, view->collection, arena, &search, error) != 0 ||
        search_together_run(view, &search, 1, &found, error) != 0)
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
        if (wire_to_search(&list->items[i], view->collection, arena, &searches[i], error) != 0)
            return error->code;
    if (search_together_run(view, searches, list->count, found, error) != 0)
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
