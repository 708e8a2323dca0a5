/* recall_loop: how a search takes part in holding the recall of answers. Inside the room only. */
#ifndef INDEXER_QUERY_RECALL_LOOP_H
#define INDEXER_QUERY_RECALL_LOOP_H

#include "indexer/query/searcher.h"

/** A search begins, all else of it is known. Returns how many times what was measured of segments it takes.
 * Keeps its vector when it is one of those that recall is measured with. */
double recall_loop_begin(const struct searcher *searcher);

#endif
