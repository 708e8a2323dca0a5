/* Bytes of each type (enum vector_type) to float32. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/vector_row.h"
#include "ingest/decode/decode_internal.h"

int decode_vector_type(struct decode *decode, const struct decode_part *whole)
{
    const char *text = decode->message->vector_type;

    decode->vector_type = decode->collection->messages;
    if (!text || vector_type_parse(text, strlen(text), &decode->vector_type))
        return 0;
    decode_reject_add(decode, whole, "syntax",
                      "header " DECODE_VECTOR_TYPE_HEADER
                      ": expected float32, float16, bfloat16, int8 or binary, got \"%.40s\"",
                      text);
    return ERROR_INVALID;
}

struct doc decode_typed_bytes(struct decode *decode, enum vector_type type, const void *bytes,
                              uint32_t size_bytes, const struct doc *scale)
{
    struct doc value = {.type = DOC_BYTES, .count = size_bytes, .string = bytes};
    struct doc map;

    if (type == VECTOR_TYPE_FLOAT32 && decode->vector_type == VECTOR_TYPE_FLOAT32 && !scale)
        return value;
    map = doc_map(decode->scratch, 2);
    doc_put(&map, vector_type_name(type), value);
    if (scale)
        doc_put(&map, "scale", *scale);
    return map;
}

/* Where bytes and types lie in a document. */
struct typed {
    const struct doc *value; /* bytes, or text in base64 */
    const struct doc *scale; /* NULL: none */
    enum vector_type type;
};

static bool is_bytes(const struct doc *doc)
{
    return doc->type == DOC_BYTES || doc->type == DOC_STRING;
}

/* {"float16": bytes}, {"int8": bytes, "scale": 0.01}: false for other maps. */
static bool read_map(const struct doc *map, struct typed *typed)
{
    *typed = (struct typed){0};
    for (uint32_t i = 0; i < map->count; i++) {
        const struct doc *name = &map->items[2 * i], *value = name + 1;
        if (!typed->scale && doc_string_equals(name, "scale"))
            typed->scale = value;
        else if (!typed->value && is_bytes(value) &&
                 vector_type_parse(name->string, name->count, &typed->type))
            typed->value = value;
        else
            return false;
    }
    return typed->value != NULL;
}

bool decode_vector_is_typed(const struct doc *map)
{
    struct typed typed;

    return map->type == DOC_MAP && read_map(map, &typed);
}

bool decode_bytes_fit(const struct decode *decode, const struct doc *doc)
{
    struct typed typed = {.value = doc, .type = decode->vector_type};
    size_t size_bytes;

    if (doc->type == DOC_MAP && !read_map(doc, &typed))
        return false;
    size_bytes = typed.value->type == DOC_STRING
                     ? text_base64_bytes(typed.value->string, typed.value->count)
                     : typed.value->count;
    return size_bytes == vector_type_bytes(typed.type, decode->collection->dim);
}

static int read_scale(struct decode *decode, const struct decode_part *part,
                      const struct typed *typed, const char *path, float *scale)
{
    double number;

    *scale = 1;
    if (!typed->scale)
        return 0;
    if (typed->type != VECTOR_TYPE_INT8) {
        decode_reject_add(decode, part, "vector", "%s.scale: belongs to int8, this is %s", path,
                          vector_type_name(typed->type));
        return ERROR_INVALID;
    }
    if (doc_as_double(typed->scale, &number) && number > 0 && isfinite((float)number) &&
        (float)number > 0) {
        *scale = (float)number;
        return 0;
    }
    decode_reject_add(decode, part, "vector", "%s.scale: expected a number above 0", path);
    return ERROR_INVALID;
}

/* Which types have vectors of so many bytes. */
static const char *fitting(uint32_t dim, size_t size_bytes)
{
    return size_bytes == vector_type_bytes(VECTOR_TYPE_FLOAT32, dim)   ? "float32"
           : size_bytes == vector_type_bytes(VECTOR_TYPE_FLOAT16, dim) ? "float16 or bfloat16"
           : size_bytes == vector_type_bytes(VECTOR_TYPE_INT8, dim)    ? "int8"
           : size_bytes == vector_type_bytes(VECTOR_TYPE_BINARY, dim)  ? "binary"
                                                                       : NULL;
}

static void reject_length(struct decode *decode, const struct decode_part *part,
                          enum vector_type type, size_t size_bytes, const char *path)
{
    const uint32_t dim = decode->collection->dim;
    const size_t of_eight = vector_type_bytes(type, 8); /* values */
    const char *other = fitting(dim, size_bytes);
    char hint[160] = "";

    if (other)
        snprintf(hint, sizeof(hint),
                 " (%s would fit: the vector, the header " DECODE_VECTOR_TYPE_HEADER
                 " or vectors.messages may name it)",
                 other);
    if (size_bytes * 8 % of_eight == 0)
        decode_reject_add(decode, part, "dimension",
                          "%s: %zu values of %s in %zu bytes, the collection has dimension %u%s",
                          path, size_bytes * 8 / of_eight, vector_type_name(type), size_bytes, dim,
                          hint);
    else
        decode_reject_add(decode, part, "dimension", "%s: %zu bytes, %u values of %s take %zu%s",
                          path, size_bytes, dim, vector_type_name(type),
                          vector_type_bytes(type, dim), hint);
}

/* The bits as 0 and 1. False: there are more than `dim`. */
static bool widen_bits(const uint8_t *bytes, uint32_t dim, float *vector)
{
    for (uint32_t i = 0; i < dim; i++)
        vector[i] = (float)(bytes[i / 8] >> (7 - i % 8) & 1);
    return dim % 8 == 0 || (uint8_t)(bytes[dim / 8] << dim % 8) == 0;
}

/* A vector of 16 bits or 8 a value is a stored row (base/vector_row.h) as it comes, but for the place
 * where it lies and the scale. */
static bool widen_values(struct decode *decode, enum vector_type type, float scale,
                         const uint8_t *bytes, size_t size_bytes, float *vector)
{
    const size_t ahead = type == VECTOR_TYPE_INT8 ? sizeof(scale) : 0;
    struct vector_row row = {.codec = type == VECTOR_TYPE_INT8      ? VECTOR_CODEC_INT8
                                      : type == VECTOR_TYPE_FLOAT16 ? VECTOR_CODEC_FLOAT16
                                                                    : VECTOR_CODEC_BFLOAT16};
    uint8_t *copy = arena_alloc(decode->scratch, ahead + size_bytes, 64);

    if (!copy)
        return false;
    memcpy(copy, &scale, ahead);
    memcpy(copy + ahead, bytes, size_bytes);
    row.bytes = copy;
    vector_row_decode(row, decode->collection->dim, vector);
    return true;
}

/* Bytes that are as many as the type takes. */
static const float *widen(struct decode *decode, const struct decode_part *part,
                          enum vector_type type, float scale, const uint8_t *bytes,
                          const char *path)
{
    const uint32_t dim = decode->collection->dim;
    float *vector = decode_vector_room(decode, part, dim, path);

    if (!vector)
        return NULL;
    if (type == VECTOR_TYPE_FLOAT32)
        return decode_vector_finish(decode, part, bytes, vector, path);
    if (type == VECTOR_TYPE_BINARY) {
        if (!widen_bits(bytes, dim, vector)) {
            decode_reject_add(decode, part, "vector", "%s: bits behind the last of %u are not 0",
                              path, dim);
            return NULL;
        }
    } else if (!widen_values(decode, type, scale, bytes, vector_type_bytes(type, dim), vector)) {
        decode_reject_add(decode, part, "memory", "%s: does not fit the memory limit", path);
        return NULL;
    }
    return decode_vector_finish(decode, part, vector, vector, path);
}

/* The bytes of a text, or NULL after a reject. */
static const uint8_t *from_base64(struct decode *decode, const struct decode_part *part,
                                  const struct doc *text, size_t size_bytes, const char *path)
{
    uint8_t *bytes = arena_alloc(decode->scratch, size_bytes + 1, 1);
    size_t bad;

    if (!bytes)
        decode_reject_add(decode, part, "memory", "%s: does not fit the memory limit", path);
    else if (text_parse_base64(text->string, text->count, bytes, &bad) == 0)
        return bytes;
    else
        decode_reject_add(
            decode, part, "vector",
            "%s: expected an array of %u numbers, or their bytes in base64 (character "
            "%zu is not)",
            path, decode->collection->dim, bad);
    return NULL;
}

const float *decode_vector_typed(struct decode *decode, const struct decode_part *part,
                                 const struct doc *doc, const char *path)
{
    struct typed typed = {.value = doc, .type = decode->vector_type};
    const uint8_t *bytes;
    size_t size_bytes;
    float scale;

    if (doc->type == DOC_MAP && !read_map(doc, &typed)) {
        decode_reject_add(decode, part, "vector",
                          "%s: only the default vector is supported, under the name \"\", or bytes "
                          "under the name of their type",
                          path);
        return NULL;
    }
    if (read_scale(decode, part, &typed, path, &scale) != 0)
        return NULL;
    bytes = (const uint8_t *)typed.value->string;
    size_bytes = typed.value->count;
    if (typed.value->type == DOC_STRING) {
        size_bytes = text_base64_bytes(typed.value->string, typed.value->count);
        bytes = from_base64(decode, part, typed.value, size_bytes, path);
        if (!bytes)
            return NULL;
    }
    if (size_bytes == vector_type_bytes(typed.type, decode->collection->dim))
        return widen(decode, part, typed.type, scale, bytes, path);
    reject_length(decode, part, typed.type, size_bytes, path);
    return NULL;
}
