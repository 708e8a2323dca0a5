/* postings: the rows that a filter leaves of a table at the price
 * of the rows it leaves.
 *
 * Codes ascend with their values, so a range of numbers is one span of codes and a text is found by
 * bisection; the few codes that are neither a number nor a text (lists, null, nothing) are asked
 * one by one. A filter is as narrow as its narrowest `must`, or as all of its `should` together. */
#include "indexer/query/filter/column.h"
#include "store/snapshot.h"

#include <string.h>

enum {
    ROWS_A_VALUE = 8, /* with fewer rows to a value not every value is asked */
    MARK_PART = 64    /* with more than one row in so many, a pass over all codes is cheaper */
};

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
    spans->rows += column->image.starts[last] - column->image.starts[first];
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
    uint32_t low = 0, high = column->image.head->number_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (column->image.numbers[middle] < number ||
            (!at && column->image.numbers[middle] == number))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t string_place(const struct column *column, const struct filter_slice *string)
{
    uint32_t low = column->image.head->number_count, high = low + column->image.head->string_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        struct filter_slice found = column_image_bytes_of(&column->image, middle);
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
           !field->geo && !field->has_empty && !field->has_null;
}

static void narrow_lookup(const struct filter_condition *condition, struct filter_subject *subject,
                          const struct column *column, struct spans *spans)
{
    const struct filter_match *match = &condition->field->match;

    for (uint32_t i = 0; i < match->count && filter_may_go_on(subject, 4); i++) {
        uint32_t first, last;
        if (match->kind == FILTER_MATCH_STRINGS) {
            first = string_place(column, &match->values[i]);
            last = first < column->image.head->number_count + column->image.head->string_count
                       ? first + 1
                       : first;
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
    others = column->image.head->number_count + column->image.head->string_count;
    spans->exact = true;
    if (condition->kind == FILTER_FIELD && condition->field->simple)
        narrow_range(condition, column, subject->scratch, spans);
    else if (is_lookup(condition))
        narrow_lookup(condition, subject, column, spans);
    else if (column->image.head->value_count <= column->image.head->row_count / ROWS_A_VALUE)
        others = 0;
    else
        return false;
    ask_codes(condition, subject, column, others, column->image.head->value_count, spans);
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
        uint32_t last = span->column->image.starts[span->last];
        for (uint32_t at = span->column->image.starts[span->first]; at < last; at++) {
            uint64_t bit;
            bool matches = true;
            row->row = span->column->image.rows[at];
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

    if (!narrow_filter(filter, &subject, &spans))
        return false;
    if (spans.exact && spans.count == 1 && spans.rows > row->source->row_count / MARK_PART) {
        column_image_mark(&spans.items->column->image, spans.items->first, spans.items->last, bits);
        *count = spans.rows;
        return true;
    }
    if (spans.rows > rows_max)
        return false;
    *count = set_rows(&spans, filter, &subject, &at, bits);
    return subject.code == 0;
}
