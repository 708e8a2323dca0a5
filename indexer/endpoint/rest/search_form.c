/* What the parts of a search mean, and how it is run. */
#include "indexer/endpoint/rest/search_form.h"
#include "indexer/endpoint/rest/schema_shapes.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { LIMIT_DEFAULT = 10, EF_MAX = 100000, CANDIDATES_MAX = 16384 };

int search_form_point(struct query_view *view, const struct doc *id, const struct search_form *form,
                      struct store_key *key, const float **vector, uint32_t *rows,
                      struct error *error)
{
    struct query_row row;
    const float *found;
    size_t size_bytes;
    float *copy;

    if (parse_id(id, key, error) != 0)
        return error->code;
    if (query_find(view, key->bytes, key->size_bytes, form->search.arena, &row, error) != 0) {
        if (error->code != ERROR_NOT_FOUND)
            return error->code;
        return error_set(error, ERROR_NOT_FOUND,
                         "Not found: No point with the id of the query found");
    }
    if (query_ranked_values(&form->search, &row, form->search.arena, &found, rows, error) != 0)
        return error->code;
    if (!found)
        return error_set(error, ERROR_NOT_FOUND,
                         "Not found: Vector with name `%.200s` for the point of the query",
                         form->vector.name);
    size_bytes = (size_t)*rows * form->vector.dim * sizeof(float);
    copy = memory_checked(arena_alloc(form->search.arena, size_bytes, 64));
    memcpy(copy, found, size_bytes);
    *vector = copy;
    return 0;
}

/* A query by id searches with that point's vector and leaves the point out. */
static int nearest_to_id(struct query_view *view, const struct doc *id, struct search_form *form,
                         struct error *error)
{
    if (search_form_point(view, id, form, &form->exclude, &form->search.vector,
                          &form->search.vector_rows, error) != 0)
        return error->code;
    form->search.exclude_key = form->exclude.bytes;
    form->search.exclude_key_bytes = form->exclude.size_bytes;
    return 0;
}

/* A list of vectors is for a vector that is one, which may be compared with a single vector as well. */
static int parse_nearest(struct query_view *view, const struct doc *nearest,
                         struct search_form *form, struct error *error)
{
    const bool list = form->vector.multiple && nearest->type == DOC_ARRAY && nearest->count > 0 &&
                      doc_is_list(&nearest->items[0]);
    struct query_search *search = &form->search;

    form->kind = SEARCH_NEAREST;
    search->vector_rows = 1;
    if (list)
        return parse_vector_list(search->arena, nearest, "$.query", &form->vector, &search->vector,
                                 &search->vector_rows, error);
    if (doc_is_list(nearest) || nearest->type == DOC_MAP)
        return parse_vector(search->arena, nearest, "$.query", &form->vector, &search->vector,
                            error);
    return nearest_to_id(view, nearest, form, error);
}

/* {"diversity": 0..1, "candidates_limit": n}, both with defaults. */
static int parse_mmr(const struct doc *mmr, struct search_form *form, struct error *error)
{
    const struct doc *diversity = doc_get(mmr, "diversity");
    double value = 0.5;

    if (!mmr)
        return 0;
    if (diversity)
        (void)doc_as_double(diversity, &value);
    if (!(value >= 0 && value <= 1))
        return error_set(error, ERROR_INVALID,
                         "Validation error in JSON body: [query.mmr.diversity: value %g invalid, "
                         "must be from 0.0 to 1.0]",
                         value);
    if (parse_u32(mmr, "query.mmr.candidates_limit", form->search.limit + form->search.offset,
                  CANDIDATES_MAX, &form->mmr_candidates, error) != 0)
        return error->code;
    form->mmr = true;
    form->mmr_diversity = (float)value;
    return 0;
}

/* {"formula": expression, "defaults": values of what a point lacks} over a prefetch */
static int parse_formula(const struct doc *query, struct search_form *form, struct error *error)
{
    struct error inner = {0};

    form->kind = SEARCH_FORMULA;
    if (form->prefetch_count == 0)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.prefetch: a formula needs 1 to %d searches",
                         SEARCH_PREFETCH_MAX);
    if (query_formula_compile(doc_get(query, "formula"), doc_get(query, "defaults"),
                              config_vector_name(form->collection), form->search.arena,
                              &form->formula, &inner) == 0)
        return 0;
    return error_set(error, inner.code, "Format error in JSON body: $.%s", inner.text);
}

static int parse_query_form(struct http_request *request, struct query_view *view,
                            const struct doc *body, struct search_form *form, struct error *error)
{
    const struct doc *query = doc_get(body, "query");
    const struct doc *nearest = doc_get(query, "nearest");
    const struct doc *mmr = doc_get(query, "mmr");
    const struct doc *recommend = doc_get(query, "recommend");
    const struct doc *discover = doc_get(query, "discover"), *context = doc_get(query, "context");
    const struct doc *feedback = doc_get(query, "relevance_feedback");

    if (!query && form->prefetch_count > 0)
        return error_set(error, ERROR_INVALID,
                         "Bad request: A query is needed to merge the prefetches. Can't have "
                         "prefetches without defining a query.");
    if (!query) {
        form->kind = SEARCH_ALL;
        return 0;
    }
    if (query->type != DOC_MAP)
        return parse_nearest(view, query, form, error);
    if (mmr && !nearest)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.query.mmr: expected beside `nearest` only");
    if (doc_get(query, "formula"))
        return parse_formula(query, form, error);
    if (doc_get(query, "defaults"))
        return error_set(
            error, ERROR_INVALID,
            "Format error in JSON body: $.query.defaults: expected beside `formula` only");
    if (nearest)
        return parse_mmr(mmr, form, error) ? error->code
                                           : parse_nearest(view, nearest, form, error);
    if (doc_get(query, "fusion") || doc_get(query, "rrf"))
        return search_fusion_parse(query, form, error);
    if (recommend)
        return search_recommend_parse(request, view, body, recommend, form, error);
    if (discover || context)
        return search_discover_parse(request, view, body, doc_get(discover, "target"),
                                     discover ? doc_get(discover, "context") : context, form,
                                     error);
    if (feedback)
        return search_feedback_parse(request, view, body, feedback, form, error);
    if (doc_get(query, "sample")) {
        form->kind = SEARCH_SAMPLED;
        return 0;
    }
    form->order_by = doc_get(query, "order_by");
    if (!form->order_by)
        return error_set(
            error, ERROR_INVALID,
            "Format error in JSON body: $.query: expected a vector, a point id, or one "
            "of `nearest`, `recommend`, `discover`, `context`, `relevance_feedback`, `fusion`, "
            "`rrf`, `formula`, `order_by` and `sample`");
    form->kind = SEARCH_ORDERED;
    return 0;
}

/* hnsw_ef and exact are used; the others concern machinery that windrow has no part of and change
 * no result. */
static int parse_params(const struct doc *body, struct query_search *search, struct error *error)
{
    const struct doc *params = doc_get(body, "params");
    const struct doc *exact = doc_get(params, "exact");

    search->exact = exact && exact->boolean;
    return parse_u32(params, "params.hnsw_ef", 0, EF_MAX, &search->ef, error);
}

static void parse_threshold(const struct doc *body, struct query_search *search)
{
    const struct doc *threshold = doc_get(body, "score_threshold");
    double value;

    search->has_threshold = threshold && doc_as_double(threshold, &value);
    if (search->has_threshold)
        search->threshold = (float)value;
}

/* What the search ranks by. */
static int parse_using(const struct config_collection *collection, const struct doc *body,
                       struct search_form *form, struct error *error)
{
    const struct doc *using = doc_get(body, "using");
    const struct config_vector *extra =
        using ? config_extra_vector(collection, using->string, using->count) : NULL;

    form->vector = extra ? *extra : config_own_vector(collection);
    form->search.extra = extra;
    if (!using || extra || config_is_dense_vector(collection, using->string, using->count))
        return 0;
    if (!config_sparse_vector(collection, using->string, using->count))
        return parse_no_such_vector(using, error);
    return error_set(error, ERROR_UNSUPPORTED,
                     "windrow does not support this `using` ($.using): `%.*s` is a sparse vector, "
                     "and " REST_SPARSE,
                     (int)using->count, using->string);
}

int search_form_check_using(const struct config_collection *collection, const struct doc *body,
                            struct error *error)
{
    if (doc_get(body, "using") || config_is_dense_vector(collection, "", 0))
        return 0;
    return parse_no_unnamed_vector(collection, error);
}

int search_form_common(struct http_request *request, const struct doc *body,
                       const struct parse_extras *extras, struct search_form *form,
                       struct error *error)
{
    struct query_search *search = &form->search;

    search->from_ms = extras->from_ms;
    search->to_ms = extras->to_ms;
    search->half_life_ms = extras->half_life_ms;
    search->recall = extras->recall;
    search->explain = extras->explain;
    search->partial = extras->partial;
    parse_threshold(body, search);
    if (parse_using(request->collection, body, form, error) != 0 ||
        parse_limit(body, LIMIT_DEFAULT, &search->limit, error) != 0 ||
        parse_u32(body, "offset", 0, QUERY_LIMIT_MAX, &search->offset, error) != 0 ||
        parse_params(body, search, error) != 0 ||
        parse_filter(request, body, &search->filter, error) != 0)
        return error->code;
    if (parse_selector(request->collection, body, false, &form->selector, error) != 0)
        return error->code;
    search->wants = parse_wants(&form->selector);
    return 0;
}

/* Without a vector: id order, the order of a field or by chance; score 1.0. */
static int run_listing(struct io *io, struct query_view *view, struct search_form *form,
                       struct query_result *result, struct error *error)
{
    uint64_t wanted = (uint64_t)form->search.limit + form->search.offset;
    struct query_scroll scroll = {
        .limit = (uint32_t)wanted, .filter = form->search.filter, .arena = form->search.arena};
    const uint8_t *next_key;
    size_t next_key_bytes;

    if (form->kind == SEARCH_SAMPLED) {
        scroll.sample = true;
        io_random(io, &scroll.seed, sizeof(scroll.seed));
    }
    if (wanted > QUERY_LIMIT_MAX)
        return error_set(error, ERROR_INVALID, "limit plus offset must be at most %d",
                         QUERY_LIMIT_MAX);
    if (parse_order_by(form->order_by, form->search.arena, &scroll, error) != 0)
        return error->code;
    /* What a prefetch finds and what groups hold are points. */
    scroll.once = form->depth > 0 || form->prefetch_factor > 0;
    parse_ordered_selector(&scroll, &form->selector);
    scroll.wants.payload |= form->search.wants.payload;
    scroll.wants.vector |= form->search.wants.vector;
    if (query_scroll_run(view, &scroll, result, &next_key, &next_key_bytes, error) != 0)
        return error->code;
    if (form->search.offset >= result->hit_count) {
        result->hit_count = 0;
    } else {
        result->hits += form->search.offset;
        result->hit_count -= form->search.offset;
    }
    for (size_t i = 0; i < result->hit_count; i++)
        result->hits[i].score = 1.0F;
    return 0;
}

/* Rows that no vector ranks come from a scroll, which knows no time range. */
static int check_listing(const struct search_form *form, struct error *error)
{
    const struct parse_extras *extras = form->extras;
    bool listing =
        form->kind != SEARCH_NEAREST && form->kind != SEARCH_FUSED && form->kind != SEARCH_FORMULA;

    if (listing && form->search.has_threshold)
        return error_set(error, ERROR_UNSUPPORTED,
                         "windrow does not support `score_threshold` in a query without a vector: "
                         "all scores are 1");

    if (!listing ||
        (extras->from_ms == INT64_MIN && extras->to_ms == INT64_MAX && extras->half_life_ms == 0 &&
         extras->recall == 0 && !extras->explain && !extras->partial))
        return 0;
    return error_set(error, ERROR_UNSUPPORTED,
                     "windrow does not support `from`, `to`, `half_life`, `recall`, `explain` and "
                     "`partial` ($.windrow) in a query without a vector: filter by `@time`");
}

int search_form_parse(struct http_request *request, struct query_view *view, const struct doc *body,
                      const struct config_collection *collection, const struct parse_extras *extras,
                      struct search_form *form, struct error *error)
{
    form->search.arena = &request->arena;
    form->collection = collection;
    form->extras = extras;
    if (search_form_common(request, body, extras, form, error) != 0 ||
        search_prefetch_parse(body, form, error) != 0 ||
        parse_query_form(request, view, body, form, error) != 0 ||
        (form->kind == SEARCH_NEAREST && search_form_check_using(collection, body, error) != 0))
        return error->code;
    return check_listing(form, error);
}

/* A plain search goes to the shards' owners as it is, with others of its kind. */
static bool is_plain(const struct search_form *form)
{
    return form->kind == SEARCH_NEAREST && !form->mmr && form->prefetch_count == 0;
}

int search_form_run(struct http_request *request, struct query_view *view, struct search_form *form,
                    struct query_result *result, struct error *error)
{
    int64_t start_ns = io_monotonic_ns(rest_of(request)->io);
    int code;

    if (form->kind == SEARCH_FUSED)
        return search_fusion_run(request, view, form, result, error); /* its searches count */
    if (form->prefetch_count > 0)
        return search_over_prefetch(request, view, form, result, error); /* they do here, too */
    if (form->kind != SEARCH_NEAREST)
        code = run_listing(rest_of(request)->io, view, form, result, error);
    else if (form->mmr)
        code = search_mmr_run(request, view, form, NULL, 0, result, error);
    else
        code = query_search_run(view, &form->search, result, error);
    if (code == 0) {
        rest_count_search(request, form->collection, result->windows_searched, start_ns);
        rest_log_slow_search(request, view, form, result, start_ns);
    }
    return code;
}

int search_forms_run(struct http_request *request, struct query_view *view,
                     struct search_form *forms, uint32_t count, struct query_result *results,
                     struct error *error)
{
    struct query_search *together =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*together)));
    struct query_result *found =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*found)));
    uint32_t *places =
        memory_checked(arena_calloc(&request->arena, (size_t)count + 1, sizeof(*places)));
    int64_t start_ns = io_monotonic_ns(rest_of(request)->io), each_ns;
    uint32_t plain = 0;

    for (uint32_t i = 0; i < count; i++)
        if (is_plain(&forms[i])) {
            together[plain] = forms[i].search;
            places[plain++] = i;
        }
    if (plain > 0 && query_searches_run(view, together, plain, found, error) != 0)
        return error->code;
    each_ns = plain > 0 ? (io_monotonic_ns(rest_of(request)->io) - start_ns) / plain : 0;
    for (uint32_t i = 0; i < plain; i++) {
        results[places[i]] = found[i];
        rest_count_search(request, forms[places[i]].collection, found[i].windows_searched,
                          io_monotonic_ns(rest_of(request)->io) - each_ns);
        rest_log_slow_search(request, view, &forms[places[i]], &found[i],
                             io_monotonic_ns(rest_of(request)->io) - each_ns);
    }
    for (uint32_t i = 0; i < count; i++)
        if (!is_plain(&forms[i]) &&
            search_form_run(request, view, &forms[i], &results[i], error) != 0)
            return error->code;
    return 0;
}
