#include "store/stored_type.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/memory.h"
#include "store/shard.h"

enum {
    NEIGHBOURS = 10,
    QUERIES_MAX = 32,
    ROWS_MAX = 4096, /* with 768 dimensions about a tenth of a second of one thread */
    LANES = 8
};

struct sample {
    const struct compaction *compaction;
    uint32_t dim, count;
    float *values; /* count x dim, as they are */
    float *stored; /* as they would be read */
    double *exact; /* scores of one query, `count` each */
    double *seen;
    bool *taken; /* rows that were among the nearest already */
};

/* Eight sums side by side, which the compiler makes one register of. */
static double score(enum vector_metric metric, const float *a, const float *b, uint32_t dim)
{
    float sums[LANES] = {0};
    double sum = 0;
    uint32_t d = 0;

    for (; d + LANES <= dim; d += LANES)
        for (uint32_t lane = 0; lane < LANES; lane++) {
            float x = a[d + lane], y = b[d + lane];
            sums[lane] += metric == VECTOR_METRIC_L2 ? (x - y) * (y - x) : x * y;
        }
    for (; d < dim; d++)
        sums[0] += metric == VECTOR_METRIC_L2 ? (a[d] - b[d]) * (b[d] - a[d]) : a[d] * b[d];
    for (uint32_t lane = 0; lane < LANES; lane++)
        sum += (double)sums[lane];
    return sum;
}

/* The place of the best score that is not taken. */
static uint32_t best_of(const struct sample *sample, const double *scores)
{
    uint32_t best = UINT32_MAX;

    for (uint32_t i = 0; i < sample->count; i++)
        if (!sample->taken[i] && (best == UINT32_MAX || scores[i] > scores[best]))
            best = i;
    return best;
}

/* How many of the `wanted` nearest to a row of the sample are found among the stored ones. Rows that
 * tie with the last of them are as good. */
static uint32_t count_found(struct sample *sample, uint32_t query, uint32_t wanted)
{
    const enum vector_metric metric = vector_metric_ranking(sample->compaction->shard->metric);
    const float *values = sample->values + (size_t)query * sample->dim;
    uint32_t found = 0;
    double last = 0;

    for (uint32_t i = 0; i < sample->count; i++) {
        size_t at = (size_t)i * sample->dim;
        sample->exact[i] = score(metric, values, sample->values + at, sample->dim);
        sample->seen[i] = score(metric, values, sample->stored + at, sample->dim);
    }
    memset(sample->taken, 0, sample->count);
    sample->taken[query] = true;
    for (uint32_t k = 0; k < wanted; k++) {
        uint32_t best = best_of(sample, sample->exact);
        sample->taken[best] = true;
        last = sample->exact[best];
    }
    memset(sample->taken, 0, sample->count);
    sample->taken[query] = true;
    for (uint32_t k = 0; k < wanted; k++) {
        uint32_t best = best_of(sample, sample->seen);
        sample->taken[best] = true;
        found += sample->exact[best] >= last;
    }
    return found;
}

static double measure(struct sample *sample)
{
    uint32_t queries = sample->count < QUERIES_MAX ? sample->count : QUERIES_MAX;
    uint32_t wanted = sample->count > NEIGHBOURS ? NEIGHBOURS : sample->count - 1;
    uint64_t found = 0;

    if (wanted == 0)
        return 1;
    for (uint32_t q = 0; q < queries; q++)
        found += count_found(sample, (uint32_t)((uint64_t)q * sample->count / queries), wanted);
    return (double)found / ((double)queries * wanted);
}

/* Rows that live, evenly spread over the inputs. */
static int take_rows(struct sample *sample, struct error *error)
{
    const struct merge *merge = &sample->compaction->merge;
    uint32_t *rows_of = memory_new(ROWS_MAX, sizeof(*rows_of));
    uint64_t rows = 0, step, skip;
    int code = 0;

    for (size_t i = 0; i < merge->input_count; i++)
        rows += merge->inputs[i]->row_count;
    step = rows / ROWS_MAX + 1;
    skip = step / 2;
    for (size_t i = 0; i < merge->input_count && code == 0; i++) {
        const struct sstable *input = merge->inputs[i];
        uint64_t row = skip;
        uint32_t count = 0;
        for (; row < input->row_count; row += step)
            if (sstable_dead_at(input, (uint32_t)row) >= merge->dead_below)
                rows_of[count++] = (uint32_t)row;
        skip = row - input->row_count;
        code = table_gather(input->table, rows_of, count,
                            sample->values + (size_t)sample->count * sample->dim, error);
        sample->count += count;
    }
    free(rows_of);
    return code;
}

static bool sample_create(struct sample *sample)
{
    size_t values = (size_t)ROWS_MAX * sample->dim;

    sample->values = malloc(values * sizeof(float));
    sample->stored = malloc(values * sizeof(float));
    sample->exact = malloc(ROWS_MAX * sizeof(double));
    sample->seen = malloc(ROWS_MAX * sizeof(double));
    sample->taken = malloc(ROWS_MAX * sizeof(bool));
    return sample->values && sample->stored && sample->exact && sample->seen && sample->taken;
}

static void sample_destroy(struct sample *sample)
{
    free(sample->values);
    free(sample->stored);
    free(sample->exact);
    free(sample->seen);
    free(sample->taken);
}

/* False: some row does not fit. */
static bool store_rows(struct sample *sample, enum vector_codec codec)
{
    struct vector_row row = {.codec = codec};
    void *bytes = memory_new(1, vector_row_bytes(codec, sample->dim));
    bool fits = true;

    row.bytes = bytes;
    for (uint32_t i = 0; i < sample->count && fits; i++) {
        size_t at = (size_t)i * sample->dim;
        fits = vector_row_encode(codec, sample->values + at, sample->dim, bytes);
        vector_row_decode(row, sample->dim, sample->stored + at);
    }
    free(bytes);
    return fits;
}

void stored_type_refuse(struct compaction *compaction, const char *why)
{
    const struct store_shard *shard = compaction->shard;
    struct table_description *description = &compaction->like.description;

    logger_write_event(LOGGER_WARNING, "store", "storage_refused",
                       "%s/%s: window %lld keeps float32 vectors, not %s: %s", shard->collection,
                       shard->name, (long long)description->window_start_ms,
                       vector_codec_name(description->codec), why);
    compaction->refused = description->codec;
    description->codec = VECTOR_CODEC_RAW;
}

static void judge(struct compaction *compaction, double measured, uint32_t rows)
{
    const struct store_shard *shard = compaction->shard;
    struct table_description *description = &compaction->like.description;
    char why[128];

    compaction->measured_recall = description->recall = measured;
    if (measured < shard->storage_recall) {
        (void)snprintf(why, sizeof(why), "recall %.4f of a sample of %u rows is below %.4f",
                       measured, rows, shard->storage_recall);
        stored_type_refuse(compaction, why);
        return;
    }
    for (size_t i = 0; i < compaction->merge.input_count; i++)
        description->recall =
            fmin(description->recall, table_recall(compaction->merge.inputs[i]->table));
    log_info("store", "%s/%s: window %lld stores vectors as %s: recall %.4f of a sample of %u rows",
             shard->collection, shard->name, (long long)description->window_start_ms,
             vector_codec_name(description->codec), measured, rows);
}

int stored_type_choose(struct compaction *compaction, struct error *error)
{
    struct table_description *description = &compaction->like.description;
    struct sample sample = {.compaction = compaction, .dim = compaction->shard->dim};
    int code;

    compaction->measured_recall = -1;
    description->codec = compaction->like.sealed ? compaction->shard->codec : VECTOR_CODEC_RAW;
    if (vector_codec_is_float32(description->codec))
        return 0;
    code = sample_create(&sample) ? take_rows(&sample, error)
                                  : error_set(error, ERROR_MEMORY, "no memory for a sample");
    if (code == 0 && sample.count > 0) {
        if (store_rows(&sample, description->codec))
            judge(compaction, measure(&sample), sample.count);
        else
            stored_type_refuse(compaction, "it cannot hold the values");
    }
    sample_destroy(&sample);
    return code;
}
