/* leaf: distances of all pairs in a block of rows, and of rows to leaders. One per thread. */
#ifndef INDEXER_INDEX_LEAF_H
#define INDEXER_INDEX_LEAF_H

#include <stdint.h>

#include "indexer/index/codes.h"

enum { INDEX_LEAF_BLOCK_ROWS = 48 }; /* rows whose distances are computed, then selected from */

struct index_leaf {
    const struct index_codes *codes;
    uint32_t column_limit;
    uint32_t column_count;
    uint8_t *columns; /* gathered rows, one after another */
    uint8_t *panels;  /* the same, interleaved (INT7) */
    uint8_t *block;   /* gathered rows of the left side */
    int32_t *norms;   /* of the columns */
    int32_t *keys;    /* INDEX_LEAF_BLOCK_ROWS x key_stride */
    uint32_t key_stride;
};

void index_leaf_create(struct index_leaf *leaf, const struct index_codes *codes,
                       uint32_t column_limit);
void index_leaf_destroy(struct index_leaf *leaf);
/** What one takes, at most. */
uint64_t index_leaf_bytes(uint32_t stride, uint32_t column_limit);

/** Sets the columns; at most column_limit. */
void index_leaf_columns(struct index_leaf *leaf, const uint32_t *rows, uint32_t count);
/** Keys of at most INDEX_LEAF_BLOCK_ROWS rows to all columns, into leaf->keys. */
void index_leaf_keys(struct index_leaf *leaf, const uint32_t *rows, uint32_t count);
/** The same for columns [first, first + count) against all columns: nothing is gathered again. */
void index_leaf_own_keys(struct index_leaf *leaf, uint32_t first, uint32_t count);

#endif
