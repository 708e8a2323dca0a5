/* Vectors stored as float16, bfloat16 and int8 beside float32, on files of vectors: bytes, the recall
 * of an exact search over what is stored, and how fast rows are scored.
 *
 *   windrow-bench-types BASE QUERIES [l2|dot|cosine]
 *
 * The truth is the float32 scan. Queries stay float32, as in searches. Times are processor time of
 * one thread, the best of three passes over all rows for each of some queries. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/index_vectors.h"
#include "bench/measure.h"
#include "indexer/index/index.h"

enum { NEIGHBOURS = 10, QUERIES_MAX = 500, TIMED_QUERIES = 8, PASSES = 3 };

struct set {
    struct bench_vectors base, queries;
    enum vector_metric metric;
    float floors[QUERIES_MAX]; /* exact score of the last of the true neighbours */
};

static void fail(const char *what)
{
    fprintf(stderr, "windrow-bench-types: %s\n", what);
    exit(1);
}

static const float *query_of(const struct set *set, uint32_t query)
{
    return set->queries.values + (size_t)query * set->base.dim;
}

static void find_truth(struct set *set)
{
    struct index_hit hits[NEIGHBOURS];
    uint32_t count;

    for (uint32_t q = 0; q < set->queries.count; q++) {
        index_exact_top(set->metric, set->base.values, set->base.count, set->base.dim,
                        query_of(set, q), NEIGHBOURS, hits, &count);
        set->floors[q] = hits[count - 1].score;
    }
}

/* Of the nearest rows as they are stored, those that are among the true ones. Ties count. */
static double recall_of(const struct set *set, const float *stored)
{
    struct index_hit hits[NEIGHBOURS];
    uint32_t count, found = 0;

    for (uint32_t q = 0; q < set->queries.count; q++) {
        index_exact_top(set->metric, stored, set->base.count, set->base.dim, query_of(set, q),
                        NEIGHBOURS, hits, &count);
        for (uint32_t i = 0; i < count; i++)
            found += index_score(set->metric, query_of(set, q),
                                 set->base.values + (size_t)hits[i].row * set->base.dim,
                                 set->base.dim) >= set->floors[q];
    }
    return (double)found / ((double)set->queries.count * NEIGHBOURS);
}

static double scan_seconds(const struct set *set, const uint8_t *rows, enum vector_codec codec)
{
    size_t row_bytes = vector_row_bytes(codec, set->base.dim);
    volatile float sink = 0;
    double best = 1e9;

    for (int pass = 0; pass < PASSES; pass++) {
        double began = bench_thread_cpu();
        for (uint32_t q = 0; q < TIMED_QUERIES && q < set->queries.count; q++)
            for (uint32_t i = 0; i < set->base.count; i++)
                sink += index_score_row(
                    set->metric, query_of(set, q),
                    (struct vector_row){.bytes = rows + i * row_bytes, .codec = codec},
                    set->base.dim);
        began = bench_thread_cpu() - began;
        best = began < best ? began : best;
    }
    return best;
}

static void measure(const struct set *set, enum vector_codec codec, double float32_seconds)
{
    uint32_t dim = set->base.dim;
    size_t row_bytes = vector_row_bytes(codec, dim);
    uint8_t *rows = malloc(row_bytes * set->base.count);
    float *stored = malloc((size_t)set->base.count * dim * sizeof(float));
    double began = bench_thread_cpu(), encode_seconds;

    if (!rows || !stored)
        fail("no memory");
    for (uint32_t i = 0; i < set->base.count; i++)
        if (!vector_row_encode(codec, set->base.values + (size_t)i * dim, dim,
                               rows + i * row_bytes))
            fail("a value does not fit");
    encode_seconds = bench_thread_cpu() - began;
    for (uint32_t i = 0; i < set->base.count; i++)
        vector_row_decode((struct vector_row){.bytes = rows + i * row_bytes, .codec = codec}, dim,
                          stored + (size_t)i * dim);
    printf("%-10s %8zu %9.4f %10.2f %14.2f\n", vector_codec_name(codec), row_bytes,
           recall_of(set, stored), (double)set->base.count * dim * 4e-9 / encode_seconds,
           scan_seconds(set, rows, codec) / float32_seconds);
    free(rows);
    free(stored);
}

int main(int argc, char **argv)
{
    struct set set = {.metric = VECTOR_METRIC_L2};
    struct error error = {0};
    double float32_seconds;

    if (argc < 3 || argc > 4 || (argc == 4 && !vector_metric_parse(argv[3], &set.metric)))
        fail("usage: windrow-bench-types BASE QUERIES [l2|dot|cosine]");
    if (bench_vectors_load(argv[1], &set.base, &error) != 0 ||
        bench_vectors_load(argv[2], &set.queries, &error) != 0)
        fail(error.text);
    if (set.base.dim != set.queries.dim || set.base.count < NEIGHBOURS)
        fail("the files do not fit");
    if (set.queries.count > QUERIES_MAX)
        set.queries.count = QUERIES_MAX;
    set.metric = vector_metric_ranking(set.metric);
    for (uint32_t i = 0; set.metric == VECTOR_METRIC_COSINE && i < set.base.count; i++)
        (void)index_normalise(set.base.values + (size_t)i * set.base.dim, set.base.dim);
    find_truth(&set);
    float32_seconds = scan_seconds(&set, (const uint8_t *)set.base.values, VECTOR_CODEC_RAW);
    printf("%-10s %8s %9s %10s %14s\n", "type", "bytes", "recall", "encode GB/s",
           "scan time / f32");
    for (int codec = VECTOR_CODEC_FLOAT16; codec < VECTOR_CODEC_COUNT; codec++)
        measure(&set, (enum vector_codec)codec, float32_seconds);
    bench_vectors_destroy(&set.base);
    bench_vectors_destroy(&set.queries);
    return 0;
}
