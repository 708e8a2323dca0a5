/* Queries by examples: vectors, or ids of points, which are left out of the answer.
 *
 *     recommend   average_vector: one search with the mean of the positive examples + (mean of the positive
 *                 - mean of the negative); best_score and sum_scores: indexer/query/scorer.c
 *     discover    a target, and pairs of examples that say on which side of them rows shall be
 *     context     such pairs alone
 *     relevance_feedback   a target, and examples that somebody has scored: those above others pull */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/search_form.h"

enum { EXAMPLES_MAX = QUERY_EXAMPLES_MAX / 2 }; /* of one list */

struct examples {
    struct query_view *view;
    struct search_form *form;
    float *vectors;
    struct doc *ids; /* of those that are points */
    struct store_key *keys;
    uint32_t count, id_count;
};

static void examples_start(struct examples *examples, struct query_view *view, uint32_t room,
                           struct search_form *form)
{
    struct arena *arena = form->search.arena;

    *examples = (struct examples){.view = view, .form = form};
    examples->vectors = memory_checked(
        arena_alloc(arena, ((size_t)room * form->vector.dim + 1) * sizeof(float), 64));
    examples->ids = doc_items(arena, room);
    examples->keys = memory_checked(arena_calloc(arena, room + 1, sizeof(*examples->keys)));
}

static int add_example(struct examples *examples, const struct doc *example, const char *where,
                       struct error *error)
{
    const struct search_form *form = examples->form;
    uint32_t dim = form->vector.dim, rows;
    const float *vector;
    int code;

    if (form->vector.multiple)
        return error_set(error, ERROR_UNSUPPORTED,
                         "windrow does not support this `using` ($.using): `%.200s` is a list of "
                         "vectors, which only `nearest` ranks by",
                         form->vector.name);
    if (doc_is_list(example) || example->type == DOC_MAP) {
        code = parse_vector(form->search.arena, example, where, &form->vector, &vector, error);
    } else {
        code = search_form_point(examples->view, example, form, &examples->keys[examples->id_count],
                                 &vector, &rows, error);
        examples->ids[examples->id_count++] = *example;
    }
    if (code == 0)
        memcpy(examples->vectors + (size_t)examples->count++ * dim, vector, dim * sizeof(float));
    return code;
}

static int add_examples(struct examples *examples, const struct doc *list, const char *where,
                        struct error *error)
{
    for (uint32_t i = 0; list && i < list->count; i++)
        if (add_example(examples, &list->items[i], where, error) != 0)
            return error->code;
    return 0;
}

static struct doc map_of(struct arena *arena, const char *key, struct doc value)
{
    struct doc map = doc_map(arena, 1);

    doc_put(&map, key, value);
    return map;
}

/* The request's filter and not these ids, compiled as if it had been sent so. */
static int leave_out(struct http_request *request, const struct doc *body,
                     const struct examples *examples, struct error *error)
{
    struct arena *arena = &request->arena;
    struct search_form *form = examples->form;
    const struct doc *given = doc_get(body, "filter");
    struct doc ids = {.type = DOC_ARRAY, .count = examples->id_count, .items = examples->ids};
    struct doc filter = doc_map(arena, 2);
    struct doc wrapped;

    form->left_out = examples->keys;
    form->left_out_count = examples->id_count;
    if (examples->id_count == 0)
        return 0;
    doc_put(&filter, "must_not", map_of(arena, "has_id", ids));
    if (given && given->type == DOC_MAP)
        doc_put(&filter, "must", *given);
    wrapped = map_of(arena, "filter", filter);
    return parse_filter(request, &wrapped, &form->search.filter, error);
}

static int check_count(const struct doc *list, const char *where, struct error *error)
{
    if (!list || list->count <= EXAMPLES_MAX)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: %s: expected an array of at most %d examples",
                     where, EXAMPLES_MAX);
}

/* Recommendations. */

/* mean(p) + mean(p) - mean(n), or mean(p) alone. */
static int average(const struct examples *examples, uint32_t positive, struct error *error)
{
    struct search_form *form = examples->form;
    uint32_t dim = form->vector.dim, negative = examples->count - positive;
    float *sum = memory_checked(arena_alloc(form->search.arena, dim * sizeof(float), 64));

    memset(sum, 0, dim * sizeof(float));
    for (uint32_t i = 0; i < examples->count; i++) {
        float weight = i >= positive  ? -1.0F / (float)negative
                       : negative > 0 ? 2.0F / (float)positive
                                      : 1.0F / (float)positive;
        for (uint32_t k = 0; k < dim; k++)
            sum[k] += weight * examples->vectors[(size_t)i * dim + k];
    }
    if (vector_check_length(form->vector.metric, vector_squared_length(sum, dim), error) != 0)
        return error_wrap(error, "Wrong input: the mean of the examples");
    form->search.vector = sum;
    return 0;
}

int search_recommend_parse(struct http_request *request, struct query_view *view,
                           const struct doc *body, const struct doc *recommend,
                           struct search_form *form, struct error *error)
{
    static const char *const where[] = {"$.query.recommend.positive", "$.query.recommend.negative"};
    const struct doc *positive = doc_get(recommend, "positive");
    const struct doc *negative = doc_get(recommend, "negative");
    const struct doc *strategy = doc_get(recommend, "strategy");
    bool best = strategy && doc_string_equals(strategy, "best_score");
    bool sums = strategy && doc_string_equals(strategy, "sum_scores");
    uint32_t positive_count = positive ? positive->count : 0;
    uint32_t count = positive_count + (negative ? negative->count : 0);
    struct examples examples;

    if (check_count(positive, where[0], error) != 0 || check_count(negative, where[1], error) != 0)
        return error->code;
    if (count == 0)
        return error_set(
            error, ERROR_INVALID,
            "Validation error in JSON body: [$.query.recommend: At least one %sexample "
            "is needed]",
            best || sums ? "" : "positive ");
    if (!best && !sums && positive_count == 0)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: At least one positive example is needed");
    examples_start(&examples, view, count, form);
    if (add_examples(&examples, positive, where[0], error) != 0 ||
        add_examples(&examples, negative, where[1], error) != 0 ||
        leave_out(request, body, &examples, error) != 0)
        return error->code;
    form->kind = SEARCH_NEAREST;
    if (!best && !sums)
        return average(&examples, positive_count, error);
    form->search.scorer = (struct query_scorer){.kind = best ? QUERY_BEST_SCORE : QUERY_SUM_SCORES,
                                                .examples = examples.vectors,
                                                .positive_count = positive_count,
                                                .negative_count = count - positive_count};
    return 0;
}

/* Discovery. */

static int add_side(struct examples *examples, const struct doc *pairs, uint32_t count,
                    const char *side, struct error *error)
{
    for (uint32_t i = 0; i < count; i++)
        if (add_example(examples, doc_get(&pairs[i], side), "$.query", error) != 0)
            return error->code;
    return 0;
}

int search_discover_parse(struct http_request *request, struct query_view *view,
                          const struct doc *body, const struct doc *target,
                          const struct doc *context, struct search_form *form, struct error *error)
{
    const struct doc *pairs = context && context->type == DOC_ARRAY ? context->items : context;
    uint32_t count = !context ? 0 : context->type == DOC_ARRAY ? context->count : 1;
    struct examples examples;

    if (context && context->type == DOC_ARRAY && check_count(context, "$.query", error) != 0)
        return error->code;
    if (!target && count == 0)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: A target or at least one pair of examples is needed");
    examples_start(&examples, view, 2 * count + 1, form);
    if (add_side(&examples, pairs, count, "positive", error) != 0 ||
        add_side(&examples, pairs, count, "negative", error) != 0 ||
        (target && add_example(&examples, target, "$.query.discover.target", error) != 0) ||
        leave_out(request, body, &examples, error) != 0)
        return error->code;
    form->kind = SEARCH_NEAREST;
    form->search.scorer = (struct query_scorer){.kind = target ? QUERY_DISCOVER : QUERY_CONTEXT,
                                                .examples = examples.vectors,
                                                .positive_count = count,
                                                .negative_count = count};
    if (target)
        form->search.vector = examples.vectors + (size_t)2 * count * form->vector.dim;
    return 0;
}

/* Relevance feedback, as Qdrant's naive strategy has it:
 *
 *     a s(target) + sum over the pairs of examples with score p > score n of (p - n)^b c (s(p) - s(n))
 *
 * where s(x) is the score of the row with x. So each example has one weight, the sum over its pairs. */
static void weigh(const double *scores, uint32_t count, double b, double c, double *weights)
{
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t k = 0; k < i; k++) {
            double confidence = scores[i] - scores[k];
            double pull = confidence == 0 ? 0 : copysign(pow(fabs(confidence), b), confidence) * c;
            weights[i] += pull;
            weights[k] -= pull;
        }
}

static int add_feedback(struct examples *examples, const struct doc *feedback, double *scores,
                        struct error *error)
{
    for (uint32_t i = 0; i < feedback->count; i++) {
        (void)doc_as_double(doc_get(&feedback->items[i], "score"), &scores[i]);
        if (add_example(examples, doc_get(&feedback->items[i], "example"), "$.query", error) != 0)
            return error->code;
    }
    return 0;
}

int search_feedback_parse(struct http_request *request, struct query_view *view,
                          const struct doc *body, const struct doc *feedback,
                          struct search_form *form, struct error *error)
{
    static const char where[] = "$.query.relevance_feedback.feedback";
    const struct doc *items = doc_get(feedback, "feedback");
    const struct doc *naive = doc_get(doc_get(feedback, "strategy"), "naive");
    struct arena *arena = form->search.arena;
    double a = 0, b = 0, c = 0;
    struct examples examples;
    double *scores, *sums;
    float *weights;

    (void)doc_as_double(doc_get(naive, "a"), &a);
    (void)doc_as_double(doc_get(naive, "b"), &b);
    (void)doc_as_double(doc_get(naive, "c"), &c);
    if (b < 0)
        return error_set(error, ERROR_INVALID,
                         "Validation error in JSON body: "
                         "[query.relevance_feedback.strategy.naive.b: value %g invalid, must be 0 "
                         "or larger]",
                         b);
    if (check_count(items, where, error) != 0)
        return error->code;
    scores = memory_checked(arena_calloc(arena, items->count + 1, sizeof(*scores)));
    sums = memory_checked(arena_calloc(arena, items->count + 1, sizeof(*sums)));
    weights = memory_checked(arena_calloc(arena, items->count + 1, sizeof(*weights)));
    examples_start(&examples, view, items->count + 1, form);
    if (add_example(&examples, doc_get(feedback, "target"), "$.query", error) != 0 ||
        add_feedback(&examples, items, scores, error) != 0 ||
        leave_out(request, body, &examples, error) != 0)
        return error->code;
    sums[0] = a;
    weigh(scores, items->count, b, c, sums + 1);
    for (uint32_t i = 0; i < examples.count; i++) {
        weights[i] = (float)sums[i];
        if (!isfinite(weights[i]))
            return error_set(error, ERROR_INVALID,
                             "Wrong input: %s: the weights of the examples are not finite", where);
    }
    form->kind = SEARCH_NEAREST;
    form->search.scorer = (struct query_scorer){.kind = QUERY_WEIGHTED_SCORES,
                                                .examples = examples.vectors,
                                                .positive_count = examples.count,
                                                .weights = weights};
    return 0;
}
