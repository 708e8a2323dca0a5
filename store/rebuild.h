/* What is left of a rebuild that a crash ended. */
#ifndef STORE_REBUILD_H
#define STORE_REBUILD_H

#include "store/shard.h"

/** Removes the shadow's folder, if there is one. No rebuild of the shard is under way. */
void rebuild_remove_shadow(struct store_shard *shard);

#endif
