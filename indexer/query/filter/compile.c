/* Filter documents to trees: groups and conditions. Every key that is not known is an error that
 * names its place, so that a misspelt condition never passes as no condition. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "indexer/query/filter/filter.h"

static const char *const group_keys[] = {"should", "min_should", "must", "must_not", NULL};
static const char *const field_keys[] = {
    "key",         "match",        "range",    "geo_bounding_box", "geo_radius",
    "geo_polygon", "values_count", "is_empty", "is_null",          NULL};
static const char *const condition_keys[] = {"key",        "is_empty", "is_null",  "has_id",
                                             "has_vector", "slice",    "nested",   "should",
                                             "min_should", "must",     "must_not", NULL};

struct filter_place filter_place_name(const struct filter_place *parent, const char *name)
{
    return (struct filter_place){.parent = parent, .name = name, .name_bytes = strlen(name)};
}

struct filter_place filter_place_index(const struct filter_place *parent, uint32_t index)
{
    return (struct filter_place){.parent = parent, .index = index};
}

static void write_place(const struct filter_place *place, char *out, size_t out_bytes)
{
    size_t used;

    out[0] = '\0';
    if (place->parent)
        write_place(place->parent, out, out_bytes);
    used = strlen(out);
    if (place->name)
        (void)snprintf(out + used, out_bytes - used, "%s%.*s", place->parent ? "." : "",
                       (int)place->name_bytes, place->name);
    else
        (void)snprintf(out + used, out_bytes - used, "[%u]", place->index);
}

int filter_error(const struct filter_compiler *compiler, const struct filter_place *place,
                 const char *format, ...)
{
    char where[512];
    char what[480];
    va_list arguments;

    write_place(place, where, sizeof(where));
    va_start(arguments, format);
    (void)vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    return error_set(compiler->error, ERROR_INVALID, "%s: %s", where, what);
}

static bool is_known(const struct doc *key, const char *const *known)
{
    for (; *known; known++)
        if (doc_string_equals(key, *known))
            return true;
    return false;
}

int filter_check_keys(const struct filter_compiler *compiler, const struct filter_place *place,
                      const struct doc *doc, const char *const *known)
{
    char expected[320] = "";

    if (doc->type != DOC_MAP)
        return filter_error(compiler, place, "expected an object");
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct doc *key = &doc->items[(size_t)i * 2];
        struct filter_place at = {place, key->string, key->count < 60 ? key->count : 60, 0};
        if (is_known(key, known))
            continue;
        for (const char *const *name = known; *name; name++) {
            size_t used = strlen(expected);
            (void)snprintf(expected + used, sizeof(expected) - used, "%s`%s`",
                           name == known ? "" : ", ", *name);
        }
        return filter_error(compiler, &at, "unknown field `%.*s`, expected %s%s",
                            (int)at.name_bytes, key->string, known[1] ? "one of " : "", expected);
    }
    return 0;
}

const struct doc *filter_get(const struct doc *map, const char *key)
{
    const struct doc *value = doc_get(map, key);

    return value && value->type != DOC_NULL ? value : NULL;
}

static int compile_group(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, uint32_t depth, struct query_filter *filter);

enum filter_virtual filter_virtual_key(const struct doc *key)
{
    return doc_string_equals(key, "@time")        ? FILTER_TIME
           : doc_string_equals(key, "@window")    ? FILTER_WINDOW
           : doc_string_equals(key, "@offset")    ? FILTER_OFFSET
           : doc_string_equals(key, "@partition") ? FILTER_PARTITION
                                                  : FILTER_PAYLOAD;
}

static int compile_key(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *key, bool elements, struct filter_condition *condition)
{
    struct filter_place at = filter_place_name(place, "key");
    char *copy;

    if (!key)
        return filter_error(compiler, place, "missing field `key`");
    if (key->type != DOC_STRING || !doc_path_is_valid(key->string, key->count))
        return filter_error(compiler, &at, "expected a payload path such as a.b, a[].b or \"a.b\"");
    condition->virtual_key = filter_virtual_key(key);
    condition->needs_payload = condition->virtual_key == FILTER_PAYLOAD;
    copy = arena_alloc(compiler->arena, (size_t)key->count + 3, 1);
    if (!copy)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    memcpy(copy, key->string, key->count);
    condition->key = copy;
    condition->key_bytes = key->count;
    if (elements && (key->count < 2 || memcmp(copy + key->count - 2, "[]", 2) != 0)) {
        memcpy(copy + key->count, "[]", 2);
        condition->key_bytes += 2;
    }
    return 0;
}

static int compile_flag(struct filter_compiler *compiler, const struct filter_place *place,
                        const struct doc *doc, const char *name, bool *present, bool *value)
{
    const struct doc *flag = filter_get(doc, name);
    struct filter_place at = filter_place_name(place, name);

    if (!flag)
        return 0;
    if (flag->type != DOC_BOOL)
        return filter_error(compiler, &at, "expected a boolean");
    *present = true;
    *value = flag->boolean;
    return 0;
}

/* Most conditions on numbers are this; on columns they need no evaluation of documents. */
static void find_simple_range(struct filter_field *field)
{
    static const double open[FILTER_BOUND_COUNT] = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    const struct filter_range *range = &field->range;

    field->simple = range->kind == FILTER_RANGE_NUMBER && field->match.kind == FILTER_MATCH_NONE &&
                    !field->geo && field->count.kind == FILTER_RANGE_NONE && !field->has_empty &&
                    !field->has_null;
    for (size_t i = 0; i < FILTER_BOUND_COUNT; i++) {
        field->limits[i] = open[i];
        if (range->present[i] && field->simple) {
            (void)doc_as_double(&range->bounds[i], &field->limits[i]);
            field->simple = fabs(field->limits[i]) < FILTER_EXACT_MAX;
        }
    }
}

static int compile_field(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, struct filter_condition *condition)
{
    struct filter_field *field = arena_calloc(compiler->arena, 1, sizeof(*field));
    const struct doc *match = filter_get(doc, "match");
    const struct doc *range = filter_get(doc, "range");
    const struct doc *count = filter_get(doc, "values_count");
    struct filter_place at;
    int code = filter_check_keys(compiler, place, doc, field_keys);

    if (code == 0)
        code = compile_key(compiler, place, doc_get(doc, "key"), false, condition);
    if (code != 0)
        return code;
    if (!field)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    condition->kind = FILTER_FIELD;
    condition->field = field;
    if ((code = filter_compile_geo(compiler, place, doc, &field->geo)))
        return code;
    if (field->geo && condition->virtual_key != FILTER_PAYLOAD)
        return filter_error(compiler, place, "a virtual key is no place");
    compiler->recent |= field->geo != NULL;
    at = filter_place_name(place, "match");
    if (match &&
        (code = filter_compile_match(compiler, &at, match, condition->virtual_key, &field->match)))
        return code;
    at = filter_place_name(place, "range");
    if (range && (code = filter_compile_range(compiler, &at, range, &field->range)))
        return code;
    at = filter_place_name(place, "values_count");
    if (count && (code = filter_compile_count(compiler, &at, count, &field->count)))
        return code;
    code = compile_flag(compiler, place, doc, "is_empty", &field->has_empty, &field->empty);
    if (code == 0)
        code = compile_flag(compiler, place, doc, "is_null", &field->has_null, &field->null);
    find_simple_range(field);
    if (code == 0 && !match && !range && !count && !field->geo && !field->has_empty &&
        !field->has_null)
        return filter_error(compiler, place, QUERY_FILTER_NO_CONDITION);
    return code;
}

/* {"is_empty": {"key": ...}} and {"is_null": {"key": ...}} */
static int compile_presence(struct filter_compiler *compiler, const struct filter_place *place,
                            const struct doc *doc, enum filter_kind kind,
                            struct filter_condition *condition)
{
    static const char *const keys[] = {"key", NULL};
    const char *name = kind == FILTER_IS_EMPTY ? "is_empty" : "is_null";
    const char *const known[] = {name, NULL};
    struct filter_place at = filter_place_name(place, name);
    const struct doc *inner = doc_get(doc, name);
    int code = filter_check_keys(compiler, place, doc, known);

    if (code == 0)
        code = filter_check_keys(compiler, &at, inner, keys);
    if (code == 0)
        code = compile_key(compiler, &at, doc_get(inner, "key"), false, condition);
    condition->kind = kind;
    return code;
}

static int compile_nested(struct filter_compiler *compiler, const struct filter_place *place,
                          const struct doc *doc, uint32_t depth, struct filter_condition *condition)
{
    static const char *const known[] = {"nested", NULL};
    static const char *const keys[] = {"key", "filter", NULL};
    struct filter_place at = filter_place_name(place, "nested");
    struct filter_place inside = filter_place_name(&at, "filter");
    struct query_filter *group = arena_calloc(compiler->arena, 1, sizeof(*group));
    const struct doc *nested = doc_get(doc, "nested");
    const struct doc *filter;
    int code = filter_check_keys(compiler, place, doc, known);

    if (code == 0)
        code = filter_check_keys(compiler, &at, nested, keys);
    if (code == 0)
        code = compile_key(compiler, &at, doc_get(nested, "key"), true, condition);
    if (code != 0)
        return code;
    filter = filter_get(nested, "filter");
    if (!filter)
        return filter_error(compiler, &at, "missing field `filter`");
    if (!group)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    condition->kind = FILTER_NESTED;
    condition->needs_payload = true;
    condition->group = group;
    compiler->nested++;
    code = compile_group(compiler, &inside, filter, depth + 1, group);
    compiler->nested--;
    return code;
}

/* An element of an array is no point. */
static int compile_has_vector(struct filter_compiler *compiler, const struct filter_place *place,
                              const struct doc *doc, struct filter_condition *condition)
{
    static const char *const known[] = {"has_vector", NULL};
    struct filter_place at = filter_place_name(place, "has_vector");
    const struct doc *name = doc_get(doc, "has_vector");
    int code = filter_check_keys(compiler, place, doc, known);
    bool dense;

    if (code == 0 && name->type != DOC_STRING)
        return filter_error(compiler, &at, "expected a string");
    dense = code == 0 && doc_string_equals(name, compiler->vector_name);
    condition->kind = FILTER_CONSTANT;
    if (code != 0 || (!dense && name->count == 0) || compiler->nested > 0)
        return code;
    compiler->impure = true; /* no column has it */
    if (dense) {
        condition->kind = FILTER_HAS_DENSE;
        return 0;
    }
    condition->kind = FILTER_HAS_PART;
    condition->needs_payload = true;
    condition->key = name->string;
    condition->key_bytes = name->count;
    return 0;
}

static int compile_any(struct filter_compiler *compiler, const struct filter_place *place,
                       const struct doc *doc, uint32_t depth, struct filter_condition *condition)
{
    static const char *const has_id[] = {"has_id", NULL};
    struct filter_place at = filter_place_name(place, "has_id");
    struct query_filter *group;
    int code;

    if (++compiler->condition_count > FILTER_CONDITIONS_MAX)
        return filter_error(compiler, place, "more than %d conditions", FILTER_CONDITIONS_MAX);
    if (doc->type != DOC_MAP)
        return filter_error(compiler, place, "expected a condition object");
    if (doc_get(doc, "key"))
        return compile_field(compiler, place, doc, condition);
    if (doc_get(doc, "is_empty"))
        return compile_presence(compiler, place, doc, FILTER_IS_EMPTY, condition);
    if (doc_get(doc, "is_null"))
        return compile_presence(compiler, place, doc, FILTER_IS_NULL, condition);
    if (doc_get(doc, "nested"))
        return compile_nested(compiler, place, doc, depth, condition);
    if (doc_get(doc, "has_vector"))
        return compile_has_vector(compiler, place, doc, condition);
    if (doc_get(doc, "slice"))
        return filter_compile_slice(compiler, place, doc, condition);
    if (doc_get(doc, "has_id")) {
        /* An element of an array is no point: it has no id, and no vector. */
        condition->kind = compiler->nested > 0 ? FILTER_CONSTANT : FILTER_HAS_ID;
        code = filter_check_keys(compiler, place, doc, has_id);
        return code ? code : filter_compile_ids(compiler, &at, doc_get(doc, "has_id"), condition);
    }
    code = filter_check_keys(compiler, place, doc, condition_keys);
    if (code != 0)
        return code;
    group = arena_calloc(compiler->arena, 1, sizeof(*group));
    if (!group)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    code = compile_group(compiler, place, doc, depth + 1, group);
    condition->kind = FILTER_GROUP;
    condition->group = group;
    condition->needs_payload = group->needs_payload;
    return code;
}

/* Gives conditions on payload paths their slots. What stands inside a nested condition is answered
 * together with it. */
static int compile_condition(struct filter_compiler *compiler, const struct filter_place *place,
                             const struct doc *doc, uint32_t depth,
                             struct filter_condition *condition)
{
    int code = compile_any(compiler, place, doc, depth, condition);

    condition->slot = -1;
    if (compiler->nested > 0) {
        if (condition->virtual_key != FILTER_PAYLOAD)
            compiler->impure = true;
        return code;
    }
    if (condition->kind == FILTER_GROUP || !condition->needs_payload)
        return code;
    if (compiler->slot_count == FILTER_SLOTS_MAX || compiler->impure) {
        compiler->not_bindable = true;
        compiler->impure = false;
        return code;
    }
    condition->slot = (int32_t)compiler->slot_count;
    compiler->slots[compiler->slot_count++] =
        (struct filter_slot){condition->key, condition->key_bytes};
    return code;
}

/* One condition or a list of them. Those that need no payload come first: `must` and `should` stop
 * at the first answer, and the payload costs most. */
static int compile_list(struct filter_compiler *compiler, const struct filter_place *place,
                        const struct doc *doc, uint32_t depth, struct filter_list *list)
{
    uint32_t count = doc->type == DOC_ARRAY ? doc->count : 1;
    const struct doc *items = doc->type == DOC_ARRAY ? doc->items : doc;
    struct filter_condition *ordered;
    uint32_t front = 0;
    uint32_t back = count;

    list->present = true;
    if (count == 0)
        return 0;
    if (count > FILTER_CONDITIONS_MAX)
        return filter_error(compiler, place, "more than %d conditions", FILTER_CONDITIONS_MAX);
    ordered = arena_calloc(compiler->arena, count, sizeof(*ordered));
    if (!ordered)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    for (uint32_t i = 0; i < count; i++) {
        struct filter_place at = filter_place_index(place, i);
        struct filter_condition condition = {0};
        int code = compile_condition(compiler, doc->type == DOC_ARRAY ? &at : place, &items[i],
                                     depth, &condition);
        if (code != 0)
            return code;
        if (condition.needs_payload)
            ordered[--back] = condition;
        else
            ordered[front++] = condition;
    }
    list->items = ordered;
    list->count = count;
    return 0;
}

static int compile_min_should(struct filter_compiler *compiler, const struct filter_place *place,
                              const struct doc *doc, uint32_t depth, struct query_filter *filter)
{
    static const char *const keys[] = {"conditions", "min_count", NULL};
    struct filter_place at = filter_place_name(place, "conditions");
    struct filter_place count_at = filter_place_name(place, "min_count");
    int code = filter_check_keys(compiler, place, doc, keys);
    const struct doc *conditions, *count;

    if (code != 0)
        return code;
    conditions = filter_get(doc, "conditions");
    count = filter_get(doc, "min_count");
    if (!conditions)
        return filter_error(compiler, place, "missing field `conditions`");
    if (!count)
        return filter_error(compiler, place, "missing field `min_count`");
    if (count->type == DOC_DOUBLE || !doc_as_u64(count, &filter->min_count))
        return filter_error(compiler, &count_at, "expected an unsigned integer");
    if (filter->min_count == 0)
        return filter_error(compiler, &count_at, "must be 1 or larger");
    if (conditions->type != DOC_ARRAY)
        return filter_error(compiler, &at, "expected a list");
    return compile_list(compiler, &at, conditions, depth, &filter->min_should);
}

static bool list_needs_payload(const struct filter_list *list)
{
    return list->count > 0 && list->items[list->count - 1].needs_payload;
}

static int compile_group(struct filter_compiler *compiler, const struct filter_place *place,
                         const struct doc *doc, uint32_t depth, struct query_filter *filter)
{
    const struct {
        const char *name;
        struct filter_list *list;
    } lists[] = {
        {"must", &filter->must}, {"should", &filter->should}, {"must_not", &filter->must_not}};
    const struct doc *min_should;
    struct filter_place at;
    int code;

    if (depth > FILTER_DEPTH_MAX)
        return filter_error(compiler, place, "nested deeper than %d levels", FILTER_DEPTH_MAX);
    code = filter_check_keys(compiler, place, doc, group_keys);
    if (code != 0)
        return code;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct doc *value = filter_get(doc, lists[i].name);
        at = filter_place_name(place, lists[i].name);
        if (value && (code = compile_list(compiler, &at, value, depth, lists[i].list)))
            return code;
    }
    min_should = filter_get(doc, "min_should");
    at = filter_place_name(place, "min_should");
    if (min_should && (code = compile_min_should(compiler, &at, min_should, depth, filter)))
        return code;
    filter->needs_payload =
        list_needs_payload(&filter->must) || list_needs_payload(&filter->should) ||
        list_needs_payload(&filter->must_not) || list_needs_payload(&filter->min_should);
    filter->accepts_all = filter->must.count == 0 && filter->should.count == 0 &&
                          filter->must_not.count == 0 && filter->min_count == 0;
    return 0;
}

int filter_compile_condition(struct filter_compiler *compiler, const struct filter_place *place,
                             const struct doc *doc, const struct query_filter **compiled)
{
    struct query_filter *group = arena_calloc(compiler->arena, 1, sizeof(*group));

    if (!group)
        return error_set(compiler->error, ERROR_MEMORY, "the filter is too large");
    *compiled = group;
    if (compile_list(compiler, place, doc, 0, &group->must) != 0)
        return compiler->error->code;
    group->needs_payload = list_needs_payload(&group->must);
    return 0;
}

int query_filter_compile(const struct doc *filter, const char *vector_name, struct arena *arena,
                         const struct query_filter **compiled, struct error *error)
{
    struct filter_compiler compiler = {.arena = arena, .vector_name = vector_name, .error = error};
    struct filter_place root = filter_place_name(NULL, "filter");
    struct query_filter *group = arena_calloc(arena, 1, sizeof(*group));
    struct filter_slot *slots;
    int code;

    if (!group)
        return error_set(error, ERROR_MEMORY, "the filter is too large");
    group->accepts_all = true;
    *compiled = group;
    if (!filter || filter->type == DOC_NULL)
        return 0;
    group->document = *filter;
    code = compile_group(&compiler, &root, filter, 0, group);
    slots = arena_calloc(arena, (size_t)compiler.slot_count + 1, sizeof(*slots));
    if (!slots)
        return error_set(error, ERROR_MEMORY, "the filter is too large");
    memcpy(slots, compiler.slots, compiler.slot_count * sizeof(*slots));
    group->slots = slots;
    group->slot_count = compiler.slot_count;
    group->recent = compiler.recent;
    group->bindable = code == 0 && !compiler.not_bindable;
    return code;
}
