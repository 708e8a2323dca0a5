/* vector: what vectors and their segments are called, here, in files and on the wire. The numbers
 * of metrics and codecs lie in files: they never change. */
#ifndef BASE_VECTOR_H
#define BASE_VECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/doc.h"
#include "base/error.h"

/** Cosine and dot: the inner product; vectors under cosine are stored at unit length. Hamming: values
 * are 0 or 1, and rows are ranked by the number of those that differ. */
enum vector_metric {
    VECTOR_METRIC_COSINE = 0,
    VECTOR_METRIC_DOT = 1,
    VECTOR_METRIC_L2 = 2,
    VECTOR_METRIC_HAMMING = 3
};

/** What kernels and segments rank by, never Hamming: of vectors of 0 and 1 the squared L2 distance is
 * the number of values that differ, exactly. */
static inline enum vector_metric vector_metric_ranking(enum vector_metric metric)
{
    return metric == VECTOR_METRIC_HAMMING ? VECTOR_METRIC_L2 : metric;
}

/** Index of the first value that is neither 0 nor 1; `dim` when all are. */
uint32_t vector_first_not_bit(const float *values, uint32_t dim);

/** Checks the squared length of a vector, in doubles, before a collection stores it or compares with it.
 * Any two vectors that pass have a finite score in float32: their product, or the square of their
 * distance. Cosine takes every finite length, because it compares directions. ERROR_INVALID says the
 * length and the limit. */
int vector_check_length(enum vector_metric metric, double squared_length, struct error *error);

/** The squared length of `dim` values, summed in doubles: finite when all values are. */
double vector_squared_length(const float *values, uint32_t dim);

/** How a run stores its vectors: float32, packed float32, or in a type of fewer bytes
 * (vector_row.h). */
enum vector_codec {
    VECTOR_CODEC_RAW = 0,
    VECTOR_CODEC_PACKED = 1,
    VECTOR_CODEC_FLOAT16 = 2,
    VECTOR_CODEC_BFLOAT16 = 3,
    VECTOR_CODEC_INT8 = 4
};

enum { VECTOR_CODEC_COUNT = VECTOR_CODEC_INT8 + 1 };

/** What the bytes of a vector in a message hold (docs/ingest.md). Numbers of windrow.proto are one
 * more: they never change. */
enum vector_type {
    VECTOR_TYPE_FLOAT32 = 0,
    VECTOR_TYPE_FLOAT16 = 1,
    VECTOR_TYPE_BFLOAT16 = 2,
    VECTOR_TYPE_INT8 = 3,
    VECTOR_TYPE_BINARY = 4 /* bits, the first one highest */
};

enum { VECTOR_TYPE_COUNT = VECTOR_TYPE_BINARY + 1 };

/** What a search goes through: none is not decided or not told, flat is a scan without a segment. */
enum segment_kind { SEGMENT_NONE, SEGMENT_FLAT, SEGMENT_HNSW, SEGMENT_IVF_PQ };

enum { SEGMENT_KIND_COUNT = SEGMENT_IVF_PQ + 1 };

const char *vector_metric_name(enum vector_metric metric); /* "cosine", "l2", ... */
bool vector_metric_parse(const char *name, enum vector_metric *metric);
const char *vector_codec_name(enum vector_codec codec); /* "raw", "packed", "float16", ... */
const char *vector_type_name(enum vector_type type);    /* "float32", "float16", ... */
bool vector_type_parse(const char *name, size_t length, enum vector_type *type);
/** Of a vector. */
size_t vector_type_bytes(enum vector_type type, uint32_t dim);
/** A float32 vector as a message in MessagePack has it: bytes, which name their type where others
 * are taken for `untold`. Points to `values`. */
struct doc vector_to_message(struct arena *arena, const float *values, uint32_t dim,
                             enum vector_type untold);
const char *segment_kind_name(enum segment_kind kind); /* "", "flat", "hnsw", "ivf_pq" */
/** SEGMENT_NONE for what is none of the names. */
enum segment_kind segment_kind_parse(const char *name);

#endif
