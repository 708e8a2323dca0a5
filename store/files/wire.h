/* Little-endian fields in byte strings, for the manifest. The reader never runs past the end: it
 * returns zeros and remembers that it failed. */
#ifndef STORE_FILES_WIRE_H
#define STORE_FILES_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/buffer.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "files are written as they lie in memory");

struct wire_reader {
    const uint8_t *cursor;
    const uint8_t *end;
    bool failed;
};

static inline void wire_read(struct wire_reader *reader, void *out, size_t size_bytes)
{
    if ((size_t)(reader->end - reader->cursor) < size_bytes) {
        reader->failed = true;
        reader->cursor = reader->end;
        memset(out, 0, size_bytes);
        return;
    }
    memcpy(out, reader->cursor, size_bytes);
    reader->cursor += size_bytes;
}

static inline uint8_t wire_read_u8(struct wire_reader *reader)
{
    uint8_t value;

    wire_read(reader, &value, sizeof(value));
    return value;
}

static inline uint32_t wire_read_u32(struct wire_reader *reader)
{
    uint32_t value;

    wire_read(reader, &value, sizeof(value));
    return value;
}

static inline uint64_t wire_read_u64(struct wire_reader *reader)
{
    uint64_t value;

    wire_read(reader, &value, sizeof(value));
    return value;
}

static inline int64_t wire_read_i64(struct wire_reader *reader)
{
    int64_t value;

    wire_read(reader, &value, sizeof(value));
    return value;
}

static inline double wire_read_double(struct wire_reader *reader)
{
    double value;

    wire_read(reader, &value, sizeof(value));
    return value;
}

static inline void wire_put_u8(struct buffer *out, uint8_t value)
{
    buffer_append_byte(out, value);
}

static inline void wire_put_u32(struct buffer *out, uint32_t value)
{
    buffer_append(out, &value, sizeof(value));
}

static inline void wire_put_u64(struct buffer *out, uint64_t value)
{
    buffer_append(out, &value, sizeof(value));
}

static inline void wire_put_i64(struct buffer *out, int64_t value)
{
    buffer_append(out, &value, sizeof(value));
}

static inline void wire_put_double(struct buffer *out, double value)
{
    buffer_append(out, &value, sizeof(value));
}

/* What a file of a later format is refused with: its version, ours. It is not damaged, and nothing
 * of it may be dropped. */
#define NEWER_FORMAT "format version %u: a newer windrow wrote it, this one reads up to %d"

#endif
