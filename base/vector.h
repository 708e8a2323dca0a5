/* vector: what vectors and their segments are called, here, in files and on the wire. The numbers
 * of metrics and codecs lie in files: they never change. */
#ifndef BASE_VECTOR_H
#define BASE_VECTOR_H

#include <stdbool.h>

/** Cosine and dot: the inner product; vectors under cosine are stored at unit length. */
enum vector_metric { VECTOR_METRIC_COSINE = 0, VECTOR_METRIC_DOT = 1, VECTOR_METRIC_L2 = 2 };

/** How a run stores its vectors: float32, or packed as config.md tells. */
enum vector_codec { VECTOR_CODEC_RAW = 0, VECTOR_CODEC_PACKED = 1 };

/** What a search goes through: none is not decided or not told, flat is a scan without a segment. */
enum segment_kind { SEGMENT_NONE, SEGMENT_FLAT, SEGMENT_HNSW, SEGMENT_IVF_PQ };

enum { SEGMENT_KIND_COUNT = SEGMENT_IVF_PQ + 1 };

const char *vector_metric_name(enum vector_metric metric); /* "cosine", "dot", "l2" */
bool vector_metric_parse(const char *name, enum vector_metric *metric);
const char *vector_codec_name(enum vector_codec codec); /* "raw", "packed" */
const char *segment_kind_name(enum segment_kind kind);  /* "", "flat", "hnsw", "ivf_pq" */
/** SEGMENT_NONE for what is none of the names. */
enum segment_kind segment_kind_parse(const char *name);

#endif
