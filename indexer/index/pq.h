/* pq: product codes of 4 bits, to be looked up in registers ("fast scan").
 *
 * A vector is cut into parts of a few dimensions; each part is replaced by the nearest of sixteen
 * codewords. For a query, the inner products with all codewords are computed once and rounded to
 * sixteen bytes a part, which fit a register: a shuffle instruction then looks up 16 to 64 rows at
 * a time (Andre, Kermarrec, Le Scouarnec: Cache locality is not enough, VLDB 2015).
 *
 * Layout of a block of 32 rows: for each quad of parts 64 bytes, two parts in the nibbles of the
 * first 32 bytes, two in the others. Byte 2 i holds row i, byte 2 i + 1 row 16 + i. */
#ifndef INDEXER_INDEX_PQ_H
#define INDEXER_INDEX_PQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/thread_pool.h"
#include "indexer/index/kernels.h"

enum { INDEX_PQ_PART_DIM_MAX = 65536 / INDEX_PQ_PARTS_MAX };

struct index_pq {
    uint32_t dim;
    uint32_t part_dim;
    uint32_t part_count;    /* a multiple of INDEX_PQ_QUAD; parts x part_dim >= dim */
    const float *codewords; /* [part][dimension][16]; zeros behind the last dimension */
};

/** Chooses parts for that many dimensions; no codewords yet. */
struct index_pq index_pq_shape(uint32_t dim);

static inline uint32_t index_pq_padded_dim(const struct index_pq *pq)
{
    return pq->part_count * pq->part_dim;
}
static inline size_t index_pq_codeword_floats(const struct index_pq *pq)
{
    return (size_t)index_pq_padded_dim(pq) * INDEX_PQ_CODEWORDS;
}
static inline size_t index_pq_block_bytes(const struct index_pq *pq)
{
    return (size_t)pq->part_count * INDEX_PQ_BLOCK_ROWS / 2;
}
static inline size_t index_pq_table_bytes(const struct index_pq *pq)
{
    return (size_t)pq->part_count * 32;
}

/** Fills `codewords` from a sample: columns[dimension * sample_count + i], padded_dim dimensions.
 * sample_count is a multiple of 16. False: cancelled. */
bool index_pq_train(const struct index_pq *pq, const float *columns, uint32_t sample_count,
                    const struct thread_team *team, uint64_t seed, float *codewords);

/** Codes of up to INDEX_PQ_BLOCK_ROWS vectors, columns[dimension * INDEX_PQ_BLOCK_ROWS + i] with
 * all 32 readable: codes[part * INDEX_PQ_BLOCK_ROWS + i], a byte each. */
void index_pq_encode(const struct index_pq *pq, const float *columns, uint8_t *codes);

/** Interleaves codes of `count` rows into a block; the other rows of it get zeros. */
void index_pq_pack(const struct index_pq *pq, const uint8_t *codes, uint32_t count, uint8_t *block);

/** The vector that codes[part * INDEX_PQ_BLOCK_ROWS + row] stand for: padded_dim floats. */
void index_pq_decode(const struct index_pq *pq, const uint8_t *codes, uint32_t row, float *vector);

/** Turns factor * products into the tables of a scan: the sum of a row's factor * products is about
 * *constant + returned * sum of its entries. The returned unit is at least `least_unit`. */
float index_pq_tables(const struct index_pq *pq, const float *products, float factor,
                      float least_unit, uint8_t *tables, float *constant);

#endif
