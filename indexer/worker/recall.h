/* How good a fresh segment is: its answers against brute force on a sample. Private to
 * indexer/worker. */
#ifndef INDEXER_WORKER_RECALL_H
#define INDEXER_WORKER_RECALL_H

#include <stdatomic.h>

#include "indexer/index/index.h"

struct recall_sample {
    const float *vectors; /* row_count x dim */
    uint32_t row_count, dim;
    enum index_metric metric;
    uint32_t ef;
    const atomic_bool *cancel;
};

/** Share of the true ten nearest neighbours that searches with `ef` find, over at most 100 rows of
 * the segment as queries. A row is no neighbour of itself; a hit as good as the tenth counts,
 * whichever row it is. ERROR_CANCELLED. */
int recall_measure(const struct index_segment *segment, const struct recall_sample *sample,
                   double *recall, struct error *error);

#endif
