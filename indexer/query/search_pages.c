/* Pages by offset. How far a search goes through segments depends on how many rows it is to find. So the
 * first 20 rows of a wide search need not begin with the 10 of a narrow one: a row that the narrow one
 * missed pushes the others down, and the last of one page came again as the first of the next.
 *
 * A page therefore begins as the pages before it did: a search for one page, then for two, four, eight
 * pages, until it lies inside. Each search adds rows behind those that are there and moves none of them.
 * All pages of one size thus are parts of one list, whichever is asked for. A search for twice as many
 * rows costs about twice as much, so all of them together cost less than twice the last one. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/query/searcher.h"

/* The list while it grows. */
struct page_list {
    struct query_hit *hits;
    size_t count;
};

static int compare_ids(const void *a, const void *b)
{
    const struct query_hit *left = *(const struct query_hit *const *)a;
    const struct query_hit *right = *(const struct query_hit *const *)b;

    return query_row_compare_ids(&left->row, &right->row);
}

/* Appends what a search for `wanted` rows found and the list has not, best first. */
static void append_new(struct page_list *list, const struct query_result *found, size_t wanted,
                       struct arena *arena)
{
    struct query_hit *all =
        memory_checked(arena_calloc(arena, list->count + found->hit_count + 1, sizeof(*all)));
    const struct query_hit **by_id =
        memory_checked(arena_calloc(arena, list->count + 1, sizeof(*by_id)));
    const size_t old_count = list->count;

    if (old_count > 0)
        memcpy(all, list->hits, old_count * sizeof(*all));
    for (size_t i = 0; i < old_count; i++)
        by_id[i] = &all[i];
    qsort(by_id, old_count, sizeof(*by_id), compare_ids);
    for (size_t i = 0; i < found->hit_count && list->count < wanted; i++) {
        const struct query_hit *hit = &found->hits[i];
        if (!bsearch(&hit, by_id, old_count, sizeof(*by_id), compare_ids))
            all[list->count++] = *hit;
    }
    list->hits = all;
}

/* What is asked for wrongly is refused by the search itself. */
static bool is_page(const struct query_search *search)
{
    return search->offset > 0 && !search->exact && !search->extra && search->limit > 0 &&
           (uint64_t)search->limit + search->offset <= QUERY_LIMIT_MAX;
}

static int run_page(struct query_view *view, const struct query_search *search,
                    struct query_result *result, struct error *error)
{
    const size_t end = (size_t)search->limit + search->offset;
    struct query_search wider = *search;
    struct page_list list = {0};
    size_t first;
    bool partial = false;

    wider.offset = 0;
    for (size_t wanted = search->limit;; wanted *= 2) {
        wider.limit = (uint32_t)(wanted < QUERY_LIMIT_MAX ? wanted : QUERY_LIMIT_MAX);
        if (search_together_run(view, &wider, 1, result, error) != 0)
            return error->code;
        partial |= result->partial;
        append_new(&list, result, wider.limit, search->arena);
        if (wanted >= end || list.count < wider.limit)
            break;
    }
    first = search->offset < list.count ? search->offset : list.count;
    result->hits = list.hits + first;
    result->hit_count = (list.count < end ? list.count : end) - first;
    result->partial = partial;
    /* A page that begins inside one search's rows may end inside the next one's. */
    qsort(result->hits, result->hit_count, sizeof(*result->hits), search_best_first);
    return 0;
}

/* Pages run alone, the others together. */
int query_searches_run(struct query_view *view, const struct query_search *searches, size_t count,
                       struct query_result *results, struct error *error)
{
    struct query_search *others;
    struct query_result *found;
    size_t other_count = 0, page_count = 0;
    int code = 0;

    assert(count > 0 && count <= QUERY_SEARCHES_MAX);
    for (size_t i = 0; i < count; i++)
        page_count += is_page(&searches[i]);
    if (page_count == 0)
        return search_together_run(view, searches, count, results, error);
    others = memory_checked(arena_calloc(searches[0].arena, count, sizeof(*others)));
    found = memory_checked(arena_calloc(searches[0].arena, count, sizeof(*found)));
    for (size_t i = 0; code == 0 && i < count; i++)
        if (is_page(&searches[i]))
            code = run_page(view, &searches[i], &results[i], error);
        else
            others[other_count++] = searches[i];
    if (code == 0 && other_count > 0)
        code = search_together_run(view, others, other_count, found, error);
    for (size_t i = 0, other = 0; code == 0 && i < count; i++)
        if (!is_page(&searches[i]))
            results[i] = found[other++];
    return code;
}

int query_search_run(struct query_view *view, const struct query_search *search,
                     struct query_result *result, struct error *error)
{
    return query_searches_run(view, search, 1, result, error);
}
