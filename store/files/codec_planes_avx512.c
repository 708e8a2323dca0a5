/* Sixteen values at a time. */
#include "store/files/codec.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw")))

AVX512 static inline void store_low_bytes(uint8_t *out, __m512i lanes)
{
    _mm_storeu_si128((__m128i *)(void *)out, _mm512_cvtepi32_epi8(lanes));
}

AVX512 static void split(const uint32_t *values, size_t count, uint8_t *const planes[CODEC_PLANES])
{
    const __m512i sign = _mm512_set1_epi32(0x80), low7 = _mm512_set1_epi32(0x7f);
    size_t whole = count / 16 * 16;
    uint8_t *const rest[CODEC_PLANES] = {planes[0] + whole, planes[1] + whole, planes[2] + whole,
                                         planes[3] + whole};

    for (size_t i = 0; i < whole; i += 16) {
        __m512i bits = _mm512_loadu_si512(values + i);
        __m512i upper = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi32(bits, 24), sign),
                                        _mm512_and_si512(_mm512_srli_epi32(bits, 16), low7));
        store_low_bytes(planes[0] + i, _mm512_srli_epi32(bits, 23));
        store_low_bytes(planes[1] + i, upper);
        store_low_bytes(planes[2] + i, _mm512_srli_epi32(bits, 8));
        store_low_bytes(planes[3] + i, bits);
    }
    codec_kernels_scalar.split(values + whole, count - whole, rest);
}

AVX512 static inline __m512i widen(const uint8_t *bytes)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)bytes));
}

AVX512 static void join(const uint8_t *const planes[CODEC_PLANES], size_t count, uint32_t *values)
{
    const __m512i sign = _mm512_set1_epi32(0x80), low7 = _mm512_set1_epi32(0x7f);
    size_t whole = count / 16 * 16;
    const uint8_t *const rest[CODEC_PLANES] = {planes[0] + whole, planes[1] + whole,
                                               planes[2] + whole, planes[3] + whole};

    for (size_t i = 0; i < whole; i += 16) {
        __m512i upper = widen(planes[1] + i);
        __m512i high = _mm512_or_si512(_mm512_slli_epi32(_mm512_and_si512(upper, sign), 24),
                                       _mm512_slli_epi32(_mm512_and_si512(upper, low7), 16));
        __m512i low =
            _mm512_or_si512(_mm512_slli_epi32(widen(planes[2] + i), 8), widen(planes[3] + i));
        _mm512_storeu_si512(values + i,
                            _mm512_or_si512(_mm512_or_si512(high, low),
                                            _mm512_slli_epi32(widen(planes[0] + i), 23)));
    }
    codec_kernels_scalar.join(rest, count - whole, values + whole);
}

const struct codec_kernels codec_kernels_avx512 = {"avx512", split, join};

#else

typedef int codec_planes_avx512_is_for_x86;

#endif
