/* search: one nearest-neighbour search over a view. Inside the room only.
 *
 *     search.c         checks, plan, tasks, result        search_score.c   scores and decay
 *     search_plan.c    what each source is asked, and how search_scan.c  sources, scanned
 *     search_tasks.c   searches side by side
 *     search_cover.c   which segments and spans            search_group.c   groups of segments
 *     search_start.c   the request, checked               top.c            the best k so far
 *     scorer.c         rows scored by several examples    rescore.c        rows that are known
 *
 * Every metric has an internal order in which higher is better: the inner product, or minus the
 * squared distance. Recency decay d = 2^(-age / half_life) multiplies a product, and divides a
 * distance, so that an old record is as good as a fresh one that is farther away. */
#ifndef INDEXER_QUERY_SEARCHER_H
#define INDEXER_QUERY_SEARCHER_H

#include <pthread.h>
#include <stdatomic.h>

#include "indexer/query/top.h"
#include "indexer/query/view.h"

struct store_source;

enum {
    SEARCH_ENTRY_COST = 60,  /* counted in rows scored one after another: the ways into a segment */
    SEARCH_BLOCK_ROWS = 256, /* scored together, at most */
    SEARCH_TOGETHER_MAX = INDEX_QUERIES_MAX
};

struct searcher {
    const struct query_view *view;
    struct query_view *whole_view; /* the same, where peers are asked */
    const struct query_search *search;
    const struct query_filter *filter; /* NULL: everything */
    const float *query;                /* normalised under cosine; NULL: only examples */
    struct query_scorer scorer;        /* its examples are normalised under cosine */
    bool distances;                    /* users see distances, of which the lowest is best */
    bool squares;                      /* those are not the roots of what is ranked by: Hamming */
    enum vector_metric metric;
    uint32_t dim;              /* of what rows are ranked by, as the metric */
    uint32_t query_rows;       /* of a vector that is a list; else 1 */
    uint32_t ef;               /* as asked for; 0: as much as `recall` needs */
    double recall;             /* that the answer shall have, over all segments */
    double effort;             /* times what was measured of segments for it (recall_loop.c) */
    uint64_t segment_rows;     /* of all groups together; 0: each group needs all of ef */
    uint64_t segment_accepted; /* of these rows, about so many are accepted */
    bool exact;
    bool bounded;           /* [from_ms, to_ms) leaves something out */
    int64_t from_ms, to_ms; /* the request's and the filter's */
    double threshold_order; /* nothing below it is of use; -INFINITY: no threshold */

    pthread_mutex_t lock; /* of `top` */
    struct top top;
    _Atomic double floor; /* order that a row has to reach; only rises */
    atomic_bool partial;
    atomic_bool cut; /* the view's stop ended some part of it */
};

enum access_path {
    ACCESS_NONE,         /* nothing in it can be wanted */
    ACCESS_SCAN,         /* every vector scored, the filter asked about what is good */
    ACCESS_FILTER_FIRST, /* the filter asked about every row, what it accepts scored */
    ACCESS_ROW_LIST,     /* the matching rows scored */
    ACCESS_EXTRA         /* every accepted row's extra vector read and scored */
};

/* One source while it is searched; one thread at a time. */
struct source_search {
    struct searcher *searcher;
    size_t shard;
    const struct store_source *source;
    enum access_path path;          /* without its segment */
    struct segment_search *through; /* its segment, or a span that has its rows; NULL: scanned */
    double cover_cost;              /* of its share of `through`, or of its way without it */
    bool bounded;                   /* it has rows outside of the time range */
    bool prepared;                  /* not skipped before its filter was looked at */
    bool all_eligible;              /* nothing but the filter can leave a row out */
    double decay_min, decay_max;    /* over the source's rows; 1, 1 without decay */
    struct arena payloads;          /* for one accept call, or one block of a scan */
    struct stop_meter meter;        /* of the filter's work */
    struct arena bound;             /* of `binding` and `matching` */
    struct filter_binding *binding; /* columns for the filter, or NULL */
    uint64_t
        *matching; /* a bit for each row that the filter accepts, or NULL; not to be written: it
                           may be of another search with this filter */
    uint64_t matching_rows; /* about how many rows the filter accepts; all without one */
    double cost;            /* of its way, in rows scored one after another */
    bool damaged;           /* its segment led to damaged vectors; reported */
    const char *how; /* "memtable", "chunk", "run" (scanned), "skipped" or the segment's kind */
    double seconds, reads; /* its share of what the tasks took */
};

/* A segment that a search goes through, and the sources that its rows are of: the one that it hangs
 * on, or parts of a span. */
struct segment_search {
    const struct index_segment *segment;
    size_t shard;
    size_t number;                /* in the order in which the shard's were found */
    struct source_search **parts; /* NULL where rows may not be returned, or are looked for in
                                            another segment */
    const struct store_span_part *spans; /* by part: which rows are its; NULL: one source */
    uint32_t part_count;
    uint32_t row_count;     /* of the segment */
    uint64_t *matching;     /* as of a source, over all rows of the segment; or NULL */
    uint64_t matching_rows; /* of the sources */
    bool grouped;           /* is in a group of segments */
};

/* The sources of a search, as the view has them. */
struct search_plan {
    struct searcher *searcher;
    struct source_search *sources;
    size_t count;
    uint64_t rows;
    struct search_plan
        *lender; /* whose filter and time range it has; NULL: none's. Not a borrower */
};

/** Searches over one view, side by side: what several of them look for in the same source or in the
 * same lists is looked for together. Each has the answer in its `top`, unsorted, that it would have
 * alone. */
int search_plans_run(struct search_plan *const *plans, uint32_t count, struct error *error);

/** query_searches_run without pages (search_pages.c): the first `limit` rows behind `offset` of each search
 * for offset + limit rows. */
int search_together_run(struct query_view *view, const struct query_search *searches, size_t count,
                        struct query_result *results, struct error *error);

/** Brings sources into the order in which they are scanned. */
void search_sources_sort(struct source_search **sources, size_t count);

/** The source of a row of the segment, and the row's number there; NULL: it may not be returned. */
struct source_search *search_segment_source(const struct segment_search *segment, uint32_t *row);

/** Checks what is asked for and fills the searcher, but for its lock's end and `top`. */
int search_start(struct searcher *searcher, struct query_view *view,
                 const struct query_search *search, struct error *error);

/** Raw scores of at most SEARCH_BLOCK_ROWS rows that lie one after another, and of one. */
void search_score_rows(const struct searcher *searcher, const float *vectors, uint32_t count,
                       float *scores);
float search_score_row(const struct searcher *searcher, struct vector_row row);

/** An extra vector among the parts of a row; NULL: it has none that fits. */
void search_extra_values(const struct config_vector *extra, const struct doc *parts,
                         const float **values, uint32_t *rows);
/** The raw score of a row by what query_ranked_values found. */
float search_score_values(const struct searcher *searcher, const float *values, uint32_t rows);

/** Compares hits as the heap ranks them; the names of shards stand for their places. */
int search_best_first(const void *left, const void *right);

/** How much of the order a row of this event time keeps: (0, 1]. */
double search_decay(const struct searcher *searcher, int64_t event_time_ms);
/** Order of a raw index score under a decay. */
double search_order(const struct searcher *searcher, float raw, double decay);
/** Best order a row of the source may have when its raw score is at most `raw`. */
double search_order_bound(const struct source_search *source, double raw);
/** Raw scores below this cannot reach `order` in the source. */
float search_raw_floor(const struct source_search *source, double order);
/** The score users see. */
float search_user_score(const struct searcher *searcher, double order);
/** Threshold as an order (a little generous; search_passes_threshold settles it). */
double search_threshold_order(const struct searcher *searcher);
bool search_passes_threshold(const struct searcher *searcher, float user_score);

/** Order that is needed now. Any thread. */
static inline double search_floor(struct searcher *searcher)
{
    return atomic_load_explicit(&searcher->floor, memory_order_relaxed);
}
/** Offers an accepted row. Any thread. */
void search_offer(struct source_search *source, uint32_t row, double order);

/** Whether a row may be returned: visible, in the time range, accepted by the filter. */
bool search_row_accepted(struct source_search *source, uint32_t row);
/** The same without the filter. */
bool search_row_eligible(const struct source_search *source, uint32_t row);
/** Order of a row whose raw score is known. */
double search_row_order(const struct source_search *source, uint32_t row, float raw);
/** Whether some part of the search was cut short already. */
static inline bool search_was_cut(const struct searcher *searcher)
{
    return atomic_load_explicit(&searcher->cut, memory_order_relaxed);
}
/** True when the view's stop says so; notes that the search was cut short. */
bool search_is_stopped(struct searcher *searcher);
/** Says once that bytes of the source are damaged and marks the result partial. */
void search_report_damage(struct source_search *source, const struct error *error);

/** Looks at one source: decay, columns, matching rows, and the cheapest way without its segment.
 * Different sources on different threads. */
void search_source_prepare(struct source_search *source);
/** The same when another search with the same filter and time range has looked: its matching rows are
 * used while it lives. False: nothing to borrow, the source has to be prepared. */
bool search_source_borrow(struct source_search *source, const struct source_search *lender);
/** With all prepared: the segments that the search goes through, because that is cheaper for all
 * together. Each source is in one of them or in none. */
struct segment_search *search_plan_segments(struct searcher *searcher,
                                            struct source_search *sources, size_t count,
                                            size_t *segment_count);
/** Of the segments and spans that there are those with which the sources cost least; 0: no segment
 * may be used. */
struct segment_search *search_cover(struct searcher *searcher, struct source_search *sources,
                                    size_t count, size_t *segment_count);
/** Cost of going through such a segment as one of many, of whose rows `row_count` must be met. */
double search_segment_cost(const struct searcher *searcher, const struct index_segment *segment,
                           uint64_t row_count);
/** The ef of a group that has to bring about `wanted` accepted rows: by the recall that is wanted
 * and what was measured of its segments; of an ef that was asked for, a group that is a part of all
 * segments gets the square root of its share. */
uint32_t search_group_ef(const struct searcher *searcher, struct segment_search *const *segments,
                         size_t count, uint32_t wanted);
/** How far the graph is searched for its own part of `wanted` rows before the group goes on
 * together; 0: by its share of the ef. */
uint32_t search_segment_depth(const struct searcher *searcher, const struct segment_search *segment,
                              uint32_t wanted);
/** Whether the codes of all matching rows of the graphs are looked at: cheaper than a walk. */
bool search_scans_codes(const struct searcher *searcher, struct segment_search *const *segments,
                        size_t count);
/** Gives back what prepare took. */
void search_source_finish(struct source_search *source);

/** Scans a source. Damage sets `partial`, the end of its time `cut`; other errors are returned. */
int search_source_run(struct source_search *source, struct error *error);
/** Whether the source may be scanned together with others: all rows scored by one vector each. */
bool search_source_is_shared(const struct source_search *source);
/** Scans one source for several searches: blocks of rows are scored for all of them while they lie in
 * the cache. At most SEARCH_TOGETHER_MAX. */
int search_sources_run(struct source_search *const *sources, uint32_t count, struct error *error);

/** Searches the segments as one (under decay the segment of one source only). Not *enough: k rows
 * may exist that it did not see, each of their sources has to be scanned. */
int search_group_run(struct searcher *searcher, struct segment_search *const *segments,
                     uint32_t count, bool *enough, struct error *error);

/* One search's group among several of the same segments. */
struct group_request {
    struct searcher *searcher;
    struct segment_search *const *segments; /* of lists */
    bool *enough;
};
/** The same for several searches, without decay and by one vector each: lists are read once for all. At
 * most SEARCH_TOGETHER_MAX. */
int search_groups_run(const struct group_request *requests, uint32_t request_count,
                      uint32_t segment_count, struct error *error);

#endif
