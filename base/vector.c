#include "base/vector.h"

#include <string.h>

static const char *const metric_names[] = {
    [VECTOR_METRIC_COSINE] = "cosine", [VECTOR_METRIC_DOT] = "dot", [VECTOR_METRIC_L2] = "l2"};
static const char *const codec_names[] = {
    [VECTOR_CODEC_RAW] = "raw", [VECTOR_CODEC_PACKED] = "packed"};
static const char *const kind_names[] = {[SEGMENT_NONE] = "",
                                         [SEGMENT_FLAT] = "flat",
                                         [SEGMENT_HNSW] = "hnsw",
                                         [SEGMENT_IVF_PQ] = "ivf_pq"};

enum {
    METRICS = sizeof(metric_names) / sizeof(metric_names[0]),
    CODECS = sizeof(codec_names) / sizeof(codec_names[0]),
    KINDS = sizeof(kind_names) / sizeof(kind_names[0])
};

/* A number from a file may be none of ours. */
static const char *name_at(const char *const *names, unsigned count, unsigned at)
{
    return at < count ? names[at] : "unknown";
}

const char *vector_metric_name(enum vector_metric metric)
{
    return name_at(metric_names, METRICS, metric);
}

const char *vector_codec_name(enum vector_codec codec)
{
    return name_at(codec_names, CODECS, codec);
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
