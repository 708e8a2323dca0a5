/* Opening a shard after anything: see recovery.c. */
#ifndef STORE_RECOVERY_H
#define STORE_RECOVERY_H

#include "base/error.h"

struct store_shard;

/** Replays logs into memtables; the first version is published. Called once, while opening. */
int recovery_run(struct store_shard *shard, struct error *error);

#endif
