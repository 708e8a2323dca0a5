/* Vectors beside the collection's own. Each has its own dimension and metric, and is stored as it will be compared. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ingest/decode/decode_internal.h"
#include "ingest/decode/vector_kernels.h"
#include "store/files/parts.h"

/* Why a row of it is refused; `text` begins below the row. */
struct fault {
    const char *reason;
    char text[DECODE_PATH_BYTES];
};

static bool read_numbers(const struct doc *row, float *values, struct fault *fault)
{
    for (uint32_t i = 0; i < row->count; i++) {
        double value;
        if (!doc_as_double(&row->items[i], &value)) {
            fault->reason = "vector";
            snprintf(fault->text, sizeof(fault->text), "[%u]: expected a number", i);
            return false;
        }
        values[i] = (float)value;
        if (!isfinite(values[i])) {
            fault->reason = "not_finite";
            snprintf(fault->text, sizeof(fault->text), "[%u]: %g is not a finite float32", i,
                     value);
            return false;
        }
    }
    return true;
}

static bool read_row(const struct config_vector *vector, const struct doc *row, float *values,
                     struct fault *fault)
{
    struct error error = {0};
    double squared_length;

    if (row->type != DOC_ARRAY || row->count != vector->dim) {
        fault->reason = row->type == DOC_ARRAY ? "dimension" : "vector";
        snprintf(fault->text, sizeof(fault->text), ": expected an array of %u numbers",
                 vector->dim);
        return false;
    }
    if (!read_numbers(row, values, fault))
        return false;
    squared_length = vector_squared_length(values, vector->dim);
    if (vector_check_length(vector->metric, squared_length, &error) != 0) {
        fault->reason = "not_finite";
        snprintf(fault->text, sizeof(fault->text), ": %.80s", error.text);
        return false;
    }
    if (vector->metric != VECTOR_METRIC_COSINE)
        return true;
    if (squared_length == 0) {
        fault->reason = "zero_vector";
        snprintf(fault->text, sizeof(fault->text), ": a vector of zeros has no direction (cosine)");
        return false;
    }
    vector_kernels()->scale(values, values, vector->dim, 1 / sqrt(squared_length));
    return true;
}

int decode_extra_vector(struct decode *decode, const struct decode_part *part,
                        const struct config_vector *vector, const struct doc *doc, const char *path,
                        struct doc *taken)
{
    const struct doc *rows = vector->multiple ? doc->items : doc;
    const uint32_t count = vector->multiple ? doc->count : 1;
    struct fault fault;
    float *values;

    if (vector->multiple &&
        (doc->type != DOC_ARRAY || count == 0 || count > PARTS_LIST_MAX_VALUES / vector->dim)) {
        decode_reject_add(decode, part, "vector",
                          "%s.%.48s: expected a list of 1 to %u arrays of %u numbers", path,
                          vector->name, PARTS_LIST_MAX_VALUES / vector->dim, vector->dim);
        return ERROR_INVALID;
    }
    values = arena_alloc(decode->scratch, (size_t)count * vector->dim * sizeof(float), 64);
    if (!values) {
        decode_reject_add(decode, part, "memory", "%s.%.48s: does not fit the memory limit", path,
                          vector->name);
        return ERROR_MEMORY;
    }
    for (uint32_t i = 0; i < count; i++) {
        char place[16] = "";
        if (read_row(vector, &rows[i], values + (size_t)i * vector->dim, &fault))
            continue;
        if (vector->multiple)
            snprintf(place, sizeof(place), "[%u]", i);
        decode_reject_add(decode, part, fault.reason, "%s.%.48s%s%s", path, vector->name, place,
                          fault.text);
        return ERROR_INVALID;
    }
    *taken = parts_dense(values, vector->dim, count, vector->multiple, decode->scratch);
    return 0;
}
