/* vector_row: a vector as a run stores it, and as the float32 values that it stands for.
 *
 *   float32   dim values (codecs raw and packed: packed blocks are decoded before rows are cut)
 *   float16   dim halves (IEEE 754 binary16)
 *   bfloat16  dim upper halves of float32
 *   int8      f32 scale, dim codes -127..127: a value is code x scale
 *
 * float16, bfloat16 and int8 rows end with zeros to a multiple of 4 bytes. Rounding is to the
 * nearest, ties to even. Encoding what was decoded gives the same bytes: a row loses precision once,
 * however often it is merged. For int8 that needs a scale of at most 16 significant bits: then
 * code x scale is exact, and the largest code is 127. Whole numbers up to 127 are their own codes, of
 * scale 1: bits and quantised embeddings lose nothing. */
#ifndef BASE_VECTOR_ROW_H
#define BASE_VECTOR_ROW_H

#include <stddef.h>
#include <stdint.h>

#include "base/vector.h"

struct io_mapping;

struct vector_row {
    const void *bytes; /* vector_row_bytes of them; NULL: none */
    enum vector_codec codec;
    struct io_mapping *mapping; /* that `bytes` lie in, and may have to be read; or NULL */
};

/** Whether rows are float32 values. */
static inline bool vector_codec_is_float32(enum vector_codec codec)
{
    return codec == VECTOR_CODEC_RAW || codec == VECTOR_CODEC_PACKED;
}

static inline struct vector_row vector_row_float32(const float *values)
{
    return (struct vector_row){.bytes = values, .codec = VECTOR_CODEC_RAW};
}

/** Bytes of a stored row; a multiple of 4. */
size_t vector_row_bytes(enum vector_codec codec, uint32_t dim);

/** False when a value is outside of what the type holds: the bytes are of no use then. */
bool vector_row_encode(enum vector_codec codec, const float *values, uint32_t dim, void *bytes);

/** The `dim` values of a row; any bytes will do. */
void vector_row_decode(struct vector_row row, uint32_t dim, float *values);

/** The same of `count` rows that lie together. */
void vector_rows_decode(struct vector_row rows, uint32_t count, uint32_t dim, float *values);

/** The values where they lie, or decoded to `scratch` (room for `dim`). */
static inline const float *vector_row_values(struct vector_row row, uint32_t dim, float *scratch)
{
    if (vector_codec_is_float32(row.codec))
        return row.bytes;
    vector_row_decode(row, dim, scratch);
    return scratch;
}

/* The conversions that searches wait for, by kind of machine; all of them agree bit for bit. */
struct vector_row_kernels {
    const char *name;
    /* False: a value is beyond the largest half. */
    bool (*to_float16)(const float *values, uint32_t count, uint16_t *halves);
    void (*from_float16)(const uint16_t *halves, uint32_t count, float *values);
    void (*from_bfloat16)(const uint16_t *halves, uint32_t count, float *values);
    void (*from_int8)(const int8_t *codes, float scale, uint32_t count, float *values);
};

/** "scalar" or "avx2"; NULL when this machine has not what they need. */
const struct vector_row_kernels *vector_row_kernels_find(const char *name);

#endif
