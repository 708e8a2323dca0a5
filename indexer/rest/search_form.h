/* search_form: one search of a request (points/query and what is built like it), taken apart. */
#ifndef INDEXER_REST_SEARCH_FORM_H
#define INDEXER_REST_SEARCH_FORM_H

#include "indexer/rest/parse.h"

enum search_kind { SEARCH_NEAREST, SEARCH_ALL, SEARCH_ORDERED, SEARCH_FUSED };

struct search_form {
    enum search_kind kind;
    const struct config_collection *collection;
    struct query_search search;
    const struct doc *order_by;
    struct parse_selector selector;
    struct store_key exclude; /* "nearest to this id" leaves that id out */
    bool mmr;                 /* nearest, made diverse */
    float mmr_diversity;      /* 0: relevance only, 1: diversity only */
    uint32_t mmr_candidates;
    const struct doc *prefetch; /* of a fusion: its searches */
    uint32_t prefetch_count;
    const struct doc *root_filter; /* of a fusion, as it was sent; or NULL */
    const struct parse_extras *extras;
};

/** Reads all but the query itself: filter, limits, parameters, selectors. */
int search_form_common(struct http_request *request, const struct doc *body,
                       const struct parse_extras *extras, struct search_form *form,
                       struct error *error);
int search_form_parse(struct http_request *request, struct query_view *view, const struct doc *body,
                      const struct config_collection *collection, const struct parse_extras *extras,
                      struct search_form *form, struct error *error);
int search_form_run(struct http_request *request, struct query_view *view, struct search_form *form,
                    struct query_result *result, struct error *error);

/** Several at once: those that are plain searches go to the shards' owners together. */
int search_forms_run(struct http_request *request, struct query_view *view,
                     struct search_form *forms, uint32_t count, struct query_result *results,
                     struct error *error);

/** The vector of a point, copied into the search's arena, and its key. ERROR_NOT_FOUND. */
int search_form_point(struct query_view *view, const struct doc *id, const struct search_form *form,
                      struct store_key *key, const float **vector, struct error *error);

/** {"recommend": {"positive", "negative", "strategy"}}: becomes a nearest search. */
int search_recommend_parse(struct http_request *request, struct query_view *view,
                           const struct doc *body, const struct doc *query,
                           struct search_form *form, struct error *error);

/** {"fusion": "rrf"} over the searches of `prefetch`. */
int search_fusion_parse(const struct doc *body, struct search_form *form, struct error *error);
int search_fusion_run(struct http_request *request, struct query_view *view,
                      const struct search_form *form, struct query_result *result,
                      struct error *error);

/** Maximal marginal relevance over more candidates than are asked for. */
int search_mmr_run(struct http_request *request, struct query_view *view,
                   const struct search_form *form, struct query_result *result,
                   struct error *error);

/** Logs a search that began at `start_ns` (monotonic) and took longer than log.slow_search. */
void rest_log_slow_search(struct http_request *request, const struct query_view *view,
                          const struct search_form *form, const struct query_result *result,
                          int64_t start_ns);

#endif
