/* RFC 8259, strict: no comments, no trailing commas, no NaN, no lone surrogates, no bytes that are
 * not UTF-8, nothing behind the value. A number beyond a double's range is an error, because what
 * it meant is lost. Written for arrays of floats: see doc_json_floats.c. */
#include "base/doc_json_value.h"

#include <string.h>

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
