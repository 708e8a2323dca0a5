/* ivf: rows in lists around centroids, as 4-bit product codes of what is left of a row when its
 * centroid is taken off.
 *
 * For a query q, a row x in the list of centroid c with residual r, coded as r':
 *
 *     dot, cosine   score = <q, c> + <q, r'>
 *     l2            -score = |q - c|^2 + (|r'|^2 + 2 <c - o, r'>) - 2 <q - o, r'>
 *
 * so that the tables, <q, codeword> or -2 <q - o, codeword>, are the same for all lists; what
 * depends on the row alone, in brackets, is kept with it as 16 bits (the bias), and what depends on
 * the list alone is added to the limit. o, the mean of the centroids, keeps the numbers small.
 *
 * Codebook: centroids and codewords are trained on one window and used for those after it for as
 * long as the error of coding stays within three tenths. Windows of one codebook have the same
 * lists; merging them concatenates lists (ivf_merge.c). Every file carries its own copy: a segment is one file,
 * and an codebook ends when its last file goes. */
#ifndef INDEXER_INDEX_IVF_H
#define INDEXER_INDEX_IVF_H

#include <stdint.h>

#include "base/thread_pool.h"
#include "indexer/index/pq.h"
#include "indexer/index/quantiser.h"

enum {
    INDEX_IVF_COUNT_MAX = 1 << 30, /* rows and padding: a slot times two fits 32 bits */
    INDEX_IVF_LISTS_MAX = 1 << 24,
    INDEX_IVF_ERROR_SPREAD = 8, /* of so many rows one tells the error of coding */
    INDEX_IVF_EF_DEFAULT = 64   /* an ef for which the lists measured at the build are read */
};

#define INDEX_IVF_NO_ROW UINT32_MAX

/* What windows of a codebook have in common. */
struct index_ivf_codebook {
    uint64_t id; /* checksum of centroids, codewords and biases' scale */
    enum vector_metric metric;
    struct index_quantiser quantiser; /* of centroids and queries, by distance; dot: by product */
    struct index_pq pq;
    uint32_t list_count;
    float bias_low, bias_step;     /* L2: bias = low + step * number */
    float error;                   /* mean squared error of coding when it was trained */
    const float *centroids;        /* (list_count + 1) x dim, the last is the origin */
    const uint8_t *centroid_codes; /* list_count x quantiser.stride */
};

struct index_ivf {
    struct index_ivf_codebook codebook;
    uint32_t count;
    uint32_t block_count;
    float error; /* of this window */
    /* Lists that hold nearly all of the nearest 10 and 100 rows, measured when it was built. */
    uint32_t probes_10, probes_100;
    uint32_t fixed_probes;        /* that a search reads, whatever it wants; 0: by the above */
    const uint32_t *first_blocks; /* list_count + 1 */
    const uint32_t *sizes;        /* list_count: rows */
    const uint32_t
        *rows; /* block_count x 32, ascending in a list, INDEX_IVF_NO_ROW behind its last */
    const uint16_t *biases;         /* the same; NULL unless L2 */
    const uint8_t *blocks;          /* block_count x index_pq_block_bytes */
    struct index_outliers outliers; /* Rows whose codes are those of other rows. */
};

static inline const float *index_ivf_centroid(const struct index_ivf_codebook *codebook,
                                              uint32_t list)
{
    return codebook->centroids + (size_t)list * codebook->quantiser.dim;
}
static inline const float *index_ivf_origin(const struct index_ivf_codebook *codebook)
{
    return index_ivf_centroid(codebook, codebook->list_count);
}

/* Building. */

struct index_ivf_build {
    const float *vectors;
    uint32_t count;
    const struct index_build_options *options;
    struct thread_team team;
    struct index_ivf *ivf; /* arrays are its own */
    uint32_t *nearest;     /* of each row: its list */
};

/** Lists of a window: `wanted`, or by its rows when 0. */
uint32_t index_ivf_lists(uint32_t count, uint32_t wanted);
/** Trains centroids and codewords on a sample of the rows. False: cancelled. */
/** What training takes besides the tables, at most. */
uint64_t index_ivf_train_bytes(uint32_t count, const struct index_build_options *options);
bool index_ivf_train(const struct index_ivf_build *build, struct index_ivf_codebook *codebook);
/** A copy, of one from a mapped file, say. */
void index_ivf_codebook_copy(const struct index_ivf_codebook *codebook,
                             struct index_ivf_codebook *copy);
void index_ivf_codebook_destroy(struct index_ivf_codebook *codebook);
/** Mean squared error of coding a sample of the rows, and the standard error of that mean. False:
 * cancelled. */
bool index_ivf_measure_error(const struct index_ivf_build *build,
                             const struct index_ivf_codebook *codebook, float *error, float *doubt);
/** Codes all rows, list by list; `nearest` is filled. False: cancelled. */
bool index_ivf_encode(const struct index_ivf_build *build);
/** Places of lists: first_blocks from sizes. Returns the number of blocks, 0: too many. */
uint32_t index_ivf_place_lists(const uint32_t *sizes, uint32_t list_count, uint32_t *first_blocks);
/** Fills probes_10 and probes_100. False: cancelled. */
bool index_ivf_measure_probes(const struct index_ivf_build *build);

/** What a row's codes add up to besides the query: [part][16], for rows of one list (L2). */
void index_ivf_bias_table(const struct index_ivf_codebook *codebook, uint32_t list,
                          float *origin_room, float *table);

/* Searching. */

/** How far lists are from a query: entries[i] has a key in the upper half, the list in the lower.
 * `query_codes` has room for quantiser.stride bytes. */
void index_ivf_list_keys(const struct index_ivf_codebook *codebook, const float *query,
                         uint8_t *query_codes, uint64_t *entries);
/** Sorts entries from..to-1, when those before are sorted already. */
void index_ivf_sort_lists(uint64_t *entries, uint32_t list_count, uint32_t from, uint32_t to);

/** Structure: offsets, sizes, rows a permutation, finite numbers. */
int index_ivf_validate(const struct index_ivf *ivf, struct error *error);

#endif
