/* Between twcs, which decides, and the store, which carries out. */
#ifndef WINDROW_DECISION_H
#define WINDROW_DECISION_H

#include <stdatomic.h>

#include "config/config.h"
#include "store/store.h"
#include "twcs/twcs.h"

/* One shard as the store and twcs both see it. */
struct maintenance_view {
    struct store_shard_info info;
    struct twcs_window *windows; /* same order and count as info.windows */
    struct twcs_policy policy;
    struct twcs_clock clock;
};

/** Describes a shard for twcs. Everything lives in `arena`. */
void maintenance_describe(struct store_shard *shard, const struct config_collection *collection,
                          int64_t now_ms, struct arena *arena, struct maintenance_view *view);

/** Carries out one decision about `view`. Seals and merges stop when *cancel becomes true; up to
 * `jobs` threads merge. Errors are those of the store: after ERROR_BUSY and ERROR_NOT_FOUND the
 * view is no longer true, so describe again. */
int decision_carry_out(struct store_shard *shard, const struct maintenance_view *view,
                       const struct twcs_decision *decision, unsigned jobs,
                       const atomic_bool *cancel, struct store_compaction_result *result,
                       struct error *error);

#endif
