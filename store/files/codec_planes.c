/* Splitting floats into planes of bytes and back, one value at a time, and the choice of a faster
 * way. */
#include <stdatomic.h>
#include <string.h>

#include "store/files/codec.h"

static void split(const uint32_t *values, size_t count, uint8_t *const planes[CODEC_PLANES])
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = values[i];
        planes[0][i] = (uint8_t)(bits >> 23);
        planes[1][i] = (uint8_t)((bits >> 24 & 0x80) | (bits >> 16 & 0x7f));
        planes[2][i] = (uint8_t)(bits >> 8);
        planes[3][i] = (uint8_t)bits;
    }
}

static void join(const uint8_t *const planes[CODEC_PLANES], size_t count, uint32_t *values)
{
    for (size_t i = 0; i < count; i++)
        values[i] = (planes[1][i] & 0x80U) << 24 | (uint32_t)planes[0][i] << 23 |
                    (planes[1][i] & 0x7fU) << 16 | (uint32_t)planes[2][i] << 8 | planes[3][i];
}

const struct codec_kernels codec_kernels_scalar = {"scalar", split, join};

const struct codec_kernels *codec_kernels_find(const char *name)
{
#if defined(__x86_64__)
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
                   ? &codec_kernels_avx512
                   : NULL;
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") ? &codec_kernels_avx2 : NULL;
#endif
    return strcmp(name, "scalar") == 0 ? &codec_kernels_scalar : NULL;
}

const struct codec_kernels *codec_kernels(void)
{
    static const char *const best_first[] = {"avx512", "avx2", "scalar"};
    static _Atomic(const struct codec_kernels *) chosen;
    const struct codec_kernels *kernels = atomic_load_explicit(&chosen, memory_order_acquire);

    /* Threads that race here choose the same. */
    for (int i = 0; !kernels; i++)
        kernels = codec_kernels_find(best_first[i]);
    atomic_store_explicit(&chosen, kernels, memory_order_release);
    return kernels;
}
