/* query_comparison: chance questions of all kinds to a view of a cluster, and to one process with every shard. */
#ifndef TESTS_INDEXER_QUERY_QUERY_COMPARISON_H
#define TESTS_INDEXER_QUERY_QUERY_COMPARISON_H

#include "tests/indexer/query/query_cluster.h"

/** Asserts that both give the same answers, bit for bit. The view may be incomplete where that changes nothing. */
void comparison_run(struct cluster *cluster, struct query_view *many);

void comparison_same_result(const struct query_result *a, const struct query_result *b);
/** A search by chance. `vector` (DIM) is filled and used. */
struct query_search comparison_some_search(struct cluster *cluster, float *vector,
                                           struct arena *arena);
/** Three examples on each side, or pairs of them. `examples` (6 * DIM) is filled and used. */
void comparison_add_scorer(struct cluster *cluster, struct query_search *search, float *examples);
/** Parts of comparison_run. Several searches are one request to each node, unless a node is from before that. */
void comparison_search(struct cluster *cluster, struct query_view *one, struct query_view *many,
                       struct arena *arena);
void comparison_searches(struct cluster *cluster, struct query_view *one, struct query_view *many,
                         struct arena *arena);

#endif
