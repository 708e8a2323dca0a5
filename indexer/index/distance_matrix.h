/* matrix: distances of all pairs in a block of rows, and of rows to leaders. One per thread. */
#ifndef INDEXER_INDEX_DISTANCE_MATRIX_H
#define INDEXER_INDEX_DISTANCE_MATRIX_H

#include <stdint.h>

#include "indexer/index/quantiser.h"

enum { INDEX_MATRIX_BLOCK_ROWS = 48 }; /* rows whose distances are computed, then selected from */

struct index_distance_matrix {
    const struct index_codes *codes;
    uint32_t column_limit;
    uint32_t column_count;
    uint8_t *columns; /* gathered rows, one after another */
    uint8_t *panels;  /* the same, interleaved (INT7) */
    uint8_t *block;   /* gathered rows of the left side */
    int32_t *norms;   /* of the columns */
    int32_t *keys;    /* INDEX_MATRIX_BLOCK_ROWS x key_stride */
    uint32_t key_stride;
};

void index_distance_matrix_create(struct index_distance_matrix *matrix,
                                  const struct index_codes *codes, uint32_t column_limit);
void index_distance_matrix_destroy(struct index_distance_matrix *matrix);
/** What one takes, at most. */
uint64_t index_distance_matrix_bytes(uint32_t stride, uint32_t column_limit);

/** Sets the columns; at most column_limit. */
void index_distance_matrix_columns(struct index_distance_matrix *matrix, const uint32_t *rows,
                                   uint32_t count);
/** Keys of at most INDEX_MATRIX_BLOCK_ROWS rows to all columns, into matrix->keys. */
void index_distance_matrix_keys(struct index_distance_matrix *matrix, const uint32_t *rows,
                                uint32_t count);
/** The same for columns [first, first + count) against all columns: nothing is gathered again. */
void index_distance_matrix_own_keys(struct index_distance_matrix *matrix, uint32_t first,
                                    uint32_t count);

#endif
