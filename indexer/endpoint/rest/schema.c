/* Parameters, writes, and the shapes that everything is made of. */
#include "indexer/endpoint/rest/schema_shapes.h"

/* Query parameters. */

/* Kafka keeps one order for each id, which is what the strongest of them asks for. */
static const char *const orderings[] = {"weak", "medium", "strong", NULL};
static const struct http_shape ordering = {.types = HTTP_STRING, .values = orderings};
/* Which of them hold depends on the copies that there are: parse_extras. */
static const struct http_shape consistency = {
    .types = HTTP_INTEGER | HTTP_STRING,
    .written = "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":1,\"maximum\":2147483647},"
               "{\"type\":\"string\",\"enum\":[\"majority\",\"quorum\",\"all\"]}]}"};

const struct http_key rest_read_parameters[] = {
    {.name = "timeout", .shape = &http_positive},
    {.name = "consistency", .shape = &consistency},
    {.name = NULL},
};
/* Of an id in a path, which has no quotes: without it digits are a number. */
static const char *const id_kinds[] = {"number", "text", NULL};
static const struct http_shape id_kind = {.types = HTTP_STRING, .values = id_kinds};
static const struct http_key point_parameters[] = {
    {.name = "timeout", .shape = &http_positive},
    {.name = "consistency", .shape = &consistency},
    {.name = "id_kind", .shape = &id_kind},
    {.name = NULL},
};
static const struct http_key write_parameters[] = {
    {.name = "wait", .shape = &http_flag},
    {.name = "ordering", .shape = &ordering},
    {.name = "timeout", .shape = &http_positive},
    {.name = NULL},
};
static const struct http_key upsert_parameters[] = {
    {.name = "wait", .shape = &http_flag},
    {.name = "ordering", .shape = &ordering},
    {.name = "timeout", .shape = &http_positive},
    {.name = "first_id", .shape = &http_natural}, /* of a body of vectors: write_raw.c */
    {.name = NULL},
};
static const struct http_key timeout_parameter[] = {
    {.name = "timeout", .shape = &http_positive},
    {.name = NULL},
};
/* There is one level of details. */
static const struct http_key telemetry_parameters[] = {
    {.name = "anonymize", .shape = &http_flag},
    {.name = "details_level", .shape = &http_natural},
    {.name = "timeout", .shape = &http_positive},
    {.name = NULL},
};
static const struct http_key windows_parameters[] = {
    {.name = "collection", .shape = &http_string},
    {.name = "local", .shape = &http_flag},
    {.name = NULL},
};

/* Ids and vectors. */

const struct http_shape rest_id = {
    .name = "PointId",
    .types = HTTP_INTEGER | HTTP_STRING,
    .written = "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":0,\"maximum\":18446744073709551615},{"
               "\"type\":\"string\",\"minLength\":1,\"maxLength\":255}]}"};
const struct http_shape rest_ids = {.types = HTTP_ARRAY, .items = &rest_id};
/* A vector has as many as its collection has dimensions. */
const struct http_shape rest_component = {.name = "Component",
                                          .types = HTTP_NUMBER,
                                          .also =
                                              "\"minimum\":-3.4028234e38,\"maximum\":3.4028234e38"};
const struct http_shape rest_numbers = {.types = HTTP_ARRAY, .items = &rest_component};

/* a.b, a[].b, a[0], "a.b".c */
#define KEY_PATTERN "(\\\"[^\\\"]+\\\"|[^.\\\\[\\\\]\\\"]+)(\\\\[[0-9]{0,9}\\\\])*"

#define PATH_PATTERN "\"pattern\":\"^" KEY_PATTERN "(\\\\." KEY_PATTERN ")*$\""

const char rest_path_pattern[] = PATH_PATTERN;
const struct http_shape rest_path = {
    .name = "PayloadPath", .types = HTTP_STRING, .also = rest_path_pattern};
const struct http_shape rest_paths = {.types = HTTP_ARRAY, .items = &rest_path};

const struct http_shape rest_limit = {.types = HTTP_INTEGER,
                                      .has_minimum = true,
                                      .minimum = 1,
                                      .also = "\"maximum\":100000"}; /* QUERY_LIMIT_MAX */
const struct http_shape rest_vector_name = {.types = HTTP_STRING, .also = "\"maxLength\":255"};
const struct http_shape rest_words = {.types = HTTP_STRING,
                                      .also = "\"minLength\":1,\"maxLength\":16384"};
const struct http_shape rest_min_offsets = {.types = HTTP_OBJECT,
                                            .also =
                                                "\"additionalProperties\":{\"type\":\"integer\","
                                                "\"minimum\":0,\"maximum\":9223372036854775807}"};
const struct http_shape rest_time = {
    .types = HTTP_INTEGER | HTTP_STRING,
    .written = "{\"anyOf\":[{\"type\":\"integer\",\"minimum\":-9223372036854775808,\"maximum\":"
               "9223372036854775807},{\"type\":\"string\",\"format\":\"date-time\"}]}"};

static const struct http_shape sparse_index = {
    .types = HTTP_INTEGER, .has_minimum = true, .also = "\"maximum\":4294967295"};
static const struct http_shape sparse_indices = {.types = HTTP_ARRAY, .items = &sparse_index};
static const struct http_key sparse_keys[] = {
    {.name = "indices", .shape = &sparse_indices, .required = true},
    {.name = "values", .shape = &rest_numbers, .required = true},
    {.name = NULL},
};
/* A number of a vector, or a vector of a list. */
const struct http_shape rest_row = {.name = "Row",
                                    .types = HTTP_NUMBER | HTTP_ARRAY,
                                    .items = &rest_component,
                                    .also = "\"minimum\":-3.4028234e38,\"maximum\":3.4028234e38"};
/* A sparse vector, or a dense one that has a name, or a list of those. */
const struct http_shape rest_named_vector = {.name = "NamedVector",
                                             .types = HTTP_ARRAY | HTTP_OBJECT,
                                             .keys = sparse_keys,
                                             .items = &rest_row};
static const struct http_key other_vectors = {.shape = &rest_named_vector};
/* Keys of what is no vector here may be names of vectors as well: their values tell. */
static const struct http_key vector_keys[] = {
    {.name = "", .shape = &rest_numbers},
    REST_NAMED_ONLY("image", REST_INFERENCE),
    {.name = "object", .refused = REST_INFERENCE},
    {.name = "options", .refused = REST_INFERENCE},
    REST_NAMED_ONLY("text", REST_NO_WORDS),
    REST_NAMED_ONLY("model", REST_NO_WORDS),
    {.name = NULL},
};
static const struct http_shape vector = {.name = "Vector",
                                         .types = HTTP_ARRAY | HTTP_OBJECT,
                                         .keys = vector_keys,
                                         .others = &other_vectors,
                                         .items = &rest_component};

/* Writes. */

static const struct http_key write_extras_keys[] = {
    {.name = "timeout_ms", .shape = &http_positive},
    {.name = NULL},
};
static const struct http_shape write_extras = {.types = HTTP_OBJECT, .keys = write_extras_keys};
static const struct http_key delete_extras_keys[] = {
    {.name = "timeout_ms", .shape = &http_positive},
    {.name = "min_offsets", .shape = &rest_min_offsets}, /* of what a filter must see */
    {.name = NULL},
};
static const struct http_shape delete_extras = {.types = HTTP_OBJECT, .keys = delete_extras_keys};

static const struct http_shape payload = {.types = HTTP_OBJECT | HTTP_NULL};
static const struct http_shape payloads = {.types = HTTP_ARRAY, .items = &payload};
static const struct http_key point_keys[] = {
    {.name = "id", .shape = &rest_id, .required = true},
    {.name = "vector", .shape = &vector, .required = true},
    {.name = "payload", .shape = &payload},
    {.name = NULL},
};
static const struct http_shape point = {.name = "Point", .types = HTTP_OBJECT, .keys = point_keys};
static const struct http_shape points = {.types = HTTP_ARRAY, .items = &point};

/* {"": [...]} are those of a vector without a name. */
static const struct http_shape column = {.types = HTTP_ARRAY, .items = &rest_numbers};
static const struct http_shape named_column = {.types = HTTP_ARRAY, .items = &rest_named_vector};
static const struct http_key columns_keys[] = {{.name = "", .shape = &column}, {.name = NULL}};
static const struct http_key other_columns = {.shape = &named_column};
static const struct http_shape columns = {.types = HTTP_ARRAY | HTTP_OBJECT,
                                          .keys = columns_keys,
                                          .others = &other_columns,
                                          .items = &vector};
static const struct http_key batch_keys[] = {
    {.name = "ids", .shape = &rest_ids, .required = true},
    {.name = "vectors", .shape = &columns, .required = true},
    {.name = "payloads", .shape = &payloads},
    {.name = NULL},
};
static const struct http_shape batch = {.types = HTTP_OBJECT, .keys = batch_keys};

static const char *const update_modes[] = {"upsert", "insert_only", "update_only", NULL};
static const struct http_shape update_mode = {.types = HTTP_STRING, .values = update_modes};

#define UPSERT_KEYS                                                                                \
    {.name = "points", .shape = &points, .form = true},                                            \
        {.name = "batch", .shape = &batch, .form = true}, REST_SHARD_KEY,                          \
        {.name = "update_filter", .shape = &rest_filter},                                          \
    {                                                                                              \
        .name = "update_mode", .shape = &update_mode                                               \
    }

static const struct http_key upsert_keys[] = {
    UPSERT_KEYS,
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape upsert = {
    .name = "Upsert",
    .types = HTTP_OBJECT,
    .keys = upsert_keys,
    .or_bytes = true,
    .needs_form = true,
    .example =
        "{\"points\":[{\"id\":1,\"vector\":[0.1,0.2,0.3,0.4],\"payload\":{\"tag\":\"a\"}}]}"};

static const struct http_key delete_keys[] = {
    {.name = "points", .shape = &rest_ids, .form = true},
    {.name = "filter", .shape = &rest_filter, .form = true},
    REST_SHARD_KEY,
    {.name = "windrow", .shape = &delete_extras},
    {.name = NULL},
};
static const struct http_shape delete_body = {.name = "Delete",
                                              .types = HTTP_OBJECT,
                                              .keys = delete_keys,
                                              .needs_form = true,
                                              .example = "{\"points\":[1,2]}"};

/* Parts of points. */

static const struct http_shape payload_to_set = {.types = HTTP_OBJECT};

#define SELECTED_KEYS                                                                              \
    {.name = "points", .shape = &rest_ids, .form = true},                                          \
        {.name = "filter", .shape = &rest_filter, .form = true}, REST_SHARD_KEY

#define PAYLOAD_SET_KEYS                                                                           \
    {.name = "payload", .shape = &payload_to_set, .required = true},                               \
        {.name = "key", .shape = &rest_path}, SELECTED_KEYS

static const struct http_key point_vector_keys[] = {
    {.name = "id", .shape = &rest_id, .required = true},
    {.name = "vector", .shape = &vector, .required = true},
    {.name = NULL},
};
static const struct http_shape point_vector = {.types = HTTP_OBJECT, .keys = point_vector_keys};
static const struct http_shape point_vectors = {.types = HTTP_ARRAY, .items = &point_vector};

#define VECTORS_UPDATE_KEYS                                                                        \
    {.name = "points", .shape = &point_vectors, .required = true}, REST_SHARD_KEY,                 \
    {                                                                                              \
        .name = "update_filter", .shape = &rest_filter                                             \
    }

static const struct http_key payload_set_keys[] = {
    PAYLOAD_SET_KEYS,
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape payload_set = {.name = "SetPayload",
                                              .types = HTTP_OBJECT,
                                              .keys = payload_set_keys,
                                              .needs_form = true,
                                              .example =
                                                  "{\"payload\":{\"tag\":\"b\"},\"points\":[1]}"};
static const struct http_key payload_delete_keys[] = {
    {.name = "keys", .shape = &rest_paths, .required = true},
    SELECTED_KEYS,
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape payload_delete = {.name = "DeletePayload",
                                                 .types = HTTP_OBJECT,
                                                 .keys = payload_delete_keys,
                                                 .needs_form = true,
                                                 .example = "{\"keys\":[\"tag\"],\"points\":[1]}"};
static const struct http_key payload_clear_keys[] = {
    SELECTED_KEYS,
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape payload_clear = {.name = "ClearPayload",
                                                .types = HTTP_OBJECT,
                                                .keys = payload_clear_keys,
                                                .needs_form = true,
                                                .example = "{\"points\":[1]}"};
static const struct http_shape vector_names = {.types = HTTP_ARRAY, .items = &rest_vector_name};

#define VECTORS_DELETE_KEYS                                                                        \
    {.name = "vector", .shape = &vector_names, .required = true}, SELECTED_KEYS

static const struct http_key vectors_delete_keys[] = {
    VECTORS_DELETE_KEYS,
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape vectors_delete = {.name = "DeleteVectors",
                                                 .types = HTTP_OBJECT,
                                                 .keys = vectors_delete_keys,
                                                 .needs_form = true,
                                                 .example =
                                                     "{\"vector\":[\"text\"],\"points\":[1]}"};
static const struct http_key vectors_update_keys[] = {
    VECTORS_UPDATE_KEYS,
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape vectors_update = {
    .name = "UpdateVectors",
    .types = HTTP_OBJECT,
    .keys = vectors_update_keys,
    .example = "{\"points\":[{\"id\":1,\"vector\":[0.4,0.3,0.2,0.1]}]}"};

/* windrow's own: ids in several shards. */
static const struct http_key repair_keys[] = {
    {.name = "offset", .shape = &rest_id}, /* the id to begin with */
    {.name = "limit", .shape = &rest_limit},     {.name = "dry_run", .shape = &http_boolean},
    {.name = "windrow", .shape = &write_extras}, {.name = NULL},
};
static const struct http_shape repair = {
    .name = "Repair", .types = HTTP_OBJECT, .keys = repair_keys, .example = "{\"dry_run\":true}"};

/* Several writes. */

static const struct http_key upsert_operation_keys[] = {UPSERT_KEYS, {.name = NULL}};
static const struct http_shape upsert_operation = {
    .types = HTTP_OBJECT, .keys = upsert_operation_keys, .needs_form = true};
static const struct http_key delete_operation_keys[] = {
    SELECTED_KEYS,
    {.name = NULL},
};
static const struct http_shape selecting_operation = {
    .types = HTTP_OBJECT, .keys = delete_operation_keys, .needs_form = true};
static const struct http_key payload_set_operation_keys[] = {PAYLOAD_SET_KEYS, {.name = NULL}};
static const struct http_shape payload_set_operation = {
    .types = HTTP_OBJECT, .keys = payload_set_operation_keys, .needs_form = true};
static const struct http_key payload_delete_operation_keys[] = {
    {.name = "keys", .shape = &rest_paths, .required = true},
    SELECTED_KEYS,
    {.name = NULL},
};
static const struct http_shape payload_delete_operation = {
    .types = HTTP_OBJECT, .keys = payload_delete_operation_keys, .needs_form = true};
static const struct http_key vectors_operation_keys[] = {VECTORS_UPDATE_KEYS, {.name = NULL}};
static const struct http_shape vectors_operation = {.types = HTTP_OBJECT,
                                                    .keys = vectors_operation_keys};

static const struct http_key vectors_delete_operation_keys[] = {VECTORS_DELETE_KEYS,
                                                                {.name = NULL}};
static const struct http_shape vectors_delete_operation = {
    .types = HTTP_OBJECT, .keys = vectors_delete_operation_keys, .needs_form = true};

static const struct http_key operation_keys[] = {
    {.name = "upsert", .shape = &upsert_operation, .form = true},
    {.name = "delete", .shape = &selecting_operation, .form = true},
    {.name = "set_payload", .shape = &payload_set_operation, .form = true},
    {.name = "overwrite_payload", .shape = &payload_set_operation, .form = true},
    {.name = "delete_payload", .shape = &payload_delete_operation, .form = true},
    {.name = "clear_payload", .shape = &selecting_operation, .form = true},
    {.name = "update_vectors", .shape = &vectors_operation, .form = true},
    {.name = "delete_vectors", .shape = &vectors_delete_operation, .form = true},
    {.name = NULL},
};
static const struct http_shape operation = {
    .types = HTTP_OBJECT, .keys = operation_keys, .needs_form = true};
static const struct http_shape operations = {.types = HTTP_ARRAY, .items = &operation};
static const struct http_key write_batch_keys[] = {
    {.name = "operations", .shape = &operations, .required = true},
    {.name = "windrow", .shape = &write_extras},
    {.name = NULL},
};
static const struct http_shape write_batch = {
    .name = "WriteBatch",
    .types = HTTP_OBJECT,
    .keys = write_batch_keys,
    .example = "{\"operations\":[{\"delete\":{\"points\":[1]}}]}"};

/* Collections. What only tunes Qdrant's storage is taken: answers are the same. */

#define NO_STRICT "limits are those of http in windrow.yaml"

static const char *const distances[] = {"Cosine", "Dot", "Euclid", "Hamming", NULL};
static const char *const datatypes[] = {"float32", NULL};
static const char *const sharding_methods[] = {"auto", NULL};
static const struct http_shape distance = {.types = HTTP_STRING, .values = distances};
static const struct http_shape datatype = {.types = HTTP_STRING, .values = datatypes};
static const struct http_shape sharding_method = {.types = HTTP_STRING, .values = sharding_methods};

static const char *const memories[] = {"cold", "cached", "pinned", NULL};
static const struct http_shape memory = {.types = HTTP_STRING, .values = memories};

/* What changes nothing about a graph here. */
#define HNSW_TUNING                                                                                \
    {.name = "full_scan_threshold", .shape = &http_natural},                                       \
        {.name = "max_indexing_threads", .shape = &http_natural},                                  \
        {.name = "on_disk", .shape = &http_boolean}, {.name = "memory", .shape = &memory},         \
        {.name = "payload_m", .shape = &http_natural},                                             \
    {                                                                                              \
        .name = "inline_storage", .shape = &http_boolean                                           \
    }

static const struct http_key hnsw_keys[] = {
    {.name = "m", .shape = &http_positive},
    {.name = "ef_construct", .shape = &http_positive},
    HNSW_TUNING,
    {.name = NULL},
};
static const struct http_shape hnsw = {.types = HTTP_OBJECT, .keys = hnsw_keys};

static const struct http_key hnsw_update_keys[] = {
    {.name = "m", .refused = "segments that exist keep their graph"},
    {.name = "ef_construct", .refused = "segments that exist keep their graph"},
    HNSW_TUNING,
    {.name = NULL},
};
static const struct http_shape hnsw_update = {.types = HTTP_OBJECT, .keys = hnsw_update_keys};

/* Kept and shown, with whatever they hold. */
#define QUANTIZATION_KEYS                                                                          \
    {.name = "scalar", .shape = &http_object, .form = true},                                       \
        {.name = "product", .shape = &http_object, .form = true},                                  \
        {.name = "binary", .shape = &http_object, .form = true},                                   \
    {                                                                                              \
        .name = "turbo", .refused = "vectors are stored as `vectors.storage` says"                 \
    }
static const struct http_key quantization_keys[] = {QUANTIZATION_KEYS, {.name = NULL}};
static const struct http_shape quantization = {.types = HTTP_OBJECT, .keys = quantization_keys};
static const char *const disabled[] = {"Disabled", NULL};
static const struct http_shape quantization_update = {
    .types = HTTP_OBJECT | HTTP_STRING, .keys = quantization_keys, .values = disabled};

static const char *const automatic[] = {"auto", NULL};
static const struct http_shape threads = {.types = HTTP_INTEGER | HTTP_STRING, .values = automatic};
static const struct http_key optimizer_keys[] = {
    {.name = "deleted_threshold", .shape = &http_number},
    {.name = "vacuum_min_vector_number", .shape = &http_natural},
    {.name = "default_segment_number", .shape = &http_natural},
    {.name = "max_segment_size", .shape = &http_natural},
    {.name = "memmap_threshold", .shape = &http_natural},
    {.name = "indexing_threshold", .shape = &http_natural},
    {.name = "flush_interval_sec", .shape = &http_natural},
    {.name = "max_optimization_threads", .shape = &threads},
    {.name = "prevent_unoptimized", .shape = &http_boolean},
    {.name = NULL},
};
static const struct http_shape optimizers = {.types = HTTP_OBJECT, .keys = optimizer_keys};
static const struct http_key wal_keys[] = {
    {.name = "wal_capacity_mb", .shape = &http_positive},
    {.name = "wal_segments_ahead", .shape = &http_natural},
    {.name = "wal_retain_closed", .shape = &http_natural},
    {.name = NULL},
};
static const struct http_shape wal = {.types = HTTP_OBJECT, .keys = wal_keys};
static const struct http_key placed_keys[] = {{.name = "memory", .shape = &memory}, {.name = NULL}};
static const struct http_shape placed = {.types = HTTP_OBJECT, .keys = placed_keys};

#define NO_DISTANCE "vectors are compared by Cosine, Dot or Euclid, and vectors of bits by Hamming"

static const char *const comparators[] = {"max_sim", NULL};
static const struct http_shape comparator = {.types = HTTP_STRING, .values = comparators};
static const struct http_key multivector_keys[] = {
    {.name = "comparator", .shape = &comparator, .required = true},
    {.name = NULL},
};
static const struct http_shape multivector = {.types = HTTP_OBJECT, .keys = multivector_keys};

#define VECTOR_PARAMETERS                                                                          \
    {.name = "size", .shape = &http_positive},                                                     \
        {.name = "distance", .shape = &distance, .refused = NO_DISTANCE},                          \
        {.name = "on_disk", .shape = &http_boolean}, {.name = "memory", .shape = &memory},         \
        {.name = "quantization_config", .shape = &quantization},                                   \
        {.name = "datatype", .shape = &datatype, .refused = "vectors are float32"},                \
        {.name = "hnsw_config", .shape = &hnsw},                                                   \
    {                                                                                              \
        .name = "multivector_config", .shape = &multivector                                        \
    }

static const struct http_key vector_params_keys[] = {VECTOR_PARAMETERS, {.name = NULL}};
static const struct http_shape vector_params = {
    .name = "VectorParams", .types = HTTP_OBJECT, .keys = vector_params_keys};
static const struct http_key vectors_keys[] = {
    VECTOR_PARAMETERS,
    {.name = "", .shape = &vector_params},
    {.name = NULL},
};
/* By the vector's name. One that has parameters of its own is told from them by its key. */
static const struct http_key named_vector = {.shape = &vector_params};
static const struct http_shape vectors = {
    .types = HTTP_OBJECT, .keys = vectors_keys, .others = &named_vector};

static const char *const modifiers[] = {"none", "idf", NULL};
static const struct http_shape modifier = {.types = HTTP_STRING, .values = modifiers};
static const struct http_key sparse_index_keys[] = {
    {.name = "full_scan_threshold", .shape = &http_natural},
    {.name = "on_disk", .shape = &http_boolean},
    {.name = "memory", .shape = &memory},
    {.name = "datatype", .shape = &datatype, .refused = "values are float32"},
    {.name = NULL},
};
static const struct http_shape sparse_vector_index = {.types = HTTP_OBJECT,
                                                      .keys = sparse_index_keys};
static const struct http_key sparse_vector_keys[] = {
    {.name = "index", .shape = &sparse_vector_index},
    {.name = "modifier", .shape = &modifier},
    {.name = NULL},
};
static const struct http_shape sparse_vector = {
    .name = "SparseVectorParams", .types = HTTP_OBJECT, .keys = sparse_vector_keys};
static const struct http_key no_keys[] = {{.name = NULL}};
static const struct http_key each_sparse_vector = {.shape = &sparse_vector};
static const struct http_shape sparse_vectors = {
    .types = HTTP_OBJECT, .keys = no_keys, .others = &each_sparse_vector};
/* Keys of collections.NAME in windrow.yaml; the file's own checks name what is wrong. */
static const struct http_key metadata_keys[] = {{.name = "windrow", .shape = &http_object},
                                                {.name = NULL}};
static const struct http_shape anything = {.types = HTTP_ANY};
static const struct http_key other_metadata = {.shape = &anything};
static const struct http_shape metadata = {
    .types = HTTP_OBJECT, .keys = metadata_keys, .others = &other_metadata};

static const struct http_key collection_keys[] = {
    {.name = "vectors", .shape = &vectors, .required = true},
    {.name = "shard_number", .shape = &http_positive},
    {.name = "replication_factor", .shape = &http_positive},
    {.name = "write_consistency_factor", .shape = &http_positive},
    {.name = "sharding_method",
     .shape = &sharding_method,
     .refused = "a record's id chooses its partition"},
    {.name = "on_disk_payload", .shape = &http_boolean},
    {.name = "hnsw_config", .shape = &hnsw},
    {.name = "optimizers_config", .shape = &optimizers},
    {.name = "wal_config", .shape = &wal},
    {.name = "quantization_config", .shape = &quantization, .form = true},
    {.name = "quantization", .shape = &quantization, .form = true}, /* another name of it */
    {.name = "payload", .shape = &placed},
    {.name = "id_tracker", .shape = &placed},
    {.name = "sparse_vectors", .shape = &sparse_vectors},
    {.name = "strict_mode_config", .refused = NO_STRICT},
    {.name = "init_from", .refused = "records come from Kafka"},
    {.name = "metadata", .shape = &metadata},
    {.name = "windrow", .shape = &http_object},
    {.name = NULL},
};
static const struct http_shape collection_body = {
    .name = "Collection",
    .types = HTTP_OBJECT,
    .keys = collection_keys,
    .example = "{\"vectors\":{\"size\":4,\"distance\":\"Cosine\"}}"};
#define VECTOR_UPDATE                                                                              \
    {.name = "on_disk", .shape = &http_boolean}, {.name = "memory", .shape = &memory},             \
        {.name = "quantization_config", .shape = &quantization_update},                            \
    {                                                                                              \
        .name = "hnsw_config", .shape = &hnsw_update                                               \
    }
static const struct http_key vector_update_keys[] = {VECTOR_UPDATE, {.name = NULL}};
static const struct http_shape vector_update = {.types = HTTP_OBJECT, .keys = vector_update_keys};
static const struct http_key named_vector_update = {.shape = &vector_update};
static const struct http_key vectors_update_body_keys[] = {
    VECTOR_UPDATE,
    {.name = "", .shape = &vector_update},
    {.name = NULL},
};
static const struct http_shape vectors_update_body = {
    .types = HTTP_OBJECT, .keys = vectors_update_body_keys, .others = &named_vector_update};
static const struct http_key params_update_keys[] = {
    {.name = "replication_factor", .refused = "the topic decides about partitions and copies"},
    {.name = "write_consistency_factor", .shape = &http_positive},
    {.name = "read_fan_out_factor", .shape = &http_natural},
    {.name = "read_fan_out_delay_ms", .shape = &http_natural},
    {.name = "on_disk_payload", .shape = &http_boolean},
    {.name = "payload", .shape = &placed},
    {.name = "id_tracker", .shape = &placed},
    {.name = NULL},
};
static const struct http_shape params_update = {.types = HTTP_OBJECT, .keys = params_update_keys};
static const struct http_key update_keys[] = {
    {.name = "optimizers_config", .shape = &optimizers},
    {.name = "quantization_config", .shape = &quantization_update},
    {.name = "hnsw_config", .shape = &hnsw_update},
    {.name = "vectors", .shape = &vectors_update_body},
    {.name = "params", .shape = &params_update},
    {.name = "sparse_vectors", .shape = &sparse_vectors},
    {.name = "strict_mode_config", .refused = NO_STRICT},
    {.name = "metadata", .shape = &metadata},
    {.name = "windrow", .shape = &http_object},
    {.name = NULL},
};
static const struct http_shape update_body = {
    .name = "CollectionUpdate", .types = HTTP_OBJECT, .keys = update_keys};
/* Payload indexes: filters answer the same with one and without, so what only tunes it is taken. What
 * changes the words of a text is not. */

#define WORDS "text is compared by whole words of letters and digits in lower case"

static const char *const field_types[] = {"keyword", "integer",  "float", "geo", "text",
                                          "bool",    "datetime", "uuid",  NULL};
static const char *const no[] = {"false", NULL};
static const char *const yes[] = {"true", NULL};
static const char *const tokenizers[] = {"word", NULL};
static const struct http_shape field_type = {.types = HTTP_STRING, .values = field_types};
static const struct http_shape only_no = {.types = HTTP_BOOLEAN, .values = no};
static const struct http_shape only_yes = {.types = HTTP_BOOLEAN, .values = yes};
static const struct http_shape tokenizer = {.types = HTTP_STRING, .values = tokenizers};

static const struct http_key field_keys[] = {
    {.name = "type", .shape = &field_type, .required = true},
    {.name = "is_tenant", .shape = &http_boolean},
    {.name = "is_principal", .shape = &http_boolean},
    {.name = "on_disk", .shape = &http_boolean},
    {.name = "memory", .shape = &http_string},
    {.name = "enable_hnsw", .shape = &http_boolean},
    {.name = "lookup", .shape = &http_boolean},
    {.name = "range", .shape = &http_boolean},
    {.name = "phrase_matching", .shape = &http_boolean},
    {.name = "tokenizer", .shape = &tokenizer, .refused = WORDS},
    {.name = "lowercase", .shape = &only_yes, .refused = WORDS},
    {.name = "ascii_folding", .shape = &only_no, .refused = WORDS},
    {.name = "min_token_len", .refused = WORDS},
    {.name = "max_token_len", .refused = WORDS},
    {.name = "stopwords", .refused = WORDS},
    {.name = "stemmer", .refused = WORDS},
    {.name = "scoring", .refused = "points are not ranked by their words"},
    {.name = "prefix", .shape = &only_no, .refused = "there is no match by prefix"},
    {.name = "nested", .refused = "it changes what `is_empty` means"},
    {.name = NULL},
};
static const struct http_shape field_schema = {
    .types = HTTP_STRING | HTTP_OBJECT, .keys = field_keys, .values = field_types};
static const struct http_shape index_name = {.types = HTTP_STRING,
                                             .also = PATH_PATTERN ",\"maxLength\":1024"};
static const struct http_key index_keys[] = {
    {.name = "field_name", .shape = &index_name, .required = true},
    {.name = "field_schema", .shape = &field_schema, .form = true},
    {.name = "field_type", .shape = &field_schema, .form = true}, /* its name before 1.0 */
    {.name = NULL},
};
static const struct http_shape index_body = {
    .name = "PayloadIndex",
    .types = HTTP_OBJECT,
    .keys = index_keys,
    .needs_form = true,
    .example = "{\"field_name\":\"tag\",\"field_schema\":\"keyword\"}"};

const struct http_schema rest_schema_point = {.parameters = point_parameters};
const struct http_schema rest_schema_telemetry = {.parameters = telemetry_parameters};
const struct http_schema rest_schema_state = {.parameters = rest_read_parameters};
const struct http_schema rest_schema_windows = {.parameters = windows_parameters};
const struct http_schema rest_schema_collection = {timeout_parameter, &collection_body, false};
const struct http_schema rest_schema_collection_update = {timeout_parameter, &update_body, false};
const struct http_schema rest_schema_collection_delete = {.parameters = timeout_parameter};
const struct http_schema rest_schema_index_create = {write_parameters, &index_body, false};
const struct http_schema rest_schema_index_delete = {.parameters = write_parameters};
const struct http_schema rest_schema_upsert = {upsert_parameters, &upsert, false};
const struct http_schema rest_schema_delete = {write_parameters, &delete_body, false};
const struct http_schema rest_schema_repair = {timeout_parameter, &repair, false};
const struct http_schema rest_schema_payload_set = {write_parameters, &payload_set, false};
const struct http_schema rest_schema_payload_delete = {write_parameters, &payload_delete, false};
const struct http_schema rest_schema_payload_clear = {write_parameters, &payload_clear, false};
const struct http_schema rest_schema_vectors_update = {write_parameters, &vectors_update, false};
const struct http_schema rest_schema_vectors_delete = {write_parameters, &vectors_delete, false};
const struct http_schema rest_schema_write_batch = {write_parameters, &write_batch, false};
const struct http_schema rest_schema_not_offered = {.not_offered = true};
