/* select: the smallest few of many 64-bit entries. */
#ifndef INDEXER_INDEX_SELECT_H
#define INDEXER_INDEX_SELECT_H

#include <stdint.h>

/** Sorts, smallest first. */
void index_entries_sort(uint64_t *entries, uint32_t count);
/** Moves the `keep` smallest to the front, in no order; keep <= count. */
void index_entries_select(uint64_t *entries, uint32_t count, uint32_t keep);

#endif
