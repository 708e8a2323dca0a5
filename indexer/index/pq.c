/* Training and packing of product codes. Samples come as columns, one dimension behind the other:
 * the kernels assign sixteen or more rows to codewords at a time. Each part is trained alone, with a
 * seed of its own, so that the outcome does not depend on the number of threads. */
#include "indexer/index/pq.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "indexer/index/build_tools.h"

enum { ITERATIONS = 8 };

/* Narrow parts say more a row and cost more to look up; beyond a few hundred dimensions four to a
 * part are enough to leave few candidates to be scored exactly. */
struct index_pq index_pq_shape(uint32_t dim)
{
    struct index_pq pq = {.dim = dim, .part_dim = dim <= 32 ? 1 : dim <= 256 ? 2 : 4};

    if (dim > pq.part_dim * INDEX_PQ_PARTS_MAX)
        pq.part_dim = (dim + INDEX_PQ_PARTS_MAX - 1) / INDEX_PQ_PARTS_MAX;
    pq.part_count = (dim + pq.part_dim - 1) / pq.part_dim;
    pq.part_count = (pq.part_count + INDEX_PQ_QUAD - 1) / INDEX_PQ_QUAD * INDEX_PQ_QUAD;
    return pq;
}

struct training {
    const struct index_pq *pq;
    const float *columns;
    uint32_t sample_count;
    uint64_t seed;
    float *codewords;
};

static void copy_codeword(const struct training *training, const float *columns, uint32_t sample,
                          float *codeword)
{
    for (uint32_t d = 0; d < training->pq->part_dim; d++)
        codeword[d * INDEX_PQ_CODEWORDS] = columns[(size_t)d * training->sample_count + sample];
}

/* Means of what was assigned; a codeword without any starts again at a random vector. */
static void move_codewords(const struct training *training, const float *columns,
                           const uint8_t *codes, uint64_t *state, float *codewords)
{
    uint32_t counts[INDEX_PQ_CODEWORDS] = {0};

    assert(training->sample_count > 0);
    for (uint32_t i = 0; i < training->sample_count; i++)
        counts[codes[i]]++;
    for (uint32_t d = 0; d < training->pq->part_dim; d++) {
        const float *column = columns + (size_t)d * training->sample_count;
        double sums[INDEX_PQ_CODEWORDS] = {0};
        for (uint32_t i = 0; i < training->sample_count; i++)
            sums[codes[i]] += (double)column[i];
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
            if (counts[j] > 0)
                codewords[d * INDEX_PQ_CODEWORDS + j] = (float)(sums[j] / counts[j]);
    }
    for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
        if (counts[j] == 0)
            copy_codeword(training, columns,
                          (uint32_t)(index_random(state) % training->sample_count), codewords + j);
}

static void train_parts(void *context, uint32_t thread, uint32_t first, uint32_t end)
{
    const struct training *training = context;
    uint32_t part_dim = training->pq->part_dim, count = training->sample_count;
    uint8_t *codes = index_allocate(count, 1);

    (void)thread;
    for (uint32_t part = first; part < end; part++) {
        const float *columns = training->columns + (size_t)part * part_dim * count;
        float *codewords = training->codewords + (size_t)part * part_dim * INDEX_PQ_CODEWORDS;
        uint64_t state = training->seed ^ (uint64_t)part << 32;
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
            copy_codeword(training, columns, (uint32_t)(index_random(&state) % count),
                          codewords + j);
        for (int i = 0; i < ITERATIONS; i++) {
            index_kernels()->pq_assign(columns, count, count, codewords, part_dim, codes);
            move_codewords(training, columns, codes, &state, codewords);
        }
    }
    free(codes);
}

bool index_pq_train(const struct index_pq *pq, const float *columns, uint32_t sample_count,
                    const struct thread_team *team, uint64_t seed, float *codewords)
{
    struct training training = {pq, columns, sample_count, seed, codewords};

    return thread_team_for(team, pq->part_count, 1, train_parts, &training);
}

void index_pq_encode(const struct index_pq *pq, const float *columns, uint8_t *codes)
{
    for (uint32_t part = 0; part < pq->part_count; part++)
        index_kernels()->pq_assign(columns + (size_t)part * pq->part_dim * INDEX_PQ_BLOCK_ROWS,
                                   INDEX_PQ_BLOCK_ROWS, INDEX_PQ_BLOCK_ROWS,
                                   pq->codewords + (size_t)part * pq->part_dim * INDEX_PQ_CODEWORDS,
                                   pq->part_dim, codes + (size_t)part * INDEX_PQ_BLOCK_ROWS);
}

/* Place of a row's byte in its half of a quad. */
static uint32_t byte_of_row(uint32_t row)
{
    return row < 16 ? 2 * row : 2 * (row - 16) + 1;
}

void index_pq_pack(const struct index_pq *pq, const uint8_t *codes, uint32_t count, uint8_t *block)
{
    memset(block, 0, index_pq_block_bytes(pq));
    for (uint32_t part = 0; part < pq->part_count; part += 2, block += 32) {
        const uint8_t *low = codes + (size_t)part * INDEX_PQ_BLOCK_ROWS;
        const uint8_t *high = low + INDEX_PQ_BLOCK_ROWS;
        for (uint32_t row = 0; row < count; row++)
            block[byte_of_row(row)] = (uint8_t)(low[row] | high[row] << 4);
    }
}

void index_pq_decode(const struct index_pq *pq, const uint8_t *codes, uint32_t row, float *vector)
{
    const float *codewords = pq->codewords;

    for (uint32_t part = 0; part < pq->part_count; part++) {
        uint32_t code = codes[(size_t)part * INDEX_PQ_BLOCK_ROWS + row];
        for (uint32_t d = 0; d < pq->part_dim; d++, codewords += INDEX_PQ_CODEWORDS)
            *vector++ = codewords[code];
    }
}

float index_pq_tables(const struct index_pq *pq, const float *products, float factor,
                      float least_unit, uint8_t *tables, float *constant)
{
    const struct index_kernels *kernels = index_kernels();
    float least[INDEX_PQ_PARTS_MAX], unit;

    assert(pq->part_count <= INDEX_PQ_PARTS_MAX);
    unit = kernels->pq_ranges(products, pq->part_count, factor, least) / INDEX_PQ_TABLE_MAX;
    unit = unit > least_unit ? unit : least_unit;
    if (!(unit >= FLT_MIN && unit <= FLT_MAX))
        unit = 1;
    kernels->pq_round(products, least, pq->part_count, factor, unit, tables);
    *constant = 0;
    for (uint32_t part = 0; part < pq->part_count; part++)
        *constant += least[part];
    return unit;
}
