/* Strings: slices of the input where no escape occurs, unescaped copies in the arena otherwise. */
#include "base/doc_json_value.h"

#include <string.h>

#include "base/text.h"

static int hex4(const char *at, uint32_t *code)
{
    uint32_t value = 0;

    for (int i = 0; i < 4; i++) {
        char c = at[i];
        if (json_is_digit(c))
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
static int take_unicode(struct json_parser *parser, const char **at, const char *end,
                        uint32_t *code)
{
    uint32_t low;

    if (end - *at < 4 || hex4(*at, code) != 0)
        return json_fail(parser, *at, "expected four hex digits after \\u");
    *at += 4;
    if (*code < 0xd800 || *code > 0xdfff)
        return 0;
    if (*code > 0xdbff || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u' ||
        hex4(*at + 2, &low) != 0 || low < 0xdc00 || low > 0xdfff)
        return json_fail(parser, *at - 6, "a lone surrogate is no character");
    *at += 6;
    *code = 0x10000 + ((*code - 0xd800) << 10) + (low - 0xdc00);
    return 0;
}

static int unescape(struct json_parser *parser, const char *at, const char *end, struct doc *out)
{
    /* No escape is shorter than what it stands for. */
    char *text = arena_alloc(parser->arena, (size_t)(end - at), 1);
    char *to = text;

    if (!text)
        return json_fail_memory(parser);
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
            return json_fail(parser, at, "unknown escape");
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

int json_parse_string(struct json_parser *parser, struct doc *out)
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
            return json_fail(parser, end, "the string is not closed");
        if (*at == '"')
            break;
        if ((unsigned char)*at < 0x20)
            return json_fail(parser, at, "a control character must be escaped");
        high |= (unsigned char)*at >= 0x80;
        if (*at == '\\') {
            if (end - at < 2)
                return json_fail(parser, end, "the string is not closed");
            escaped = true;
            at++;
        }
    }
    if (high) {
        size_t valid = text_utf8_valid(start, (size_t)(at - start));
        if (valid != (size_t)(at - start))
            return json_fail(parser, start + valid, "not UTF-8");
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
