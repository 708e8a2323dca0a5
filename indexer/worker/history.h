/* history: building base and tail, spans of lists (twcs/history.c decides on them). Private to indexer/worker.
 *
 *     codebook   the tail takes that of the base. A base keeps its own, or takes that of another shard's base; where none
 *                fits the rows of all shards it is trained on a sample of the span's rows, one shard at a time
 *     codes      of a window that some span of this codebook has: copied. Of others: coded, piece by piece
 *     effort     measured of the sample with which the codebook was trained, and handed down with the codebook
 *
 * No vector of a window is read twice, unless a codebook is trained anew. */
#ifndef INDEXER_WORKER_HISTORY_H
#define INDEXER_WORKER_HISTORY_H

#include "indexer/worker/span.h"

/** Builds the span where its shard is open, and attaches it. As worker_span_build. */
int worker_history_build(struct worker_task *task, const struct worker_span *span, bool *low_recall,
                         struct error *error);

#endif
