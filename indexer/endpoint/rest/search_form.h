/* search_form: one search of a request (points/query and what is built like it), taken apart. */
#ifndef INDEXER_ENDPOINT_REST_SEARCH_FORM_H
#define INDEXER_ENDPOINT_REST_SEARCH_FORM_H

#include "indexer/endpoint/rest/parse.h"
#include "store/files/key.h"

enum search_kind {
    SEARCH_NEAREST,
    SEARCH_ALL,
    SEARCH_ORDERED,
    SEARCH_SAMPLED,
    SEARCH_FUSED,
    SEARCH_FORMULA
};

enum { SEARCH_PREFETCH_MAX = 16, SEARCH_PREFETCH_DEPTH_MAX = 8 };

/* How the searches of a prefetch become one list. */
struct search_fusion {
    bool by_scores;            /* else by places */
    uint32_t k;                /* by places */
    const struct doc *weights; /* by places: numbers, one for each search; NULL: 1 */
};

struct search_form {
    enum search_kind kind;
    const struct config_collection *collection;
    struct config_vector vector; /* that it ranks by */
    struct query_search search;
    const struct doc *order_by;
    struct parse_selector selector;
    struct store_key exclude; /* "nearest to this id" leaves that id out */
    bool mmr;                 /* nearest, made diverse */
    float mmr_diversity;      /* 0: relevance only, 1: diversity only */
    uint32_t mmr_candidates;
    const struct store_key *left_out; /* examples that are points */
    uint32_t left_out_count;
    const struct doc *prefetch; /* searches whose rows this one is about */
    uint32_t prefetch_count;
    uint32_t prefetch_factor; /* their limits are so many times as large; 0: once */
    uint32_t depth;           /* of prefetches around */
    struct search_fusion fusion;
    const struct query_formula *formula;
    const struct doc *root_filter; /* of what has a prefetch, as it was sent; or NULL */
    const struct parse_extras *extras;
};

/** Reads all but the query itself: filter, limits, parameters, selectors. */
int search_form_common(struct http_request *request, const struct doc *body,
                       const struct parse_extras *extras, struct search_form *form,
                       struct error *error);
/** What is ranked by a vector that has a name says which one. */
int search_form_check_using(const struct config_collection *collection, const struct doc *body,
                            struct error *error);
/** `form` is zeroed but for `depth` and `prefetch_factor`. */
int search_form_parse(struct http_request *request, struct query_view *view, const struct doc *body,
                      const struct config_collection *collection, const struct parse_extras *extras,
                      struct search_form *form, struct error *error);
int search_form_run(struct http_request *request, struct query_view *view, struct search_form *form,
                    struct query_result *result, struct error *error);

/** What it ranks by is brought with each row. */
static inline void search_want_ranked(struct query_search *search)
{
    search->wants.vector |= !search->extra;
    search->wants.payload |= search->extra != NULL;
}

/** Several at once: those that are plain searches go to the shards' owners together. */
int search_forms_run(struct http_request *request, struct query_view *view,
                     struct search_form *forms, uint32_t count, struct query_result *results,
                     struct error *error);

/** What the form ranks by of a point, copied into the search's arena (*rows vectors of it), and its key.
 * ERROR_NOT_FOUND. */
int search_form_point(struct query_view *view, const struct doc *id, const struct search_form *form,
                      struct store_key *key, const float **vector, uint32_t *rows,
                      struct error *error);

/** {"target", "feedback", "strategy"}: becomes a search with a scorer. */
int search_feedback_parse(struct http_request *request, struct query_view *view,
                          const struct doc *body, const struct doc *feedback,
                          struct search_form *form, struct error *error);

/** {"positive", "negative", "strategy"}: becomes a nearest search, or one with a scorer. */
int search_recommend_parse(struct http_request *request, struct query_view *view,
                           const struct doc *body, const struct doc *recommend,
                           struct search_form *form, struct error *error);
/** A target (may be NULL) and a pair {"positive", "negative"} or a list of them (may be NULL). */
int search_discover_parse(struct http_request *request, struct query_view *view,
                          const struct doc *body, const struct doc *target,
                          const struct doc *context, struct search_form *form, struct error *error);

/** Reads the body's `prefetch`, which may be missing. */
int search_prefetch_parse(const struct doc *body, struct search_form *form, struct error *error);
/** Runs its searches: `searches` and `results` are as many, in the request's arena. */
int search_prefetch_run(struct http_request *request, struct query_view *view,
                        const struct search_form *form, struct search_form **searches,
                        struct query_result **results, struct error *error);
/** Runs them, and the form over the points that they found. */
int search_over_prefetch(struct http_request *request, struct query_view *view,
                         struct search_form *form, struct query_result *result,
                         struct error *error);

/** {"fusion"} or {"rrf"} over the searches of `prefetch`. */
int search_fusion_parse(const struct doc *query, struct search_form *form, struct error *error);
int search_fusion_run(struct http_request *request, struct query_view *view,
                      const struct search_form *form, struct query_result *result,
                      struct error *error);

/** Maximal marginal relevance over more candidates than are asked for; `hits`: those that a prefetch found,
 * with their vectors, or NULL. */
int search_mmr_run(struct http_request *request, struct query_view *view,
                   const struct search_form *form, const struct query_hit *hits, size_t count,
                   struct query_result *result, struct error *error);

/* An older call's body as points/query would have it, in the arena. */
typedef struct doc (*search_rewrite)(struct arena *arena, const struct doc *body);

/** Answers points/query, points/query/batch and points/query/groups. Of an older call `rewrite` says what
 * it asks, and the points stand bare in the result; NULL: none. */
void search_answer(struct http_request *request, search_rewrite rewrite);
void search_answer_batch(struct http_request *request, search_rewrite rewrite);
void search_answer_groups(struct http_request *request, search_rewrite rewrite);

/** Logs a search that began at `start_ns` (monotonic) and took longer than log.slow_search. */
void rest_log_slow_search(struct http_request *request, const struct query_view *view,
                          const struct search_form *form, const struct query_result *result,
                          int64_t start_ns);

#endif
