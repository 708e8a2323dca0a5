/* A chunk, run or file of vectors, decoded for store_inspect. */
#ifndef STORE_TOOLS_TABLE_INSPECT_H
#define STORE_TOOLS_TABLE_INSPECT_H

#include <stdbool.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"

int table_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                  struct error *error);

#endif
