/* kernels: the loops that a build and a search spend their time in, one table per instruction set.
 *
 * Codes are 7-bit (0..127, one byte a dimension, rows padded with zeros to INDEX_CODE_ALIGN bytes).
 * Seven bits and not eight: a code is then valid both as the unsigned and as the signed operand of
 * the multiply instructions (vpdpbusd, vpmaddubsw), the absolute difference of two codes too, and
 * AVX2's 16-bit pair sums cannot saturate (2 * 127 * 127 < 32768). Every integer kernel is exact,
 * so all sets agree bit for bit; float kernels differ by the order of summation only. */
#ifndef INDEXER_INDEX_KERNELS_H
#define INDEXER_INDEX_KERNELS_H

#include <stdint.h>

enum {
    INDEX_CODE_ALIGN = 64, /* bytes: rows of codes start and end on a cache line */
    INDEX_CODE_MAX = 127,
    INDEX_HALF_LEVELS = 16, /* that a half code stands for, each a code: 4 bits */
    INDEX_HALF_BLOCK = 128, /* dimensions of 64 bytes: the first 64 in the lower halves of bytes */
    INDEX_PANEL_COLUMNS = 16, /* rows that index_kernels.code_pack interleaves into one panel */
    INDEX_SMALLEST_MAX = 64,
    INDEX_SURVIVORS_MAX = 256, /* values that are sorted to find the smallest */
    INDEX_PQ_CODEWORDS = 16,   /* 4 bits */
    INDEX_PQ_BLOCK_ROWS = 32,  /* rows whose product codes are interleaved */
    INDEX_PQ_QUAD = 4,         /* parts that are looked up together: 64 bytes of a block */
    INDEX_PQ_PARTS_MAX = 256,  /* so that a row's sum stays below 2^15 */
    INDEX_PQ_QUERIES = 4,      /* that a scan is made for at once */
    INDEX_TILE_QUERIES = 4,    /* that rows are scored for at once */
    INDEX_PQ_TABLE_MAX = 127   /* largest entry: two of them still fit a byte */
};

/* A run through blocks of 4-bit product codes (pq.h), 32 rows each. */
struct index_pq_scan {
    const uint8_t *blocks;  /* block_count x quad_count x 64 bytes */
    const uint16_t *biases; /* a number a row, block_count x 32; NULL: zeros */
    const uint8_t *tables;  /* quad_count x 128 bytes, as index_pq_tables leaves them */
    uint32_t quad_count;
    uint32_t block_count;
    uint16_t bias_scale; /* a row's sum also gets bias * bias_scale / 65536 */
    uint16_t limit;
};

/* What one of several queries brings to a scan in which the codes are read once for all of them. */
struct index_pq_query {
    const uint8_t *tables;
    uint16_t bias_scale, limit;
    uint16_t *sums;  /* written, as by pq_scan */
    uint32_t *masks; /* the same */
};

/* Place of a part's table: parts 0 and 2 of a quad are low nibbles, 1 and 3 high ones, and each
 * table is there twice, for both 16-byte lanes. */
static inline uint32_t index_pq_table_place(uint32_t part)
{
    return part / 4 * 128 + part % 2 * 64 + part % 4 / 2 * 32;
}

/* A row beside its key: the key in the upper half, so that entries order by key, then by row. */
static inline uint64_t index_neighbour(int32_t key, uint32_t row)
{
    return (uint64_t)(uint32_t)key << 32 | row;
}
static inline int32_t index_neighbour_key(uint64_t entry)
{
    return (int32_t)(entry >> 32);
}
static inline uint32_t index_neighbour_row(uint64_t entry)
{
    return (uint32_t)entry;
}

struct index_kernels {
    const char *name;
    float (*dot)(const float *a, const float *b, uint32_t dim);
    float (*l2)(const float *a, const float *b, uint32_t dim); /* squared distance */

    /* One query against four rows of codes of `stride` bytes. The rows are codes; the query is
     * codes too (l2: squared distances) or signed bytes -127..127 (dot: inner products). */
    void (*code_l2_4)(const uint8_t *query, const uint8_t *const rows[4], uint32_t stride,
                      int32_t distances[4]);
    void (*code_dot_4)(const int8_t *query, const uint8_t *const rows[4], uint32_t stride,
                       int32_t products[4]);

    /* The same with rows of half codes of `stride` bytes, a multiple of 64. Of every 64 bytes the
     * lower halves are dimensions 0 to 63, the upper ones 64 to 127; what they stand for is in
     * `levels`. The query has a byte a dimension, 2 * stride of them. */
    void (*half_l2_4)(const uint8_t *query, const uint8_t *const rows[4], uint32_t stride,
                      const uint8_t levels[INDEX_HALF_LEVELS], int32_t distances[4]);
    void (*half_dot_4)(const int8_t *query, const uint8_t *const rows[4], uint32_t stride,
                       const uint8_t levels[INDEX_HALF_LEVELS], int32_t products[4]);

    int32_t (*code_l2)(const uint8_t *a, const uint8_t *b, uint32_t stride);
    int32_t (*code_square)(const uint8_t *row, uint32_t stride); /* squared length */

    /* Interleaves rows for code_distances: per panel of 16 rows, 4 bytes of each row in turn.
     * Columns past `count` are zero. `panels` has room for count rounded up to a whole panel. */
    void (*code_pack)(const uint8_t *rows, uint32_t count, uint32_t stride, uint8_t *panels);

    /* Squared distances of `row_count` rows of codes to every column of a packed block:
     * distances[row * out_stride + column]. `norms` are the squared lengths of rows and columns.
     * Writes whole panels: room for the column count rounded up to INDEX_PANEL_COLUMNS. */
    void (*code_distances)(const uint8_t *rows, const int32_t *row_norms, uint32_t row_count,
                           const uint8_t *panels, const int32_t *column_norms,
                           uint32_t column_count, uint32_t stride, int32_t *distances,
                           uint32_t out_stride);

    /* The `keep` smallest values, sorted, equal ones by position, as index_neighbour(value,
     * position); INT32_MAX is left out. Returns how many. keep <= INDEX_SMALLEST_MAX. */
    uint32_t (*smallest)(const int32_t *values, uint32_t count, uint32_t keep, uint64_t *entries);

    /* codes[i] = round((values[i] - low[i]) * per_step), clamped to 0..127; ties to even. */
    void (*encode)(const float *values, const float *low, float per_step, uint32_t dim,
                   uint8_t *codes);

    /* The codeword nearest to each of `count` vectors of `part_dim` dimensions. Dimension d of
     * vector i is columns[d * column_stride + i], codeword j's is codewords[d * 16 + j]. Works in
     * sixteens: columns are readable and codes writable up to count rounded up to 16. */
    void (*pq_assign)(const float *columns, uint32_t column_stride, uint32_t count,
                      const float *codewords, uint32_t part_dim, uint8_t *codes);

    /* products[part * 16 + j] = inner product of the vector's part with the part's codeword j. */
    void (*pq_products)(const float *vector, const float *codebook, uint32_t part_count,
                        uint32_t part_dim, float *products);

    /* least[part] = the smallest of factor * products[part * 16 ..], or FLT_MAX: NaN
     * is passed over. Returns how far above that of its part a product is at most. `factor` is a
     * power of two or minus one: nothing is rounded, and all sets agree bit for bit unless a
     * product goes beyond all floats. */
    float (*pq_ranges)(const float *products, uint32_t part_count, float factor, float *least);

    /* The tables of a scan: (factor * products - least) / unit, rounded, within
     * 0..INDEX_PQ_TABLE_MAX; NaN becomes 0. */
    void (*pq_round)(const float *products, const float *least, uint32_t part_count, float factor,
                     float unit, uint8_t *tables);

    /* sums[row]: table entries of the row's codes, plus its bias; at most 65535. masks[block]: bit
     * i is set when row i of the block has a sum below `limit`. */
    void (*pq_scan)(const struct index_pq_scan *scan, uint16_t *sums, uint32_t *masks);
    /* The same for up to INDEX_PQ_QUERIES queries; tables, bias_scale and limit are theirs. NULL: a
     * scan for each is as good. */
    void (*pq_scan_many)(const struct index_pq_scan *scan, const struct index_pq_query *queries,
                         uint32_t query_count);

    /* scores[query][row] of INDEX_TILE_QUERIES queries and `count` rows one after another, each bit
     * for bit what dot and l2 give. NULL: a call for each is as good. */
    void (*dot_4)(const float *const *queries, const float *rows, uint32_t count, uint32_t dim,
                  float *const *scores);
    void (*l2_4)(const float *const *queries, const float *rows, uint32_t count, uint32_t dim,
                 float *const *scores);

    /* Of 32 rows, those in `mask` whose bit is set: bit i of the result is about rows[i]. What is
     * not in `mask` need not be a row. */
    uint32_t (*rows_marked)(const uint32_t *rows, const uint64_t *bits, uint32_t mask);
};

/** The set in use: chosen once from the CPU, or WINDROW_SIMD=scalar|avx2|avx512|amx. Any thread. */
const struct index_kernels *index_kernels(void);

/** A set by name, NULL when this CPU cannot run it. For tests and benchmarks. */
const struct index_kernels *index_kernels_find(const char *name);

extern const struct index_kernels index_kernels_scalar;
uint32_t index_scalar_smallest(const int32_t *values, uint32_t count, uint32_t keep,
                               uint64_t *entries);
#if defined(__x86_64__)
extern const struct index_kernels index_kernels_avx2;
extern const struct index_kernels index_kernels_avx512;
void index_avx2_code_pack(const uint8_t *rows, uint32_t count, uint32_t stride, uint8_t *panels);
/* What the set "amx" has instead of the AVX-512 set's. */
void index_amx_code_distances(const uint8_t *rows, const int32_t *row_norms, uint32_t row_count,
                              const uint8_t *panels, const int32_t *column_norms,
                              uint32_t column_count, uint32_t stride, int32_t *distances,
                              uint32_t out_stride);
#endif

#endif
