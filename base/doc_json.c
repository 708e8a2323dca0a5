/* RFC 8259, strict: no comments, no trailing commas, no NaN, no lone surrogates, no bytes that are
 * not UTF-8, nothing behind the value. A number beyond a double's range is an error, because what
 * it meant is lost. Written for arrays of floats: see doc_json_floats.c. */
#include "base/doc_internal.h"

#include <string.h>

#include "base/text.h"

static int fail_code(struct json_parser *parser, int code, const char *at, const char *what)
{
    char path[DOC_PATH_BYTES];

    doc_frame_path(parser->frame, &parser->scratch, path);
    return error_set(parser->error, code, "byte %zu (%s): %s", (size_t)(at - parser->start), path,
                     what);
}

int json_fail(struct json_parser *parser, const char *at, const char *what)
{
    return fail_code(parser, ERROR_INVALID, at, what);
}

int json_fail_memory(struct json_parser *parser)
{
    return fail_code(parser, ERROR_MEMORY, parser->at, "does not fit the memory limit");
}

/* Strings: slices of the input where no escape occurs, unescaped copies in the arena otherwise. */

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

enum { MAX_BYTES_DEFAULT = 64 * 1024 * 1024, MAX_DEPTH_DEFAULT = 64 };

static int parse_value(struct json_parser *parser, struct doc *out);

static inline void skip_space(struct json_parser *parser)
{
    const char *at = parser->at;

    while (at < parser->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t'))
        at++;
    parser->at = at;
}

static int parse_word(struct json_parser *parser, const char *word, size_t length)
{
    if ((size_t)(parser->end - parser->at) < length || memcmp(parser->at, word, length) != 0)
        return json_fail(parser, parser->at, "expected a value");
    parser->at += length;
    return 0;
}

static int parse_key(struct json_parser *parser)
{
    struct doc key;
    struct doc *slot;
    int result;

    skip_space(parser);
    if (parser->at == parser->end || *parser->at != '"')
        return json_fail(parser, parser->at, "expected a key in quotes");
    result = json_parse_string(parser, &key);
    if (result != 0)
        return result;
    slot = doc_scratch_push(&parser->scratch);
    if (!slot)
        return json_fail_memory(parser);
    *slot = key;
    skip_space(parser);
    if (parser->at == parser->end || *parser->at != ':')
        return json_fail(parser, parser->at, "expected ':'");
    parser->at++;
    return 0;
}

/* One item, and behind it a comma or the end (*closed). */
static int parse_item(struct json_parser *parser, char close, bool *closed)
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
        return json_fail_memory(parser);
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
    return json_fail(parser, parser->at,
                     close == ']' ? "expected ',' or ']'" : "expected ',' or '}'");
}

static int parse_container(struct json_parser *parser, bool map, struct doc *out)
{
    struct doc_frame frame = {parser->frame, parser->scratch.count, map};
    char close = map ? '}' : ']';
    bool closed = false;
    int result;

    if (parser->depth == parser->max_depth)
        return json_fail(parser, parser->at, "nested too deep");
    parser->depth++;
    parser->frame = &frame;
    parser->at++;
    skip_space(parser);
    if (parser->at < parser->end && *parser->at == close) {
        parser->at++;
        closed = true;
    }
    while (!closed) {
        result = 0;
        if (map)
            result = parse_key(parser);
        else
            json_take_floats(parser);
        if (result == 0)
            result = parse_item(parser, close, &closed);
        /* The frame dies with this call; the error's text has been written. */
        if (result != 0)
            return result;
    }
    parser->depth--;
    parser->frame = frame.parent;
    return doc_scratch_close(&parser->scratch, &frame, parser->arena, out)
               ? 0
               : json_fail_memory(parser);
}

static int parse_value(struct json_parser *parser, struct doc *out)
{
    out->count = 0;
    out->place = (uint32_t)(parser->at - parser->start);
    if (parser->at == parser->end)
        return json_fail(parser, parser->at, "expected a value");
    switch (*parser->at) {
    case '-':
    case '0' ... '9':
        return json_parse_number(parser, out);
    case '"':
        return json_parse_string(parser, out);
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
        return json_fail(parser, parser->at, "expected a value");
    }
}

int doc_parse_json(struct arena *arena, const char *text, size_t size_bytes,
                   const struct doc_limits *limits, struct doc *out, struct error *error)
{
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : MAX_BYTES_DEFAULT;
    struct json_parser parser = {
        .start = text,
        .at = text,
        .end = text + size_bytes,
        .arena = arena,
        .max_depth = limits && limits->max_depth ? limits->max_depth : MAX_DEPTH_DEFAULT,
        .error = error,
    };
    int result;

    if (size_bytes > max_bytes || size_bytes > UINT32_MAX)
        return error_set(error, ERROR_INVALID, "%zu bytes of JSON exceed the limit of %zu",
                         size_bytes, max_bytes);
    doc_scratch_create(&parser.scratch, arena);
    skip_space(&parser);
    result = parse_value(&parser, out);
    if (result == 0) {
        skip_space(&parser);
        if (parser.at != parser.end)
            result = json_fail(&parser, parser.at, "unexpected text behind the value");
    }
    doc_scratch_destroy(&parser.scratch);
    return result;
}
