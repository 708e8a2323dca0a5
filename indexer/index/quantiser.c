/* Training and encoding. The step is the one with the least squared error on a sample: clipping a
 * few outliers costs less than a coarse step for everybody. */
#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/quantiser.h"
#include "indexer/index/rerank.h"

enum {
    TRAIN_ROWS = 2048,     /* sample for ranges and means */
    ERROR_ROWS = 256,      /* sample for the error of a step */
    CHECK_QUERIES = 32,    /* does the nearest neighbour survive? */
    CHECK_NEIGHBOURS = 10, /* of the true ones ... */
    CHECK_CANDIDATES = 20, /* ... among so many by codes */
    FLOAT_DIM_MAX = 16,    /* up to here a float row takes no more than INDEX_CODE_ALIGN bytes */
    EXTRA_DIM_MAX = 512    /* 65536 + 512 dimensions keep every sum below 2^31 */
};
static const double check_floor = 0.9;

/* What a quantiser is trained on. */
struct training {
    const float *vectors;
    uint32_t count, dim;
    const struct index_outliers *outliers;
};

struct sample {
    const struct training *training;
    uint32_t count, dim, stride; /* rows 0, stride, 2 stride, ... : count of them */
};

static struct sample sample_rows(const struct training *training, uint32_t most)
{
    uint32_t count = training->count, stride = count > most ? count / most : 1;

    return (struct sample){training, count > most ? most : count, training->dim, stride};
}

static const float *sample_row(const struct sample *sample, uint32_t i)
{
    const struct training *training = sample->training;
    uint32_t row = index_outliers_stand_in(training->outliers, i * sample->stride);

    return training->vectors + (size_t)row * sample->dim;
}

uint32_t index_code_stride(enum index_code_kind kind, uint32_t dimensions)
{
    uint32_t bytes = kind == INDEX_CODE_FLOAT ? dimensions * (uint32_t)sizeof(float) : dimensions;

    if (kind == INDEX_CODE_HALF)
        return (dimensions + INDEX_HALF_BLOCK - 1) / INDEX_HALF_BLOCK * INDEX_CODE_ALIGN;
    return (bytes + INDEX_CODE_ALIGN - 1) / INDEX_CODE_ALIGN * INDEX_CODE_ALIGN;
}

struct ranges {
    float *min, *max, *mean; /* a value each dimension */
    float widest;
};

static struct ranges measure_ranges(const struct sample *sample)
{
    uint32_t dim = sample->dim;
    struct ranges ranges = {index_allocate(dim, sizeof(float)), index_allocate(dim, sizeof(float)),
                            index_allocate_zeroed(dim, sizeof(float)), 0};

    memcpy(ranges.min, sample_row(sample, 0), dim * sizeof(float));
    memcpy(ranges.max, sample_row(sample, 0), dim * sizeof(float));
    for (uint32_t i = 0; i < sample->count; i++) {
        const float *row = sample_row(sample, i);
        for (uint32_t d = 0; d < dim; d++) {
            ranges.min[d] = row[d] < ranges.min[d] ? row[d] : ranges.min[d];
            ranges.max[d] = row[d] > ranges.max[d] ? row[d] : ranges.max[d];
            ranges.mean[d] += row[d] / (float)sample->count;
        }
    }
    for (uint32_t d = 0; d < dim; d++)
        ranges.widest = fmaxf(ranges.widest, ranges.max[d] - ranges.min[d]);
    return ranges;
}

static void ranges_destroy(struct ranges *ranges)
{
    free(ranges->min);
    free(ranges->max);
    free(ranges->mean);
}

/* Places the 127 steps: around the middle of a dimension that fits, else around its mean. */
static void place_offsets(const struct ranges *ranges, float step, uint32_t dim, float *low)
{
    float reach = step * INDEX_CODE_MAX;

    for (uint32_t d = 0; d < dim; d++) {
        float width = ranges->max[d] - ranges->min[d];
        if (width <= reach)
            low[d] = ranges->min[d] - (reach - width) / 2;
        else
            low[d] =
                fminf(fmaxf(ranges->mean[d] - reach / 2, ranges->min[d]), ranges->max[d] - reach);
    }
}

static double coding_error(const struct sample *sample, const float *low, float step,
                           uint8_t *codes)
{
    const struct index_kernels *kernels = index_kernels();
    double error = 0;

    for (uint32_t i = 0; i < sample->count; i++) {
        const float *row = sample_row(sample, i);
        kernels->encode(row, low, 1 / step, sample->dim, codes);
        for (uint32_t d = 0; d < sample->dim; d++) {
            float wrong = row[d] - (low[d] + step * (float)codes[d]);
            error += (double)wrong * (double)wrong;
        }
    }
    return error;
}

static void choose_step(struct index_quantiser *quantiser, const struct training *training)
{
    static const float tried[] = {1.0f, 0.85f, 0.7f, 0.55f, 0.42f, 0.3f, 0.2f, 0.1f};
    uint32_t dim = quantiser->dim;
    struct sample wide = sample_rows(training, TRAIN_ROWS);
    struct sample narrow = sample_rows(training, ERROR_ROWS);
    struct ranges ranges = measure_ranges(&wide);
    float *low = index_allocate(dim, sizeof(float));
    uint8_t *codes = index_allocate(dim, 1);
    double best = DBL_MAX;

    for (size_t i = 0; i < sizeof(tried) / sizeof(tried[0]); i++) {
        float step = ranges.widest * tried[i] / INDEX_CODE_MAX;
        double error;
        if (!(step >= FLT_MIN && step <= FLT_MAX))
            step = 1;
        place_offsets(&ranges, step, dim, low);
        error = coding_error(&narrow, low, step, codes);
        if (error < best || i == 0) {
            best = error;
            quantiser->step = step;
            memcpy(quantiser->low, low, dim * sizeof(float));
        }
    }
    ranges_destroy(&ranges);
    free(low);
    free(codes);
}

static float square(const float *vector, uint32_t dim)
{
    return index_kernels()->dot(vector, vector, dim);
}

/* A tenth of a percent of length is within the error of the codes: unit vectors need no extra. */
static void choose_extra(struct index_quantiser *quantiser, const struct training *training)
{
    float longest = 0, shortest = FLT_MAX;
    double gap;

    for (uint32_t i = 0; i < training->count; i++) {
        float length = square(training->vectors + (size_t)i * quantiser->dim, quantiser->dim);
        if (index_outliers_have(training->outliers, i))
            continue;
        longest = fmaxf(longest, length);
        shortest = fminf(shortest, length);
    }
    quantiser->longest_square = longest;
    if (!(shortest < longest * 0.998f))
        return;
    if (quantiser->kind == INDEX_CODE_FLOAT) {
        quantiser->extra_dim = 1;
        return;
    }
    gap = sqrt((double)longest - (double)shortest) / ((double)quantiser->step * INDEX_CODE_MAX);
    gap = ceil(gap * gap);
    quantiser->extra_dim = gap < EXTRA_DIM_MAX ? (uint32_t)gap : EXTRA_DIM_MAX;
}

/* How many of the sample's true neighbours are among the candidates that codes give. */
static double neighbours_kept(const struct index_quantiser *quantiser,
                              const struct training *training)
{
    struct sample sample = sample_rows(training, TRAIN_ROWS);
    uint32_t queries = sample.count < CHECK_QUERIES ? sample.count : CHECK_QUERIES;
    uint8_t *codes = index_allocate(sample.count, quantiser->stride);
    struct index_hit exact_hits[CHECK_NEIGHBOURS], code_hits[CHECK_CANDIDATES];
    uint32_t wanted = 0, found = 0;
    const struct index_kernels *kernels = index_kernels();

    for (uint32_t i = 0; i < sample.count; i++)
        index_quantiser_encode(quantiser, sample_row(&sample, i),
                               codes + (size_t)i * quantiser->stride);
    for (uint32_t q = 0; q < queries; q++) {
        uint32_t at = (uint32_t)((uint64_t)q * sample.count / queries), matched = 0;
        const float *query = sample_row(&sample, at);
        struct index_top exact, coded;

        index_top_create(&exact, exact_hits, CHECK_NEIGHBOURS);
        index_top_create(&coded, code_hits, CHECK_CANDIDATES);
        for (uint32_t i = 0; i < sample.count; i++) {
            const uint8_t *row = codes + (size_t)i * quantiser->stride;
            int32_t distance;
            if (i == at)
                continue;
            distance =
                kernels->code_l2(codes + (size_t)at * quantiser->stride, row, quantiser->stride);
            index_top_offer(&coded, i, -(float)distance);
            index_top_offer(&exact, i, -kernels->l2(query, sample_row(&sample, i), sample.dim));
        }
        index_top_sort(&exact);
        for (uint32_t i = 0; i < coded.count && exact.count > 0; i++)
            matched += -kernels->l2(query, sample_row(&sample, code_hits[i].row), sample.dim) >=
                       exact_hits[exact.count - 1].score;
        wanted += exact.count;
        found += matched < exact.count ? matched : exact.count;
    }
    free(codes);
    return wanted ? (double)found / wanted : 1;
}

uint32_t index_quantiser_stride(uint32_t dim)
{
    return index_code_stride(dim > FLOAT_DIM_MAX ? INDEX_CODE_INT7 : INDEX_CODE_FLOAT, dim);
}

void index_quantiser_train(struct index_quantiser *quantiser, enum vector_metric metric,
                           const float *vectors, uint32_t count, uint32_t dim,
                           const struct index_outliers *outliers)
{
    const struct training training = {vectors, count, dim, outliers};

    assert(count > 0 && dim > 0);
    *quantiser = (struct index_quantiser){.metric = metric, .dim = dim, .kind = INDEX_CODE_FLOAT};
    if (dim > FLOAT_DIM_MAX) {
        quantiser->kind = INDEX_CODE_INT7;
        quantiser->low = index_allocate(dim, sizeof(float));
        quantiser->stride = index_code_stride(INDEX_CODE_INT7, dim);
        choose_step(quantiser, &training);
        if (neighbours_kept(quantiser, &training) < check_floor) {
            index_quantiser_destroy(quantiser);
            quantiser->kind = INDEX_CODE_FLOAT;
        }
    }
    if (metric == VECTOR_METRIC_DOT)
        choose_extra(quantiser, &training);
    quantiser->stride = index_code_stride(quantiser->kind, dim + quantiser->extra_dim);
}

void index_quantiser_destroy(struct index_quantiser *quantiser)
{
    free(quantiser->low);
    quantiser->low = NULL;
}

void index_quantiser_encode(const struct index_quantiser *quantiser, const float *vector,
                            uint8_t *codes)
{
    uint32_t dim = quantiser->dim, extra = quantiser->extra_dim;
    float missing = 0;

    if (extra > 0)
        missing = sqrtf(fmaxf(quantiser->longest_square - square(vector, dim), 0) / (float)extra);
    if (quantiser->kind == INDEX_CODE_FLOAT) {
        memset(codes, 0, quantiser->stride);
        memcpy(codes, vector, dim * sizeof(float));
        for (uint32_t i = 0; i < extra; i++)
            memcpy(codes + (dim + i) * sizeof(float), &missing, sizeof(float));
        return;
    }
    memset(codes + dim, 0, quantiser->stride - dim);
    index_kernels()->encode(vector, quantiser->low, 1 / quantiser->step, dim, codes);
    if (extra > 0)
        memset(codes + dim, (int)fminf(missing / quantiser->step + 0.5f, INDEX_CODE_MAX), extra);
}

/* Inner products: the sign of each part stays, so the query is signed bytes with a scale of its
 * own, which no comparison sees. Returns it. */
static float encode_signed(const float *query, uint32_t dim, uint8_t *out)
{
    float largest = 0;
    float scale;

    for (uint32_t d = 0; d < dim; d++)
        largest = largest > fabsf(query[d]) ? largest : fabsf(query[d]);
    scale = largest > 0 ? INDEX_CODE_MAX / largest : 0;
    for (uint32_t d = 0; d < dim; d++) {
        float scaled = query[d] * scale;
        scaled = scaled < INDEX_CODE_MAX ? scaled : INDEX_CODE_MAX;
        scaled = scaled > -INDEX_CODE_MAX ? scaled : -INDEX_CODE_MAX;
        out[d] = (uint8_t)(int8_t)lrintf(scaled);
    }
    return largest / INDEX_CODE_MAX;
}

uint32_t index_quantiser_query_bytes(const struct index_quantiser *quantiser)
{
    return quantiser->kind == INDEX_CODE_HALF ? 2 * quantiser->stride : quantiser->stride;
}

/* Bytes behind the dimensions are 0, or what the padding of half codes stands for: they add nothing
 * to a key. */
float index_quantiser_encode_query(const struct index_quantiser *quantiser, const float *query,
                                   uint8_t *out)
{
    uint32_t dim = quantiser->dim;

    memset(out, 0, index_quantiser_query_bytes(quantiser));
    if (quantiser->kind == INDEX_CODE_FLOAT) {
        memcpy(out, query, dim * sizeof(float));
        return 0;
    }
    if (quantiser->metric == VECTOR_METRIC_L2) {
        if (quantiser->kind == INDEX_CODE_HALF)
            memset(out, quantiser->levels[0], index_quantiser_query_bytes(quantiser));
        index_kernels()->encode(query, quantiser->low, 1 / quantiser->step, dim, out);
        return -quantiser->step * quantiser->step;
    }
    return -quantiser->step * encode_signed(query, dim, out);
}

bool index_quantiser_shares_queries(const struct index_quantiser *quantiser,
                                    const struct index_quantiser *other)
{
    return quantiser->kind == other->kind && quantiser->metric == other->metric &&
           quantiser->dim == other->dim && quantiser->stride == other->stride &&
           (quantiser->kind == INDEX_CODE_FLOAT || quantiser->metric != VECTOR_METRIC_L2);
}

/* Squared distance to the box that codes can stand for: a query outside of it is moved to its edge
 * by the encoding, which makes all distances about that much too small. */
static float outside_square(const struct index_quantiser *quantiser, const float *query)
{
    float width = quantiser->step * INDEX_CODE_MAX;
    float sum = 0;

    for (uint32_t d = 0; d < quantiser->dim; d++) {
        float below = quantiser->low[d] - query[d];
        float above = -below - width;
        float outside = below > above ? below : above;
        sum += outside > 0 ? outside * outside : 0;
    }
    return sum;
}

float index_quantiser_key_zero(const struct index_quantiser *quantiser, const float *query)
{
    if (quantiser->kind == INDEX_CODE_FLOAT)
        return 0;
    if (quantiser->metric == VECTOR_METRIC_L2)
        return -outside_square(quantiser, query);
    return index_kernels()->dot(query, quantiser->low, quantiser->dim);
}

void index_quantiser_keys_4(const struct index_quantiser *quantiser, const uint8_t *query,
                            const uint8_t *const rows[4], int32_t keys[4])
{
    const struct index_kernels *kernels = index_kernels();
    bool by_distance = quantiser->metric == VECTOR_METRIC_L2;

    if (quantiser->kind == INDEX_CODE_FLOAT) {
        uint32_t dim = quantiser->dim;
        const float *from = (const void *)query;
        for (int i = 0; i < 4; i++) {
            const float *row = (const void *)rows[i];
            keys[i] = index_key_of_float(by_distance ? kernels->l2(from, row, dim)
                                                     : -kernels->dot(from, row, dim));
        }
        return;
    }
    if (quantiser->kind == INDEX_CODE_HALF && by_distance)
        kernels->half_l2_4(query, rows, quantiser->stride, quantiser->levels, keys);
    else if (quantiser->kind == INDEX_CODE_HALF)
        kernels->half_dot_4((const int8_t *)query, rows, quantiser->stride, quantiser->levels,
                            keys);
    else if (by_distance)
        kernels->code_l2_4(query, rows, quantiser->stride, keys);
    else
        kernels->code_dot_4((const int8_t *)query, rows, quantiser->stride, keys);
    for (int i = 0; i < 4 && !by_distance; i++)
        keys[i] = -keys[i];
}

int32_t index_codes_key(const struct index_codes *codes, const uint8_t *from, const uint8_t *to)
{
    if (codes->kind == INDEX_CODE_INT7)
        return index_kernels()->code_l2(from, to, codes->stride);
    return index_key_of_float(index_kernels()->l2((const float *)(const void *)from,
                                                  (const float *)(const void *)to,
                                                  codes->stride / (uint32_t)sizeof(float)));
}

void index_codes_keys_4(const struct index_codes *codes, const uint8_t *from,
                        const uint8_t *const rows[4], int32_t keys[4])
{
    if (codes->kind == INDEX_CODE_INT7)
        index_kernels()->code_l2_4(from, rows, codes->stride, keys);
    else
        for (int i = 0; i < 4; i++)
            keys[i] = index_codes_key(codes, from, rows[i]);
}
