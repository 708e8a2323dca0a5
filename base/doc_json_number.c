/* Numbers: the digits are gathered in one pass that also checks the grammar, and the value comes
 * from them without a second look at the text (doc_number.c). */
#include "base/doc_json_value.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc_number.h"
#include "base/memory.h"
#include "base/text.h"

enum { DIGITS_EXACT = 19 };

/* Eight digits at once (Lemire, "Quickly parsing eight digits", 2018). */
static inline bool eight_digits(uint64_t word)
{
    return ((word & UINT64_C(0xf0f0f0f0f0f0f0f0)) |
            (((word + UINT64_C(0x0606060606060606)) & UINT64_C(0xf0f0f0f0f0f0f0f0)) >> 4)) ==
           UINT64_C(0x3333333333333333);
}

static inline uint64_t eight_digits_value(uint64_t word)
{
    const uint64_t mask = UINT64_C(0x000000ff000000ff);
    const uint64_t hundreds = UINT64_C(0x000f424000000064); /* 100 + (10^6 << 32) */
    const uint64_t ones = UINT64_C(0x0000271000000001);     /* 1 + (10^4 << 32) */

    word -= UINT64_C(0x3030303030303030);
    word = word * 10 + (word >> 8);
    return ((word & mask) * hundreds + ((word >> 16) & mask) * ones) >> 32;
}

/* What parse_number has seen so far. */
struct number {
    const char *start; /* sign included */
    const char *end;
    uint64_t digits; /* wraps past 19 digits; then not used */
    int64_t exponent;
    size_t digit_count; /* without leading zeros */
    bool negative;
    bool integer; /* no fraction, no exponent */
};

static inline const char *take_digits(const char *at, const char *end, uint64_t *digits)
{
    uint64_t value = *digits;

    while (end - at >= 8) {
        uint64_t word;
        memcpy(&word, at, sizeof(word));
        if (!eight_digits(word))
            break;
        value = value * 100000000 + eight_digits_value(word);
        at += 8;
    }
    while (at < end && json_is_digit(*at))
        value = value * 10 + (uint64_t)(*at++ - '0');
    *digits = value;
    return at;
}

/* The slow road: more than 19 digits, subnormals and the edge of the range. */
static int number_with_strtod(struct json_parser *parser, const struct number *number,
                              struct doc *out)
{
    size_t length = (size_t)(number->end - number->start);
    char small[64];
    char *copy = small;

    if (length >= sizeof(small)) {
        copy = memory_checked(malloc(length + 1));
    }
    memcpy(copy, number->start, length);
    copy[length] = '\0';
    /* The program never sets a locale, so that the decimal point is a point. */
    out->number = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    out->type = DOC_DOUBLE;
    return isinf(out->number) ? json_fail(parser, number->start, "the number does not fit a double")
                              : 0;
}

static int number_value(struct json_parser *parser, const struct number *number, struct doc *out)
{
    if (number->integer) {
        uint64_t digits = number->digits;
        /* A twentieth digit may still fit: then the text has it without wrapping. */
        if (number->digit_count > DIGITS_EXACT &&
            text_parse_u64(number->start + number->negative,
                           (size_t)(number->end - number->start) - number->negative, &digits) != 0)
            return number_with_strtod(parser, number, out);
        if (digits <= INT64_MAX && !(number->negative && digits == 0)) {
            out->type = DOC_INT;
            out->integer = number->negative ? -(int64_t)digits : (int64_t)digits;
            return 0;
        }
        if (!number->negative) {
            out->type = DOC_UINT;
            out->unsigned_integer = digits;
            return 0;
        }
        if (digits == UINT64_C(1) << 63) {
            out->type = DOC_INT;
            out->integer = INT64_MIN;
            return 0;
        }
        if (digits != 0)
            return number_with_strtod(parser, number, out);
        /* "-0" keeps its sign. */
    }
    if (number->digit_count > DIGITS_EXACT ||
        !doc_number_scale(number->digits, number->exponent, &out->number))
        return number_with_strtod(parser, number, out);
    out->type = DOC_DOUBLE;
    if (number->negative)
        out->number = -out->number;
    return 0;
}

static int take_exponent(struct json_parser *parser, struct number *number, const char **at)
{
    const char *cursor = *at + 1;
    const char *end = parser->end;
    int64_t exponent = 0;
    bool negative = false;

    if (cursor < end && (*cursor == '+' || *cursor == '-'))
        negative = *cursor++ == '-';
    if (cursor == end || !json_is_digit(*cursor))
        return json_fail(parser, cursor, "expected a digit in the exponent");
    for (; cursor < end && json_is_digit(*cursor); cursor++)
        if (exponent < 100000000) /* far beyond any double; must not overflow */
            exponent = exponent * 10 + (*cursor - '0');
    number->exponent += negative ? -exponent : exponent;
    number->integer = false;
    *at = cursor;
    return 0;
}

int json_parse_number(struct json_parser *parser, struct doc *out)
{
    struct number number = {.start = parser->at, .integer = true};
    const char *at = parser->at;
    const char *end = parser->end;
    const char *digits;

    if (*at == '-') {
        number.negative = true;
        at++;
    }
    digits = at;
    if (at == end || !json_is_digit(*at))
        return json_fail(parser, at, "expected a digit");
    if (*at == '0') {
        at++;
        if (at < end && json_is_digit(*at))
            return json_fail(parser, at, "a number must not start with 0");
    } else {
        at = take_digits(at, end, &number.digits);
        number.digit_count = (size_t)(at - digits);
    }
    if (at < end && *at == '.') {
        const char *fraction = ++at;
        /* Zeros in front do not count as digits when nothing precedes them. */
        if (number.digit_count == 0)
            while (at < end && *at == '0')
                at++;
        digits = at;
        at = take_digits(at, end, &number.digits);
        if (at == fraction)
            return json_fail(parser, at, "expected a digit after the decimal point");
        number.digit_count += (size_t)(at - digits);
        number.exponent = -(int64_t)(at - fraction);
        number.integer = false;
    }
    if (at < end && (*at | 0x20) == 'e' && take_exponent(parser, &number, &at) != 0)
        return ERROR_INVALID;
    number.end = at;
    parser->at = at;
    return number_value(parser, &number, out);
}
