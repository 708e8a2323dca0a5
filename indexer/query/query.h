/* query: one request over one collection's shards at one instant.
 *
 * A view leases the shards and takes a snapshot of each; every operation of a request runs on the
 * same view, so a reply is consistent in itself. Windows outside the asked time range are pruned;
 * sealed windows with a segment are searched through it, everything else is scanned where it lies;
 * candidates are scored with exact float32; invisible and filtered rows never surface; k rows come
 * back when k matching rows exist. Nothing here knows HTTP; JSON appears only as filter documents
 * and payloads. */
#ifndef INDEXER_QUERY_QUERY_H
#define INDEXER_QUERY_QUERY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "base/stop.h"
#include "base/thread_pool.h"
#include "config/config.h"
#include "indexer/index/index.h"
#include "indexer/query/filter/column_memory.h"
#include "indexer/query/filter/condition.h"
#include "indexer/query/filter/row.h"
#include "indexer/query/peers.h"
#include "store/describe.h"

struct store_coverage;
struct store_lease;
struct store_registry;

struct store_snapshot;
struct store_source;

/* View. */

struct query_view;

struct query_min_offset {
    const char *shard; /* "0" */
    int64_t offset;    /* wait until this offset is searchable */
};

/* A shard of this process while it is described. The documents have room for more keys. */
struct query_described {
    const struct store_lease *lease;
    struct store_shard_info info;
    struct doc shard;
    struct doc *windows; /* as info.windows */
};

/* Adds what only the owner of the shards knows to their descriptions. */
struct query_describer {
    void *context;
    void (*add)(void *context, struct query_described *shards, size_t count, struct arena *arena);
    /* Writes why a sealed window has no segment and gets none for now; false: builds know of no reason.
     * NULL: nobody here builds. */
    bool (*why_scanned)(void *context, struct store_shard *shard,
                        const struct store_window_info *window, char *why, size_t why_bytes);
};

struct query_view_options {
    const struct config_collection *collection;
    struct store_registry *registry;
    struct io *io;
    const struct query_min_offset *min_offsets;
    size_t min_offset_count;
    bool whole;         /* a view that leaves shards out is refused */
    int64_t timeout_ms; /* for min_offsets and the whole request; 0: 30 s */
    /* When all operations of the view end; its deadline is set already. NULL: after timeout_ms. */
    struct stop *stop;
    /* Searches that run at the same time share its threads; the caller's own takes part. NULL: on
     * the caller's alone. */
    struct thread_pool *pool;
    uint64_t shared_work_min; /* multiplications from which the pool helps; 0: as measured */
    /* Who is asked for shards that are not open here; NULL: nobody, and the view leaves them out. */
    const struct query_peers *peers;
    const struct query_describer *describer; /* for query_describe; may be NULL */
    /* The view has these shards only, as far as they are open here, and asks nobody. NULL: all. */
    const char *const *shards;
    size_t shard_count;
    /* With `shards`: those that lack records, too, but not below min_offsets, which nobody waits for. */
    bool lacking;
    int64_t score_now_ms; /* the time that ages count from; 0: the clock of this process */
};

/** Leases and snapshots every shard. Waits for min_offsets: ERROR_TIMEOUT when they do not become
 * searchable in time, ERROR_INVALID when one names no partition that the collection can have.
 * ERROR_UNAVAILABLE: this process owns no shards, or `whole` and some are not open here; the text
 * names them.
 *
 * With peers, shards that are not open here are asked for by each operation, and their min_offsets
 * travel along. So are those of which a peer has more: where none of them answers, the copy that is here does, and
 * query_view_coverage names it. Which of them nobody answered for is known after the operation: under `whole` it
 * fails with ERROR_UNAVAILABLE, else query_view_coverage names them. Under `whole` owners of shards that have none
 * are waited for, before and during the operations: ten seconds at most, and three quarters of the time. */
int query_view_open(const struct query_view_options *options, struct query_view **view,
                    struct error *error);
void query_view_close(struct query_view *view);

/** Makes the columns of `payload_index` that large chunks and runs lack: those of runs in files beside
 * them, those of chunks until memory for columns runs short. Filters on these fields find them. Forgets
 * columns of tables that are gone. *made: tables whose columns were mapped or made. `error` must
 * be zeroed. ERROR_TIMEOUT and ERROR_CANCELLED as of every operation: the rest is for the next call.
 */
int query_column_preload(const struct query_view_options *options, size_t *made,
                         struct error *error);

struct query_shard_freshness {
    const char *shard;
    int64_t next_offset;  /* first offset that is not searchable; -1: nothing stored yet */
    int64_t watermark_ms; /* INT64_MIN: none */
    bool
        lacks; /* it was read although records are missing: its partition stopped, or others have more */
    int64_t known_offset; /* up to which it is known to go then */
};

/* A record in Kafka, and what its shard made of it. */
struct query_written {
    const char *shard;
    int64_t offset;      /* among the view's min_offsets, or below */
    const char *refused; /* filled: why it was not stored, one word; NULL: it was */
};
/** Waits until the min_offsets are searchable at the peers, too, and tells what became of records. */
int query_view_wait(struct query_view *view, struct query_written *written, size_t count,
                    struct error *error);
/** Which peers the operations so far asked; all 0 without peers. */
struct query_peer_counts query_view_peers(const struct query_view *view);
/** Which shards of the collection the view leaves out; until its next operation. With peers: those
 * that an operation had no answer for. */
const struct store_coverage *query_view_coverage(const struct query_view *view);
/** Whether the view has every shard that the collection has: no answer from it is partial for lack
 * of a shard. */
bool query_view_whole(const struct query_view *view);

/** One entry a shard that is open here or was answered for; until the view's next operation. */
const struct query_shard_freshness *query_view_freshness(const struct query_view *view,
                                                         size_t *count);

/* What an operation brings with each row that a peer answers. Rows of this process have it all. */
struct query_wants {
    bool payload, vector;
};

/* Operations. Each ends with ERROR_TIMEOUT soon after the view's deadline, and with ERROR_CANCELLED when
 * nobody waits for its outcome (struct stop) or, but for a search, when a shard is wanted back. */

/* One row of a reply. */
struct query_hit {
    struct query_row row;
    float score; /* as the metric defines it for users: cosine, dot, or L2 distance */
    /* What the hits are ordered by, as a sum: of a search, higher is better. */
    double order, order_rest;
};

struct index_segment;

/** {"reason": why the segment is of its kind, or null, "hnsw_per_second", "ivf_pq_per_second": searches
 * that were expected of either kind or null, "measured_per_second": of the segment itself,
 * "at_recall"}; null for files of before this was measured, and for NULL. */
struct doc query_choice_doc(const struct index_segment *segment, struct arena *arena);

struct query_explain {
    int64_t window_start_ms, window_length_ms;
    const char *shard;
    const char *node;   /* NULL: this process */
    const char *source; /* "memtable", "chunk", "run", "hnsw", "ivf_pq", "hnsw_span", "ivf_pq_span";
                    "skipped": no row of it can be in the answer, as columns or the threshold say */
    uint64_t generation;
    uint64_t rows;
    double seconds;
    double
        reads; /* 4 KiB pages that had to be read from storage; sources searched together share them */
    struct doc choice; /* of the segment, as query_choice_doc */
    double
        effort; /* times what was measured of the segment (query_recall_hold); 0: none was searched, or not by a recall */
};

/* What the sources of this process took in a search, together, by how they were searched. Threads
 * search side by side: the seconds add up to more than the search took. */
struct query_effort {
    const char *source; /* as struct query_explain has it; NULL: the end */
    uint32_t count;
    uint64_t rows;
    double seconds;
};

enum { QUERY_EFFORTS_MAX = 8 };

struct query_result {
    struct query_hit *hits; /* best first, in the request's arena */
    size_t hit_count;
    uint32_t windows_searched, windows_pruned, windows_live;
    bool partial;
    const struct query_explain *explain;
    size_t explain_count;
    struct query_effort efforts[QUERY_EFFORTS_MAX + 1];
};

enum { QUERY_LIMIT_MAX = 100000, QUERY_SEARCHES_MAX = 1024, QUERY_EXAMPLES_MAX = 2048 };

/* What rows are scored by: their nearness to one vector, or what several examples say together (scorer.c
 * has the formulas). The latter scores are higher for better rows under every metric. */
enum query_scorer_kind {
    QUERY_NEAREST,
    QUERY_BEST_SCORE, /* near to some positive example, far from all negative ones */
    QUERY_SUM_SCORES,
    QUERY_DISCOVER, /* on the positive side of many pairs, then near to the vector */
    QUERY_CONTEXT,  /* on the positive side of all pairs */
    QUERY_WEIGHTED_SCORES
};

struct query_scorer {
    enum query_scorer_kind kind;
    const float *examples; /* dim floats each: the positive ones, then the negative ones */
    uint32_t positive_count, negative_count; /* of pairs as many, in the same order */
    const float *weights; /* of weighted scores, one for each example, of either sign; else NULL */
};

struct query_search {
    /* Rows are ranked by this vector of theirs, and those without it are left out: a scan, no segment has it. NULL: by
     * the collection's own. `dim` is its. */
    const struct config_vector *extra;
    const float
        *vector; /* dim floats; normalised here under cosine; NULL where the scorer has none */
    /* Of a vector that is a list, which nearest searches alone know: so many times dim floats. Else not looked at. */
    uint32_t vector_rows;
    struct query_scorer scorer;
    uint32_t limit, offset;
    uint32_t ef;   /* 0: as much as the recall needs */
    double recall; /* of the answer; 0: the collection's; ignored with `ef` and `exact` */
    /* So many times what was measured of each segment; 0: what the collection's recall was found to
     * need (query_recall_hold). Not for peers. */
    double effort;
    bool exact;
    const struct query_filter *filter; /* may be NULL */
    int64_t from_ms, to_ms;            /* [from, to); INT64_MIN, INT64_MAX: open */
    int64_t half_life_ms;              /* 0: no decay; score x exp(-ln 2 x age / half_life) */
    bool has_threshold;
    float threshold;            /* strict: above it; a distance of L2 below it */
    const uint8_t *exclude_key; /* this id is left out ("nearest to id"); NULL: none */
    size_t exclude_key_bytes;
    bool explain;
    bool duplicates; /* an id that several shards hold may come back from each */
    bool partial;    /* at the deadline the result is what was found; else ERROR_TIMEOUT */
    struct query_wants wants;
    struct arena *arena; /* for the result */
};

/** Nearest neighbours over the whole view, best first; ties by id.
 *
 * Decay: a product is multiplied by 2^(-age / half_life), an L2 distance is divided by it;
 * threshold and order go by the decayed score. Under cosine a vector of zeros scores 0 with
 * everything, as in Qdrant: the first ids come back. Of an id that several shards hold the newest
 * version comes back (query_version_compare), once, or none where that one is not among the best. A
 * damaged window makes the result partial; it is no error.
 *
 * Pages: all pages of one `limit` are parts of one list while nothing is written, so they neither overlap
 * nor leave a row out. */
int query_search_run(struct query_view *view, const struct query_search *search,
                     struct query_result *result, struct error *error);

/** Several searches at the same instant, each with the answer that it would have alone. What they look for
 * in the same rows or lists is looked for together. Peers get them in one exchange. The arenas may be one; an error
 * is that of the first search that has one. */
int query_searches_run(struct query_view *view, const struct query_search *searches, size_t count,
                       struct query_result *results, struct error *error);

/* The recall of answers, held. Segments were measured when they were built, each alone and by its own rows; what an
 * answer over all of them has is found out from searches that were asked (recall_loop.c). */

enum { QUERY_RECALL_SEARCHES = 256 }; /* the latest are kept: so many vectors a collection */

struct query_recall {
    double asked; /* index.recall, when it was measured */
    /* Of default answers, as `effort` has them since; below `asked`: more does not help. */
    double measured;
    double effort;     /* how many times what was measured of segments; 1: also before that */
    uint32_t searches; /* that were compared with exact answers; 0: nothing was measured yet */
};

/** Searches of the collection are kept from now on. query_recall_hold does that too. */
void query_recall_begin(const struct store_registry *registry,
                        const struct config_collection *collection);
/** A round of comparing. Takes 200 ms of the calling thread, or one search and its comparison where that takes longer.
 * No round of any collection begins for nineteen times as long afterwards: a twentieth of a processor. Nor
 * does one while searches wait for a thread. *more: the comparison goes on with the next call. Peers do
 * this for their shards. */
int query_recall_hold(const struct query_view_options *options, bool *more, struct error *error);
/** What is known of a collection's recall in this process; false: nothing yet. */
bool query_recall_get(const struct store_registry *registry, const char *collection,
                      struct query_recall *recall);
/** Memory of the vectors that are kept, of all collections. */
uint64_t query_recall_bytes(void);
/** Forgets a collection (NULL: all), before the registry goes. */
void query_recall_forget(const struct store_registry *registry, const char *collection);

/** The values that the search ranks a row by; of a vector that is a list, *rows of them. NULL: the row has none. Of a
 * peer's row the vector was asked for, of an extra one the payload. */
int query_ranked_values(const struct query_search *search, const struct query_row *row,
                        struct arena *arena, const float **values, uint32_t *rows,
                        struct error *error);

/** Orders rows that other searches of the view found, and brought the vectors of, by a search's score:
 * the page of them that it asks for. Its filter and time range were theirs. Of `result` only the hits
 * are set. */
int query_rescore(struct query_view *view, const struct query_search *search,
                  const struct query_hit *hits, size_t count, struct query_result *result,
                  struct error *error);

struct query_formula;

/** Compiles Qdrant's score formula (numbers, variables, operations, filter conditions) and its `defaults`, which may
 * be NULL, into `arena`; `vector_name` as of query_filter_compile. ERROR_INVALID with the JSON path ("query.formula.sum[1]: ..."); depth and size are bounded. Both
 * documents have to live as long as the formula. */
int query_formula_compile(const struct doc *formula, const struct doc *defaults,
                          const char *vector_name, struct arena *arena,
                          const struct query_formula **compiled, struct error *error);
/** Whether the searches have to bring payloads. */
bool query_formula_needs_payload(const struct query_formula *formula);

/** Scores what searches of the view found by a formula, and takes of it the page and the threshold of `search`, best
 * first; ties by id. ERROR_INVALID names the point and the expression that has no finite value. Of `result` only the
 * hits are set. */
int query_formula_run(struct query_view *view, const struct query_formula *formula,
                      const struct query_search *search, const struct query_result *results,
                      uint32_t result_count, struct query_result *result, struct error *error);

struct query_scroll {
    const uint8_t *from_key; /* first key that may come back; NULL: from the start */
    size_t from_key_bytes;
    uint32_t limit;
    const struct query_filter *filter;
    const char *order_by; /* payload path or "@time"/"@offset"; NULL: by id */
    bool descending;
    const struct doc *start_from; /* may be NULL */
    bool once;                    /* of an order: a row counts with the first of its values alone */
    bool sample;                  /* in place of an order: rows by chance, all as likely */
    uint64_t seed;                /* of a sample: equal seeds draw equal ids, on every node */
    struct query_wants wants;
    struct arena *arena;
};

/** Rows in id order (or by a payload field: one entry for each value of an array), each id in its newest
 * version. `next_key` is where the next page starts, NULL at the
 * end or under order_by. */
int query_scroll_run(struct query_view *view, const struct query_scroll *scroll,
                     struct query_result *result, const uint8_t **next_key, size_t *next_key_bytes,
                     struct error *error);

/** Matching visible rows; exact; an id that several shards hold counts in each. */
int query_count(struct query_view *view, const struct query_filter *filter, uint64_t *count,
                struct error *error);

/* What a collection has, from descriptions of its files: no row is looked at. */
struct query_totals {
    uint64_t points;  /* as query_count, but expired rows count until their window goes */
    uint64_t indexed; /* of them, those that a segment has */
    uint64_t segments;
    bool building; /* a sealed window waits for its segment */
    bool damaged;  /* some file, or a shard stopped */
};

int query_totals(struct query_view *view, struct query_totals *totals, struct error *error);

/* What operators are told of a shard. */
struct query_shard_doc {
    const char *shard;
    const char *node; /* who serves it; NULL: this process */
    /* {"shard", "windows": [{"start_ms", "end_ms", "state", "rows", "dead_rows", "bytes", "generation",
     * "chunks", "chunk_segments", "storage": {"type", "recall" that it keeps, "refused": the type that would
     * have kept too little, or null} or null, "segment": {"kind", "bytes", "recall", "choice"} or null, "span":
     * [{"tier", "kind", "start_ms", "end_ms", "windows", "rows", "live": share of the rows, "bytes",
     * "choice"}] that it is a part of, "reason": why it is searched in that way}]}, "choice" as
     * query_choice_doc, and what the describer of that node adds. */
    struct doc doc;
};

/** Describes every shard of the view in `arena`, in their order. */
int query_describe(struct query_view *view, struct arena *arena, struct query_shard_doc **shards,
                   size_t *count, struct error *error);

struct query_facet_value {
    struct doc value; /* a string, an integer or a boolean */
    uint64_t count;
};

enum { QUERY_FACET_VALUES_MAX = 1 << 20 };

/** How many matching rows have each value of a payload field, the most frequent first, equal counts
 * by value; exact. A row counts once for a value. ERROR_INVALID: more than QUERY_FACET_VALUES_MAX
 * values. */
int query_facet(struct query_view *view, const char *key, const struct query_filter *filter,
                struct arena *arena, struct query_facet_value **values, size_t *count,
                struct error *error);

struct query_key {
    const uint8_t *bytes;
    size_t size_bytes;
};

/** The visible versions of many ids. rows[i].shard is NULL where there is none. */
int query_find_many(struct query_view *view, const struct query_key *keys, size_t count,
                    struct query_wants wants, struct arena *arena, struct query_row *rows,
                    struct error *error);
/** The visible version of one id: ERROR_NOT_FOUND when each shard of the collection was asked and has
 * none. ERROR_UNAVAILABLE: those that were asked have none. */
int query_find(struct query_view *view, const uint8_t *key, size_t key_bytes, struct arena *arena,
               struct query_row *row, struct error *error);

/* A visible version of an id in one shard. */
struct query_version {
    const char *shard; /* valid until the view closes */
    int64_t time_ms;   /* event time; INT64_MIN: its bytes are damaged */
    int64_t offset;    /* -1: a node of an older version of windrow did not tell it */
};

/* The versions of an id, one a shard, the newest first. More than one: producers disagree about the
 * partitioner, or the topic got more partitions. */
struct query_holders {
    struct query_version *versions;
    size_t count;
};

/** The order of versions of one id, for all that reads or removes them: negative where `a` is the
 * newer one. The newest event time decides; of equal ones the shard whose name comes first is the
 * newer one. Offsets of two partitions do not compare. */
int query_version_compare(const struct query_version *a, const struct query_version *b);
/** The version that a row is. */
struct query_version query_row_version(const struct query_row *row);

/** Of the ids of hits. */
int query_locate_hits(struct query_view *view, const struct query_hit *hits, size_t count,
                      struct arena *arena, struct query_holders **holders, struct error *error);
/** Of many ids, in `arena`. */
int query_locate(struct query_view *view, const struct query_key *keys, size_t count,
                 struct arena *arena, struct query_holders **holders, struct error *error);

/** What a row of an ordered scroll was ordered by, as its payload has it: a number, or the microseconds of
 * an RFC 3339 time. The scroll must have asked for the payload, unless its order is a virtual key. */
int query_hit_order_value(const struct query_hit *hit, const char *order_by, struct arena *arena,
                          struct doc *value, struct error *error);

#endif
