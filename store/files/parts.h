/* parts: what a record has beside its payload and the collection's own vector, by name: sparse vectors, more
 * dense ones, and lists of dense ones.
 *
 *   body of a record:   payload (MessagePack map) [ parts (MessagePack map) ]
 *   parts:              {NAME: part, ...}
 *   part:               {"indices": bin of u32, "values": bin of float32}     a sparse vector
 *                       bin of float32                                        a dense one
 *                       {"dim": values of each, "rows": bin of float32}       a list of them
 *
 * Numbers are little-endian, pairs keep the order in which they came, and indices are unique. The parts
 * lie in the same bytes as the payload, so that whatever carries a payload carries them: frames,
 * memtables, tables, merges, copies, answers of peers. A record without parts has the payload alone, as
 * in stores of windrow 0.2 and before; files with parts say so by their version. */
#ifndef STORE_FILES_PARTS_H
#define STORE_FILES_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"

enum {
    PARTS_SPARSE_MAX_PAIRS = 65536, /* of one sparse vector */
    PARTS_LIST_MAX_VALUES = 262144  /* of one list of dense vectors, over all: 1 MiB */
};

/** Checks a sparse vector as messages and requests have it, {"indices": [...], "values": [...]}: equally
 * many, indices unique and of 32 bits, values finite as float32. The error's text begins with what is
 * wrong below the vector: ".values[3]: ...". */
int parts_check_sparse(const struct doc *sparse, struct arena *arena, struct error *error);

/** A part of dense vectors as parts_read has it: DOC_FLOATS, or with `list` an array of them, all at `values`. */
struct doc parts_dense(const float *values, uint32_t dim, uint32_t rows, bool list,
                       struct arena *arena);
/** Whether `part`, as parts_read has it, is of dense vectors with `dim` values: *rows of them, one after the
 * other at *values, 64-byte aligned. */
bool parts_dense_values(const struct doc *part, uint32_t dim, const float **values, uint32_t *rows);

/** Appends the parts that `parts` maps to their names, all of them checked, as bytes: sparse vectors as messages
 * have them, and what parts_dense made. */
void parts_write(const struct doc *parts, struct arena *arena, struct buffer *out);

/** The inverse: bytes behind a payload into {NAME: {"indices": [...], "values": [...]}, NAME: dense, ...} in the arena.
 * No bytes are an empty map. ERROR_CORRUPT: they are not parts. */
int parts_read(const uint8_t *bytes, size_t size_bytes, struct arena *arena, struct doc *parts,
               struct error *error);

#endif
