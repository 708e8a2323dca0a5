/* What the AVX-512 and the AMX set share. */
#ifndef INDEXER_INDEX_KERNELS_AVX512_H
#define INDEXER_INDEX_KERNELS_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#define AVX512_TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,fma"

/** Squared distances of one row to the 16 columns of a panel: |a|^2 + |b|^2 - 2ab. */
__attribute__((target(AVX512_TARGET))) static inline void index_avx512_store_distances(
    int32_t row_norm, const int32_t *column_norms, const int32_t *products, int32_t *distances)
{
    __m512i norms = _mm512_add_epi32(_mm512_set1_epi32(row_norm), _mm512_loadu_si512(column_norms));
    __m512i twice = _mm512_slli_epi32(_mm512_loadu_si512(products), 1);

    _mm512_storeu_si512(distances, _mm512_sub_epi32(norms, twice));
}

#endif
