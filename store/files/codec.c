/* For ZSTD_c_literalCompressionMode; the shared library has it too. */
#define ZSTD_STATIC_LINKING_ONLY
#include <zstd.h>

#include "store/files/codec.h"

#include <assert.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

/* A level this low makes zstd step over the input in strides of a thousand bytes when it looks for
 * matches: what remains is the entropy stage. */
enum { HUFFMAN_LEVEL = -1000 };

/* The sample: pieces spread over the plane. 4 KiB tell the order-0 entropy to about 0.02 bits. */
enum { SAMPLE_PIECES = 8, SAMPLE_PIECE_BYTES = 512 };

struct codec_encoder {
    ZSTD_CCtx *zstd;
    uint8_t planes[CODEC_PLANES][CODEC_MAX_VALUES];
    uint8_t out[CODEC_HEADER_BYTES + CODEC_MAX_BYTES + 4];
    uint8_t packed[];
};

struct codec_encoder *codec_encoder_new(void)
{
    struct codec_encoder *encoder =
        memory_checked(malloc(sizeof(*encoder) + ZSTD_compressBound(CODEC_MAX_VALUES)));
    encoder->zstd = ZSTD_createCCtx();
    if (!encoder->zstd)
        abort();
    if (ZSTD_isError(
            ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_compressionLevel, HUFFMAN_LEVEL)) ||
        ZSTD_isError(
            ZSTD_CCtx_setParameter(encoder->zstd, ZSTD_c_literalCompressionMode, ZSTD_ps_enable)))
        abort();
    return encoder;
}

void codec_encoder_delete(struct codec_encoder *encoder)
{
    if (!encoder)
        return;
    ZSTD_freeCCtx(encoder->zstd);
    free(encoder);
}

/* Whether a Huffman code would take less than 15/16 of the plane, judged by the entropy of a
 * sample. */
static bool sample_says_pack(const uint8_t *plane, size_t count)
{
    uint32_t counts[256] = {0};
    size_t step = count / SAMPLE_PIECES;
    uint32_t total = 0;
    double bits = 0;

    if (step < SAMPLE_PIECE_BYTES)
        return true; /* too small to sample: the attempt itself is cheap */
    for (size_t piece = 0; piece < SAMPLE_PIECES; piece++) {
        for (size_t i = 0; i < SAMPLE_PIECE_BYTES; i++)
            counts[plane[piece * step + i]]++;
        total += SAMPLE_PIECE_BYTES;
    }
    for (int i = 0; i < 256; i++) {
        if (counts[i] > 0)
            bits += counts[i] * log2((double)total / counts[i]);
    }
    return bits < (double)total * 8 * 15 / 16;
}

size_t codec_encode(struct codec_encoder *encoder, const float *values, size_t count,
                    const uint8_t **out)
{
    uint8_t *const planes[CODEC_PLANES] = {encoder->planes[0], encoder->planes[1],
                                           encoder->planes[2], encoder->planes[3]};
    uint32_t stored_bytes[CODEC_PLANES];
    size_t used = CODEC_HEADER_BYTES;

    assert(count >= 1 && count <= CODEC_MAX_VALUES);
    codec_kernels()->split((const void *)values, count, planes);
    for (int i = 0; i < CODEC_PLANES; i++) {
        const uint8_t *stored = planes[i];
        size_t size_bytes = count;
        if (sample_says_pack(planes[i], count)) {
            size_t packed = ZSTD_compress2(encoder->zstd, encoder->packed,
                                           ZSTD_compressBound(count), planes[i], count);
            if (!ZSTD_isError(packed) && packed < count - count / 64) {
                stored = encoder->packed;
                size_bytes = packed;
            }
        }
        memcpy(encoder->out + used, stored, size_bytes);
        stored_bytes[i] = (uint32_t)size_bytes;
        used += size_bytes;
    }
    memcpy(encoder->out, stored_bytes, sizeof(stored_bytes));
    while (used % 4 != 0)
        encoder->out[used++] = 0;
    *out = encoder->out;
    return used < count * 4 ? used : 0;
}

/* Decoding. */

static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void free_thread(void *value)
{
    struct codec_thread *thread = value;

    ZSTD_freeDCtx(thread->zstd);
    free(thread);
}

static void create_thread_key(void)
{
    if (pthread_key_create(&thread_key, free_thread) != 0)
        abort();
}

struct codec_thread *codec_thread(void)
{
    struct codec_thread *thread;

    (void)pthread_once(&thread_once, create_thread_key);
    thread = pthread_getspecific(thread_key);
    if (thread)
        return thread;
    thread = memory_checked(malloc(sizeof(*thread)));
    thread->zstd = ZSTD_createDCtx();
    if (!thread->zstd || pthread_setspecific(thread_key, thread) != 0)
        abort();
    return thread;
}

/* Sizes of the planes; they and the padding fill the block. */
static int read_header(const uint8_t *bytes, size_t size_bytes, size_t count,
                       uint32_t stored_bytes[CODEC_PLANES], struct error *error)
{
    size_t used = CODEC_HEADER_BYTES;

    if (size_bytes < CODEC_HEADER_BYTES)
        return error_set(error, ERROR_CORRUPT, "%zu bytes are too few for a packed block",
                         size_bytes);
    memcpy(stored_bytes, bytes, CODEC_HEADER_BYTES);
    for (int i = 0; i < CODEC_PLANES; i++) {
        if (stored_bytes[i] > count || stored_bytes[i] > size_bytes - used)
            return error_set(error, ERROR_CORRUPT, "plane %d has %u bytes for %zu values", i,
                             stored_bytes[i], count);
        used += stored_bytes[i];
    }
    if (size_bytes - used >= 4)
        return error_set(error, ERROR_CORRUPT, "%zu bytes follow the planes", size_bytes - used);
    for (; used < size_bytes; used++) {
        if (bytes[used] != 0)
            return error_set(error, ERROR_CORRUPT, "the padding is not zero");
    }
    return 0;
}

int codec_decode(const uint8_t *bytes, size_t size_bytes, float *values, size_t count,
                 struct error *error)
{
    struct codec_thread *thread = codec_thread();
    const uint8_t *planes[CODEC_PLANES];
    const uint8_t *stored = bytes + CODEC_HEADER_BYTES;
    uint32_t stored_bytes[CODEC_PLANES];
    int result;

    assert(count >= 1 && count <= CODEC_MAX_VALUES);
    result = read_header(bytes, size_bytes, count, stored_bytes, error);
    if (result)
        return result;
    for (int i = 0; i < CODEC_PLANES; i++) {
        planes[i] = stored;
        if (stored_bytes[i] != count) {
            size_t got = ZSTD_decompressDCtx(thread->zstd, thread->planes[i], count, stored,
                                             stored_bytes[i]);
            if (got != count)
                return error_set(error, ERROR_CORRUPT, "cannot decode plane %d: %s", i,
                                 ZSTD_isError(got) ? ZSTD_getErrorName(got) : "wrong size");
            planes[i] = thread->planes[i];
        }
        stored += stored_bytes[i];
    }
    codec_kernels()->join(planes, count, (void *)values);
    return 0;
}
