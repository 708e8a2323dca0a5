/* The searches of a `prefetch`, which may have their own: what they find is fused (fusion.c), or scored anew
 * by the query or the formula around them. A request's filter holds for its prefetches, beside their own. */
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/memory.h"
#include "indexer/endpoint/rest/search_form.h"

int search_prefetch_parse(const struct doc *body, struct search_form *form, struct error *error)
{
    const struct doc *prefetch = doc_get(body, "prefetch");

    if (!prefetch || (prefetch->type == DOC_ARRAY && prefetch->count == 0))
        return 0;
    form->prefetch = prefetch->type == DOC_ARRAY ? prefetch->items : prefetch;
    form->prefetch_count = prefetch->type == DOC_ARRAY ? prefetch->count : 1;
    if (form->prefetch_count > SEARCH_PREFETCH_MAX)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.prefetch: expected at most %d searches",
                         SEARCH_PREFETCH_MAX);
    if (form->depth >= SEARCH_PREFETCH_DEPTH_MAX)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.prefetch: nested deeper than %d levels",
                         SEARCH_PREFETCH_DEPTH_MAX);
    form->root_filter = doc_get(body, "filter");
    return 0;
}

/* The prefetch with both filters in one, compiled as if it had been sent so. */
static struct doc with_filter(struct arena *arena, const struct doc *one, const struct doc *root)
{
    const struct doc *own = doc_get(one, "filter");
    struct doc merged, filter, *both;

    if (!root)
        return *one;
    merged = doc_map(arena, one->count + 1);
    filter = doc_map(arena, 1);
    both = doc_items(arena, 2);
    both[0] = *root;
    if (own)
        both[1] = *own;
    doc_put(&filter, "must", (struct doc){.type = DOC_ARRAY, .count = own ? 2 : 1, .items = both});
    doc_put(&merged, "filter", filter);
    doc_merge(&merged, one);
    return merged;
}

static int parse_one(struct http_request *request, struct query_view *view,
                     const struct search_form *form, uint32_t i, struct search_form *one,
                     struct error *error)
{
    struct doc body = with_filter(&request->arena, &form->prefetch[i], form->root_filter);
    uint64_t limit;

    *one = (struct search_form){.depth = form->depth + 1, .prefetch_factor = form->prefetch_factor};
    if (search_form_parse(request, view, &body, form->collection, form->extras, one, error) != 0)
        return error->code;
    limit = (uint64_t)one->search.limit * (form->prefetch_factor > 1 ? form->prefetch_factor : 1);
    one->search.limit = limit < QUERY_LIMIT_MAX ? (uint32_t)limit : QUERY_LIMIT_MAX;
    one->search.wants = form->search.wants; /* its rows are the reply's */
    if (form->kind == SEARCH_NEAREST) {
        struct query_search ranked = form->search;
        search_want_ranked(&ranked);
        one->search.wants = ranked.wants;
    }
    if (form->formula && query_formula_needs_payload(form->formula))
        one->search.wants.payload = true;
    return 0;
}

int search_prefetch_run(struct http_request *request, struct query_view *view,
                        const struct search_form *form, struct search_form **searches,
                        struct query_result **results, struct error *error)
{
    struct arena *arena = &request->arena;
    const uint32_t count = form->prefetch_count;

    *searches = memory_checked(arena_calloc(arena, count, sizeof(**searches)));
    *results = memory_checked(arena_calloc(arena, count, sizeof(**results)));
    for (uint32_t i = 0; i < count; i++)
        if (parse_one(request, view, form, i, &(*searches)[i], error) != 0)
            return error->code;
    return search_forms_run(request, view, *searches, count, *results, error);
}

/* Scored anew. */

static int compare_ids(const void *a, const void *b)
{
    const struct query_hit *left = a, *right = b;

    return query_row_compare_ids(&left->row, &right->row);
}

static bool is_left_out(const struct search_form *form, const struct query_row *row)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);

    for (uint32_t i = 0; i < form->left_out_count; i++)
        if (bytes_equal(form->left_out[i].bytes, form->left_out[i].size_bytes, key, key_bytes))
            return true;
    return false;
}

/* Every point that some prefetch found, once. */
static struct query_hit *collect(const struct search_form *form, const struct query_result *results,
                                 struct arena *arena, size_t *count)
{
    struct query_hit *hits;
    size_t all = 0, kept = 0;

    for (uint32_t i = 0; i < form->prefetch_count; i++)
        all += results[i].hit_count;
    hits = memory_checked(arena_calloc(arena, all + 1, sizeof(*hits)));
    all = 0;
    for (uint32_t i = 0; i < form->prefetch_count; i++)
        for (size_t k = 0; k < results[i].hit_count; k++)
            hits[all++] = results[i].hits[k];
    qsort(hits, all, sizeof(*hits), compare_ids);
    for (size_t i = 0; i < all; i++)
        if ((kept == 0 || compare_ids(&hits[kept - 1], &hits[i]) != 0) &&
            !is_left_out(form, &hits[i].row))
            hits[kept++] = hits[i];
    *count = kept;
    return hits;
}

/* An order that no vector gives is a scroll over these ids alone. */
static int list_again(struct http_request *request, struct query_view *view,
                      struct search_form *form, const struct query_hit *hits, size_t count,
                      struct query_result *result, struct error *error)
{
    const uint32_t prefetch_count = form->prefetch_count;
    struct arena *arena = &request->arena;
    struct doc filter = doc_map(arena, 1), has_id = doc_map(arena, 1), body = doc_map(arena, 1);
    struct doc *ids = doc_items(arena, (uint32_t)count);
    int code;

    for (size_t i = 0; i < count; i++)
        ids[i] = query_row_id(&hits[i].row, arena);
    doc_put(&has_id, "has_id",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = ids});
    doc_put(&filter, "must", has_id);
    doc_put(&body, "filter", filter);
    if (parse_filter(request, &body, &form->search.filter, error) != 0)
        return error->code;
    form->prefetch_count = 0;
    code = search_form_run(request, view, form, result, error);
    form->prefetch_count = prefetch_count;
    return code;
}

int search_over_prefetch(struct http_request *request, struct query_view *view,
                         struct search_form *form, struct query_result *result, struct error *error)
{
    struct search_form *searches;
    struct query_result *results;
    struct query_hit *hits = NULL;
    bool partial = false;
    size_t count = 0;
    int code;

    if (search_prefetch_run(request, view, form, &searches, &results, error) != 0)
        return error->code;
    if (form->kind != SEARCH_FORMULA)
        hits = collect(form, results, &request->arena, &count);
    *result = results[form->prefetch_count - 1];
    result->hit_count = 0;
    for (uint32_t i = 0; i < form->prefetch_count; i++)
        partial |= results[i].partial;
    if (form->kind == SEARCH_FORMULA)
        code = query_formula_run(view, form->formula, &form->search, results, form->prefetch_count,
                                 result, error);
    else if (count == 0)
        code = 0;
    else if (form->kind != SEARCH_NEAREST)
        code = list_again(request, view, form, hits, count, result, error);
    else if (form->mmr)
        code = search_mmr_run(request, view, form, hits, count, result, error);
    else
        code = query_rescore(view, &form->search, hits, count, result, error);
    result->partial |= partial;
    return code;
}
