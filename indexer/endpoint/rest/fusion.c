/* Fusions of the searches of a prefetch.
 *
 *     rrf    reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009): a point's score is the sum of
 *            1 / ((place + 1) / weight + k - 1) over the searches that found it, places from 0. k is 2
 *            and weights are 1 where the request does not say, as in Qdrant
 *     dbsf   distribution-based score fusion: the scores of a search are brought to one scale, where 0 is
 *            three standard deviations below their mean and 1 three above, and summed. A distance counts
 *            as its negative, so that the nearest rows gain most */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/search_form.h"

enum { RRF_K = 2 };

/* {"fusion": "rrf" | "dbsf"} or {"rrf": {"k", "weights"}} */
int search_fusion_parse(const struct doc *query, struct search_form *form, struct error *error)
{
    const struct doc *fusion = doc_get(query, "fusion"), *rrf = doc_get(query, "rrf");
    struct search_fusion *how = &form->fusion;

    form->kind = SEARCH_FUSED;
    if (form->prefetch_count == 0)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.prefetch: a fusion needs 1 to %d searches",
                         SEARCH_PREFETCH_MAX);
    how->by_scores = fusion && doc_string_equals(fusion, "dbsf");
    how->weights = doc_get(rrf, "weights");
    if (how->weights && how->weights->count != form->prefetch_count)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: $.query.rrf.weights: expected as many as there are searches "
                         "in `prefetch`: %u, got %u",
                         form->prefetch_count, how->weights->count);
    return parse_u32(rrf, "query.rrf.k", RRF_K, QUERY_LIMIT_MAX, &how->k, error);
}

struct fused {
    struct query_hit hit;
    double score; /* the sum */
};

static int compare_ids(const void *a, const void *b)
{
    const struct fused *left = a;
    const struct fused *right = b;

    return query_row_compare_ids(&left->hit.row, &right->hit.row);
}

static int compare_scores(const void *a, const void *b)
{
    const struct fused *left = a;
    const struct fused *right = b;

    if (left->score != right->score)
        return left->score > right->score ? -1 : 1;
    return compare_ids(a, b);
}

/* Sums what is of one point and orders by it. Returns how many points there are. */
static size_t fuse(struct fused *hits, size_t count)
{
    size_t kept = 0;

    if (count == 0)
        return 0;
    qsort(hits, count, sizeof(*hits), compare_ids);
    for (size_t i = 0; i < count; i++) {
        if (kept > 0 && compare_ids(&hits[kept - 1], &hits[i]) == 0)
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

static void score_by_places(const struct search_fusion *how, uint32_t search, struct fused *fused,
                            size_t count)
{
    double weight = 1;

    if (how->weights)
        (void)doc_as_double(&how->weights->items[search], &weight);
    for (size_t i = 0; i < count; i++)
        fused[i].score = weight > 0 ? 1 / ((double)(i + 1) / weight + how->k - 1) : 0;
}

static void score_by_scores(bool distances, struct fused *fused, size_t count)
{
    double mean = 0, variance = 0, low, width;

    for (size_t i = 0; i < count; i++) {
        fused[i].score = (double)fused[i].hit.score * (distances ? -1 : 1);
        mean += fused[i].score / (double)count;
    }
    for (size_t i = 0; i < count; i++)
        variance += (fused[i].score - mean) * (fused[i].score - mean);
    variance = count > 1 ? variance / (double)(count - 1) : 0;
    low = mean - 3 * sqrt(variance);
    width = 6 * sqrt(variance);
    for (size_t i = 0; i < count; i++)
        fused[i].score = width > 0 ? (fused[i].score - low) / width : 0.5;
}

static bool gives_distances(const struct search_form *form)
{
    return form->kind == SEARCH_NEAREST &&
           vector_metric_ranking(form->collection->metric) == VECTOR_METRIC_L2 &&
           form->search.scorer.kind == QUERY_NEAREST;
}

int search_fusion_run(struct http_request *request, struct query_view *view,
                      const struct search_form *form, struct query_result *result,
                      struct error *error)
{
    struct search_form *searches;
    struct query_result *results;
    struct fused *fused;
    size_t count = 0, at = 0;

    if (search_prefetch_run(request, view, form, &searches, &results, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < form->prefetch_count; i++)
        count += results[i].hit_count;
    fused = memory_checked(arena_calloc(&request->arena, count + 1, sizeof(*fused)));
    *result = results[form->prefetch_count - 1];
    for (uint32_t i = 0; i < form->prefetch_count; i++) {
        size_t found = results[i].hit_count;
        result->partial |= results[i].partial;
        for (size_t k = 0; k < found; k++)
            fused[at + k].hit = results[i].hits[k];
        if (form->fusion.by_scores)
            score_by_scores(gives_distances(&searches[i]), fused + at, found);
        else
            score_by_places(&form->fusion, i, fused + at, found);
        at += found;
    }
    cut(form, fused, fuse(fused, count), &request->arena, result);
    return 0;
}
