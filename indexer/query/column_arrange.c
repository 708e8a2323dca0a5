/* The order of a column's codes: that of the values, so that a range of numbers is one span of
 * codes and a text is found by bisection (postings.c). */
#include "indexer/query/column.h"

#include <math.h>
#include <stdlib.h>

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

static void *checked(void *memory)
{
    if (!memory)
        abort();
    return memory;
}

void query_column_arrange(struct column *column)
{
    size_t count = column->value_count;
    struct place *places = checked(malloc((count + 1) * sizeof(*places)));
    uint32_t *codes = checked(malloc((count + 1) * sizeof(*codes)));
    struct doc *values = checked(malloc((count + 1) * sizeof(*values)));

    for (uint32_t code = 0; code < count; code++)
        places[code] = place_of(column, code);
    qsort(places, count, sizeof(*places), place_compare);
    column->numbers = checked(malloc((count + 1) * sizeof(*column->numbers)));
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
