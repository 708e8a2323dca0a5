#include "bench/index_vectors.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

static float half_to_float(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    uint32_t exponent = half >> 10 & 31u, mantissa = half & 1023u, bits;
    float value;

    if (exponent == 0) {
        value = (float)mantissa / 16777216.0f;
        return sign ? -value : value;
    }
    bits = sign | (exponent == 31 ? 255u << 23 : (exponent + 112u) << 23) | mantissa << 13;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static size_t value_bytes(const char *path)
{
    const char *ending = strrchr(path, '.');

    if (ending && strcmp(ending, ".u8bin") == 0)
        return 1;
    if (ending && strcmp(ending, ".hbin") == 0)
        return 2;
    return ending && (strcmp(ending, ".fbin") == 0 || strcmp(ending, ".ibin") == 0) ? 4 : 0;
}

/* The whole file behind its two numbers; what is longer or shorter than they say is refused. */
static int load(const char *path, uint32_t numbers[2], uint8_t **bytes, struct error *error)
{
    size_t width = value_bytes(path), size;
    FILE *file;
    int status = 0;

    *bytes = NULL;
    if (width == 0)
        return error_set(error, ERROR_INVALID, "%s: not .u8bin, .hbin, .fbin or .ibin", path);
    file = fopen(path, "rb");
    if (!file)
        return error_set_errno(error, errno, "open %s", path);
    if (fread(numbers, sizeof(uint32_t), 2, file) != 2 || numbers[0] == 0 || numbers[1] == 0 ||
        numbers[1] > 65536) {
        status = error_set(error, ERROR_CORRUPT, "%s: no rows or dimensions", path);
    } else {
        size = (size_t)numbers[0] * numbers[1] * width;
        *bytes = malloc(size);
        if (!*bytes || fread(*bytes, 1, size, file) != size)
            status = error_set(error, ERROR_CORRUPT, "%s: shorter than %u x %u values", path,
                               numbers[0], numbers[1]);
    }
    (void)fclose(file);
    if (status != 0)
        free(*bytes);
    return status;
}

int bench_vectors_load(const char *path, struct bench_vectors *vectors, struct error *error)
{
    uint32_t numbers[2];
    uint8_t *bytes;
    size_t values, width = value_bytes(path);
    int status = load(path, numbers, &bytes, error);

    if (status != 0)
        return status;
    values = (size_t)numbers[0] * numbers[1];
    vectors->count = numbers[0];
    vectors->dim = numbers[1];
    if (width == 4) {
        vectors->values = (void *)bytes;
        return 0;
    }
    vectors->values = memory_checked(malloc(values * sizeof(float)));
    for (size_t i = 0; i < values; i++)
        if (width == 1) {
            vectors->values[i] = bytes[i];
        } else {
            uint16_t half;
            memcpy(&half, bytes + 2 * i, sizeof(half));
            vectors->values[i] = half_to_float(half);
        }
    free(bytes);
    return 0;
}

void bench_vectors_destroy(struct bench_vectors *vectors)
{
    free(vectors->values);
}

int bench_neighbours_load(const char *path, uint32_t count, uint32_t **neighbours,
                          uint32_t *columns, struct error *error)
{
    uint32_t numbers[2];
    uint8_t *bytes;
    int status = load(path, numbers, &bytes, error);

    if (status != 0)
        return status;
    if (numbers[0] != count) {
        free(bytes);
        return error_set(error, ERROR_INVALID, "%s: neighbours of %u queries, not %u", path,
                         numbers[0], count);
    }
    *neighbours = (void *)bytes;
    *columns = numbers[1];
    return 0;
}
