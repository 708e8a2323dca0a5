#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ingest/decode/arrow.h"

enum { MS_PER_DAY = 86400000, TIME_TEXT_BYTES = 40 };

/* Years 1 to 9999: what RFC 3339 can write. */
#define TIME_MIN_MS INT64_C(-62135596800000)
#define TIME_MAX_MS INT64_C(253402300799999)

/* A reading under way. */
struct reading {
    struct arena *arena;
    char *text;
    size_t text_bytes;
};

static int fail(const struct reading *reading, const char *what)
{
    (void)snprintf(reading->text, reading->text_bytes, "%s", what);
    return ERROR_INVALID;
}

static bool bit(const uint8_t *bits, uint64_t index)
{
    return (bits[index / 8] >> (index % 8) & 1) != 0;
}

bool arrow_is_null(const struct arrow_column *column, uint64_t row)
{
    if (column->field->type == ARROW_NULL && !column->field->has_dictionary)
        return true;
    return column->validity.data && !bit(column->validity.data, row);
}

/* Number `index` of `width` bytes; the buffer holds it. */
static uint64_t number_at(const struct arrow_bytes *bytes, uint64_t index, unsigned width)
{
    uint64_t value = 0;

    memcpy(&value, bytes->data + index * width, width);
    return value;
}

static int64_t with_sign(uint64_t value, unsigned width)
{
    unsigned shift = 64 - 8 * width;

    return (int64_t)(value << shift) >> shift;
}

/* IEEE 754, 3.6: binary16. */
static double half(uint16_t bits)
{
    int exponent = bits >> 10 & 0x1f;
    double fraction = bits & 0x3ff;
    double value = exponent == 0x1f ? (fraction > 0 ? (double)NAN : (double)INFINITY)
                   : exponent == 0  ? ldexp(fraction, -24)
                                    : ldexp(fraction + 1024, exponent - 25);

    return bits & 0x8000 ? -value : value;
}

static double float_at(const struct arrow_column *column, uint64_t row)
{
    uint64_t bits = number_at(&column->values, row, column->field->width);
    uint32_t low = (uint32_t)bits;
    float single;
    double value;

    if (column->field->width == 2)
        return half((uint16_t)bits);
    memcpy(&single, &low, sizeof(single));
    memcpy(&value, &bits, sizeof(value));
    return column->field->width == 4 ? (double)single : value;
}

/* Texts, and bytes, which lie as texts do. */

static int text_value(const struct reading *reading, const struct arrow_column *column,
                      const uint8_t *bytes, uint64_t size, struct doc *value)
{
    const bool binary = arrow_is_binary(column->field->type);
    const char *text = (const char *)bytes;

    if (!binary && size > 0 && text_utf8_valid(text, (size_t)size) != size)
        return fail(reading, "not UTF-8");
    *value = (struct doc){.type = binary ? DOC_BYTES : DOC_STRING,
                          .count = (uint32_t)size,
                          .string = size > 0 ? text : ""};
    return 0;
}

/* Where text or list `row` lies in what follows the offsets, which has `size` bytes or items. */
static bool range_of(const struct arrow_column *column, uint64_t row, uint64_t size,
                     uint64_t *begin, uint64_t *count)
{
    unsigned width = column->field->width;
    uint64_t end = number_at(&column->offsets, row + 1, width);

    *begin = number_at(&column->offsets, row, width);
    *count = end - *begin;
    return *begin <= end && end <= size && *count <= UINT32_MAX;
}

/* 16 bytes: i32 length, then up to 12 bytes of text, or 4 of its first bytes, i32 piece, i32 place. */
static int view_value(const struct reading *reading, const struct arrow_column *column,
                      uint64_t row, struct doc *value)
{
    const uint8_t *view = column->values.data + 16 * row;
    uint32_t numbers[4];

    memcpy(numbers, view, sizeof(numbers));
    if (numbers[0] <= 12)
        return text_value(reading, column, view + 4, numbers[0], value);
    if (numbers[2] >= column->piece_count || numbers[3] > column->pieces[numbers[2]].size ||
        numbers[0] > column->pieces[numbers[2]].size - numbers[3])
        return fail(reading, "a text outside of its buffer");
    return text_value(reading, column, column->pieces[numbers[2]].data + numbers[3], numbers[0],
                      value);
}

/* Times. */

static int time_text(const struct reading *reading, int64_t ms, const char *rest, size_t cut,
                     struct doc *value)
{
    char text[TEXT_TIME_BYTES + TIME_TEXT_BYTES];
    size_t length;
    char *copy;

    if (ms < TIME_MIN_MS || ms > TIME_MAX_MS)
        return fail(reading, "a time before year 1 or after year 9999");
    text_format_time(ms, text);
    length = cut > 0 ? cut : strlen(text);
    if (*rest) { /* behind the milliseconds, before the Z */
        length--;
        length += (size_t)snprintf(text + length, sizeof(text) - length, "%sZ", rest);
    }
    copy = arena_copy(reading->arena, text, length);
    if (!copy)
        return fail(reading, "the row is too large");
    *value = (struct doc){.type = DOC_STRING, .count = (uint32_t)length, .string = copy};
    return 0;
}

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

static int timestamp_value(const struct reading *reading, const struct arrow_column *column,
                           uint64_t row, struct doc *value)
{
    int64_t number = (int64_t)number_at(&column->values, row, 8);
    char rest[TIME_TEXT_BYTES] = "";
    int64_t ms = number, fine;

    switch (column->field->unit) {
    case ARROW_SECOND:
        if (__builtin_mul_overflow(number, 1000, &ms))
            return fail(reading, "a time before year 1 or after year 9999");
        break;
    case ARROW_MICROSECOND:
        ms = floor_divide(number, 1000);
        fine = (number % 1000 + 1000) % 1000;
        if (fine > 0)
            (void)snprintf(rest, sizeof(rest), "%03lld", (long long)fine);
        break;
    case ARROW_NANOSECOND:
        ms = floor_divide(number, 1000000);
        fine = (number % 1000000 + 1000000) % 1000000;
        if (fine > 0)
            (void)snprintf(rest, sizeof(rest), "%06lld", (long long)fine);
        break;
    case ARROW_MILLISECOND:
    default:
        break;
    }
    return time_text(reading, ms, rest, 0, value);
}

static int date_value(const struct reading *reading, const struct arrow_column *column,
                      uint64_t row, struct doc *value)
{
    enum { DATE_CHARACTERS = 10 };
    unsigned width = column->field->width;
    int64_t number = with_sign(number_at(&column->values, row, width), width);

    return time_text(reading, width == 4 ? number * MS_PER_DAY : number, "", DATE_CHARACTERS,
                     value);
}

/* Lists and structs. */

static int read_value(const struct reading *reading, const struct arrow_column *column,
                      uint64_t row, struct doc *value);

bool arrow_list_range(const struct arrow_column *column, uint64_t row, uint64_t *begin,
                      uint64_t *count)
{
    if (column->field->type != ARROW_FIXED_SIZE_LIST)
        return range_of(column, row, column->children[0].length, begin, count);
    *begin = row * column->field->list_size;
    *count = column->field->list_size;
    return true;
}

static int list_value(const struct reading *reading, const struct arrow_column *column,
                      uint64_t row, struct doc *value)
{
    uint64_t begin, count;
    struct doc *items;

    if (!arrow_list_range(column, row, &begin, &count))
        return fail(reading, "a list outside of its items");
    items = arena_calloc(reading->arena, count + 1, sizeof(*items));
    if (!items)
        return fail(reading, "the row is too large");
    for (uint64_t i = 0; i < count; i++)
        if (read_value(reading, &column->children[0], begin + i, &items[i]) != 0)
            return ERROR_INVALID;
    *value = (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items};
    return 0;
}

static int struct_value(const struct reading *reading, const struct arrow_column *column,
                        uint64_t row, struct doc *value)
{
    const uint32_t count = column->field->child_count;
    struct doc *items = arena_calloc(reading->arena, 2 * (size_t)count + 1, sizeof(*items));

    if (!items)
        return fail(reading, "the row is too large");
    for (uint32_t i = 0; i < count; i++) {
        const struct arrow_field *field = &column->field->children[i];
        items[2 * i] =
            (struct doc){.type = DOC_STRING, .count = field->name_length, .string = field->name};
        if (read_value(reading, &column->children[i], row, &items[2 * i + 1]) != 0)
            return ERROR_INVALID;
    }
    *value = (struct doc){.type = DOC_MAP, .count = count, .items = items};
    return 0;
}

static int dictionary_value(const struct reading *reading, const struct arrow_column *column,
                            uint64_t row, struct doc *value)
{
    unsigned width = column->field->index_width;
    uint64_t index = number_at(&column->values, row, width);

    if (column->field->index_signed)
        index = (uint64_t)with_sign(index, width); /* a negative one is beyond all lengths */
    if (index >= column->dictionary->length)
        return fail(reading, "an index outside of its dictionary");
    return read_value(reading, column->dictionary, index, value);
}

static int read_value(const struct reading *reading, const struct arrow_column *column,
                      uint64_t row, struct doc *value)
{
    const struct arrow_field *field = column->field;
    uint64_t number, begin, count;

    *value = (struct doc){.type = DOC_NULL};
    if (arrow_is_null(column, row))
        return 0;
    if (field->has_dictionary)
        return dictionary_value(reading, column, row, value);
    switch (field->type) {
    case ARROW_INT:
        number = number_at(&column->values, row, field->width);
        if (field->is_signed)
            number = (uint64_t)with_sign(number, field->width);
        *value = (struct doc){.type = !field->is_signed && number > INT64_MAX ? DOC_UINT : DOC_INT,
                              .unsigned_integer = number};
        return 0;
    case ARROW_FLOAT:
        *value = doc_number(float_at(column, row));
        return 0;
    case ARROW_BOOL:
        *value = doc_bool(bit(column->values.data, row));
        return 0;
    case ARROW_UTF8:
    case ARROW_LARGE_UTF8:
    case ARROW_BINARY:
    case ARROW_LARGE_BINARY:
        if (!range_of(column, row, column->values.size, &begin, &count))
            return fail(reading, "a text outside of its buffer");
        return text_value(reading, column, column->values.data + begin, count, value);
    case ARROW_FIXED_SIZE_BINARY:
        return text_value(reading, column, column->values.data + row * field->width, field->width,
                          value);
    case ARROW_UTF8_VIEW:
    case ARROW_BINARY_VIEW:
        return view_value(reading, column, row, value);
    case ARROW_DATE:
        return date_value(reading, column, row, value);
    case ARROW_TIMESTAMP:
        return timestamp_value(reading, column, row, value);
    case ARROW_STRUCT:
        return struct_value(reading, column, row, value);
    default: /* what else the schema lets pass: lists */
        return list_value(reading, column, row, value);
    }
}

int arrow_value(const struct arrow_column *column, uint64_t row, struct arena *arena,
                struct doc *value, char *text, size_t text_bytes)
{
    const struct reading reading = {arena, text, text_bytes};

    return read_value(&reading, column, row, value);
}
