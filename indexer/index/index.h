/* index: what a segment is. Built once over the vectors of one sealed run, written to one file,
 * mapped for searching; it never changes. Knows vectors and row numbers, nothing of the store.
 *
 * Kinds: HNSW (graph over 7-bit codes, over float32 codes where 7 bits lose the neighbours) and
 * IVF-PQ (lists of 4-bit product codes: a fraction of the size and of the build time, a few times
 * the time of a search). The float32 vectors stay in the run and re-rank the candidates of both. A
 * window too small for a graph needs no segment: it is scanned.
 *
 * Segment file: header, sections (codes, scales, graph levels), each checksummed with the file's
 * number; written to PATH.tmp by the caller's choice of name, synced, renamed by the caller. Files
 * are hostile input: everything is checked when opened, an opened segment cannot read out of
 * bounds. */
#ifndef INDEXER_INDEX_INDEX_H
#define INDEXER_INDEX_INDEX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/io.h"
#include "base/vector.h"

/* Scores: higher is better inside windrow for every metric. Cosine and dot: the inner product
 * (cosine vectors are unit length). L2: minus the squared distance; the dialect turns it into a
 * distance. */

/* Kernels, chosen once for the CPU (WINDROW_SIMD=scalar|avx2|avx512|amx overrides). */

/** Exact float32 score of two vectors. */
float index_score(enum vector_metric metric, const float *a, const float *b, uint32_t dim);
/** Scores of `query` against `count` vectors that lie one after another. */
void index_score_block(enum vector_metric metric, const float *query, const float *vectors,
                       uint32_t count, uint32_t dim, float *scores);
/** Scales to unit length in place; returns the former length (0 for a zero vector, left as it is).
 */
float index_normalise(float *vector, uint32_t dim);
/** Name of the kernel set in use: "avx512". */
const char *index_simd_name(void);

/* Building. */

struct index_ivf_codebook; /* centroids and PQ codewords, shared by windows */

struct index_build_options {
    enum vector_metric metric;
    uint32_t dim;
    uint32_t m;            /* HNSW: links a node above level 0; 2 m at level 0 */
    uint32_t ef_construct; /* effort; IVF-PQ: how sure searches are to read enough lists */
    uint32_t lists;        /* IVF-PQ; 0: by the number of rows */
    uint32_t probes;       /* IVF-PQ: lists that every search reads; 0: as many as it needs */
    const struct index_ivf_codebook
        *codebook;             /* IVF-PQ: its tables are used if they fit; may be NULL */
    uint32_t thread_count;     /* >= 1 */
    uint64_t memory_max_bytes; /* a build that may take more is refused; 0: no bound */
    uint64_t seed;             /* same seed, same input, one thread: same file */
    const atomic_bool *cancel; /* may be NULL */
    void (*progress)(void *context, uint32_t done,
                     uint32_t total); /* may be NULL; builder threads */
    void *progress_context;
};

struct index_segment;

struct index_hnsw_graph; /* in memory, while building */
struct index_ivf;

/** Builds over `count` vectors (rows of dim floats, contiguous, e.g. a mapped run column). */
int index_hnsw_build(const float *vectors, uint32_t count,
                     const struct index_build_options *options, struct index_hnsw_graph **graph,
                     struct error *error);
void index_hnsw_graph_delete(struct index_hnsw_graph *graph);

/** What such a build takes besides the vectors, at most, when 7 bits a dimension are enough, which
 * is known when it begins: with float codes it is more, and a build over `memory_max_bytes` ends
 * with ERROR_UNSUPPORTED before it has taken it. */
uint64_t index_hnsw_build_bytes(uint32_t count, const struct index_build_options *options);
uint64_t index_ivf_build_bytes(uint32_t count, const struct index_build_options *options);

/** Lists instead of a graph; otherwise the same. */
int index_ivf_build(const float *vectors, uint32_t count, const struct index_build_options *options,
                    struct index_ivf **ivf, struct error *error);
void index_ivf_delete(struct index_ivf *ivf);

/** Writes the segment file and syncs it (not its folder). */
int index_segment_write(struct io *io, const char *path, uint64_t file_number,
                        const struct index_hnsw_graph *graph, uint64_t *size_bytes,
                        struct error *error);

int index_ivf_write(struct io *io, const char *path, uint64_t file_number,
                    const struct index_ivf *ivf, uint64_t *size_bytes, struct error *error);

/* A segment. */

/** Maps and checks a segment file; dim, metric, file number and row count must match. */
int index_segment_open(struct io *io, const char *path, uint64_t file_number,
                       enum vector_metric metric, uint32_t dim, uint32_t row_count,
                       struct index_segment **segment, struct error *error);
/** Matches store_segment.release. */
void index_segment_close(void *segment);
enum segment_kind index_segment_kind(const struct index_segment *segment);
/** IVF-PQ: the same number, the same centroids and codebook; 0 for HNSW. */
uint64_t index_segment_codebook(const struct index_segment *segment);
uint64_t index_segment_bytes(const struct index_segment *segment);

/** A copy of what an IVF-PQ segment's codebook consists of, for builds; NULL for HNSW. Deleted with
 * index_codebook_delete, which takes NULL. */
struct index_ivf_codebook *index_segment_copy_codebook(const struct index_segment *segment);
void index_codebook_delete(struct index_ivf_codebook *codebook);
/** Appends it as bytes, for a build on another machine. `out` is empty. */
int index_codebook_pack(const struct index_ivf_codebook *codebook, struct buffer *out,
                        struct error *error);
/** Back again; `bytes` lie as malloc aligns. Nothing in them is believed: ERROR_CORRUPT. */
int index_codebook_unpack(const void *bytes, size_t size_bytes,
                          struct index_ivf_codebook **codebook, struct error *error);
/** Full structural check: degrees, levels, every node reachable at level 0; lists. For tests,
 * verify.
 */
int index_segment_validate(const struct index_segment *segment, struct error *error);
/** Opens a segment file and validates it, for `windrow verify`; the metric is what the file says.
 */
int index_segment_check(struct io *io, const char *path, uint64_t file_number, uint32_t dim,
                        uint32_t row_count, struct error *error);
/** Human or JSON description for `windrow inspect`. */
int index_segment_inspect(struct io *io, const char *path, bool json, struct buffer *out,
                          struct error *error);

/* What effort is measured with: the vectors that the segment was built over. */
struct index_effort_sample {
    const float *vectors; /* count x dim */
    uint32_t count, dim;
    const atomic_bool *cancel; /* may be NULL */
};

#define INDEX_NO_ROW UINT32_MAX

/* Of searches of segments whose effort was not measured, and the least of all others: what was
 * measured only ever adds. */
enum { INDEX_EF_UNMEASURED = 64 };

/** Measures how far searches have to go in the segment for levels of recall, and writes it into the
 * header of its file, `path`, synced: before the file gets its final name. A brute force over the
 * rows for up to 200 of them, one thread. ERROR_CANCELLED. */
int index_segment_measure_effort(struct index_segment *segment, const char *path,
                                 const struct index_effort_sample *sample, struct error *error);
/** The ef with which a search finds such a share of the nearest k rows of the segment; 0: it was
 * not measured (files of former versions). `k` may be a mean, also below 1: of a search over many
 * segments, the rows that this one has to bring. */
uint32_t index_segment_effort(const struct index_segment *segment, double k, double recall);

struct index_hit {
    uint32_t row;
    float score;
};

/* Exact vectors for re-ranking; returns NULL and fills error when the block is damaged. */
typedef const float *(*index_vector_function)(void *context, uint32_t row, struct error *error);
/* Whether a row may be returned (visible, and matching the query's filter). */
typedef bool (*index_accept_function)(void *context, uint32_t row);

struct index_search {
    const float *query;
    uint32_t k;        /* hits wanted */
    uint32_t ef;       /* >= k after clamping */
    float floor_score; /* hits at or below are of no use to the caller; -INFINITY: none */
    index_accept_function accept; /* may be NULL: all */
    void *accept_context;
    index_vector_function vector;
    void *vector_context;
    bool hides; /* graphs: as if `hidden_row` were not in it; for samples of its own rows */
    uint32_t hidden_row;
};

/** The group that the segment belongs to, above 0: segments of one metric, dim and group can be
 * searched together. Graphs with one kind of codes, or lists with one codebook. */
uint32_t index_segment_group(const struct index_segment *segment);

/** Whether a filtered search visits only the predicate subgraph, the matching rows (ACORN, arXiv
 * 2403.04871): when between a sixteenth and a half of the rows match. With more, an ordinary search
 * meets enough of them; with fewer, the subgraph falls apart. `ef` then counts matching rows, and
 * the same ef finds more. */
bool index_uses_predicate_subgraph(uint64_t matching_rows, uint64_t rows);

/* One segment of a group. */
struct index_group_member {
    const struct index_segment *segment;
    uint32_t depth;               /* graphs: how far each is searched for itself; 0: by its share */
    const uint64_t *matching;     /* a bit a row: others are never accepted; NULL: all may be */
    uint64_t matching_rows;       /* bits set, when there are any */
    index_accept_function accept; /* asked about matching rows; may be NULL: all */
    void *accept_context;
    index_vector_function vector;
    void *vector_context;
};

/** Multi-segment beam search: as index_segment_search over all members at once. They share one list
 * of candidates, so the work goes to the members that hold the answer: ten members cost little more
 * than one with ten times the rows. Of `search` only query, k, ef and floor_score count. hit_members[i] says whose
 * row hits[i].row is. All members together have less than 2^30 rows. */
int index_group_search(const struct index_group_member *members, uint32_t member_count,
                       const struct index_search *search, struct index_hit *hits,
                       uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                       struct error *error);

/** Searches; `hits` has room for k; sorted best first, ties by row; scores are exact float32. Rows
 * that are not accepted are traversed but never returned. Where few rows are accepted the search
 * widens itself, from `ef` up to an eighth of the rows (at most 4096): the caller need not choose a
 * larger ef for a filter. *exhausted false: fewer than k accepted rows lay within that, the caller
 * has to go on by scanning (all it got is right, but there may be better). *exhausted true: there
 * is nothing to be won by a scan; when hit_count is below k, the rest does not exist or is not
 * above floor_score. Thread-safe; the scratch memory it needs belongs to the thread. */
int index_segment_search(const struct index_segment *segment, const struct index_search *search,
                         struct index_hit *hits, uint32_t *hit_count, bool *exhausted,
                         struct error *error);

struct index_top;
/** The nearest rows of several queries, by brute force: `tops`, one for each, receive them unsorted.
 * Ends early when cancelled. */
void index_exact_tops(enum vector_metric metric, const float *vectors, uint32_t count, uint32_t dim,
                      const float *const *queries, uint32_t query_count, struct index_top *tops,
                      const atomic_bool *cancel);

/** Rows for a recall sample: exact top k of `count` vectors by brute force, for `query`. */
void index_exact_top(enum vector_metric metric, const float *vectors, uint32_t count, uint32_t dim,
                     const float *query, uint32_t k, struct index_hit *hits, uint32_t *hit_count);

#endif
