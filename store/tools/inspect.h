/* One file of a store, decoded. */
#ifndef STORE_TOOLS_INSPECT_H
#define STORE_TOOLS_INSPECT_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"

/** Decodes any file the store wrote, told by its first bytes, for `windrow inspect`. */
int store_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                  struct error *error);

#endif
