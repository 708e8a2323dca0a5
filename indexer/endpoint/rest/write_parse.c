/* What a write says: the points of an upsert, one after the other or as columns, and lists of ids.
 * All of it is checked before anything is sent. */
#include <stdio.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/write.h"
#include "store/files/key.h"
#include "store/files/parts.h"

enum { WHERE_BYTES = 48 }; /* of a vector's place in the body */

static int check_vector(const struct config_vector *vector, const float *values,
                        struct error *error)
{
    if (vector->metric != VECTOR_METRIC_COSINE)
        return 0;
    for (uint32_t i = 0; i < vector->dim; i++) {
        if (values[i] != 0.0F)
            return 0;
    }
    return error_set(error, ERROR_INVALID,
                     "Wrong input: a vector of zeros has no direction, and it is compared by "
                     "cosine");
}

static int parse_dense(struct arena *arena, const struct config_collection *collection,
                       const struct doc *doc, const char *where, const float **values,
                       struct error *error)
{
    const struct config_vector own = config_own_vector(collection);

    if (parse_vector(arena, doc, where, &own, values, error) != 0)
        return error->code;
    return check_vector(&own, *values, error);
}

/* A dense vector beside that, or a list of them. */
static int parse_extra(struct arena *arena, const struct config_vector *extra,
                       const struct doc *doc, const char *where, struct doc *parts,
                       struct error *error)
{
    const float *values;
    uint32_t rows = 1;
    int code = extra->multiple ? parse_vector_list(arena, doc, where, extra, &values, &rows, error)
                               : parse_vector(arena, doc, where, extra, &values, error);

    for (uint32_t i = 0; i < rows && code == 0; i++)
        code = check_vector(extra, values + (size_t)i * extra->dim, error);
    if (code == 0)
        doc_put(parts, extra->name, parts_dense(values, extra->dim, rows, extra->multiple, arena));
    return code;
}

/* One beside the collection's own, by its name. */
static int parse_part(struct arena *arena, const struct config_collection *collection,
                      const struct doc *name, const char *where, struct doc *parts,
                      struct error *error)
{
    const struct config_vector *extra = config_extra_vector(collection, name->string, name->count);
    const char *declared = config_sparse_vector(collection, name->string, name->count);
    struct error inner = {0};

    if (extra)
        return parse_extra(arena, extra, &name[1], where, parts, error);
    if (!declared)
        return parse_no_such_vector(name, error);
    if (parts_check_sparse(&name[1], arena, &inner) != 0)
        return error_set(error, inner.code, "Validation error in JSON body: [%s.%.200s%s]", where,
                         declared, inner.text);
    doc_put(parts, declared, name[1]);
    return 0;
}

/* An array is a dense vector without a name, an object has vectors by their names. */
static int parse_vectors(struct arena *arena, const struct config_collection *collection,
                         const struct doc *doc, const char *where, struct write_point *point,
                         struct error *error)
{
    struct doc *parts;

    if (doc->type != DOC_MAP && !config_is_dense_vector(collection, "", 0))
        return parse_no_unnamed_vector(collection, error);
    if (doc->type != DOC_MAP)
        return parse_dense(arena, collection, doc, where, &point->vector, error);
    parts = doc_items(arena, 1);
    *parts = doc_map(arena, doc->count);
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct doc *name = &doc->items[2 * i];
        int code = config_is_dense_vector(collection, name->string, name->count)
                       ? parse_dense(arena, collection, &name[1], where, &point->vector, error)
                       : parse_part(arena, collection, name, where, parts, error);
        if (code != 0)
            return code;
    }
    point->parts = parts;
    return 0;
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
    return parse_vectors(arena, collection, vector, where, point, error);
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

/* Columns of vectors by name into vectors by name, one object a point. NULL: not of equal length. */
static const struct doc *rows_of_columns(struct arena *arena, const struct doc *columns,
                                         uint32_t count)
{
    struct doc *rows = doc_items(arena, count + 1);

    for (uint32_t i = 0; i < columns->count; i++)
        if (columns->items[2 * i + 1].count != count)
            return NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct doc *pairs = doc_items(arena, 2 * columns->count);
        for (uint32_t j = 0; j < columns->count; j++) {
            pairs[2 * j] = columns->items[2 * j];
            pairs[2 * j + 1] = columns->items[2 * j + 1].items[i];
        }
        rows[i] = (struct doc){.type = DOC_MAP, .count = columns->count, .items = pairs};
    }
    rows[count] = (struct doc){.type = DOC_ARRAY, .count = count, .items = rows};
    return &rows[count];
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
        vectors = rows_of_columns(arena, vectors, ids->count);
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

int write_open(struct http_request *request, const struct config_collection **collection,
               struct doc *body, struct parse_extras *extras, struct error *error)
{
    if (rest_request_collection(request, collection, error) != 0 ||
        http_request_body(request, body, error) != 0)
        return error->code;
    return parse_extras(request, body, extras, error);
}

struct doc write_filter_of_ids(struct arena *arena, const struct doc *filter,
                               const struct query_key *ids, size_t count)
{
    struct doc *items = doc_items(arena, (uint32_t)count);
    struct doc *must = doc_items(arena, 2);
    struct doc map = doc_map(arena, 1);
    struct doc has_id = doc_map(arena, 1);
    const bool all = !filter || filter->type != DOC_MAP || filter->count == 0;

    for (size_t i = 0; i < count; i++)
        items[i] = store_key_to_doc(ids[i].bytes, ids[i].size_bytes, arena);
    doc_put(&has_id, "has_id",
            (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = items});
    must[0] = has_id;
    if (!all)
        must[1] = *filter;
    doc_put(&map, "must", (struct doc){.type = DOC_ARRAY, .count = all ? 1 : 2, .items = must});
    return map;
}
