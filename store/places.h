/* Where the folders of collections lie, and how they came there. Private to store/. */
#ifndef STORE_PLACES_H
#define STORE_PLACES_H

#include "base/error.h"
#include "base/io.h"

/** Makes DATA_DIR/collections.d, and moves there what an earlier windrow had beside LOCK: every folder that holds
 * shards. Each moves with one rename, durably before this returns; a crash in between leaves the others to the next
 * opening. ERROR_EXISTS, and nothing more is moved, when a folder is in both places: an earlier windrow wrote
 * beside LOCK after this one had moved what was there. */
int places_prepare(struct io *io, const char *data_dir, struct error *error);

#endif
