/* Flushing, for the other operations of the store that need it. */
#ifndef STORE_FLUSH_H
#define STORE_FLUSH_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/manifest.h"
#include "store/sstable.h"
#include "store/version.h"

/** Rotates the memtable and flushes all that are immutable. Takes the flush lock. */
int flush_all(struct store_shard *shard, struct error *error);

/** Writes mask files for what died below `below` in the sstables of the version and adds them to
 * the edit. `*updates` is malloc'ed. Under the commit lock; sstable_masks_written for each of them
 * once the edit is durable. */
int flush_persist_masks(struct store_shard *shard, struct version *version, int64_t below,
                        struct manifest_edit *edit, struct sstable_mask_update **updates,
                        size_t *count, struct error *error);

#endif
