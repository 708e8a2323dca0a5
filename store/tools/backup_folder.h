/* Folders of backups: begun, filled with shards, finished, restored.
 *
 * A backup is a data folder of its own: a manifest a shard that names what was flushed at one
 * instant, files that never change as hard links (copies where the file system refuses), log files
 * as copies, because they are written over later. BACKUP, written last, makes it one; until then
 * there is BACKUP.begun with a token. Clocks and offsets are those of the shards: what has expired
 * stays so, and Kafka is read on from where the copy ends. */
#ifndef STORE_TOOLS_BACKUP_FOLDER_H
#define STORE_TOOLS_BACKUP_FOLDER_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "store/backup.h"

struct store_registry;

enum { STORE_BACKUP_TOKEN_BYTES = 33 };

/** Makes the folder, whose parent must exist. One that is there must be empty (ERROR_EXISTS). The
 * token is what proves to another process that the caller may write there. */
int store_backup_begin(struct io *io, const char *folder, char token[STORE_BACKUP_TOKEN_BYTES],
                       struct error *error);
/** ERROR_INVALID unless the folder was begun with this token and is not finished. */
int store_backup_check(struct io *io, const char *folder, const char *token, struct error *error);

/** Says durably that these shards are in it. */
int store_backup_finish(struct io *io, const char *folder, const struct store_backup_shard *shards,
                        size_t count, struct error *error);

/** Puts a finished backup into a data folder that is missing or empty (ERROR_EXISTS), in the same
 * way: the backup stays as it is. One that is not finished or not whole: ERROR_CORRUPT. A folder
 * that a crash left half restored is refused by store_open. *shard_count and *bytes are filled. */
int store_restore(struct io *io, const char *folder, const char *data_dir, size_t *shard_count,
                  uint64_t *bytes, struct error *error);

/** Puts every open shard into a folder that was begun with the token (store_backup_begin), one after
 * the other, and finishes it. Appends [{"collection", "shard", "next_offset", "files", "bytes",
 * "copied_bytes"}] as JSON. A shard that closes meanwhile is ERROR_CANCELLED; without any shard
 * ERROR_NOT_FOUND. `cancelled` (may be NULL): nobody waits any more. Any thread. */
int store_registry_backup(struct store_registry *registry, struct io *io, const char *folder,
                          const char *token, const atomic_bool *cancelled, struct buffer *out,
                          struct error *error);

#endif
