/* Copies of shards between processes: store_shard_backup into an outgoing folder, files one by one
 * to the other process, verified there and put in place (store_shard_install). */
#ifndef STORE_TOOLS_COPY_H
#define STORE_TOOLS_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "base/vector_row.h"

struct store_copy_wanted {
    const char *collection, *name;
    uint32_t dim;
    enum vector_metric metric;
    int64_t next_offset;
};

/** Makes the folder for a copy of one shard on its way out, or in; `folder` has PATH_MAX bytes. Files of an
 * incoming one belong into COLLECTION/NAME below it: `name` is that of the shard's folder. */
int store_copy_outgoing(struct io *io, const char *data_dir, const char *id, char *folder,
                        struct error *error);
int store_copy_incoming(struct io *io, const char *data_dir, const char *collection,
                        const char *name, char *folder, struct error *error);

/** Removes the copies that an earlier process left. */
int store_copy_clean(struct io *io, const char *data_dir, struct error *error);
/** ERROR_NO_SPACE unless so many bytes and a reserve are free. */
int store_copy_check_room(const char *data_dir, uint64_t bytes, struct error *error);
/** Reads every byte of an incoming folder. ERROR_CORRUPT, or ERROR_INVALID when it is not what was wanted,
 * with what is wrong. */
int store_copy_verify(struct io *io, const char *folder, const struct store_copy_wanted *wanted,
                      struct error *error);

#endif
