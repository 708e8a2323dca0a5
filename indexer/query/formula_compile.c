/* Formula documents to trees. What is wrong whatever the data holds is refused here, with its place. */
#include "indexer/query/formula.h"

#include <math.h>
#include <string.h>

struct formula_compiler {
    struct filter_compiler filter; /* of all conditions together */
    const struct doc *defaults;    /* NULL: none */
    uint32_t node_count;
    bool needs_payload;
};

static int too_large(const struct formula_compiler *compiler)
{
    return error_set(compiler->filter.error, ERROR_MEMORY, "the formula is too large");
}

static int compile(struct formula_compiler *compiler, const struct filter_place *place,
                   const struct doc *doc, uint32_t depth, struct formula_node *node);

/* Variables. */

static bool is_score(const char *text, uint32_t length)
{
    return length >= 6 && memcmp(text, "$score", 6) == 0;
}

/* "$score" is "$score[0]". */
static bool parse_score(const char *text, uint32_t length, uint64_t *search)
{
    *search = 0;
    if (length == 6)
        return true;
    if (length < 9 || length > 24 || text[6] != '[' || text[length - 1] != ']')
        return false;
    for (uint32_t i = 7; i < length - 1; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *search = *search * 10 + (uint64_t)(text[i] - '0');
    }
    return true;
}

static int bad_score(const struct formula_compiler *compiler, const struct filter_place *place,
                     const struct doc *name)
{
    return filter_error(&compiler->filter, place,
                        "`%.*s` is no score: expected `$score` or `$score[1]`",
                        (int)(name->count < 60 ? name->count : 60), name->string);
}

static int check_defaults(const struct formula_compiler *compiler, const struct filter_place *place)
{
    const struct doc *defaults = compiler->defaults;
    double number;
    uint64_t search;

    if (!defaults)
        return 0;
    if (defaults->type != DOC_MAP)
        return filter_error(&compiler->filter, place, "expected an object");
    if (defaults->count > FORMULA_DEFAULTS_MAX)
        return filter_error(&compiler->filter, place, "more than %d values", FORMULA_DEFAULTS_MAX);
    for (uint32_t i = 0; i < defaults->count; i++) {
        const struct doc *name = &defaults->items[2 * (size_t)i], *value = name + 1;
        struct filter_place at = {place, name->string, name->count < 60 ? name->count : 60, 0};
        if (!is_score(name->string, name->count))
            continue;
        if (!parse_score(name->string, name->count, &search))
            return bad_score(compiler, &at, name);
        if (value->type != DOC_NULL && !doc_as_double(value, &number))
            return filter_error(&compiler->filter, &at, "expected a number");
    }
    return 0;
}

static int compile_score(struct formula_compiler *compiler, const struct filter_place *place,
                         const struct doc *name, struct formula_node *node)
{
    const struct doc *defaults = compiler->defaults;
    uint64_t search;

    node->kind = FORMULA_SCORE;
    if (!parse_score(name->string, name->count, &node->search))
        return bad_score(compiler, place, name);
    for (uint32_t i = 0; defaults && i < defaults->count; i++) {
        const struct doc *key = &defaults->items[2 * (size_t)i];
        if (is_score(key->string, key->count) && parse_score(key->string, key->count, &search) &&
            search == node->search)
            (void)doc_as_double(key + 1, &node->number);
    }
    return 0;
}

static int compile_path(struct formula_compiler *compiler, const struct filter_place *place,
                        const struct doc *path, struct formula_node *node)
{
    const struct doc *fallback;

    if (path->type != DOC_STRING || !doc_path_is_valid(path->string, path->count))
        return filter_error(&compiler->filter, place,
                            "expected a payload path such as a.b, a[].b or \"a.b\"");
    node->key = path->string;
    node->key_bytes = path->count;
    node->virtual_key = filter_virtual_key(path);
    compiler->needs_payload |= node->virtual_key == FILTER_PAYLOAD;
    fallback = compiler->defaults ? doc_get_n(compiler->defaults, path->string, path->count) : NULL;
    if (fallback && fallback->type == DOC_ARRAY && fallback->count <= 1)
        fallback = fallback->count == 1 ? fallback->items : NULL;
    node->fallback = fallback && fallback->type != DOC_NULL ? fallback : NULL;
    return 0;
}

/* Operations. */

static int missing(const struct formula_compiler *compiler, const struct filter_place *place,
                   const char *name)
{
    return filter_error(&compiler->filter, place, "missing field `%s`", name);
}

static struct formula_node *add_operands(struct formula_node *node, struct arena *arena,
                                         uint32_t count)
{
    struct formula_node *operands = arena_calloc(arena, (size_t)count + 1, sizeof(*operands));

    node->operands = operands;
    node->operand_count = operands ? count : 0;
    return operands;
}

/* A list, or one expression. */
static int compile_operands(struct formula_compiler *compiler, const struct filter_place *place,
                            const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    bool list = node->kind <= FORMULA_MIN;
    uint32_t count = list ? doc->count : 1;
    struct formula_node *operands;

    if (list && doc->type != DOC_ARRAY)
        return filter_error(&compiler->filter, place, "expected a list of expressions");
    if (count == 0 && (node->kind == FORMULA_MAX || node->kind == FORMULA_MIN))
        return filter_error(&compiler->filter, place, "expected at least one expression");
    if (count > FORMULA_NODES_MAX)
        return filter_error(&compiler->filter, place, "more than %d expressions",
                            FORMULA_NODES_MAX);
    operands = add_operands(node, compiler->filter.arena, count);
    if (!operands)
        return too_large(compiler);
    for (uint32_t i = 0; i < count; i++) {
        struct filter_place at = filter_place_index(place, i);
        int code = compile(compiler, list ? &at : place, list ? &doc->items[i] : doc, depth + 1,
                           &operands[i]);
        if (code != 0)
            return code;
    }
    return 0;
}

/* The two expressions of an operation; the second one may have a default. */
static int compile_pair(struct formula_compiler *compiler, const struct filter_place *place,
                        const struct doc *doc, const char *const names[2], bool optional,
                        uint32_t depth, struct formula_node *node)
{
    struct formula_node *operands = add_operands(node, compiler->filter.arena, 2);

    if (!operands)
        return too_large(compiler);
    for (int i = 0; i < 2; i++) {
        struct filter_place at = filter_place_name(place, names[i]);
        const struct doc *operand = filter_get(doc, names[i]);
        if (!operand && !(optional && i == 1))
            return missing(compiler, place, names[i]);
        if (operand && compile(compiler, &at, operand, depth + 1, &operands[i]) != 0)
            return compiler->filter.error->code;
    }
    return 0;
}

static int read_number(const struct formula_compiler *compiler, const struct filter_place *place,
                       const struct doc *map, const char *name, double *number, bool *there)
{
    struct filter_place at = filter_place_name(place, name);
    const struct doc *doc = filter_get(map, name);

    *there = doc != NULL;
    if (doc && !doc_as_double(doc, number))
        return filter_error(&compiler->filter, &at, "expected a number");
    return 0;
}

static int compile_div(struct formula_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    static const char *const keys[] = {"left", "right", "by_zero_default", NULL};

    if (filter_check_keys(&compiler->filter, place, doc, keys) != 0 ||
        read_number(compiler, place, doc, keys[2], &node->number, &node->has_number) != 0)
        return compiler->filter.error->code;
    return compile_pair(compiler, place, doc, keys, false, depth, node);
}

static int compile_pow(struct formula_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    static const char *const keys[] = {"base", "exponent", NULL};
    int code = filter_check_keys(&compiler->filter, place, doc, keys);

    return code ? code : compile_pair(compiler, place, doc, keys, false, depth, node);
}

/* The target is 0 where it is left out. */
static int compile_decay(struct formula_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    static const char *const keys[] = {"x", "target", "scale", "midpoint", NULL};
    struct filter_place scale_at = filter_place_name(place, "scale");
    struct filter_place midpoint_at = filter_place_name(place, "midpoint");
    bool linear = node->kind == FORMULA_LIN_DECAY, there;

    node->scale = 1;
    node->midpoint = 0.5;
    if (filter_check_keys(&compiler->filter, place, doc, keys) != 0 ||
        read_number(compiler, place, doc, "scale", &node->scale, &there) != 0 ||
        read_number(compiler, place, doc, "midpoint", &node->midpoint, &there) != 0)
        return compiler->filter.error->code;
    if (!(node->scale > 0))
        return filter_error(&compiler->filter, &scale_at, "expected a number above 0");
    if (!(node->midpoint >= 0 && node->midpoint <= 1) ||
        (!linear && (node->midpoint == 0 || node->midpoint == 1)))
        return filter_error(&compiler->filter, &midpoint_at, "expected a number %s",
                            linear ? "from 0 to 1" : "between 0 and 1");
    return compile_pair(compiler, place, doc, keys, true, depth, node);
}

static int compile_distance(struct formula_compiler *compiler, const struct filter_place *place,
                            const struct doc *doc, struct formula_node *node)
{
    static const char *const keys[] = {"origin", "to", NULL};
    struct filter_place origin_at = filter_place_name(place, keys[0]);
    struct filter_place to_at = filter_place_name(place, keys[1]);
    const struct doc *origin, *to;

    if (filter_check_keys(&compiler->filter, place, doc, keys) != 0)
        return compiler->filter.error->code;
    origin = filter_get(doc, keys[0]);
    to = filter_get(doc, keys[1]);
    if (!origin || !to)
        return missing(compiler, place, origin ? keys[1] : keys[0]);
    if (filter_compile_point(&compiler->filter, &origin_at, origin, &node->origin) != 0)
        return compiler->filter.error->code;
    return compile_path(compiler, &to_at, to, node);
}

/* Seconds since the epoch. */
static int compile_time(const struct formula_compiler *compiler, const struct filter_place *place,
                        const struct doc *doc, struct formula_node *node)
{
    int64_t time_us;

    if (doc->type != DOC_STRING || !filter_parse_time_us(doc->string, doc->count, &time_us))
        return filter_error(&compiler->filter, place, "expected an RFC 3339 time");
    node->number = (double)time_us / 1e6;
    return 0;
}

static int compile_operation(struct formula_compiler *compiler, const struct filter_place *place,
                             const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    switch (node->kind) {
    case FORMULA_DIV:
        return compile_div(compiler, place, doc, depth, node);
    case FORMULA_POW:
        return compile_pow(compiler, place, doc, depth, node);
    case FORMULA_GEO_DISTANCE:
        return compile_distance(compiler, place, doc, node);
    case FORMULA_DATETIME:
        return compile_time(compiler, place, doc, node);
    case FORMULA_DATETIME_KEY:
        return compile_path(compiler, place, doc, node);
    case FORMULA_EXP_DECAY:
    case FORMULA_GAUSS_DECAY:
    case FORMULA_LIN_DECAY:
        return compile_decay(compiler, place, doc, depth, node);
    default:
        return compile_operands(compiler, place, doc, depth, node);
    }
}

static int compile_map(struct formula_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    static const struct {
        const char *name;
        enum formula_kind kind;
    } operations[] = {
        {"sum", FORMULA_SUM},
        {"mult", FORMULA_MULT},
        {"max", FORMULA_MAX},
        {"min", FORMULA_MIN},
        {"neg", FORMULA_NEG},
        {"abs", FORMULA_ABS},
        {"sqrt", FORMULA_SQRT},
        {"exp", FORMULA_EXP},
        {"log10", FORMULA_LOG10},
        {"ln", FORMULA_LN},
        {"acosh", FORMULA_ACOSH},
        {"div", FORMULA_DIV},
        {"pow", FORMULA_POW},
        {"geo_distance", FORMULA_GEO_DISTANCE},
        {"datetime", FORMULA_DATETIME},
        {"datetime_key", FORMULA_DATETIME_KEY},
        {"exp_decay", FORMULA_EXP_DECAY},
        {"gauss_decay", FORMULA_GAUSS_DECAY},
        {"lin_decay", FORMULA_LIN_DECAY},
    };

    for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++) {
        const char *const keys[] = {operations[i].name, NULL};
        const struct doc *operation = filter_get(doc, operations[i].name);
        struct filter_place *at;
        if (!operation)
            continue;
        if (filter_check_keys(&compiler->filter, place, doc, keys) != 0)
            return compiler->filter.error->code;
        at = arena_alloc(compiler->filter.arena, sizeof(*at), sizeof(void *));
        if (!at)
            return too_large(compiler);
        *at = filter_place_name(node->place, operations[i].name);
        node->kind = operations[i].kind;
        node->name = operations[i].name;
        node->place = at;
        return compile_operation(compiler, at, operation, depth, node);
    }
    node->kind = FORMULA_CONDITION;
    if (filter_compile_condition(&compiler->filter, place, doc, &node->condition) != 0)
        return compiler->filter.error->code;
    compiler->needs_payload |= node->condition->needs_payload;
    return 0;
}

static int compile(struct formula_compiler *compiler, const struct filter_place *place,
                   const struct doc *doc, uint32_t depth, struct formula_node *node)
{
    struct filter_place *kept = arena_alloc(compiler->filter.arena, sizeof(*kept), sizeof(void *));

    if (!kept)
        return too_large(compiler);
    if (depth > FORMULA_DEPTH_MAX)
        return filter_error(&compiler->filter, place, "nested deeper than %d levels",
                            FORMULA_DEPTH_MAX);
    if (++compiler->node_count > FORMULA_NODES_MAX)
        return filter_error(&compiler->filter, place, "more than %d expressions",
                            FORMULA_NODES_MAX);
    *kept = *place; /* its parents were kept before it */
    node->place = kept;
    if (doc_as_double(doc, &node->number))
        return 0;
    if (doc->type == DOC_MAP)
        return compile_map(compiler, kept, doc, depth, node);
    if (doc->type != DOC_STRING)
        return filter_error(&compiler->filter, place,
                            "expected a number, a variable, an operation or a condition");
    if (is_score(doc->string, doc->count))
        return compile_score(compiler, place, doc, node);
    node->kind = FORMULA_VARIABLE;
    return compile_path(compiler, place, doc, node);
}

int query_formula_compile(const struct doc *formula, const struct doc *defaults,
                          const char *vector_name, struct arena *arena,
                          const struct query_formula **compiled, struct error *error)
{
    struct formula_compiler compiler = {
        .filter = {.arena = arena, .vector_name = vector_name, .error = error},
        .defaults = defaults};
    /* They outlive the call: errors of data name their places, too. */
    struct filter_place *places = arena_calloc(arena, 2, sizeof(*places));
    struct query_formula *made = arena_calloc(arena, 1, sizeof(*made));
    struct filter_place defaults_at;

    if (!places || !made)
        return too_large(&compiler);
    places[0] = filter_place_name(NULL, "query");
    places[1] = filter_place_name(&places[0], "formula");
    defaults_at = filter_place_name(&places[0], "defaults");
    if (check_defaults(&compiler, &defaults_at) != 0 ||
        compile(&compiler, &places[1], formula, 0, &made->root) != 0)
        return error->code;
    made->needs_payload = compiler.needs_payload;
    *compiled = made;
    return 0;
}

bool query_formula_needs_payload(const struct query_formula *formula)
{
    return formula->needs_payload;
}
