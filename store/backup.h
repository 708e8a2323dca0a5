/* A shard's copy: what is flushed at one instant, in another folder. */
#ifndef STORE_BACKUP_H
#define STORE_BACKUP_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/error.h"

struct store_shard;

struct store_backup_shard {
    const char *collection, *name, *folder; /* those of the shard */
    int64_t next_offset;        /* filled: everything below is in the copy; -1: nothing */
    uint64_t file_count, bytes; /* filled */
    uint64_t copied_bytes;      /* filled: of these; the others are hard links */
};

/** Flushes the shard and puts a copy of what is flushed into the folder; the shard goes on
 * meanwhile. ERROR_CORRUPT: windows are damaged; ERROR_CANCELLED. Any thread with a lease. */
int store_shard_backup(struct store_shard *shard, const char *folder, const atomic_bool *cancel,
                       struct store_backup_shard *done, struct error *error);

#endif
