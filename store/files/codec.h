/* `packed`: float32 vectors in four planes of bytes, each stored as it is or Huffman-coded.
 *
 *   0    u32 stored_bytes[4]
 *   16   plane 0  exponents: bits 30..23 of each value
 *        plane 1  sign and bits 22..16
 *        plane 2  bits 15..8
 *        plane 3  bits 7..0
 *        zeros to a multiple of 4
 *
 * A plane of n values has n bytes when it is stored as it is (stored_bytes == n), else it is one
 * zstd frame whose literals are Huffman-coded and which has next to no matches: on embeddings only
 * the distribution of the exponents repeats, no sequence does, so searching for matches costs speed
 * and saves nothing. The upper planes of values that were float16 or bfloat16 once, and the zeros
 * below them, are found by the same choice, which a sample of each plane of each block makes. */
#ifndef STORE_FILES_CODEC_H
#define STORE_FILES_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    CODEC_PLANES = 4,
    CODEC_HEADER_BYTES = 16,
    CODEC_MAX_BYTES = 262144, /* of raw floats in a block: TABLE_VECTOR_BLOCK_BYTES */
    CODEC_MAX_VALUES = CODEC_MAX_BYTES / 4
};

struct codec_encoder;

struct codec_encoder *codec_encoder_new(void);
void codec_encoder_delete(struct codec_encoder *encoder);

/** Encodes `count` (1..CODEC_MAX_VALUES) floats. Returns the bytes at `*out`, which belong to the
 * encoder until the next call; or 0 when that would not be smaller than the floats themselves,
 * which are then to be stored as they are. Not thread-safe. */
size_t codec_encode(struct codec_encoder *encoder, const float *values, size_t count,
                    const uint8_t **out);

/** Decodes exactly `count` floats; the bytes are hostile. ERROR_CORRUPT says what is wrong. Any
 * thread; each keeps a decoder (codec_thread) until it ends. */
int codec_decode(const uint8_t *bytes, size_t size_bytes, float *values, size_t count,
                 struct error *error);

/* What a thread that decodes keeps: a zstd context costs more to set up than to use once. */
struct codec_thread {
    struct ZSTD_DCtx_s *zstd;
    uint8_t planes[CODEC_PLANES][CODEC_MAX_VALUES];
};
struct codec_thread *codec_thread(void);

/* codec_planes*.c: the same function for three kinds of machine. */
struct codec_kernels {
    const char *name;
    void (*split)(const uint32_t *values, size_t count, uint8_t *const planes[CODEC_PLANES]);
    void (*join)(const uint8_t *const planes[CODEC_PLANES], size_t count, uint32_t *values);
};

extern const struct codec_kernels codec_kernels_scalar;
extern const struct codec_kernels codec_kernels_avx2;
extern const struct codec_kernels codec_kernels_avx512;

/** Those named, or NULL when this machine has not what they need. */
const struct codec_kernels *codec_kernels_find(const char *name);
/** The fastest this machine runs. */
const struct codec_kernels *codec_kernels(void);

#endif
