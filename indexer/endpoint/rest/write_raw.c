/* Upserts of vectors as they lie in memory: rows of little-endian float32, one behind the other. With
 * ?first_id=N the rows are the vectors of N, N + 1 and so on; without, each begins with its id as a
 * little-endian u64. They have no payload. */
#include <math.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "base/text.h"
#include "indexer/endpoint/rest/write.h"
#include "store/files/key.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rows are copied as they are");

struct raw {
    const struct config_collection *collection;
    const uint8_t *rows;
    size_t count, row_bytes, id_bytes;
    uint64_t first_id;
};

bool write_is_raw(const struct http_request *request)
{
    const size_t length = strlen(HTTP_TYPE_BINARY);

    return request->body_type && strncasecmp(request->body_type, HTTP_TYPE_BINARY, length) == 0 &&
           strchr("; \t", request->body_type[length]);
}

static int parse_first_id(struct http_request *request, struct raw *raw, struct error *error)
{
    const char *text = http_request_argument(request, "first_id");

    raw->id_bytes = text ? 0 : sizeof(uint64_t);
    if (!text)
        return 0;
    if (text_parse_u64(text, strlen(text), &raw->first_id) == 0)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Wrong input: query parameter `first_id`: expected an unsigned integer");
}

static int measure(const struct http_request *request, struct raw *raw, struct error *error)
{
    raw->row_bytes = raw->id_bytes + raw->collection->dim * sizeof(float);
    raw->count = request->body.size / raw->row_bytes;
    raw->rows = request->body.data;
    if (request->body.size % raw->row_bytes != 0)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: %zu bytes are not rows of %zu (%s%u float32)",
                         request->body.size, raw->row_bytes,
                         raw->id_bytes > 0 ? "an id of 8 bytes and " : "", raw->collection->dim);
    if (raw->count > WRITE_POINTS_MAX)
        return error_set(error, ERROR_INVALID, "Wrong input: %zu rows, at most %d", raw->count,
                         WRITE_POINTS_MAX);
    if (raw->count > 0 && raw->first_id > UINT64_MAX - (raw->count - 1))
        return error_set(error, ERROR_INVALID,
                         "Wrong input: query parameter `first_id`: the ids exceed 64 bits");
    return 0;
}

static int check_row(const struct raw *raw, size_t row, const float *vector, struct error *error)
{
    bool zeros = raw->collection->metric == VECTOR_METRIC_COSINE;
    uint32_t bad = raw->collection->dim;

    for (uint32_t i = 0; i < raw->collection->dim; i++) {
        zeros &= vector[i] == 0.0F;
        if (!isfinite(vector[i]))
            return error_set(
                error, ERROR_INVALID,
                "Wrong input: row %zu, value %u (byte %zu): %s is not a finite float32", row, i,
                row * raw->row_bytes + raw->id_bytes + i * sizeof(float),
                isnan(vector[i]) ? "NaN"
                : vector[i] < 0  ? "-infinity"
                                 : "infinity");
    }
    if (vector_check_length(raw->collection->metric,
                            vector_squared_length(vector, raw->collection->dim), error) != 0)
        return error_wrap(error, "Wrong input: row %zu", row);
    if (raw->collection->metric == VECTOR_METRIC_HAMMING)
        bad = vector_first_not_bit(vector, raw->collection->dim);
    if (bad < raw->collection->dim)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: row %zu, value %u (byte %zu): %g is not 0 or 1, and "
                         "collection `%s` compares by hamming",
                         row, bad, row * raw->row_bytes + raw->id_bytes + bad * sizeof(float),
                         (double)vector[bad], raw->collection->name);
    return zeros ? error_set(error, ERROR_INVALID,
                             "Wrong input: row %zu: a vector of zeros has no direction, and "
                             "collection `%s` compares by cosine",
                             row, raw->collection->name)
                 : 0;
}

static int add_row(struct http_request *request, const struct raw *raw, size_t row,
                   struct write_list *list, struct error *error)
{
    const uint8_t *bytes = raw->rows + row * raw->row_bytes;
    const size_t vector_bytes = raw->row_bytes - raw->id_bytes;
    float *vector = memory_checked(arena_alloc(&request->arena, vector_bytes, sizeof(float)));
    struct write_record record = {.vector = vector, .packed = true, .time_ms = WRITE_NOW};
    uint64_t id = raw->first_id + row;
    struct store_key key;

    memcpy(vector, bytes + raw->id_bytes, vector_bytes);
    if (raw->id_bytes > 0)
        memcpy(&id, bytes, sizeof(id));
    if (check_row(raw, row, vector, error) != 0)
        return error->code;
    store_key_from_u64(id, &key);
    record.id = (struct query_key){
        (const uint8_t *)arena_copy(&request->arena, key.bytes, key.size_bytes), key.size_bytes};
    return write_add_record(request, &request->arena, raw->collection, &record, list, NULL, error);
}

int write_add_raw(struct http_request *request, const struct config_collection *collection,
                  struct write_list *list, struct error *error)
{
    struct raw raw = {.collection = collection};
    struct stop_meter meter = {.stop = &request->stop};

    if (parse_first_id(request, &raw, error) != 0 || measure(request, &raw, error) != 0)
        return error->code;
    for (size_t row = 0; row < raw.count; row++)
        if (stop_meter_add(&meter, collection->dim, error) != 0 ||
            add_row(request, &raw, row, list, error) != 0)
            return error->code;
    return 0;
}
