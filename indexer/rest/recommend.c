/* Recommendations by the average_vector strategy, Qdrant's default: one search with
 *
 *     mean of the positive examples + (mean of the positive - mean of the negative)
 *
 * Examples are vectors or ids; points that are examples themselves are left out. The other
 * strategies score each row against each example, which no index here does. */
#include <math.h>
#include <string.h>

#include "indexer/rest/search_form.h"

enum { EXAMPLES_MAX = 1024 };

struct examples {
    const struct doc *positive, *negative; /* arrays, or NULL */
    struct doc *ids;                       /* of the examples that are points */
    uint32_t id_count;
};

static int parse_list(const struct doc *recommend, const char *key, const struct doc **list,
                      struct error *error)
{
    const struct doc *value = doc_get(recommend, key);

    *list = NULL;
    if (!value)
        return 0;
    if (value->count > EXAMPLES_MAX)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.query.recommend.%s: expected an array of at "
                         "most %d vectors and point ids",
                         key, EXAMPLES_MAX);
    *list = value;
    return 0;
}

static int parse_examples(struct http_request *request, const struct doc *recommend,
                          struct examples *examples, struct error *error)
{
    if (parse_list(recommend, "positive", &examples->positive, error) != 0 ||
        parse_list(recommend, "negative", &examples->negative, error) != 0)
        return error->code;
    if (!examples->positive || examples->positive->count == 0)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: At least one positive example is needed");
    examples->ids =
        doc_items(&request->arena,
                  examples->positive->count + (examples->negative ? examples->negative->count : 0));
    return 0;
}

/* Adds `weight` times the mean of the examples. */
static int add_mean(struct query_view *view, const struct doc *list, float weight,
                    const struct search_form *form, struct examples *examples, float *sum,
                    struct error *error)
{
    uint32_t dim = form->collection->dim;

    for (uint32_t i = 0; list && i < list->count; i++) {
        const struct doc *example = &list->items[i];
        const float *vector;
        struct store_key key;
        int code;
        if (doc_is_list(example) || example->type == DOC_MAP) {
            code =
                parse_vector(form->search.arena, example, "$.query.recommend", dim, &vector, error);
        } else {
            code = search_form_point(view, example, form, &key, &vector, error);
            examples->ids[examples->id_count++] = *example;
        }
        if (code != 0)
            return code;
        for (uint32_t k = 0; k < dim; k++)
            sum[k] += weight * vector[k] / (float)list->count;
    }
    return 0;
}

static struct doc map_of(struct arena *arena, const char *key, struct doc value)
{
    struct doc *items = doc_items(arena, 2);

    items[0] = doc_string(arena, key);
    items[1] = value;
    return (struct doc){.type = DOC_MAP, .count = 1, .items = items};
}

/* The request's filter and not these ids, compiled as if it had been sent so. */
static int leave_out(struct http_request *request, const struct doc *body,
                     const struct examples *examples, struct search_form *form, struct error *error)
{
    struct arena *arena = &request->arena;
    const struct doc *given = doc_get(body, "filter");
    struct doc ids = {.type = DOC_ARRAY, .count = examples->id_count, .items = examples->ids};
    struct doc *items = doc_items(arena, 4);
    struct doc filter = {.type = DOC_MAP, .count = 1, .items = items};
    struct doc wrapped;

    if (examples->id_count == 0)
        return 0;
    items[0] = doc_string(arena, "must_not");
    items[1] = map_of(arena, "has_id", ids);
    if (given && given->type == DOC_MAP) {
        filter.count = 2;
        items[2] = doc_string(arena, "must");
        items[3] = *given;
    }
    wrapped = map_of(arena, "filter", filter);
    return parse_filter(request, &wrapped, &form->search.filter, error);
}

int search_recommend_parse(struct http_request *request, struct query_view *view,
                           const struct doc *body, const struct doc *query,
                           struct search_form *form, struct error *error)
{
    uint32_t dim = form->collection->dim;
    struct examples examples = {0};
    bool has_negative;
    float *sum;

    if (parse_examples(request, doc_get(query, "recommend"), &examples, error) != 0)
        return error->code;
    has_negative = examples.negative && examples.negative->count > 0;
    sum = arena_alloc(form->search.arena, dim * sizeof(float), 64);
    memset(sum, 0, dim * sizeof(float));
    if (add_mean(view, examples.positive, has_negative ? 2 : 1, form, &examples, sum, error) != 0 ||
        add_mean(view, examples.negative, -1, form, &examples, sum, error) != 0 ||
        leave_out(request, body, &examples, form, error) != 0)
        return error->code;
    for (uint32_t i = 0; i < dim; i++)
        if (!isfinite(sum[i]))
            return error_set(error, ERROR_INVALID,
                             "Wrong input: the mean of the examples is not finite");
    form->kind = SEARCH_NEAREST;
    form->search.vector = sum;
    return 0;
}
