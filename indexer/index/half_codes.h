/* half_codes: codes of 4 bits a dimension in place of 7, once a graph is built, where searches find
 * the same with them. */
#ifndef INDEXER_INDEX_HALF_CODES_H
#define INDEXER_INDEX_HALF_CODES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/thread_pool.h"
#include "indexer/index/graph.h"

/** Sixteen levels for the codes of some of a graph's rows, ascending: those with the least squared
 * error. */
void index_half_levels(const struct index_graph *graph, uint8_t levels[INDEX_HALF_LEVELS]);

/** One row of codes, `stride` bytes, as half codes; the padding is zeroed. */
void index_halve_row(const uint8_t *codes, uint32_t stride, const uint8_t levels[INDEX_HALF_LEVELS],
                     uint8_t *halves);

/** Replaces the graph's codes, which came from index_allocate, by half codes, unless they would
 * lose neighbours or save little. `links` are those of level 0, `degree` a node; only the first
 * `distinct` nodes are looked at. False: cancelled, the graph is as it was. */
bool index_halve_codes(struct index_graph *graph, const uint32_t *links, uint32_t degree,
                       uint32_t distinct, struct thread_team *team);

#endif
