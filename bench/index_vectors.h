/* Files of big-ann-benchmarks: u32 rows, u32 dims, then values (u8, float16 or float32). */
#ifndef BENCH_INDEX_VECTORS_H
#define BENCH_INDEX_VECTORS_H

#include <stdint.h>

#include "base/error.h"

struct bench_vectors {
    float *values; /* count x dim */
    uint32_t count, dim;
};

/** The format follows from the ending: .u8bin, .hbin, .fbin. */
int bench_vectors_load(const char *path, struct bench_vectors *vectors, struct error *error);
void bench_vectors_destroy(struct bench_vectors *vectors);

/** An .ibin file of neighbours: `*columns` row numbers for each of `count` queries. */
int bench_neighbours_load(const char *path, uint32_t count, uint32_t **neighbours,
                          uint32_t *columns, struct error *error);

#endif
