/* What the files in a shard's folder say beside the manifest: which of them no edit names, and
 * whether the manifest has lost edits. */
#ifndef STORE_FILES_FOLDER_H
#define STORE_FILES_FOLDER_H

#include <stdbool.h>

#include "base/error.h"
#include "base/io.h"
#include "store/files/manifest.h"

/** A manifest that was cut off between two edits, or whose last edit was damaged, looks like one
 * that never had more, and opening it would remove what it does not name. But a log generation
 * becomes durable in the manifest before a frame of that use of a log file is written: a log file
 * that begins with a whole frame of a log generation the manifest has not heard of proves that
 * edits are lost. ERROR_CORRUPT then. Looks at every log file of the folder, named by the manifest
 * or not. */
int manifest_truncation_check(struct io *io, const char *directory,
                              const struct manifest_state *state, struct error *error);

/** Removes what a crash left behind: files whose number the manifest has reserved and does not
 * refer to, other manifests, and CURRENT.tmp. Anything else stays. `*all_removed` is false when an
 * unlink failed. */
int orphans_remove(struct manifest *manifest, bool *all_removed, struct error *error);

#endif
