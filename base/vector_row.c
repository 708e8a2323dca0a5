#include "base/vector_row.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

enum { CODE_MAX = 127, SCALE_SPARE_BITS = 8 };
static const float SCALE_LARGEST_VALUE_MIN = 0x1p-100F; /* below, scales would lose bits */

static uint32_t bits_of(float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;

    memcpy(&value, &bits, sizeof(value));
    return value;
}

/* Added to a value below 2^22 it leaves the value, rounded to the nearest, in the lower bits: lrintf is
 * a call for each value. */
static const float ROUNDING = 0x1.8p23F;

/* Scalar. */

/* Drops `count` bits (1..31) of a magnitude, to the nearest, ties to even. */
static uint32_t drop_bits(uint32_t magnitude, uint32_t count)
{
    return (magnitude + ((1U << (count - 1)) - 1) + (magnitude >> count & 1)) >> count;
}

/* Exponents of a half begin at 2^-14; below, halves are multiples of 2^-24. */
static uint16_t to_half(float value)
{
    uint32_t bits = bits_of(value);
    uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
    uint32_t exponent = magnitude >> 23;

    if (exponent >= 113) /* 2^-14 and above: the exponent is 112 less in a half */
        return (uint16_t)(sign | (drop_bits(magnitude, 13) - (112U << 10)));
    if (exponent < 102) /* below half of 2^-24 */
        return (uint16_t)sign;
    return (uint16_t)(sign | drop_bits((magnitude & 0x7fffff) | 0x800000, 126 - exponent));
}

static bool scalar_to_float16(const float *values, uint32_t count, uint16_t *halves)
{
    bool fits = true;

    for (uint32_t i = 0; i < count; i++) {
        fits &= fabsf(values[i]) < 65520.0F; /* what is not, or is NaN, would be no number */
        halves[i] = to_half(values[i]);
    }
    return fits;
}

static float from_half(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, magnitude = half & 0x7fff;

    if (magnitude >= 0x7c00) /* infinite, or NaN, which is made a quiet one as processors do */
        return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13 |
                        (magnitude > 0x7c00 ? 0x400000U : 0));
    if (magnitude >= 0x400)
        return float_of(sign | ((magnitude << 13) + (112U << 23)));
    return float_of(sign | bits_of((float)magnitude * 0x1p-24F));
}

static void scalar_from_float16(const uint16_t *halves, uint32_t count, float *values)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = from_half(halves[i]);
}

static void scalar_from_bfloat16(const uint16_t *halves, uint32_t count, float *values)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = float_of((uint32_t)halves[i] << 16);
}

static void scalar_from_int8(const int8_t *codes, float scale, uint32_t count, float *values)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = (float)codes[i] * scale;
}

static const struct vector_row_kernels scalar = {.name = "scalar",
                                                 .to_float16 = scalar_to_float16,
                                                 .from_float16 = scalar_from_float16,
                                                 .from_bfloat16 = scalar_from_bfloat16,
                                                 .from_int8 = scalar_from_int8};

/* AVX2 with F16C; what is left over is done by the scalar ones. */

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,f16c")))
enum { LANES = 8 };

AVX2 static bool avx2_to_float16(const float *values, uint32_t count, uint16_t *halves)
{
    const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffffff));
    const __m256 limit = _mm256_set1_ps(65520.0F);
    __m256 fits = _mm256_castsi256_ps(_mm256_set1_epi32(-1));
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        __m256 some = _mm256_loadu_ps(values + i);
        fits =
            _mm256_and_ps(fits, _mm256_cmp_ps(_mm256_and_ps(some, magnitude), limit, _CMP_LT_OQ));
        _mm_storeu_si128((__m128i *)(void *)(halves + i),
                         _mm256_cvtps_ph(some, _MM_FROUND_TO_NEAREST_INT));
    }
    return scalar_to_float16(values + i, count - i, halves + i) && _mm256_movemask_ps(fits) == 255;
}

AVX2 static void avx2_from_float16(const uint16_t *halves, uint32_t count, float *values)
{
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES)
        _mm256_storeu_ps(values + i, _mm256_cvtph_ps(_mm_loadu_si128(
                                         (const __m128i *)(const void *)(halves + i))));
    scalar_from_float16(halves + i, count - i, values + i);
}

AVX2 static void avx2_from_bfloat16(const uint16_t *halves, uint32_t count, float *values)
{
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        __m256i some =
            _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)(halves + i)));
        _mm256_storeu_ps(values + i, _mm256_castsi256_ps(_mm256_slli_epi32(some, 16)));
    }
    scalar_from_bfloat16(halves + i, count - i, values + i);
}

AVX2 static void avx2_from_int8(const int8_t *codes, float scale, uint32_t count, float *values)
{
    const __m256 scales = _mm256_set1_ps(scale);
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        __m256i some =
            _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(codes + i)));
        _mm256_storeu_ps(values + i, _mm256_mul_ps(_mm256_cvtepi32_ps(some), scales));
    }
    scalar_from_int8(codes + i, scale, count - i, values + i);
}

/* By the processor's own word: clang's __builtin_cpu_supports does not know f16c. */
static bool has_float16(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}

static const struct vector_row_kernels avx2 = {.name = "avx2",
                                               .to_float16 = avx2_to_float16,
                                               .from_float16 = avx2_from_float16,
                                               .from_bfloat16 = avx2_from_bfloat16,
                                               .from_int8 = avx2_from_int8};
#endif

const struct vector_row_kernels *vector_row_kernels_find(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && has_float16() ? &avx2 : NULL;
#endif
    return strcmp(name, "scalar") == 0 ? &scalar : NULL;
}

static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;
static const struct vector_row_kernels *chosen;

static void choose(void)
{
    const char *wanted = getenv("WINDROW_SIMD");

    chosen = wanted && strcmp(wanted, "scalar") == 0 ? NULL : vector_row_kernels_find("avx2");
    if (!chosen)
        chosen = &scalar;
}

static const struct vector_row_kernels *kernels(void)
{
    (void)pthread_once(&chosen_once, choose);
    return chosen;
}

/* Rows. */

static size_t value_bytes(enum vector_codec codec)
{
    switch (codec) {
    case VECTOR_CODEC_FLOAT16:
    case VECTOR_CODEC_BFLOAT16:
        return sizeof(uint16_t);
    case VECTOR_CODEC_INT8:
        return sizeof(int8_t);
    default:
        return sizeof(float);
    }
}

size_t vector_row_bytes(enum vector_codec codec, uint32_t dim)
{
    size_t scale_bytes = codec == VECTOR_CODEC_INT8 ? sizeof(float) : 0;

    return scale_bytes + (dim * value_bytes(codec) + 3) / 4 * 4;
}

static bool encode_bfloat16(const float *values, uint32_t dim, uint16_t *halves)
{
    bool fits = true;

    for (uint32_t i = 0; i < dim; i++) {
        uint32_t bits = bits_of(values[i]);
        uint32_t rounded = drop_bits(bits & 0x7fffffff, 16);
        fits &= rounded < 0x7f80;
        halves[i] = (uint16_t)(bits >> 16 & 0x8000) | (uint16_t)rounded;
    }
    return fits;
}

/* The least scale of 16 significant bits under which no code is above CODE_MAX. */
static float scale_of(float largest)
{
    const uint32_t spare = (1U << SCALE_SPARE_BITS) - 1;

    return largest < SCALE_LARGEST_VALUE_MIN
               ? 0
               : float_of((bits_of(largest / CODE_MAX) + spare) & ~spare);
}

static bool encode_int8(const float *values, uint32_t dim, uint8_t *bytes)
{
    int8_t *codes = (int8_t *)(bytes + sizeof(float));
    float largest = 0, scale, per_code;
    bool fits = true, whole = true;

    for (uint32_t i = 0; i < dim; i++) {
        fits &= isfinite(values[i]) != 0;
        largest = fmaxf(largest, fabsf(values[i]));
        whole &= values[i] + ROUNDING - ROUNDING == values[i];
    }
    scale = whole && largest >= 1 && largest <= CODE_MAX ? 1 : scale_of(largest);
    if (!fits || !isfinite(scale * CODE_MAX))
        return false;
    per_code = scale > 0 ? 1 / scale : 0;
    for (uint32_t i = 0; i < dim; i++)
        codes[i] = (int8_t)bits_of(values[i] * per_code + ROUNDING);
    memcpy(bytes, &scale, sizeof(scale));
    return true;
}

bool vector_row_encode(enum vector_codec codec, const float *values, uint32_t dim, void *bytes)
{
    size_t size_bytes = vector_row_bytes(codec, dim);

    memset((uint8_t *)bytes + size_bytes - 4, 0, 4); /* the padding is there */
    switch (codec) {
    case VECTOR_CODEC_FLOAT16:
        return kernels()->to_float16(values, dim, bytes);
    case VECTOR_CODEC_BFLOAT16:
        return encode_bfloat16(values, dim, bytes);
    case VECTOR_CODEC_INT8:
        return encode_int8(values, dim, bytes);
    default:
        memcpy(bytes, values, size_bytes);
        return true;
    }
}

void vector_row_decode(struct vector_row row, uint32_t dim, float *values)
{
    float scale;

    switch (row.codec) {
    case VECTOR_CODEC_FLOAT16:
        kernels()->from_float16(row.bytes, dim, values);
        return;
    case VECTOR_CODEC_BFLOAT16:
        kernels()->from_bfloat16(row.bytes, dim, values);
        return;
    case VECTOR_CODEC_INT8:
        memcpy(&scale, row.bytes, sizeof(scale));
        kernels()->from_int8((const int8_t *)row.bytes + sizeof(scale), scale, dim, values);
        return;
    default:
        memcpy(values, row.bytes, dim * sizeof(float));
    }
}

void vector_rows_decode(struct vector_row rows, uint32_t count, uint32_t dim, float *values)
{
    const size_t row_bytes = vector_row_bytes(rows.codec, dim);

    if (vector_codec_is_float32(rows.codec)) {
        memcpy(values, rows.bytes, count * row_bytes);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        vector_row_decode(rows, dim, values + (size_t)i * dim);
        rows.bytes = (const uint8_t *)rows.bytes + row_bytes;
    }
}
