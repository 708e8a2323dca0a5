/* Shapes that several of the schemas share. */
#ifndef INDEXER_REST_SCHEMA_SHAPES_H
#define INDEXER_REST_SCHEMA_SHAPES_H

#include "indexer/rest/schema.h"

#define REST_SHARD_KEY                                                                             \
    {                                                                                              \
        .name = "shard_key",                                                                       \
        .refused = "a record's id chooses its partition; filter by `@partition` to read one"       \
    }

#define REST_SPARSE    "there are no sparse vectors"
#define REST_INFERENCE "vectors are computed by the client"

/* What stands for a vector in the dialect and cannot here. */
#define REST_NO_VECTOR_KEYS                                                                        \
    {.name = "indices", .refused = REST_SPARSE}, {.name = "values", .refused = REST_SPARSE},       \
        {.name = "text", .refused = REST_INFERENCE}, {.name = "image", .refused = REST_INFERENCE}, \
        {.name = "object", .refused = REST_INFERENCE},                                             \
        {.name = "model", .refused = REST_INFERENCE},                                              \
    {                                                                                              \
        .name = "options", .refused = REST_INFERENCE                                               \
    }

extern const struct http_shape rest_id, rest_ids, rest_filter;
extern const struct http_key rest_vector_keys[];
extern const struct http_key rest_read_parameters[];

#endif
