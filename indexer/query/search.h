/* search: one nearest-neighbour search over a view. Inside the room only.
 *
 *     search.c          checks, plan (which source how), result     search_score.c  scores and
 * decay search_source.c   one source: scan it or walk its segment     top.c           the best k so
 * far
 *
 * Every metric has an internal order in which higher is better: the inner product, or minus the
 * squared distance. Recency decay d = 2^(-age / half_life) multiplies a product, and divides a
 * distance, so that an old record is as good as a fresh one that is farther away. */
#ifndef INDEXER_QUERY_SEARCH_H
#define INDEXER_QUERY_SEARCH_H

#include <pthread.h>
#include <stdatomic.h>

#include "indexer/query/top.h"
#include "indexer/query/view.h"

enum { SEARCH_SHARE_MAX = 32 };

struct searcher {
    const struct query_view *view;
    const struct query_search *search;
    const struct query_filter *filter; /* NULL: everything */
    const float *query;                /* normalised under cosine */
    enum index_metric metric;
    uint32_t dim;
    uint32_t ef;
    bool exact;
    bool bounded;           /* [from_ms, to_ms) leaves something out */
    int64_t from_ms, to_ms; /* the request's and the filter's */
    double threshold_order; /* nothing below it is of use; -INFINITY: no threshold */

    pthread_mutex_t lock; /* of `top` */
    struct top top;
    _Atomic double floor; /* order that a row has to reach; only rises */
    atomic_bool partial;
};

/* One source while it is searched; one thread. */
struct source_search {
    struct searcher *searcher;
    size_t shard;
    const struct store_source *source;
    double decay_min, decay_max;    /* over the source's rows; 1, 1 without decay */
    struct arena payloads;          /* for one accept call, or one block of a scan */
    struct arena bound;             /* of `binding` */
    struct filter_binding *binding; /* columns for the filter, or NULL */
    struct arena working;           /* for this source */
    double share;                   /* of the rows that are accepted, by a sample; 1: not known */
    uint32_t accepted, rejected;    /* by accept calls of one walk */
    /* Many segments: a first round asks each for its share, a second one those that still compete.
     */
    uint32_t wanted, pool;
    uint32_t offered[SEARCH_SHARE_MAX]; /* rows of the first round */
    uint32_t offered_count;
    double last_order; /* of the last hit when as many came as were wanted, else -INFINITY */
    const char *how;   /* "memtable", "chunk", "run" (scanned) or "hnsw" */
};

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
double search_threshold_order(enum index_metric metric, const struct query_search *search);
bool search_passes_threshold(const struct searcher *searcher, float user_score);

/** Order that is needed now. Any thread. */
static inline double search_floor(struct searcher *searcher)
{
    return atomic_load_explicit(&searcher->floor, memory_order_relaxed);
}
/** Offers an accepted row. Any thread. */
void search_offer(struct source_search *source, uint32_t row, double order);

/** Whether the source is searched through its segment. */
bool search_source_walks(const struct source_search *source);

/** Searches one source to the end. Damage and deadline set `partial`; other errors are returned. */
int search_source_run(struct source_search *source, struct error *error);

#endif
