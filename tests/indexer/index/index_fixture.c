#include "tests/indexer/index/index_fixture.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/test_main.h"

float fixture_gauss(uint64_t *state)
{
    double sum = 0;

    for (int i = 0; i < 12; i++)
        sum += (double)(test_random(state) >> 11) / 9007199254740992.0;
    return (float)(sum - 6);
}

struct fixture_data fixture_clusters(enum vector_metric metric, uint32_t count, uint32_t dim,
                                     uint32_t cluster_count, float spread, uint64_t *state)
{
    struct fixture_data data = {malloc((size_t)count * dim * sizeof(float)), count, dim};
    float *centres = malloc((size_t)cluster_count * dim * sizeof(float));

    for (size_t i = 0; i < (size_t)cluster_count * dim; i++)
        centres[i] = fixture_gauss(state);
    for (uint32_t row = 0; row < count; row++) {
        const float *centre = centres + test_random(state) % cluster_count * dim;
        float *vector = data.vectors + (size_t)row * dim;
        for (uint32_t d = 0; d < dim; d++)
            vector[d] = centre[d] + spread * fixture_gauss(state);
        if (metric != VECTOR_METRIC_L2)
            index_normalise(vector, dim);
        if (metric == VECTOR_METRIC_DOT) {
            float length = 0.5f + (float)(test_random(state) >> 40) / 16777216.0f;
            for (uint32_t d = 0; d < dim; d++)
                vector[d] *= length;
        }
    }
    free(centres);
    return data;
}

void fixture_data_destroy(struct fixture_data *data)
{
    free(data->vectors);
}

struct index_build_options fixture_options(enum vector_metric metric, uint32_t dim)
{
    return (struct index_build_options){
        .metric = metric, .dim = dim, .m = 16, .ef_construct = 100, .thread_count = 1, .seed = 1};
}

const char *fixture_path(void)
{
    static char path[256];

    if (!path[0])
        snprintf(path, sizeof(path), "%s/segment", test_directory());
    return path;
}

uint8_t *fixture_read_file(size_t *size_bytes)
{
    FILE *stream = fopen(fixture_path(), "rb");
    uint8_t *bytes;

    ck_assert_ptr_nonnull(stream);
    fseek(stream, 0, SEEK_END);
    *size_bytes = (size_t)ftell(stream);
    rewind(stream);
    bytes = malloc(*size_bytes);
    ck_assert_uint_eq(fread(bytes, 1, *size_bytes, stream), *size_bytes);
    fclose(stream);
    return bytes;
}

void fixture_write_file(const uint8_t *bytes, size_t size_bytes)
{
    FILE *stream = fopen(fixture_path(), "wb");

    ck_assert_ptr_nonnull(stream);
    ck_assert_uint_eq(fwrite(bytes, 1, size_bytes, stream), size_bytes);
    ck_assert_int_eq(fclose(stream), 0);
}

static struct index_segment *open_segment(const struct fixture_data *data,
                                          enum vector_metric metric, uint64_t size_bytes)
{
    struct index_segment *segment;
    struct error error = {0};
    int status = index_segment_open(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, metric,
                                    data->dim, data->count, &segment, &error);

    ck_assert_msg(status == 0, "%s", error.text);
    ck_assert_uint_eq(index_segment_bytes(segment), size_bytes);
    status = index_segment_validate(segment, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    return segment;
}

struct index_segment *fixture_ivf_segment(const struct fixture_data *data,
                                          const struct index_build_options *options)
{
    struct error error = {0};
    struct index_ivf *ivf;
    uint64_t size_bytes;
    int status = index_ivf_build(data->vectors, data->count, options, &ivf, &error);

    ck_assert_msg(status == 0, "%s", error.text);
    (void)remove(fixture_path()); /* a former segment may still be mapped: it keeps its file */
    status =
        index_ivf_write(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, ivf, &size_bytes, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    index_ivf_delete(ivf);
    return open_segment(data, options->metric, size_bytes);
}

struct index_segment *fixture_segment(const struct fixture_data *data,
                                      const struct index_build_options *options)
{
    struct error error = {0};
    struct index_hnsw_graph *graph;
    uint64_t size_bytes;
    int status = index_hnsw_build(data->vectors, data->count, options, &graph, &error);

    ck_assert_msg(status == 0, "%s", error.text);
    status = index_segment_write(io_posix(), fixture_path(), FIXTURE_FILE_NUMBER, graph,
                                 &size_bytes, &error);
    ck_assert_msg(status == 0, "%s", error.text);
    index_hnsw_graph_delete(graph);
    return open_segment(data, options->metric, size_bytes);
}

struct vector_row fixture_vector(void *context, uint32_t row, struct error *error)
{
    const struct fixture_data *data = context;

    (void)error;
    if (row >= data->count) /* an assertion of check writes a message each time: too slow here */
        ck_abort_msg("row %u of %u", row, data->count);
    return vector_row_float32(data->vectors + (size_t)row * data->dim);
}

struct index_search fixture_search(const struct fixture_data *data, const float *query, uint32_t k,
                                   uint32_t ef)
{
    return (struct index_search){.query = query,
                                 .k = k,
                                 .ef = ef,
                                 .floor_score = -INFINITY,
                                 .vector = fixture_vector,
                                 .vector_context = (void *)(uintptr_t)data};
}

static uint32_t recall_one(const struct index_segment *segment, enum vector_metric metric,
                           const struct fixture_data *data, const float *query, uint32_t k,
                           uint32_t ef)
{
    struct index_hit *hits = malloc(2 * (size_t)k * sizeof(*hits)), *exact = hits + k;
    struct index_search search = fixture_search(data, query, k, ef);
    struct error error = {0};
    uint32_t count, exact_count, found = 0;
    bool exhausted;
    int status = index_segment_search(segment, &search, hits, &count, &exhausted, &error);

    ck_assert_msg(status == 0, "%s", error.text);
    index_exact_top(metric, data->vectors, data->count, data->dim, query, k, exact, &exact_count);
    ck_assert_uint_eq(count, exact_count);
    for (uint32_t i = 0; i < count; i++) {
        float score =
            index_score(metric, query, data->vectors + (size_t)hits[i].row * data->dim, data->dim);
        if (hits[i].score != score)
            ck_abort_msg("row %u has score %g, not %g", hits[i].row, score, hits[i].score);
        if (i > 0 && (hits[i - 1].score < hits[i].score ||
                      (hits[i - 1].score == hits[i].score && hits[i - 1].row >= hits[i].row)))
            ck_abort_msg("row %u with score %.9g after row %u with %.9g", hits[i].row,
                         (double)hits[i].score, hits[i - 1].row, (double)hits[i - 1].score);
        found += score >= exact[exact_count - 1].score;
    }
    free(hits);
    return found;
}

double fixture_recall(const struct index_segment *segment, enum vector_metric metric,
                      const struct fixture_data *data, const struct fixture_data *queries,
                      uint32_t k, uint32_t ef)
{
    uint64_t found = 0;
    uint32_t wanted = k < data->count ? k : data->count;

    for (uint32_t q = 0; q < queries->count; q++)
        found += recall_one(segment, metric, data, queries->vectors + (size_t)q * data->dim, k, ef);
    return (double)found / ((double)queries->count * wanted);
}
