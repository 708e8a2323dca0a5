/* Packed blocks decode to the bits that went in, on every kind of machine, and refuse anything
 * else. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/files/codec.h"
#include "tests/support/test_main.h"

static float values[CODEC_MAX_VALUES];
static float decoded[CODEC_MAX_VALUES];

enum style { NEAR_ONE, ANY_BITS, WAS_BFLOAT16, WAS_FLOAT16, ALL_ZERO, ALL_SAME, STYLE_COUNT };

static void draw(enum style style, size_t count, uint64_t *state)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)(test_random(state) >> 16);
        float near = (float)((int32_t)bits / 2147483648.0 * ((int32_t)(bits << 7) / 2147483648.0));
        uint32_t kept;
        memcpy(&kept, &near, sizeof(kept));
        if (style == ANY_BITS)
            kept = bits;
        else if (style == WAS_BFLOAT16)
            kept &= 0xffff0000;
        else if (style == WAS_FLOAT16)
            kept &= 0xffffe000;
        else if (style == ALL_ZERO)
            kept = 0;
        else if (style == ALL_SAME)
            kept = 0x80000001;
        memcpy(&values[i], &kept, sizeof(kept));
    }
}

START_TEST(decoded_bits_are_those_that_went_in)
{
    static const size_t counts[] = {1, 2, 3, 7, 8, 15, 17, 100, 768, 4095, 4096, 65535, 65536};
    struct codec_encoder *encoder = codec_encoder_new();
    uint64_t state = test_seed();

    for (int style = 0; style < STYLE_COUNT; style++) {
        for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
            const uint8_t *packed;
            size_t packed_bytes;
            draw((enum style)style, counts[i], &state);
            packed_bytes = codec_encode(encoder, values, counts[i], &packed);
            ck_assert_uint_lt(packed_bytes, counts[i] * 4);
            if (packed_bytes == 0)
                continue; /* to be stored as they are */
            ck_assert_uint_eq(packed_bytes % 4, 0);
            memset(decoded, 0xa5, sizeof(decoded));
            ck_assert_int_eq(codec_decode(packed, packed_bytes, decoded, counts[i], ERROR_IGNORED),
                             0);
            ck_assert_mem_eq(decoded, values, counts[i] * 4);
            if (counts[i] < CODEC_MAX_VALUES)
                ck_assert_uint_eq(((const uint8_t *)decoded)[counts[i] * 4], 0xa5);
        }
    }
    codec_encoder_delete(encoder);
}
END_TEST

START_TEST(planes_that_repeat_are_found)
{
    /* Share of the raw size that may remain: exponents of products of uniform numbers have
     * about 2.7 bits; zero planes nearly vanish. */
    static const struct {
        enum style style;
        double most;
    } cases[] = {{NEAR_ONE, 0.86},
                 {WAS_BFLOAT16, 0.36},
                 {WAS_FLOAT16, 0.46},
                 {ALL_ZERO, 0.01},
                 {ALL_SAME, 0.01}};
    struct codec_encoder *encoder = codec_encoder_new();
    uint64_t state = test_seed();
    const uint8_t *packed;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        size_t packed_bytes;
        draw(cases[i].style, CODEC_MAX_VALUES, &state);
        packed_bytes = codec_encode(encoder, values, CODEC_MAX_VALUES, &packed);
        printf("style %d: %.4f\n", (int)cases[i].style, (double)packed_bytes / CODEC_MAX_BYTES);
        ck_assert_uint_gt(packed_bytes, 0);
        ck_assert((double)packed_bytes < cases[i].most * CODEC_MAX_BYTES);
    }
    draw(ANY_BITS, CODEC_MAX_VALUES, &state);
    ck_assert_uint_eq(codec_encode(encoder, values, CODEC_MAX_VALUES, &packed), 0);
    codec_encoder_delete(encoder);
}
END_TEST

START_TEST(kernels_agree_with_the_scalar_one)
{
    static const char *const names[] = {"avx2", "avx512"};
    static uint8_t bytes[2][CODEC_PLANES][1000];
    uint64_t state = test_seed();
    int compared = 0;

    for (int i = 0; i < 2; i++) {
        const struct codec_kernels *kernels = codec_kernels_find(names[i]);
        for (size_t count = 0; kernels && count < 1000; count += 1 + count / 9) {
            uint8_t *const expected[] = {bytes[0][0], bytes[0][1], bytes[0][2], bytes[0][3]};
            uint8_t *const got[] = {bytes[1][0], bytes[1][1], bytes[1][2], bytes[1][3]};
            const uint8_t *const planes[] = {got[0], got[1], got[2], got[3]};
            memset(bytes, 0, sizeof(bytes));
            draw(ANY_BITS, count, &state);
            codec_kernels_scalar.split((const uint32_t *)values, count, expected);
            kernels->split((const uint32_t *)values, count, got);
            ck_assert_mem_eq(bytes[0], bytes[1], sizeof(bytes[0]));
            memset(decoded, 0, sizeof(decoded));
            kernels->join(planes, count, (uint32_t *)decoded);
            ck_assert(count == 0 || memcmp(decoded, values, count * 4) == 0);
            ck_assert_uint_eq(((const uint32_t *)decoded)[count], 0);
            compared++;
        }
    }
    if (compared == 0)
        test_skip("this machine has neither AVX2 nor AVX-512");
}
END_TEST

/* Changed, cut and extended blocks decode to something of the right size or are refused: the bytes
 * are copied to an exact allocation so that a sanitizer sees any step outside. */
START_TEST(hostile_blocks_are_decoded_inside_their_bounds)
{
    enum { COUNT = 3000 };
    struct codec_encoder *encoder = codec_encoder_new();
    uint64_t state = test_seed();
    float *out = malloc(COUNT * 4);
    int refused = 0;

    for (int i = 0; i < 3000; i++) {
        const uint8_t *packed;
        size_t packed_bytes, size_bytes;
        uint8_t *bytes;
        draw((enum style)(i % 2 ? NEAR_ONE : WAS_FLOAT16), COUNT, &state);
        packed_bytes = codec_encode(encoder, values, COUNT, &packed);
        ck_assert_uint_gt(packed_bytes, 0);
        size_bytes = i % 5 == 0 ? test_random(&state) % packed_bytes : packed_bytes;
        bytes = malloc(size_bytes + 1);
        memcpy(bytes, packed, size_bytes);
        for (uint64_t j = test_random(&state) % 4; size_bytes > 0 && j > 0; j--)
            bytes[test_random(&state) % (i % 3 ? size_bytes : size_bytes % 64 + 1)] =
                (uint8_t)test_random(&state);
        bytes = realloc(bytes, size_bytes + (size_bytes == 0));
        refused += codec_decode(bytes, size_bytes, out, COUNT, ERROR_IGNORED) != 0;
        free(bytes);
    }
    ck_assert_int_gt(refused, 500);
    free(out);
    codec_encoder_delete(encoder);
}
END_TEST

TEST_TABLE(TEST(decoded_bits_are_those_that_went_in), TEST(planes_that_repeat_are_found),
           TEST(kernels_agree_with_the_scalar_one),
           TEST(hostile_blocks_are_decoded_inside_their_bounds))
