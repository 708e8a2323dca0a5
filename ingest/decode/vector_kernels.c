#include "ingest/decode/vector_kernels.h"

#include <pthread.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

/* One sum would wait for its own last addition, four cycles each: so many that four vectors of
 * eight doubles, or eight of four, take turns. */
enum { PLACES = 32 };

static float value_at(const uint8_t *bytes, uint32_t i)
{
    float value;

    memcpy(&value, bytes + i * sizeof(float), sizeof(value));
    return value;
}

/* Eight places to one. */
static double add_up(const double sums[8])
{
    return ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
           ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

/* Of the values from `i` on, which fill no more places. */
static double rest_squared(const uint8_t *bytes, uint32_t i, uint32_t dim)
{
    double sum = 0;

    for (; i < dim; i++)
        sum += (double)value_at(bytes, i) * (double)value_at(bytes, i);
    return sum;
}

static void scale_rest(const uint8_t *bytes, float *to, uint32_t i, uint32_t dim, double factor)
{
    for (; i < dim; i++)
        to[i] = (float)((double)value_at(bytes, i) * factor);
}

static double scalar_squared_length(const void *vector, uint32_t dim)
{
    const uint8_t *bytes = vector;
    const uint32_t whole = dim / PLACES * PLACES;
    double sums[PLACES] = {0};

    for (uint32_t i = 0; i < whole; i++)
        sums[i % PLACES] += (double)value_at(bytes, i) * (double)value_at(bytes, i);
    for (int i = 0; i < 8; i++)
        sums[i] = (sums[i] + sums[i + 16]) + (sums[i + 8] + sums[i + 24]);
    return add_up(sums) + rest_squared(bytes, whole, dim);
}

static void scalar_scale(const void *from, float *to, uint32_t dim, double factor)
{
    scale_rest(from, to, 0, dim, factor);
}

#if defined(__x86_64__)
#define AVX512 __attribute__((target("avx512f")))
#define AVX2   __attribute__((target("avx2,fma")))

AVX512 static inline __m512d avx512_load(const uint8_t *bytes, uint32_t i)
{
    return _mm512_cvtps_pd(_mm256_loadu_ps((const float *)(const void *)bytes + i));
}

AVX512 static inline __m512d avx512_add_square(__m512d sum, const uint8_t *bytes, uint32_t i)
{
    __m512d values = avx512_load(bytes, i);

    return _mm512_fmadd_pd(values, values, sum);
}

AVX512 static double avx512_squared_length(const void *vector, uint32_t dim)
{
    const uint8_t *bytes = vector;
    __m512d a = _mm512_setzero_pd();
    __m512d b = a;
    __m512d c = a;
    __m512d d = a;
    double sums[8];
    uint32_t i = 0;

    for (; i + PLACES <= dim; i += PLACES) {
        a = avx512_add_square(a, bytes, i);
        b = avx512_add_square(b, bytes, i + 8);
        c = avx512_add_square(c, bytes, i + 16);
        d = avx512_add_square(d, bytes, i + 24);
    }
    _mm512_storeu_pd(sums, _mm512_add_pd(_mm512_add_pd(a, c), _mm512_add_pd(b, d)));
    return add_up(sums) + rest_squared(bytes, i, dim);
}

AVX512 static void avx512_scale(const void *from, float *to, uint32_t dim, double factor)
{
    const __m512d factors = _mm512_set1_pd(factor);
    uint32_t i = 0;

    for (; i + 8 <= dim; i += 8)
        _mm256_storeu_ps(to + i, _mm512_cvtpd_ps(_mm512_mul_pd(avx512_load(from, i), factors)));
    scale_rest(from, to, i, dim, factor);
}

AVX2 static inline __m256d avx2_load(const uint8_t *bytes, uint32_t i)
{
    return _mm256_cvtps_pd(_mm_loadu_ps((const float *)(const void *)bytes + i));
}

AVX2 static inline __m256d avx2_add_square(__m256d sum, const uint8_t *bytes, uint32_t i)
{
    __m256d values = avx2_load(bytes, i);

    return _mm256_fmadd_pd(values, values, sum);
}

AVX2 static double avx2_squared_length(const void *vector, uint32_t dim)
{
    const uint8_t *bytes = vector;
    __m256d a = _mm256_setzero_pd();
    __m256d b = a, c = a, d = a, e = a, f = a, g = a, h = a;
    double sums[8];
    uint32_t i = 0;

    for (; i + PLACES <= dim; i += PLACES) {
        a = avx2_add_square(a, bytes, i);
        b = avx2_add_square(b, bytes, i + 4);
        c = avx2_add_square(c, bytes, i + 8);
        d = avx2_add_square(d, bytes, i + 12);
        e = avx2_add_square(e, bytes, i + 16);
        f = avx2_add_square(f, bytes, i + 20);
        g = avx2_add_square(g, bytes, i + 24);
        h = avx2_add_square(h, bytes, i + 28);
    }
    _mm256_storeu_pd(sums, _mm256_add_pd(_mm256_add_pd(a, e), _mm256_add_pd(c, g)));
    _mm256_storeu_pd(sums + 4, _mm256_add_pd(_mm256_add_pd(b, f), _mm256_add_pd(d, h)));
    return add_up(sums) + rest_squared(bytes, i, dim);
}

AVX2 static void avx2_scale(const void *from, float *to, uint32_t dim, double factor)
{
    const __m256d factors = _mm256_set1_pd(factor);
    uint32_t i = 0;

    for (; i + 4 <= dim; i += 4)
        _mm_storeu_ps(to + i, _mm256_cvtpd_ps(_mm256_mul_pd(avx2_load(from, i), factors)));
    scale_rest(from, to, i, dim, factor);
}
#endif

static const struct vector_kernels list[] = {
#if defined(__x86_64__)
    {"avx512", avx512_squared_length, avx512_scale},
    {"avx2", avx2_squared_length, avx2_scale},
#endif
    {"scalar", scalar_squared_length, scalar_scale},
};

enum { COUNT = sizeof(list) / sizeof(list[0]) };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static size_t best;

static void choose(void)
{
#if defined(__x86_64__)
    best = __builtin_cpu_supports("avx512f")                                 ? 0
           : __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? 1
                                                                             : 2;
#endif
}

const struct vector_kernels *vector_kernels_all(size_t *count)
{
    (void)pthread_once(&once, choose);
    *count = COUNT - best;
    return &list[best];
}

const struct vector_kernels *vector_kernels(void)
{
    (void)pthread_once(&once, choose);
    return &list[best];
}
