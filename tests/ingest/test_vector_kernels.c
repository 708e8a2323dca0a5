/* All kernels give the bits of the scalar one, whatever the processor. */
#include <math.h>
#include <string.h>

#include "ingest/decode/vector_kernels.h"
#include "tests/support/test_main.h"

enum { DIM_MAX = 100, ROUNDS = 2000 };

/* Any bits, most often those of usual numbers. */
static float any_float(uint64_t *seed)
{
    uint32_t bits = (uint32_t)(test_random(seed) >> 32);
    float value;

    if (test_random(seed) % 64 != 0)
        return (float)((double)(test_random(seed) >> 11) * 0x1p-53 - 0.5);
    memcpy(&value, &bits, sizeof(value));
    return isfinite(value) ? value : 0;
}

START_TEST(kernels_give_the_bits_of_the_scalar_one)
{
    uint64_t seed = test_seed();
    size_t count;
    const struct vector_kernels *kernels = vector_kernels_all(&count);
    const struct vector_kernels *scalar = &kernels[count - 1];
    uint8_t bytes[DIM_MAX * sizeof(float) + 1];
    float vector[DIM_MAX], wanted[DIM_MAX], got[DIM_MAX];

    ck_assert_str_eq(scalar->name, "scalar");
    for (int round = 0; round < ROUNDS; round++) {
        uint32_t dim = (uint32_t)(test_random(&seed) % DIM_MAX) + 1;
        size_t shift = (size_t)(test_random(&seed) % 2);
        double factor = (double)any_float(&seed);
        double length;
        for (uint32_t i = 0; i < dim; i++)
            vector[i] = any_float(&seed);
        memcpy(bytes + shift, vector, dim * sizeof(float));
        length = scalar->squared_length(bytes + shift, dim);
        scalar->scale(bytes + shift, wanted, dim, factor);
        for (size_t k = 0; k < count; k++) {
            double own = kernels[k].squared_length(bytes + shift, dim);
            ck_assert_msg(memcmp(&own, &length, sizeof(own)) == 0, "%s: %a, not %a",
                          kernels[k].name, own, length);
            kernels[k].scale(bytes + shift, got, dim, factor);
            ck_assert_msg(memcmp(got, wanted, dim * sizeof(float)) == 0, "%s: dim %u",
                          kernels[k].name, dim);
            memcpy(got, vector, dim * sizeof(float));
            kernels[k].scale(got, got, dim, factor);
            ck_assert_mem_eq(got, wanted, dim * sizeof(float));
        }
    }
}
END_TEST

START_TEST(length_is_finite_if_and_only_if_all_values_are)
{
    const float ends[] = {3.4028235e38F, -3.4028235e38F, 1e-45F, INFINITY, -INFINITY, NAN};
    size_t count;
    const struct vector_kernels *kernels = vector_kernels_all(&count);
    float vector[DIM_MAX];

    for (size_t k = 0; k < count; k++) {
        for (size_t e = 0; e < sizeof(ends) / sizeof(ends[0]); e++) {
            for (uint32_t at = 0; at < DIM_MAX; at++) {
                for (uint32_t i = 0; i < DIM_MAX; i++)
                    vector[i] = e < 2 ? ends[e] : 0;
                vector[at] = ends[e];
                ck_assert_int_eq(isfinite(kernels[k].squared_length(vector, DIM_MAX)) != 0,
                                 isfinite(ends[e]) != 0);
                ck_assert(kernels[k].squared_length(vector, DIM_MAX) != 0);
            }
        }
    }
}
END_TEST

TEST_TABLE(TEST(kernels_give_the_bits_of_the_scalar_one),
           TEST(length_is_finite_if_and_only_if_all_values_are))
