/* Maximal marginal relevance (Carbonell and Goldstein, 1998): of the best candidates, each next row
 * is the one with the largest
 *
 *     (1 - diversity) x relevance - diversity x (similarity to the closest row that is in already)
 *
 * so that near copies of one answer do not fill the reply. Scores in the reply stay the relevance.
 */
#include <math.h>
#include <stdlib.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/search_form.h"

struct candidate {
    const float *vector;
    float relevance; /* higher is better, on the scale of the similarities */
    float closest;   /* similarity to the closest chosen row */
    bool chosen;
};

static int load(const struct search_form *form, const struct query_result *found,
                struct candidate *candidates, struct error *error)
{
    uint32_t rows;

    for (size_t i = 0; i < found->hit_count; i++) {
        float score = found->hits[i].score;
        candidates[i].closest = -INFINITY;
        /* A distance becomes what index_score gives: minus its square, which Hamming's is. */
        candidates[i].relevance = form->vector.metric == VECTOR_METRIC_L2        ? -score * score
                                  : form->vector.metric == VECTOR_METRIC_HAMMING ? -score
                                                                                 : score;
        if (query_ranked_values(&form->search, &found->hits[i].row, form->search.arena,
                                &candidates[i].vector, &rows, error) != 0)
            return error->code;
    }
    return 0;
}

/* The first pick has nothing to differ from. */
static size_t pick(const struct candidate *candidates, size_t count, float diversity, bool is_first)
{
    size_t best = SIZE_MAX;
    float best_value = -INFINITY;

    for (size_t i = 0; i < count; i++) {
        float value = candidates[i].relevance;
        if (candidates[i].chosen)
            continue;
        if (!is_first)
            value = (1.0F - diversity) * value - diversity * candidates[i].closest;
        if (best == SIZE_MAX || value > best_value) {
            best = i;
            best_value = value;
        }
    }
    return best;
}

static int choose(struct http_request *request, const struct search_form *form,
                  const struct query_result *found, size_t wanted, struct query_hit *chosen,
                  struct error *error)
{
    struct candidate *candidates =
        arena_calloc(&request->arena, found->hit_count + 1, sizeof(*candidates));
    enum vector_metric metric = vector_metric_ranking(form->vector.metric);

    if (!candidates)
        abort();
    if (load(form, found, candidates, error) != 0)
        return error->code;
    for (size_t n = 0; n < wanted; n++) {
        size_t best = pick(candidates, found->hit_count, form->mmr_diversity, n == 0);
        if (stop_check(&request->stop, error) != 0)
            return error->code;
        candidates[best].chosen = true;
        chosen[n] = found->hits[best];
        for (size_t i = 0; i < found->hit_count; i++) {
            float similarity;
            if (candidates[i].chosen)
                continue;
            similarity = index_score(metric, candidates[i].vector, candidates[best].vector,
                                     form->vector.dim);
            if (similarity > candidates[i].closest)
                candidates[i].closest = similarity;
        }
    }
    return 0;
}

int search_mmr_run(struct http_request *request, struct query_view *view,
                   const struct search_form *form, const struct query_hit *hits, size_t count,
                   struct query_result *result, struct error *error)
{
    struct query_search search = form->search;
    size_t wanted = (size_t)search.limit + search.offset;
    struct query_hit *chosen;

    search.offset = 0;
    if (form->vector.multiple)
        return error_set(error, ERROR_UNSUPPORTED,
                         "windrow does not support this `mmr` ($.query.mmr): `%.200s` is a list of "
                         "vectors",
                         form->vector.name);
    search_want_ranked(&search);
    search.limit = form->mmr_candidates > wanted ? form->mmr_candidates : (uint32_t)wanted;
    if (wanted > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit plus offset must be at most %d",
                         QUERY_LIMIT_MAX);
    if (hits ? query_rescore(view, &search, hits, count, result, error)
             : query_search_run(view, &search, result, error))
        return error->code;
    if (wanted > result->hit_count)
        wanted = result->hit_count;
    chosen = memory_checked(arena_calloc(&request->arena, wanted + 1, sizeof(*chosen)));
    if (choose(request, form, result, wanted, chosen, error) != 0)
        return error->code;
    if (form->search.offset >= wanted) {
        result->hit_count = 0;
        return 0;
    }
    result->hits = chosen + form->search.offset;
    result->hit_count = wanted - form->search.offset;
    return 0;
}
