/* Reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009): a point's score is the sum of
 * 1 / (k + its place) over the prefetched searches that found it, places from 0. k is 2, as in
 * Qdrant. The request's filter holds for each of the searches, beside their own. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/rest/search_form.h"

enum { PREFETCH_MAX = 16, RRF_K = 2 };

int search_fusion_parse(const struct doc *body, struct search_form *form, struct error *error)
{
    const struct doc *prefetch = doc_get(body, "prefetch");

    if (prefetch && prefetch->type == DOC_MAP) {
        form->prefetch = prefetch;
        form->prefetch_count = 1;
    } else if (prefetch && prefetch->type == DOC_ARRAY && prefetch->count > 0 &&
               prefetch->count <= PREFETCH_MAX) {
        form->prefetch = prefetch->items;
        form->prefetch_count = prefetch->count;
    } else {
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.prefetch: a fusion needs 1 to %d searches",
                         PREFETCH_MAX);
    }
    form->root_filter = doc_get(body, "filter");
    form->kind = SEARCH_FUSED;
    return 0;
}

/* The prefetch with both filters in one, compiled as if it had been sent so. */
static struct doc with_filter(struct arena *arena, const struct doc *one, const struct doc *root)
{
    struct doc *items, *must, *both;
    const struct doc *own = doc_get(one, "filter");
    struct doc merged = {.type = DOC_MAP, .count = 0};

    if (!root || root->type == DOC_NULL)
        return *one;
    items = doc_items(arena, 2 * (one->count + 1));
    must = doc_items(arena, 2);
    both = doc_items(arena, 2);
    for (uint32_t i = 0; i < one->count; i++) {
        if (doc_string_equals(&one->items[2 * i], "filter"))
            continue;
        items[2 * merged.count] = one->items[2 * i];
        items[2 * merged.count + 1] = one->items[2 * i + 1];
        merged.count++;
    }
    both[0] = *root;
    if (own && own->type != DOC_NULL)
        both[1] = *own;
    must[0] = doc_string(arena, "must");
    must[1] = (struct doc){
        .type = DOC_ARRAY, .count = own && own->type != DOC_NULL ? 2 : 1, .items = both};
    items[2 * merged.count] = doc_string(arena, "filter");
    items[2 * merged.count + 1] = (struct doc){.type = DOC_MAP, .count = 1, .items = must};
    merged.count++;
    merged.items = items;
    return merged;
}

struct fused {
    struct query_hit hit;
    double score; /* the sum */
    const uint8_t *key;
    size_t key_bytes;
};

static int compare_keys(const void *a, const void *b)
{
    const struct fused *left = a;
    const struct fused *right = b;
    size_t shorter = left->key_bytes < right->key_bytes ? left->key_bytes : right->key_bytes;
    int order = memcmp(left->key, right->key, shorter);

    return order != 0 ? order
                      : (left->key_bytes > right->key_bytes) - (left->key_bytes < right->key_bytes);
}

static int compare_scores(const void *a, const void *b)
{
    const struct fused *left = a;
    const struct fused *right = b;

    if (left->score != right->score)
        return left->score > right->score ? -1 : 1;
    return compare_keys(a, b);
}

static int parse_prefetch(struct http_request *request, struct query_view *view,
                          const struct search_form *form, uint32_t i, struct search_form *one,
                          struct error *error)
{
    struct doc body = with_filter(&request->arena, &form->prefetch[i], form->root_filter);

    if (search_form_parse(request, view, &body, form->collection, form->extras, one, error) != 0)
        return error->code;
    one->search.wants = form->search.wants; /* its rows are the reply's */
    if (one->kind == SEARCH_FUSED)
        return error_set(error, ERROR_UNSUPPORTED,
                         "windrow does not support a `prefetch` inside another one");
    return 0;
}

/* Sums what is of one point and orders by it. Returns how many points there are. */
static size_t fuse(struct fused *hits, size_t count)
{
    size_t kept = 0;

    if (count == 0)
        return 0;
    qsort(hits, count, sizeof(*hits), compare_keys);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && compare_keys(&hits[kept - 1], &hits[i]) == 0)
            hits[kept - 1].score += hits[i].score;
        else
            hits[kept++] = hits[i];
    }
    qsort(hits, kept, sizeof(*hits), compare_scores);
    return kept;
}

/* The page that the request asks for. */
static void cut(const struct search_form *form, const struct fused *fused, size_t count,
                struct arena *arena, struct query_result *result)
{
    const struct query_search *search = &form->search;
    size_t first = search->offset < count ? search->offset : count;

    /* A score that equals the threshold is in, other than in a search for neighbours: as Qdrant. */
    while (search->has_threshold && count > first &&
           (float)fused[count - 1].score < search->threshold)
        count--;
    if (count - first > search->limit)
        count = first + search->limit;
    result->hits = memory_checked(arena_calloc(arena, count - first + 1, sizeof(*result->hits)));
    result->hit_count = count - first;
    for (size_t i = 0; i < result->hit_count; i++) {
        result->hits[i] = fused[first + i].hit;
        result->hits[i].score = (float)fused[first + i].score;
    }
}

int search_fusion_run(struct http_request *request, struct query_view *view,
                      const struct search_form *form, struct query_result *result,
                      struct error *error)
{
    struct query_result results[PREFETCH_MAX] = {0};
    struct search_form searches[PREFETCH_MAX];
    struct fused *fused;
    size_t count = 0, at = 0;

    for (uint32_t i = 0; i < form->prefetch_count; i++)
        if (parse_prefetch(request, view, form, i, &searches[i], error) != 0)
            return error->code;
    if (search_forms_run(request, view, searches, form->prefetch_count, results, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < form->prefetch_count; i++)
        count += results[i].hit_count;
    fused = memory_checked(arena_calloc(&request->arena, count + 1, sizeof(*fused)));
    *result = results[form->prefetch_count - 1];
    for (uint32_t i = 0; i < form->prefetch_count; i++) {
        result->partial |= results[i].partial;
        for (size_t k = 0; k < results[i].hit_count; k++, at++) {
            const struct query_row *row = &results[i].hits[k].row;
            fused[at].hit = results[i].hits[k];
            fused[at].score = 1.0 / (double)(RRF_K + k);
            fused[at].key = query_row_key(row, &fused[at].key_bytes);
        }
    }
    cut(form, fused, fuse(fused, count), &request->arena, result);
    return 0;
}
