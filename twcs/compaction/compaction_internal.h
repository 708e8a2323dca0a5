/* What the files of this folder share. */
#ifndef TWCS_COMPACTION_COMPACTION_INTERNAL_H
#define TWCS_COMPACTION_COMPACTION_INTERNAL_H

#include "twcs/compaction/compaction.h"

struct store_lease;

const struct compaction_scheduler_options *compaction_scheduler_options(
    const struct compaction_scheduler *scheduler);

/** A window was sealed, resealed or rebuilt in the time since `start_ns`: counts it and tells
 * on_sealed, unless the window is not sealed. */
void compaction_announce_seal(struct compaction_scheduler *scheduler, struct store_shard *shard,
                              const struct store_window_info *window, int64_t start_ns);

/* What a turn found out about the next one. */
struct compaction_turn {
    bool again;     /* there may be more to do now */
    bool failed;    /* again, but after a pause: a failure must not become a busy loop */
    int64_t due_ms; /* the wall clock at which something becomes due */
    int64_t look_ms;
};

void turn_of_shard(struct compaction_scheduler *scheduler, const struct store_lease *lease,
                   const struct config_collection *collection, struct arena *arena,
                   struct compaction_turn *turn);
void turn_of_byte_cap(struct compaction_scheduler *scheduler,
                      const struct config_collection *collection, struct arena *arena,
                      struct compaction_turn *turn);

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
