#include "indexer/index/distance_matrix.h"

#include <assert.h>

#include "indexer/index/build_tools.h"

void index_distance_matrix_create(struct index_distance_matrix *matrix,
                                  const struct index_codes *codes, uint32_t column_limit)
{
    uint32_t padded =
        (column_limit + INDEX_PANEL_COLUMNS - 1) / INDEX_PANEL_COLUMNS * INDEX_PANEL_COLUMNS;

    *matrix = (struct index_distance_matrix){
        .codes = codes, .column_limit = column_limit, .key_stride = padded};
    matrix->columns = index_allocate(column_limit, codes->stride);
    matrix->panels = codes->kind == INDEX_CODE_INT7 ? index_allocate(padded, codes->stride) : NULL;
    matrix->block = index_allocate(INDEX_MATRIX_BLOCK_ROWS, codes->stride);
    matrix->norms = index_allocate_zeroed(padded, sizeof(int32_t));
    matrix->keys = index_allocate((size_t)INDEX_MATRIX_BLOCK_ROWS * padded, sizeof(int32_t));
}

void index_distance_matrix_destroy(struct index_distance_matrix *matrix)
{
    free(matrix->columns);
    free(matrix->panels);
    free(matrix->block);
    free(matrix->norms);
    free(matrix->keys);
}

uint64_t index_distance_matrix_bytes(uint32_t stride, uint32_t column_limit)
{
    return ((uint64_t)2 * column_limit + INDEX_PANEL_COLUMNS + INDEX_MATRIX_BLOCK_ROWS) * stride +
           ((uint64_t)column_limit + INDEX_PANEL_COLUMNS) * (INDEX_MATRIX_BLOCK_ROWS + 1) *
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

void index_distance_matrix_columns(struct index_distance_matrix *matrix, const uint32_t *rows,
                                   uint32_t count)
{
    const struct index_codes *codes = matrix->codes;

    assert(count > 0 && count <= matrix->column_limit);
    gather(codes, rows, count, matrix->columns);
    matrix->column_count = count;
    if (codes->kind == INDEX_CODE_INT7) {
        index_kernels()->code_pack(matrix->columns, count, codes->stride, matrix->panels);
        measure(codes, matrix->columns, count, matrix->norms);
    }
}

static void block_keys(struct index_distance_matrix *matrix, const uint8_t *rows,
                       const int32_t *norms, uint32_t count)
{
    const struct index_codes *codes = matrix->codes;

    if (codes->kind == INDEX_CODE_INT7) {
        index_kernels()->code_distances(rows, norms, count, matrix->panels, matrix->norms,
                                        matrix->column_count, codes->stride, matrix->keys,
                                        matrix->key_stride);
        return;
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < matrix->column_count; j++)
            matrix->keys[(size_t)i * matrix->key_stride + j] =
                index_codes_key(codes, rows + (size_t)i * codes->stride,
                                matrix->columns + (size_t)j * codes->stride);
}

void index_distance_matrix_keys(struct index_distance_matrix *matrix, const uint32_t *rows,
                                uint32_t count)
{
    int32_t norms[INDEX_MATRIX_BLOCK_ROWS];

    assert(count <= INDEX_MATRIX_BLOCK_ROWS);
    gather(matrix->codes, rows, count, matrix->block);
    if (matrix->codes->kind == INDEX_CODE_INT7)
        measure(matrix->codes, matrix->block, count, norms);
    block_keys(matrix, matrix->block, norms, count);
}

void index_distance_matrix_own_keys(struct index_distance_matrix *matrix, uint32_t first,
                                    uint32_t count)
{
    assert(count <= INDEX_MATRIX_BLOCK_ROWS && first + count <= matrix->column_count);
    block_keys(matrix, matrix->columns + (size_t)first * matrix->codes->stride,
               matrix->norms + first, count);
}
