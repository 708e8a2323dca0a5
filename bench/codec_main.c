/* The packed codec against what else could be done with float32 vectors, on files of vectors: share
 * of the raw size that remains, and speed in GB of floats a second on one core.
 *
 *   windrow-bench-codec FILE.fbin|FILE.u8bin...
 *
 * Blocks are those of a sealed run: rows of at most 256 KiB. Every way is checked to give back the
 * bits that went in. The best of three passes counts, in CPU time: the machine is shared. */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "bench/measure.h"
#include "store/files/codec.h"

enum { PASSES = 3, MAX_ROWS = 1 << 20, SCRATCH_BYTES = 2 * CODEC_MAX_BYTES };

struct set {
    uint32_t rows, dim;
    float *values;
};

struct way {
    const char *name;
    /* Both return bytes; encode the size of `out`, 0: stays raw. */
    size_t (*encode)(const float *values, size_t count, uint8_t *out);
    void (*decode)(const uint8_t *bytes, size_t size_bytes, float *values, size_t count);
};

static struct codec_encoder *encoder;
static ZSTD_CCtx *compressor;
static ZSTD_DCtx *decompressor;

static void fail(const char *what)
{
    fprintf(stderr, "windrow-bench-codec: %s\n", what);
    exit(1);
}

/* Ways. */

static size_t packed_encode(const float *values, size_t count, uint8_t *out)
{
    const uint8_t *packed;
    size_t size_bytes = codec_encode(encoder, values, count, &packed);

    memcpy(out, packed, size_bytes);
    return size_bytes;
}

static void packed_decode(const uint8_t *bytes, size_t size_bytes, float *values, size_t count)
{
    if (codec_decode(bytes, size_bytes, values, count, ERROR_IGNORED) != 0)
        fail("packed block does not decode");
}

static size_t zstd_encode(const void *bytes, size_t size_bytes, uint8_t *out, int level)
{
    size_t packed = ZSTD_compressCCtx(compressor, out, SCRATCH_BYTES, bytes, size_bytes, level);

    return ZSTD_isError(packed) || packed >= size_bytes ? 0 : packed;
}

static void zstd_decode(const uint8_t *bytes, size_t size_bytes, void *out, size_t raw_bytes)
{
    if (ZSTD_decompressDCtx(decompressor, out, raw_bytes, bytes, size_bytes) != raw_bytes)
        fail("zstd block does not decode");
}

static size_t plain_encode(const float *values, size_t count, uint8_t *out)
{
    return zstd_encode(values, count * 4, out, 1);
}

static void plain_decode(const uint8_t *bytes, size_t size_bytes, float *values, size_t count)
{
    zstd_decode(bytes, size_bytes, values, count * 4);
}

static uint8_t shuffled[CODEC_MAX_BYTES];

/* The four planes one behind the other, all through zstd. */
static size_t shuffle_encode(const float *values, size_t count, uint8_t *out)
{
    uint8_t *const planes[CODEC_PLANES] = {shuffled, shuffled + count, shuffled + 2 * count,
                                           shuffled + 3 * count};

    codec_kernels()->split((const void *)values, count, planes);
    return zstd_encode(shuffled, count * 4, out, 3);
}

static void shuffle_decode(const uint8_t *bytes, size_t size_bytes, float *values, size_t count)
{
    const uint8_t *const planes[CODEC_PLANES] = {shuffled, shuffled + count, shuffled + 2 * count,
                                                 shuffled + 3 * count};

    zstd_decode(bytes, size_bytes, shuffled, count * 4);
    codec_kernels()->join(planes, count, (void *)values);
}

/* Measuring. */

struct block {
    size_t first, count; /* values */
    size_t offset;       /* in the encoded bytes */
    size_t size_bytes;   /* 0: raw */
};

struct result {
    size_t stored_bytes;
    double encode_seconds, decode_seconds;
};

static struct result measure(const struct way *way, const struct set *set, struct block *blocks,
                             size_t block_count, uint8_t *encoded)
{
    static float decoded[CODEC_MAX_VALUES];
    struct result best = {0, 1e9, 1e9};

    for (int pass = 0; pass < PASSES; pass++) {
        double start = bench_thread_cpu();
        size_t used = 0, stored = 0;
        for (size_t i = 0; i < block_count; i++) {
            blocks[i].offset = used;
            blocks[i].size_bytes =
                way->encode(set->values + blocks[i].first, blocks[i].count, encoded + used);
            used += (blocks[i].size_bytes + 63) / 64 * 64;
            stored += blocks[i].size_bytes ? blocks[i].size_bytes : blocks[i].count * 4;
        }
        best.encode_seconds = fmin(best.encode_seconds, bench_thread_cpu() - start);
        best.stored_bytes = stored;
        start = bench_thread_cpu();
        for (size_t i = 0; i < block_count; i++) {
            if (blocks[i].size_bytes)
                way->decode(encoded + blocks[i].offset, blocks[i].size_bytes, decoded,
                            blocks[i].count);
            else
                memcpy(decoded, set->values + blocks[i].first, blocks[i].count * 4);
        }
        best.decode_seconds = fmin(best.decode_seconds, bench_thread_cpu() - start);
    }
    for (size_t i = 0; i < block_count; i++) {
        if (!blocks[i].size_bytes)
            continue;
        way->decode(encoded + blocks[i].offset, blocks[i].size_bytes, decoded, blocks[i].count);
        if (memcmp(decoded, set->values + blocks[i].first, blocks[i].count * 4) != 0)
            fail("decoded bits differ");
    }
    return best;
}

static void report(const struct set *set)
{
    static const struct way ways[] = {
        {"packed", packed_encode, packed_decode},
        {"zstd -1", plain_encode, plain_decode},
        {"shuffle, zstd -3", shuffle_encode, shuffle_decode},
    };
    size_t total = (size_t)set->rows * set->dim;
    size_t block_values = CODEC_MAX_VALUES / set->dim * set->dim;
    size_t block_count = (total + block_values - 1) / block_values;
    struct block *blocks = calloc(block_count, sizeof(*blocks));
    uint8_t *encoded = malloc(total * 4 + block_count * 64 + SCRATCH_BYTES);

    if (!blocks || !encoded)
        fail("no memory");
    for (size_t i = 0; i < block_count; i++) {
        blocks[i].first = i * block_values;
        blocks[i].count = i + 1 < block_count ? block_values : total - blocks[i].first;
    }
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct result got = measure(&ways[i], set, blocks, block_count, encoded);
        double gigabytes = (double)total * 4e-9;
        printf("  %-18s saves %5.2f %%  in %5.2f GB/s  out %5.2f GB/s\n", ways[i].name,
               100 - 100 * (double)got.stored_bytes / ((double)total * 4),
               gigabytes / got.encode_seconds, gigabytes / got.decode_seconds);
    }
    free(blocks);
    free(encoded);
}

static bool read_set(FILE *file, bool bytes, struct set *set)
{
    uint32_t header[2];
    size_t total;
    bool whole;

    if (fread(header, sizeof(header), 1, file) != 1)
        return false;
    set->rows = header[0] < MAX_ROWS ? header[0] : MAX_ROWS;
    set->dim = header[1];
    total = (size_t)set->rows * set->dim;
    if (set->dim == 0 || set->dim > CODEC_MAX_VALUES)
        return false;
    set->values = malloc(total * 4);
    if (!set->values)
        fail("no memory");
    whole = fread(set->values, bytes ? 1 : 4, total, file) == total;
    /* Widened from the end, so that no byte is overwritten before it is read. */
    for (size_t i = total; bytes && i > 0; i--)
        set->values[i - 1] = ((const uint8_t *)set->values)[i - 1];
    return whole;
}

static bool load(const char *path, struct set *set)
{
    const char *dot = strrchr(path, '.');
    FILE *file = fopen(path, "rb");
    bool whole;

    if (!file)
        return false;
    whole = read_set(file, dot && strcmp(dot, ".u8bin") == 0, set);
    fclose(file);
    return whole;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        fail("name files of vectors (.fbin, .u8bin)");
    encoder = codec_encoder_new();
    compressor = ZSTD_createCCtx();
    decompressor = ZSTD_createDCtx();
    printf("kernels %s, zstd %s\n", codec_kernels()->name, ZSTD_versionString());
    for (int i = 1; i < argc; i++) {
        struct set set = {0};
        if (!load(argv[i], &set))
            fail("cannot read the vectors");
        printf("%s: %u x %u\n", argv[i], set.rows, set.dim);
        report(&set);
        free(set.values);
    }
    codec_encoder_delete(encoder);
    ZSTD_freeCCtx(compressor);
    ZSTD_freeDCtx(decompressor);
    return 0;
}
