#include "store/files/parts.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { DENSE_ALIGNMENT = 64 };

static int by_number(const void *a, const void *b)
{
    uint32_t left, right;

    memcpy(&left, a, sizeof(left));
    memcpy(&right, b, sizeof(right));
    return (left > right) - (left < right);
}

static int check_unique(const uint32_t *indices, uint32_t count, struct arena *arena,
                        struct error *error)
{
    uint32_t *sorted = arena_alloc(arena, ((size_t)count + 1) * sizeof(*sorted), sizeof(*sorted));

    if (!sorted)
        return error_set(error, ERROR_MEMORY, ": does not fit the memory limit");
    memcpy(sorted, indices, count * sizeof(*sorted));
    qsort(sorted, count, sizeof(*sorted), by_number);
    for (uint32_t i = 1; i < count; i++)
        if (sorted[i - 1] == sorted[i])
            return error_set(error, ERROR_INVALID, ".indices: %u comes twice, must be unique",
                             sorted[i]);
    return 0;
}

/* The pair at a place of two lists of equal length. */
static int read_pair(const struct doc *indices, const struct doc *values, uint32_t place,
                     uint32_t *index, float *value, struct error *error)
{
    double number = values->type == DOC_FLOATS ? (double)values->floats[place] : 0;
    uint64_t wide;

    if (!doc_as_u64(&indices->items[place], &wide) || wide > UINT32_MAX)
        return error_set(error, ERROR_INVALID, ".indices[%u]: expected an integer from 0 to %u",
                         place, UINT32_MAX);
    if (values->type == DOC_ARRAY && !doc_as_double(&values->items[place], &number))
        return error_set(error, ERROR_INVALID, ".values[%u]: expected a number", place);
    *index = (uint32_t)wide;
    *value = (float)number;
    return 0;
}

int parts_check_sparse(const struct doc *sparse, struct arena *arena, struct error *error)
{
    const struct doc *indices = doc_get(sparse, "indices");
    const struct doc *values = doc_get(sparse, "values");
    uint32_t *numbers;

    if (sparse->type != DOC_MAP || sparse->count != 2 || !indices || !values ||
        indices->type != DOC_ARRAY || !doc_is_list(values))
        return error_set(error, ERROR_INVALID,
                         ": expected a sparse vector, {\"indices\": [...], \"values\": [...]}");
    if (indices->count != values->count)
        return error_set(error, ERROR_INVALID, ": %u indices and %u values, must be equally many",
                         indices->count, values->count);
    if (indices->count > PARTS_SPARSE_MAX_PAIRS)
        return error_set(error, ERROR_INVALID, ": %u values, a sparse vector has at most %d",
                         indices->count, PARTS_SPARSE_MAX_PAIRS);
    numbers = arena_alloc(arena, ((size_t)indices->count + 1) * sizeof(*numbers), sizeof(*numbers));
    if (!numbers)
        return error_set(error, ERROR_MEMORY, ": does not fit the memory limit");
    for (uint32_t i = 0; i < indices->count; i++) {
        float value;
        if (read_pair(indices, values, i, &numbers[i], &value, error) != 0)
            return error->code;
        if (!isfinite(value))
            return error_set(error, ERROR_INVALID, ".values[%u]: not a finite float32", i);
    }
    return check_unique(numbers, indices->count, arena, error);
}

static struct doc bytes_doc(const void *bytes, uint32_t size_bytes)
{
    return (struct doc){.type = DOC_BYTES, .count = size_bytes, .string = bytes};
}

static struct doc stored_sparse(const struct doc *sparse, struct arena *arena)
{
    const struct doc *indices = doc_get(sparse, "indices");
    const struct doc *values = doc_get(sparse, "values");
    const uint32_t count = indices->count, size_bytes = count * (uint32_t)sizeof(uint32_t);
    uint32_t *numbers = memory_checked(arena_alloc(arena, size_bytes + 4, sizeof(*numbers)));
    float *floats = memory_checked(arena_alloc(arena, size_bytes + 4, sizeof(*floats)));
    struct doc stored = doc_map(arena, 2);

    for (uint32_t i = 0; i < count; i++) {
        int code = read_pair(indices, values, i, &numbers[i], &floats[i], ERROR_IGNORED);
        assert(code == 0); /* checked before */
    }
    doc_put(&stored, "indices", bytes_doc(numbers, size_bytes));
    doc_put(&stored, "values", bytes_doc(floats, size_bytes));
    return stored;
}

struct doc parts_dense(const float *values, uint32_t dim, uint32_t rows, bool list,
                       struct arena *arena)
{
    struct doc *items = list ? doc_items(arena, rows) : NULL;

    assert(list || rows == 1);
    for (uint32_t i = 0; list && i < rows; i++)
        items[i] =
            (struct doc){.type = DOC_FLOATS, .count = dim, .floats = values + (size_t)i * dim};
    return list ? (struct doc){.type = DOC_ARRAY, .count = rows, .items = items}
                : (struct doc){.type = DOC_FLOATS, .count = dim, .floats = values};
}

bool parts_dense_values(const struct doc *part, uint32_t dim, const float **values, uint32_t *rows)
{
    const bool list = part->type == DOC_ARRAY && part->count > 0;
    const struct doc *first = list ? part->items : part;

    *values = first->floats;
    *rows = list ? part->count : 1;
    return first->type == DOC_FLOATS && first->count == dim;
}

static struct doc stored_part(const struct doc *part, struct arena *arena)
{
    struct doc stored;
    uint32_t row_bytes;

    if (part->type == DOC_MAP)
        return stored_sparse(part, arena);
    if (part->type == DOC_FLOATS)
        return bytes_doc(part->floats, part->count * (uint32_t)sizeof(float));
    assert(part->count > 0);
    row_bytes = part->items[0].count * (uint32_t)sizeof(float);
    stored = doc_map(arena, 2);
    doc_put(&stored, "dim", doc_integer(part->items[0].count));
    doc_put(&stored, "rows", bytes_doc(part->items[0].floats, part->count * row_bytes));
    return stored;
}

void parts_write(const struct doc *parts, struct arena *arena, struct buffer *out)
{
    struct doc *items = doc_items(arena, 2 * parts->count);
    const struct doc stored = {.type = DOC_MAP, .count = parts->count, .items = items};

    for (uint32_t i = 0; i < parts->count; i++) {
        items[2 * i] = parts->items[2 * i];
        items[2 * i + 1] = stored_part(&parts->items[2 * i + 1], arena);
    }
    doc_write_msgpack(out, &stored);
}

/* NULL: it is no sparse vector. */
static const struct doc *sent_sparse(const struct doc *stored, struct arena *arena)
{
    const struct doc *indices = doc_get(stored, "indices");
    const struct doc *values = doc_get(stored, "values");
    struct doc *sent, *index_items, *value_items;
    uint32_t count;

    if (stored->type != DOC_MAP || !indices || !values || indices->type != DOC_BYTES ||
        values->type != DOC_BYTES || indices->count != values->count || indices->count % 4 != 0)
        return NULL;
    count = indices->count / 4;
    sent = doc_items(arena, 1);
    index_items = doc_items(arena, count);
    value_items = doc_items(arena, count);
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index;
        float value;
        memcpy(&index, indices->string + (size_t)i * 4, sizeof(index));
        memcpy(&value, values->string + (size_t)i * 4, sizeof(value));
        if (!isfinite(value))
            return NULL;
        index_items[i] = doc_integer(index);
        value_items[i] = doc_number((double)value);
    }
    *sent = doc_map(arena, 2);
    doc_put(sent, "indices", (struct doc){.type = DOC_ARRAY, .count = count, .items = index_items});
    doc_put(sent, "values", (struct doc){.type = DOC_ARRAY, .count = count, .items = value_items});
    return sent;
}

/* False: the bytes are not `dim` values a row; 0: one row, of as many as there are. */
static bool sent_dense(const struct doc *bytes, uint32_t dim, struct arena *arena, struct doc *sent)
{
    const uint32_t count = bytes->count / (uint32_t)sizeof(float), each = dim > 0 ? dim : count;
    float *values = memory_checked(arena_alloc(arena, bytes->count + 1, DENSE_ALIGNMENT));

    if (count == 0 || bytes->count % sizeof(float) != 0 || count % each != 0)
        return false;
    memcpy(values, bytes->string, bytes->count);
    for (uint32_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    *sent = parts_dense(values, each, count / each, dim > 0, arena);
    return true;
}

static bool sent_part(const struct doc *stored, struct arena *arena, struct doc *sent)
{
    const struct doc *dim = doc_get(stored, "dim"), *rows = doc_get(stored, "rows"), *sparse;

    if (stored->type == DOC_BYTES)
        return sent_dense(stored, 0, arena, sent);
    if (rows)
        return rows->type == DOC_BYTES && dim && dim->type == DOC_INT && dim->integer > 0 &&
               dim->integer <= PARTS_LIST_MAX_VALUES &&
               sent_dense(rows, (uint32_t)dim->integer, arena, sent);
    sparse = sent_sparse(stored, arena);
    if (sparse)
        *sent = *sparse;
    return sparse != NULL;
}

int parts_read(const uint8_t *bytes, size_t size_bytes, struct arena *arena, struct doc *parts,
               struct error *error)
{
    struct doc stored = {.type = DOC_MAP};
    struct doc *items;

    if (size_bytes > 0 && (doc_parse_msgpack(arena, bytes, size_bytes, NULL, &stored, error) != 0 ||
                           stored.type != DOC_MAP))
        return error_set(error, ERROR_CORRUPT, "what follows the payload are no parts");
    items = doc_items(arena, 2 * stored.count);
    for (uint32_t i = 0; i < stored.count; i++) {
        if (!sent_part(&stored.items[2 * i + 1], arena, &items[2 * i + 1]))
            return error_set(error, ERROR_CORRUPT, "part %u of a record is no vector", i);
        items[2 * i] = stored.items[2 * i];
    }
    *parts = (struct doc){.type = DOC_MAP, .count = stored.count, .items = items};
    return 0;
}
