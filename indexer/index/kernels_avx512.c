/* AVX-512 with VNNI: vpdpbusd multiplies 64 unsigned by 64 signed bytes and adds them to sixteen
 * 32-bit sums in one instruction. */
#include "indexer/index/kernels.h"

#if defined(__x86_64__)

#include <float.h>
#include <immintrin.h>
#include <stdbool.h>
#include <stddef.h>

#include "indexer/index/kernels_avx512.h"

#define AVX512 __attribute__((target(AVX512_TARGET)))

enum { TILE_ROWS = 6, TILE_PANELS = 4 }; /* 24 of the 32 registers hold sums */

AVX512 static inline __mmask16 tail_mask(uint32_t left)
{
    return (__mmask16)(left >= 16 ? 0xffffu : (1u << left) - 1u);
}

AVX512 static float avx512_dot(const float *a, const float *b, uint32_t dim)
{
    __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0;
    uint32_t i = 0;

    for (; i + 32 <= dim; i += 32) {
        sum0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), sum0);
        sum1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), sum1);
    }
    for (; i < dim; i += 16) {
        __mmask16 mask = tail_mask(dim - i);
        sum0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, a + i),
                               _mm512_maskz_loadu_ps(mask, b + i), sum0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
}

AVX512 static float avx512_l2(const float *a, const float *b, uint32_t dim)
{
    __m512 sum0 = _mm512_setzero_ps(), sum1 = sum0;
    uint32_t i = 0;

    for (; i + 32 <= dim; i += 32) {
        __m512 d0 = _mm512_sub_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i));
        __m512 d1 = _mm512_sub_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16));
        sum0 = _mm512_fmadd_ps(d0, d0, sum0);
        sum1 = _mm512_fmadd_ps(d1, d1, sum1);
    }
    for (; i < dim; i += 16) {
        __mmask16 mask = tail_mask(dim - i);
        __m512 d =
            _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, a + i), _mm512_maskz_loadu_ps(mask, b + i));
        sum0 = _mm512_fmadd_ps(d, d, sum0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum0, sum1));
}

AVX512 static inline __m512i squares(__m512i sums, __m512i a, __m512i b)
{
    __m512i difference = _mm512_abs_epi8(_mm512_sub_epi8(a, b));

    return _mm512_dpbusd_epi32(sums, difference, difference);
}

AVX512 static int32_t avx512_code_l2(const uint8_t *a, const uint8_t *b, uint32_t stride)
{
    __m512i sums = _mm512_setzero_si512();

    for (uint32_t i = 0; i < stride; i += 64)
        sums = squares(sums, _mm512_loadu_si512(a + i), _mm512_loadu_si512(b + i));
    return _mm512_reduce_add_epi32(sums);
}

AVX512 static int32_t avx512_code_square(const uint8_t *row, uint32_t stride)
{
    __m512i sums = _mm512_setzero_si512();

    for (uint32_t i = 0; i < stride; i += 64) {
        __m512i codes = _mm512_loadu_si512(row + i);
        sums = _mm512_dpbusd_epi32(sums, codes, codes);
    }
    return _mm512_reduce_add_epi32(sums);
}

AVX512 static inline __m256i add_halves(__m512i v)
{
    return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
}

/* The sums of four registers at once: three rounds of pairwise additions instead of four full
 * reductions. */
AVX512 static inline void reduce_4(const __m512i sums[4], int32_t out[4])
{
    __m256i left = _mm256_hadd_epi32(add_halves(sums[0]), add_halves(sums[1]));
    __m256i right = _mm256_hadd_epi32(add_halves(sums[2]), add_halves(sums[3]));
    __m256i all = _mm256_hadd_epi32(left, right);

    _mm_storeu_si128((void *)out,
                     _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1)));
}

AVX512 static void avx512_code_l2_4(const uint8_t *query, const uint8_t *const rows[4],
                                    uint32_t stride, int32_t distances[4])
{
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                       _mm512_setzero_si512()};

    for (uint32_t i = 0; i < stride; i += 64) {
        __m512i q = _mm512_loadu_si512(query + i);
        sums[0] = squares(sums[0], q, _mm512_loadu_si512(rows[0] + i));
        sums[1] = squares(sums[1], q, _mm512_loadu_si512(rows[1] + i));
        sums[2] = squares(sums[2], q, _mm512_loadu_si512(rows[2] + i));
        sums[3] = squares(sums[3], q, _mm512_loadu_si512(rows[3] + i));
    }
    reduce_4(sums, distances);
}

AVX512 static void avx512_code_dot_4(const int8_t *query, const uint8_t *const rows[4],
                                     uint32_t stride, int32_t products[4])
{
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                       _mm512_setzero_si512()};

    for (uint32_t i = 0; i < stride; i += 64) {
        __m512i q = _mm512_loadu_si512(query + i);
        sums[0] = _mm512_dpbusd_epi32(sums[0], _mm512_loadu_si512(rows[0] + i), q);
        sums[1] = _mm512_dpbusd_epi32(sums[1], _mm512_loadu_si512(rows[1] + i), q);
        sums[2] = _mm512_dpbusd_epi32(sums[2], _mm512_loadu_si512(rows[2] + i), q);
        sums[3] = _mm512_dpbusd_epi32(sums[3], _mm512_loadu_si512(rows[3] + i), q);
    }
    reduce_4(sums, products);
}

/* 128 half codes as codes. */
AVX512 static inline void expand_halves(const uint8_t *halves, __m512i levels, __m512i codes[2])
{
    __m512i mask = _mm512_set1_epi8(15), both = _mm512_loadu_si512(halves);

    codes[0] = _mm512_shuffle_epi8(levels, _mm512_and_si512(both, mask));
    codes[1] = _mm512_shuffle_epi8(levels, _mm512_and_si512(_mm512_srli_epi16(both, 4), mask));
}

AVX512 static void avx512_half_l2_4(const uint8_t *query, const uint8_t *const rows[4],
                                    uint32_t stride, const uint8_t levels[INDEX_HALF_LEVELS],
                                    int32_t distances[4])
{
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)levels));
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                       _mm512_setzero_si512()};

    for (uint32_t i = 0; i < stride; i += 64, query += INDEX_HALF_BLOCK) {
        __m512i lower = _mm512_loadu_si512(query), upper = _mm512_loadu_si512(query + 64), codes[2];
#pragma GCC unroll 4
        for (int row = 0; row < 4; row++) {
            expand_halves(rows[row] + i, table, codes);
            sums[row] = squares(squares(sums[row], lower, codes[0]), upper, codes[1]);
        }
    }
    reduce_4(sums, distances);
}

AVX512 static void avx512_half_dot_4(const int8_t *query, const uint8_t *const rows[4],
                                     uint32_t stride, const uint8_t levels[INDEX_HALF_LEVELS],
                                     int32_t products[4])
{
    __m512i table = _mm512_broadcast_i32x4(_mm_loadu_si128((const void *)levels));
    __m512i sums[4] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(),
                       _mm512_setzero_si512()};

    for (uint32_t i = 0; i < stride; i += 64, query += INDEX_HALF_BLOCK) {
        __m512i lower = _mm512_loadu_si512(query), upper = _mm512_loadu_si512(query + 64), codes[2];
#pragma GCC unroll 4
        for (int row = 0; row < 4; row++) {
            expand_halves(rows[row] + i, table, codes);
            sums[row] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sums[row], codes[0], lower),
                                            codes[1], upper);
        }
    }
    reduce_4(sums, products);
}

/* TILE_ROWS rows against TILE_PANELS panels of 16 columns, sums in registers throughout. The loops
 * have constant bounds: the compiler unrolls them. */
AVX512 static void tile_products(const uint8_t *const rows[TILE_ROWS],
                                 const uint8_t *const panels[TILE_PANELS], uint32_t stride,
                                 int32_t products[TILE_ROWS][TILE_PANELS][16])
{
    __m512i sums[TILE_ROWS][TILE_PANELS];

#pragma GCC unroll 6
    for (int row = 0; row < TILE_ROWS; row++)
#pragma GCC unroll 4
        for (int panel = 0; panel < TILE_PANELS; panel++)
            sums[row][panel] = _mm512_setzero_si512();
    for (uint32_t i = 0; i < stride; i += 4) {
        __m512i columns[TILE_PANELS];
#pragma GCC unroll 4
        for (int panel = 0; panel < TILE_PANELS; panel++)
            columns[panel] = _mm512_loadu_si512(panels[panel] + (size_t)i * 16);
#pragma GCC unroll 6
        for (int row = 0; row < TILE_ROWS; row++) {
            __m512i four = _mm512_set1_epi32(*(const int32_t *)(const void *)(rows[row] + i));
#pragma GCC unroll 4
            for (int panel = 0; panel < TILE_PANELS; panel++)
                sums[row][panel] = _mm512_dpbusd_epi32(sums[row][panel], columns[panel], four);
        }
    }
#pragma GCC unroll 6
    for (int row = 0; row < TILE_ROWS; row++)
#pragma GCC unroll 4
        for (int panel = 0; panel < TILE_PANELS; panel++)
            _mm512_storeu_si512(products[row][panel], sums[row][panel]);
}

/* A tile at the edge repeats its first row and panel; what they compute is not stored. */
AVX512 static void avx512_code_distances(const uint8_t *rows, const int32_t *row_norms,
                                         uint32_t row_count, const uint8_t *panels,
                                         const int32_t *column_norms, uint32_t column_count,
                                         uint32_t stride, int32_t *distances, uint32_t out_stride)
{
    uint32_t panel_count = (column_count + 15) / 16;

    for (uint32_t p = 0; p < panel_count; p += TILE_PANELS) {
        uint32_t panels_filled = panel_count - p < TILE_PANELS ? panel_count - p : TILE_PANELS;
        const uint8_t *panel_set[TILE_PANELS];

        for (uint32_t i = 0; i < TILE_PANELS; i++)
            panel_set[i] = panels + (size_t)(p + (i < panels_filled ? i : 0)) * 16 * stride;
        for (uint32_t row = 0; row < row_count; row += TILE_ROWS) {
            uint32_t rows_filled = row_count - row < TILE_ROWS ? row_count - row : TILE_ROWS;
            const uint8_t *row_set[TILE_ROWS];
            int32_t products[TILE_ROWS][TILE_PANELS][16];

            for (uint32_t i = 0; i < TILE_ROWS; i++)
                row_set[i] = rows + (size_t)(row + (i < rows_filled ? i : 0)) * stride;
            tile_products(row_set, panel_set, stride, products);
            for (uint32_t i = 0; i < rows_filled; i++)
                for (uint32_t j = 0; j < panels_filled; j++)
                    index_avx512_store_distances(
                        row_norms[row + i], column_norms + (p + j) * 16, products[i][j],
                        distances + (size_t)(row + i) * out_stride + (p + j) * 16);
        }
    }
}

/* sorted[0 .. count) = the entries in order, all of them different: an entry's place is the number
 * of smaller ones. Without branches that nobody could predict. Pads `entries` to sixteens. */
AVX512 static void sort_by_rank(uint64_t *entries, uint32_t count, uint64_t *sorted)
{
    const __m512i one = _mm512_set1_epi64(1);

    for (uint32_t i = 0; i < 2; i++)
        _mm512_storeu_si512(entries + count + (size_t)i * 8, _mm512_set1_epi64(INT64_MAX));
    for (uint32_t first = 0; first < count; first += 16) {
        __m512i left = _mm512_loadu_si512(entries + first);
        __m512i right = _mm512_loadu_si512(entries + first + 8);
        __m512i left_ranks = _mm512_setzero_si512(), right_ranks = left_ranks;
        uint64_t ranks[16];
        uint32_t block = count - first < 16 ? count - first : 16;
        for (uint32_t i = 0; i < count; i++) {
            __m512i other = _mm512_set1_epi64((int64_t)entries[i]);
            left_ranks = _mm512_mask_add_epi64(left_ranks, _mm512_cmplt_epi64_mask(other, left),
                                               left_ranks, one);
            right_ranks = _mm512_mask_add_epi64(right_ranks, _mm512_cmplt_epi64_mask(other, right),
                                                right_ranks, one);
        }
        _mm512_storeu_si512(ranks, left_ranks);
        _mm512_storeu_si512(ranks + 8, right_ranks);
        for (uint32_t i = 0; i < block; i++)
            sorted[ranks[i]] = entries[first + i];
    }
}

/* A limit that at least `keep` values are below, and not many more: the smallest value of every
 * lane is one value, so the keep-th smallest of those has keep values at or before it. */
AVX512 static int32_t limit_for(const int32_t *values, uint32_t count, uint32_t keep)
{
    uint32_t vectors = keep <= 16 ? 1 : 2 * INDEX_SMALLEST_MAX / 16;
    uint64_t entries[2 * INDEX_SMALLEST_MAX + 16], sorted[2 * INDEX_SMALLEST_MAX];
    int32_t limit;

    if (count < vectors * 16)
        return INT32_MAX;
    for (uint32_t v = 0; v < vectors; v++) {
        __m512i least = _mm512_loadu_si512(values + (size_t)v * 16), lanes;
        for (uint32_t i = (v + vectors) * 16; i + 16 <= count; i += vectors * 16)
            least = _mm512_min_epi32(least, _mm512_loadu_si512(values + i));
        lanes = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        lanes = _mm512_add_epi64(lanes, _mm512_set1_epi64(v * 16));
        for (uint32_t half = 0; half < 2; half++) {
            __m256i eight =
                half ? _mm512_extracti64x4_epi64(least, 1) : _mm512_castsi512_si256(least);
            __m512i keys = _mm512_slli_epi64(_mm512_cvtepi32_epi64(eight), 32);
            _mm512_storeu_si512(entries + (size_t)v * 16 + (size_t)half * 8,
                                _mm512_or_si512(keys, lanes));
            lanes = _mm512_add_epi64(lanes, _mm512_set1_epi64(8));
        }
    }
    sort_by_rank(entries, vectors * 16, sorted);
    limit = index_neighbour_key(sorted[keep - 1]);
    return limit < INT32_MAX ? limit + 1 : limit;
}

AVX512 static uint32_t avx512_smallest(const int32_t *values, uint32_t count, uint32_t keep,
                                       uint64_t *entries)
{
    const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i limit = _mm512_set1_epi32(limit_for(values, count, keep));
    uint32_t positions[INDEX_SURVIVORS_MAX + 32], found = 0;
    uint64_t survivors[INDEX_SURVIVORS_MAX + 32], sorted[INDEX_SURVIVORS_MAX + 16];

    for (uint32_t i = 0; i < count && found <= INDEX_SURVIVORS_MAX; i += 16) {
        __mmask16 valid = tail_mask(count - i);
        __m512i sixteen = _mm512_maskz_loadu_epi32(valid, values + i);
        __mmask16 mask = _mm512_mask_cmplt_epi32_mask(valid, sixteen, limit);
        __m512i at = _mm512_add_epi32(lanes, _mm512_set1_epi32((int32_t)i));
        _mm512_storeu_si512(positions + found, _mm512_maskz_compress_epi32(mask, at));
        found += (uint32_t)__builtin_popcount(mask);
    }
    if (found > INDEX_SURVIVORS_MAX) /* many alike */
        return index_scalar_smallest(values, count, keep, entries);
    for (uint32_t i = 0; i < found; i++)
        survivors[i] = index_neighbour(values[positions[i]], positions[i]);
    sort_by_rank(survivors, found, sorted);
    found = found < keep ? found : keep;
    for (uint32_t i = 0; i < found; i++)
        entries[i] = sorted[i];
    return found;
}

AVX512 static void avx512_encode(const float *values, const float *low, float per_step,
                                 uint32_t dim, uint8_t *codes)
{
    const __m512 top = _mm512_set1_ps(INDEX_CODE_MAX);

    for (uint32_t i = 0; i < dim; i += 16) {
        __mmask16 mask = tail_mask(dim - i);
        __m512 steps = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, values + i),
                                     _mm512_maskz_loadu_ps(mask, low + i));
        steps = _mm512_mul_ps(steps, _mm512_set1_ps(per_step));
        steps = _mm512_min_ps(_mm512_max_ps(steps, _mm512_setzero_ps()), top);
        _mm512_mask_cvtepi32_storeu_epi8(codes + i, mask, _mm512_cvtps_epi32(steps));
    }
}

AVX512 static void avx512_pq_assign(const float *columns, uint32_t column_stride, uint32_t count,
                                    const float *codewords, uint32_t part_dim, uint8_t *codes)
{
    float halves[INDEX_PQ_CODEWORDS];
    __m512 squares_sum = _mm512_setzero_ps();

    for (uint32_t d = 0; d < part_dim; d++) {
        __m512 words = _mm512_loadu_ps(codewords + (size_t)d * 16);
        squares_sum = _mm512_fmadd_ps(words, words, squares_sum);
    }
    _mm512_storeu_ps(halves, _mm512_mul_ps(squares_sum, _mm512_set1_ps(0.5f)));
    for (uint32_t i = 0; i < count; i += 16) {
        __m512 distances[INDEX_PQ_CODEWORDS], best;
        __m512i chosen = _mm512_setzero_si512();
#pragma GCC unroll 16
        for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
            distances[j] = _mm512_set1_ps(halves[j]);
        for (uint32_t d = 0; d < part_dim; d++) {
            __m512 values = _mm512_loadu_ps(columns + (size_t)d * column_stride + i);
#pragma GCC unroll 16
            for (uint32_t j = 0; j < INDEX_PQ_CODEWORDS; j++)
                distances[j] =
                    _mm512_fnmadd_ps(values, _mm512_set1_ps(codewords[d * 16 + j]), distances[j]);
        }
        best = distances[0];
#pragma GCC unroll 16
        for (uint32_t j = 1; j < INDEX_PQ_CODEWORDS; j++) {
            __mmask16 nearer = _mm512_cmp_ps_mask(distances[j], best, _CMP_LT_OQ);
            best = _mm512_mask_mov_ps(best, nearer, distances[j]);
            chosen = _mm512_mask_mov_epi32(chosen, nearer, _mm512_set1_epi32((int32_t)j));
        }
        _mm_storeu_si128((void *)(codes + i), _mm512_cvtepi32_epi8(chosen));
    }
}

AVX512 static void avx512_pq_products(const float *vector, const float *codebook,
                                      uint32_t part_count, uint32_t part_dim, float *products)
{
    for (uint32_t part = 0; part < part_count; part++) {
        __m512 sums = _mm512_setzero_ps();
        for (uint32_t d = 0; d < part_dim; d++, vector++, codebook += INDEX_PQ_CODEWORDS)
            sums = _mm512_fmadd_ps(_mm512_set1_ps(*vector), _mm512_loadu_ps(codebook), sums);
        _mm512_storeu_ps(products + (size_t)part * INDEX_PQ_CODEWORDS, sums);
    }
}

AVX512 static float avx512_pq_ranges(const float *products, uint32_t part_count, float factor,
                                     float *least)
{
    __m512 factors = _mm512_set1_ps(factor), widest = _mm512_setzero_ps();

    for (uint32_t part = 0; part < part_count; part++) {
        __m512 scaled =
            _mm512_mul_ps(factors, _mm512_loadu_ps(products + (size_t)part * INDEX_PQ_CODEWORDS));
        least[part] = _mm512_reduce_min_ps(_mm512_min_ps(scaled, _mm512_set1_ps(FLT_MAX)));
        widest = _mm512_max_ps(_mm512_sub_ps(scaled, _mm512_set1_ps(least[part])), widest);
    }
    return _mm512_reduce_max_ps(widest);
}

AVX512 static void avx512_pq_round(const float *products, const float *least, uint32_t part_count,
                                   float factor, float unit, uint8_t *tables)
{
    __m512 factors = _mm512_set1_ps(factor), units = _mm512_set1_ps(unit);

    for (uint32_t part = 0; part < part_count; part++) {
        __m512 scaled =
            _mm512_mul_ps(factors, _mm512_loadu_ps(products + (size_t)part * INDEX_PQ_CODEWORDS));
        __m512 entries = _mm512_div_ps(_mm512_sub_ps(scaled, _mm512_set1_ps(least[part])), units);
        __m128i bytes;
        entries = _mm512_max_ps(entries, _mm512_setzero_ps()); /* 0 for NaN */
        entries = _mm512_min_ps(entries, _mm512_set1_ps(INDEX_PQ_TABLE_MAX));
        bytes =
            _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(_mm512_add_ps(entries, _mm512_set1_ps(0.5f))));
        _mm256_storeu_si256((void *)(tables + index_pq_table_place(part)),
                            _mm256_broadcastsi128_si256(bytes));
    }
}

/* The sums of even and of odd bytes of 64: an addition of pairs as 16-bit numbers leaves the odd
 * bytes' sums in the way of the even bytes', and they are taken off at the end. */
struct byte_sums {
    __m512i pairs, odd;
};

/* Odd bytes are taken out by a multiplication: a shift would wait for the units that look up. */
AVX512 static inline void add_bytes(struct byte_sums *sums, __m512i bytes)
{
    const __m512i take_odd = _mm512_set1_epi16(0x0100);

    sums->pairs = _mm512_add_epi16(sums->pairs, bytes);
    sums->odd = _mm512_add_epi16(sums->odd, _mm512_maddubs_epi16(bytes, take_odd));
}

struct nibbles {
    __m512i low, high;
};

AVX512 static inline struct nibbles split(const uint8_t *codes)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i both = _mm512_loadu_si512(codes);

    return (struct nibbles){_mm512_and_si512(both, nibble),
                            _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble)};
}

AVX512 static inline __m512i look_up(struct nibbles codes, __m512i low_table, __m512i high_table)
{
    return _mm512_add_epi8(_mm512_shuffle_epi8(low_table, codes.low),
                           _mm512_shuffle_epi8(high_table, codes.high));
}

/* Adds the biases of a block, stores its 32 sums, returns which are below the limit. */
AVX512 static inline uint32_t finish_block(const struct index_pq_scan *scan,
                                           const struct byte_sums *bytes, uint32_t block,
                                           uint16_t *sums)
{
    size_t first = (size_t)block * INDEX_PQ_BLOCK_ROWS;
    __m512i even = _mm512_sub_epi16(bytes->pairs, _mm512_slli_epi16(bytes->odd, 8));
    __m512i odd = bytes->odd;
    __m256i low =
        _mm256_add_epi16(_mm512_castsi512_si256(even), _mm512_extracti64x4_epi64(even, 1));
    __m256i high = _mm256_add_epi16(_mm512_castsi512_si256(odd), _mm512_extracti64x4_epi64(odd, 1));
    __m512i all = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);

    if (scan->biases) {
        __m512i biases = _mm512_loadu_si512(scan->biases + first);
        __m512i scale = _mm512_set1_epi16((short)scan->bias_scale);
        all = _mm512_adds_epu16(all, _mm512_mulhi_epu16(biases, scale));
    }
    _mm512_storeu_si512(sums + first, all);
    return _mm512_cmplt_epu16_mask(all, _mm512_set1_epi16((short)scan->limit));
}

/* Two blocks at a time share the loads of the tables. */
AVX512 static void avx512_pq_scan(const struct index_pq_scan *scan, uint16_t *sums, uint32_t *masks)
{
    const struct byte_sums none = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    size_t block_bytes = (size_t)scan->quad_count * 64;

    for (uint32_t block = 0; block < scan->block_count; block += 2) {
        const uint8_t *codes = scan->blocks + block * block_bytes;
        size_t second = block + 1 < scan->block_count ? block_bytes : 0;
        struct byte_sums left = none, right = none;
        for (uint32_t quad = 0; quad < scan->quad_count; quad++) {
            __m512i low = _mm512_loadu_si512(scan->tables + (size_t)quad * 128);
            __m512i high = _mm512_loadu_si512(scan->tables + (size_t)quad * 128 + 64);
            add_bytes(&left, look_up(split(codes + (size_t)quad * 64), low, high));
            add_bytes(&right, look_up(split(codes + second + (size_t)quad * 64), low, high));
        }
        masks[block] = finish_block(scan, &left, block, sums);
        if (second)
            masks[block + 1] = finish_block(scan, &right, block + 1, sums);
    }
}

/* Two blocks and up to four queries: sixteen registers of sums. Codes are loaded and split once for
 * all queries, tables once for both blocks. */
AVX512 static inline __attribute__((always_inline)) void scan_for(
    const struct index_pq_scan *scan, const struct index_pq_query *queries, uint32_t count)
{
    const struct byte_sums none = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    size_t block_bytes = (size_t)scan->quad_count * 64;

    for (uint32_t block = 0; block < scan->block_count; block += 2) {
        const uint8_t *codes = scan->blocks + block * block_bytes;
        size_t second = block + 1 < scan->block_count ? block_bytes : 0;
        struct byte_sums left[INDEX_PQ_QUERIES], right[INDEX_PQ_QUERIES];
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++)
            left[i] = right[i] = none;
        for (size_t quad = 0; quad < scan->quad_count; quad++) {
            struct nibbles first = split(codes + quad * 64);
            struct nibbles other = split(codes + second + quad * 64);
#pragma GCC unroll 4
            for (uint32_t i = 0; i < count; i++) {
                __m512i low = _mm512_loadu_si512(queries[i].tables + quad * 128);
                __m512i high = _mm512_loadu_si512(queries[i].tables + quad * 128 + 64);
                add_bytes(&left[i], look_up(first, low, high));
                add_bytes(&right[i], look_up(other, low, high));
            }
        }
#pragma GCC unroll 4
        for (uint32_t i = 0; i < count; i++) {
            struct index_pq_scan own = *scan;
            own.bias_scale = queries[i].bias_scale;
            own.limit = queries[i].limit;
            queries[i].masks[block] = finish_block(&own, &left[i], block, queries[i].sums);
            if (second)
                queries[i].masks[block + 1] =
                    finish_block(&own, &right[i], block + 1, queries[i].sums);
        }
    }
}

AVX512 static void avx512_pq_scan_many(const struct index_pq_scan *scan,
                                       const struct index_pq_query *queries, uint32_t query_count)
{
    if (query_count == 4)
        scan_for(scan, queries, 4);
    else if (query_count == 3)
        scan_for(scan, queries, 3);
    else if (query_count == 2)
        scan_for(scan, queries, 2);
    else
        scan_for(scan, queries, 1);
}

/* Sums of two halves, as avx512_dot keeps them: what is added to what, and when, is the same. */
struct float_sums {
    __m512 even, odd;
};

AVX512 static inline __m512 add_term(__m512 sum, __m512 query, __m512 row, bool l2)
{
    __m512 difference;

    if (!l2)
        return _mm512_fmadd_ps(query, row, sum);
    difference = _mm512_sub_ps(query, row);
    return _mm512_fmadd_ps(difference, difference, sum);
}

/* Two rows and four queries: each load of a row serves four products, each of a query two. */
AVX512 static inline __attribute__((always_inline)) void score_tile(const float *const *queries,
                                                                    const float *rows,
                                                                    size_t next_row, uint32_t dim,
                                                                    bool l2, float *const *scores,
                                                                    uint32_t row)
{
    struct float_sums left[INDEX_TILE_QUERIES], right[INDEX_TILE_QUERIES];
    const float *other = rows + next_row;
    uint32_t d = 0;

#pragma GCC unroll 4
    for (uint32_t q = 0; q < INDEX_TILE_QUERIES; q++)
        left[q].even = left[q].odd = right[q].even = right[q].odd = _mm512_setzero_ps();
    for (; d + 32 <= dim; d += 32) {
        __m512 a = _mm512_loadu_ps(rows + d), b = _mm512_loadu_ps(rows + d + 16);
        __m512 c = _mm512_loadu_ps(other + d), e = _mm512_loadu_ps(other + d + 16);
#pragma GCC unroll 4
        for (uint32_t q = 0; q < INDEX_TILE_QUERIES; q++) {
            __m512 even = _mm512_loadu_ps(queries[q] + d);
            __m512 odd = _mm512_loadu_ps(queries[q] + d + 16);
            left[q].even = add_term(left[q].even, even, a, l2);
            left[q].odd = add_term(left[q].odd, odd, b, l2);
            right[q].even = add_term(right[q].even, even, c, l2);
            right[q].odd = add_term(right[q].odd, odd, e, l2);
        }
    }
    for (; d < dim; d += 16) {
        __mmask16 mask = tail_mask(dim - d);
        __m512 a = _mm512_maskz_loadu_ps(mask, rows + d);
        __m512 c = _mm512_maskz_loadu_ps(mask, other + d);
#pragma GCC unroll 4
        for (uint32_t q = 0; q < INDEX_TILE_QUERIES; q++) {
            __m512 even = _mm512_maskz_loadu_ps(mask, queries[q] + d);
            left[q].even = add_term(left[q].even, even, a, l2);
            right[q].even = add_term(right[q].even, even, c, l2);
        }
    }
#pragma GCC unroll 4
    for (uint32_t q = 0; q < INDEX_TILE_QUERIES; q++) {
        scores[q][row] = _mm512_reduce_add_ps(_mm512_add_ps(left[q].even, left[q].odd));
        if (next_row)
            scores[q][row + 1] = _mm512_reduce_add_ps(_mm512_add_ps(right[q].even, right[q].odd));
    }
}

AVX512 static void avx512_dot_4(const float *const *queries, const float *rows, uint32_t count,
                                uint32_t dim, float *const *scores)
{
    for (uint32_t row = 0; row < count; row += 2)
        score_tile(queries, rows + (size_t)row * dim, row + 1 < count ? dim : 0, dim, false, scores,
                   row);
}

AVX512 static void avx512_l2_4(const float *const *queries, const float *rows, uint32_t count,
                               uint32_t dim, float *const *scores)
{
    for (uint32_t row = 0; row < count; row += 2)
        score_tile(queries, rows + (size_t)row * dim, row + 1 < count ? dim : 0, dim, true, scores,
                   row);
}

/* Words of 32 bits, as little-endian words of 64 lie. */
AVX512 static inline uint32_t sixteen_marked(const uint32_t *rows, const uint64_t *bits,
                                             __mmask16 wanted)
{
    __m512i row = _mm512_loadu_si512(rows);
    __m512i words = _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), wanted,
                                                _mm512_srli_epi32(row, 5), bits, sizeof(uint32_t));
    __m512i places = _mm512_and_si512(row, _mm512_set1_epi32(31));

    return _mm512_test_epi32_mask(words, _mm512_sllv_epi32(_mm512_set1_epi32(1), places));
}

AVX512 static uint32_t avx512_rows_marked(const uint32_t *rows, const uint64_t *bits, uint32_t mask)
{
    return sixteen_marked(rows, bits, (__mmask16)mask) |
           sixteen_marked(rows + 16, bits, (__mmask16)(mask >> 16)) << 16;
}

const struct index_kernels index_kernels_avx512 = {
    .name = "avx512",
    .dot = avx512_dot,
    .l2 = avx512_l2,
    .code_l2_4 = avx512_code_l2_4,
    .code_dot_4 = avx512_code_dot_4,
    .half_l2_4 = avx512_half_l2_4,
    .half_dot_4 = avx512_half_dot_4,
    .code_l2 = avx512_code_l2,
    .code_square = avx512_code_square,
    .code_pack = index_avx2_code_pack, /* moves memory: wider registers gain nothing */
    .code_distances = avx512_code_distances,
    .smallest = avx512_smallest,
    .encode = avx512_encode,
    .pq_assign = avx512_pq_assign,
    .pq_products = avx512_pq_products,
    .pq_ranges = avx512_pq_ranges,
    .pq_round = avx512_pq_round,
    .pq_scan = avx512_pq_scan,
    .pq_scan_many = avx512_pq_scan_many,
    .dot_4 = avx512_dot_4,
    .l2_4 = avx512_l2_4,
    .rows_marked = avx512_rows_marked,
};

#endif
