/* scorer: what a row is worth when several examples say so.
 *
 *     best_score   p and n are the best scores of the row with any positive and any negative example:
 *                  s(p) if p > n, else -s(n)
 *     sum_scores   sum over the positive ones less sum over the negative ones
 *     discover     how many pairs have the row nearer to their positive than to their negative example,
 *                  less how many have it the other way round; plus s(score with the target)
 *     context      sum over the pairs of f(min(p - n - epsilon, 0)): 0 at best
 *     weighted     sum over the examples of the weight of each times the score with it
 *
 * with f(x) = x / (1 + |x|) and s(x) = (f(x) + 1) / 2, over index_score, where higher is better under
 * every metric. These are Qdrant's formulas; tests/clients compares with the engine of its client. Sums
 * are of float32, in the order of the examples. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "indexer/query/searcher.h"

static const float EPSILON = 1.1920929e-7F; /* of float32, as Qdrant has it */

static float sigmoid(float x)
{
    return isfinite(x) ? x / (1.0F + fabsf(x)) : copysignf(1.0F, x);
}

/* Vectors that are taken in today have finite scores; rows of releases before 0.2 may not, and sums
 * of finite scores may not either. Then the nearest finite score stands for it, the lowest for NaN. */
static float clamped(float score)
{
    return fminf(fmaxf(score, -FLT_MAX), FLT_MAX);
}

static float scaled_sigmoid(float x)
{
    return 0.5F * (sigmoid(x) + 1.0F);
}

/* Rows that are scored together. */
struct scoring {
    const struct searcher *searcher;
    const float *vectors;
    uint32_t count;
};

static void score_with(const struct scoring *rows, const float *vector, float *scores)
{
    index_score_block(rows->searcher->metric, vector, rows->vectors, rows->count,
                      rows->searcher->dim, scores);
    for (uint32_t i = 0; i < rows->count; i++)
        scores[i] = clamped(scores[i]);
}

static const float *example(const struct scoring *rows, uint32_t i)
{
    return rows->searcher->scorer.examples + (size_t)i * rows->searcher->dim;
}

/* The best, or the sum, of the scores with examples [first, end). */
static void fold(const struct scoring *rows, uint32_t first, uint32_t end, bool sums, float *folded)
{
    float scores[SEARCH_BLOCK_ROWS];

    for (uint32_t k = 0; k < rows->count; k++)
        folded[k] = sums ? 0 : -INFINITY;
    for (uint32_t i = first; i < end; i++) {
        score_with(rows, example(rows, i), scores);
        for (uint32_t k = 0; k < rows->count; k++)
            folded[k] = sums ? clamped(folded[k] + scores[k]) : fmaxf(folded[k], scores[k]);
    }
}

static void score_examples(const struct scoring *rows, float *scores)
{
    const struct query_scorer *scorer = &rows->searcher->scorer;
    bool sums = scorer->kind == QUERY_SUM_SCORES;
    float negative[SEARCH_BLOCK_ROWS];

    fold(rows, 0, scorer->positive_count, sums, scores);
    fold(rows, scorer->positive_count, scorer->positive_count + scorer->negative_count, sums,
         negative);
    for (uint32_t k = 0; k < rows->count; k++)
        scores[k] = sums                      ? clamped(scores[k] - negative[k])
                    : scores[k] > negative[k] ? scaled_sigmoid(scores[k])
                                              : -scaled_sigmoid(negative[k]);
}

static void score_weighted(const struct scoring *rows, float *scores)
{
    const struct query_scorer *scorer = &rows->searcher->scorer;
    float found[SEARCH_BLOCK_ROWS];

    memset(scores, 0, rows->count * sizeof(*scores));
    for (uint32_t i = 0; i < scorer->positive_count + scorer->negative_count; i++) {
        score_with(rows, example(rows, i), found);
        for (uint32_t k = 0; k < rows->count; k++)
            scores[k] = clamped(scores[k] + clamped(scorer->weights[i] * found[k]));
    }
}

static void score_pairs(const struct scoring *rows, float *scores)
{
    const struct query_scorer *scorer = &rows->searcher->scorer;
    bool ranks = scorer->kind == QUERY_DISCOVER;
    float positive[SEARCH_BLOCK_ROWS], negative[SEARCH_BLOCK_ROWS];

    memset(scores, 0, rows->count * sizeof(*scores));
    for (uint32_t i = 0; i < scorer->positive_count; i++) {
        score_with(rows, example(rows, i), positive);
        score_with(rows, example(rows, scorer->positive_count + i), negative);
        for (uint32_t k = 0; k < rows->count; k++)
            scores[k] += ranks ? (float)((positive[k] > negative[k]) - (positive[k] < negative[k]))
                               : sigmoid(fminf(positive[k] - negative[k] - EPSILON, 0));
    }
    if (!ranks)
        return;
    score_with(rows, rows->searcher->query, positive);
    for (uint32_t k = 0; k < rows->count; k++)
        scores[k] += scaled_sigmoid(positive[k]);
}

void search_score_rows(const struct searcher *searcher, const float *vectors, uint32_t count,
                       float *scores)
{
    const struct scoring rows = {searcher, vectors, count};

    switch (searcher->scorer.kind) {
    case QUERY_NEAREST:
        score_with(&rows, searcher->query, scores);
        return;
    case QUERY_BEST_SCORE:
    case QUERY_SUM_SCORES:
        score_examples(&rows, scores);
        return;
    case QUERY_DISCOVER:
    case QUERY_CONTEXT:
        score_pairs(&rows, scores);
        return;
    case QUERY_WEIGHTED_SCORES:
        score_weighted(&rows, scores);
        return;
    }
}

float search_score_row(const struct searcher *searcher, struct vector_row row)
{
    float score;

    if (searcher->scorer.kind == QUERY_NEAREST)
        return clamped(index_score_row(searcher->metric, searcher->query, row, searcher->dim));
    search_score_rows(searcher, index_row_values(row, searcher->dim), 1, &score);
    return score;
}

/* The sum over the vectors of the query of the best score that each has with one of the row: max_sim. */
static float score_lists(const struct searcher *searcher, const float *values, uint32_t rows)
{
    float scores[SEARCH_BLOCK_ROWS], sum = 0;

    for (uint32_t i = 0; i < searcher->query_rows; i++) {
        const float *query = searcher->query + (size_t)i * searcher->dim;
        float best = -FLT_MAX;
        for (uint32_t first = 0, count; first < rows; first += count) {
            count = rows - first < SEARCH_BLOCK_ROWS ? rows - first : SEARCH_BLOCK_ROWS;
            index_score_block(searcher->metric, query, values + (size_t)first * searcher->dim,
                              count, searcher->dim, scores);
            for (uint32_t k = 0; k < count; k++)
                best = fmaxf(best, scores[k]);
        }
        sum = clamped(sum + best);
    }
    return sum;
}

float search_score_values(const struct searcher *searcher, const float *values, uint32_t rows)
{
    const struct query_search *search = searcher->search;
    float score;

    if (search->extra && search->extra->multiple)
        return score_lists(searcher, values, rows);
    search_score_rows(searcher, values, 1, &score);
    return score;
}
