/* Every kernel set agrees with the scalar one: integers exactly, floats within rounding. */
#include "indexer/index/kernels.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "indexer/index/index.h"
#include "indexer/index/rerank.h"
#include "tests/indexer/index/tile_emulator.h"
#include "tests/support/test_main.h"

static const char *const set_names[] = {"avx2", "avx512"};
static const uint32_t dims[] = {1,  2,  3,  7,  8,   15,  16,   17,  31,
                                33, 63, 64, 65, 128, 384, 1000, 1537};

enum { ROWS = 53, DIM_MAX = 65536 };

static float random_float(uint64_t *state)
{
    return (float)((double)(test_random(state) >> 11) / 9007199254740992.0 * 4 - 2);
}

static uint32_t padded(uint32_t dim)
{
    return (dim + INDEX_CODE_ALIGN - 1) / INDEX_CODE_ALIGN * INDEX_CODE_ALIGN;
}

/* Rows of random codes; every eighth row is all zeros or all 127, where overflow would show. */
static uint8_t *random_codes(uint32_t rows, uint32_t stride, uint64_t *state)
{
    uint8_t *codes = aligned_alloc(INDEX_CODE_ALIGN, (size_t)rows * stride);

    for (size_t i = 0; i < (size_t)rows * stride; i++)
        codes[i] = (uint8_t)(test_random(state) >> 40) & 127;
    for (uint32_t row = 0; row < rows; row += 8)
        memset(codes + (size_t)row * stride, row % 16 ? 127 : 0, stride);
    return codes;
}

START_TEST(float_kernels_agree_with_scalar_within_rounding)
{
    uint64_t state = test_seed();

    for (size_t set = 0; set < 2; set++) {
        const struct index_kernels *kernels = index_kernels_find(set_names[set]);
        for (size_t d = 0; kernels && d < sizeof(dims) / sizeof(dims[0]); d++) {
            float *a = malloc(dims[d] * sizeof(float)), *b = malloc(dims[d] * sizeof(float));
            double dot = 0, l2 = 0, size = 0;
            for (uint32_t i = 0; i < dims[d]; i++) {
                a[i] = random_float(&state);
                b[i] = random_float(&state);
                dot += (double)a[i] * b[i];
                l2 += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
                size += fabs((double)a[i] * b[i]);
            }
            ck_assert_double_le(fabs(kernels->dot(a, b, dims[d]) - dot), 1e-5 * size + 1e-30);
            ck_assert_double_le(fabs(kernels->l2(a, b, dims[d]) - l2), 1e-5 * l2);
            ck_assert_double_le(fabs(index_kernels_scalar.dot(a, b, dims[d]) - dot),
                                1e-5 * size + 1e-30);
            free(a);
            free(b);
        }
    }
}
END_TEST

START_TEST(code_kernels_agree_with_scalar_exactly)
{
    uint64_t state = test_seed();

    for (size_t set = 0; set < 2; set++) {
        const struct index_kernels *kernels = index_kernels_find(set_names[set]);
        for (size_t d = 0; kernels && d < sizeof(dims) / sizeof(dims[0]); d++) {
            uint32_t stride = padded(dims[d]);
            uint8_t *codes = random_codes(ROWS, stride, &state);
            int8_t *query = aligned_alloc(INDEX_CODE_ALIGN, stride);
            for (uint32_t i = 0; i < stride; i++)
                query[i] = (int8_t)((int)(test_random(&state) >> 40 & 255) % 255 - 127);
            for (uint32_t row = 0; row + 4 <= ROWS; row++) {
                const uint8_t *rows[4];
                int32_t got[4], want[4];
                for (uint32_t i = 0; i < 4; i++)
                    rows[i] = codes + (size_t)(row + i) * stride;
                kernels->code_l2_4(codes, rows, stride, got);
                index_kernels_scalar.code_l2_4(codes, rows, stride, want);
                ck_assert_mem_eq(got, want, sizeof(want));
                ck_assert_int_eq(kernels->code_l2(codes, rows[3], stride), want[3]);
                kernels->code_dot_4(query, rows, stride, got);
                index_kernels_scalar.code_dot_4(query, rows, stride, want);
                ck_assert_mem_eq(got, want, sizeof(want));
            }
            free(codes);
            free(query);
        }
    }
}
END_TEST

/* Every byte is two half codes; levels are any codes. */
START_TEST(half_code_kernels_agree_with_scalar_exactly)
{
    uint64_t state = test_seed();

    for (size_t set = 0; set < 2; set++) {
        const struct index_kernels *kernels = index_kernels_find(set_names[set]);
        for (size_t d = 0; kernels && d < sizeof(dims) / sizeof(dims[0]); d++) {
            uint32_t stride = padded(dims[d]);
            uint8_t *halves = aligned_alloc(INDEX_CODE_ALIGN, (size_t)4 * stride);
            uint8_t *codes = random_codes(2, stride, &state);
            uint8_t *levels = random_codes(1, 64, &state);
            int8_t *query = aligned_alloc(INDEX_CODE_ALIGN, (size_t)2 * stride);
            const uint8_t *rows[4];
            int32_t got[4], want[4];
            for (uint32_t i = 0; i < 4 * stride; i++)
                halves[i] = (uint8_t)(test_random(&state) >> 40);
            for (uint32_t i = 0; i < 2 * stride; i++)
                query[i] = (int8_t)((int)(test_random(&state) >> 40 & 255) % 255 - 127);
            for (uint32_t i = 0; i < 4; i++)
                rows[i] = halves + (size_t)i * stride;
            kernels->half_l2_4(codes, rows, stride, levels, got);
            index_kernels_scalar.half_l2_4(codes, rows, stride, levels, want);
            ck_assert_mem_eq(got, want, sizeof(want));
            kernels->half_dot_4(query, rows, stride, levels, got);
            index_kernels_scalar.half_dot_4(query, rows, stride, levels, want);
            ck_assert_mem_eq(got, want, sizeof(want));
            free(halves);
            free(codes);
            free(levels);
            free(query);
        }
    }
}
END_TEST

static void check_distances(const struct index_kernels *kernels, uint32_t row_count,
                            uint32_t column_count, uint32_t stride, uint64_t *state)
{
    uint32_t columns = (column_count + 15) / 16 * 16;
    uint8_t *rows = random_codes(row_count, stride, state);
    uint8_t *others = random_codes(column_count, stride, state);
    uint8_t *panels = aligned_alloc(INDEX_CODE_ALIGN, (size_t)columns * stride);
    uint8_t *scalar_panels = malloc((size_t)columns * stride);
    int32_t *row_norms = calloc(row_count, sizeof(int32_t));
    int32_t *norms = calloc(columns, sizeof(int32_t));
    int32_t *distances = malloc((size_t)row_count * columns * sizeof(int32_t));
    uint8_t *zeros = calloc(1, stride);

    for (uint32_t i = 0; i < column_count; i++) {
        const uint8_t *column = others + (size_t)i * stride;
        norms[i] = index_kernels_scalar.code_l2(column, zeros, stride);
        ck_assert_int_eq(kernels->code_square(column, stride), norms[i]);
    }
    for (uint32_t i = 0; i < row_count; i++)
        row_norms[i] = index_kernels_scalar.code_l2(rows + (size_t)i * stride, zeros, stride);
    index_kernels_scalar.code_pack(others, column_count, stride, scalar_panels);
    kernels->code_pack(others, column_count, stride, panels);
    ck_assert_mem_eq(panels, scalar_panels, (size_t)columns * stride);
    kernels->code_distances(rows, row_norms, row_count, panels, norms, column_count, stride,
                            distances, columns);
    for (uint32_t i = 0; i < row_count; i++)
        for (uint32_t j = 0; j < column_count; j++)
            if (distances[(size_t)i * columns + j] !=
                index_kernels_scalar.code_l2(rows + (size_t)i * stride, others + (size_t)j * stride,
                                             stride))
                ck_abort_msg("%s: row %u, column %u of %u bytes", kernels->name, i, j, stride);
    free(rows);
    free(others);
    free(panels);
    free(scalar_panels);
    free(row_norms);
    free(norms);
    free(distances);
    free(zeros);
}

START_TEST(all_pairs_distances_agree_at_every_edge_of_a_tile)
{
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    uint64_t state = test_seed();

    for (size_t set = 0; set < 3; set++) {
        const struct index_kernels *kernels = index_kernels_find(names[set]);
        for (uint32_t rows = 1; kernels && rows <= 14; rows++)
            for (uint32_t columns = 1; columns <= 140; columns += rows == 1 ? 1 : 23)
                check_distances(kernels, rows, columns, rows % 2 ? 64 : 192, &state);
        if (kernels)
            check_distances(kernels, 2, 3, DIM_MAX, &state);
    }
}
END_TEST

#if defined(__x86_64__)
/* The processor's own tiles, or else the emulator's; NULL where AVX-512 is missing, too. */
static const struct index_kernels *tile_kernels(void)
{
    static struct index_kernels emulated;

    if (index_kernels_find("amx"))
        return index_kernels_find("amx");
    if (!index_kernels_find("avx512"))
        return NULL;
    tile_emulator_start();
    emulated = index_kernels_avx512;
    emulated.name = "amx, emulated";
    emulated.code_distances = index_amx_code_distances;
    return &emulated;
}

START_TEST(tiles_of_amx_agree_at_every_edge)
{
    static const uint32_t row_counts[] = {1, 2, 15, 16, 17, 31, 32, 33, 48};
    const struct index_kernels *kernels = tile_kernels();
    uint64_t state = test_seed();

    printf("tiles: %s\n", kernels ? kernels->name : "neither they nor AVX-512");
    for (size_t i = 0; kernels && i < sizeof(row_counts) / sizeof(row_counts[0]); i++)
        for (uint32_t columns = 1; columns <= 145; columns += 9)
            check_distances(kernels, row_counts[i], columns, i % 2 ? 64 : 192, &state);
    if (kernels)
        check_distances(kernels, 2, 3, DIM_MAX, &state);
    ck_assert(!kernels || index_kernels_find("amx") || tile_emulator_count() > 10000);
    ck_assert(tile_emulator_idle());
}
END_TEST
#endif

/* `spread` values in turn: few of them mean many equal ones, more than are sorted at once. */
static void check_smallest(const struct index_kernels *kernels, uint32_t count, uint64_t spread,
                           uint64_t *state)
{
    static const uint32_t keeps[] = {1, 4, 12, 16, 17, INDEX_SMALLEST_MAX};
    int32_t *values = malloc((count + 1) * sizeof(*values));

    for (uint32_t i = 0; i < count; i++)
        values[i] = (int32_t)((uint32_t)(test_random(state) % spread) - (uint32_t)(spread / 8));
    if (count > 3)
        values[3] = INT32_MAX;
    for (size_t k = 0; k < sizeof(keeps) / sizeof(keeps[0]); k++) {
        uint64_t got[INDEX_SMALLEST_MAX], want[INDEX_SMALLEST_MAX];
        uint32_t found = index_kernels_scalar.smallest(values, count, keeps[k], want);
        ck_assert_uint_eq(kernels->smallest(values, count, keeps[k], got), found);
        ck_assert_mem_eq(got, want, found * sizeof(want[0]));
    }
    free(values);
}

START_TEST(smallest_values_agree_with_scalar)
{
    static const uint64_t spreads[] = {1, 2, 50, 1000, UINT32_MAX};
    uint64_t state = test_seed();

    for (size_t set = 0; set < 2; set++) {
        const struct index_kernels *kernels = index_kernels_find(set_names[set]);
        for (uint32_t count = 0; kernels && count <= 1600; count += count < 300 ? 1 : 97)
            for (size_t i = 0; i < sizeof(spreads) / sizeof(spreads[0]); i++)
                check_smallest(kernels, count, spreads[i], &state);
    }
}
END_TEST

static int compare_signed(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

START_TEST(smallest_values_are_those_of_a_full_sort)
{
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    enum { COUNT = 500 };
    uint64_t state = test_seed();
    int32_t values[COUNT];
    int64_t sorted[COUNT];

    for (uint32_t i = 0; i < COUNT; i++) {
        values[i] = (int32_t)(test_random(&state) % 5000);
        sorted[i] = (int64_t)((uint64_t)values[i] << 32 | i);
    }
    qsort(sorted, COUNT, sizeof(sorted[0]), compare_signed);
    for (size_t set = 0; set < 3; set++) {
        const struct index_kernels *kernels = index_kernels_find(names[set]);
        for (uint32_t keep = 1; kernels && keep <= INDEX_SMALLEST_MAX; keep++) {
            uint64_t got[INDEX_SMALLEST_MAX];
            ck_assert_uint_eq(kernels->smallest(values, COUNT, keep, got), keep);
            ck_assert_mem_eq(got, sorted, keep * sizeof(got[0]));
        }
    }
}
END_TEST

START_TEST(encoding_agrees_with_scalar_and_clamps)
{
    uint64_t state = test_seed();
    float values[131], low[131];
    uint8_t got[131], want[131];

    for (uint32_t i = 0; i < 131; i++) {
        values[i] = random_float(&state);
        low[i] = random_float(&state) / 4;
    }
    values[5] = NAN;
    values[6] = INFINITY;
    values[7] = -INFINITY;
    values[8] = 3e38f;
    for (size_t set = 0; set < 2; set++) {
        const struct index_kernels *kernels = index_kernels_find(set_names[set]);
        for (uint32_t dim = 1; kernels && dim <= 131; dim++) {
            index_kernels_scalar.encode(values, low, 64.0f, dim, want);
            kernels->encode(values, low, 64.0f, dim, got);
            ck_assert_mem_eq(got, want, dim);
        }
    }
    ck_assert_uint_eq(want[5], 0);
    ck_assert_uint_eq(want[6], 127);
    ck_assert_uint_eq(want[7], 0);
    ck_assert_uint_eq(want[8], 127);
}
END_TEST

/* Distances of a vector to codewords, half and without its own square. */
static double codeword_distance(const float *columns, uint32_t stride, uint32_t i,
                                const float *codewords, uint32_t part_dim, uint32_t j)
{
    double distance = 0;

    for (uint32_t d = 0; d < part_dim; d++) {
        double word = codewords[d * 16 + j];
        distance += word * word / 2 - word * columns[(size_t)d * stride + i];
    }
    return distance;
}

START_TEST(product_codes_choose_the_nearest_codeword_and_products_agree)
{
    static const char *const names[] = {"scalar", "avx2", "avx512"};
    uint64_t state = test_seed();
    float columns[9 * 64], codewords[9 * 16 * 8], products[8 * 16], want[8 * 16];
    uint8_t codes[64];

    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        columns[i] = random_float(&state);
    for (size_t i = 0; i < sizeof(codewords) / sizeof(codewords[0]); i++)
        codewords[i] = random_float(&state);
    for (size_t set = 0; set < 3; set++) {
        const struct index_kernels *kernels = index_kernels_find(names[set]);
        for (uint32_t part_dim = 1; kernels && part_dim <= 9; part_dim++) {
            kernels->pq_assign(columns, 64, 50, codewords, part_dim, codes);
            for (uint32_t i = 0; i < 50; i++)
                for (uint32_t j = 0; j < 16; j++)
                    ck_assert_double_le(
                        codeword_distance(columns, 64, i, codewords, part_dim, codes[i]),
                        codeword_distance(columns, 64, i, codewords, part_dim, j) + 1e-4);
            kernels->pq_products(columns, codewords, 8, part_dim, products);
            index_kernels_scalar.pq_products(columns, codewords, 8, part_dim, want);
            for (uint32_t i = 0; i < 8 * 16; i++)
                ck_assert_float_eq_tol(products[i], want[i], 1e-4f);
        }
    }
}
END_TEST

START_TEST(tables_of_a_scan_agree_with_scalar_exactly)
{
    enum { PARTS = 12 };
    const float unusual[] = {0, -0.0f, NAN, INFINITY, -INFINITY, 1e38f, -1e38f, 1e-40f};
    const float factors[] = {-1, -2}, units[] = {0.01f, 0.07f, 1, 1e-30f};
    uint64_t state = test_seed();
    float products[PARTS * 16], least[PARTS], want_least[PARTS];
    uint8_t tables[PARTS * 32], want[PARTS * 32];

    for (uint32_t variant = 0; variant < 64; variant++) {
        float factor = factors[variant % 2], unit = units[variant / 2 % 4];
        for (uint32_t i = 0; i < PARTS * 16; i++)
            products[i] = random_float(&state);
        for (uint32_t i = 0; i < variant / 8; i++) /* the first part may have no number at all */
            products[variant % 3 ? test_random(&state) % (PARTS * 16) : i] = unusual[i];
        for (uint32_t i = 0; variant == 63 && i < 16; i++)
            products[i] = NAN;
        float width = index_kernels_scalar.pq_ranges(products, PARTS, factor, want_least);
        index_kernels_scalar.pq_round(products, want_least, PARTS, factor, unit, want);
        for (size_t set = 0; set < 2; set++) {
            const struct index_kernels *kernels = index_kernels_find(set_names[set]);
            if (!kernels)
                continue;
            ck_assert(kernels->pq_ranges(products, PARTS, factor, least) == width);
            for (uint32_t part = 0; part < PARTS; part++)
                ck_assert(least[part] == want_least[part]);
            kernels->pq_round(products, want_least, PARTS, factor, unit, tables);
            ck_assert_mem_eq(tables, want, sizeof(tables));
        }
    }
}
END_TEST

static int compare_entries(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

START_TEST(selection_brings_the_smallest_to_the_front_in_any_order)
{
    enum { COUNT_MAX = 400 };
    uint64_t state = test_seed();
    uint64_t entries[COUNT_MAX], sorted[COUNT_MAX], picked[COUNT_MAX];

    for (uint32_t round = 0; round < 2000; round++) {
        uint32_t count = (uint32_t)(test_random(&state) % COUNT_MAX) + 1;
        uint32_t keep = (uint32_t)(test_random(&state) % (count + 1));
        uint64_t distinct = test_random(&state) >> test_random(&state) % 64;
        for (uint32_t i = 0; i < count; i++)
            entries[i] = round % 4 == 0   ? i
                         : round % 4 == 1 ? count - i
                                          : test_random(&state) | ~distinct;
        memcpy(sorted, entries, count * sizeof(entries[0]));
        qsort(sorted, count, sizeof(sorted[0]), compare_entries);
        memcpy(picked, entries, count * sizeof(entries[0]));
        index_entries_select(picked, count, keep);
        qsort(picked, keep, sizeof(picked[0]), compare_entries);
        qsort(picked + keep, count - keep, sizeof(picked[0]), compare_entries);
        ck_assert_mem_eq(picked, sorted, count * sizeof(entries[0]));
        index_entries_sort(entries, count);
        ck_assert_mem_eq(entries, sorted, count * sizeof(entries[0]));
    }
}
END_TEST

START_TEST(marked_rows_are_found_and_others_not_looked_at)
{
    enum { MARKED_ROWS = 3000 };
    uint64_t state = test_seed(), bits[MARKED_ROWS / 64 + 1];

    for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
        bits[i] = test_random(&state);
    for (uint32_t round = 0; round < 500; round++) {
        uint32_t rows[32], mask = (uint32_t)(test_random(&state) >> 20), want = 0;
        mask = round == 0 ? 0 : round == 1 ? UINT32_MAX : mask;
        for (uint32_t i = 0; i < 32; i++) {
            bool asked = mask >> i & 1;
            rows[i] = asked ? (uint32_t)(test_random(&state) >> 20) % MARKED_ROWS : UINT32_MAX;
            want |= (uint32_t)(asked && bits[rows[i] / 64] >> rows[i] % 64 & 1) << i;
        }
        ck_assert_uint_eq(index_kernels_scalar.rows_marked(rows, bits, mask), want);
        for (size_t set = 0; set < 2; set++) {
            const struct index_kernels *kernels = index_kernels_find(set_names[set]);
            if (kernels)
                ck_assert_uint_eq(kernels->rows_marked(rows, bits, mask), want);
        }
    }
}
END_TEST

START_TEST(scans_of_product_codes_agree_with_scalar_exactly)
{
    enum { BLOCKS = 5, QUADS_MAX = 64 };
    uint64_t state = test_seed();
    uint8_t *blocks = aligned_alloc(64, (size_t)BLOCKS * QUADS_MAX * 64);
    uint8_t *tables = aligned_alloc(64, (size_t)QUADS_MAX * 128);
    uint16_t biases[BLOCKS * 32], got[BLOCKS * 32], want[BLOCKS * 32];
    uint32_t got_masks[BLOCKS], want_masks[BLOCKS];

    for (uint32_t i = 0; i < BLOCKS * QUADS_MAX * 64; i++)
        blocks[i] = (uint8_t)(test_random(&state) >> 40);
    for (uint32_t i = 0; i < QUADS_MAX * 128; i++) /* both copies of a table are alike */
        tables[i] = i & 16 ? tables[i - 16] : (uint8_t)(test_random(&state) >> 40) & 127;
    for (uint32_t i = 0; i < BLOCKS * 32; i++)
        biases[i] = (uint16_t)(test_random(&state) >> 40);
    for (uint32_t quads = 1; quads <= QUADS_MAX; quads++)
        for (uint32_t variant = 0; variant < 8; variant++) {
            struct index_pq_scan scan = {.blocks = blocks,
                                         .biases = variant & 1 ? biases : NULL,
                                         .tables = tables,
                                         .quad_count = quads,
                                         .block_count = variant & 2 ? BLOCKS : BLOCKS - 1,
                                         .bias_scale = variant & 4 ? 65535 : 1000,
                                         .limit = (uint16_t)(test_random(&state) >> 40)};
            index_kernels_scalar.pq_scan(&scan, want, want_masks);
            for (size_t set = 0; set < 2; set++) {
                const struct index_kernels *kernels = index_kernels_find(set_names[set]);
                if (!kernels)
                    continue;
                kernels->pq_scan(&scan, got, got_masks);
                ck_assert_mem_eq(got, want, scan.block_count * 32 * sizeof(got[0]));
                ck_assert_mem_eq(got_masks, want_masks, scan.block_count * sizeof(uint32_t));
                scan.limit = 0;
                kernels->pq_scan(&scan, got, got_masks);
                ck_assert_uint_eq(got_masks[0], 0);
                scan.limit = 65535;
                kernels->pq_scan(&scan, got, got_masks);
                index_kernels_scalar.pq_scan(&scan, want, want_masks);
                ck_assert_mem_eq(got_masks, want_masks, scan.block_count * sizeof(uint32_t));
            }
        }
    free(blocks);
    free(tables);
}
END_TEST

/* Bit for bit: a search with others must not score a row otherwise than a search alone. */
START_TEST(scores_of_several_queries_are_those_of_each_alone)
{
    enum { QUERIES = 7, VECTORS = 5 };
    uint64_t state = test_seed();

    for (size_t d = 0; d < sizeof(dims) / sizeof(dims[0]); d++) {
        uint32_t dim = dims[d];
        float *rows = malloc((size_t)VECTORS * dim * sizeof(float));
        float *asked = malloc((size_t)QUERIES * dim * sizeof(float)), got[QUERIES][VECTORS];
        const float *queries[QUERIES];
        float *scores[QUERIES];
        for (uint32_t i = 0; i < VECTORS * dim; i++)
            rows[i] = random_float(&state);
        for (uint32_t i = 0; i < QUERIES * dim; i++)
            asked[i] = random_float(&state);
        for (uint32_t q = 0; q < QUERIES; q++) {
            queries[q] = asked + (size_t)q * dim;
            scores[q] = got[q];
        }
        for (uint32_t count = 1; count <= VECTORS; count++)
            for (int l2 = 0; l2 < 2; l2++) {
                enum vector_metric metric = l2 ? VECTOR_METRIC_L2 : VECTOR_METRIC_DOT;
                index_score_tile(metric, queries, QUERIES, rows, count, dim, scores);
                for (uint32_t q = 0; q < QUERIES; q++) {
                    float want[VECTORS];
                    index_score_block(metric, queries[q], rows, count, dim, want);
                    ck_assert_mem_eq(got[q], want, count * sizeof(float));
                }
            }
        free(rows);
        free(asked);
    }
}
END_TEST

START_TEST(scans_for_several_queries_are_those_for_each_alone)
{
    enum { BLOCKS = 8, QUADS = 16 };
    const struct index_kernels *kernels = index_kernels();
    uint64_t state = test_seed();
    uint8_t *blocks = aligned_alloc(64, (size_t)BLOCKS * QUADS * 64);
    uint8_t *tables = aligned_alloc(64, (size_t)INDEX_PQ_QUERIES * QUADS * 128);
    uint16_t biases[BLOCKS * 32], got[INDEX_PQ_QUERIES][BLOCKS * 32], want[BLOCKS * 32];
    uint32_t masks[INDEX_PQ_QUERIES][BLOCKS], want_masks[BLOCKS];

    for (uint32_t i = 0; i < BLOCKS * QUADS * 64; i++)
        blocks[i] = (uint8_t)(test_random(&state) >> 40);
    for (uint32_t i = 0; i < INDEX_PQ_QUERIES * QUADS * 128; i++)
        tables[i] = i & 16 ? tables[i - 16] : (uint8_t)(test_random(&state) >> 40) & 127;
    for (uint32_t i = 0; i < BLOCKS * 32; i++)
        biases[i] = (uint16_t)(test_random(&state) >> 40);
    for (uint32_t count = 1; kernels->pq_scan_many && count <= INDEX_PQ_QUERIES; count++)
        for (uint32_t block_count = 1; block_count <= BLOCKS; block_count++) {
            struct index_pq_scan scan = {.blocks = blocks,
                                         .biases = block_count & 1 ? biases : NULL,
                                         .quad_count = QUADS,
                                         .block_count = block_count};
            struct index_pq_query queries[INDEX_PQ_QUERIES];
            for (uint32_t i = 0; i < count; i++)
                queries[i] = (struct index_pq_query){
                    tables + (size_t)i * QUADS * 128, (uint16_t)(test_random(&state) >> 40),
                    (uint16_t)(test_random(&state) >> 49), got[i], masks[i]};
            kernels->pq_scan_many(&scan, queries, count);
            for (uint32_t i = 0; i < count; i++) {
                scan.tables = queries[i].tables;
                scan.bias_scale = queries[i].bias_scale;
                scan.limit = queries[i].limit;
                kernels->pq_scan(&scan, want, want_masks);
                ck_assert_mem_eq(got[i], want, block_count * 32 * sizeof(want[0]));
                ck_assert_mem_eq(masks[i], want_masks, block_count * sizeof(want_masks[0]));
            }
        }
    free(blocks);
    free(tables);
}
END_TEST

START_TEST(normalise_gives_unit_length_and_returns_the_former_one)
{
    const struct {
        float vector[4];
        float length;
    } cases[] = {
        {{3, 4, 0, 0}, 5},         {{0, 0, 0, 0}, 0},           {{-2, 0, 0, 0}, 2},
        {{1e30f, 0, 0, 0}, 1e30f}, {{1e-30f, 0, 0, 0}, 1e-30f},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        float vector[4];
        memcpy(vector, cases[i].vector, sizeof(vector));
        ck_assert_float_eq(index_normalise(vector, 4), cases[i].length);
        ck_assert_float_eq_tol(index_score(VECTOR_METRIC_DOT, vector, vector, 4),
                               cases[i].length > 0 ? 1 : 0, 1e-6f);
    }
}
END_TEST

START_TEST(exact_top_is_sorted_with_ties_by_row)
{
    const float vectors[] = {0, 1, 2, 1, 5, 1};
    const float query = 1;
    struct index_hit hits[4];
    uint32_t count;

    index_exact_top(VECTOR_METRIC_L2, vectors, 6, 1, &query, 4, hits, &count);
    ck_assert_uint_eq(count, 4);
    ck_assert_uint_eq(hits[0].row, 1);
    ck_assert_uint_eq(hits[1].row, 3);
    ck_assert_uint_eq(hits[2].row, 5);
    ck_assert_uint_eq(hits[3].row, 0);
    ck_assert_float_eq(hits[3].score, -1);
    index_exact_top(VECTOR_METRIC_DOT, vectors, 2, 1, &query, 4, hits, &count);
    ck_assert_uint_eq(count, 2);
    ck_assert_uint_eq(hits[0].row, 1);
}
END_TEST

TEST_TABLE(TEST(float_kernels_agree_with_scalar_within_rounding),
           TEST(code_kernels_agree_with_scalar_exactly),
           TEST(half_code_kernels_agree_with_scalar_exactly),
           TEST(all_pairs_distances_agree_at_every_edge_of_a_tile),
#if defined(__x86_64__)
           TEST(tiles_of_amx_agree_at_every_edge),
#endif
           TEST(smallest_values_agree_with_scalar), TEST(smallest_values_are_those_of_a_full_sort),
           TEST(encoding_agrees_with_scalar_and_clamps),
           TEST(product_codes_choose_the_nearest_codeword_and_products_agree),
           TEST(tables_of_a_scan_agree_with_scalar_exactly),
           TEST(selection_brings_the_smallest_to_the_front_in_any_order),
           TEST(scans_of_product_codes_agree_with_scalar_exactly),
           TEST(scores_of_several_queries_are_those_of_each_alone),
           TEST(scans_for_several_queries_are_those_for_each_alone),
           TEST(marked_rows_are_found_and_others_not_looked_at),
           TEST(normalise_gives_unit_length_and_returns_the_former_one),
           TEST(exact_top_is_sorted_with_ties_by_row))
