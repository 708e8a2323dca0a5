/* Brute force: the truth that recall is measured against. */
#include <float.h>
#include <math.h>

#include "indexer/index/index.h"
#include "indexer/index/top.h"

enum { EXACT_BLOCK_ROWS = 256 };

void index_exact_top(enum index_metric metric, const float *vectors, uint32_t count, uint32_t dim,
                     const float *query, uint32_t k, struct index_hit *hits, uint32_t *hit_count)
{
    struct index_top top;
    float scores[EXACT_BLOCK_ROWS];

    index_top_create(&top, hits, k);
    for (uint32_t first = 0; first < count; first += EXACT_BLOCK_ROWS) {
        uint32_t block = count - first < EXACT_BLOCK_ROWS ? count - first : EXACT_BLOCK_ROWS;
        index_score_block(metric, query, vectors + (size_t)first * dim, block, dim, scores);
        for (uint32_t i = 0; i < block; i++)
            index_top_offer(&top, first + i, scores[i]);
    }
    index_top_sort(&top);
    *hit_count = top.count;
}
