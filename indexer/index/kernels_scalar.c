/* The plain loops: what every other kernel set must agree with, and what runs on other CPUs. */
#include "indexer/index/kernels.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* Four partial sums: the compiler may not reorder float additions, so they are written out. */
static float scalar_dot(const float *a, const float *b, uint32_t dim)
{
    float sum[4] = {0};
    uint32_t i = 0;

    for (; i + 4 <= dim; i += 4)
        for (uint32_t lane = 0; lane < 4; lane++)
            sum[lane] += a[i + lane] * b[i + lane];
    for (; i < dim; i++)
        sum[0] += a[i] * b[i];
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static float scalar_l2(const float *a, const float *b, uint32_t dim)
{
    float sum[4] = {0};
    uint32_t i = 0;

    for (; i + 4 <= dim; i += 4)
        for (uint32_t lane = 0; lane < 4; lane++) {
            float difference = a[i + lane] - b[i + lane];
            sum[lane] += difference * difference;
        }
    for (; i < dim; i++)
        sum[0] += (a[i] - b[i]) * (a[i] - b[i]);
    return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}

static int32_t scalar_code_l2(const uint8_t *a, const uint8_t *b, uint32_t stride)
{
    int32_t sum = 0;

    for (uint32_t i = 0; i < stride; i++) {
        int32_t difference = (int32_t)a[i] - (int32_t)b[i];
        sum += difference * difference;
    }
    return sum;
}

static int32_t scalar_code_square(const uint8_t *row, uint32_t stride)
{
    int32_t sum = 0;

    for (uint32_t i = 0; i < stride; i++)
        sum += (int32_t)row[i] * (int32_t)row[i];
    return sum;
}

static void scalar_code_pack(const uint8_t *rows, uint32_t count, uint32_t stride, uint8_t *panels)
{
    for (uint32_t first = 0; first < count; first += INDEX_PANEL_COLUMNS) {
        uint8_t *four = panels + (size_t)first * stride;
        for (uint32_t i = 0; i < stride; i += 4)
            for (uint32_t column = first; column < first + INDEX_PANEL_COLUMNS;
                 column++, four += 4) {
                if (column < count)
                    memcpy(four, rows + (size_t)column * stride + i, 4);
                else
                    memset(four, 0, 4);
            }
    }
}

static void scalar_code_l2_4(const uint8_t *query, const uint8_t *const rows[4], uint32_t stride,
                             int32_t distances[4])
{
    for (int row = 0; row < 4; row++)
        distances[row] = scalar_code_l2(query, rows[row], stride);
}

static void scalar_code_dot_4(const int8_t *query, const uint8_t *const rows[4], uint32_t stride,
                              int32_t products[4])
{
    for (int row = 0; row < 4; row++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < stride; i++)
            sum += (int32_t)rows[row][i] * (int32_t)query[i];
        products[row] = sum;
    }
}

static void panel_distances(const uint8_t *row, int32_t row_norm, const uint8_t *panel,
                            const int32_t *column_norms, uint32_t stride, int32_t *distances)
{
    int32_t products[INDEX_PANEL_COLUMNS] = {0};

    for (uint32_t i = 0; i < stride; i += 4, panel += 4 * INDEX_PANEL_COLUMNS)
        for (uint32_t column = 0; column < INDEX_PANEL_COLUMNS; column++)
            for (uint32_t byte = 0; byte < 4; byte++)
                products[column] += (int32_t)row[i + byte] * (int32_t)panel[column * 4 + byte];
    for (uint32_t column = 0; column < INDEX_PANEL_COLUMNS; column++)
        distances[column] = row_norm + column_norms[column] - 2 * products[column];
}

static void scalar_code_distances(const uint8_t *rows, const int32_t *row_norms, uint32_t row_count,
                                  const uint8_t *panels, const int32_t *column_norms,
                                  uint32_t column_count, uint32_t stride, int32_t *distances,
                                  uint32_t out_stride)
{
    for (uint32_t column = 0; column < column_count; column += INDEX_PANEL_COLUMNS)
        for (uint32_t row = 0; row < row_count; row++)
            panel_distances(rows + (size_t)row * stride, row_norms[row],
                            panels + (size_t)column * stride, column_norms + column, stride,
                            distances + (size_t)row * out_stride + column);
}

static uint32_t scalar_below(const int32_t *values, uint32_t count, int32_t limit,
                             uint32_t *positions)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++)
        if (values[i] < limit)
            positions[found++] = i;
    return found;
}

static void scalar_lane_minima(const int32_t *values, uint32_t count, int32_t minima[16])
{
    for (uint32_t lane = 0; lane < 16; lane++)
        minima[lane] = INT32_MAX;
    for (uint32_t i = 0; i + 16 <= count; i += 16)
        for (uint32_t lane = 0; lane < 16; lane++)
            if (values[i + lane] < minima[lane])
                minima[lane] = values[i + lane];
}

/* What is not a number becomes 0. */
static void scalar_encode(const float *values, const float *low, float per_step, uint32_t dim,
                          uint8_t *codes)
{
    for (uint32_t i = 0; i < dim; i++) {
        float steps = (values[i] - low[i]) * per_step;
        steps = steps > 0 ? steps : 0;
        steps = steps < INDEX_CODE_MAX ? steps : INDEX_CODE_MAX;
        codes[i] = (uint8_t)lrintf(steps);
    }
}

const struct index_kernels index_kernels_scalar = {
    .name = "scalar",
    .dot = scalar_dot,
    .l2 = scalar_l2,
    .code_l2_4 = scalar_code_l2_4,
    .code_dot_4 = scalar_code_dot_4,
    .code_l2 = scalar_code_l2,
    .code_square = scalar_code_square,
    .code_pack = scalar_code_pack,
    .code_distances = scalar_code_distances,
    .below = scalar_below,
    .lane_minima = scalar_lane_minima,
    .encode = scalar_encode,
};
