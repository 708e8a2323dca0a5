/* Windows that were taken out because some file of theirs is damaged. Under the commit lock. */
#ifndef STORE_DAMAGE_H
#define STORE_DAMAGE_H

#include "store/shard.h"

/** Whether the note is about this window. */
bool damage_is_of(const struct shard_damage *damage, int64_t start_ms, int64_t length_ms);
/** Drops the window's tables in the edit; returns how many. */
size_t damage_edit_drop(const struct store_shard *shard, int64_t start_ms, int64_t length_ms,
                        struct manifest_edit *edit);
/** The edit is durable: forgets them; their files go now. */
void damage_forget(struct store_shard *shard, int64_t start_ms, int64_t length_ms);

#endif
