#include "ingest/vector_kernels.h"

#include <pthread.h>
#include <string.h>

/* One source for all: the compiler makes of the eight places what the target has. */
typedef float floats __attribute__((vector_size(32)));
typedef double doubles __attribute__((vector_size(64)));

enum { PLACES = 8 };

static inline __attribute__((always_inline)) double add_up(const double sums[PLACES])
{
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) +
           ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

static inline __attribute__((always_inline)) double wide_squared_length(const void *vector,
                                                                        uint32_t dim)
{
    const uint8_t *bytes = vector;
    doubles wide_sums = {0};
    double sums[PLACES];
    uint32_t i = 0;

    for (; i + PLACES <= dim; i += PLACES) {
        floats values;
        doubles wide;
        memcpy(&values, bytes + i * sizeof(float), sizeof(values));
        wide = __builtin_convertvector(values, doubles);
        wide_sums += wide * wide;
    }
    memcpy(sums, &wide_sums, sizeof(sums));
    for (; i < dim; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof(float), sizeof(value));
        sums[0] += (double)value * (double)value;
    }
    return add_up(sums);
}

static inline __attribute__((always_inline)) void wide_scale(const void *from, float *to,
                                                             uint32_t dim, double factor)
{
    const uint8_t *bytes = from;
    uint32_t i = 0;

    for (; i + PLACES <= dim; i += PLACES) {
        floats values;
        memcpy(&values, bytes + i * sizeof(float), sizeof(values));
        values = __builtin_convertvector(__builtin_convertvector(values, doubles) * factor, floats);
        memcpy(to + i, &values, sizeof(values));
    }
    for (; i < dim; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof(float), sizeof(value));
        to[i] = (float)((double)value * factor);
    }
}

static double scalar_squared_length(const void *vector, uint32_t dim)
{
    const uint8_t *bytes = vector;
    double sums[PLACES] = {0};

    for (uint32_t i = 0; i < dim; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof(float), sizeof(value));
        sums[i < dim / PLACES * PLACES ? i % PLACES : 0] += (double)value * (double)value;
    }
    return add_up(sums);
}

static void scalar_scale(const void *from, float *to, uint32_t dim, double factor)
{
    const uint8_t *bytes = from;

    for (uint32_t i = 0; i < dim; i++) {
        float value;
        memcpy(&value, bytes + i * sizeof(float), sizeof(value));
        to[i] = (float)((double)value * factor);
    }
}

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static double avx512_squared_length(const void *vector,
                                                                       uint32_t dim)
{
    return wide_squared_length(vector, dim);
}

__attribute__((target("avx512f"))) static void avx512_scale(const void *from, float *to,
                                                            uint32_t dim, double factor)
{
    wide_scale(from, to, dim, factor);
}

__attribute__((target("avx2"))) static double avx2_squared_length(const void *vector, uint32_t dim)
{
    return wide_squared_length(vector, dim);
}

__attribute__((target("avx2"))) static void avx2_scale(const void *from, float *to, uint32_t dim,
                                                       double factor)
{
    wide_scale(from, to, dim, factor);
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
    best = __builtin_cpu_supports("avx512f") ? 0 : __builtin_cpu_supports("avx2") ? 1 : 2;
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
