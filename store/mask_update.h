/* Making masks durable: the rows that died in sstables since their masks were last written.
 *
 *     masks_persist   writes a mask file (n.mask) and names it in the edit
 *     commit          the caller's manifest edit
 *     masks_written   or masks_abandoned
 *
 * A mask file replaces the one before: it holds all rows of its table that died below an offset,
 * which is the flushed offset after the edit. What died later is found again by the replay of the
 * log. All of it happens under the commit lock. */
#ifndef STORE_MASK_UPDATE_H
#define STORE_MASK_UPDATE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "store/manifest.h"
#include "store/sstable.h"
#include "store/version.h"

struct store_shard;

struct mask_update {
    struct sstable *sstable;
    uint64_t number; /* 0: nothing was written */
    uint64_t bytes;
    uint32_t rows;
    uint32_t masked_seen;
};

/** Writes a mask file for what died below `below` when that is more than was persisted, and adds it
 * to the edit. */
int masks_persist(struct store_shard *shard, struct sstable *sstable, int64_t below,
                  struct manifest_edit *edit, struct mask_update *update, struct error *error);
/** The same for every sstable of the version; the files' names are durable on return. `*updates` is
 * malloc'ed. */
int masks_persist_all(struct store_shard *shard, struct version *version, int64_t below,
                      struct manifest_edit *edit, struct mask_update **updates, size_t *count,
                      struct error *error);
/** The edit is durable. */
void masks_written(struct store_shard *shard, const struct mask_update *update);
/** The edit failed; `remove` when it certainly does not count. */
void masks_abandoned(struct store_shard *shard, const struct mask_update *update, bool remove);

#endif
