/* What a write says: the points of an upsert, one after the other or as columns, and lists of ids.
 * All of it is checked before anything is sent. */
#include <stdio.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/write.h"
#include "store/files/key.h"

enum { WHERE_BYTES = 48 }; /* of a vector's place in the body */

static int check_vector(const struct config_collection *collection, const float *values,
                        struct error *error)
{
    if (collection->metric != VECTOR_METRIC_COSINE)
        return 0;
    for (uint32_t i = 0; i < collection->dim; i++) {
        if (values[i] != 0.0F)
            return 0;
    }
    return error_set(
        error, ERROR_INVALID,
        "Wrong input: a vector of zeros has no direction, and collection `%s` compares by cosine",
        collection->name);
}

static int parse_point_vector(struct arena *arena, const struct config_collection *collection,
                              const struct doc *doc, const char *where, const float **vector,
                              struct error *error)
{
    if (parse_vector(arena, doc, where, collection, vector, error) != 0)
        return error->code;
    return check_vector(collection, *vector, error);
}

static int check_count(const struct doc *list, const char *what, struct error *error)
{
    return list->count <= WRITE_POINTS_MAX
               ? 0
               : error_set(
                     error, ERROR_INVALID,
                     "Format error in JSON body: $.points: expected an array of at most %d %s",
                     WRITE_POINTS_MAX, what);
}

static int parse_key(struct arena *arena, const struct doc *id, struct query_key *key,
                     struct error *error)
{
    struct store_key parsed;

    if (parse_id(id, &parsed, error) != 0)
        return error->code;
    key->bytes = (const uint8_t *)arena_copy(arena, parsed.bytes, parsed.size_bytes);
    key->size_bytes = parsed.size_bytes;
    return 0;
}

int write_parse_ids(struct arena *arena, const struct doc *ids, struct query_key **keys,
                    struct error *error)
{
    int code = check_count(ids, "point ids", error);

    if (code == 0)
        *keys = memory_checked(arena_calloc(arena, (size_t)ids->count + 1, sizeof(**keys)));
    for (uint32_t i = 0; i < ids->count && code == 0; i++)
        code = parse_key(arena, &ids->items[i], &(*keys)[i], error);
    return code;
}

static int parse_point(struct arena *arena, const struct config_collection *collection,
                       const struct doc *id, const struct doc *vector, const char *where,
                       const struct doc *payload, struct write_point *point, struct error *error)
{
    point->payload = payload && payload->type == DOC_MAP ? payload : NULL;
    if (parse_key(arena, id, &point->id, error) != 0)
        return error->code;
    return parse_point_vector(arena, collection, vector, where, &point->vector, error);
}

static int parse_points(struct arena *arena, const struct config_collection *collection,
                        const struct doc *docs, struct write_point *points, struct error *error)
{
    char where[WHERE_BYTES];
    int code = 0;

    for (uint32_t i = 0; i < docs->count && code == 0; i++) {
        snprintf(where, sizeof(where), "$.points[%u].vector", i);
        code = parse_point(arena, collection, doc_get(&docs->items[i], "id"),
                           doc_get(&docs->items[i], "vector"), where,
                           doc_get(&docs->items[i], "payload"), &points[i], error);
    }
    return code;
}

/* {"batch": {"ids", "vectors", "payloads"}}: the same as columns. */
static int parse_columns(struct arena *arena, const struct config_collection *collection,
                         const struct doc *batch, struct write_point *points, struct error *error)
{
    const struct doc *ids = doc_get(batch, "ids");
    const struct doc *vectors = doc_get(batch, "vectors");
    const struct doc *payloads = doc_get(batch, "payloads");
    char where[WHERE_BYTES];
    int code = 0;

    if (vectors->type == DOC_MAP)
        vectors = doc_get(vectors, "");
    if (!vectors || vectors->count != ids->count || (payloads && payloads->count != ids->count))
        return error_set(
            error, ERROR_INVALID,
            "Format error in JSON body: $.batch: expected equally many ids, vectors and payloads");
    for (uint32_t i = 0; i < ids->count && code == 0; i++) {
        snprintf(where, sizeof(where), "$.batch.vectors[%u]", i);
        code = parse_point(arena, collection, &ids->items[i], &vectors->items[i], where,
                           payloads ? &payloads->items[i] : NULL, &points[i], error);
    }
    return code;
}

int write_parse_points(struct arena *arena, const struct config_collection *collection,
                       const struct doc *body, struct write_point **points, size_t *count,
                       struct error *error)
{
    const struct doc *docs = doc_get(body, "points");
    const struct doc *batch = docs ? NULL : doc_get(body, "batch");
    const struct doc *rows = docs ? docs : doc_get(batch, "ids");

    *count = 0;
    if (!docs && !batch)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $: expected `points` or `batch`");
    if (check_count(rows, "points", error) != 0)
        return error->code;
    *points = memory_checked(arena_calloc(arena, (size_t)rows->count + 1, sizeof(**points)));
    *count = rows->count;
    return docs ? parse_points(arena, collection, docs, *points, error)
                : parse_columns(arena, collection, batch, *points, error);
}
