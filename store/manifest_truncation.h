/* What a manifest that ends too early gives away. */
#ifndef STORE_MANIFEST_TRUNCATION_H
#define STORE_MANIFEST_TRUNCATION_H

#include "base/error.h"
#include "base/io.h"
#include "store/manifest.h"

/** A manifest that was cut off between two edits, or whose last edit was damaged, looks like one
 * that never had more, and opening it would remove what it does not name. But a log generation
 * becomes durable in the manifest before a frame of that use of a log file is written: a log file
 * that begins with a whole frame of a log generation the manifest has not heard of proves that
 * edits are lost. ERROR_CORRUPT then. Looks at every log file of the folder, named by the manifest
 * or not. */
int manifest_truncation_check(struct io *io, const char *directory,
                              const struct manifest_state *state, struct error *error);

#endif
