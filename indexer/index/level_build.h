/* level_build: one level of the graph over rows of codes. Internal to the builder.
 *
 *     carve     overlapping balls around random leaders, recursively, until a ball is a leaf
 *     leaf      all pairs of a leaf at once (a matrix product); each row keeps its nearest few
 *     list      what all leaves found for a row, nearest first
 *     prune     relative-neighbourhood rule, then the reverse of every link, then prune again
 *     repair    every row reachable from row 0
 *
 * After PiPNN (arXiv 2602.21247). Why not by insertion: see the measurement in level_build.c. */
#ifndef INDEXER_INDEX_LEVEL_BUILD_H
#define INDEXER_INDEX_LEVEL_BUILD_H

#include <stdbool.h>
#include <stdint.h>

#include "indexer/index/level_build_steps.h"

/** Fills links[count][degree], nearest first, INDEX_NO_LINK behind the last. False: cancelled. The
 * outcome does not depend on the number of threads. Rows should be distinct and lie in an order
 * that keeps neighbours together (index_neighbourhood_order); neither is needed for correctness. */
bool index_level_build(const struct index_codes *codes, const struct index_level_options *options,
                       uint32_t *links);

/** What that takes besides `codes` and `links`, at most. */
uint64_t index_level_build_bytes(uint32_t count, uint32_t stride,
                                 const struct index_level_options *options);

#endif
