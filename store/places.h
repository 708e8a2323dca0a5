/* Where the folders of collections and shards lie, and how they came there. Private to store/. */
#ifndef STORE_PLACES_H
#define STORE_PLACES_H

#include <stdbool.h>

#include "base/error.h"
#include "base/io.h"
#include "config/config.h"

struct store;

/** Makes DATA_DIR/collections.d, and moves there what an earlier windrow had beside LOCK: every folder that holds
 * shards. Each moves with one rename, durably before this returns; a crash in between leaves the others to the next
 * opening. A notice in its former place lets an earlier windrow say why it does not start. ERROR_EXISTS, and nothing
 * more is moved, when a folder is in both places: an earlier windrow wrote beside LOCK after this one had moved what
 * was there. */
int places_prepare(struct io *io, const char *data_dir, struct error *error);
/** Removes the notice of a collection whose data is gone. What cannot be removed stays: it holds no data. */
void places_forget(struct io *io, const char *data_dir, const char *collection);

/** Whether an earlier windrow named the folder, by a partition alone. */
bool places_is_old_folder(const char *folder);
/** Gives the shards of a collection that an earlier windrow named by a number alone the names of their topic, the
 * first one of the list. ERROR_INVALID, and nothing is renamed, when they are of another topic. A crash in between
 * leaves the others to the next start. */
int places_name_shards(struct store *store, const struct config_collection *collection,
                       struct error *error);

#endif
