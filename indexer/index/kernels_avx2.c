/* AVX2 and FMA. The integer loops use vpmaddubsw (unsigned times signed bytes, pairs added to 16
 * bits), which cannot saturate on 7-bit codes, then vpmaddwd with ones to widen to 32 bits. */
#include "indexer/index/kernels.h"

#if defined(__x86_64__)

#include <float.h>
#include <immintrin.h>
#include <stddef.h>

#define AVX2 __attribute__((target("avx2,fma")))

AVX2 static inline float sum_floats(__m256 v)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));

    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    s = _mm_add_ss(s, _mm_shuffle_ps(s, s, 1));
    return _mm_cvtss_f32(s);
}

AVX2 static inline int32_t sum_integers(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));

    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

AVX2 static inline __m256i load(const void *bytes)
{
    return _mm256_loadu_si256(bytes);
}

/* sums + unsigned * signed, four bytes to a 32-bit lane */
AVX2 static inline __m256i accumulate(__m256i sums, __m256i is_unsigned, __m256i is_signed)
{
    __m256i pairs = _mm256_maddubs_epi16(is_unsigned, is_signed);

    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

AVX2 static float avx2_dot(const float *a, const float *b, uint32_t dim)
{
    __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0;
    float sum;
    uint32_t i = 0;

    for (; i + 16 <= dim; i += 16) {
        sum0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), sum0);
        sum1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), sum1);
    }
    sum = sum_floats(_mm256_add_ps(sum0, sum1));
    for (; i < dim; i++)
        sum += a[i] * b[i];
    return sum;
}

AVX2 static float avx2_l2(const float *a, const float *b, uint32_t dim)
{
    __m256 sum0 = _mm256_setzero_ps(), sum1 = sum0;
    float sum;
    uint32_t i = 0;

    for (; i + 16 <= dim; i += 16) {
        __m256 d0 = _mm256_sub_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i));
        __m256 d1 = _mm256_sub_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8));
        sum0 = _mm256_fmadd_ps(d0, d0, sum0);
        sum1 = _mm256_fmadd_ps(d1, d1, sum1);
    }
    sum = sum_floats(_mm256_add_ps(sum0, sum1));
    for (; i < dim; i++)
        sum += (a[i] - b[i]) * (a[i] - b[i]);
    return sum;
}

AVX2 static inline __m256i squares(__m256i sums, __m256i a, __m256i b)
{
    __m256i difference = _mm256_abs_epi8(_mm256_sub_epi8(a, b));

    return accumulate(sums, difference, difference);
}

AVX2 static int32_t avx2_code_l2(const uint8_t *a, const uint8_t *b, uint32_t stride)
{
    __m256i sums = _mm256_setzero_si256();

    for (uint32_t i = 0; i < stride; i += 32)
        sums = squares(sums, load(a + i), load(b + i));
    return sum_integers(sums);
}

AVX2 static int32_t avx2_code_square(const uint8_t *row, uint32_t stride)
{
    __m256i sums = _mm256_setzero_si256();

    for (uint32_t i = 0; i < stride; i += 32)
        sums = accumulate(sums, load(row + i), load(row + i));
    return sum_integers(sums);
}

/* Eight rows, 32 bytes of each: an 8 x 8 transpose of 32-bit words. Rows past the end are zero. */
AVX2 static void pack_8(const uint8_t *rows, uint32_t count, uint32_t stride, uint32_t i,
                        uint8_t *out)
{
    __m256i r[8], t[8];

    for (uint32_t k = 0; k < 8; k++)
        r[k] = k < count ? load(rows + (size_t)k * stride + i) : _mm256_setzero_si256();
    for (uint32_t k = 0; k < 8; k += 2) {
        t[k] = _mm256_unpacklo_epi32(r[k], r[k + 1]);
        t[k + 1] = _mm256_unpackhi_epi32(r[k], r[k + 1]);
    }
    for (uint32_t k = 0; k < 8; k += 4) {
        r[k] = _mm256_unpacklo_epi64(t[k], t[k + 2]);
        r[k + 1] = _mm256_unpackhi_epi64(t[k], t[k + 2]);
        r[k + 2] = _mm256_unpacklo_epi64(t[k + 1], t[k + 3]);
        r[k + 3] = _mm256_unpackhi_epi64(t[k + 1], t[k + 3]);
    }
    for (uint32_t k = 0; k < 4; k++) {
        _mm256_storeu_si256((void *)(out + (size_t)k * 64),
                            _mm256_permute2x128_si256(r[k], r[k + 4], 0x20));
        _mm256_storeu_si256((void *)(out + (size_t)(k + 4) * 64),
                            _mm256_permute2x128_si256(r[k], r[k + 4], 0x31));
    }
}

AVX2 void index_avx2_code_pack(const uint8_t *rows, uint32_t count, uint32_t stride,
                               uint8_t *panels)
{
    for (uint32_t first = 0; first < count; first += INDEX_PANEL_COLUMNS)
        for (uint32_t i = 0; i < stride; i += 32) {
            const uint8_t *from = rows + (size_t)first * stride;
            uint8_t *out = panels + (size_t)first * stride + (size_t)i * INDEX_PANEL_COLUMNS;
            uint32_t left = count - first;
            pack_8(from, left, stride, i, out);
            pack_8(from + (size_t)8 * stride, left > 8 ? left - 8 : 0, stride, i, out + 32);
        }
}

AVX2 static void avx2_code_l2_4(const uint8_t *query, const uint8_t *const rows[4], uint32_t stride,
                                int32_t distances[4])
{
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256()};

    for (uint32_t i = 0; i < stride; i += 32) {
        __m256i q = load(query + i);
        for (int row = 0; row < 4; row++)
            sums[row] = squares(sums[row], q, load(rows[row] + i));
    }
    for (int row = 0; row < 4; row++)
        distances[row] = sum_integers(sums[row]);
}

AVX2 static void avx2_code_dot_4(const int8_t *query, const uint8_t *const rows[4], uint32_t stride,
                                 int32_t products[4])
{
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256()};

    for (uint32_t i = 0; i < stride; i += 32) {
        __m256i q = load(query + i);
        for (int row = 0; row < 4; row++)
            sums[row] = accumulate(sums[row], load(rows[row] + i), q);
    }
    for (int row = 0; row < 4; row++)
        products[row] = sum_integers(sums[row]);
}

/* 64 half codes, 32 dimensions from the lower halves of bytes and 32 from the upper, as codes. */
AVX2 static inline void expand_halves(const uint8_t *halves, __m256i levels, __m256i codes[2])
{
    __m256i mask = _mm256_set1_epi8(15), both = load(halves);

    codes[0] = _mm256_shuffle_epi8(levels, _mm256_and_si256(both, mask));
    codes[1] = _mm256_shuffle_epi8(levels, _mm256_and_si256(_mm256_srli_epi16(both, 4), mask));
}

AVX2 static void avx2_half_l2_4(const uint8_t *query, const uint8_t *const rows[4], uint32_t stride,
                                const uint8_t levels[INDEX_HALF_LEVELS], int32_t distances[4])
{
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)levels));
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256()};

    for (uint32_t i = 0; i < stride; i += 32) {
        const uint8_t *of = query + i / 64 * INDEX_HALF_BLOCK + i % 64;
        __m256i lower = load(of), upper = load(of + 64), codes[2];
        for (int row = 0; row < 4; row++) {
            expand_halves(rows[row] + i, table, codes);
            sums[row] = squares(squares(sums[row], lower, codes[0]), upper, codes[1]);
        }
    }
    for (int row = 0; row < 4; row++)
        distances[row] = sum_integers(sums[row]);
}

AVX2 static void avx2_half_dot_4(const int8_t *query, const uint8_t *const rows[4], uint32_t stride,
                                 const uint8_t levels[INDEX_HALF_LEVELS], int32_t products[4])
{
    __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)levels));
    __m256i sums[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                       _mm256_setzero_si256()};

    for (uint32_t i = 0; i < stride; i += 32) {
        const int8_t *of = query + i / 64 * INDEX_HALF_BLOCK + i % 64;
        __m256i lower = load(of), upper = load(of + 64), codes[2];
        for (int row = 0; row < 4; row++) {
            expand_halves(rows[row] + i, table, codes);
            sums[row] = accumulate(accumulate(sums[row], codes[0], lower), codes[1], upper);
        }
    }
    for (int row = 0; row < 4; row++)
        products[row] = sum_integers(sums[row]);
}

/* Up to four rows against one panel; the caller repeats the last row to fill four. */
AVX2 static void panel_distances(const uint8_t *const rows[4], const uint8_t *panel,
                                 uint32_t stride, __m256i products[4][2])
{
    for (int row = 0; row < 4; row++)
        products[row][0] = products[row][1] = _mm256_setzero_si256();
    for (uint32_t i = 0; i < stride; i += 4, panel += 64) {
        __m256i left = load(panel), right = load(panel + 32);
        for (int row = 0; row < 4; row++) {
            __m256i four = _mm256_set1_epi32(*(const int32_t *)(const void *)(rows[row] + i));
            products[row][0] = accumulate(products[row][0], four, left);
            products[row][1] = accumulate(products[row][1], four, right);
        }
    }
}

AVX2 static void avx2_code_distances(const uint8_t *rows, const int32_t *row_norms,
                                     uint32_t row_count, const uint8_t *panels,
                                     const int32_t *column_norms, uint32_t column_count,
                                     uint32_t stride, int32_t *distances, uint32_t out_stride)
{
    for (uint32_t column = 0; column < column_count; column += INDEX_PANEL_COLUMNS)
        for (uint32_t row = 0; row < row_count; row += 4) {
            uint32_t filled = row_count - row < 4 ? row_count - row : 4;
            const uint8_t *four[4];
            __m256i products[4][2];

            for (uint32_t i = 0; i < 4; i++)
                four[i] = rows + (size_t)(row + (i < filled ? i : 0)) * stride;
            panel_distances(four, panels + (size_t)column * stride, stride, products);
            for (uint32_t i = 0; i < filled; i++)
                for (uint32_t half = 0; half < 2; half++) {
                    __m256i norms = _mm256_add_epi32(_mm256_set1_epi32(row_norms[row + i]),
                                                     load(column_norms + column + 8 * half));
                    norms = _mm256_sub_epi32(norms, _mm256_slli_epi32(products[i][half], 1));
                    _mm256_storeu_si256(
                        (void *)(distances + (size_t)(row + i) * out_stride + column + 8 * half),
                        norms);
                }
        }
}

/* As in kernels_avx512.c: an entry's place is the number of smaller ones. */
AVX2 static void sort_by_rank(uint64_t *entries, uint32_t count, uint64_t *sorted)
{
    for (uint32_t i = 0; i < 8; i++)
        entries[count + i] = INT64_MAX;
    for (uint32_t first = 0; first < count; first += 8) {
        __m256i left = load(entries + first), right = load(entries + first + 4);
        __m256i left_ranks = _mm256_setzero_si256(), right_ranks = left_ranks;
        uint64_t ranks[8];
        uint32_t block = count - first < 8 ? count - first : 8;
        for (uint32_t i = 0; i < count; i++) {
            __m256i other = _mm256_set1_epi64x((int64_t)entries[i]);
            left_ranks = _mm256_sub_epi64(left_ranks, _mm256_cmpgt_epi64(left, other));
            right_ranks = _mm256_sub_epi64(right_ranks, _mm256_cmpgt_epi64(right, other));
        }
        _mm256_storeu_si256((void *)ranks, left_ranks);
        _mm256_storeu_si256((void *)(ranks + 4), right_ranks);
        for (uint32_t i = 0; i < block; i++)
            sorted[ranks[i]] = entries[first + i];
    }
}

AVX2 static int32_t limit_for(const int32_t *values, uint32_t count, uint32_t keep)
{
    uint32_t lanes = keep <= 16 ? 16 : 2 * INDEX_SMALLEST_MAX;
    uint64_t entries[2 * INDEX_SMALLEST_MAX + 8], sorted[2 * INDEX_SMALLEST_MAX];
    int32_t minima[2 * INDEX_SMALLEST_MAX], limit;

    if (count < lanes)
        return INT32_MAX;
    for (uint32_t first = 0; first < lanes; first += 8) {
        __m256i least = load(values + first);
        for (uint32_t i = first + lanes; i + 8 <= count; i += lanes)
            least = _mm256_min_epi32(least, load(values + i));
        _mm256_storeu_si256((void *)(minima + first), least);
    }
    for (uint32_t lane = 0; lane < lanes; lane++)
        entries[lane] = index_neighbour(minima[lane], lane);
    sort_by_rank(entries, lanes, sorted);
    limit = index_neighbour_key(sorted[keep - 1]);
    return limit < INT32_MAX ? limit + 1 : limit;
}

AVX2 static uint32_t avx2_smallest(const int32_t *values, uint32_t count, uint32_t keep,
                                   uint64_t *entries)
{
    int32_t limit = limit_for(values, count, keep);
    __m256i limits = _mm256_set1_epi32(limit);
    uint64_t survivors[INDEX_SURVIVORS_MAX + 16], sorted[INDEX_SURVIVORS_MAX + 8];
    uint32_t found = 0, i = 0;

    for (; i + 8 <= count && found <= INDEX_SURVIVORS_MAX; i += 8) {
        __m256i is_below = _mm256_cmpgt_epi32(limits, load(values + i));
        uint32_t mask = (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(is_below));
        for (; mask; mask &= mask - 1, found++) {
            uint32_t at = i + (uint32_t)__builtin_ctz(mask);
            survivors[found] = index_neighbour(values[at], at);
        }
    }
    for (; i < count && found <= INDEX_SURVIVORS_MAX; i++)
        if (values[i] < limit)
            survivors[found++] = index_neighbour(values[i], i);
    if (found > INDEX_SURVIVORS_MAX) /* many alike */
        return index_scalar_smallest(values, count, keep, entries);
    sort_by_rank(survivors, found, sorted);
    found = found < keep ? found : keep;
    for (i = 0; i < found; i++)
        entries[i] = sorted[i];
    return found;
}

AVX2 static void avx2_encode(const float *values, const float *low, float per_step, uint32_t dim,
                             uint8_t *codes)
{
    const __m256i pick =
        _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12,
                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    uint32_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        __m256 steps = _mm256_sub_ps(_mm256_loadu_ps(values + i), _mm256_loadu_ps(low + i));
        __m256i eight;
        steps = _mm256_mul_ps(steps, _mm256_set1_ps(per_step));
        steps = _mm256_max_ps(steps, _mm256_setzero_ps());
        steps = _mm256_min_ps(steps, _mm256_set1_ps(INDEX_CODE_MAX));
        eight = _mm256_shuffle_epi8(_mm256_cvtps_epi32(steps), pick);
        eight = _mm256_permutevar8x32_epi32(eight, _mm256_setr_epi32(0, 4, 0, 0, 0, 0, 0, 0));
        _mm_storel_epi64((void *)(codes + i), _mm256_castsi256_si128(eight));
    }
    if (i < dim)
        index_kernels_scalar.encode(values + i, low + i, per_step, dim - i, codes + i);
}

/* Eight codewords at a time: their distances are all the registers there are. */
AVX2 static void assign_eight(const float *columns, uint32_t column_stride, const float *codewords,
                              const float halves[8], uint32_t part_dim, uint32_t first,
                              __m256 *best, __m256i *chosen)
{
    __m256 distances[8];

#pragma GCC unroll 8
    for (uint32_t j = 0; j < 8; j++)
        distances[j] = _mm256_set1_ps(halves[j]);
    for (uint32_t d = 0; d < part_dim; d++) {
        __m256 values = _mm256_loadu_ps(columns + (size_t)d * column_stride);
#pragma GCC unroll 8
        for (uint32_t j = 0; j < 8; j++)
            distances[j] =
                _mm256_fnmadd_ps(values, _mm256_set1_ps(codewords[d * 16 + j]), distances[j]);
    }
#pragma GCC unroll 8
    for (uint32_t j = 0; j < 8; j++) {
        __m256 nearer = _mm256_cmp_ps(distances[j], *best, _CMP_LT_OQ);
        __m256i number = _mm256_set1_epi32((int32_t)(first + j));
        *best = _mm256_blendv_ps(*best, distances[j], nearer);
        *chosen = _mm256_blendv_epi8(*chosen, number, _mm256_castps_si256(nearer));
    }
}

AVX2 static void avx2_pq_assign(const float *columns, uint32_t column_stride, uint32_t count,
                                const float *codewords, uint32_t part_dim, uint8_t *codes)
{
    float halves[INDEX_PQ_CODEWORDS];
    __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};

    for (uint32_t d = 0; d < part_dim; d++)
        for (int half = 0; half < 2; half++) {
            __m256 words = _mm256_loadu_ps(codewords + (size_t)d * 16 + half * 8);
            sums[half] = _mm256_fmadd_ps(words, words, sums[half]);
        }
    for (int half = 0; half < 2; half++)
        _mm256_storeu_ps(halves + half * 8, _mm256_mul_ps(sums[half], _mm256_set1_ps(0.5f)));
    for (uint32_t i = 0; i < count; i += 8) {
        __m256 best = _mm256_set1_ps(__builtin_inff());
        __m256i chosen = _mm256_setzero_si256();
        int32_t eight[8];
        assign_eight(columns + i, column_stride, codewords, halves, part_dim, 0, &best, &chosen);
        assign_eight(columns + i, column_stride, codewords + 8, halves + 8, part_dim, 8, &best,
                     &chosen);
        _mm256_storeu_si256((void *)eight, chosen);
        for (uint32_t j = 0; j < 8; j++)
            codes[i + j] = (uint8_t)eight[j];
    }
}

AVX2 static void avx2_pq_products(const float *vector, const float *codebook, uint32_t part_count,
                                  uint32_t part_dim, float *products)
{
    for (uint32_t part = 0; part < part_count; part++, products += INDEX_PQ_CODEWORDS) {
        __m256 left = _mm256_setzero_ps(), right = left;
        for (uint32_t d = 0; d < part_dim; d++, vector++, codebook += INDEX_PQ_CODEWORDS) {
            __m256 value = _mm256_set1_ps(*vector);
            left = _mm256_fmadd_ps(value, _mm256_loadu_ps(codebook), left);
            right = _mm256_fmadd_ps(value, _mm256_loadu_ps(codebook + 8), right);
        }
        _mm256_storeu_ps(products, left);
        _mm256_storeu_ps(products + 8, right);
    }
}

AVX2 static inline float smallest_of(__m256 eight)
{
    __m128 four = _mm_min_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));

    four = _mm_min_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_min_ss(four, _mm_movehdup_ps(four)));
}

AVX2 static inline float largest_of(__m256 eight)
{
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));

    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
}

AVX2 static float avx2_pq_ranges(const float *products, uint32_t part_count, float factor,
                                 float *least)
{
    __m256 factors = _mm256_set1_ps(factor), bound = _mm256_set1_ps(FLT_MAX);
    __m256 widest = _mm256_setzero_ps();

    for (uint32_t part = 0; part < part_count; part++, products += INDEX_PQ_CODEWORDS) {
        __m256 left = _mm256_mul_ps(factors, _mm256_loadu_ps(products));
        __m256 right = _mm256_mul_ps(factors, _mm256_loadu_ps(products + 8));
        __m256 lows;
        least[part] =
            smallest_of(_mm256_min_ps(_mm256_min_ps(left, bound), _mm256_min_ps(right, bound)));
        lows = _mm256_set1_ps(least[part]);
        widest = _mm256_max_ps(_mm256_sub_ps(left, lows), widest);
        widest = _mm256_max_ps(_mm256_sub_ps(right, lows), widest);
    }
    return largest_of(widest);
}

AVX2 static inline __m256i round_eight(__m256 scaled, float least, float unit)
{
    __m256 entries =
        _mm256_div_ps(_mm256_sub_ps(scaled, _mm256_set1_ps(least)), _mm256_set1_ps(unit));

    entries = _mm256_max_ps(entries, _mm256_setzero_ps()); /* 0 for NaN */
    entries = _mm256_min_ps(entries, _mm256_set1_ps(INDEX_PQ_TABLE_MAX));
    return _mm256_cvttps_epi32(_mm256_add_ps(entries, _mm256_set1_ps(0.5f)));
}

AVX2 static void avx2_pq_round(const float *products, const float *least, uint32_t part_count,
                               float factor, float unit, uint8_t *tables)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
    __m256 factors = _mm256_set1_ps(factor);

    for (uint32_t part = 0; part < part_count; part++, products += INDEX_PQ_CODEWORDS) {
        __m256i left =
            round_eight(_mm256_mul_ps(factors, _mm256_loadu_ps(products)), least[part], unit);
        __m256i right =
            round_eight(_mm256_mul_ps(factors, _mm256_loadu_ps(products + 8)), least[part], unit);
        __m256i words = _mm256_packs_epi32(left, right);
        __m256i bytes = _mm256_packus_epi16(words, words);
        _mm256_storeu_si256((void *)(tables + index_pq_table_place(part)),
                            _mm256_permutevar8x32_epi32(bytes, order));
    }
}

/* Adds the bias of sixteen rows, stores their sums, returns which are below the limit. */
AVX2 static inline uint32_t finish_sixteen(const struct index_pq_scan *scan, __m256i all,
                                           size_t first, uint16_t *sums)
{
    __m256i last = _mm256_set1_epi16((short)(scan->limit - 1)), at_most;

    if (scan->biases) {
        __m256i scale = _mm256_set1_epi16((short)scan->bias_scale);
        all = _mm256_adds_epu16(all, _mm256_mulhi_epu16(load(scan->biases + first), scale));
    }
    _mm256_storeu_si256((void *)(sums + first), all);
    at_most = _mm256_cmpeq_epi16(_mm256_min_epu16(all, last), all);
    at_most = _mm256_packs_epi16(at_most, _mm256_setzero_si256());
    at_most = _mm256_permute4x64_epi64(at_most, 0xd8);
    return scan->limit == 0 ? 0 : (uint32_t)_mm256_movemask_epi8(at_most);
}

AVX2 static void avx2_pq_scan(const struct index_pq_scan *scan, uint16_t *sums, uint32_t *masks)
{
    const __m256i nibble = _mm256_set1_epi8(15);

    for (uint32_t block = 0; block < scan->block_count; block++) {
        const uint8_t *codes = scan->blocks + (size_t)block * scan->quad_count * 64;
        const uint8_t *tables = scan->tables;
        __m256i pairs = _mm256_setzero_si256(), odd = pairs, even;
        size_t first = (size_t)block * INDEX_PQ_BLOCK_ROWS;
        for (uint32_t quad = 0; quad < scan->quad_count; quad++, codes += 64, tables += 128)
            for (int half = 0; half < 64; half += 32) {
                __m256i both = load(codes + half);
                __m256i high = _mm256_and_si256(_mm256_srli_epi16(both, 4), nibble);
                __m256i bytes = _mm256_add_epi8(
                    _mm256_shuffle_epi8(load(tables + half), _mm256_and_si256(both, nibble)),
                    _mm256_shuffle_epi8(load(tables + 64 + half), high));
                pairs = _mm256_add_epi16(pairs, bytes);
                odd = _mm256_add_epi16(odd, _mm256_srli_epi16(bytes, 8));
            }
        even = _mm256_sub_epi16(pairs, _mm256_slli_epi16(odd, 8));
        masks[block] = finish_sixteen(scan, even, first, sums) |
                       finish_sixteen(scan, odd, first + 16, sums) << 16;
    }
}

/* Eight rows; words of 32 bits, as little-endian words of 64 lie. */
AVX2 static inline uint32_t eight_marked(const uint32_t *rows, const uint64_t *bits, uint32_t mask)
{
    const __m256i lanes = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i wanted =
        _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32((int)(mask & 255)), lanes), lanes);
    __m256i row = load((const uint8_t *)rows);
    __m256i words =
        _mm256_mask_i32gather_epi32(_mm256_setzero_si256(), (const int *)bits,
                                    _mm256_srli_epi32(row, 5), wanted, sizeof(uint32_t));
    __m256i place =
        _mm256_sub_epi32(_mm256_set1_epi32(31), _mm256_and_si256(row, _mm256_set1_epi32(31)));

    return (uint32_t)_mm256_movemask_ps(_mm256_castsi256_ps(_mm256_sllv_epi32(words, place)));
}

AVX2 static uint32_t avx2_rows_marked(const uint32_t *rows, const uint64_t *bits, uint32_t mask)
{
    uint32_t marked = 0;

    for (uint32_t i = 0; i < 32; i += 8)
        marked |= eight_marked(rows + i, bits, mask >> i) << i;
    return marked;
}

const struct index_kernels index_kernels_avx2 = {
    .name = "avx2",
    .dot = avx2_dot,
    .l2 = avx2_l2,
    .code_l2_4 = avx2_code_l2_4,
    .code_dot_4 = avx2_code_dot_4,
    .half_l2_4 = avx2_half_l2_4,
    .half_dot_4 = avx2_half_dot_4,
    .code_l2 = avx2_code_l2,
    .code_square = avx2_code_square,
    .code_pack = index_avx2_code_pack,
    .code_distances = avx2_code_distances,
    .smallest = avx2_smallest,
    .encode = avx2_encode,
    .pq_assign = avx2_pq_assign,
    .pq_products = avx2_pq_products,
    .pq_ranges = avx2_pq_ranges,
    .pq_round = avx2_pq_round,
    .pq_scan = avx2_pq_scan,
    .rows_marked = avx2_rows_marked,
};

#endif
