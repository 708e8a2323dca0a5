/* Re-ranking: codes give an order that is about right, exact scores give the right one.
 *
 * How many candidates must be scored depends on the data: where the tenth neighbour is much nearer
 * than the twentieth, a dozen; where all distances are nearly alike, many more. So a first batch is
 * scored, the spread of (exact score - score by codes) in it is the error of the codes around this
 * query, and scoring goes on until the next candidate would have to be wrong by REACH of it to get
 * among the best k. */
#include <math.h>

#include "indexer/index/scratch.h"
#include "indexer/index/top.h"

enum {
    FIRST_MIN = 16, /* candidates in the first batch: enough to tell a spread */
    BATCH = 16
};
static const double reach = 2.0;

struct rerank {
    const struct index_graph *graph;
    const struct index_search *search;
    double score_per_key;
    const uint64_t *candidates;
    struct index_top top;
    double count, sum, sum_of_squares; /* of exact scores minus scores by codes */
    int32_t first_key;
    bool by_node; /* the caller knows nodes, not rows */
};

/* Keys are taken relative to the first one: the differences are what matters, and are small. */
static double score_by_codes(const struct rerank *rerank, uint64_t candidate)
{
    return rerank->score_per_key * ((double)index_candidate_key(candidate) - rerank->first_key);
}

/* All vectors are asked for, and fetched towards the cache, before the first is used. */
static int score_batch(struct rerank *rerank, uint32_t first, uint32_t count, struct error *error)
{
    const struct index_graph *graph = rerank->graph;
    const struct index_search *search = rerank->search;
    uint32_t dim = graph->quantiser.dim;
    const float *vectors[BATCH];

    for (uint32_t i = 0; i < count; i++) {
        uint32_t node = index_candidate_node(rerank->candidates[first + i]);
        uint32_t row = rerank->by_node ? node : graph->rows[node];
        vectors[i] = search->vector(search->vector_context, row, error);
        if (!vectors[i])
            return error && error->code != 0 ? error->code : ERROR_CORRUPT;
        for (uint32_t d = 0; d < dim; d += 16)
            __builtin_prefetch(vectors[i] + d);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t candidate = rerank->candidates[first + i];
        float score = index_score(graph->quantiser.metric, search->query, vectors[i], dim);
        double difference = (double)score - score_by_codes(rerank, candidate);
        uint32_t node = index_candidate_node(candidate);
        index_top_offer(&rerank->top, rerank->by_node ? node : graph->rows[node], score);
        rerank->count += 1;
        rerank->sum += difference;
        rerank->sum_of_squares += difference * difference;
    }
    return 0;
}

/* Whether a candidate, and with it all behind it, may still belong to the best k. */
static bool may_belong(const struct rerank *rerank, uint64_t candidate)
{
    double mean, variance, best;

    if (rerank->top.count < rerank->top.limit)
        return true;
    if (rerank->score_per_key == 0)
        return false; /* codes are the vectors */
    mean = rerank->sum / rerank->count;
    variance = fmax(rerank->sum_of_squares / rerank->count - mean * mean, 0);
    best = score_by_codes(rerank, candidate) + mean + reach * sqrt(variance);
    return best > (double)rerank->top.hits[0].score;
}

int index_rerank(const struct index_graph *graph, const struct index_search *search,
                 float score_per_key, bool by_node, const uint64_t *candidates, uint32_t count,
                 struct index_hit *hits, uint32_t *hit_count, struct error *error)
{
    struct rerank rerank = {.graph = graph,
                            .by_node = by_node,
                            .search = search,
                            .score_per_key = (double)score_per_key,
                            .candidates = candidates};
    uint32_t least = search->k < UINT32_MAX / 2 ? search->k + search->k / 4 : search->k;

    least = least < FIRST_MIN ? FIRST_MIN : least;
    index_top_create(&rerank.top, hits, search->k);
    rerank.first_key = count > 0 ? index_candidate_key(candidates[0]) : 0;
    for (uint32_t first = 0; first < count;) {
        uint32_t batch = count - first < BATCH ? count - first : BATCH;
        int status;
        if (first >= least) {
            batch = batch < BATCH / 4 ? batch : BATCH / 4;
            if (!may_belong(&rerank, candidates[first]))
                break;
        }
        status = score_batch(&rerank, first, batch, error);
        if (status != 0)
            return status;
        first += batch;
    }
    index_top_sort(&rerank.top);
    while (rerank.top.count > 0 && !(hits[rerank.top.count - 1].score > search->floor_score))
        rerank.top.count--;
    *hit_count = rerank.top.count;
    return 0;
}
