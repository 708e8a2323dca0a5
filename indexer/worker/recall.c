#include "indexer/worker/recall.h"

#include <math.h>

enum { NEIGHBOURS = 10, QUERIES_MAX = 100, QUERIES_MIN = 20 };

/* Multiplications that the brute force may cost: a few seconds of one core. */
#define WORK_MAX 2e10

static const float *vector_of(void *context, uint32_t row, struct error *error)
{
    const struct recall_sample *sample = context;

    (void)error;
    return sample->vectors + (size_t)row * sample->dim;
}

static uint32_t query_count(const struct recall_sample *sample)
{
    double work = (double)sample->row_count * sample->dim;
    double affordable = WORK_MAX / work;
    uint32_t count = QUERIES_MAX;

    if (affordable < QUERIES_MAX)
        count = affordable < QUERIES_MIN ? QUERIES_MIN : (uint32_t)affordable;
    return count < sample->row_count ? count : sample->row_count;
}

/* The score of the wanted-th best hit that is not `self`. */
static float kth_score(const struct index_hit *hits, uint32_t count, uint32_t self, uint32_t wanted)
{
    float score = -INFINITY;

    for (uint32_t i = 0; i < count && wanted > 0; i++) {
        if (hits[i].row == self)
            continue;
        score = hits[i].score;
        wanted--;
    }
    return score;
}

static int search_one(const struct index_segment *segment, struct recall_sample *sample,
                      uint32_t row, uint32_t wanted, uint32_t *found, struct error *error)
{
    struct index_hit exact[NEIGHBOURS + 1];
    struct index_hit hits[NEIGHBOURS + 1];
    struct index_search search = {
        .query = sample->vectors + (size_t)row * sample->dim,
        .k = wanted + 1,
        .ef = sample->ef > wanted + 1 ? sample->ef : wanted + 1,
        .floor_score = -INFINITY,
        .vector = vector_of,
        .vector_context = sample,
    };
    uint32_t exact_count;
    uint32_t hit_count;
    bool exhausted;
    uint32_t good = 0;
    float floor_score;

    index_exact_top(sample->metric, sample->vectors, sample->row_count, sample->dim, search.query,
                    wanted + 1, exact, &exact_count);
    if (index_segment_search(segment, &search, hits, &hit_count, &exhausted, error) != 0)
        return error->code;
    floor_score = kth_score(exact, exact_count, row, wanted);
    floor_score -= 1e-6f * fabsf(floor_score);
    for (uint32_t i = 0; i < hit_count; i++)
        good += hits[i].row != row && hits[i].score >= floor_score;
    *found += good < wanted ? good : wanted;
    return 0;
}

int recall_measure(const struct index_segment *segment, const struct recall_sample *sample,
                   double *recall, struct error *error)
{
    struct recall_sample own = *sample;
    uint32_t queries = query_count(sample);
    uint32_t wanted = sample->row_count - 1 < NEIGHBOURS ? sample->row_count - 1 : NEIGHBOURS;
    uint32_t found = 0;

    *recall = 1;
    if (wanted == 0)
        return 0;
    for (uint32_t i = 0; i < queries; i++) {
        uint32_t row = (uint32_t)((uint64_t)i * sample->row_count / queries);
        if (sample->cancel && atomic_load(sample->cancel))
            return error_set(error, ERROR_CANCELLED, "cancelled");
        if (search_one(segment, &own, row, wanted, &found, error) != 0)
            return error->code;
    }
    *recall = (double)found / ((double)queries * wanted);
    return 0;
}
