/* ivf_slice: what a search looks at of a list. Private to indexer/index.
 *
 * A list has its rows in the order of their numbers, so that those of a range of rows lie together in it, in a slice
 * of the list's places. Slices are read chunk by chunk. */
#ifndef INDEXER_INDEX_IVF_SLICE_H
#define INDEXER_INDEX_IVF_SLICE_H

#include "indexer/index/index.h"
#include "indexer/index/ivf.h"
#include "indexer/index/segment.h"

enum { INDEX_IVF_CHUNK_BLOCKS = 8 /* scanned with one limit */ };

/* Blocks of a list, the first and the last perhaps in part. */
struct index_ivf_slice {
    const struct index_group_member *member;
    uint32_t base;       /* number of the member's slot 0 among those of all members */
    uint32_t block, end; /* of the file */
    uint32_t first_rows,
        last_rows; /* places that are looked at of the first and of the last block */
};

/* Blocks of a slice that are scanned with one limit. */
struct index_ivf_chunk {
    const struct index_group_member *member;
    uint32_t base;
    uint32_t first, count; /* blocks */
    uint32_t first_rows, last_rows;
};

/* Slices of one list of one member, of which one is given after the other. */
struct index_ivf_slices {
    const struct index_group_member *member;
    uint32_t base, list;
    uint32_t range; /* the next one of the member's ranges */
    uint32_t place; /* places of the list before it are done */
};

static inline const struct index_ivf *index_ivf_of(const struct index_group_member *member)
{
    return member->segment->ivf;
}
static inline uint32_t index_ivf_slots(const struct index_group_member *member)
{
    return index_ivf_of(member)->block_count * INDEX_PQ_BLOCK_ROWS;
}

/** Rows of the member that are looked at. */
uint32_t index_ivf_rows(const struct index_group_member *member);

struct index_ivf_slices index_ivf_slices(const struct index_group_member *member, uint32_t base,
                                         uint32_t list);
/** False: there is no other one. */
bool index_ivf_next_slice(struct index_ivf_slices *slices, struct index_ivf_slice *slice);
/** The chunk that begins at a block of the slice. */
struct index_ivf_chunk index_ivf_chunk_of(const struct index_ivf_slice *slice, uint32_t block);
/** Places of one of its blocks that are looked at. */
static inline uint32_t index_ivf_chunk_rows(const struct index_ivf_chunk *chunk, uint32_t at)
{
    uint32_t rows = at == 0 ? chunk->first_rows : UINT32_MAX;

    return at + 1 == chunk->count ? rows & chunk->last_rows : rows;
}

#endif
