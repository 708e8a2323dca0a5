/* Training a codebook: centroids, then codewords for what is left of the rows. */
#include <float.h>
#include <math.h>
#include <string.h>
#include <xxhash.h>

#include "indexer/index/build_tools.h"
#include "indexer/index/index.h"
#include "indexer/index/ivf.h"
#include "indexer/index/kmeans.h"

enum {
    ROWS_PER_CENTROID = 64,    /* of the sample */
    CODEBOOK_ROWS = 4096,      /* 256 a codeword */
    CODEBOOK_BYTES = 64 << 20, /* what the codebook's sample may take */
    ERROR_ROWS = 2048,
    CHOICES = 16,    /* rows looked at for one of the wanted sort */
    LISTS_FACTOR = 1 /* lists are this times the root of the rows */
};

/* A quarter of the rows is not trained on: the error of coding is measured on them, because it is
 * smaller on rows that the centroids were made of, by a tenth where a centroid had few. */
static bool is_held_out(uint32_t row)
{
    uint64_t state = row;

    return index_random(&state) % 4 == 0;
}

/* One row from each of `sample_count` equal stretches, of the wanted sort if it has one. */
static uint32_t *choose_rows(const struct index_ivf_build *build, uint32_t sample_count,
                             bool held_out, uint64_t seed)
{
    uint32_t count = build->count, *rows = index_allocate(sample_count, sizeof(uint32_t));

    for (uint32_t i = 0; i < sample_count; i++) {
        uint64_t first = (uint64_t)count * i / sample_count;
        uint64_t end = (uint64_t)count * (i + 1) / sample_count;
        for (int tries = 0; tries < CHOICES; tries++) {
            rows[i] = (uint32_t)(first + index_random(&seed) % (end - first));
            if (is_held_out(rows[i]) == held_out)
                break;
        }
        rows[i] = index_outliers_stand_in(&build->ivf->outliers, rows[i]);
    }
    return rows;
}

uint32_t index_ivf_lists(uint32_t count, uint32_t wanted)
{
    uint32_t trained = count - count / 2;
    double lists = wanted ? (double)wanted : LISTS_FACTOR * sqrt((double)count);

    lists = fmin(lists, (double)INDEX_IVF_LISTS_MAX);
    lists = fmin(lists, (double)trained); /* no more than rows to train on */
    return lists < 1 ? 1 : (uint32_t)lists;
}

/* The rows of the sample with their lists, twice while they are collected, sums over the lists, and
 * columns for the codebook. */
uint64_t index_ivf_train_bytes(uint32_t count, const struct index_build_options *options)
{
    uint64_t lists = index_ivf_lists(count, options->lists);
    uint64_t sampled = lists * ROWS_PER_CENTROID < count ? lists * ROWS_PER_CENTROID : count;
    struct index_pq pq = index_pq_shape(options->dim);
    uint64_t columns = (uint64_t)CODEBOOK_ROWS * index_pq_padded_dim(&pq) * sizeof(float);

    return sampled * 4 * sizeof(uint32_t) + lists * options->dim * 2 * sizeof(float) +
           (columns < CODEBOOK_BYTES ? columns : CODEBOOK_BYTES) +
           index_pq_codeword_floats(&pq) * sizeof(float) + (1 << 20);
}

static bool train_centroids(const struct index_ivf_build *build,
                            struct index_ivf_codebook *codebook)
{
    uint64_t wanted = (uint64_t)codebook->list_count * ROWS_PER_CENTROID;
    uint32_t half = build->count - build->count / 2;
    uint32_t sample_count = wanted < half ? (uint32_t)wanted : half;
    uint32_t dim = build->options->dim;
    uint32_t *rows = choose_rows(build, sample_count, false, build->options->seed);
    float *centroids = index_allocate(((size_t)codebook->list_count + 1) * dim, sizeof(float));
    uint8_t *codes = index_allocate(codebook->list_count, codebook->quantiser.stride);
    float *origin = centroids + (size_t)codebook->list_count * dim;
    struct index_kmeans kmeans = {.quantiser = &codebook->quantiser,
                                  .vectors = build->vectors,
                                  .rows = rows,
                                  .count = sample_count,
                                  .centroid_count = codebook->list_count,
                                  .seed = build->options->seed,
                                  .team = &build->team};
    bool done = index_kmeans_train(&kmeans, centroids);

    codebook->centroids = centroids;
    codebook->centroid_codes = codes;
    free(rows);
    if (!done)
        return false;
    memset(origin, 0, dim * sizeof(float));
    for (uint32_t list = 0; list < codebook->list_count; list++) {
        const float *centroid = centroids + (size_t)list * dim;
        index_quantiser_encode(&codebook->quantiser, centroid,
                               codes + (size_t)list * codebook->quantiser.stride);
        for (uint32_t d = 0; d < dim && codebook->metric == VECTOR_METRIC_L2; d++)
            origin[d] += centroid[d] / (float)codebook->list_count;
    }
    return true;
}

/* A sample of rows and their lists. */
struct sample {
    uint32_t *rows, *nearest;
    uint32_t count;
};

static bool sample_create(struct sample *sample, const struct index_ivf_build *build,
                          const struct index_ivf_codebook *codebook, uint32_t most, bool held_out)
{
    uint64_t seed = build->options->seed + 1 + held_out;
    uint32_t spread = held_out ? INDEX_IVF_ERROR_SPREAD : 2;
    struct index_kmeans kmeans = {.quantiser = &codebook->quantiser,
                                  .vectors = build->vectors,
                                  .centroid_count = codebook->list_count,
                                  .team = &build->team};

    /* Held out is a quarter: stretches of eight rows nearly always have one. */
    sample->count = (build->count + spread - 1) / spread;
    sample->count = sample->count < most ? sample->count : most;
    sample->rows = choose_rows(build, sample->count, held_out, seed);
    sample->nearest = index_allocate(sample->count, sizeof(uint32_t));
    kmeans.rows = sample->rows;
    kmeans.count = sample->count;
    return index_kmeans_assign(&kmeans, codebook->centroids, sample->nearest);
}

static void sample_destroy(struct sample *sample)
{
    free(sample->rows);
    free(sample->nearest);
}

static void residual(const struct index_ivf_build *build, const struct index_ivf_codebook *codebook,
                     const struct sample *sample, uint32_t i, float *columns, uint32_t stride)
{
    uint32_t dim = build->options->dim;
    const float *vector = build->vectors + (size_t)sample->rows[i] * dim;
    const float *centroid = index_ivf_centroid(codebook, sample->nearest[i]);

    for (uint32_t d = 0; d < dim; d++)
        columns[(size_t)d * stride] = vector[d] - centroid[d];
}

/* What is left of a sample's rows, as columns; repeated up to a whole sixteen. */
static float *residual_columns(const struct index_ivf_build *build,
                               const struct index_ivf_codebook *codebook,
                               const struct sample *sample, uint32_t padded)
{
    uint32_t dim = build->options->dim, padded_dim = index_pq_padded_dim(&codebook->pq);
    float *columns = index_allocate((size_t)padded_dim * padded, sizeof(float));

    memset(columns + (size_t)dim * padded, 0, (size_t)(padded_dim - dim) * padded * sizeof(float));
    for (uint32_t i = 0; i < padded; i++)
        residual(build, codebook, sample, i % sample->count, columns + i, padded);
    return columns;
}

static bool train_codewords(const struct index_ivf_build *build,
                            struct index_ivf_codebook *codebook)
{
    float *codewords = index_allocate(index_pq_codeword_floats(&codebook->pq), sizeof(float));
    uint64_t affordable =
        CODEBOOK_BYTES / ((uint64_t)index_pq_padded_dim(&codebook->pq) * sizeof(float));
    uint32_t most = affordable < CODEBOOK_ROWS ? (uint32_t)affordable : CODEBOOK_ROWS;
    struct sample sample;
    bool done;

    codebook->pq.codewords = codewords;
    done = sample_create(&sample, build, codebook, most, false);
    if (done) {
        uint32_t padded = (sample.count + 15) / 16 * 16;
        float *columns = residual_columns(build, codebook, &sample, padded);
        done = index_pq_train(&codebook->pq, columns, padded, &build->team, build->options->seed,
                              codewords);
        free(columns);
    }
    sample_destroy(&sample);
    return done;
}

void index_ivf_bias_table(const struct index_ivf_codebook *codebook, uint32_t list,
                          float *origin_room, float *table)
{
    const struct index_pq *pq = &codebook->pq;
    const float *centroid = index_ivf_centroid(codebook, list),
                *origin = index_ivf_origin(codebook);
    const float *codewords = pq->codewords;

    memset(origin_room, 0, index_pq_padded_dim(pq) * sizeof(float));
    for (uint32_t d = 0; d < pq->dim; d++)
        origin_room[d] = 2 * (centroid[d] - origin[d]);
    index_kernels()->pq_products(origin_room, pq->codewords, pq->part_count, pq->part_dim, table);
    for (uint32_t part = 0; part < pq->part_count; part++, table += INDEX_PQ_CODEWORDS)
        for (uint32_t d = 0; d < pq->part_dim; d++, codewords += INDEX_PQ_CODEWORDS)
            for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
                table[j] += codewords[j] * codewords[j];
}

struct coding {
    double error;  /* mean square */
    double square; /* mean of the squares of that, a row */
    float bias_least, bias_most;
};

/* Codes a sample as rows will be coded, in blocks. */
static void code_sample(const struct index_ivf_build *build,
                        const struct index_ivf_codebook *codebook, const struct sample *sample,
                        struct coding *coding)
{
    const struct index_pq *pq = &codebook->pq;
    uint32_t dim = build->options->dim, padded_dim = index_pq_padded_dim(pq);
    float *columns = index_allocate_zeroed((size_t)padded_dim * INDEX_PQ_BLOCK_ROWS, sizeof(float));
    uint8_t *codes = index_allocate(pq->part_count, INDEX_PQ_BLOCK_ROWS);
    float *decoded = index_allocate(padded_dim, sizeof(float));

    *coding = (struct coding){0, 0, FLT_MAX, -FLT_MAX};
    for (uint32_t first = 0; first < sample->count; first += INDEX_PQ_BLOCK_ROWS) {
        uint32_t left = sample->count - first;
        uint32_t filled = left < INDEX_PQ_BLOCK_ROWS ? left : INDEX_PQ_BLOCK_ROWS;
        for (uint32_t i = 0; i < filled; i++)
            residual(build, codebook, sample, first + i, columns + i, INDEX_PQ_BLOCK_ROWS);
        index_pq_encode(pq, columns, codes);
        for (uint32_t i = 0; i < filled; i++) {
            const float *centroid = index_ivf_centroid(codebook, sample->nearest[first + i]);
            const float *origin = index_ivf_origin(codebook);
            float bias = 0;
            double error = 0;
            index_pq_decode(pq, codes, i, decoded);
            for (uint32_t d = 0; d < dim; d++) {
                float wrong = columns[(size_t)d * INDEX_PQ_BLOCK_ROWS + i] - decoded[d];
                error += (double)(wrong * wrong);
                bias += decoded[d] * (decoded[d] + 2 * (centroid[d] - origin[d]));
            }
            coding->error += error / sample->count;
            coding->square += error * error / sample->count;
            coding->bias_least = fminf(coding->bias_least, bias);
            coding->bias_most = fmaxf(coding->bias_most, bias);
        }
    }
    free(columns);
    free(codes);
    free(decoded);
}

bool index_ivf_measure_error(const struct index_ivf_build *build,
                             const struct index_ivf_codebook *codebook, float *error, float *doubt)
{
    struct sample sample;
    struct coding coding;
    bool done = sample_create(&sample, build, codebook, ERROR_ROWS, true);

    if (done) {
        code_sample(build, codebook, &sample, &coding);
        *error = (float)fmin(coding.error, (double)FLT_MAX);
        *doubt = (float)sqrt(fmax(coding.square - coding.error * coding.error, 0) / sample.count);
    }
    sample_destroy(&sample);
    return done;
}

/* Biases of rows that the sample does not have may lie outside its range: half as much again on
 * both sides; beyond that they are clamped. */
static bool measure_coding(const struct index_ivf_build *build, struct index_ivf_codebook *codebook)
{
    struct sample sample;
    struct coding coding;
    bool done = sample_create(&sample, build, codebook, ERROR_ROWS, true);

    if (done) {
        float width;
        code_sample(build, codebook, &sample, &coding);
        width = coding.bias_most - coding.bias_least;
        codebook->error = (float)fmin(coding.error, (double)FLT_MAX);
        codebook->bias_low = coding.bias_least - width / 2;
        codebook->bias_step = 2 * width / UINT16_MAX;
        if (!isfinite(codebook->bias_low) || !isfinite(codebook->bias_step) ||
            codebook->bias_step <= 0) {
            codebook->bias_low = isfinite(codebook->bias_low) ? codebook->bias_low : 0;
            codebook->bias_step = 1;
        }
    }
    sample_destroy(&sample);
    return done;
}

bool index_ivf_train(const struct index_ivf_build *build, struct index_ivf_codebook *codebook)
{
    const struct index_build_options *options = build->options;
    XXH3_state_t *state;

    *codebook =
        (struct index_ivf_codebook){.metric = options->metric, .pq = index_pq_shape(options->dim)};
    codebook->list_count = index_ivf_lists(build->count, options->lists);
    index_quantiser_train(&codebook->quantiser, VECTOR_METRIC_L2, build->vectors, build->count,
                          options->dim, &build->ivf->outliers);
    if (!train_centroids(build, codebook) || !train_codewords(build, codebook) ||
        !measure_coding(build, codebook))
        return false;
    state = XXH3_createState();
    if (!state)
        abort();
    XXH3_64bits_reset(state);
    XXH3_64bits_update(state, codebook->centroids,
                       ((size_t)codebook->list_count + 1) * options->dim * sizeof(float));
    XXH3_64bits_update(state, codebook->pq.codewords,
                       index_pq_codeword_floats(&codebook->pq) * sizeof(float));
    XXH3_64bits_update(state, &codebook->bias_low, sizeof(codebook->bias_low));
    XXH3_64bits_update(state, &codebook->bias_step, sizeof(codebook->bias_step));
    codebook->id = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return true;
}

static void *copy_of(const void *bytes, size_t count, size_t item_bytes)
{
    void *copy = index_allocate(count, item_bytes);

    memcpy(copy, bytes, count * item_bytes);
    return copy;
}

void index_ivf_codebook_copy(const struct index_ivf_codebook *codebook,
                             struct index_ivf_codebook *copy)
{
    uint32_t dim = codebook->quantiser.dim;

    *copy = *codebook;
    if (codebook->quantiser.low)
        copy->quantiser.low = copy_of(codebook->quantiser.low, dim, sizeof(float));
    copy->pq.codewords =
        copy_of(codebook->pq.codewords, index_pq_codeword_floats(&codebook->pq), sizeof(float));
    copy->centroids =
        copy_of(codebook->centroids, ((size_t)codebook->list_count + 1) * dim, sizeof(float));
    copy->centroid_codes =
        copy_of(codebook->centroid_codes, codebook->list_count, codebook->quantiser.stride);
}

void index_ivf_codebook_destroy(struct index_ivf_codebook *codebook)
{
    index_quantiser_destroy(&codebook->quantiser);
    free((void *)(uintptr_t)codebook->pq.codewords);
    free((void *)(uintptr_t)codebook->centroids);
    free((void *)(uintptr_t)codebook->centroid_codes);
}
