/* Compact JSON. Numbers come out as Python's repr writes them: the fewest digits that read back to
 * the same value, with an exponent below 1e-4 and from 1e16 on. */
#include "base/doc_internal.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 17, FLOAT_DIGITS_MAX = 9 };

/* 0.d1d2d3... x 10^point */
struct decimal {
    char digits[DIGITS_MAX + 1];
    int count;
    int point;
};

static void put_decimal(struct buffer *buffer, bool negative, const struct decimal *decimal)
{
    char text[40];
    char *to = text;
    int point = decimal->point;
    int count = decimal->count;

    if (negative)
        *to++ = '-';
    if (point < -3 || point > 16) {
        *to++ = decimal->digits[0];
        if (count > 1) {
            *to++ = '.';
            memcpy(to, decimal->digits + 1, (size_t)count - 1);
            to += count - 1;
        }
        to += snprintf(to, 8, "e%+03d", point - 1);
    } else if (point <= 0) {
        memcpy(to, "0.000", 5);
        to += 2 - point;
        memcpy(to, decimal->digits, (size_t)count);
        to += count;
    } else {
        int whole = count < point ? count : point;
        memcpy(to, decimal->digits, (size_t)whole);
        to += whole;
        for (int i = whole; i < point; i++)
            *to++ = '0';
        *to++ = '.';
        if (count > point) {
            memcpy(to, decimal->digits + point, (size_t)(count - point));
            to += count - point;
        } else {
            *to++ = '0';
        }
    }
    buffer_append(buffer, text, (size_t)(to - text));
}

/* digits x 10^exponent, digits not 0. */
static void put_scaled(struct buffer *buffer, bool negative, uint64_t digits, int exponent)
{
    struct decimal decimal;
    char reversed[20];
    int count = 0;

    while (digits % 10 == 0) {
        digits /= 10;
        exponent++;
    }
    for (; digits; digits /= 10)
        reversed[count++] = (char)('0' + digits % 10);
    for (int i = 0; i < count; i++)
        decimal.digits[i] = reversed[count - 1 - i];
    decimal.count = count;
    decimal.point = count + exponent;
    put_decimal(buffer, negative, &decimal);
}

/* Most numbers that people and services write: few digits, moderate size. With digits below 2^53
 * and a power of ten that is exact, the quotient is what a parser gets for the same decimal, and
 * the first scale that comes back is the shortest. */
static bool put_short_double(struct buffer *buffer, bool negative, double value)
{
    if (value < 1e-5 || value >= 1e15)
        return false;
    for (int scale = 0; scale <= 15; scale++) {
        double scaled = nearbyint(value * doc_number_powers_of_ten[scale]);
        if (scaled >= 1e15)
            return false;
        if (scaled / doc_number_powers_of_ten[scale] == value) {
            put_scaled(buffer, negative, (uint64_t)scaled, -scale);
            return true;
        }
    }
    return false;
}

/* "d.dddde-07" of printf to digits and exponent. */
static void split_printed(const char *text, uint64_t *digits, int *exponent)
{
    int fraction = 0;

    *digits = (uint64_t)(text[0] - '0');
    text++;
    if (*text == '.')
        for (text++; *text != 'e'; text++, fraction++)
            *digits = *digits * 10 + (uint64_t)(*text - '0');
    *exponent = (int)strtol(text + 1, NULL, 10) - fraction;
}

static bool reads_back(uint64_t digits, int exponent, double value)
{
    char text[48];
    double back;

    if (doc_number_scale(digits, exponent, &back))
        return back == value;
    (void)snprintf(text, sizeof(text), "%llue%d", (unsigned long long)digits, exponent);
    return strtod(text, NULL) == value;
}

static void put_printed_double(struct buffer *buffer, bool negative, double value)
{
    uint64_t digits = 0;
    int exponent = 0;

    /* All decimals of 15 digits are different doubles, but among the subnormals. */
    for (int count = value < DBL_MIN ? 1 : DBL_DIG; count <= DIGITS_MAX; count++) {
        char text[40];
        (void)snprintf(text, sizeof(text), "%.*e", count - 1, value);
        split_printed(text, &digits, &exponent);
        if (reads_back(digits, exponent, value))
            break;
        /* Above a power of two doubles lie twice as far apart as below: the next decimal up may
         * read back where the nearest, just below, does not. */
        if (reads_back(digits + 1, exponent, value)) {
            digits++;
            break;
        }
    }
    put_scaled(buffer, negative, digits, exponent);
}

void doc_write_json_double(struct buffer *buffer, double value)
{
    bool negative = signbit(value);
    double size = fabs(value);

    if (!isfinite(value))
        buffer_append_text(buffer, "null");
    else if (size == 0)
        buffer_append_text(buffer, negative ? "-0.0" : "0.0");
    else if (!put_short_double(buffer, negative, size))
        put_printed_double(buffer, negative, size);
}

/* Whether digits x 10^exponent reads back to the float, straight or by way of a double. */
static bool reads_back_float(uint64_t digits, int exponent, float value)
{
    uint64_t bits;
    double back;

    if (!doc_number_scale(digits, exponent, &back))
        return false;
    memcpy(&bits, &back, sizeof(bits));
    if ((float)back != value)
        return false;
    /* Half way between two floats the way matters: the double may have been rounded to there. An
     * integer below 2^53 was not. */
    return (bits & 0x1fffffff) != 0x10000000 || (exponent >= 0 && back < 0x1p53);
}

/* The decimal exponent of a normal float, at most one too small. */
static int decimal_exponent(double value)
{
    uint64_t bits;
    int binary;

    memcpy(&bits, &value, sizeof(bits));
    binary = (int)(bits >> 52) - 1023;
    /* floor(binary x log10(2)) */
    return (binary * 78913) >> 18;
}

/* Scaling by an exact power of ten costs one rounding, far below the nine digits of a float. */
static bool put_short_float(struct buffer *buffer, bool negative, float value)
{
    int exponent;

    if (value < 1e-12F || value > 1e16F)
        return false;
    exponent = decimal_exponent((double)value);
    if ((double)value >= (exponent < 0 ? 10 / doc_number_powers_of_ten[-exponent]
                                       : 10 * doc_number_powers_of_ten[exponent]))
        exponent++;
    for (int count = FLT_DIG; count <= FLOAT_DIGITS_MAX; count++) {
        int scale = count - 1 - exponent;
        double scaled = scale < 0 ? (double)value / doc_number_powers_of_ten[-scale]
                                  : (double)value * doc_number_powers_of_ten[scale];
        uint64_t digits = (uint64_t)(scaled + 0.5);
        if (reads_back_float(digits, -scale, value)) {
            put_scaled(buffer, negative, digits, -scale);
            return true;
        }
        if (reads_back_float(digits + 1, -scale, value)) {
            put_scaled(buffer, negative, digits + 1, -scale);
            return true;
        }
    }
    return false;
}

static void put_printed_float(struct buffer *buffer, bool negative, float value)
{
    uint64_t digits = 0;
    int exponent = 0;

    for (int count = value < FLT_MIN ? 1 : FLT_DIG; count <= FLOAT_DIGITS_MAX; count++) {
        char text[40];
        (void)snprintf(text, sizeof(text), "%.*e", count - 1, (double)value);
        if (strtof(text, NULL) == value || count == FLOAT_DIGITS_MAX) {
            split_printed(text, &digits, &exponent);
            break;
        }
    }
    put_scaled(buffer, negative, digits, exponent);
}

void doc_write_json_float(struct buffer *buffer, float value)
{
    bool negative = signbit(value);
    float size = fabsf(value);

    if (!isfinite(value))
        buffer_append_text(buffer, "null");
    else if (size == 0)
        buffer_append_text(buffer, negative ? "-0.0" : "0.0");
    else if (!put_short_float(buffer, negative, size))
        put_printed_float(buffer, negative, size);
}

void doc_write_json_string(struct buffer *buffer, const char *text, size_t length)
{
    static const char hex[] = "0123456789abcdef";
    size_t plain = 0;

    buffer_reserve(buffer, length + 2);
    buffer_append_byte(buffer, '"');
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)text[i];
        const char *letter;
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buffer_append(buffer, text + plain, i - plain);
        plain = i + 1;
        buffer_append_byte(buffer, '\\');
        letter = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;
        if (letter) {
            buffer_append_byte(buffer, (uint8_t)letter[1]);
        } else {
            buffer_append_text(buffer, "u00");
            buffer_append_byte(buffer, (uint8_t)hex[c >> 4]);
            buffer_append_byte(buffer, (uint8_t)hex[c & 15]);
        }
    }
    buffer_append(buffer, text + plain, length - plain);
    buffer_append_byte(buffer, '"');
}

static void write_container(struct buffer *buffer, const struct doc *doc)
{
    bool map = doc->type == DOC_MAP;

    buffer_append_byte(buffer, map ? '{' : '[');
    for (uint32_t i = 0; i < doc->count; i++) {
        if (i)
            buffer_append_byte(buffer, ',');
        if (map) {
            doc_write_json_string(buffer, doc->items[2 * i].string, doc->items[2 * i].count);
            buffer_append_byte(buffer, ':');
        }
        doc_write_json(buffer, &doc->items[map ? 2 * i + 1 : i]);
    }
    buffer_append_byte(buffer, map ? '}' : ']');
}

static void write_floats(struct buffer *buffer, const struct doc *doc)
{
    buffer_append_byte(buffer, '[');
    for (uint32_t i = 0; i < doc->count; i++) {
        if (i > 0)
            buffer_append_byte(buffer, ',');
        doc_write_json_float(buffer, doc->floats[i]);
    }
    buffer_append_byte(buffer, ']');
}

void doc_write_json(struct buffer *buffer, const struct doc *doc)
{
    switch (doc->type) {
    case DOC_BOOL:
        buffer_append_text(buffer, doc->boolean ? "true" : "false");
        return;
    case DOC_INT:
        buffer_append_integer(buffer, doc->integer);
        return;
    case DOC_UINT:
        buffer_append_unsigned(buffer, doc->unsigned_integer, 1);
        return;
    case DOC_DOUBLE:
        doc_write_json_double(buffer, doc->number);
        return;
    case DOC_STRING:
        doc_write_json_string(buffer, doc->string, doc->count);
        return;
    case DOC_ARRAY:
    case DOC_MAP:
        write_container(buffer, doc);
        return;
    case DOC_FLOATS:
        write_floats(buffer, doc);
        return;
    default: /* null, and bytes, which JSON has no form for */
        buffer_append_text(buffer, "null");
        return;
    }
}

/* YAML. */

/* The bytes of the character at `at`, and its number, where JSON allows it in a string and YAML does not; 0: YAML
 * allows it, too. Such characters stand in strings only. */
static size_t yaml_refuses(const unsigned char *at, size_t left, unsigned *number)
{
    if (at[0] == 0x7f) {
        *number = at[0];
        return 1;
    }
    if (left >= 2 && at[0] == 0xc2 && at[1] < 0xa0) { /* U+0080 to U+009F */
        *number = at[1];
        return 2;
    }
    if (left < 3 || (at[0] & 0xf0) != 0xe0)
        return 0;
    *number = (at[0] & 15U) << 12 | (at[1] & 63U) << 6 | (at[2] & 63U);
    return *number == 0x2028 || *number == 0x2029 || *number == 0xfeff || *number >= 0xfffe ? 3 : 0;
}

static void append_as_yaml(struct buffer *buffer, const struct buffer *json)
{
    size_t plain = 0, bytes;
    unsigned number;

    for (size_t i = 0; i < json->size; i += bytes ? bytes : 1) {
        bytes = yaml_refuses(json->data + i, json->size - i, &number);
        if (bytes == 0)
            continue;
        buffer_append(buffer, json->data + plain, i - plain);
        buffer_append_format(buffer, "\\u%04x", number);
        plain = i + bytes;
    }
    buffer_append(buffer, json->data + plain, json->size - plain);
}

void doc_write_yaml(struct buffer *buffer, const struct doc *doc)
{
    struct buffer json = {0};

    doc_write_json(&json, doc);
    append_as_yaml(buffer, &json);
    buffer_destroy(&json);
}

void doc_write_yaml_string(struct buffer *buffer, const char *text, size_t length)
{
    const struct doc doc = {.type = DOC_STRING, .count = (uint32_t)length, .string = text};

    doc_write_yaml(buffer, &doc);
}
