/* Protobuf (protobuf.dev/programming-guides/encoding), read against ingest/windrow.proto without
 * generated code: a reject must name the byte, which libraries do not tell, and the vector is used
 * where it lies (packed floats are little-endian float32).
 *
 * A Point becomes the document that the same record would be in JSON, and goes the same way from
 * there (decode_point.c). Unknown fields are skipped, as the language asks; groups are refused. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ingest/decode/decode_internal.h"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    POINT_NUMBER = 1,
    POINT_TEXT,
    POINT_VECTOR,
    POINT_PAYLOAD,
    POINT_PAYLOAD_JSON,
    POINT_TIME_MS,
    POINT_TTL_MS,
    POINT_VECTOR_BYTES,
    POINT_VECTOR_TYPE,
    POINT_VECTOR_SCALE,
    BATCH_POINTS = 15
};

/* A slice that is read from front to back. */
struct reader {
    struct decode *decode;
    const uint8_t *at;
    const uint8_t *end;
    char *text; /* what went wrong; room for ERROR_BYTES */
};

enum { ERROR_BYTES = 160 };

struct field {
    uint32_t number;
    enum wire wire;
    uint64_t value;       /* varint and fixed */
    struct reader inside; /* WIRE_BYTES */
    const uint8_t *start; /* of its tag */
};

static int fail(const struct reader *reader, const char *what)
{
    snprintf(reader->text, ERROR_BYTES, "byte %zu: %s",
             (size_t)(reader->at - reader->decode->message->value), what);
    return ERROR_INVALID;
}

static uint32_t place_of(const struct reader *reader)
{
    return (uint32_t)(reader->at - reader->decode->message->value);
}

static int read_varint(struct reader *reader, uint64_t *value)
{
    uint64_t result = 0;

    for (unsigned shift = 0; shift < 70; shift += 7) {
        uint8_t byte;
        if (reader->at == reader->end)
            return fail(reader, "the input ends inside a number");
        byte = *reader->at++;
        if (shift == 63 && byte > 1)
            return fail(reader, "a number of more than 64 bits");
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *value = result;
            return 0;
        }
    }
    return fail(reader, "a number of more than 64 bits");
}

static int read_fixed(struct reader *reader, size_t size_bytes, uint64_t *value)
{
    *value = 0;
    if ((size_t)(reader->end - reader->at) < size_bytes)
        return fail(reader, "the input ends inside a number");
    memcpy(value, reader->at, size_bytes); /* little-endian, as this machine */
    reader->at += size_bytes;
    return 0;
}

static int read_bytes(struct reader *reader, struct reader *inside)
{
    uint64_t size_bytes;

    if (read_varint(reader, &size_bytes) != 0)
        return ERROR_INVALID;
    if (size_bytes > (uint64_t)(reader->end - reader->at))
        return fail(reader, "a length beyond the end of the input");
    *inside = *reader;
    inside->end = reader->at + size_bytes;
    reader->at += size_bytes;
    return 0;
}

/* One field with its value. */
static int read_field(struct reader *reader, struct field *field)
{
    uint64_t tag;

    field->start = reader->at;
    if (read_varint(reader, &tag) != 0)
        return ERROR_INVALID;
    if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
        return fail(reader, "no such field number");
    field->number = (uint32_t)(tag >> 3);
    field->wire = (enum wire)(tag & 7);
    switch (field->wire) {
    case WIRE_VARINT:
        return read_varint(reader, &field->value);
    case WIRE_FIXED64:
        return read_fixed(reader, 8, &field->value);
    case WIRE_BYTES:
        return read_bytes(reader, &field->inside);
    case WIRE_FIXED32:
        return read_fixed(reader, 4, &field->value);
    default:
        return fail(reader, "groups are not supported");
    }
}

static int expect(const struct reader *reader, const struct field *field, enum wire wire)
{
    struct reader at = *reader;

    if (field->wire == wire)
        return 0;
    at.at = field->start;
    return fail(&at, "the field has another type in the schema");
}

static int string_doc(const struct reader *inside, struct doc *out)
{
    size_t length = (size_t)(inside->end - inside->at);
    size_t valid = text_utf8_valid((const char *)inside->at, length);

    if (valid != length) {
        struct reader at = *inside;
        at.at += valid;
        return fail(&at, "not UTF-8");
    }
    *out = (struct doc){.type = DOC_STRING,
                        .count = (uint32_t)length,
                        .place = place_of(inside),
                        .string = (const char *)inside->at};
    return 0;
}

/* google.protobuf.Struct. */

static int value_doc(struct reader *reader, unsigned depth, struct doc *out);

/* How often field `number` of type bytes occurs; also checks the outline. */
static int count_fields(struct reader reader, uint32_t number, uint32_t *count)
{
    struct field field;

    *count = 0;
    while (reader.at < reader.end) {
        if (read_field(&reader, &field) != 0)
            return ERROR_INVALID;
        if (field.number == number && expect(&reader, &field, WIRE_BYTES) != 0)
            return ERROR_INVALID;
        *count += field.number == number;
    }
    return 0;
}

static int new_items(const struct reader *reader, uint32_t count, struct doc **items)
{
    *items = doc_items(reader->decode->scratch, count);
    return *items || count == 0 ? 0 : fail(reader, "does not fit the memory limit");
}

static int list_doc(struct reader *reader, unsigned depth, struct doc *out)
{
    struct doc *items;
    struct field field;
    uint32_t count;
    uint32_t i = 0;

    if (depth == 0)
        return fail(reader, "nested too deep");
    if (count_fields(*reader, 1, &count) != 0 || new_items(reader, count, &items) != 0)
        return ERROR_INVALID;
    *out =
        (struct doc){.type = DOC_ARRAY, .count = count, .place = place_of(reader), .items = items};
    while (reader->at < reader->end) {
        if (read_field(reader, &field) != 0)
            return ERROR_INVALID;
        if (field.number == 1 && value_doc(&field.inside, depth - 1, &items[i++]) != 0)
            return ERROR_INVALID;
    }
    return 0;
}

static int entry_docs(struct reader *reader, unsigned depth, struct doc *pair)
{
    struct field field;

    pair[0] = (struct doc){.type = DOC_STRING, .string = ""};
    pair[1] = (struct doc){.type = DOC_NULL};
    while (reader->at < reader->end) {
        int code = read_field(reader, &field);
        if (code == 0 && (field.number == 1 || field.number == 2))
            code = expect(reader, &field, WIRE_BYTES);
        if (code == 0 && field.number == 1)
            code = string_doc(&field.inside, &pair[0]);
        else if (code == 0 && field.number == 2)
            code = value_doc(&field.inside, depth, &pair[1]);
        if (code != 0)
            return code;
    }
    return 0;
}

static int struct_doc(struct reader *reader, unsigned depth, struct doc *out)
{
    struct doc *items;
    struct field field;
    uint32_t count;
    uint32_t i = 0;

    if (depth == 0)
        return fail(reader, "nested too deep");
    if (count_fields(*reader, 1, &count) != 0 || new_items(reader, 2 * count, &items) != 0)
        return ERROR_INVALID;
    *out = (struct doc){.type = DOC_MAP, .count = count, .place = place_of(reader), .items = items};
    while (reader->at < reader->end) {
        if (read_field(reader, &field) != 0)
            return ERROR_INVALID;
        if (field.number != 1)
            continue;
        if (entry_docs(&field.inside, depth - 1, &items[i]) != 0)
            return ERROR_INVALID;
        i += 2;
    }
    return 0;
}

/* Struct has doubles only; whole ones were integers before they came here. */
static struct doc number_doc(uint64_t bits)
{
    double number;

    memcpy(&number, &bits, sizeof(number));
    if (number == trunc(number) && fabs(number) <= 0x1p53)
        return doc_integer((int64_t)number);
    return doc_number(number);
}

static int value_doc(struct reader *reader, unsigned depth, struct doc *out)
{
    enum { NULL_VALUE = 1, NUMBER, STRING, BOOL, STRUCT, LIST };
    static const enum wire wires[] = {
        [NULL_VALUE] = WIRE_VARINT, [NUMBER] = WIRE_FIXED64, [STRING] = WIRE_BYTES,
        [BOOL] = WIRE_VARINT,       [STRUCT] = WIRE_BYTES,   [LIST] = WIRE_BYTES};
    struct field field;
    int code = 0;

    *out = (struct doc){.type = DOC_NULL, .place = place_of(reader)};
    while (code == 0 && reader->at < reader->end) {
        code = read_field(reader, &field);
        if (code != 0 || field.number > LIST)
            continue;
        code = expect(reader, &field, wires[field.number]);
        if (code != 0)
            break;
        if (field.number == NULL_VALUE)
            *out = (struct doc){.type = DOC_NULL};
        else if (field.number == NUMBER)
            *out = number_doc(field.value);
        else if (field.number == STRING)
            code = string_doc(&field.inside, out);
        else if (field.number == BOOL)
            *out = (struct doc){.type = DOC_BOOL, .boolean = field.value != 0};
        else if (field.number == STRUCT)
            code = struct_doc(&field.inside, depth, out);
        else
            code = list_doc(&field.inside, depth, out);
    }
    return code;
}

/* windrow.v1.Point. */

/* The vector in pieces: packed, unpacked or both, as the language allows. */
struct vector {
    uint8_t *joined; /* NULL while one packed piece is all */
    const uint8_t *bytes;
    size_t size_bytes;
};

static int add_piece(struct reader *reader, struct vector *vector, const uint8_t *bytes,
                     size_t size_bytes)
{
    size_t total = vector->size_bytes + size_bytes;

    if (size_bytes % sizeof(float) != 0)
        return fail(reader, "packed floats of a broken length");
    if (vector->size_bytes == 0) {
        vector->bytes = bytes;
        vector->size_bytes = size_bytes;
        return 0;
    }
    if (total > (size_t)reader->decode->collection->dim * sizeof(float))
        total = (size_t)reader->decode->collection->dim * sizeof(float) + sizeof(float);
    if (!vector->joined) {
        /* One more than fits, so that a vector that is too long shows as such. */
        vector->joined =
            arena_alloc(reader->decode->scratch,
                        (size_t)reader->decode->collection->dim * sizeof(float) + sizeof(float), 4);
        if (!vector->joined)
            return fail(reader, "does not fit the memory limit");
        if (vector->size_bytes > total)
            vector->size_bytes = total;
        memcpy(vector->joined, vector->bytes, vector->size_bytes);
        vector->bytes = vector->joined;
    }
    if (total > vector->size_bytes)
        memcpy(vector->joined + vector->size_bytes, bytes, total - vector->size_bytes);
    vector->size_bytes = total;
    return 0;
}

static int vector_field(struct reader *reader, const struct field *field, struct vector *vector)
{
    if (field->wire == WIRE_BYTES)
        return add_piece(reader, vector, field->inside.at,
                         (size_t)(field->inside.end - field->inside.at));
    if (expect(reader, field, WIRE_FIXED32) != 0)
        return ERROR_INVALID;
    return add_piece(reader, vector, reader->at - sizeof(float), sizeof(float));
}

static int payload_json(const struct reader *inside, struct doc *out)
{
    const struct doc_limits limits = {.max_bytes = DECODE_MESSAGE_MAX_BYTES,
                                      .max_depth = DECODE_DEPTH_MAX};
    struct error error = {0};

    if (doc_parse_json(inside->decode->scratch, (const char *)inside->at,
                       (size_t)(inside->end - inside->at), &limits, out, &error) == 0)
        return 0;
    snprintf(inside->text, ERROR_BYTES, "byte %u: payload_json: %.100s", place_of(inside),
             error.text);
    return ERROR_INVALID;
}

/* The documents of a point: the last of a field that comes twice wins. */
struct point {
    struct doc id, payload, time_ms, ttl, scale;
    struct vector vector;
    struct reader bytes;
    uint64_t type; /* of `bytes`; 0: it does not say */
    bool has_id, has_payload, has_time, has_ttl, has_vector, has_bytes, has_scale;
};

static int point_field(struct reader *reader, struct field *field, struct point *point)
{
    static const enum wire wires[] = {
        [POINT_NUMBER] = WIRE_VARINT,       [POINT_TEXT] = WIRE_BYTES,
        [POINT_PAYLOAD] = WIRE_BYTES,       [POINT_PAYLOAD_JSON] = WIRE_BYTES,
        [POINT_TIME_MS] = WIRE_VARINT,      [POINT_TTL_MS] = WIRE_VARINT,
        [POINT_VECTOR_BYTES] = WIRE_BYTES,  [POINT_VECTOR_TYPE] = WIRE_VARINT,
        [POINT_VECTOR_SCALE] = WIRE_FIXED32};
    uint32_t bits;
    float scale;

    if (field->number > POINT_VECTOR_SCALE)
        return 0;
    if (field->number == POINT_VECTOR) {
        point->has_vector = true;
        return vector_field(reader, field, &point->vector);
    }
    if (expect(reader, field, wires[field->number]) != 0)
        return ERROR_INVALID;
    switch (field->number) {
    case POINT_NUMBER:
        point->has_id = true;
        point->id = (struct doc){.type = field->value > INT64_MAX ? DOC_UINT : DOC_INT,
                                 .unsigned_integer = field->value};
        return 0;
    case POINT_TEXT:
        point->has_id = true;
        return string_doc(&field->inside, &point->id);
    case POINT_PAYLOAD:
        point->has_payload = true;
        return struct_doc(&field->inside, DECODE_DEPTH_MAX, &point->payload);
    case POINT_PAYLOAD_JSON:
        point->has_payload = true;
        return payload_json(&field->inside, &point->payload);
    case POINT_TIME_MS:
        point->has_time = true;
        point->time_ms = doc_integer((int64_t)field->value);
        return 0;
    case POINT_TTL_MS:
        point->has_ttl = true;
        point->ttl = doc_integer((int64_t)field->value);
        return 0;
    case POINT_VECTOR_BYTES:
        point->has_bytes = true;
        point->bytes = field->inside;
        return 0;
    case POINT_VECTOR_TYPE:
        point->type = field->value;
        return 0;
    default:
        point->has_scale = true;
        bits = (uint32_t)field->value;
        memcpy(&scale, &bits, sizeof(scale));
        point->scale = doc_number((double)scale);
        return 0;
    }
}

/* The vector as decode_vector reads it. False after a reject. */
static bool put_vector(struct decode *decode, const struct decode_part *part,
                       const struct point *point, struct doc *map)
{
    enum vector_type type = decode->vector_type;
    struct doc vector;

    if ((point->has_vector && point->has_bytes) ||
        ((point->type != 0 || point->has_scale) && !point->has_bytes)) {
        decode_reject_add(decode, part, "vector",
                          point->has_vector && point->has_bytes
                              ? "%s: vector and vector_bytes, expected one of them"
                              : "%s: vector_type and vector_scale belong to vector_bytes",
                          part->path);
        return false;
    }
    if (point->type > VECTOR_TYPE_COUNT) {
        decode_reject_add(decode, part, "vector", "%s.vector_type: %llu is not in windrow.proto",
                          part->path, (unsigned long long)point->type);
        return false;
    }
    if (point->has_vector) {
        vector = decode_typed_bytes(decode, VECTOR_TYPE_FLOAT32, point->vector.bytes,
                                    (uint32_t)point->vector.size_bytes, NULL);
    } else if (point->has_bytes) {
        type = point->type == 0 ? type : (enum vector_type)(point->type - 1);
        vector = decode_typed_bytes(decode, type, point->bytes.at,
                                    (uint32_t)(point->bytes.end - point->bytes.at),
                                    point->has_scale ? &point->scale : NULL);
    } else {
        return true;
    }
    doc_put(map, "vector", vector);
    return true;
}

static void decode_one(struct reader reader, const struct decode_part *part)
{
    struct point point = {0};
    struct doc items[10] = {0};
    struct doc map = {.type = DOC_MAP, .items = items};
    struct field field;

    while (reader.at < reader.end) {
        if (read_field(&reader, &field) == 0 && point_field(&reader, &field, &point) == 0)
            continue;
        decode_reject_add(reader.decode, part, "syntax", "%s: Protobuf: %s", part->path,
                          reader.text);
        return;
    }
    if (point.has_id)
        doc_put(&map, "id", point.id);
    if (point.has_payload)
        doc_put(&map, "payload", point.payload);
    if (point.has_time)
        doc_put(&map, "time_ms", point.time_ms);
    if (point.has_ttl)
        doc_put(&map, "ttl", point.ttl);
    if (put_vector(reader.decode, part, &point, &map))
        decode_point(reader.decode, &map, part);
}

static void decode_points(struct reader reader)
{
    struct field field;

    for (uint32_t i = 0; reader.at < reader.end;) {
        struct decode_part part = {.batch = true};
        (void)read_field(&reader, &field); /* count_fields has seen that it is sound */
        if (field.number != BATCH_POINTS)
            continue;
        snprintf(part.path, sizeof(part.path), "$.points[%u]", i++);
        part.bytes = field.inside.at;
        part.size_bytes = (size_t)(field.inside.end - field.inside.at);
        decode_one(field.inside, &part);
    }
}

/* Confluent's framing: 0x00, schema id, then the path of the message in the schema as zigzag
 * varints, where one 0 stands for [0]. */
static int skip_framing(struct reader *reader)
{
    uint64_t count;
    uint64_t index;

    if (reader->at == reader->end || *reader->at != 0)
        return 0;
    if (reader->end - reader->at < 6)
        return fail(reader, "the schema-registry framing is cut off");
    reader->at += 5;
    if (read_varint(reader, &count) != 0)
        return ERROR_INVALID;
    if (count % 2 != 0 || count > 2)
        return fail(reader, "no such message in windrow.proto");
    return count == 0 ? 0 : read_varint(reader, &index);
}

void decode_protobuf(struct decode *decode, const struct decode_part *whole)
{
    char text[ERROR_BYTES];
    struct reader reader = {.decode = decode,
                            .at = decode->message->value,
                            .end = decode->message->value + decode->message->value_bytes,
                            .text = text};
    uint32_t point_count;

    if (skip_framing(&reader) != 0 || count_fields(reader, BATCH_POINTS, &point_count) != 0)
        decode_reject_add(decode, whole, "syntax", "Protobuf: %s", text);
    else if (point_count > 0)
        decode_points(reader);
    else
        decode_one(reader, whole);
}

bool decode_looks_protobuf(const uint8_t *value, size_t size_bytes)
{
    /* Tags of fields 1 to 10 and 15 in their types, and the framing; none of them starts JSON or a
     * MessagePack container. */
    return size_bytes > 0 &&
           memchr("\x00\x08\x12\x1a\x1d\x22\x2a\x30\x38\x42\x48\x55\x7a", value[0], 13);
}
