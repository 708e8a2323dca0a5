/* The beginning of a search: what it asks for, checked; its vectors as they are compared. */
#include "indexer/query/filter/filter.h"
#include "indexer/query/searcher.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "store/files/parts.h"

enum { VECTOR_ALIGNMENT = 64 };

static int check_numbers(const float *numbers, size_t count, const char *name, struct error *error)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(numbers[i]))
            return error_set(error, ERROR_INVALID, "%s[%zu]: not a finite number", name, i);
    return 0;
}

static int check_vector(const struct config_vector *ranked, const float *vector, const char *name,
                        struct error *error)
{
    if (check_numbers(vector, ranked->dim, name, error) != 0)
        return error->code;
    if (vector_check_length(ranked->metric, vector_squared_length(vector, ranked->dim), error) != 0)
        return error_wrap(error, "%s", name);
    return 0;
}

static int check_scorer(const struct query_scorer *scorer, const struct config_vector *ranked,
                        struct error *error)
{
    bool pairs = scorer->kind == QUERY_DISCOVER || scorer->kind == QUERY_CONTEXT;
    uint64_t count = (uint64_t)scorer->positive_count + scorer->negative_count;

    if (scorer->kind == QUERY_NEAREST)
        return 0;
    if (ranked->multiple)
        return error_set(error, ERROR_UNSUPPORTED, "vectors that are lists are no examples");
    if (count > QUERY_EXAMPLES_MAX)
        return error_set(error, ERROR_INVALID, "more than %d examples", QUERY_EXAMPLES_MAX);
    if (pairs && scorer->positive_count != scorer->negative_count)
        return error_set(error, ERROR_INVALID, "a pair of examples lacks one");
    if (scorer->kind != QUERY_DISCOVER && count == 0)
        return error_set(error, ERROR_INVALID, "no examples");
    if (scorer->kind == QUERY_WEIGHTED_SCORES &&
        check_numbers(scorer->weights, count, "weights", error) != 0)
        return error->code;
    for (uint64_t i = 0; i < count; i++)
        if (check_vector(ranked, scorer->examples + i * ranked->dim, "examples", error) != 0)
            return error->code;
    return 0;
}

static uint32_t query_rows(const struct query_search *search, const struct config_vector *ranked)
{
    return ranked->multiple ? search->vector_rows : 1;
}

static int check(const struct query_search *search, const struct config_vector *ranked,
                 struct error *error)
{
    const uint32_t rows = query_rows(search, ranked);

    if (search->limit == 0)
        return error_set(error, ERROR_INVALID, "limit: value 0 invalid, must be 1 or larger");
    if ((uint64_t)search->limit + search->offset > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit plus offset must be at most %d",
                         QUERY_LIMIT_MAX);
    if (search->has_threshold && isnan(search->threshold))
        return error_set(error, ERROR_INVALID, "score_threshold: not a number");
    if (search->recall != 0 &&
        !(search->recall >= CONFIG_RECALL_MIN && search->recall <= CONFIG_RECALL_MAX))
        return error_set(error, ERROR_INVALID, "recall: must be from %g to %g", CONFIG_RECALL_MIN,
                         CONFIG_RECALL_MAX);
    if (search->half_life_ms < 0)
        return error_set(error, ERROR_INVALID, "half_life: must be positive");
    if (search->vector && (rows == 0 || rows > PARTS_LIST_MAX_VALUES / ranked->dim))
        return error_set(error, ERROR_INVALID, "vector: a list of %u", rows);
    for (uint32_t i = 0; search->vector && i < rows; i++)
        if (check_vector(ranked, search->vector + (size_t)i * ranked->dim, "vector", error) != 0)
            return error->code;
    return check_scorer(&search->scorer, ranked, error);
}

/* A vector of zeros has no direction. Qdrant answers with score 0 for everything; so do we, by a
 * scan, because no direction leads through a graph: the result is then the first ids. */
static void prepare_query(struct searcher *searcher)
{
    const struct query_search *search = searcher->search;
    size_t bytes = (size_t)searcher->query_rows * searcher->dim * sizeof(float);
    float *query;

    if (!search->vector)
        return;
    query = memory_checked(arena_alloc(search->arena, bytes, VECTOR_ALIGNMENT));
    memcpy(query, search->vector, bytes);
    for (uint32_t i = 0; searcher->metric == VECTOR_METRIC_COSINE && i < searcher->query_rows; i++)
        if (index_normalise(query + (size_t)i * searcher->dim, searcher->dim) == 0)
            searcher->exact = true;
    searcher->query = query;
}

static void prepare_examples(struct searcher *searcher)
{
    struct query_scorer *scorer = &searcher->scorer;
    size_t count = (size_t)scorer->positive_count + scorer->negative_count;
    size_t bytes = count * searcher->dim * sizeof(float);
    float *examples;

    if (searcher->metric != VECTOR_METRIC_COSINE || count == 0)
        return;
    examples = memory_checked(arena_alloc(searcher->search->arena, bytes, VECTOR_ALIGNMENT));
    memcpy(examples, scorer->examples, bytes);
    for (size_t i = 0; i < count; i++)
        (void)index_normalise(examples + i * searcher->dim, searcher->dim);
    scorer->examples = examples;
}

int search_start(struct searcher *searcher, struct query_view *view,
                 const struct query_search *search, struct error *error)
{
    const struct config_collection *collection = view->collection;
    const struct config_vector ranked =
        search->extra ? *search->extra : config_own_vector(collection);

    *searcher = (struct searcher){
        .view = view,
        .whole_view = view,
        .search = search,
        .scorer = search->scorer,
        .filter = search->filter && !search->filter->accepts_all ? search->filter : NULL,
        .metric = vector_metric_ranking(ranked.metric),
        .dim = ranked.dim,
        .query_rows = query_rows(search, &ranked),
        .distances = vector_metric_ranking(ranked.metric) == VECTOR_METRIC_L2 &&
                     search->scorer.kind == QUERY_NEAREST,
        .squares = ranked.metric == VECTOR_METRIC_HAMMING,
        .ef = search->ef || search->recall > 0 ? search->ef : collection->hnsw_ef,
        .recall = search->recall > 0 ? search->recall : collection->recall,
        .exact = search->exact || search->extra,
        .from_ms = search->from_ms,
        .to_ms = search->to_ms,
        .lock = PTHREAD_MUTEX_INITIALIZER};
    if (check(search, &ranked, error) != 0)
        return error->code;
    query_filter_time_range(searcher->filter, &searcher->from_ms, &searcher->to_ms);
    searcher->bounded = searcher->from_ms != INT64_MIN || searcher->to_ms != INT64_MAX;
    searcher->threshold_order = search_threshold_order(searcher);
    prepare_query(searcher);
    prepare_examples(searcher);
    return 0;
}
