/* Shapes that several of the schemas share. */
#ifndef INDEXER_ENDPOINT_REST_SCHEMA_SHAPES_H
#define INDEXER_ENDPOINT_REST_SCHEMA_SHAPES_H

#include "indexer/endpoint/rest/schema.h"

#define REST_SHARD_KEY                                                                             \
    {                                                                                              \
        .name = "shard_key",                                                                       \
        .refused = "a record's id chooses its partition; filter by `@partition` to read one"       \
    }

#define REST_SPARSE    "sparse vectors are stored and returned, no search ranks by them yet"
#define REST_INFERENCE "vectors are computed by the client"

/* What stands for a vector in the dialect and cannot here. */
#define REST_NO_VECTOR_KEYS                                                                        \
    {.name = "indices", .refused = REST_SPARSE}, {.name = "values", .refused = REST_SPARSE},       \
        {.name = "image", .refused = REST_INFERENCE},                                              \
        {.name = "object", .refused = REST_INFERENCE},                                             \
    {                                                                                              \
        .name = "options", .refused = REST_INFERENCE                                               \
    }

extern const struct http_shape rest_named_vector;

#define REST_NAMED_ONLY(key, why)                                                                  \
    {                                                                                              \
        .name = key, .shape = &rest_named_vector, .refused = why                                   \
    }

#define REST_NO_WORDS "points come with their vectors; words are for queries"

/* Of an id beside other types, as keywords of its JSON schema. */
#define REST_ID_ALSO                                                                               \
    "\"minimum\":0,\"maximum\":18446744073709551615,\"minLength\":1,\"maxLength\":255"

/* Words: of a query an embedder makes a vector of them. */
#define REST_WORDS_KEYS                                                                            \
    {.name = "text", .shape = &rest_words, .form = true},                                          \
    {                                                                                              \
        .name = "model", .shape = &http_string, .with = "text"                                     \
    }

extern const struct http_shape rest_id, rest_ids, rest_filter, rest_expression, rest_path,
    rest_paths, rest_numbers, rest_component, rest_row, rest_limit, rest_vector_name, rest_time,
    rest_words, rest_min_offsets;
extern const char rest_path_pattern[]; /* of a string, as keywords of its JSON schema */
extern const struct http_key rest_read_parameters[];

#endif
