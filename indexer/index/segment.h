/* segment: a file that was opened, of either kind; segment_format.h draws that of a graph,
 * ivf_file.h the other. */
#ifndef INDEXER_INDEX_SEGMENT_H
#define INDEXER_INDEX_SEGMENT_H

#include <stdint.h>

#include "indexer/index/graph.h"

struct index_ivf;

struct index_segment {
    struct index_graph graph; /* arrays inside the mapping; unused when there are lists */
    struct index_ivf *ivf; /* lists: its arrays inside the mapping, itself on the heap, or NULL */
    struct io *io;
    const uint8_t *bytes; /* the mapping */
    uint64_t size_bytes;
};

/** index_group_search of the two kinds: graphs; lists of one codebook. */
int index_graph_search(const struct index_group_member *members, uint32_t member_count,
                       const struct index_search *search, struct index_hit *hits,
                       uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                       struct error *error);
int index_ivf_search(const struct index_group_member *members, uint32_t member_count,
                     const struct index_search *search, struct index_hit *hits,
                     uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                     struct error *error);

#endif
