/* Collecting a shard's garbage: closing and unlinking what was dropped, taking log files back to be
 * used again. The background thread does it, or whoever next flushes, compacts or drops. */
#ifndef STORE_COLLECT_H
#define STORE_COLLECT_H

#include <stdint.h>

struct store_shard;

/** Closes, unlinks and recycles what is on the list. Any thread, not under the append lock. */
void garbage_collect(struct store_shard *shard);

/** The same, but for the caller who should not wait for unlinks: the background thread does it, if
 * there is one. */
void garbage_collect_behind(struct store_shard *shard);

/** Bytes of files that wait to be unlinked. */
uint64_t garbage_bytes(struct store_shard *shard);

#endif
