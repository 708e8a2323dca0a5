/* Eight values at a time: bytes are widened to lanes of 32 bits and shifted to their places. */
#include "store/files/codec.h"

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#define AVX2 __attribute__((target("avx2")))

/* The lowest bytes of eight lanes. */
AVX2 static inline void store_low_bytes(uint8_t *out, __m256i lanes)
{
    const __m256i gather =
        _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12,
                         -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    __m256i bytes = _mm256_shuffle_epi8(lanes, gather);
    __m128i both =
        _mm_unpacklo_epi32(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));

    _mm_storel_epi64((__m128i *)(void *)out, both);
}

AVX2 static void split(const uint32_t *values, size_t count, uint8_t *const planes[CODEC_PLANES])
{
    const __m256i sign = _mm256_set1_epi32(0x80), low7 = _mm256_set1_epi32(0x7f);
    uint8_t *const rest[CODEC_PLANES] = {planes[0] + count / 8 * 8, planes[1] + count / 8 * 8,
                                         planes[2] + count / 8 * 8, planes[3] + count / 8 * 8};

    for (size_t i = 0; i + 8 <= count; i += 8) {
        __m256i bits = _mm256_loadu_si256((const __m256i *)(const void *)(values + i));
        __m256i upper = _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi32(bits, 24), sign),
                                        _mm256_and_si256(_mm256_srli_epi32(bits, 16), low7));
        store_low_bytes(planes[0] + i, _mm256_srli_epi32(bits, 23));
        store_low_bytes(planes[1] + i, upper);
        store_low_bytes(planes[2] + i, _mm256_srli_epi32(bits, 8));
        store_low_bytes(planes[3] + i, bits);
    }
    codec_kernels_scalar.split(values + count / 8 * 8, count % 8, rest);
}

AVX2 static inline __m256i widen(const uint8_t *bytes)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)bytes));
}

AVX2 static void join(const uint8_t *const planes[CODEC_PLANES], size_t count, uint32_t *values)
{
    const __m256i sign = _mm256_set1_epi32(0x80), low7 = _mm256_set1_epi32(0x7f);
    const uint8_t *const rest[CODEC_PLANES] = {planes[0] + count / 8 * 8, planes[1] + count / 8 * 8,
                                               planes[2] + count / 8 * 8,
                                               planes[3] + count / 8 * 8};

    for (size_t i = 0; i + 8 <= count; i += 8) {
        __m256i upper = widen(planes[1] + i);
        __m256i high = _mm256_or_si256(_mm256_slli_epi32(_mm256_and_si256(upper, sign), 24),
                                       _mm256_slli_epi32(_mm256_and_si256(upper, low7), 16));
        __m256i low =
            _mm256_or_si256(_mm256_slli_epi32(widen(planes[2] + i), 8), widen(planes[3] + i));
        __m256i bits = _mm256_or_si256(_mm256_or_si256(high, low),
                                       _mm256_slli_epi32(widen(planes[0] + i), 23));
        _mm256_storeu_si256((__m256i *)(void *)(values + i), bits);
    }
    codec_kernels_scalar.join(rest, count % 8, values + count / 8 * 8);
}

const struct codec_kernels codec_kernels_avx2 = {"avx2", split, join};

#else

typedef int codec_planes_avx2_is_for_x86;

#endif
