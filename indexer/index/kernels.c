/* Chooses the kernel set once, and what is built on it: exact scores and normalising. */
#include "indexer/index/kernels.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "base/logger.h"
#include "indexer/index/index.h"

static pthread_once_t chosen_once = PTHREAD_ONCE_INIT;
static const struct index_kernels *chosen;

#if defined(__x86_64__)
static bool cpu_has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

/* Without VNNI (Skylake-X) the AVX2 set is used: its byte multiplication is what matters here. */
static bool cpu_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && cpu_has_avx2();
}

/* Tiles are 8 KiB that Linux only keeps for processes that ask for it (5.16 on,
 * ARCH_REQ_XCOMP_PERM): each thread's signal frames grow by as much. All threads of the process
 * have them then. */
static bool cpu_grants_amx(void)
{
    enum { AMX_TILE = 1 << 24, AMX_INT8 = 1 << 25, REQUEST_STATE = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;

    return cpu_has_avx512() && __get_cpuid_count(7, 0, &a, &b, &c, &d) &&
           (d & (AMX_TILE | AMX_INT8)) == (AMX_TILE | AMX_INT8) &&
           syscall(SYS_arch_prctl, REQUEST_STATE, TILE_DATA) == 0;
}

static pthread_once_t amx_once = PTHREAD_ONCE_INIT;
static struct index_kernels amx_kernels; /* without a name: not granted */

static void compose_amx(void)
{
    if (!cpu_grants_amx())
        return;
    amx_kernels = index_kernels_avx512;
    amx_kernels.name = "amx";
    amx_kernels.code_distances = index_amx_code_distances;
}

static const struct index_kernels *find_amx(void)
{
    pthread_once(&amx_once, compose_amx);
    return amx_kernels.name ? &amx_kernels : NULL;
}
#endif

const struct index_kernels *index_kernels_find(const char *name)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(name, "amx") == 0)
        return find_amx();
    if (strcmp(name, "avx512") == 0)
        return cpu_has_avx512() ? &index_kernels_avx512 : NULL;
    if (strcmp(name, "avx2") == 0)
        return cpu_has_avx2() ? &index_kernels_avx2 : NULL;
#endif
    return strcmp(name, "scalar") == 0 ? &index_kernels_scalar : NULL;
}

static void choose(void)
{
    static const char *const best_first[] = {"amx", "avx512", "avx2", "scalar"};
    const char *wanted = getenv("WINDROW_SIMD");

    if (wanted && *wanted) {
        chosen = index_kernels_find(wanted);
        if (!chosen)
            log_warning("index", "WINDROW_SIMD=%s is unknown or not supported by this CPU: ignored",
                        wanted);
    }
    for (size_t i = 0; !chosen; i++)
        chosen = index_kernels_find(best_first[i]);
}

const struct index_kernels *index_kernels(void)
{
    pthread_once(&chosen_once, choose);
    return chosen;
}

const char *index_simd_name(void)
{
    return index_kernels()->name;
}

float index_score(enum vector_metric metric, const float *a, const float *b, uint32_t dim)
{
    const struct index_kernels *kernels = index_kernels();

    return metric == VECTOR_METRIC_L2 ? -kernels->l2(a, b, dim) : kernels->dot(a, b, dim);
}

float index_score_row(enum vector_metric metric, const float *query, struct vector_row row,
                      uint32_t dim)
{
    return index_score(metric, query, index_row_values(row, dim), dim);
}

void index_score_block(enum vector_metric metric, const float *query, const float *vectors,
                       uint32_t count, uint32_t dim, float *scores)
{
    const struct index_kernels *kernels = index_kernels();

    for (uint32_t i = 0; i < count; i++) {
        const float *vector = vectors + (size_t)i * dim;
        scores[i] = metric == VECTOR_METRIC_L2 ? -kernels->l2(query, vector, dim)
                                               : kernels->dot(query, vector, dim);
    }
}

void index_score_tile(enum vector_metric metric, const float *const *queries, uint32_t query_count,
                      const float *vectors, uint32_t count, uint32_t dim, float *const *scores)
{
    const struct index_kernels *kernels = index_kernels();
    bool l2 = metric == VECTOR_METRIC_L2;
    void (*score_4)(const float *const *, const float *, uint32_t, uint32_t, float *const *) =
        l2 ? kernels->l2_4 : kernels->dot_4;
    uint32_t q = 0;

    for (; score_4 && q + INDEX_TILE_QUERIES <= query_count; q += INDEX_TILE_QUERIES) {
        score_4(queries + q, vectors, count, dim, scores + q);
        for (uint32_t i = 0; l2 && i < INDEX_TILE_QUERIES; i++)
            for (uint32_t row = 0; row < count; row++)
                scores[q + i][row] = -scores[q + i][row];
    }
    for (; q < query_count; q++)
        index_score_block(metric, queries[q], vectors, count, dim, scores[q]);
}

/* The length is taken in double: squares of large floats overflow a float, and of small ones
 * vanish, long before the vector itself is out of range. */
float index_normalise(float *vector, uint32_t dim)
{
    double sum = 0;
    double length;

    for (uint32_t i = 0; i < dim; i++)
        sum += (double)vector[i] * (double)vector[i];
    length = sqrt(sum);
    if (length > 0)
        for (uint32_t i = 0; i < dim; i++)
            vector[i] = (float)((double)vector[i] / length);
    return (float)length;
}
