/* Data and built segments for the index tests. */
#ifndef TESTS_INDEXER_INDEX_INDEX_FIXTURE_H
#define TESTS_INDEXER_INDEX_INDEX_FIXTURE_H

#include <stdint.h>

#include "indexer/index/index.h"

struct fixture_data {
    float *vectors; /* count x dim */
    uint32_t count, dim;
};

enum { FIXTURE_FILE_NUMBER = 77 };

/** Rows around `cluster_count` random centres; `spread` is the clusters' width relative to the
 * distance between centres. Cosine rows are unit length; dot rows have lengths from 0.5 to 1.5. */
struct fixture_data fixture_clusters(enum vector_metric metric, uint32_t count, uint32_t dim,
                                     uint32_t cluster_count, float spread, uint64_t *state);
void fixture_data_destroy(struct fixture_data *data);
float fixture_gauss(uint64_t *state);

struct index_build_options fixture_options(enum vector_metric metric, uint32_t dim);

/** Builds, writes to a file in the test's folder, opens and validates. Fails the test on error. */
struct index_segment *fixture_segment(const struct fixture_data *data,
                                      const struct index_build_options *options);
/** The same with lists. */
struct index_segment *fixture_ivf_segment(const struct fixture_data *data,
                                          const struct index_build_options *options);
/** The path of that file. */
const char *fixture_path(void);
/** What is in it; the caller frees the bytes. */
uint8_t *fixture_read_file(size_t *size_bytes);
/** Puts other bytes into it. */
void fixture_write_file(const uint8_t *bytes, size_t size_bytes);

struct vector_row fixture_vector(void *context, uint32_t row, struct error *error);

/** A search over `data` without a filter. */
struct index_search fixture_search(const struct fixture_data *data, const float *query, uint32_t k,
                                   uint32_t ef);

/** Mean share of the exact top k's scores that the segment reaches, over queries near the data. A
 * hit counts when its score is at least the k-th exact one: equal rows may stand for each other. */
double fixture_recall(const struct index_segment *segment, enum vector_metric metric,
                      const struct fixture_data *data, const struct fixture_data *queries,
                      uint32_t k, uint32_t ef);

#endif
