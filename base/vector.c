#include "base/vector.h"

#include <math.h>
#include <string.h>

static const char *const metric_names[] = {[VECTOR_METRIC_COSINE] = "cosine",
                                           [VECTOR_METRIC_DOT] = "dot",
                                           [VECTOR_METRIC_L2] = "l2",
                                           [VECTOR_METRIC_HAMMING] = "hamming"};
static const char *const codec_names[VECTOR_CODEC_COUNT] = {[VECTOR_CODEC_RAW] = "raw",
                                                            [VECTOR_CODEC_PACKED] = "packed",
                                                            [VECTOR_CODEC_FLOAT16] = "float16",
                                                            [VECTOR_CODEC_BFLOAT16] = "bfloat16",
                                                            [VECTOR_CODEC_INT8] = "int8"};
static const char *const type_names[VECTOR_TYPE_COUNT] = {[VECTOR_TYPE_FLOAT32] = "float32",
                                                          [VECTOR_TYPE_FLOAT16] = "float16",
                                                          [VECTOR_TYPE_BFLOAT16] = "bfloat16",
                                                          [VECTOR_TYPE_INT8] = "int8",
                                                          [VECTOR_TYPE_BINARY] = "binary"};
static const char *const kind_names[] = {[SEGMENT_NONE] = "",
                                         [SEGMENT_FLAT] = "flat",
                                         [SEGMENT_HNSW] = "hnsw",
                                         [SEGMENT_IVF_PQ] = "ivf_pq"};

enum {
    METRICS = sizeof(metric_names) / sizeof(metric_names[0]),
    KINDS = sizeof(kind_names) / sizeof(kind_names[0])
};

/* Products of two vectors are at most the product of their lengths (Cauchy and Schwarz), and so are all
 * partial sums. A distance is at most the sum of both lengths, and its square must fit. The largest
 * float32 is 3.4e38. The limits leave 5 % of it for the rounding of long sums and of stored types. */
static const double length_limits[] = {[VECTOR_METRIC_COSINE] = INFINITY,
                                       [VECTOR_METRIC_DOT] = 1.79e19,
                                       [VECTOR_METRIC_L2] = 8.9e18,
                                       [VECTOR_METRIC_HAMMING] = INFINITY};

/* A number from a file may be none of ours. */
static const char *name_at(const char *const *names, unsigned count, unsigned at)
{
    return at < count ? names[at] : "unknown";
}

uint32_t vector_first_not_bit(const float *values, uint32_t dim)
{
    uint32_t i = 0;

    while (i < dim && (values[i] == 0.0F || values[i] == 1.0F))
        i++;
    return i;
}

int vector_check_length(enum vector_metric metric, double squared_length, struct error *error)
{
    const double length = sqrt(squared_length);

    if (length <= length_limits[metric])
        return 0;
    return error_set(error, ERROR_INVALID,
                     "the vector's length %.3g is above %.3g: scores by %s would exceed float32",
                     length, length_limits[metric], metric_names[metric]);
}

double vector_squared_length(const float *values, uint32_t dim)
{
    double sum = 0;

    for (uint32_t i = 0; i < dim; i++)
        sum += (double)values[i] * (double)values[i];
    return sum;
}

const char *vector_metric_name(enum vector_metric metric)
{
    return name_at(metric_names, METRICS, metric);
}

const char *vector_codec_name(enum vector_codec codec)
{
    return name_at(codec_names, VECTOR_CODEC_COUNT, codec);
}

const char *vector_type_name(enum vector_type type)
{
    return name_at(type_names, VECTOR_TYPE_COUNT, type);
}

bool vector_type_parse(const char *name, size_t length, enum vector_type *type)
{
    for (unsigned i = 0; i < VECTOR_TYPE_COUNT; i++) {
        if (strlen(type_names[i]) != length || memcmp(type_names[i], name, length) != 0)
            continue;
        *type = (enum vector_type)i;
        return true;
    }
    return false;
}

size_t vector_type_bytes(enum vector_type type, uint32_t dim)
{
    switch (type) {
    case VECTOR_TYPE_FLOAT16:
    case VECTOR_TYPE_BFLOAT16:
        return (size_t)dim * sizeof(uint16_t);
    case VECTOR_TYPE_INT8:
        return dim;
    case VECTOR_TYPE_BINARY:
        return ((size_t)dim + 7) / 8;
    case VECTOR_TYPE_FLOAT32:
    default:
        return (size_t)dim * sizeof(float);
    }
}

struct doc vector_to_message(struct arena *arena, const float *values, uint32_t dim,
                             enum vector_type untold)
{
    const struct doc bytes = {.type = DOC_BYTES,
                              .count = (uint32_t)vector_type_bytes(VECTOR_TYPE_FLOAT32, dim),
                              .string = (const char *)values};
    struct doc map;

    if (untold == VECTOR_TYPE_FLOAT32)
        return bytes;
    map = doc_map(arena, 1);
    doc_put(&map, vector_type_name(VECTOR_TYPE_FLOAT32), bytes);
    return map;
}

const char *segment_kind_name(enum segment_kind kind)
{
    return name_at(kind_names, KINDS, kind);
}

bool vector_metric_parse(const char *name, enum vector_metric *metric)
{
    for (unsigned i = 0; i < METRICS; i++) {
        if (strcmp(metric_names[i], name) != 0)
            continue;
        *metric = (enum vector_metric)i;
        return true;
    }
    return false;
}

enum segment_kind segment_kind_parse(const char *name)
{
    unsigned i = 0;

    while (i < KINDS && strcmp(kind_names[i], name) != 0)
        i++;
    return i < KINDS ? (enum segment_kind)i : SEGMENT_NONE;
}
