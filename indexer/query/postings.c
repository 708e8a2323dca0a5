/* postings: the order of a column's codes, and the rows that a filter leaves of a table at the price
 * of the rows it leaves.
 *
 * Codes ascend with their values, so a range of numbers is one span of codes and a text is found by
 * bisection; the few codes that are neither a number nor a text (lists, null, nothing) are asked
 * one by one. A filter is as narrow as its narrowest `must`, or as all of its `should` together. */
#include "base/memory.h"
#include "indexer/query/column.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct place {
    uint32_t code; /* as it was made */
    int kind;      /* 0 a number, 1 a string, 2 everything else */
    double number;
    struct filter_slice string;
};

static struct place place_of(const struct column *column, uint32_t code)
{
    const struct doc *values = &column->values[code];
    const struct doc *value = values->items;
    struct place place = {.code = code, .kind = 2};

    if (values->count != 1)
        return place;
    if (value->type == DOC_STRING) {
        place.kind = 1;
        place.string = (struct filter_slice){value->string, value->count};
    } else if (doc_as_double(value, &place.number) && place.number == place.number &&
               (value->type == DOC_DOUBLE || fabs(place.number) < FILTER_EXACT_MAX)) {
        place.kind = 0;
    }
    return place;
}

static int place_compare(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    int order = left->kind - right->kind;

    if (order == 0 && left->kind == 0)
        order = (left->number > right->number) - (left->number < right->number);
    if (order == 0 && left->kind == 1)
        order = filter_slice_compare(&left->string, &right->string);
    return order != 0 ? order : (left->code > right->code) - (left->code < right->code);
}

void query_column_arrange(struct column *column)
{
    size_t count = column->value_count;
    struct place *places = memory_checked(malloc((count + 1) * sizeof(*places)));
    uint32_t *codes = memory_checked(malloc((count + 1) * sizeof(*codes)));
    struct doc *values = memory_checked(malloc((count + 1) * sizeof(*values)));

    for (uint32_t code = 0; code < count; code++)
        places[code] = place_of(column, code);
    qsort(places, count, sizeof(*places), place_compare);
    column->numbers = memory_checked(malloc((count + 1) * sizeof(*column->numbers)));
    for (uint32_t code = 0; code < count; code++) {
        codes[places[code].code] = code;
        values[code] = column->values[places[code].code];
        if (places[code].kind == 0)
            column->numbers[column->number_count++] = places[code].number;
        column->string_count += places[code].kind == 1;
    }
    for (uint32_t row = 0; row < column->row_count; row++)
        column->codes[row] = codes[column->codes[row]];
    free(column->values);
    column->values = values;
    column->value_room = column->value_count + 1;
    free(places);
    free(codes);
}

enum { ROWS_A_VALUE = 8 }; /* with fewer rows to a value not every value is asked */

/* Codes whose rows may match. */
struct span {
    const struct column *column;
    uint32_t first, last; /* codes [first, last) */
};

struct spans {
    struct span *items;
    size_t count, room;
    uint64_t rows;
    bool exact; /* every row of them matches, and no other */
};

static void spans_add(struct spans *spans, struct arena *arena, const struct column *column,
                      uint32_t first, uint32_t last)
{
    struct span *before = spans->count > 0 ? &spans->items[spans->count - 1] : NULL;

    if (first >= last)
        return;
    spans->rows += column->starts[last] - column->starts[first];
    if (before && before->column == column && before->last == first) {
        before->last = last;
        return;
    }
    if (spans->count == spans->room) {
        size_t room = spans->room ? spans->room * 2 : 8;
        struct span *more = arena_calloc(arena, room, sizeof(*more));
        if (spans->count > 0)
            memcpy(more, spans->items, spans->count * sizeof(*more));
        spans->items = more;
        spans->room = room;
    }
    spans->items[spans->count++] = (struct span){column, first, last};
}

/* One condition. */

/* The first code whose number is above `number`, or at it with `at`. */
static uint32_t number_place(const struct column *column, double number, bool at)
{
    uint32_t low = 0, high = column->number_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (column->numbers[middle] < number || (!at && column->numbers[middle] == number))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t string_place(const struct column *column, const struct filter_slice *string)
{
    uint32_t low = column->number_count, high = low + column->string_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        const struct doc *value = column->values[middle].items;
        struct filter_slice found = {value->string, value->count};
        if (filter_slice_compare(&found, string) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Asks codes one by one. */
static void ask_codes(const struct filter_condition *condition, struct filter_subject *subject,
                      const struct column *column, uint32_t first, uint32_t last,
                      struct spans *spans)
{
    for (uint32_t code = first; code < last && subject->code == 0; code++)
        if (filter_code_match(condition, subject, code))
            spans_add(spans, subject->scratch, column, code, code + 1);
}

static void narrow_range(const struct filter_condition *condition, const struct column *column,
                         struct arena *arena, struct spans *spans)
{
    const struct filter_field *field = condition->field;
    uint32_t first = number_place(column, field->limits[FILTER_GTE], true);
    uint32_t last = number_place(column, field->limits[FILTER_LTE], false);
    uint32_t bound;

    if (field->range.present[FILTER_GT]) {
        bound = number_place(column, field->limits[FILTER_GT], false);
        first = bound > first ? bound : first;
    }
    if (field->range.present[FILTER_LT]) {
        bound = number_place(column, field->limits[FILTER_LT], true);
        last = bound < last ? bound : last;
    }
    spans_add(spans, arena, column, first, last);
}

/* Nothing but "is one of these values". */
static bool is_lookup(const struct filter_condition *condition)
{
    const struct filter_field *field = condition->field;

    return condition->kind == FILTER_FIELD &&
           (field->match.kind == FILTER_MATCH_INTEGERS ||
            field->match.kind == FILTER_MATCH_STRINGS) &&
           field->range.kind == FILTER_RANGE_NONE && field->count.kind == FILTER_RANGE_NONE &&
           !field->has_empty && !field->has_null;
}

static void narrow_lookup(const struct filter_condition *condition, struct filter_subject *subject,
                          const struct column *column, struct spans *spans)
{
    const struct filter_match *match = &condition->field->match;

    for (uint32_t i = 0; i < match->count && filter_may_go_on(subject, 4); i++) {
        uint32_t first, last;
        if (match->kind == FILTER_MATCH_STRINGS) {
            first = string_place(column, &match->values[i]);
            last = first < column->number_count + column->string_count ? first + 1 : first;
        } else {
            first = number_place(column, (double)match->integers[i], true);
            last = number_place(column, (double)match->integers[i], false);
        }
        ask_codes(condition, subject, column, first, last, spans);
    }
}

static bool narrow_condition(const struct filter_condition *condition,
                             struct filter_subject *subject, struct spans *spans)
{
    const struct column *column;
    uint32_t others;

    if (condition->slot < 0)
        return false;
    column = subject->binding->columns[condition->slot];
    others = column->number_count + column->string_count;
    spans->exact = true;
    if (condition->kind == FILTER_FIELD && condition->field->simple)
        narrow_range(condition, column, subject->scratch, spans);
    else if (is_lookup(condition))
        narrow_lookup(condition, subject, column, spans);
    else if (column->value_count <= column->row_count / ROWS_A_VALUE)
        others = 0;
    else
        return false;
    ask_codes(condition, subject, column, others, column->value_count, spans);
    return subject->code == 0;
}

/* A filter. */

static bool narrow_filter(const struct query_filter *filter, struct filter_subject *subject,
                          struct spans *fewest);

static bool narrow_item(const struct filter_condition *condition, struct filter_subject *subject,
                        struct spans *spans)
{
    return condition->kind == FILTER_GROUP ? narrow_filter(condition->group, subject, spans)
                                           : narrow_condition(condition, subject, spans);
}

/* All of `should` together: a row may be among the spans more than once. */
static bool narrow_should(const struct query_filter *filter, struct filter_subject *subject,
                          struct spans *all)
{
    all->exact = true;
    for (uint32_t i = 0; i < filter->should.count; i++) {
        struct spans spans = {0};
        if (!narrow_item(&filter->should.items[i], subject, &spans))
            return false;
        for (size_t j = 0; j < spans.count; j++)
            spans_add(all, subject->scratch, spans.items[j].column, spans.items[j].first,
                      spans.items[j].last);
        all->exact = all->exact && spans.exact;
    }
    return true;
}

static bool narrow_filter(const struct query_filter *filter, struct filter_subject *subject,
                          struct spans *fewest)
{
    bool alone = filter->must_not.count == 0 && filter->min_count == 0 &&
                 filter->must.count + (filter->should.count > 0) == 1;
    bool found = false;

    for (uint32_t i = 0; i < filter->must.count + (filter->should.count > 0); i++) {
        struct spans spans = {0};
        bool narrow = i < filter->must.count ? narrow_item(&filter->must.items[i], subject, &spans)
                                             : narrow_should(filter, subject, &spans);
        if (!narrow || (found && spans.rows >= fewest->rows))
            continue;
        *fewest = spans;
        found = true;
    }
    fewest->exact = fewest->exact && alone;
    return found;
}

static uint64_t set_rows(const struct spans *spans, const struct query_filter *filter,
                         struct filter_subject *subject, struct query_row *row, uint64_t *bits)
{
    uint64_t count = 0;

    for (size_t i = 0; i < spans->count && subject->code == 0; i++) {
        const struct span *span = &spans->items[i];
        uint32_t last = span->column->starts[span->last];
        for (uint32_t at = span->column->starts[span->first]; at < last; at++) {
            uint64_t bit;
            bool matches = true;
            row->row = span->column->rows[at];
            bit = UINT64_C(1) << row->row % 64;
            if (bits[row->row / 64] & bit)
                continue;
            if (!spans->exact && (filter_subject_match(filter, subject, &matches) != 0 || !matches))
                continue;
            bits[row->row / 64] |= bit;
            count++;
        }
    }
    return count;
}

bool query_postings_match(const struct query_filter *filter, const struct filter_binding *binding,
                          const struct query_row *row, uint64_t rows_max, struct arena *scratch,
                          struct stop_meter *meter, uint64_t *bits, uint64_t *count)
{
    struct query_row at = *row;
    struct error ignored; /* the caller asks its stop */
    struct filter_subject subject = {
        .row = &at, .binding = binding, .scratch = scratch, .meter = meter, .error = &ignored};
    struct spans spans = {0};

    if (!narrow_filter(filter, &subject, &spans) || spans.rows > rows_max)
        return false;
    *count = set_rows(&spans, filter, &subject, &at, bits);
    return subject.code == 0;
}
