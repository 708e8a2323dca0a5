/* MessagePack (github.com/msgpack/msgpack/blob/master/spec.md), without ext types.
 *
 * First byte: 00-7f int, 80-8f map, 90-9f array, a0-bf str, c0 nil, c2 c3 bool, c4-c6 bin,
 * ca cb float, cc-cf uint, d0-d3 int, d9-db str, dc dd array, de df map, e0-ff negative int;
 * c7-c9 d4-d8 ext, c1 never used. Everything is big-endian. */
#include "base/doc_internal.h"

#include <math.h>
#include <string.h>

#include "base/text.h"

enum { MAX_BYTES_DEFAULT = 64 * 1024 * 1024, MAX_DEPTH_DEFAULT = 64 };

struct parser {
    const uint8_t *start;
    const uint8_t *at;
    const uint8_t *end;
    struct arena *arena;
    struct doc_scratch scratch;
    const struct doc_frame *frame;
    uint32_t depth;
    uint32_t max_depth;
    struct error *error;
};

static int parse_value(struct parser *parser, struct doc *out);

static int fail(struct parser *parser, int code, const char *what)
{
    char path[DOC_PATH_BYTES];

    doc_frame_path(parser->frame, &parser->scratch, path);
    return error_set(parser->error, code, "byte %zu (%s): %s", (size_t)(parser->at - parser->start),
                     path, what);
}

static size_t bytes_left(const struct parser *parser)
{
    return (size_t)(parser->end - parser->at);
}

static int take_number(struct parser *parser, size_t size_bytes, uint64_t *value)
{
    uint64_t result = 0;

    if (bytes_left(parser) < size_bytes)
        return fail(parser, ERROR_INVALID, "the input ends inside a value");
    for (size_t i = 0; i < size_bytes; i++)
        result = result << 8 | *parser->at++;
    *value = result;
    return 0;
}

static int parse_unsigned(struct parser *parser, size_t size_bytes, struct doc *out)
{
    uint64_t value = 0;
    int result = take_number(parser, size_bytes, &value);

    if (result != 0)
        return result;
    out->type = value > INT64_MAX ? DOC_UINT : DOC_INT;
    out->unsigned_integer = value;
    return 0;
}

static int parse_signed(struct parser *parser, size_t size_bytes, struct doc *out)
{
    unsigned unused_bits = 64 - 8 * (unsigned)size_bytes;
    uint64_t value = 0;
    int result = take_number(parser, size_bytes, &value);

    if (result != 0)
        return result;
    out->type = DOC_INT;
    /* To the top and back, so that the sign fills up. */
    out->integer = (int64_t)(value << unused_bits) >> unused_bits;
    return 0;
}

static int parse_float(struct parser *parser, size_t size_bytes, struct doc *out)
{
    uint64_t bits = 0;
    uint32_t narrow_bits;
    float narrow;
    int result = take_number(parser, size_bytes, &bits);

    if (result != 0)
        return result;
    out->type = DOC_DOUBLE;
    if (size_bytes == 8) {
        memcpy(&out->number, &bits, sizeof(bits));
        return 0;
    }
    narrow_bits = (uint32_t)bits;
    memcpy(&narrow, &narrow_bits, sizeof(narrow));
    out->number = (double)narrow;
    return 0;
}

static int parse_bytes(struct parser *parser, uint64_t count, enum doc_type type, struct doc *out)
{
    if (count > bytes_left(parser))
        return fail(parser, ERROR_INVALID, "the input ends inside a string");
    if (type == DOC_STRING) {
        size_t valid = text_utf8_valid((const char *)parser->at, count);
        if (valid != count) {
            parser->at += valid;
            return fail(parser, ERROR_INVALID, "not UTF-8");
        }
    }
    out->type = type;
    out->count = (uint32_t)count;
    out->string = (const char *)parser->at;
    parser->at += count;
    return 0;
}

static int parse_container(struct parser *parser, uint64_t count, bool map, struct doc *out)
{
    struct doc_frame frame = {parser->frame, parser->scratch.count, map};
    uint64_t items = map ? 2 * count : count;

    if (parser->depth == parser->max_depth)
        return fail(parser, ERROR_INVALID, "nested too deep");
    /* Every item has at least one byte. */
    if (items > bytes_left(parser))
        return fail(parser, ERROR_INVALID, "the count is larger than what is left");
    parser->depth++;
    parser->frame = &frame;
    for (uint64_t i = 0; i < items; i++) {
        struct doc item = {0};
        struct doc *slot;
        int result = parse_value(parser, &item);
        if (result != 0)
            return result;
        if (map && i % 2 == 0 && item.type != DOC_STRING)
            return fail(parser, ERROR_INVALID, "a key must be a string");
        slot = doc_scratch_push(&parser->scratch);
        if (!slot)
            return fail(parser, ERROR_MEMORY, "does not fit the memory limit");
        *slot = item;
    }
    parser->depth--;
    parser->frame = frame.parent;
    if (!doc_scratch_close(&parser->scratch, &frame, parser->arena, out))
        return fail(parser, ERROR_MEMORY, "does not fit the memory limit");
    return 0;
}

static int parse_counted(struct parser *parser, uint8_t tag, struct doc *out)
{
    /* bin c4-c6, str d9-db: counts of 1, 2, 4 bytes; array dc dd, map de df: of 2 and 4. */
    size_t size_bytes = tag < 0xdc ? (size_t)1 << ((tag - (tag < 0xd9 ? 0xc4 : 0xd9)))
                                   : (size_t)2 << ((tag - 0xdc) & 1);
    uint64_t count = 0;
    int result = take_number(parser, size_bytes, &count);

    if (result != 0)
        return result;
    if (tag < 0xd9)
        return parse_bytes(parser, count, DOC_BYTES, out);
    if (tag < 0xdc)
        return parse_bytes(parser, count, DOC_STRING, out);
    return parse_container(parser, count, tag >= 0xde, out);
}

static int parse_tagged(struct parser *parser, uint8_t tag, struct doc *out)
{
    switch (tag) {
    case 0xc0:
        out->type = DOC_NULL;
        return 0;
    case 0xc2:
    case 0xc3:
        out->type = DOC_BOOL;
        out->boolean = tag == 0xc3;
        return 0;
    case 0xca:
    case 0xcb:
        return parse_float(parser, tag == 0xca ? 4 : 8, out);
    case 0xcc ... 0xcf:
        return parse_unsigned(parser, (size_t)1 << (tag - 0xcc), out);
    case 0xd0 ... 0xd3:
        return parse_signed(parser, (size_t)1 << (tag - 0xd0), out);
    case 0xc4 ... 0xc6:
    case 0xd9 ... 0xdf:
        return parse_counted(parser, tag, out);
    case 0xc1:
        return fail(parser, ERROR_INVALID, "0xc1 starts no value");
    default:
        return fail(parser, ERROR_UNSUPPORTED, "extension types are not supported");
    }
}

static int parse_value(struct parser *parser, struct doc *out)
{
    uint8_t tag;

    if (parser->at == parser->end)
        return fail(parser, ERROR_INVALID, "the input ends where a value should start");
    out->place = (uint32_t)(parser->at - parser->start);
    tag = *parser->at++;
    if (tag < 0x80 || tag >= 0xe0) {
        out->type = DOC_INT;
        out->integer = (int8_t)tag;
        return 0;
    }
    if (tag < 0x90)
        return parse_container(parser, tag & 15, true, out);
    if (tag < 0xa0)
        return parse_container(parser, tag & 15, false, out);
    if (tag < 0xc0)
        return parse_bytes(parser, tag & 31, DOC_STRING, out);
    return parse_tagged(parser, tag, out);
}

int doc_parse_msgpack_first(struct arena *arena, const uint8_t *bytes, size_t size_bytes,
                            const struct doc_limits *limits, struct doc *out, size_t *used_bytes,
                            struct error *error)
{
    size_t max_bytes = limits && limits->max_bytes ? limits->max_bytes : MAX_BYTES_DEFAULT;
    struct parser parser = {
        .start = bytes,
        .at = bytes,
        .end = bytes + size_bytes,
        .arena = arena,
        .max_depth = limits && limits->max_depth ? limits->max_depth : MAX_DEPTH_DEFAULT,
        .error = error,
    };
    struct doc doc = {0};
    int result;

    if (size_bytes > max_bytes || size_bytes > UINT32_MAX)
        return error_set(error, ERROR_INVALID, "%zu bytes of MessagePack exceed the limit of %zu",
                         size_bytes, max_bytes);
    doc_scratch_create(&parser.scratch, arena);
    result = parse_value(&parser, &doc);
    if (result == 0 && !used_bytes && parser.at != parser.end)
        result = fail(&parser, ERROR_INVALID, "unexpected bytes behind the value");
    doc_scratch_destroy(&parser.scratch);
    *out = doc;
    if (used_bytes)
        *used_bytes = (size_t)(parser.at - bytes);
    return result;
}

int doc_parse_msgpack(struct arena *arena, const uint8_t *bytes, size_t size_bytes,
                      const struct doc_limits *limits, struct doc *out, struct error *error)
{
    return doc_parse_msgpack_first(arena, bytes, size_bytes, limits, out, NULL, error);
}

static void put(struct buffer *buffer, uint8_t tag, uint64_t value, unsigned size_bytes)
{
    uint8_t bytes[9] = {tag};

    for (unsigned i = 0; i < size_bytes; i++)
        bytes[1 + i] = (uint8_t)(value >> (8 * (size_bytes - 1 - i)));
    buffer_append(buffer, bytes, 1 + size_bytes);
}

static void write_unsigned(struct buffer *buffer, uint64_t value)
{
    if (value < 0x80)
        buffer_append_byte(buffer, (uint8_t)value);
    else if (value <= UINT8_MAX)
        put(buffer, 0xcc, value, 1);
    else if (value <= UINT16_MAX)
        put(buffer, 0xcd, value, 2);
    else if (value <= UINT32_MAX)
        put(buffer, 0xce, value, 4);
    else
        put(buffer, 0xcf, value, 8);
}

static void write_integer(struct buffer *buffer, int64_t value)
{
    if (value >= 0)
        write_unsigned(buffer, (uint64_t)value);
    else if (value >= -32)
        buffer_append_byte(buffer, (uint8_t)value);
    else if (value >= INT8_MIN)
        put(buffer, 0xd0, (uint64_t)value, 1);
    else if (value >= INT16_MIN)
        put(buffer, 0xd1, (uint64_t)value, 2);
    else if (value >= INT32_MIN)
        put(buffer, 0xd2, (uint64_t)value, 4);
    else
        put(buffer, 0xd3, (uint64_t)value, 8);
}

static void write_double(struct buffer *buffer, double value)
{
    float narrow = (float)value;
    uint64_t bits;

    /* A NaN keeps no more than its kind. */
    if ((double)narrow == value || isnan(value)) {
        uint32_t narrow_bits;
        memcpy(&narrow_bits, &narrow, sizeof(narrow));
        put(buffer, 0xca, narrow_bits, 4);
        return;
    }
    memcpy(&bits, &value, sizeof(value));
    put(buffer, 0xcb, bits, 8);
}

/* `tags` for counts of 1 (0: no such form), 2 and 4 bytes. */
static void write_count(struct buffer *buffer, uint32_t count, const uint8_t tags[3])
{
    if (count <= UINT8_MAX && tags[0])
        put(buffer, tags[0], count, 1);
    else if (count <= UINT16_MAX)
        put(buffer, tags[1], count, 2);
    else
        put(buffer, tags[2], count, 4);
}

static void write_head(struct buffer *buffer, const struct doc *doc)
{
    static const uint8_t string_tags[] = {0xd9, 0xda, 0xdb};
    static const uint8_t bytes_tags[] = {0xc4, 0xc5, 0xc6};
    static const uint8_t array_tags[] = {0, 0xdc, 0xdd};
    static const uint8_t map_tags[] = {0, 0xde, 0xdf};
    uint32_t count = doc->count;

    if (doc->type == DOC_BYTES)
        write_count(buffer, count, bytes_tags);
    else if (doc->type == DOC_STRING && count > 31)
        write_count(buffer, count, string_tags);
    else if (doc->type == DOC_STRING)
        buffer_append_byte(buffer, (uint8_t)(0xa0 | count));
    else if (count > 15)
        write_count(buffer, count, doc->type == DOC_MAP ? map_tags : array_tags);
    else
        buffer_append_byte(buffer, (uint8_t)((doc->type == DOC_MAP ? 0x80 : 0x90) | count));
}

/* As float 32, which they are. */
static void write_floats(struct buffer *buffer, const struct doc *doc)
{
    const struct doc head = {.type = DOC_ARRAY, .count = doc->count};

    write_head(buffer, &head);
    for (uint32_t i = 0; i < doc->count; i++) {
        uint32_t bits;
        memcpy(&bits, &doc->floats[i], sizeof(bits));
        bits = __builtin_bswap32(bits);
        buffer_append_byte(buffer, 0xca);
        buffer_append(buffer, &bits, sizeof(bits));
    }
}

void doc_write_msgpack(struct buffer *buffer, const struct doc *doc)
{
    size_t items;

    switch (doc->type) {
    case DOC_NULL:
        buffer_append_byte(buffer, 0xc0);
        return;
    case DOC_BOOL:
        buffer_append_byte(buffer, doc->boolean ? 0xc3 : 0xc2);
        return;
    case DOC_INT:
        write_integer(buffer, doc->integer);
        return;
    case DOC_UINT:
        write_unsigned(buffer, doc->unsigned_integer);
        return;
    case DOC_DOUBLE:
        write_double(buffer, doc->number);
        return;
    case DOC_STRING:
    case DOC_BYTES:
        write_head(buffer, doc);
        buffer_append(buffer, doc->string, doc->count);
        return;
    case DOC_FLOATS:
        write_floats(buffer, doc);
        return;
    default:
        write_head(buffer, doc);
        items = doc->type == DOC_MAP ? 2 * (size_t)doc->count : doc->count;
        for (size_t i = 0; i < items; i++)
            doc_write_msgpack(buffer, &doc->items[i]);
    }
}
