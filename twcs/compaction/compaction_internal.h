/* What the files of this folder share. */
#ifndef TWCS_COMPACTION_COMPACTION_INTERNAL_H
#define TWCS_COMPACTION_COMPACTION_INTERNAL_H

#include "twcs/compaction/compaction.h"

const struct compaction_scheduler_options *compaction_scheduler_options(
    const struct compaction_scheduler *scheduler);

/** A window was sealed, resealed or rebuilt in the time since `start_ns`: counts it and tells
 * on_sealed, unless the window is not sealed. */
void compaction_announce_seal(struct compaction_scheduler *scheduler, struct store_shard *shard,
                              const struct store_window_info *window, int64_t start_ns);

enum byte_cap_outcome {
    BYTE_CAP_KEPT,
    BYTE_CAP_DROPPED, /* a window went; there may be more to drop */
    BYTE_CAP_STARVED, /* the cap is passed and no window may go: appends wait */
    BYTE_CAP_FAILED
};

/** Drops the oldest window of a collection that holds more than its max_bytes (byte_cap.c). */
enum byte_cap_outcome byte_cap_enforce(const struct compaction_scheduler_options *options,
                                       const struct config_collection *collection,
                                       struct arena *arena);

#endif
