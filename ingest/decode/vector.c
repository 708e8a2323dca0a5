#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode_internal.h"
#include "ingest/decode/vector_kernels.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw vectors are copied as they are");

bool decode_vector_candidate(const struct decode *decode, const struct doc *doc, bool *fits)
{
    *fits = false;
    if ((doc->type == DOC_BYTES && doc->count > 0) || decode_vector_is_typed(doc)) {
        *fits = decode_bytes_fit(decode, doc);
        return true;
    }
    if (doc->type != DOC_ARRAY || doc->count == 0)
        return false;
    for (uint32_t i = 0; i < doc->count; i++)
        if (doc->items[i].type != DOC_DOUBLE && doc->items[i].type != DOC_INT &&
            doc->items[i].type != DOC_UINT)
            return false;
    *fits = doc->count == decode->collection->dim;
    return true;
}

/* Index of the first value that is not finite; `dim` when all are. */
static uint32_t first_not_finite(const float *vector, uint32_t dim)
{
    const uint32_t exponent = 0x7f800000; /* all ones: infinity or NaN */
    uint32_t i = 0;

    for (; i + 8 <= dim; i += 8) {
        uint32_t bits[8];
        uint32_t bad = 0;
        memcpy(bits, vector + i, sizeof(bits));
        for (uint32_t j = 0; j < 8; j++)
            bad |= (bits[j] & exponent) == exponent;
        if (bad)
            break;
    }
    while (i < dim && isfinite(vector[i]))
        i++;
    return i;
}

static void reject_not_finite(struct decode *decode, const struct decode_part *part,
                              const float *vector, const char *path)
{
    uint32_t bad = first_not_finite(vector, decode->collection->dim);

    decode_reject_add(decode, part, "not_finite", "%s[%u]: %s is not a finite float32", path, bad,
                      isnan(vector[bad]) ? "NaN"
                      : vector[bad] < 0  ? "-infinity"
                                         : "infinity");
}

/* Checks what is common to all forms and normalises; `from` and `to` may be the same. Doubles hold
 * the square of every finite float, the smallest included, and the sum of all of them: only zeros
 * give zero, and only what is not finite gives what is not finite. */
const float *decode_vector_finish(struct decode *decode, const struct decode_part *part,
                                  const void *from, float *to, const char *path)
{
    const struct vector_kernels *kernels = vector_kernels();
    const uint32_t dim = decode->collection->dim;
    double squared_length = kernels->squared_length(from, dim);
    struct error error = {0};
    uint32_t bad;

    if (!isfinite(squared_length)) {
        memmove(to, from, dim * sizeof(float));
        reject_not_finite(decode, part, to, path);
        return NULL;
    }
    if (vector_check_length(decode->collection->metric, squared_length, &error) != 0) {
        decode_reject_add(decode, part, "not_finite", "%s: %s", path, error.text);
        return NULL;
    }
    if (decode->collection->metric != VECTOR_METRIC_COSINE) {
        if (from != to)
            memcpy(to, from, dim * sizeof(float));
        if (decode->collection->metric != VECTOR_METRIC_HAMMING)
            return to;
        bad = vector_first_not_bit(to, dim);
        if (bad == dim)
            return to;
        decode_reject_add(decode, part, "vector", "%s[%u]: %g is not 0 or 1 (metric hamming)", path,
                          bad, (double)to[bad]);
        return NULL;
    }
    if (squared_length == 0) {
        decode_reject_add(decode, part, "zero_vector",
                          "%s: a vector of zeros has no direction (cosine)", path);
        return NULL;
    }
    kernels->scale(from, to, dim, 1 / sqrt(squared_length));
    return to;
}

float *decode_vector_room(struct decode *decode, const struct decode_part *part, size_t dimension,
                          const char *path)
{
    const uint32_t dim = decode->collection->dim;
    float *vector;

    if (dimension != dim) {
        decode_reject_add(decode, part, "dimension",
                          "%s: %zu values, the collection has dimension %u", path, dimension, dim);
        return NULL;
    }
    vector = arena_alloc(decode->arena, dim * sizeof(float), 64);
    if (!vector)
        decode_reject_add(decode, part, "memory", "%s: does not fit the memory limit", path);
    return vector;
}

/* What nearly all arrays are: doubles that fit. False when some item is not. */
static bool copy_doubles(const struct doc *items, float *vector, uint32_t count)
{
    const uint32_t exponent = 0x7f800000; /* all ones: infinity or NaN */
    uint32_t other = 0;

    for (uint32_t i = 0; i < count; i++) {
        float value = (float)items[i].number;
        uint32_t bits;
        memcpy(&bits, &value, sizeof(bits));
        vector[i] = value;
        other |= (items[i].type ^ DOC_DOUBLE) | ((bits & exponent) == exponent);
    }
    return other == 0;
}

/* One by one, up to the first that is not a number or does not fit. */
static bool copy_numbers(struct decode *decode, const struct decode_part *part,
                         const struct doc *doc, float *vector, const char *path)
{
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct doc *item = &doc->items[i];
        double value;
        if (!doc_as_double(item, &value)) {
            decode_reject_add(decode, part, "vector", "%s[%u]: expected a number (byte %u)", path,
                              i, item->place);
            return false;
        }
        vector[i] = (float)value;
        if (isinf(vector[i]) && isfinite(value)) {
            decode_reject_add(decode, part, "not_finite", "%s[%u]: %g does not fit a float32", path,
                              i, value);
            return false;
        }
    }
    return true;
}

static const float *from_array(struct decode *decode, const struct decode_part *part,
                               const struct doc *doc, const char *path)
{
    float *vector = decode_vector_room(decode, part, doc->count, path);

    if (!vector)
        return NULL;
    if (!copy_doubles(doc->items, vector, doc->count) &&
        !copy_numbers(decode, part, doc, vector, path))
        return NULL;
    return decode_vector_finish(decode, part, vector, vector, path);
}

const float *decode_vector(struct decode *decode, const struct decode_part *part,
                           const struct doc *doc, const char *path)
{
    char inner[DECODE_PATH_BYTES + 8];

    if (doc->type == DOC_MAP && doc->count == 1 && doc->items[0].count == 0) {
        snprintf(inner, sizeof(inner), "%s[\"\"]", path);
        doc = &doc->items[1];
        path = inner;
    }
    if (doc->type == DOC_ARRAY)
        return from_array(decode, part, doc, path);
    if (doc->type == DOC_BYTES || doc->type == DOC_STRING || doc->type == DOC_MAP)
        return decode_vector_typed(decode, part, doc, path);
    decode_reject_add(decode, part, "vector", "%s: expected an array of %u numbers", path,
                      decode->collection->dim);
    return NULL;
}
