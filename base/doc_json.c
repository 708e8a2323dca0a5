/* RFC 8259, strict: no comments, no trailing commas, no NaN, no lone surrogates, no bytes that are
 * not UTF-8, nothing behind the value. A number beyond a double's range is an error, because what
 * it meant is lost.
 *
 * Written for arrays of floats: the digits are gathered in one pass that also checks the grammar,
 * and the value comes from them without a second look at the text (doc_number.c). */
#include "base/doc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/doc_number.h"
#include "base/doc_scratch.h"
#include "base/text.h"

enum { MAX_BYTES_DEFAULT = 64 * 1024 * 1024, MAX_DEPTH_DEFAULT = 64, DIGITS_EXACT = 19 };

struct parser {
    const char *start;
    const char *at;
    const char *end;
    struct arena *arena;
    struct doc_scratch scratch;
    const struct doc_frame *frame; /* innermost open container */
    uint32_t depth;
    uint32_t max_depth;
    struct error *error;
};

static int parse_value(struct parser *parser, struct doc *out);

static int fail_code(struct parser *parser, int code, const char *at, const char *what)
{
    char path[DOC_PATH_BYTES];

    doc_frame_path(parser->frame, &parser->scratch, path);
    return error_set(parser->error, code, "byte %zu (%s): %s", (size_t)(at - parser->start), path,
                     what);
}

static int fail(struct parser *parser, const char *at, const char *what)
{
    return fail_code(parser, ERROR_INVALID, at, what);
}

static int fail_memory(struct parser *parser)
{
    return fail_code(parser, ERROR_MEMORY, parser->at, "does not fit the memory limit");
}

static inline void skip_space(struct parser *parser)
{
    const char *at = parser->at;

    while (at < parser->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    parser->at = at;
}

static inline bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

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
    while (at < end && is_digit(*at))
        value = value * 10 + (uint64_t)(*at++ - '0');
    *digits = value;
    return at;
}

/* The slow road: more than 19 digits, subnormals and the edge of the range. */
static int number_with_strtod(struct parser *parser, const struct number *number, struct doc *out)
{
    size_t length = (size_t)(number->end - number->start);
    char small[64];
    char *copy = small;

    if (length >= sizeof(small)) {
        copy = malloc(length + 1);
        if (!copy)
            abort();
    }
    memcpy(copy, number->start, length);
    copy[length] = '\0';
    /* The program never sets a locale, so that the decimal point is a point. */
    out->number = strtod(copy, NULL);
    if (copy != small)
        free(copy);
    out->type = DOC_DOUBLE;
    return isinf(out->number) ? fail(parser, number->start, "the number does not fit a double") : 0;
}

static int number_value(struct parser *parser, const struct number *number, struct doc *out)
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

static int take_exponent(struct parser *parser, struct number *number, const char **at)
{
    const char *cursor = *at + 1;
    const char *end = parser->end;
    int64_t exponent = 0;
    bool negative = false;

    if (cursor < end && (*cursor == '+' || *cursor == '-'))
        negative = *cursor++ == '-';
    if (cursor == end || !is_digit(*cursor))
        return fail(parser, cursor, "expected a digit in the exponent");
    for (; cursor < end && is_digit(*cursor); cursor++)
        if (exponent < 100000000) /* far beyond any double; must not overflow */
            exponent = exponent * 10 + (*cursor - '0');
    number->exponent += negative ? -exponent : exponent;
    number->integer = false;
    *at = cursor;
    return 0;
}

static int parse_number(struct parser *parser, struct doc *out)
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
    if (at == end || !is_digit(*at))
        return fail(parser, at, "expected a digit");
    if (*at == '0') {
        at++;
        if (at < end && is_digit(*at))
            return fail(parser, at, "a number must not start with 0");
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
            return fail(parser, at, "expected a digit after the decimal point");
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

static int hex4(const char *at, uint32_t *code)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++) {
        char c = at[i];
        if (is_digit(c))
            value = value << 4 | (uint32_t)(c - '0');
        else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
            value = value << 4 | (uint32_t)((c | 0x20) - 'a' + 10);
        else
            return ERROR_INVALID;
    }
    *code = value;
    return 0;
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
    } else if (code < 0x800) {
        *to++ = (char)(0xc0 | code >> 6);
        *to++ = (char)(0x80 | (code & 63));
    } else if (code < 0x10000) {
        *to++ = (char)(0xe0 | code >> 12);
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    } else {
        *to++ = (char)(0xf0 | code >> 18);
        *to++ = (char)(0x80 | (code >> 12 & 63));
        *to++ = (char)(0x80 | (code >> 6 & 63));
        *to++ = (char)(0x80 | (code & 63));
    }
    return to;
}

/* `*at` is behind "\u"; moves it behind the escape, or behind both of a surrogate pair. */
static int take_unicode(struct parser *parser, const char **at, const char *end, uint32_t *code)
{
    uint32_t low;

    if (end - *at < 4 || hex4(*at, code) != 0)
        return fail(parser, *at, "expected four hex digits after \\u");
    *at += 4;
    if (*code < 0xd800 || *code > 0xdfff)
        return 0;
    if (*code > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' ||
        hex4(*at + 2, &low) != 0 || low < 0xdc00 || low > 0xdfff)
        return fail(parser, *at - 6, "a lone surrogate is no character");
    *at += 6;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return 0;
}

static int unescape(struct parser *parser, const char *at, const char *end, struct doc *out)
{
    /* No escape is shorter than what it stands for. */
    char *text = arena_alloc(parser->arena, (size_t)(end - at), 1);
    char *to = text;

    if (!text)
        return fail_memory(parser);
    while (at < end) {
        static const char from_letters[] = "\"\\/bfnrt";
        static const char to_letters[] = "\"\\/\b\f\n\r\t";
        const char *letter;
        uint32_t code;
        if (*at != '\\') {
            *to++ = *at++;
            continue;
        }
        at++; /* the scan saw a byte behind every backslash */
        if (*at == 'u') {
            at++;
            if (take_unicode(parser, &at, end, &code) != 0)
                return ERROR_INVALID;
            to = put_utf8(to, code);
            continue;
        }
        letter = memchr(from_letters, *at, sizeof(from_letters) - 1);
        if (!letter)
            return fail(parser, at, "unknown escape");
        *to++ = to_letters[letter - from_letters];
        at++;
    }
    out->string = text;
    out->count = (uint32_t)(to - text);
    return 0;
}

/* Any byte that ends the fast scan: a quote, a backslash, a control byte or a byte above 0x7f. */
static inline uint64_t special_bytes(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t highs = UINT64_C(0x8080808080808080);
    uint64_t quote = word ^ (ones * '"');
    uint64_t backslash = word ^ (ones * '\\');

    return ((word - ones * 0x20) | (quote - ones) | (backslash - ones) | word) & highs;
}

static int parse_string(struct parser *parser, struct doc *out)
{
    const char *start = parser->at + 1;
    const char *at = start;
    const char *end = parser->end;
    bool escaped = false;
    bool high = false;

    for (;; at++) {
        uint64_t word;
        while (end - at >= 8) {
            memcpy(&word, at, sizeof(word));
            if (special_bytes(word))
                break;
            at += 8;
        }
        if (at >= end)
            return fail(parser, end, "the string is not closed");
        if (*at == '"')
            break;
        if ((unsigned char)*at < 0x20)
            return fail(parser, at, "a control character must be escaped");
        high |= (unsigned char)*at >= 0x80;
        if (*at == '\\') {
            if (end - at < 2)
                return fail(parser, end, "the string is not closed");
            escaped = true;
            at++;
        }
    }
    if (high) {
        size_t valid = text_utf8_valid(start, (size_t)(at - start));
        if (valid != (size_t)(at - start))
            return fail(parser, start + valid, "not UTF-8");
    }
    out->type = DOC_STRING;
    out->place = (uint32_t)(parser->at - parser->start);
    out->string = start;
    out->count = (uint32_t)(at - start);
    if (escaped) {
        int result = unescape(parser, start, at, out);
        if (result != 0)
            return result;
    }
    parser->at = at + 1;
    return 0;
}

static int parse_word(struct parser *parser, const char *word, size_t length)
{
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, word, length) != 0)
        return fail(parser, parser->at, "expected a value");
    parser->at += length;
    return 0;
}

static int parse_key(struct parser *parser)
{
    struct doc key;
    struct doc *slot;
    int result;

    skip_space(parser);
    if (parser->at == parser->end || *parser->at != '"')
        return fail(parser, parser->at, "expected a key in quotes");
    result = parse_string(parser, &key);
    if (result != 0)
        return result;
    slot = doc_scratch_push(&parser->scratch);
    if (!slot)
        return fail_memory(parser);
    *slot = key;
    skip_space(parser);
    if (parser->at == parser->end || *parser->at != ':')
        return fail(parser, parser->at, "expected ':'");
    parser->at++;
    return 0;
}

/* One item, and behind it a comma or the end (*closed). */
static int parse_item(struct parser *parser, char close, bool *closed)
{
    struct doc item;
    struct doc *slot;
    int result;

    skip_space(parser);
    /* The item is pushed when it is complete: until then its place in the path is the count. */
    result = parse_value(parser, &item);
    if (result != 0)
        return result;
    slot = doc_scratch_push(&parser->scratch);
    if (!slot)
        return fail_memory(parser);
    *slot = item;
    if (parser->at < parser->end && *parser->at == ',') {
        parser->at++;
        return 0;
    }
    skip_space(parser);
    if (parser->at < parser->end && *parser->at == close) {
        parser->at++;
        *closed = true;
        return 0;
    }
    if (parser->at < parser->end && *parser->at == ',') {
        parser->at++;
        return 0;
    }
    return fail(parser, parser->at, close == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
}

static int parse_container(struct parser *parser, bool map, struct doc *out)
{
    struct doc_frame frame = {parser->frame, parser->scratch.count, map};
    char close = map ? '}' : ']';
    bool closed = false;
    int result;

    if (parser->depth == parser->max_depth)
        return fail(parser, parser->at, "nested too deep");
    parser->depth++;
    parser->frame = &frame;
    parser->at++;
    skip_space(parser);
    if (parser->at < parser->end && *parser->at == close) {
        parser->at++;
        closed = true;
    }
    while (!closed) {
        result = map ? parse_key(parser) : 0;
        if (result == 0)
            result = parse_item(parser, close, &closed);
        /* The frame dies with this call; the error's text has been written. */
        if (result != 0)
            return result;
    }
    parser->depth--;
    parser->frame = frame.parent;
    return doc_scratch_close(&parser->scratch, &frame, parser->arena, out) ? 0
                                                                           : fail_memory(parser);
}

static int parse_value(struct parser *parser, struct doc *out)
{
    out->count = 0;
    out->place = (uint32_t)(parser->at - parser->start);
    if (parser->at == parser->end)
        return fail(parser, parser->at, "expected a value");
    switch (*parser->at) {
    case '-':
    case '0' ... '9':
        return parse_number(parser, out);
    case '"':
        return parse_string(parser, out);
    case '[':
        return parse_container(parser, false, out);
    case '{':
        return parse_container(parser, true, out);
    case 't':
        out->type = DOC_BOOL;
        out->boolean = true;
        return parse_word(parser, "true", 4);
    case 'f':
        out->type = DOC_BOOL;
        out->boolean = false;
        return parse_word(parser, "false", 5);
    case 'n':
        out->type = DOC_NULL;
        return parse_word(parser, "null", 4);
    default:
        return fail(parser, parser->at, "expected a value");
    }
}

int doc_parse_json(struct arena *arena, const char *text, size_t size_bytes,
                   const struct doc_limits *limits, struct doc *out, struct error *error)
{
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : MAX_BYTES_DEFAULT;
    struct parser parser = {
        .start = text,
        .at = text,
        .end = text + size_bytes,
        .arena = arena,
        .max_depth = limits && limits->max_depth ? limits->max_depth : MAX_DEPTH_DEFAULT,
        .error = error,
    };
    int result;

    if (size_bytes > max_bytes || size_bytes > UINT32_MAX)
        return error_set(error, ERROR_INVALID, "%zu bytes of JSON are over the limit of %zu",
                         size_bytes, max_bytes);
    doc_scratch_create(&parser.scratch, arena);
    skip_space(&parser);
    result = parse_value(&parser, out);
    if (result == 0) {
        skip_space(&parser);
        if (parser.at != parser.end)
            result = fail(&parser, parser.at, "unexpected text behind the value");
    }
    doc_scratch_destroy(&parser.scratch);
    return result;
}
