/* parts: what a record has beside its payload and its dense vector: sparse vectors, by name.
 *
 *   body of a record:   payload (MessagePack map) [ parts (MessagePack map) ]
 *   parts:              {NAME: {"indices": bin of u32, "values": bin of float32}, ...}
 *
 * Numbers are little-endian, pairs keep the order in which they came, and indices are unique. The parts
 * lie in the same bytes as the payload, so that whatever carries a payload carries them: frames,
 * memtables, tables, merges, copies, answers of peers. A record without parts has the payload alone, as
 * in stores of windrow 0.2 and before; files with parts say so by their version. */
#ifndef STORE_FILES_PARTS_H
#define STORE_FILES_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"

enum { PARTS_SPARSE_MAX_PAIRS = 65536 }; /* of one sparse vector */

/** Checks a sparse vector as messages and requests have it, {"indices": [...], "values": [...]}: equally
 * many, indices unique and of 32 bits, values finite as float32. The error's text begins with what is
 * wrong below the vector: ".values[3]: ...". */
int parts_check_sparse(const struct doc *sparse, struct arena *arena, struct error *error);

/** Appends the parts whose sparse vectors `parts` maps to their names, all of them checked, as bytes. */
void parts_write(const struct doc *parts, struct arena *arena, struct buffer *out);

/** The inverse: bytes behind a payload into {NAME: {"indices": [...], "values": [...]}} in the arena.
 * No bytes are an empty map. ERROR_CORRUPT: they are not parts. */
int parts_read(const uint8_t *bytes, size_t size_bytes, struct arena *arena, struct doc *parts,
               struct error *error);

#endif
