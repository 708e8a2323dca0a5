/* Nearest neighbours: points/query, points/query/batch and the older points/search. */
#include <stdlib.h>
#include <string.h>

#include "indexer/http/parse.h"
#include "indexer/http/render.h"

enum { LIMIT_DEFAULT = 10, EF_MAX = 100000, BATCH_MAX = 1024 };

/* One search of a request, taken apart. */
struct parsed_query {
    enum { QUERY_NEAREST, QUERY_ALL, QUERY_ORDERED } form;
    struct query_search search;
    const struct doc *order_by;
    struct parse_selector selector;
    struct store_key exclude; /* "nearest to this id" leaves that id out */
};

static int unsupported_form(const struct doc *query, struct error *error)
{
    static const char *const forms[] = {"recommend", "discover", "context", "fusion",
                                        "formula",   "sample",   "rrf",     "relevance_feedback"};

    for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
        if (doc_get(query, forms[i]))
            return error_set(error, ERROR_UNSUPPORTED,
                             "windrow does not answer `%s` queries; it answers nearest, order_by "
                             "and queries without a vector",
                             forms[i]);
    }
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: $.query: expected a vector, a point id, "
                     "{\"nearest\": ...} or {\"order_by\": ...}");
}

/* A query by id searches with that point's vector and leaves the point out. */
static int nearest_to_id(struct query_view *view, const struct doc *id,
                         const struct config_collection *collection, struct parsed_query *parsed,
                         struct error *error)
{
    struct query_row row;
    const float *vector;
    float *copy;

    if (parse_id(id, &parsed->exclude, error) != 0)
        return error->code;
    if (query_find(view, parsed->exclude.bytes, parsed->exclude.size_bytes, &row, error) != 0) {
        if (error->code != ERROR_NOT_FOUND)
            return error->code;
        return error_set(error, ERROR_NOT_FOUND,
                         "Not found: No point with the id of the query found");
    }
    if (query_row_vector(&row, &vector, error) != 0)
        return error->code;
    copy = arena_alloc(parsed->search.arena, collection->dim * sizeof(float), 64);
    memcpy(copy, vector, collection->dim * sizeof(float));
    parsed->search.vector = copy;
    parsed->search.exclude_key = parsed->exclude.bytes;
    parsed->search.exclude_key_bytes = parsed->exclude.size_bytes;
    return 0;
}

static int parse_nearest(struct query_view *view, const struct doc *nearest,
                         const struct config_collection *collection, struct parsed_query *parsed,
                         struct error *error)
{
    parsed->form = QUERY_NEAREST;
    if (nearest->type == DOC_ARRAY || nearest->type == DOC_MAP)
        return parse_vector(parsed->search.arena, nearest, "$.query", collection->dim,
                            &parsed->search.vector, error);
    return nearest_to_id(view, nearest, collection, parsed, error);
}

static int parse_query_form(struct query_view *view, const struct doc *body,
                            const struct config_collection *collection, struct parsed_query *parsed,
                            struct error *error)
{
    static const char *const known[] = {"nearest", NULL};
    const struct doc *query = doc_get(body, "query");
    const struct doc *nearest;

    if (!query || query->type == DOC_NULL) {
        parsed->form = QUERY_ALL;
        return 0;
    }
    if (query->type != DOC_MAP)
        return parse_nearest(view, query, collection, parsed, error);
    nearest = doc_get(query, "nearest");
    if (nearest) {
        if (doc_get(query, "mmr"))
            return error_set(error, ERROR_UNSUPPORTED, "windrow does not answer `mmr` queries");
        if (parse_known_keys(query, "$.query", known, error) != 0)
            return error->code;
        return parse_nearest(view, nearest, collection, parsed, error);
    }
    parsed->order_by = doc_get(query, "order_by");
    if (!parsed->order_by)
        return unsupported_form(query, error);
    parsed->form = QUERY_ORDERED;
    return 0;
}

/* hnsw_ef and exact are used; the others concern machinery that windrow has no part of and change
 * no result. */
static int parse_params(const struct doc *body, struct query_search *search, struct error *error)
{
    static const char *const known[] = {"hnsw_ef",      "exact", "indexed_only",
                                        "quantization", "acorn", NULL};
    const struct doc *params = doc_get(body, "params");
    const struct doc *exact;

    if (!params || params->type == DOC_NULL)
        return 0;
    if (params->type != DOC_MAP)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.params: expected an object");
    if (parse_known_keys(params, "$.params", known, error) != 0 ||
        parse_u32(params, "hnsw_ef", 0, EF_MAX, &search->ef, error) != 0)
        return error->code;
    exact = doc_get(params, "exact");
    if (exact && exact->type != DOC_BOOL && exact->type != DOC_NULL)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.params.exact: expected true or false");
    search->exact = exact && exact->type == DOC_BOOL && exact->boolean;
    return 0;
}

static int parse_threshold(const struct doc *body, struct query_search *search, struct error *error)
{
    const struct doc *threshold = doc_get(body, "score_threshold");
    double value;

    if (!threshold || threshold->type == DOC_NULL)
        return 0;
    if (!doc_as_double(threshold, &value))
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.score_threshold: expected a number");
    search->has_threshold = true;
    search->threshold = (float)value;
    return 0;
}

static int parse_using(const struct doc *body, struct error *error)
{
    const struct doc *using = doc_get(body, "using");

    if (!using || using->type == DOC_NULL || doc_string_equals(using, ""))
        return 0;
    return error_set(error, ERROR_INVALID, "Wrong input: Not existing vector name error: %.*s",
                     using->type == DOC_STRING ? (int)using->count : 1,
                     using->type == DOC_STRING ? using->string : "?");
}

static int parse_common(struct http_request *request, const struct doc *body,
                        const struct parse_extras *extras, struct parsed_query *parsed,
                        struct error *error)
{
    struct query_search *search = &parsed->search;
    const struct doc *prefetch = doc_get(body, "prefetch");

    search->from_ms = extras->from_ms;
    search->to_ms = extras->to_ms;
    search->half_life_ms = extras->half_life_ms;
    search->explain = extras->explain;
    if (prefetch && prefetch->type != DOC_NULL &&
        !(prefetch->type == DOC_ARRAY && prefetch->count == 0))
        return error_set(error, ERROR_UNSUPPORTED, "windrow does not answer `prefetch` queries");
    if (parse_using(body, error) != 0 ||
        parse_limit(body, LIMIT_DEFAULT, &search->limit, error) != 0 ||
        parse_u32(body, "offset", 0, QUERY_LIMIT_MAX, &search->offset, error) != 0 ||
        parse_params(body, search, error) != 0 || parse_threshold(body, search, error) != 0 ||
        parse_filter(request, body, &search->filter, error) != 0)
        return error->code;
    return parse_selector(body, false, &parsed->selector, error);
}

/* Without a vector: id order or the order of a field, score 1.0. */
static int run_listing(struct query_view *view, struct parsed_query *parsed,
                       struct query_result *result, struct error *error)
{
    struct query_scroll scroll = {.limit = parsed->search.limit + parsed->search.offset,
                                  .filter = parsed->search.filter,
                                  .arena = parsed->search.arena};
    const uint8_t *next_key;
    size_t next_key_bytes;

    if (parse_order_by(parsed->order_by, parsed->search.arena, &scroll, error) != 0 ||
        query_scroll_run(view, &scroll, result, &next_key, &next_key_bytes, error) != 0)
        return error->code;
    if (parsed->search.offset >= result->hit_count) {
        result->hit_count = 0;
    } else {
        result->hits += parsed->search.offset;
        result->hit_count -= parsed->search.offset;
    }
    for (size_t i = 0; i < result->hit_count; i++)
        result->hits[i].score = 1.0F;
    return 0;
}

static int run_one(struct http_request *request, struct query_view *view, const struct doc *body,
                   const struct config_collection *collection, const struct parse_extras *extras,
                   struct query_result *result, struct parse_selector *selector,
                   struct error *error)
{
    struct parsed_query parsed = {.search.arena = &request->arena};
    int code;

    code = parse_common(request, body, extras, &parsed, error);
    if (code == 0)
        code = parse_query_form(view, body, collection, &parsed, error);
    if (code != 0)
        return code;
    *selector = parsed.selector;
    if (parsed.form == QUERY_NEAREST)
        return query_search_run(view, &parsed.search, result, error);
    return run_listing(view, &parsed, result, error);
}

static const char *const query_keys[] = {
    "query",    "using",     "filter",      "params",       "score_threshold",
    "limit",    "offset",    "with_vector", "with_vectors", "with_payload",
    "prefetch", "shard_key", "windrow",     "lookup_from",  NULL};

/* ---- handlers ---- */

static int query_open(struct http_request *request, struct doc *body,
                      const struct config_collection **collection, struct parse_extras *extras,
                      struct query_view **view, struct error *error)
{
    if (parse_collection(request, collection, error) != 0 || parse_body(request, body, error) != 0)
        return error->code;
    return parse_view(request, body, *collection, extras, view, error);
}

void http_handle_query(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_result result = {0};
    struct parse_selector selector;
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = query_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_known_keys(&body, "$", query_keys, &error);
    if (code == 0)
        code = run_one(request, view, &body, collection, &extras, &result, &selector, &error);
    if (code == 0) {
        http_reply_begin(request);
        buffer_append_text(&request->reply, "{\"points\":");
        code = render_hits(request, &result, true, &selector, &request->reply, &error);
        buffer_append_byte(&request->reply, '}');
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &result));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

/* `windrow` stands at the top of a batch and applies to all of its searches: one view, one instant.
 */
static int run_batch(struct http_request *request, struct query_view *view,
                     const struct config_collection *collection, const struct doc *searches,
                     const struct parse_extras *extras, struct query_result *last,
                     struct error *error)
{
    buffer_append_byte(&request->reply, '[');
    for (uint32_t i = 0; i < searches->count; i++) {
        struct parse_selector selector;
        const struct doc *one = &searches->items[i];
        if (one->type != DOC_MAP)
            return error_set(error, ERROR_INVALID,
                             "Format error in JSON body: $.searches[%u]: expected an object", i);
        *last = (struct query_result){0};
        if (parse_known_keys(one, "$.searches[]", query_keys, error) != 0 ||
            run_one(request, view, one, collection, extras, last, &selector, error) != 0)
            return error->code;
        buffer_append_text(&request->reply, i > 0 ? ",{\"points\":" : "{\"points\":");
        if (render_hits(request, last, true, &selector, &request->reply, error) != 0)
            return error->code;
        buffer_append_byte(&request->reply, '}');
    }
    buffer_append_byte(&request->reply, ']');
    return 0;
}

void http_handle_query_batch(struct http_request *request)
{
    static const char *const known[] = {"searches", "windrow", NULL};
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_result last = {0};
    const struct doc *searches;
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = query_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_known_keys(&body, "$", known, &error);
    if (code == 0) {
        searches = doc_get(&body, "searches");
        if (!searches || searches->type != DOC_ARRAY || searches->count > BATCH_MAX) {
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.searches: expected an array of at most "
                             "%d searches",
                             BATCH_MAX);
        } else {
            http_reply_begin(request);
            code = run_batch(request, view, collection, searches, &extras, &last, &error);
        }
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &last));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}

/* The older form: "vector" in place of "query", and the points stand bare in the result. */
static int search_vector(struct http_request *request, const struct doc *body,
                         const struct config_collection *collection, struct parsed_query *parsed,
                         struct error *error)
{
    const struct doc *vector = doc_get(body, "vector");

    if (vector && vector->type == DOC_MAP && doc_get(vector, "vector")) {
        const struct doc *name = doc_get(vector, "name");
        if (name && !doc_string_equals(name, ""))
            return error_set(error, ERROR_INVALID,
                             "Wrong input: Not existing vector name error: %.*s",
                             name->type == DOC_STRING ? (int)name->count : 1,
                             name->type == DOC_STRING ? name->string : "?");
        vector = doc_get(vector, "vector");
    }
    if (!vector)
        return error_set(error, ERROR_INVALID, "Format error in JSON body: missing field `vector`");
    return parse_vector(&request->arena, vector, "$.vector", collection->dim,
                        &parsed->search.vector, error);
}

void http_handle_search(struct http_request *request)
{
    static const char *const known[] = {
        "vector",      "filter",       "params",       "score_threshold", "limit",   "offset",
        "with_vector", "with_vectors", "with_payload", "shard_key",       "windrow", NULL};
    struct parsed_query parsed = {.search.arena = &request->arena};
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct query_result result = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = query_open(request, &body, &collection, &extras, &view, &error);

    if (code == 0)
        code = parse_known_keys(&body, "$", known, &error);
    if (code == 0)
        code = parse_common(request, &body, &extras, &parsed, &error);
    if (code == 0)
        code = search_vector(request, &body, collection, &parsed, &error);
    if (code == 0)
        code = query_search_run(view, &parsed.search, &result, &error);
    if (code == 0) {
        http_reply_begin(request);
        code = render_hits(request, &result, true, &parsed.selector, &request->reply, &error);
    }
    if (code == 0)
        http_reply_end(request, render_windrow(request, view, &result));
    else
        http_reply_from_error(request, &error);
    query_view_close(view);
}
