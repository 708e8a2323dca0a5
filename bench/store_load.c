/* What both stores are given: records that are the same for the same number. */
#include "bench/store_load.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

void bench_fail(const char *what, const char *text)
{
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, text);
    exit(1);
}

static uint64_t mix(uint64_t number)
{
    number ^= number >> 31;
    number *= 0x7fb5d329728ea185u;
    number ^= number >> 27;
    number *= 0x81dadef4bc2dd44du;
    return number ^ number >> 33;
}

const float *bench_vector(uint64_t number)
{
    static float *vectors;

    if (!vectors) {
        vectors = memory_checked(malloc((size_t)BENCH_SOURCES * BENCH_DIM * sizeof(float)));
        for (uint64_t i = 0; i < (uint64_t)BENCH_SOURCES * BENCH_DIM; i++)
            vectors[i] = (float)(int32_t)mix(i + 1) * 0x1p-31f;
    }
    return vectors + number % BENCH_SOURCES * BENCH_DIM;
}

void bench_key(uint64_t number, uint8_t key[BENCH_KEY_BYTES])
{
    uint64_t halves[2] = {mix(number + 1), number};

    memcpy(key, halves, BENCH_KEY_BYTES);
}

uint64_t bench_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}
