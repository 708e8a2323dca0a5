/* The files of a backup: those of a shard brought to another folder, and the few beside the shards.
 *
 *     BACKUP.begun   the token, until BACKUP is there
 *     BACKUP         "windrow backup 1\n", a line "COLLECTION SHARD NEXT_OFFSET\n" a shard, and
 *                    "end CHECKSUM\n": 16 hex digits over all bytes before the line
 *     RESTORING      in a data folder: a restore has begun and is not done */
#ifndef STORE_FILES_BACKUP_FILES_H
#define STORE_FILES_BACKUP_FILES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buffer.h"
#include "store/files/manifest.h"

#define BACKUP_NAME           "BACKUP"
#define BACKUP_BEGUN_NAME     "BACKUP.begun"
#define BACKUP_RESTORING_NAME "RESTORING"
#define BACKUP_FIRST_LINE     "windrow backup 1\n"

enum { BACKUP_VERSION = 1, BACKUP_VERSION_AT = sizeof("windrow backup ") - 1 };

/* Files of one shard on their way from folder to folder. */
struct backup_files {
    struct io *io;
    const char *from, *to;
    const atomic_bool *cancel; /* or NULL */
    bool links_refused;        /* by the file system: from then on all are copied */
    uint64_t file_count, bytes, copied_bytes;
};

/** Mask files of the state's tables. */
int backup_bring_masks(struct backup_files *files, const struct manifest_state *state,
                       struct error *error);
/** All other files that the state refers to: tables, segments, logs with vectors of chunks. */
int backup_bring_tables(struct backup_files *files, const struct manifest_state *state,
                        struct error *error);
/** Makes the state one of what is flushed: without logs that no chunk needs, and without files that
 * were dropped. */
void backup_trim_state(struct manifest_state *state);

/** Creates FOLDER/COLLECTION/SHARD into `path` (PATH_MAX). */
int backup_make_shard(struct io *io, const char *folder, const char *collection, const char *name,
                      char *path, struct error *error);
/** Makes a folder, or accepts an empty one; ERROR_EXISTS when there is something in it. */
int backup_make_empty(struct io *io, const char *folder, struct error *error);
/** ERROR_CORRUPT for a data folder that is half restored. */
int backup_check_restored(struct io *io, const char *data_dir, struct error *error);

#endif
