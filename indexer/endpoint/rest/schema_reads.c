/* Searches, scrolls, counts. */
#include "indexer/endpoint/rest/schema_shapes.h"

/* The `windrow` key. Searches take all of it, what has no vector to search with only some. */

#define NO_SEARCH "only a search with a vector has this; filter by `@time`"

static const struct http_shape half_life = {
    .types = HTTP_STRING, .also = "\"pattern\":\"^[1-9][0-9]{0,5}(ms|s|m|h|d)$\""};
/* CONFIG_RECALL_MIN, CONFIG_RECALL_MAX */
static const struct http_shape recall = {.types = HTTP_NUMBER,
                                         .also = "\"minimum\":0.5,\"maximum\":0.999"};
static const char *const complete[] = {"complete", NULL};
static const struct http_shape require = {.types = HTTP_STRING, .values = complete};

#define VIEW_KEYS                                                                                  \
    {.name = "min_offsets", .shape = &rest_min_offsets},                                           \
        {.name = "timeout_ms", .shape = &http_positive}, {.name = "require", .shape = &require},   \
        {.name = "local", .shape = &http_boolean},                                                 \
    {                                                                                              \
        .name = "place", .shape = &http_boolean                                                    \
    }

static const struct http_key search_extras_keys[] = {
    VIEW_KEYS,
    {.name = "from", .shape = &rest_time},
    {.name = "to", .shape = &rest_time},
    {.name = "half_life", .shape = &half_life},
    {.name = "recall", .shape = &recall},
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

static const struct http_key selector_keys[] = {
    {.name = "include", .shape = &rest_paths},
    {.name = "exclude", .shape = &rest_paths},
    {.name = NULL},
};
static const struct http_shape with_payload = {.name = "WithPayload",
                                               .types = HTTP_BOOLEAN | HTTP_ARRAY | HTTP_OBJECT,
                                               .keys = selector_keys,
                                               .items = &rest_path};
static const struct http_shape with_vector = {.types = HTTP_BOOLEAN | HTTP_ARRAY,
                                              .items = &rest_vector_name};

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
    {.name = "key", .shape = &rest_path, .required = true},
    {.name = "direction", .shape = &direction},
    {.name = "start_from", .shape = &start_from},
    {.name = NULL},
};
static const struct http_shape order_by = {.name = "OrderBy",
                                           .types = HTTP_STRING | HTTP_OBJECT,
                                           .keys = order_keys,
                                           .also = rest_path_pattern};

/* Queries. */

static const struct http_key example_keys[] = {
    {.name = "", .shape = &rest_numbers, .form = true},
    REST_WORDS_KEYS,
    REST_NO_VECTOR_KEYS,
    {.name = NULL},
};
static const struct http_shape example = {.types =
                                              HTTP_INTEGER | HTTP_STRING | HTTP_ARRAY | HTTP_OBJECT,
                                          .keys = example_keys,
                                          .needs_form = true,
                                          .items = &rest_row,
                                          .also = REST_ID_ALSO};
static const struct http_shape examples = {.types = HTTP_ARRAY, .items = &example};

static const struct http_shape share = {.types = HTTP_NUMBER,
                                        .also = "\"minimum\":0,\"maximum\":1"};
static const struct http_shape candidates = {
    .types = HTTP_INTEGER, .has_minimum = true, .also = "\"maximum\":16384"};
static const struct http_key mmr_keys[] = {
    {.name = "diversity", .shape = &share},
    {.name = "candidates_limit", .shape = &candidates},
    {.name = NULL},
};
static const struct http_shape mmr = {.types = HTTP_OBJECT, .keys = mmr_keys};

static const char *const strategies[] = {"average_vector", "best_score", "sum_scores", NULL};
static const struct http_shape strategy = {.types = HTTP_STRING, .values = strategies};
static const struct http_key recommend_form_keys[] = {
    {.name = "positive", .shape = &examples},
    {.name = "negative", .shape = &examples},
    {.name = "strategy", .shape = &strategy},
    {.name = NULL},
};
static const struct http_shape recommend_form = {.types = HTTP_OBJECT, .keys = recommend_form_keys};

static const struct http_key pair_keys[] = {
    {.name = "positive", .shape = &example, .required = true},
    {.name = "negative", .shape = &example, .required = true},
    {.name = NULL},
};
static const struct http_shape pair = {
    .name = "ContextPair", .types = HTTP_OBJECT, .keys = pair_keys};
static const struct http_shape context = {
    .name = "Context", .types = HTTP_ARRAY | HTTP_OBJECT, .keys = pair_keys, .items = &pair};
static const struct http_key discover_form_keys[] = {
    {.name = "target", .shape = &example, .required = true},
    {.name = "context", .shape = &context},
    {.name = NULL},
};
static const struct http_shape discover_form = {.types = HTTP_OBJECT, .keys = discover_form_keys};

static const struct http_key feedback_item_keys[] = {
    {.name = "example", .shape = &example, .required = true},
    {.name = "score", .shape = &http_number, .required = true},
    {.name = NULL},
};
static const struct http_shape feedback_item = {
    .name = "FeedbackItem", .types = HTTP_OBJECT, .keys = feedback_item_keys};
static const struct http_shape feedback = {.types = HTTP_ARRAY, .items = &feedback_item};
static const struct http_shape exponent = {.types = HTTP_NUMBER, .also = "\"minimum\":0"};
static const struct http_key naive_keys[] = {
    {.name = "a", .shape = &http_number, .required = true},
    {.name = "b", .shape = &exponent, .required = true},
    {.name = "c", .shape = &http_number, .required = true},
    {.name = NULL},
};
static const struct http_shape naive = {.types = HTTP_OBJECT, .keys = naive_keys};
static const struct http_key feedback_strategy_keys[] = {
    {.name = "naive", .shape = &naive, .required = true},
    {.name = NULL},
};
static const struct http_shape feedback_strategy = {.types = HTTP_OBJECT,
                                                    .keys = feedback_strategy_keys};
static const struct http_key feedback_form_keys[] = {
    {.name = "target", .shape = &example, .required = true},
    {.name = "feedback", .shape = &feedback, .required = true},
    {.name = "strategy", .shape = &feedback_strategy, .required = true},
    {.name = NULL},
};
static const struct http_shape feedback_form = {.types = HTTP_OBJECT, .keys = feedback_form_keys};

static const struct http_shape weights = {.types = HTTP_ARRAY, .items = &http_number};
static const struct http_key rrf_keys[] = {
    {.name = "k", .shape = &http_positive},
    {.name = "weights", .shape = &weights},
    {.name = NULL},
};
static const struct http_shape rrf = {.types = HTTP_OBJECT, .keys = rrf_keys};

static const char *const samples[] = {"random", NULL};
static const struct http_shape sample = {.types = HTTP_STRING, .values = samples};

static const char *const fusions[] = {"rrf", "dbsf", NULL};
static const struct http_shape fusion = {.types = HTTP_STRING, .values = fusions};

static const struct http_key query_keys[] = {
    {.name = "nearest", .shape = &example, .form = true},
    {.name = "mmr", .shape = &mmr, .with = "nearest"},
    {.name = "recommend", .shape = &recommend_form, .form = true},
    {.name = "discover", .shape = &discover_form, .form = true},
    {.name = "context", .shape = &context, .form = true},
    {.name = "fusion", .shape = &fusion, .form = true},
    {.name = "rrf", .shape = &rrf, .form = true},
    {.name = "order_by", .shape = &order_by, .form = true},
    {.name = "sample", .shape = &sample, .form = true},
    {.name = "formula", .shape = &rest_expression, .form = true},
    {.name = "defaults", .shape = &http_object, .with = "formula"},
    {.name = "relevance_feedback", .shape = &feedback_form, .form = true},
    REST_WORDS_KEYS,
    REST_NO_VECTOR_KEYS,
    {.name = NULL},
};
static const struct http_shape query = {.name = "Query",
                                        .types =
                                            HTTP_INTEGER | HTTP_STRING | HTTP_ARRAY | HTTP_OBJECT,
                                        .keys = query_keys,
                                        .needs_form = true,
                                        .items = &rest_row,
                                        .also = REST_ID_ALSO};

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
static const struct http_shape up_to_limit = {
    .types = HTTP_INTEGER, .has_minimum = true, .also = "\"maximum\":100000"};
static const struct http_key params_keys[] = {
    {.name = "hnsw_ef", .shape = &rest_limit},
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

#define LOOKUP_FROM                                                                                \
    {                                                                                              \
        .name = "lookup_from",                                                                     \
        .refused = "a query takes its vectors from the collection it searches"                     \
    }

#define NEAREST_KEYS                                                                               \
    {.name = "query", .shape = &query}, {.name = "using", .shape = &rest_vector_name},             \
        {.name = "prefetch", .shape = &prefetch}, {.name = "filter", .shape = &rest_filter},       \
        {.name = "params", .shape = &params}, {.name = "score_threshold", .shape = &http_number},  \
        {.name = "limit", .shape = &rest_limit}, LOOKUP_FROM

static const struct http_key prefetch_keys[] = {NEAREST_KEYS, {.name = NULL}};
static const struct http_shape prefetched = {
    .name = "Prefetch", .types = HTTP_OBJECT, .keys = prefetch_keys};
static const struct http_shape prefetch = {.name = "Prefetches",
                                           .types = HTTP_ARRAY | HTTP_OBJECT,
                                           .keys = prefetch_keys,
                                           .items = &prefetched,
                                           .also = "\"maxItems\":16"};

#define QUERY_KEYS NEAREST_KEYS, SELECTOR_KEYS, REST_SHARD_KEY

#define OFFSET_KEY                                                                                 \
    {                                                                                              \
        .name = "offset", .shape = &up_to_limit                                                    \
    }

#define GROUP_KEYS                                                                                 \
    {.name = "group_by", .shape = &rest_path, .required = true},                                   \
        {.name = "group_size", .shape = &rest_limit},                                              \
    {                                                                                              \
        .name = "with_lookup", .refused = "groups are not looked up in other collections"          \
    }

#define EXTRAS_KEY                                                                                 \
    {                                                                                              \
        .name = "windrow", .shape = &search_extras                                                 \
    }

#define BESIDE_SEARCHES                                                                            \
    {                                                                                              \
        .name = "windrow", .refused = "it stands beside `searches`, for all of them"               \
    }

static const struct http_key query_call_keys[] = {
    QUERY_KEYS,
    OFFSET_KEY,
    EXTRAS_KEY,
    {.name = NULL},
};
static const struct http_shape query_call = {
    .name = "Search",
    .types = HTTP_OBJECT,
    .keys = query_call_keys,
    .example = "{\"query\":[0.1,0.2,0.3,0.4],\"limit\":3,\"filter\":{\"must\":[{\"key\":\"tag\","
               "\"match\":{\"value\":\"a\"}}]},\"with_payload\":true}"};

static const struct http_key one_of_many_keys[] = {
    QUERY_KEYS,
    OFFSET_KEY,
    BESIDE_SEARCHES,
    {.name = NULL},
};
static const struct http_shape one_of_many = {
    .name = "BatchedSearch", .types = HTTP_OBJECT, .keys = one_of_many_keys};
static const struct http_shape searches = {
    .types = HTTP_ARRAY, .items = &one_of_many, .also = "\"maxItems\":1024"};
static const struct http_key batch_keys[] = {
    {.name = "searches", .shape = &searches, .required = true},
    EXTRAS_KEY,
    {.name = NULL},
};
static const struct http_shape batch = {
    .name = "SearchBatch",
    .types = HTTP_OBJECT,
    .keys = batch_keys,
    .example = "{\"searches\":[{\"query\":[0.1,0.2,0.3,0.4],\"limit\":3}]}"};

static const struct http_key groups_keys[] = {
    QUERY_KEYS,
    GROUP_KEYS,
    EXTRAS_KEY,
    {.name = NULL},
};
static const struct http_shape groups = {
    .name = "SearchGroups",
    .types = HTTP_OBJECT,
    .keys = groups_keys,
    .example = "{\"query\":[0.1,0.2,0.3,0.4],\"group_by\":\"tag\",\"group_size\":2}"};

/* The older calls. Of points/search a vector, or {"name": "NAME", "vector": [...]}. */
static const struct http_key named_keys[] = {
    {.name = "name", .shape = &rest_vector_name, .with = "vector"},
    {.name = "vector", .shape = &rest_numbers, .form = true},
    {.name = "", .shape = &rest_numbers, .form = true},
    {.name = NULL},
};
static const struct http_shape named = {.types = HTTP_ARRAY | HTTP_OBJECT,
                                        .keys = named_keys,
                                        .needs_form = true,
                                        .items = &rest_component};

#define OLDER_KEYS                                                                                 \
    {.name = "filter", .shape = &rest_filter}, {.name = "params", .shape = &params},               \
        {.name = "score_threshold", .shape = &http_number},                                        \
        {.name = "limit", .shape = &rest_limit}, SELECTOR_KEYS, REST_SHARD_KEY

#define VECTOR_KEYS                                                                                \
    OLDER_KEYS,                                                                                    \
    {                                                                                              \
        .name = "vector", .shape = &named, .required = true                                        \
    }

#define RECOMMEND_KEYS                                                                             \
    OLDER_KEYS, {.name = "positive", .shape = &examples},                                          \
        {.name = "negative", .shape = &examples}, {.name = "strategy", .shape = &strategy},        \
        {.name = "using", .shape = &rest_vector_name}, LOOKUP_FROM

#define DISCOVER_KEYS                                                                              \
    OLDER_KEYS, {.name = "target", .shape = &example}, {.name = "context", .shape = &context},     \
        {.name = "using", .shape = &rest_vector_name}, LOOKUP_FROM

/* One search, one of a batch, and the batch. */
#define OLDER_CALL(call, title, KEYS, sample)                                                      \
    static const struct http_key call##_keys[] = {KEYS, OFFSET_KEY, EXTRAS_KEY, {.name = NULL}};   \
    static const struct http_shape call = {                                                        \
        .name = title, .types = HTTP_OBJECT, .keys = call##_keys, .example = "{" sample "}"};      \
    static const struct http_key call##_batched_keys[] = {                                         \
        KEYS, OFFSET_KEY, BESIDE_SEARCHES, {.name = NULL}};                                        \
    static const struct http_shape call##_batched = {                                              \
        .name = "Batched" title, .types = HTTP_OBJECT, .keys = call##_batched_keys};               \
    static const struct http_shape call##_list = {.types = HTTP_ARRAY, .items = &call##_batched};  \
    static const struct http_key call##_batch_keys[] = {                                           \
        {.name = "searches", .shape = &call##_list, .required = true},                             \
        EXTRAS_KEY,                                                                                \
        {.name = NULL}};                                                                           \
    static const struct http_shape call##_batch = {.name = title "Batch",                          \
                                                   .types = HTTP_OBJECT,                           \
                                                   .keys = call##_batch_keys,                      \
                                                   .example = "{\"searches\":[{" sample "}]}"};    \
    const struct http_schema rest_schema_##call = {rest_read_parameters, &call, false};            \
    const struct http_schema rest_schema_##call##_batch = {rest_read_parameters, &call##_batch,    \
                                                           false}

#define OLDER_GROUPS(call, title, KEYS, sample)                                                    \
    static const struct http_key call##_groups_keys[] = {                                          \
        KEYS, GROUP_KEYS, EXTRAS_KEY, {.name = NULL}};                                             \
    static const struct http_shape call##_groups = {.name = title "Groups",                        \
                                                    .types = HTTP_OBJECT,                          \
                                                    .keys = call##_groups_keys,                    \
                                                    .example =                                     \
                                                        "{" sample ",\"group_by\":\"tag\"}"};      \
    const struct http_schema rest_schema_##call##_groups = {rest_read_parameters, &call##_groups,  \
                                                            false}

#define NEAR_VECTOR    "\"vector\":[0.1,0.2,0.3,0.4],\"limit\":3"
#define LIKE_POINT     "\"positive\":[1],\"limit\":3"
#define BETWEEN_POINTS "\"target\":1,\"context\":[{\"positive\":2,\"negative\":3}],\"limit\":3"

OLDER_CALL(search, "VectorSearch", VECTOR_KEYS, NEAR_VECTOR);
OLDER_GROUPS(search, "VectorSearch", VECTOR_KEYS, NEAR_VECTOR);
OLDER_CALL(recommend, "Recommendation", RECOMMEND_KEYS, LIKE_POINT);
OLDER_GROUPS(recommend, "Recommendation", RECOMMEND_KEYS, LIKE_POINT);
OLDER_CALL(discover, "Discovery", DISCOVER_KEYS, BETWEEN_POINTS);

/* Without a vector. */

static const struct http_key scroll_keys[] = {
    {.name = "offset", .shape = &rest_id},
    {.name = "limit", .shape = &rest_limit},
    {.name = "filter", .shape = &rest_filter},
    {.name = "order_by", .shape = &order_by},
    SELECTOR_KEYS,
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape scroll = {
    .name = "Scroll",
    .types = HTTP_OBJECT,
    .keys = scroll_keys,
    .example = "{\"limit\":3,\"order_by\":{\"key\":\"@time\",\"direction\":\"desc\"}}"};

static const struct http_key count_keys[] = {
    {.name = "filter", .shape = &rest_filter},
    {.name = "exact", .shape = &http_boolean}, /* counts are always exact */
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape count = {
    .name = "Count", .types = HTTP_OBJECT, .keys = count_keys, .example = "{\"exact\":true}"};

static const struct http_shape sample_size = {
    .types = HTTP_INTEGER, .has_minimum = true, .minimum = 2, .also = "\"maximum\":4096"};
static const struct http_key matrix_keys[] = {
    {.name = "sample", .shape = &sample_size},
    {.name = "limit", .shape = &rest_limit},
    {.name = "filter", .shape = &rest_filter},
    {.name = "using", .shape = &rest_vector_name},
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape matrix = {.name = "SearchMatrix",
                                         .types = HTTP_OBJECT,
                                         .keys = matrix_keys,
                                         .example = "{\"sample\":10,\"limit\":3}"};

static const struct http_key facet_keys[] = {
    {.name = "key", .shape = &rest_path, .required = true},
    {.name = "limit", .shape = &rest_limit},
    {.name = "filter", .shape = &rest_filter},
    {.name = "exact", .shape = &http_boolean},
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape facet = {
    .name = "Facet", .types = HTTP_OBJECT, .keys = facet_keys, .example = "{\"key\":\"tag\"}"};

static const struct http_key retrieve_keys[] = {
    {.name = "ids", .shape = &rest_ids, .required = true},
    SELECTOR_KEYS,
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &view_extras},
    {.name = NULL},
};
static const struct http_shape retrieve = {
    .name = "Retrieve", .types = HTTP_OBJECT, .keys = retrieve_keys, .example = "{\"ids\":[1,2]}"};

const struct http_schema rest_schema_query = {rest_read_parameters, &query_call, false};
const struct http_schema rest_schema_query_batch = {rest_read_parameters, &batch, false};
const struct http_schema rest_schema_query_groups = {rest_read_parameters, &groups, false};
const struct http_schema rest_schema_scroll = {rest_read_parameters, &scroll, false};
const struct http_schema rest_schema_count = {rest_read_parameters, &count, false};
const struct http_schema rest_schema_matrix = {rest_read_parameters, &matrix, false};
const struct http_schema rest_schema_facet = {rest_read_parameters, &facet, false};
const struct http_schema rest_schema_retrieve = {rest_read_parameters, &retrieve, false};
