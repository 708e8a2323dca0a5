/* Flushing, for the other operations of the store that need it. */
#ifndef STORE_FLUSH_H
#define STORE_FLUSH_H

#include "base/error.h"

struct store_shard;

/** Rotates the memtable and flushes all that are immutable. Takes the flush lock. */
int flush_all(struct store_shard *shard, struct error *error);

#endif
