/* The plain loops: what every other kernel set must agree with, and what runs on other CPUs. */
#include "indexer/index/kernels.h"

#include <float.h>
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

static void scalar_half_l2_4(const uint8_t *query, const uint8_t *const rows[4], uint32_t stride,
                             const uint8_t levels[INDEX_HALF_LEVELS], int32_t distances[4])
{
    for (int row = 0; row < 4; row++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < stride; i++) {
            const uint8_t *of = query + i / 64 * INDEX_HALF_BLOCK + i % 64;
            int32_t lower = (int32_t)levels[rows[row][i] & 15] - (int32_t)of[0];
            int32_t upper = (int32_t)levels[rows[row][i] >> 4] - (int32_t)of[64];
            sum += lower * lower + upper * upper;
        }
        distances[row] = sum;
    }
}

static void scalar_half_dot_4(const int8_t *query, const uint8_t *const rows[4], uint32_t stride,
                              const uint8_t levels[INDEX_HALF_LEVELS], int32_t products[4])
{
    for (int row = 0; row < 4; row++) {
        int32_t sum = 0;
        for (uint32_t i = 0; i < stride; i++) {
            const int8_t *of = query + i / 64 * INDEX_HALF_BLOCK + i % 64;
            sum += (int32_t)levels[rows[row][i] & 15] * (int32_t)of[0] +
                   (int32_t)levels[rows[row][i] >> 4] * (int32_t)of[64];
        }
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

/* Entries compare as signed numbers: by value, then by position. */
static int64_t entry_of(int32_t value, uint32_t position)
{
    return (int64_t)index_neighbour(value, position);
}

/* Insertion into a short sorted list. Few values get so far: of s in random order about
 * keep * ln(s / keep). */
uint32_t index_scalar_smallest(const int32_t *values, uint32_t count, uint32_t keep,
                               uint64_t *entries)
{
    int32_t limit = INT32_MAX;
    uint32_t size = 0;

    for (uint32_t i = 0; i < count && keep > 0; i++) {
        uint32_t at = size < keep ? size : keep - 1;
        if (values[i] >= limit)
            continue;
        for (; at > 0 && (int64_t)entries[at - 1] > entry_of(values[i], i); at--)
            entries[at] = entries[at - 1];
        entries[at] = (uint64_t)entry_of(values[i], i);
        size += size < keep;
        if (size == keep)
            limit = index_neighbour_key(entries[keep - 1]);
    }
    return size;
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

static float half_square(const float *codewords, uint32_t part_dim, uint32_t j)
{
    float sum = 0;

    for (uint32_t d = 0; d < part_dim; d++)
        sum += codewords[d * INDEX_PQ_CODEWORDS + j] * codewords[d * INDEX_PQ_CODEWORDS + j];
    return sum / 2;
}

/* Half the squared distance without the vector's own square, which is the same for all. */
static void scalar_pq_assign(const float *columns, uint32_t column_stride, uint32_t count,
                             const float *codewords, uint32_t part_dim, uint8_t *codes)
{
    float halves[INDEX_PQ_CODEWORDS];

    for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
        halves[j] = half_square(codewords, part_dim, j);
    for (uint32_t i = 0; i < count; i++) {
        float best = 0;
        uint32_t chosen = 0;
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++) {
            float distance = halves[j];
            for (uint32_t d = 0; d < part_dim; d++)
                distance -=
                    columns[(size_t)d * column_stride + i] * codewords[d * INDEX_PQ_CODEWORDS + j];
            if (j == 0 || distance < best) {
                best = distance;
                chosen = j;
            }
        }
        codes[i] = (uint8_t)chosen;
    }
}

static void scalar_pq_products(const float *vector, const float *codebook, uint32_t part_count,
                               uint32_t part_dim, float *products)
{
    for (uint32_t part = 0; part < part_count; part++, products += INDEX_PQ_CODEWORDS) {
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
            products[j] = 0;
        for (uint32_t d = 0; d < part_dim; d++, vector++, codebook += INDEX_PQ_CODEWORDS)
            for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
                products[j] += *vector * codebook[j];
    }
}

/* Byte of a quad's 32-byte half that holds a row: even bytes are rows 0..15, odd ones 16..31, so
 * that wide kernels get rows in order from the sums of even and of odd bytes. */
static uint32_t byte_of_row(uint32_t row)
{
    return row < 16 ? 2 * row : 2 * (row - 16) + 1;
}

static uint32_t quad_sum(const uint8_t *codes, const uint8_t *tables, uint32_t at)
{
    uint32_t sum = 0;

    for (uint32_t half = 0; half < 2; half++) {
        uint32_t two = codes[32 * half + at];
        sum += tables[32 * half + (two & 15)];
        sum += tables[64 + 32 * half + (two >> 4)];
    }
    return sum;
}

static float scalar_pq_ranges(const float *products, uint32_t part_count, float factor,
                              float *least)
{
    float widest = 0;

    for (uint32_t part = 0; part < part_count; part++, products += INDEX_PQ_CODEWORDS) {
        least[part] = FLT_MAX;
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
            least[part] = factor * products[j] < least[part] ? factor * products[j] : least[part];
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++) {
            float above = factor * products[j] - least[part];
            widest = above > widest ? above : widest;
        }
    }
    return widest;
}

static void scalar_pq_round(const float *products, const float *least, uint32_t part_count,
                            float factor, float unit, uint8_t *tables)
{
    for (uint32_t part = 0; part < part_count; part++, products += INDEX_PQ_CODEWORDS) {
        uint8_t *entries = tables + index_pq_table_place(part);
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++) {
            float units = (factor * products[j] - least[part]) / unit;
            units = units > 0 ? units : 0;
            units = units < INDEX_PQ_TABLE_MAX ? units : INDEX_PQ_TABLE_MAX;
            entries[j] = (uint8_t)(units + 0.5f);
        }
        memcpy(entries + INDEX_PQ_CODEWORDS, entries, INDEX_PQ_CODEWORDS);
    }
}

static void scalar_pq_scan(const struct index_pq_scan *scan, uint16_t *sums, uint32_t *masks)
{
    for (uint32_t block = 0; block < scan->block_count; block++) {
        const uint8_t *codes = scan->blocks + (size_t)block * scan->quad_count * 64;
        masks[block] = 0;
        for (uint32_t row = 0; row < INDEX_PQ_BLOCK_ROWS; row++) {
            size_t at = (size_t)block * INDEX_PQ_BLOCK_ROWS + row;
            uint32_t sum = 0;
            for (uint32_t quad = 0; quad < scan->quad_count; quad++)
                sum += quad_sum(codes + (size_t)quad * 64, scan->tables + (size_t)quad * 128,
                                byte_of_row(row));
            if (scan->biases)
                sum += (uint32_t)scan->biases[at] * scan->bias_scale >> 16;
            sums[at] = (uint16_t)(sum < UINT16_MAX ? sum : UINT16_MAX);
            masks[block] |= (uint32_t)(sums[at] < scan->limit) << row;
        }
    }
}

static uint32_t scalar_rows_marked(const uint32_t *rows, const uint64_t *bits, uint32_t mask)
{
    uint32_t marked = 0;

    for (; mask; mask &= mask - 1) {
        uint32_t i = (uint32_t)__builtin_ctz(mask);
        marked |= (uint32_t)(bits[rows[i] / 64] >> rows[i] % 64 & 1) << i;
    }
    return marked;
}

const struct index_kernels index_kernels_scalar = {
    .name = "scalar",
    .dot = scalar_dot,
    .l2 = scalar_l2,
    .code_l2_4 = scalar_code_l2_4,
    .code_dot_4 = scalar_code_dot_4,
    .half_l2_4 = scalar_half_l2_4,
    .half_dot_4 = scalar_half_dot_4,
    .code_l2 = scalar_code_l2,
    .code_square = scalar_code_square,
    .code_pack = scalar_code_pack,
    .code_distances = scalar_code_distances,
    .smallest = index_scalar_smallest,
    .encode = scalar_encode,
    .pq_assign = scalar_pq_assign,
    .pq_products = scalar_pq_products,
    .pq_ranges = scalar_pq_ranges,
    .pq_round = scalar_pq_round,
    .pq_scan = scalar_pq_scan,
    .rows_marked = scalar_rows_marked,
};
