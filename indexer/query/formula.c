/* Rows that the searches of a prefetch found, scored by a formula. Nothing is looked for, so it costs as much as
 * the rows are many, times the size of the formula: steps are counted as those of filters are.
 *
 * What has no finite value for some row is an error that names the row and the expression, as in Qdrant. */
#include "indexer/query/formula.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"
#include "indexer/query/searcher.h"

struct evaluation {
    struct filter_subject subject;
    const float *scores; /* by search; NAN: it did not find the row */
    uint32_t score_count;
    struct doc virtual_value;
};

static bool failed(const struct evaluation *at)
{
    return at->subject.code != 0;
}

/* Says it once: what surrounds the expression has no value either. */
static double fail(struct evaluation *at, const struct formula_node *node, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static double fail(struct evaluation *at, const struct formula_node *node, const char *format, ...)
{
    struct error inner = {0};
    struct filter_compiler place = {.error = &inner};
    struct buffer id = {0};
    struct doc row_id;
    char what[300];
    va_list arguments;

    if (failed(at))
        return NAN;
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    (void)filter_error(&place, node->place, "%s", what);
    row_id = query_row_id(at->subject.row, at->subject.scratch);
    doc_write_json(&id, &row_id);
    at->subject.code = error_set(at->subject.error, ERROR_INVALID, "Wrong input: point %s: $.%s",
                                 buffer_text(&id), inner.text);
    buffer_destroy(&id);
    return NAN;
}

static double require_finite(struct evaluation *at, const struct formula_node *node, double value,
                             const double *operands, uint32_t count)
{
    if (isfinite(value))
        return value;
    return count == 1 ? fail(at, node, "`%s` of %g is not a finite number", node->name, operands[0])
                      : fail(at, node, "`%s` of %g and %g is not a finite number", node->name,
                             operands[0], operands[1]);
}

/* Values of payloads. */

struct found {
    struct filter_subject *subject;
    const struct doc *value; /* the first one */
    size_t count;
};

/* An array stands for its elements; a null is no value. */
static bool visit(void *context, const struct doc *value)
{
    struct found *found = context;
    const struct doc *each = value->type == DOC_ARRAY ? value->items : value;
    size_t count = value->type == DOC_ARRAY ? value->count : 1;

    for (size_t i = 0; i < count; i++)
        if (each[i].type != DOC_NULL && found->count++ == 0)
            found->value = &each[i];
    return !filter_may_go_on(found->subject, count + 1);
}

/* The one value that the path leads to, or the default. NULL: it failed. */
static const struct doc *find_value(struct evaluation *at, const struct formula_node *node)
{
    struct found found = {.subject = &at->subject};
    int length = (int)(node->key_bytes < 100 ? node->key_bytes : 100);

    if (node->virtual_key != FILTER_PAYLOAD) {
        at->virtual_value = filter_virtual_value(node->virtual_key, at->subject.row);
        return &at->virtual_value;
    }
    if (!filter_subject_payload(&at->subject))
        return NULL;
    (void)doc_visit_path(at->subject.payload, node->key, node->key_bytes, visit, &found);
    if (failed(at))
        return NULL;
    if (found.count == 0) {
        found.value = node->fallback;
        if (!found.value)
            (void)fail(at, node,
                       "`%.*s` has no value, neither in the payload nor in $.query.defaults",
                       length, node->key);
        return found.value;
    }
    if (found.count == 1)
        return found.value;
    (void)fail(at, node, "`%.*s` has %zu values, expected one", length, node->key, found.count);
    return NULL;
}

static double wrong_value(struct evaluation *at, const struct formula_node *node,
                          const char *expected)
{
    return fail(at, node, "`%.*s` is not %s, neither in the payload nor in $.query.defaults",
                (int)(node->key_bytes < 100 ? node->key_bytes : 100), node->key, expected);
}

static double variable(struct evaluation *at, const struct formula_node *node)
{
    const struct doc *value = find_value(at, node);
    double number;

    if (!value)
        return NAN;
    return doc_as_double(value, &number) ? number : wrong_value(at, node, "a number");
}

static double seconds(struct evaluation *at, const struct formula_node *node)
{
    const struct doc *value = find_value(at, node);
    int64_t time_us;

    if (!value)
        return NAN;
    if (node->virtual_key == FILTER_TIME || node->virtual_key == FILTER_WINDOW)
        return (double)value->integer / 1e3;
    if (value->type != DOC_STRING || !filter_parse_time_us(value->string, value->count, &time_us))
        return wrong_value(at, node, "an RFC 3339 time");
    return (double)time_us / 1e6;
}

static double distance(struct evaluation *at, const struct formula_node *node)
{
    const struct doc *value = find_value(at, node);
    struct filter_point point;

    if (!value)
        return NAN;
    return filter_read_point(value, &point) ? filter_distance_m(&node->origin, &point)
                                            : wrong_value(at, node, "a geo point");
}

/* Expressions. */

static double evaluate(struct evaluation *at, const struct formula_node *node);

/* A product is 0 as soon as a factor is: what follows needs no value. */
static double fold(struct evaluation *at, const struct formula_node *node)
{
    double value = node->kind == FORMULA_MULT  ? 1
                   : node->kind == FORMULA_MAX ? -INFINITY
                   : node->kind == FORMULA_MIN ? INFINITY
                                               : 0;

    for (uint32_t i = 0; i < node->operand_count && !failed(at); i++) {
        double operand = evaluate(at, &node->operands[i]);
        if (node->kind == FORMULA_MULT && operand == 0)
            return 0;
        value = node->kind == FORMULA_MULT  ? value * operand
                : node->kind == FORMULA_MAX ? fmax(value, operand)
                : node->kind == FORMULA_MIN ? fmin(value, operand)
                                            : value + operand;
    }
    return value;
}

static double quotient(struct evaluation *at, const struct formula_node *node)
{
    double operands[2] = {evaluate(at, &node->operands[0]), 0};

    if (operands[0] == 0 || failed(at))
        return operands[0];
    operands[1] = evaluate(at, &node->operands[1]);
    if (operands[1] == 0 && node->has_number)
        return node->number;
    return require_finite(at, node, operands[0] / operands[1], operands, 2);
}

static double power(struct evaluation *at, const struct formula_node *node)
{
    double operands[2] = {evaluate(at, &node->operands[0]), evaluate(at, &node->operands[1])};

    return require_finite(at, node, pow(operands[0], operands[1]), operands, 2);
}

static double function(struct evaluation *at, const struct formula_node *node)
{
    double operand = evaluate(at, &node->operands[0]);

    switch (node->kind) {
    case FORMULA_NEG:
        return -operand;
    case FORMULA_ABS:
        return fabs(operand);
    case FORMULA_SQRT:
        return require_finite(at, node, sqrt(operand), &operand, 1);
    case FORMULA_EXP:
        return require_finite(at, node, exp(operand), &operand, 1);
    case FORMULA_LOG10:
        return require_finite(at, node, log10(operand), &operand, 1);
    case FORMULA_LN:
        return require_finite(at, node, log(operand), &operand, 1);
    default:
        return require_finite(at, node, acosh(operand), &operand, 1);
    }
}

/* 1 at the target, the midpoint where x is one scale away from it. */
static double decay(struct evaluation *at, const struct formula_node *node)
{
    double away = evaluate(at, &node->operands[0]) - evaluate(at, &node->operands[1]);

    away = fabs(away);
    switch (node->kind) {
    case FORMULA_EXP_DECAY:
        return exp(log(node->midpoint) / node->scale * away);
    case FORMULA_GAUSS_DECAY:
        return exp(log(node->midpoint) / (node->scale * node->scale) * away * away);
    default:
        return fmax(0, 1 - (1 - node->midpoint) / node->scale * away);
    }
}

static double evaluate(struct evaluation *at, const struct formula_node *node)
{
    if (!filter_may_go_on(&at->subject, 1))
        return NAN;
    switch (node->kind) {
    case FORMULA_CONSTANT:
    case FORMULA_DATETIME:
        return node->number;
    case FORMULA_SCORE:
        return node->search < at->score_count && !isnan(at->scores[node->search])
                   ? (double)at->scores[node->search]
                   : node->number;
    case FORMULA_VARIABLE:
        return variable(at, node);
    case FORMULA_DATETIME_KEY:
        return seconds(at, node);
    case FORMULA_GEO_DISTANCE:
        return distance(at, node);
    case FORMULA_CONDITION:
        return filter_group_match(node->condition, &at->subject) ? 1 : 0;
    case FORMULA_SUM:
    case FORMULA_MULT:
    case FORMULA_MAX:
    case FORMULA_MIN:
        return fold(at, node);
    case FORMULA_DIV:
        return quotient(at, node);
    case FORMULA_POW:
        return power(at, node);
    case FORMULA_EXP_DECAY:
    case FORMULA_GAUSS_DECAY:
    case FORMULA_LIN_DECAY:
        return decay(at, node);
    default:
        return function(at, node);
    }
}

/* Rows. */

struct candidate {
    struct query_hit hit;
    uint32_t search; /* that found it */
};

static int compare_candidates(const void *a, const void *b)
{
    const struct candidate *left = a, *right = b;
    int order = query_row_compare_ids(&left->hit.row, &right->hit.row);

    return order != 0 ? order : (left->search > right->search) - (left->search < right->search);
}

/* By id: the searches that found a row follow one another. */
static struct candidate *gather_candidates(const struct query_result *results,
                                           uint32_t search_count, struct arena *arena,
                                           size_t *count)
{
    struct candidate *candidates;
    size_t all = 0, at = 0;

    for (uint32_t i = 0; i < search_count; i++)
        all += results[i].hit_count;
    candidates = memory_checked(arena_calloc(arena, all + 1, sizeof(*candidates)));
    for (uint32_t i = 0; i < search_count; i++)
        for (size_t k = 0; k < results[i].hit_count; k++)
            candidates[at++] = (struct candidate){results[i].hits[k], i};
    qsort(candidates, all, sizeof(*candidates), compare_candidates);
    *count = all;
    return candidates;
}

static int score(const struct query_formula *formula, struct evaluation *at, struct query_hit *hit)
{
    double value;

    at->subject.row = &hit->row;
    at->subject.payload = NULL;
    value = evaluate(at, &formula->root);
    if (!isfinite((float)value))
        (void)fail(at, &formula->root, "the score %g is not a finite number of 32 bits", value);
    hit->score = (float)value;
    hit->order = (double)hit->score;
    hit->order_rest = 0;
    return at->subject.code;
}

/* Takes the candidates of one row. Returns how many they are. */
static size_t take_scores(const struct candidate *candidates, size_t count, float *scores,
                          uint32_t score_count)
{
    size_t same = 0;

    for (uint32_t i = 0; i < score_count; i++)
        scores[i] = NAN;
    while (same < count &&
           query_row_compare_ids(&candidates[0].hit.row, &candidates[same].hit.row) == 0) {
        scores[candidates[same].search] = candidates[same].hit.score;
        same++;
    }
    return same;
}

int query_formula_run(struct query_view *view, const struct query_formula *formula,
                      const struct query_search *search, const struct query_result *results,
                      uint32_t result_count, struct query_result *result, struct error *error)
{
    float *scores =
        memory_checked(arena_calloc(search->arena, (size_t)result_count + 1, sizeof(*scores)));
    struct stop_meter meter = {.stop = view->stop};
    struct arena scratch;
    struct evaluation at = {
        .subject = {.scratch = &scratch, .meter = &meter, .error = error},
        .scores = scores,
        .score_count = result_count,
    };
    size_t count, kept = 0, first;
    struct candidate *candidates = gather_candidates(results, result_count, search->arena, &count);
    struct query_hit *hits = memory_checked(arena_calloc(search->arena, count + 1, sizeof(*hits)));
    int code = 0;

    arena_create(&scratch, 0);
    for (size_t i = 0; code == 0 && i < count;) {
        hits[kept] = candidates[i].hit;
        i += take_scores(&candidates[i], count - i, scores, result_count);
        code = stop_check(view->stop, error); /* a payload may be large */
        if (code == 0)
            code = score(formula, &at, &hits[kept]);
        /* One that equals the threshold is in, as of fused scores. */
        kept += !search->has_threshold || hits[kept].score >= search->threshold;
        arena_reset(&scratch);
    }
    arena_destroy(&scratch);
    if (code != 0)
        return code;
    qsort(hits, kept, sizeof(*hits), search_best_first);
    first = search->offset < kept ? search->offset : kept;
    result->hits = hits + first;
    result->hit_count = kept - first < search->limit ? kept - first : search->limit;
    return 0;
}
