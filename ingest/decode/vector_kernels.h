/* The two passes over a vector that is taken in: its squared length, and the normalised copy. All
 * kernels give the same bits: sums of 32 places side by side, added up in one order, and each
 * square is exact in a double. Private to ingest/decode/. */
#ifndef INGEST_VECTOR_KERNELS_H
#define INGEST_VECTOR_KERNELS_H

#include <stddef.h>
#include <stdint.h>

struct vector_kernels {
    const char *name;
    /* Of `dim` little-endian floats at any address. */
    double (*squared_length)(const void *vector, uint32_t dim);
    /* `to` may be `from`. */
    void (*scale)(const void *from, float *to, uint32_t dim, double factor);
};

/** What this processor takes, best first; the last one is scalar. `count` receives how many. */
const struct vector_kernels *vector_kernels_all(size_t *count);

/** The best one. */
const struct vector_kernels *vector_kernels(void);

#endif
