/* Files that no edit names. */
#ifndef STORE_ORPHANS_H
#define STORE_ORPHANS_H

#include <stdbool.h>

#include "base/error.h"
#include "store/manifest.h"

/** Removes what a crash left behind: files whose number the manifest has reserved and does not
 * refer to, other manifests, and CURRENT.tmp. Anything else stays. `*all_removed` is false when an
 * unlink failed. */
int orphans_remove(struct manifest *manifest, bool *all_removed, struct error *error);

#endif
