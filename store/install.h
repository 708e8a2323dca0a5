/* A shard's folder put in place of the former one, while no process has the shard open. */
#ifndef STORE_INSTALL_H
#define STORE_INSTALL_H

#include <stdint.h>

#include "base/error.h"
#include "base/io.h"

struct buffer;
struct store;

/** Removes a folder with all below it; one that is not there is no error. */
int store_folder_remove(struct io *io, const char *folder, struct error *error);
/** Appends the names in a folder, each with its NUL: what they name may go or come while they are walked. */
int store_list_names(struct io *io, const char *folder, struct buffer *names, struct error *error);
/** The name behind `name`, the first one behind NULL; NULL behind the last. */
const char *store_next_name(const struct buffer *names, const char *name);

/** Puts a verified copy, FOLDER/COLLECTION/SHARD_FOLDER, in the place of the shard's folder, which no process has open.
 * That one lies below `folder` until store_folder_remove, or until store_shard_uninstall puts it back, whatever the
 * install came to. */
int store_shard_install(struct store *store, const char *folder, const char *collection,
                        const char *shard_folder, struct error *error);
int store_shard_uninstall(struct store *store, const char *folder, const char *collection,
                          const char *shard_folder, struct error *error);
/** The offset up to which a shard that is not open was flushed; -1: there is none, or nothing in it. */
int64_t store_shard_peek(struct store *store, const char *collection, const char *shard_folder);

#endif
