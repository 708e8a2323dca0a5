/* A backup of all shards that are open here. */
#ifndef WINDROW_BACKUP_H
#define WINDROW_BACKUP_H

#include <stdatomic.h>

#include "store/registry.h"

/** Puts every shard of the registry into a folder that was begun with the token, one after the
 * other, and finishes it. Appends [{"collection", "shard", "next_offset", "files", "bytes",
 * "copied_bytes"}]. A shard that leaves meanwhile is ERROR_CANCELLED; without any shard
 * ERROR_NOT_FOUND. `cancelled` (may be NULL): nobody waits any more. Any thread. */
int backup_run(struct store_registry *registry, struct io *io, const char *folder,
               const char *token, const atomic_bool *cancelled, struct buffer *out,
               struct error *error);

#endif
