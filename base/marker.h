/* A fact that outlives the process: an empty file that is there or not. */
#ifndef BASE_MARKER_H
#define BASE_MARKER_H

#include <stdbool.h>

#include "base/io.h"

/** Creates or removes DIRECTORY/NAME, durably. */
int marker_set(struct io *io, const char *directory, const char *name, bool present,
               struct error *error);
/** Whether DIRECTORY/NAME can be opened. */
bool marker_is_set(struct io *io, const char *directory, const char *name);

#endif
