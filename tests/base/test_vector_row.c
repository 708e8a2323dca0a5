/* Rows of fewer bytes: how far a value may be from what it was, that all kinds of machine agree, and
 * that to encode what was decoded changes nothing. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/vector_row.h"
#include "tests/support/test_main.h"

enum { DIM_MAX = 131, ROUNDS = 2000 };

static const enum vector_codec types[] = {VECTOR_CODEC_FLOAT16, VECTOR_CODEC_BFLOAT16,
                                          VECTOR_CODEC_INT8};
enum { TYPES = sizeof(types) / sizeof(types[0]) };

/* Values of any size that all types hold: 2^-30 to 2^15, some of them zero. */
static void fill(float *values, uint32_t dim, uint64_t *state)
{
    int exponent = (int)(test_random(state) % 45) - 30;

    for (uint32_t i = 0; i < dim; i++) {
        double unit = (double)(int64_t)test_random(state) * 0x1p-63;
        values[i] = test_random(state) % 16 ? (float)ldexp(unit, exponent) : 0;
    }
}

static float largest_of(const float *values, uint32_t dim)
{
    float largest = 0;

    for (uint32_t i = 0; i < dim; i++)
        largest = fmaxf(largest, fabsf(values[i]));
    return largest;
}

/* Half a step of the type at this value. */
static double bound_of(enum vector_codec type, float value, float largest)
{
    switch (type) {
    case VECTOR_CODEC_FLOAT16:
        return fmax(ldexp(fabs((double)value), -11), 0x1p-25);
    case VECTOR_CODEC_BFLOAT16:
        return ldexp(fabs((double)value), -8);
    default: /* half a step, and the scale may be 2^-15 larger than it has to be */
        return (double)largest / 254 * (1 + 0x1p-14);
    }
}

START_TEST(values_are_off_by_half_a_step_at_most)
{
    uint64_t state = test_seed();
    float values[DIM_MAX], read[DIM_MAX];
    uint8_t bytes[DIM_MAX * 4 + 8];

    for (int round = 0; round < ROUNDS; round++) {
        uint32_t dim = 1 + (uint32_t)(test_random(&state) % DIM_MAX);
        fill(values, dim, &state);
        for (int t = 0; t < TYPES; t++) {
            ck_assert(vector_row_encode(types[t], values, dim, bytes));
            vector_row_decode((struct vector_row){.bytes = bytes, .codec = types[t]}, dim, read);
            for (uint32_t i = 0; i < dim; i++)
                ck_assert_msg(fabs((double)values[i] - (double)read[i]) <=
                                  bound_of(types[t], values[i], largest_of(values, dim)),
                              "%s: %a became %a", vector_codec_name(types[t]), (double)values[i],
                              (double)read[i]);
        }
    }
}
END_TEST

START_TEST(what_was_decoded_is_encoded_to_the_same_bytes)
{
    uint64_t state = test_seed();
    float values[DIM_MAX], read[DIM_MAX], again[DIM_MAX];
    uint8_t first[DIM_MAX * 4 + 8], second[DIM_MAX * 4 + 8];

    for (int round = 0; round < ROUNDS; round++) {
        uint32_t dim = 1 + (uint32_t)(test_random(&state) % DIM_MAX);
        fill(values, dim, &state);
        for (int t = 0; t < TYPES; t++) {
            size_t size_bytes = vector_row_bytes(types[t], dim);
            ck_assert_uint_eq(size_bytes % 4, 0);
            memset(first, 0xee, sizeof(first));
            memset(second, 0x11, sizeof(second));
            ck_assert(vector_row_encode(types[t], values, dim, first));
            vector_row_decode((struct vector_row){.bytes = first, .codec = types[t]}, dim, read);
            ck_assert(vector_row_encode(types[t], read, dim, second));
            ck_assert_mem_eq(first, second, size_bytes);
            ck_assert_uint_eq(first[size_bytes], 0xee); /* nothing behind the row is touched */
            vector_row_decode((struct vector_row){.bytes = second, .codec = types[t]}, dim, again);
            ck_assert_mem_eq(read, again, dim * sizeof(float));
        }
    }
}
END_TEST

/* Bits, and embeddings that were quantised before they came. */
START_TEST(whole_numbers_up_to_127_are_kept_as_they_are)
{
    static const float largest[] = {1, 2, 126, 127};
    uint64_t state = test_seed();
    float values[DIM_MAX], read[DIM_MAX];
    uint8_t bytes[DIM_MAX + 8];

    for (size_t l = 0; l < sizeof(largest) / sizeof(largest[0]); l++) {
        for (uint32_t i = 0; i < DIM_MAX; i++)
            values[i] = floorf((float)(test_random(&state) % 1000) / 999 * largest[l]);
        values[DIM_MAX / 2] = -largest[l];
        ck_assert(vector_row_encode(VECTOR_CODEC_INT8, values, DIM_MAX, bytes));
        vector_row_decode((struct vector_row){.bytes = bytes, .codec = VECTOR_CODEC_INT8}, DIM_MAX,
                          read);
        ck_assert_mem_eq(values, read, sizeof(values));
    }
}
END_TEST

START_TEST(values_that_a_type_cannot_hold_are_refused)
{
    static const struct {
        float value;
        bool fits[TYPES]; /* float16, bfloat16, int8 */
    } cases[] = {
        {65519.99F, {true, true, true}},     {65520.0F, {false, true, true}},
        {-65520.0F, {false, true, true}},    {1e30F, {false, true, true}},
        {FLT_MAX, {false, false, false}},    {INFINITY, {false, false, false}},
        {-INFINITY, {false, false, false}},  {NAN, {false, false, false}},
        {FLT_TRUE_MIN, {true, true, true}},  {0x1p-101F, {true, true, true}},
        {-0x1.fep127F, {false, true, true}}, {0, {true, true, true}},
    };
    uint8_t bytes[80];
    float values[17] = {0}, read[17];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        for (uint32_t at = 0; at < 17; at += 4) /* in lanes and behind them */
            for (int t = 0; t < TYPES; t++) {
                memset(values, 0, sizeof(values));
                values[at] = cases[i].value;
                ck_assert_msg(vector_row_encode(types[t], values, 17, bytes) == cases[i].fits[t],
                              "%a as %s", (double)cases[i].value, vector_codec_name(types[t]));
                if (!cases[i].fits[t])
                    continue;
                vector_row_decode((struct vector_row){.bytes = bytes, .codec = types[t]}, 17, read);
                for (int k = 0; k < 17; k++)
                    ck_assert(isfinite(read[k]));
            }
}
END_TEST

/* Every half, NaN among them, and codes with every scale of a few: hostile files have any. */
START_TEST(all_kernels_agree)
{
    const struct vector_row_kernels *scalar = vector_row_kernels_find("scalar");
    const struct vector_row_kernels *avx2 = vector_row_kernels_find("avx2");
    static uint16_t halves[65536], back[2][65536];
    static float values[2][65536], any[65536];
    uint64_t state = test_seed();

    ck_assert_ptr_null(vector_row_kernels_find("avx1024"));
    if (!avx2)
        test_skip("this processor has no AVX2");
    for (uint32_t i = 0; i < 65536; i++) {
        uint32_t bits = (uint32_t)test_random(&state);
        halves[i] = (uint16_t)i;
        memcpy(&any[i], &bits, sizeof(bits));
    }
    scalar->from_float16(halves, 65536, values[0]);
    avx2->from_float16(halves, 65536, values[1]);
    ck_assert_mem_eq(values[0], values[1], sizeof(values[0]));
    scalar->from_bfloat16(halves, 65535, values[0]);
    avx2->from_bfloat16(halves, 65535, values[1]);
    ck_assert_mem_eq(values[0], values[1], sizeof(values[0]));
    scalar->from_int8((const int8_t *)halves, 0x1.234p-7F, 65533, values[0]);
    avx2->from_int8((const int8_t *)halves, 0x1.234p-7F, 65533, values[1]);
    ck_assert_mem_eq(values[0], values[1], sizeof(values[0]));
    for (uint32_t i = 0; i < 65536; i++)
        if (!(fabsf(any[i]) < 65520.0F))
            any[i] = 0x1p-24F * (float)(i % 2048) * 0.5F; /* subnormal halves, and ties */
    ck_assert(scalar->to_float16(any, 65535, back[0]));
    ck_assert(avx2->to_float16(any, 65535, back[1]));
    ck_assert_mem_eq(back[0], back[1], sizeof(back[0]));
}
END_TEST

TEST_TABLE(TEST(values_are_off_by_half_a_step_at_most),
           TEST(what_was_decoded_is_encoded_to_the_same_bytes),
           TEST(whole_numbers_up_to_127_are_kept_as_they_are),
           TEST(values_that_a_type_cannot_hold_are_refused), TEST(all_kernels_agree))
