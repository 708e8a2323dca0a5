/* graph: what building leaves, a segment file holds and a search searches: levels of linked rows.
 *
 * Nodes are the rows in an order that keeps neighbours together; rows[node] is the row's number in
 * the run. Level 0 has all nodes with up to 2 m links each. Every level above holds about every
 * sixteenth item of the level below, with up to m links; items of a level are numbered from 0. */
#ifndef INDEXER_INDEX_GRAPH_H
#define INDEXER_INDEX_GRAPH_H

#include <stdint.h>

#include "indexer/index/links.h"
#include "indexer/index/quantiser.h"

enum {
    INDEX_LEVELS_MAX = 8,     /* above level 0: 16^8 nodes */
    INDEX_LEVEL_RATIO = 16,   /* items of a level to one item of the level above */
    INDEX_LEVEL_ROWS_MIN = 96 /* a level this small needs none above: a search looks at all of it */
};

struct index_level {
    uint32_t count;
    const uint32_t *nodes; /* the item's node at level 0 */
    const uint32_t *below; /* the item's number on the level below */
    const uint32_t *links; /* count x m */
};

struct index_graph {
    struct index_quantiser quantiser; /* `low` belongs to whoever owns the arrays below */
    uint32_t count;
    uint32_t m;
    uint32_t ef_construct;
    const uint8_t *codes;     /* count x quantiser.stride */
    const uint32_t *rows;     /* count */
    struct index_links links; /* of level 0; only in a segment */
    uint32_t level_count;     /* above level 0 */
    struct index_level levels[INDEX_LEVELS_MAX];
};

struct index_hnsw_graph {
    struct index_graph graph;       /* its arrays were allocated by the build */
    uint32_t *links;                /* of level 0, not packed yet: count x 2 m */
    struct index_outliers outliers; /* Rows whose codes are those of other rows. */
};

/** Structure of a segment's graph: ids in range, rows a permutation, links without gaps, levels
 * that point down, every item reachable from item 0 on every level. */
int index_graph_validate(const struct index_graph *graph, struct error *error);

#endif
