/* kmeans: centroids of the rows, and which is nearest to each: all pairs by matrix product over
 * codes (matrix.h), means over float32. */
#ifndef INDEXER_INDEX_KMEANS_H
#define INDEXER_INDEX_KMEANS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/thread_pool.h"
#include "indexer/index/quantiser.h"

struct index_kmeans {
    const struct index_quantiser *quantiser; /* metric L2: assignment is by distance */
    const float *vectors;
    const uint32_t *rows; /* of `vectors` that take part; NULL: the first `count` */
    uint32_t count;
    uint32_t centroid_count; /* <= count */
    uint64_t seed;
    const struct thread_team *team; /* with a number of threads */
};

/** Fills centroids[centroid_count][dim]. False: cancelled. The outcome does not depend on the
 * number of threads. */
bool index_kmeans_train(const struct index_kmeans *kmeans, float *centroids);

/** nearest[i]: the centroid nearest to row i, by codes; ties to the lower one. */
bool index_kmeans_assign(const struct index_kmeans *kmeans, const float *centroids,
                         uint32_t *nearest);

/** Counting sort: members[offsets[c] .. offsets[c + 1]) are the positions assigned to c, in order.
 * offsets has room for centroid_count + 2. */
void index_kmeans_collect(const uint32_t *nearest, uint32_t count, uint32_t centroid_count,
                          uint32_t *offsets, uint32_t *members);

#endif
