/* Searches, scrolls, counts. */
#include "indexer/rest/schema_shapes.h"

/* The `windrow` key. Searches take all of it, what has no vector to search with only some. */

#define NO_SEARCH "only a search with a vector has this; filter by `@time`"

static const struct http_shape min_offsets = {.types = HTTP_OBJECT};
static const struct http_shape time = {.types = HTTP_INTEGER | HTTP_STRING};
static const char *const complete[] = {"complete", NULL};
static const struct http_shape require = {.types = HTTP_STRING, .values = complete};

#define VIEW_KEYS                                                                                  \
    {.name = "min_offsets", .shape = &min_offsets},                                                \
        {.name = "timeout_ms", .shape = &http_positive}, {.name = "require", .shape = &require},   \
        {.name = "local", .shape = &http_boolean},                                                 \
    {                                                                                              \
        .name = "place", .shape = &http_boolean                                                    \
    }

static const struct http_key search_extras_keys[] = {
    VIEW_KEYS,
    {.name = "from", .shape = &time},
    {.name = "to", .shape = &time},
    {.name = "half_life", .shape = &http_string},
    {.name = "recall", .shape = &http_number},
    {.name = "explain", .shape = &http_boolean},
    {.name = "partial", .shape = &http_boolean},
    {.name = NULL},
};
static const struct http_shape search_extras = {
    .name = "SearchExtras", .types = HTTP_OBJECT, .keys = search_extras_keys};
static const struct http_key view_extras_keys[] = {
    VIEW_KEYS,
    {.name = "from", .refused = NO_SEARCH},
    {.name = "to", .refused = NO_SEARCH},
    {.name = "half_life", .refused = NO_SEARCH},
    {.name = "recall", .refused = "only a search with a vector has this"},
    {.name = "explain", .refused = "only a search with a vector has this"},
    {.name = "partial", .refused = "only a search with a vector has this"},
    {.name = NULL},
};
static const struct http_shape view_extras = {
    .name = "ReadExtras", .types = HTTP_OBJECT, .keys = view_extras_keys};

/* Selectors and order. */

static const struct http_shape paths = {.types = HTTP_ARRAY, .items = &http_string};
static const struct http_key selector_keys[] = {
    {.name = "include", .shape = &paths},
    {.name = "exclude", .shape = &paths},
    {.name = NULL},
};
static const struct http_shape with_payload = {.name = "WithPayload",
                                               .types = HTTP_BOOLEAN | HTTP_ARRAY | HTTP_OBJECT,
                                               .keys = selector_keys,
                                               .items = &http_string};
static const struct http_shape with_vector = {.types = HTTP_BOOLEAN | HTTP_ARRAY,
                                              .items = &http_string};

#define SELECTOR_KEYS                                                                              \
    {.name = "with_payload", .shape = &with_payload},                                              \
        {.name = "with_vector", .shape = &with_vector, .form = true},                              \
    {                                                                                              \
        .name = "with_vectors", .shape = &with_vector, .form = true                                \
    }

static const char *const directions[] = {"asc", "desc", NULL};
static const struct http_shape direction = {.types = HTTP_STRING, .values = directions};
static const struct http_shape start_from = {.types = HTTP_NUMBER | HTTP_STRING};
static const struct http_key order_keys[] = {
    {.name = "key", .shape = &http_string, .required = true},
    {.name = "direction", .shape = &direction},
    {.name = "start_from", .shape = &start_from},
    {.name = NULL},
};
static const struct http_shape order_by = {
    .name = "OrderBy", .types = HTTP_STRING | HTTP_OBJECT, .keys = order_keys};

/* Queries. */

static const struct http_shape example = {.types =
                                              HTTP_INTEGER | HTTP_STRING | HTTP_ARRAY | HTTP_OBJECT,
                                          .keys = rest_vector_keys,
                                          .items = &http_number};
static const struct http_shape examples = {.types = HTTP_ARRAY, .items = &example};

static const struct http_key mmr_keys[] = {
    {.name = "diversity", .shape = &http_number},
    {.name = "candidates_limit", .shape = &http_natural},
    {.name = NULL},
};
static const struct http_shape mmr = {.types = HTTP_OBJECT, .keys = mmr_keys};

static const char *const strategies[] = {"average_vector", NULL};
static const struct http_shape strategy = {.types = HTTP_STRING, .values = strategies};
static const struct http_key recommend_keys[] = {
    {.name = "positive", .shape = &examples},
    {.name = "negative", .shape = &examples},
    {.name = "strategy", .shape = &strategy, .refused = "the only strategy is `average_vector`"},
    {.name = NULL},
};
static const struct http_shape recommend = {.types = HTTP_OBJECT, .keys = recommend_keys};

static const char *const fusions[] = {"rrf", NULL};
static const struct http_shape fusion = {.types = HTTP_STRING, .values = fusions};

#define FORMS "queries are nearest, recommend, fusion, order_by or none"

static const struct http_key query_keys[] = {
    {.name = "nearest", .shape = &example, .form = true},
    {.name = "mmr", .shape = &mmr},
    {.name = "recommend", .shape = &recommend, .form = true},
    {.name = "fusion", .shape = &fusion, .refused = "the only fusion is `rrf`", .form = true},
    {.name = "order_by", .shape = &order_by, .form = true},
    {.name = "rrf",
     .refused = "reciprocal rank fusion has no parameters here: {\"fusion\": \"rrf\"}"},
    {.name = "discover", .refused = FORMS},
    {.name = "context", .refused = FORMS},
    {.name = "formula", .refused = FORMS},
    {.name = "defaults", .refused = FORMS},
    {.name = "sample", .refused = FORMS},
    {.name = "relevance_feedback", .refused = FORMS},
    REST_NO_VECTOR_KEYS,
    {.name = NULL},
};
static const struct http_shape query = {.name = "Query",
                                        .types =
                                            HTTP_INTEGER | HTTP_STRING | HTTP_ARRAY | HTTP_OBJECT,
                                        .keys = query_keys,
                                        .items = &http_number};

/* Results are ranked by exact distances and nothing is left out, whatever these say: they tune what
 * Qdrant needs for that. */
static const struct http_key quantization_keys[] = {
    {.name = "ignore", .shape = &http_boolean},
    {.name = "rescore", .shape = &http_boolean},
    {.name = "oversampling", .shape = &http_number},
    {.name = NULL},
};
static const struct http_shape quantization = {.types = HTTP_OBJECT, .keys = quantization_keys};
static const struct http_key acorn_keys[] = {
    {.name = "enable", .shape = &http_boolean},
    {.name = "max_selectivity", .shape = &http_number},
    {.name = NULL},
};
static const struct http_shape acorn = {.types = HTTP_OBJECT, .keys = acorn_keys};
static const struct http_key params_keys[] = {
    {.name = "hnsw_ef", .shape = &http_natural},
    {.name = "exact", .shape = &http_boolean},
    {.name = "indexed_only", .shape = &http_boolean},
    {.name = "quantization", .shape = &quantization},
    {.name = "acorn", .shape = &acorn},
    {.name = "idf", .refused = REST_SPARSE},
    {.name = NULL},
};
static const struct http_shape params = {
    .name = "SearchParams", .types = HTTP_OBJECT, .keys = params_keys};

static const struct http_shape prefetch;

#define NEAREST_KEYS                                                                               \
    {.name = "query", .shape = &query}, {.name = "using", .shape = &http_string},                  \
        {.name = "prefetch", .shape = &prefetch}, {.name = "filter", .shape = &rest_filter},       \
        {.name = "params", .shape = &params}, {.name = "score_threshold", .shape = &http_number},  \
        {.name = "limit", .shape = &http_positive},                                                \
    {                                                                                              \
        .name = "lookup_from",                                                                     \
        .refused = "a query takes its vectors from the collection it searches"                     \
    }

static const struct http_key prefetch_keys[] = {NEAREST_KEYS, {.name = NULL}};
static const struct http_shape prefetched = {
    .name = "Prefetch", .types = HTTP_OBJECT, .keys = prefetch_keys};
static const struct http_shape prefetch = {.name = "Prefetches",
                                           .types = HTTP_ARRAY | HTTP_OBJECT,
                                           .keys = prefetch_keys,
                                           .items = &prefetched};

#define QUERY_KEYS NEAREST_KEYS, SELECTOR_KEYS, REST_SHARD_KEY

static const struct http_key search_keys[] = {
    QUERY_KEYS,
    {.name = "offset", .shape = &http_natural},
    {.name = "windrow", .shape = &search_extras},
    {.name = NULL},
};
static const struct http_shape search = {
    .name = "Search", .types = HTTP_OBJECT, .keys = search_keys};

static const struct http_key one_of_many_keys[] = {
    QUERY_KEYS,
    {.name = "offset", .shape = &http_natural},
    {.name = "windrow", .refused = "it stands beside `searches`, for all of them"},
    {.name = NULL},
};
static const struct http_shape one_of_many = {
    .name = "BatchedSearch", .types = HTTP_OBJECT, .keys = one_of_many_keys};
static const struct http_shape searches = {.types = HTTP_ARRAY, .items = &one_of_many};
static const struct http_key batch_keys[] = {
    {.name = "searches", .shape = &searches, .required = true},
    {.name = "windrow", .shape = &search_extras},
    {.name = NULL},
};
static const struct http_shape batch = {
    .name = "SearchBatch", .types = HTTP_OBJECT, .keys = batch_keys};

static const struct http_key groups_keys[] = {
    QUERY_KEYS,
    {.name = "group_by", .shape = &http_string, .required = true},
    {.name = "group_size", .shape = &http_positive},
    {.name = "with_lookup", .refused = "groups are not looked up in other collections"},
    {.name = "windrow", .shape = &search_extras},
    {.name = NULL},
};
static const struct http_shape groups = {
    .name = "SearchGroups", .types = HTTP_OBJECT, .keys = groups_keys};

/* The older points/search: a vector, or {"name": "", "vector": [...]}. */
static const struct http_shape numbers = {.types = HTTP_ARRAY, .items = &http_number};
static const struct http_key named_keys[] = {
    {.name = "name", .shape = &http_string},
    {.name = "vector", .shape = &numbers, .form = true},
    {.name = "", .shape = &numbers, .form = true},
    {.name = NULL},
};
static const struct http_shape named = {
    .types = HTTP_ARRAY | HTTP_OBJECT, .keys = named_keys, .items = &http_number};
static const struct http_key old_search_keys[] = {
    {.name = "vector", .shape = &named, .required = true},
    {.name = "filter", .shape = &rest_filter},
    {.name = "params", .shape = &params},
    {.name = "score_threshold", .shape = &http_number},
    {.name = "limit", .shape = &http_positive},
    {.name = "offset", .shape = &http_natural},
    SELECTOR_KEYS,
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &search_extras},
    {.name = NULL},
};
static const struct http_shape old_search = {
    .name = "VectorSearch", .types = HTTP_OBJECT, .keys = old_search_keys};

/* Without a vector. */

static const struct http_key scroll_keys[] = {
    {.name = "offset", .shape = &rest_id},
    {.name = "limit", .shape = &http_positive},
    {.name = "filter", .shape = &rest_filter},
    {.name = "order_by", .shape = &order_by},
    SELECTOR_KEYS,
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape scroll = {
    .name = "Scroll", .types = HTTP_OBJECT, .keys = scroll_keys};

static const struct http_key count_keys[] = {
    {.name = "filter", .shape = &rest_filter},
    {.name = "exact", .shape = &http_boolean}, /* counts are always exact */
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape count = {.name = "Count", .types = HTTP_OBJECT, .keys = count_keys};

static const struct http_key facet_keys[] = {
    {.name = "key", .shape = &http_string, .required = true},
    {.name = "limit", .shape = &http_positive},
    {.name = "filter", .shape = &rest_filter},
    {.name = "exact", .shape = &http_boolean},
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape facet = {.name = "Facet", .types = HTTP_OBJECT, .keys = facet_keys};

static const struct http_key retrieve_keys[] = {
    {.name = "ids", .shape = &rest_ids, .required = true},
    SELECTOR_KEYS,
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape retrieve = {
    .name = "Retrieve", .types = HTTP_OBJECT, .keys = retrieve_keys};

const struct http_schema rest_schema_query = {rest_read_parameters, &search, false};
const struct http_schema rest_schema_query_batch = {rest_read_parameters, &batch, false};
const struct http_schema rest_schema_query_groups = {rest_read_parameters, &groups, false};
const struct http_schema rest_schema_search = {rest_read_parameters, &old_search, false};
const struct http_schema rest_schema_scroll = {rest_read_parameters, &scroll, false};
const struct http_schema rest_schema_count = {rest_read_parameters, &count, false};
const struct http_schema rest_schema_facet = {rest_read_parameters, &facet, false};
const struct http_schema rest_schema_retrieve = {rest_read_parameters, &retrieve, false};
