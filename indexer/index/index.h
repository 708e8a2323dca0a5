/* index: what a segment is. Built once over the vectors of one sealed run, written to one file,
 * mapped for searching; it never changes. Knows vectors and row numbers, nothing of the store.
 *
 * Kinds: HNSW (graph over 7-bit codes, or over float32 codes where 7 bits lose the neighbours;
 * searched by 4-bit codes where they find the same) and IVF-PQ (lists of 4-bit product codes: a
 * fraction of the size and of the build time, a few times the time of a search). The float32 vectors
 * stay in the run and re-rank the candidates of both. A window too small for a graph needs no
 * segment: it is scanned.
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
#include "base/vector_row.h"
#include "indexer/index/choice.h"

/* Scores: higher is better inside windrow for every metric. Cosine and dot: the inner product
 * (cosine vectors are unit length). L2: minus the squared distance; the dialect turns it into a
 * distance. */

/* Kernels, chosen once for the CPU (WINDROW_SIMD=scalar|avx2|avx512|amx overrides). */

/** Exact float32 score of two vectors. */
float index_score(enum vector_metric metric, const float *a, const float *b, uint32_t dim);
/** As index_score for a row as it is stored. */
float index_score_row(enum vector_metric metric, const float *query, struct vector_row row,
                      uint32_t dim);
/** The values of a stored row: where they lie, or in memory of the thread until its next call. */
const float *index_row_values(struct vector_row row, uint32_t dim);
/** Scores of `query` against `count` vectors that lie one after another. */
void index_score_block(enum vector_metric metric, const float *query, const float *vectors,
                       uint32_t count, uint32_t dim, float *scores);
/** The same for several queries, each score bit for bit that of index_score: scores[query][row]. The
 * vectors should fit a cache. */
void index_score_tile(enum vector_metric metric, const float *const *queries, uint32_t query_count,
                      const float *vectors, uint32_t count, uint32_t dim, float *const *scores);
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
/** Of lists in memory, with their codebook, as index_ivf_code and index_ivf_merge make them. */
uint64_t index_ivf_code_bytes(uint32_t count, const struct index_build_options *options);

/** Lists instead of a graph; otherwise the same. */
int index_ivf_build(const float *vectors, uint32_t count, const struct index_build_options *options,
                    struct index_ivf **ivf, struct error *error);
void index_ivf_delete(struct index_ivf *ivf);

/* Lists that are put together: what was coded once is copied from then on. */

struct index_ivf_part {
    const struct index_ivf *lists;
    uint32_t first_row, row_count; /* of the lists' rows, those that the part consists of */
};
/** The lists of a segment, which lie in its file; NULL: it is a graph. */
const struct index_ivf *index_segment_lists(const struct index_segment *segment);
uint32_t index_lists_count(const struct index_ivf *lists);
/** Whether the mean squared error of coding these rows is more than three tenths above that of the rows that the
 * codebook was trained on, and more than few rows show by chance: one row in eight is measured. */
bool index_lists_have_drifted(const struct index_ivf *lists);
/** Takes over how many lists searches read, as measured of other lists of the codebook. */
void index_ivf_take_probes(struct index_ivf *lists, const struct index_ivf *from);
/** Codes rows with options->codebook as it is: whether it fits, and how many lists a search needs, is not looked
 * at. For index_ivf_merge. */
int index_ivf_code(const float *vectors, uint32_t count, const struct index_build_options *options,
                   struct index_ivf **ivf, struct error *error);
/** Lists over the rows of all parts, one part behind the other. Codes are copied, no vector is read. Parts of the
 * same lists are given in the order of their rows, and share none. ERROR_INVALID unless all have one codebook;
 * ERROR_UNSUPPORTED with more outliers than a segment may have. */
int index_ivf_merge(const struct index_ivf_part *parts, uint32_t part_count, struct index_ivf **ivf,
                    struct error *error);

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
    const atomic_bool *cancel;         /* may be NULL */
    double recall;                     /* that searches are timed for; 0: they are not */
    const struct index_choice *choice; /* why the segment is of its kind; NULL: not chosen */
};

#define INDEX_NO_ROW UINT32_MAX

/* INDEX_EF_UNMEASURED: of searches of segments whose effort was not measured, and the least of lists,
 * where what is measured promises a little too much. Graphs promise too little (effort.h): there the
 * least guards queries that are unlike the rows. */
enum { INDEX_EF_UNMEASURED = 64, INDEX_EF_GRAPH_MIN = 16 };

/** Measures how far searches have to go in the segment for levels of recall and what they cost then,
 * and writes it into the header of its file, `path`, synced: before the file gets its final name. A brute force over the
 * rows for up to 200 of them, one thread. ERROR_CANCELLED. */
int index_segment_measure_effort(struct index_segment *segment, const char *path,
                                 const struct index_effort_sample *sample, struct error *error);
/** Raises all measured efforts by one factor, in the file too, so that a search of this segment alone for `k` rows with
 * `recall` goes as far as `ef`. Nothing where it does already, or where nothing was measured. */
int index_segment_raise_effort(struct index_segment *segment, const char *path, double k,
                               double recall, uint32_t ef, struct error *error);
/** Notes, in the file too, what was measured of another segment of lists with the same codebook: of one that was put
 * together no vectors are at hand. */
int index_segment_take_effort(struct index_segment *segment, const char *path,
                              const struct index_segment *from, struct error *error);
/** The ef with which a search finds such a share of the nearest k rows of the segment; 0: it was
 * not measured (files of former versions). `k` may be a mean, also below 1: of a search over many
 * segments, the rows that this one has to bring. */
uint32_t index_segment_effort(const struct index_segment *segment, double k, double recall);
/** The ef that a search which names none does not go below. */
uint32_t index_segment_least_ef(const struct index_segment *segment);
/** The ef of a search of this segment alone that asks for a recall and names no ef. */
uint32_t index_segment_default_ef(const struct index_segment *segment, double k, double recall);
/** What was noted when the segment was built. */
const struct index_choice *index_segment_choice(const struct index_segment *segment);

/** Builds both kinds over a sample of the rows, one after the other in a file at `path` that is
 * removed, and notes what searches of either over all rows are expected to cost. Takes less memory than
 * a graph over all rows. ERROR_CANCELLED, or what builds return. */
int index_choice_try(const float *vectors, uint32_t count,
                     const struct index_build_options *options, double recall, struct io *io,
                     const char *path, struct index_choice *choice, struct error *error);

struct index_hit {
    uint32_t row;
    float score;
};

/* Rows for re-ranking, as they are stored; without bytes and with `error` filled when the block is
 * damaged. */
typedef struct vector_row (*index_vector_function)(void *context, uint32_t row,
                                                   struct error *error);
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
    /* Graphs only: a score that no single vector gives takes the place of the distance to `query`, which
     * is not used. It is asked about stored rows, also those that are not accepted: `vector` may return
     * none without an error for those it does not know. NULL: index_score. */
    float (*score)(void *context, struct vector_row row);
    void *score_context;
    bool scans; /* graphs: the codes of all matching rows are looked at instead of a walk, where
                 * members know which they are */
    bool hides; /* one segment: as if `hidden_row` were not in it; for samples of its own rows */
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

/* Rows [first, end) of a segment. */
struct index_rows {
    uint32_t first, end;
};

/* One segment of a group. */
struct index_group_member {
    const struct index_segment *segment;
    const struct index_rows
        *ranges; /* lists: others are not looked at; ascending. NULL: all rows */
    uint32_t range_count;
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
 * than one with ten times the rows. Of `search` only query, k, ef, floor_score and score count. hit_members[i] says whose
 * row hits[i].row is. All members together have less than 2^30 rows. */
int index_group_search(const struct index_group_member *members, uint32_t member_count,
                       const struct index_search *search, struct index_hit *hits,
                       uint32_t *hit_members, uint32_t *hit_count, bool *exhausted,
                       struct error *error);

/* One of several searches through the same segments. */
struct index_group_query {
    const struct index_group_member *members; /* as many, of the same segments in the same order */
    const struct index_search *search;
    struct index_hit *hits; /* room for search->k; and so have the others */
    uint32_t *hit_members;
    uint32_t hit_count;
    bool exhausted;
    int status; /* 0 or an error's code: others of the searches may have ended well */
    struct error error;
};

enum { INDEX_QUERIES_MAX = 64 }; /* searched together */

/** index_group_search for several queries, each with the answer that it would have alone. Lists are
 * read once for all queries that look into them, where their ranges are equal; graphs are searched for one query after another.
 * At most INDEX_QUERIES_MAX. */
void index_group_searches(struct index_group_query *queries, uint32_t query_count,
                          uint32_t member_count);

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
