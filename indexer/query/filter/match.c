/* Filter evaluation on one record. */
#include <assert.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/text.h"
#include "indexer/query/filter/column.h"
#include "indexer/query/filter/filter.h"

/* Values. */

/* A long double of x86 holds every 64-bit integer and every double, and so compares them exactly. */
static long double exact_number(const struct doc *doc)
{
    static_assert(LDBL_MANT_DIG >= 64, "integers would be rounded");

    return doc->type == DOC_INT    ? (long double)doc->integer
           : doc->type == DOC_UINT ? (long double)doc->unsigned_integer
                                   : (long double)doc->number;
}

static int number_compare(const struct doc *a, const struct doc *b)
{
    long double left = exact_number(a), right = exact_number(b);

    return (left > right) - (left < right);
}

static bool bounds_hold(const struct filter_range *range, const int order[FILTER_BOUND_COUNT])
{
    return (!range->present[FILTER_LT] || order[FILTER_LT] < 0) &&
           (!range->present[FILTER_GT] || order[FILTER_GT] > 0) &&
           (!range->present[FILTER_LTE] || order[FILTER_LTE] <= 0) &&
           (!range->present[FILTER_GTE] || order[FILTER_GTE] >= 0);
}

static bool time_in_range(const struct filter_range *range, int64_t time_us)
{
    int order[FILTER_BOUND_COUNT];

    for (size_t i = 0; i < FILTER_BOUND_COUNT; i++)
        order[i] = (time_us > range->times_us[i]) - (time_us < range->times_us[i]);
    return bounds_hold(range, order);
}

static bool value_in_range(const struct filter_range *range, const struct doc *value)
{
    int order[FILTER_BOUND_COUNT] = {0};
    int64_t time_us;
    double number;

    if (range->kind == FILTER_RANGE_TIME)
        return value->type == DOC_STRING &&
               filter_parse_time_us(value->string, value->count, &time_us) &&
               time_in_range(range, time_us);
    if (!doc_as_double(value, &number) || number != number)
        return false;
    for (size_t i = 0; i < FILTER_BOUND_COUNT; i++)
        if (range->present[i])
            order[i] = number_compare(value, &range->bounds[i]);
    return bounds_hold(range, order);
}

static bool has_integer(const struct filter_match *match, const struct doc *value)
{
    uint32_t low = 0;
    uint32_t high = match->count;

    while (value->type == DOC_INT && low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (match->integers[middle] == value->integer)
            return true;
        if (match->integers[middle] < value->integer)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool has_slice(const struct filter_slice *slices, uint32_t count, const void *bytes,
                      size_t size_bytes)
{
    struct filter_slice wanted = {bytes, size_bytes};

    return count > 0 &&
           bsearch(&wanted, slices, count, sizeof(*slices), filter_slice_compare) != NULL;
}

static bool has_part(const struct filter_match *match, const struct doc *value)
{
    const struct filter_slice *part = match->values;

    if (value->type != DOC_STRING || value->count < part->size_bytes)
        return false;
    return match->kind == FILTER_MATCH_PREFIX
               ? memcmp(value->string, part->bytes, part->size_bytes) == 0
               : memmem(value->string, value->count, part->bytes, part->size_bytes) != NULL;
}

static bool value_matches(const struct filter_match *match, const struct doc *value,
                          struct filter_subject *subject)
{
    bool found;

    switch (match->kind) {
    case FILTER_MATCH_NONE:
        return false;
    case FILTER_MATCH_BOOL:
        return value->type == DOC_BOOL && value->boolean == match->boolean;
    case FILTER_MATCH_INTEGERS:
        return has_integer(match, value);
    case FILTER_MATCH_EXCEPT_INTEGERS:
        return value->type != DOC_NULL && !has_integer(match, value);
    case FILTER_MATCH_STRINGS:
    case FILTER_MATCH_EXCEPT_STRINGS:
        found = value->type == DOC_STRING &&
                has_slice(match->values, match->count, value->string, value->count);
        return match->kind == FILTER_MATCH_STRINGS ? found : value->type != DOC_NULL && !found;
    case FILTER_MATCH_PREFIX:
    case FILTER_MATCH_SUBSTRING:
        return has_part(match, value);
    default:
        return value->type == DOC_STRING &&
               filter_match_words(match, value->string, value->count, subject);
    }
}

static bool is_empty_value(const struct doc *value)
{
    return value->type == DOC_NULL || (value->type == DOC_ARRAY && value->count == 0);
}

static bool is_null_value(const struct doc *value)
{
    if (value->type == DOC_ARRAY) {
        for (uint32_t i = 0; i < value->count; i++)
            if (value->items[i].type == DOC_NULL)
                return true;
        return false;
    }
    return value->type == DOC_NULL;
}

static bool count_in_range(const struct filter_range *range, const struct doc *value)
{
    uint32_t count = !value || value->type == DOC_NULL ? 0
                     : value->type == DOC_ARRAY        ? value->count
                                                       : 1;
    struct doc number = doc_integer(count);

    return range->kind != FILTER_RANGE_NONE && value_in_range(range, &number);
}

/* Conditions. */

struct field_walk {
    const struct filter_field *field;
    struct filter_subject *subject;
    bool seen;     /* the path leads to at least one value */
    bool filled;   /* one of them is neither null nor [] */
    bool has_null; /* one of them is null or holds a null */
    bool matches;
};

static bool value_passes(const struct filter_field *field, const struct doc *value,
                         struct filter_subject *subject)
{
    return value_matches(&field->match, value, subject) ||
           (field->range.kind != FILTER_RANGE_NONE && value_in_range(&field->range, value)) ||
           (field->geo && filter_geo_match(field->geo, value, subject));
}

/* An array passes when one of its elements does; arrays inside arrays are not looked into. */
static bool visit_field(void *context, const struct doc *value)
{
    struct field_walk *walk = context;
    const struct filter_field *field = walk->field;

    if (!filter_may_go_on(walk->subject, value->type == DOC_ARRAY ? 1 + (size_t)value->count : 1))
        return true;
    walk->seen = true;
    walk->filled = walk->filled || !is_empty_value(value);
    walk->has_null = walk->has_null || is_null_value(value);
    if (count_in_range(&field->count, value))
        walk->matches = true;
    if (value->type != DOC_ARRAY) {
        walk->matches = walk->matches || value_passes(field, value, walk->subject);
    } else {
        for (uint32_t i = 0; i < value->count && !walk->matches; i++)
            walk->matches = value_passes(field, &value->items[i], walk->subject);
    }
    return walk->matches;
}

bool filter_subject_payload(struct filter_subject *subject)
{
    enum { BYTES_IN_A_STEP = 16 };

    if (!subject->payload && filter_may_go_on(subject, subject->size_bytes / BYTES_IN_A_STEP)) {
        subject->code = subject->bytes ? query_payload_decode(subject->row, subject->bytes,
                                                              subject->size_bytes, subject->scratch,
                                                              &subject->decoded, subject->error)
                                       : query_row_payload(subject->row, subject->scratch,
                                                           &subject->decoded, subject->error);
        if (subject->code == 0)
            subject->payload = &subject->decoded;
    }
    return subject->code == 0;
}

/* What follows from the values that a path leads to. */
static bool conclude(const struct filter_condition *condition, const struct field_walk *walk)
{
    const struct filter_field *field = walk->field;

    if (condition->kind == FILTER_IS_EMPTY)
        return !walk->filled;
    if (condition->kind == FILTER_IS_NULL)
        return walk->has_null;
    if (walk->matches || (!walk->seen && count_in_range(&field->count, NULL)))
        return true;
    /* As the conditions of their own say: of all values together, however many the path leads to. */
    return (field->has_empty && field->empty == !walk->filled) ||
           (field->has_null && field->null == walk->has_null);
}

/* "3", or "topic-3" for topics after the first: the partition as a number. */
static struct doc partition_number(const char *shard)
{
    const char *dash = strrchr(shard, '-');
    const char *digits = dash ? dash + 1 : shard;
    uint64_t number;

    if (text_parse_u64(digits, strlen(digits), &number) != 0 || number > INT32_MAX)
        return (struct doc){.type = DOC_NULL};
    return doc_integer((int64_t)number);
}

struct doc filter_virtual_value(enum filter_virtual virtual_key, const struct query_row *row)
{
    switch (virtual_key) {
    case FILTER_TIME:
        return doc_integer(query_row_time_ms(row));
    case FILTER_WINDOW:
        return doc_integer(query_row_window_ms(row));
    case FILTER_OFFSET:
        return doc_integer(query_row_offset(row));
    default:
        return partition_number(row->shard);
    }
}

static bool match_virtual_field(const struct filter_condition *condition,
                                struct filter_subject *subject)
{
    const struct filter_field *field = condition->field;
    enum filter_match_kind kind = field->match.kind;
    struct doc value;

    if (!subject->row)
        return false;
    value = filter_virtual_value(condition->virtual_key, subject->row);
    if (field->range.kind == FILTER_RANGE_TIME) {
        if (condition->virtual_key <= FILTER_WINDOW && value.integer < INT64_MAX / 1000 &&
            value.integer > INT64_MIN / 1000 && time_in_range(&field->range, value.integer * 1000))
            return true;
    } else if (field->range.kind == FILTER_RANGE_NUMBER && value_in_range(&field->range, &value)) {
        return true;
    }
    if (condition->virtual_key == FILTER_PARTITION &&
        (kind == FILTER_MATCH_STRINGS || kind == FILTER_MATCH_EXCEPT_STRINGS))
        value = (struct doc){.type = DOC_STRING,
                             .count = (uint32_t)strlen(subject->row->shard),
                             .string = subject->row->shard};
    return value_matches(&field->match, &value, subject) || count_in_range(&field->count, &value) ||
           (field->has_empty && !field->empty) || (field->has_null && !field->null);
}

struct nested_walk {
    const struct query_filter *group;
    struct filter_subject *subject;
    bool matches;
};

static bool visit_nested(void *context, const struct doc *value)
{
    struct nested_walk *walk = context;
    struct filter_subject element = *walk->subject;

    if (value->type != DOC_MAP)
        return false;
    element.payload = value;
    element.binding = NULL;
    walk->matches = filter_group_match(walk->group, &element);
    walk->subject->code = element.code;
    return walk->matches || element.code != 0;
}

static bool match_has_id(const struct filter_condition *condition,
                         const struct filter_subject *subject)
{
    const uint8_t *key;
    size_t key_bytes;

    if (!subject->row)
        return false;
    key = query_row_key(subject->row, &key_bytes);
    return has_slice(condition->ids, condition->id_count, key, key_bytes);
}

static bool match_has_part(const struct filter_condition *condition, struct filter_subject *subject)
{
    struct doc payload, parts;

    if (!subject->row)
        return false;
    subject->code =
        subject->bytes
            ? query_body_decode(subject->row, subject->bytes, subject->size_bytes, subject->scratch,
                                &payload, &parts, subject->error)
            : query_row_body(subject->row, subject->scratch, &payload, &parts, subject->error);
    for (uint32_t i = 0; subject->code == 0 && i < parts.count; i++)
        if (bytes_equal(parts.items[2 * i].string, parts.items[2 * i].count, condition->key,
                        condition->key_bytes))
            return true;
    return false;
}

static bool match_has_dense(const struct filter_subject *subject)
{
    return subject->row && !query_row_is_bare(subject->row);
}

typedef bool (*values_visit)(void *context, const struct doc *value);

/* Shows every value at the condition's path to `visit` until it is content: from the payload, or
 * from a column's entry. */
static void each_value(const struct filter_condition *condition,
                       const struct filter_subject *subject, const struct doc *values,
                       values_visit visit, void *context)
{
    if (!values) {
        (void)doc_visit_path(subject->payload, condition->key, condition->key_bytes, visit,
                             context);
        return;
    }
    for (uint32_t i = 0; i < values->count; i++)
        if (visit(context, &values->items[i]))
            return;
}

/* Field, presence or nested: conditions on the values at a payload path. */
static bool match_values(const struct filter_condition *condition, struct filter_subject *subject,
                         const struct doc *values)
{
    static const struct filter_field none = {0};
    struct field_walk walk = {.field = condition->field ? condition->field : &none,
                              .subject = subject};
    struct nested_walk nested = {condition->group, subject, false};

    if (!values && !filter_subject_payload(subject))
        return false;
    if (condition->kind == FILTER_NESTED) {
        each_value(condition, subject, values, visit_nested, &nested);
        return nested.matches;
    }
    each_value(condition, subject, values, visit_field, &walk);
    return conclude(condition, &walk);
}

/* False for NAN. */
static bool number_in_limits(const double limits[FILTER_BOUND_COUNT], double number,
                             const bool present[FILTER_BOUND_COUNT])
{
    return number == number && (!present[FILTER_LT] || number < limits[FILTER_LT]) &&
           (!present[FILTER_GT] || number > limits[FILTER_GT]) && number <= limits[FILTER_LTE] &&
           number >= limits[FILTER_GTE];
}

/* Answered once for each distinct value. */
bool filter_code_match(const struct filter_condition *condition, struct filter_subject *subject,
                       uint32_t code)
{
    const struct column *column = subject->binding->columns[condition->slot];
    uint8_t *answer = &subject->binding->answers[condition->slot][code];

    if (*answer == 0 && code < column->image.head->number_count &&
        condition->kind == FILTER_FIELD && condition->field->simple)
        *answer = number_in_limits(condition->field->limits, column->image.numbers[code],
                                   condition->field->range.present)
                      ? 2
                      : 1;
    if (*answer == 0) {
        struct doc values;
        bool matches = false;
        subject->code =
            column_image_values(&column->image, code, subject->scratch, &values, subject->error);
        if (subject->code == 0)
            matches = match_values(condition, subject, &values);
        if (subject->code != 0)
            return false;
        *answer = matches ? 2 : 1;
    }
    return *answer == 2;
}

static bool match_bound(const struct filter_condition *condition, struct filter_subject *subject)
{
    const struct column *column = subject->binding->columns[condition->slot];

    return filter_code_match(condition, subject, query_column_code(column, subject->row->row));
}

static bool match_condition(const struct filter_condition *condition,
                            struct filter_subject *subject)
{
    if (subject->binding && condition->slot >= 0)
        return match_bound(condition, subject);
    if (!filter_may_go_on(subject, 1))
        return false;
    switch (condition->kind) {
    case FILTER_FIELD:
        return condition->virtual_key == FILTER_PAYLOAD ? match_values(condition, subject, NULL)
                                                        : match_virtual_field(condition, subject);
    case FILTER_IS_EMPTY:
    case FILTER_IS_NULL:
        return condition->virtual_key == FILTER_PAYLOAD && match_values(condition, subject, NULL);
    case FILTER_HAS_ID:
        return match_has_id(condition, subject);
    case FILTER_ID_SLICE:
        return filter_slice_match(condition, subject);
    case FILTER_CONSTANT:
        return condition->constant;
    case FILTER_HAS_PART:
        return match_has_part(condition, subject);
    case FILTER_HAS_DENSE:
        return match_has_dense(subject);
    case FILTER_NESTED:
        return match_values(condition, subject, NULL);
    case FILTER_GROUP:
        return filter_group_match(condition->group, subject);
    }
    return false;
}

static uint64_t count_matches(const struct filter_list *list, struct filter_subject *subject,
                              uint64_t enough)
{
    uint64_t matched = 0;

    for (uint32_t i = 0; i < list->count && matched < enough && subject->code == 0; i++)
        matched += match_condition(&list->items[i], subject);
    return matched;
}

bool filter_group_match(const struct query_filter *filter, struct filter_subject *subject)
{
    for (uint32_t i = 0; i < filter->must.count; i++)
        if (!match_condition(&filter->must.items[i], subject) || subject->code != 0)
            return false;
    if (count_matches(&filter->must_not, subject, 1) > 0 || subject->code != 0)
        return false;
    if (filter->should.count > 0 && count_matches(&filter->should, subject, 1) == 0)
        return false;
    if (filter->min_count > 0 &&
        count_matches(&filter->min_should, subject, filter->min_count) < filter->min_count)
        return false;
    return subject->code == 0;
}

int filter_subject_match(const struct query_filter *filter, struct filter_subject *subject,
                         bool *matches)
{
    *matches = !filter || filter->accepts_all || filter_group_match(filter, subject);
    return subject->code;
}
