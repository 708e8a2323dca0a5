#include "indexer/index/leaf.h"

#include <assert.h>

#include "indexer/index/memory.h"

void index_leaf_create(struct index_leaf *leaf, const struct index_codes *codes,
                       uint32_t column_limit)
{
    uint32_t padded =
        (column_limit + INDEX_PANEL_COLUMNS - 1) / INDEX_PANEL_COLUMNS * INDEX_PANEL_COLUMNS;

    *leaf = (struct index_leaf){.codes = codes, .column_limit = column_limit, .key_stride = padded};
    leaf->columns = index_allocate(column_limit, codes->stride);
    leaf->panels = codes->kind == INDEX_CODE_INT7 ? index_allocate(padded, codes->stride) : NULL;
    leaf->block = index_allocate(INDEX_LEAF_BLOCK_ROWS, codes->stride);
    leaf->norms = index_allocate_zeroed(padded, sizeof(int32_t));
    leaf->keys = index_allocate((size_t)INDEX_LEAF_BLOCK_ROWS * padded, sizeof(int32_t));
}

void index_leaf_destroy(struct index_leaf *leaf)
{
    free(leaf->columns);
    free(leaf->panels);
    free(leaf->block);
    free(leaf->norms);
    free(leaf->keys);
}

uint64_t index_leaf_bytes(uint32_t stride, uint32_t column_limit)
{
    return ((uint64_t)2 * column_limit + INDEX_PANEL_COLUMNS + INDEX_LEAF_BLOCK_ROWS) * stride +
           ((uint64_t)column_limit + INDEX_PANEL_COLUMNS) * (INDEX_LEAF_BLOCK_ROWS + 1) *
               sizeof(int32_t);
}

static void gather(const struct index_codes *codes, const uint32_t *rows, uint32_t count,
                   uint8_t *out)
{
    for (uint32_t i = 0; i < count; i++)
        memcpy(out + (size_t)i * codes->stride, index_codes_row(codes, rows[i]), codes->stride);
}

/* Squared lengths of rows of codes. */
static void measure(const struct index_codes *codes, const uint8_t *rows, uint32_t count,
                    int32_t *norms)
{
    for (uint32_t i = 0; i < count; i++)
        norms[i] = index_kernels()->code_square(rows + (size_t)i * codes->stride, codes->stride);
}

void index_leaf_columns(struct index_leaf *leaf, const uint32_t *rows, uint32_t count)
{
    const struct index_codes *codes = leaf->codes;

    assert(count > 0 && count <= leaf->column_limit);
    gather(codes, rows, count, leaf->columns);
    leaf->column_count = count;
    if (codes->kind == INDEX_CODE_INT7) {
        index_kernels()->code_pack(leaf->columns, count, codes->stride, leaf->panels);
        measure(codes, leaf->columns, count, leaf->norms);
    }
}

static void block_keys(struct index_leaf *leaf, const uint8_t *rows, const int32_t *norms,
                       uint32_t count)
{
    const struct index_codes *codes = leaf->codes;

    if (codes->kind == INDEX_CODE_INT7) {
        index_kernels()->code_distances(rows, norms, count, leaf->panels, leaf->norms,
                                        leaf->column_count, codes->stride, leaf->keys,
                                        leaf->key_stride);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < leaf->column_count; j++)
            leaf->keys[(size_t)i * leaf->key_stride + j] = index_codes_key(
                codes, rows + (size_t)i * codes->stride, leaf->columns + (size_t)j * codes->stride);
}

void index_leaf_keys(struct index_leaf *leaf, const uint32_t *rows, uint32_t count)
{
    int32_t norms[INDEX_LEAF_BLOCK_ROWS];

    assert(count <= INDEX_LEAF_BLOCK_ROWS);
    gather(leaf->codes, rows, count, leaf->block);
    if (leaf->codes->kind == INDEX_CODE_INT7)
        measure(leaf->codes, leaf->block, count, norms);
    block_keys(leaf, leaf->block, norms, count);
}

void index_leaf_own_keys(struct index_leaf *leaf, uint32_t first, uint32_t count)
{
    assert(count <= INDEX_LEAF_BLOCK_ROWS && first + count <= leaf->column_count);
    block_keys(leaf, leaf->columns + (size_t)first * leaf->codes->stride, leaf->norms + first,
               count);
}
