/* quantiser: the compact rows that a graph is built and traversed.
 *
 * INT7    one byte a dimension: vector[d] = low[d] + step * code[d]. One step for all dimensions,
 *         so that integer distances between codes are distances between vectors; the offset may
 *         differ, because distances do not see it.
 * FLOAT   the vector itself. For few dimensions (a row of 64 bytes either way) and for data that
 *         seven bits cannot tell apart, for example tight clusters far from each other: the
 *         quantiser tries, on a sample, whether the neighbours survive.
 * HALF    four bits a dimension: the number of one of sixteen levels, each a code of INT7. Graphs are
 *         never built with it: half_codes.h makes it of INT7 where searches lose nothing by that.
 *
 * A graph is always built by squared distance. For the inner product each row gets further
 * dimensions that make all rows equally long: among rows of one length the nearest to a query and
 * the one with the largest inner product are the same (Bachrach et al., RecSys 2014). The query
 * has zeros there.
 *
 * Keys: nearness as a signed integer, smaller is nearer, comparable only among one kind and one
 * query. */
#ifndef INDEXER_INDEX_QUANTISER_H
#define INDEXER_INDEX_QUANTISER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "indexer/index/index.h"
#include "indexer/index/kernels.h"
#include "indexer/index/outliers.h"

enum index_code_kind { INDEX_CODE_INT7 = 1, INDEX_CODE_FLOAT = 2, INDEX_CODE_HALF = 3 };

struct index_quantiser {
    enum vector_metric metric;
    enum index_code_kind kind;
    uint32_t dim;                      /* of the vectors */
    uint32_t extra_dim;                /* that make rows equally long; 0 unless the metric is dot */
    uint32_t stride;                   /* bytes of a row of codes */
    float step;                        /* INT7, HALF: what one unit of code means */
    float longest_square;              /* dot: squared length of the longest row */
    float *low;                        /* INT7, HALF: dim offsets; NULL for FLOAT */
    uint8_t levels[INDEX_HALF_LEVELS]; /* HALF: codes, ascending */
};

/** Looks at a sample of the rows and decides kind, step and offsets. Outliers are not looked at, and
 * have no codes: a longer row than `longest_square` says is coded as if it were that long. */
void index_quantiser_train(struct index_quantiser *quantiser, enum vector_metric metric,
                           const float *vectors, uint32_t count, uint32_t dim,
                           const struct index_outliers *outliers);
void index_quantiser_destroy(struct index_quantiser *quantiser);

/** Bytes of a row's code when 7 bits are enough. */
uint32_t index_quantiser_stride(uint32_t dim);
/** Bytes of a row of codes for that many dimensions. */
uint32_t index_code_stride(enum index_code_kind kind, uint32_t dimensions);

/** Codes of one vector; the padding is zeroed. */
void index_quantiser_encode(const struct index_quantiser *quantiser, const float *vector,
                            uint8_t *codes);

/** Bytes of an encoded query. */
uint32_t index_quantiser_query_bytes(const struct index_quantiser *quantiser);

/** What search kernels compare with rows: index_quantiser_query_bytes at `out` (64-byte aligned). Returns what
 * one unit of key means: score = constant + returned * key, about; 0 for FLOAT. */
float index_quantiser_encode_query(const struct index_quantiser *quantiser, const float *query,
                                   uint8_t *out);

/** Whether both encode every query to the same bytes. Then what a key means is in the proportion of
 * their steps. */
bool index_quantiser_shares_queries(const struct index_quantiser *quantiser,
                                    const struct index_quantiser *other);

/** The score, about, at key 0 of an encoded query. */
float index_quantiser_key_zero(const struct index_quantiser *quantiser, const float *query);
/** Keys of four rows for an encoded query: by squared distance for L2, else by inner product. */
void index_quantiser_keys_4(const struct index_quantiser *quantiser, const uint8_t *query,
                            const uint8_t *const rows[4], int32_t keys[4]);

/* Rows of codes in memory. */
struct index_codes {
    enum index_code_kind kind;
    uint32_t stride;
    uint32_t count;
    const uint8_t *rows; /* count x stride */
};

static inline const uint8_t *index_codes_row(const struct index_codes *codes, uint32_t row)
{
    return codes->rows + (size_t)row * codes->stride;
}

/* Orders floats as integers; zero and above map to themselves bit by bit. */
static inline int32_t index_key_of_float(float value)
{
    union {
        float value;
        int32_t bits;
    } both = {.value = value};

    return both.bits < 0 ? both.bits ^ INT32_MAX : both.bits;
}

/** Keys (squared distances) of one row to four others; for building. */
void index_codes_keys_4(const struct index_codes *codes, const uint8_t *from,
                        const uint8_t *const rows[4], int32_t keys[4]);
int32_t index_codes_key(const struct index_codes *codes, const uint8_t *from, const uint8_t *to);

#endif
