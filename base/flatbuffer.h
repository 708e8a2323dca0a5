/* The part of FlatBuffers (flatbuffers.dev/internals) that the metadata of Arrow needs: tables,
 * vectors, strings and structs, read from hostile bytes and written without a schema compiler.
 *
 * The distribution has FlatBuffers for C++ alone, flatcc and nanoarrow not at all. Arrow's metadata
 * is some dozen tables of few fields; the library of Arrow would bring a hundred times the code.
 *
 *     buffer   offset of the root table : u32 from its own place
 *     table    i32 (place of the table - place of its vtable), then the fields' values
 *     vtable   u16 its bytes, u16 bytes of the table, u16 for each slot: place of the value in the table,
 *              0: it has its default
 *     vector   u32 count, then the items: values, or u32 offsets from their own place
 *     string   vector of bytes, and a zero behind
 *
 * All numbers are little-endian; a value lies at a multiple of its size from the buffer's start. */
#ifndef BASE_FLATBUFFER_H
#define BASE_FLATBUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

/* Reading. A place is a byte offset in the buffer; 0 stands for what is not there, which every function takes
 * and answers with nothing. What lies outside the buffer sets `broken` and is not there. Reading
 * goes where the caller asks, so that a buffer that leads in circles costs no more than another. */
struct flatbuffer {
    const uint8_t *data;
    size_t size;
    bool broken;
};

struct flatbuffer_vector {
    size_t items; /* place of the first */
    uint32_t count;
};

size_t flatbuffer_root(struct flatbuffer *buffer);
/** Place of the value of a table's slot, which has `size` bytes. */
size_t flatbuffer_field(struct flatbuffer *buffer, size_t table, unsigned slot, size_t size);
/** The value of 1, 2, 4 or 8 bytes, with its sign; `otherwise` where it is not there. */
int64_t flatbuffer_integer(struct flatbuffer *buffer, size_t table, unsigned slot, size_t size,
                           int64_t otherwise);
/** The table that a slot leads to. */
size_t flatbuffer_table(struct flatbuffer *buffer, size_t table, unsigned slot);
/** The vector that a slot leads to; empty where it is not there. */
struct flatbuffer_vector flatbuffer_vector(struct flatbuffer *buffer, size_t table, unsigned slot,
                                           size_t item_size);
/** Item `index`, below the count, of a vector of tables. */
size_t flatbuffer_table_at(struct flatbuffer *buffer, const struct flatbuffer_vector *vector,
                           uint32_t index);
/** `size` bytes at a place as a little-endian number with its sign. The place was checked. */
int64_t flatbuffer_number(const struct flatbuffer *buffer, size_t place, size_t size);

/* Writing: a table first, then what its fields lead to, which flatbuffer_link ties to it. Places count
 * from the start of `out`, which holds the buffer and nothing else. */

struct flatbuffer_value {
    uint8_t slot;
    uint8_t size; /* 1, 2, 4, 8; offsets have 4 */
    int64_t value;
};

enum { FLATBUFFER_SLOTS_MAX = 16 };

/** The place for the root's offset. */
void flatbuffer_begin(struct buffer *out);
/** Writes a table with its values, the large ones first. `places` (by slot) gets where they lie; may be
 * NULL. Returns the table's place. */
size_t flatbuffer_write_table(struct buffer *out, const struct flatbuffer_value *values,
                              size_t count, size_t places[FLATBUFFER_SLOTS_MAX]);
/** A vector of `count` items, whose bytes are copied or with NULL zeroed. Returns its place; items lie 4
 * bytes behind. */
size_t flatbuffer_write_vector(struct buffer *out, const void *items, uint32_t count,
                               size_t item_size);
size_t flatbuffer_write_string(struct buffer *out, const char *text, size_t length);
/** The offset at `place` leads to `target`, which lies behind it. */
void flatbuffer_link(struct buffer *out, size_t place, size_t target);

#endif
