/* Collections: their state, their windows; and, where the service offers that, how they come and go. */
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/rest/client_settings.h"
#include "indexer/endpoint/rest/parse.h"
#include "indexer/endpoint/rest/payload_indexes.h"
#include "indexer/endpoint/rest/render.h"

enum {
    WINDOWS_TIMEOUT_MS = 5000,
    CHANGE_TIMEOUT_MS = 30000,
    PARTITIONS_MAX = 10000,
    NAME_MAX_BYTES = 100,
};

#define NAME_CHARACTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"

void rest_handle_collections(struct http_request *request)
{
    const struct config *config = rest_of(request)->config;
    bool first = true;

    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"collections\":[");
    for (size_t i = 0; i < config->collection_count; i++) {
        if (config->collections[i].removed)
            continue;
        buffer_append_text(&request->reply, first ? "{\"name\":" : ",{\"name\":");
        first = false;
        doc_write_json_string(&request->reply, config->collections[i].name,
                              strlen(config->collections[i].name));
        buffer_append_byte(&request->reply, '}');
    }
    buffer_append_text(&request->reply, "]}");
    http_reply_end(request, NULL);
}

void rest_handle_aliases(struct http_request *request)
{
    http_reply_begin(request);
    buffer_append_text(&request->reply, "{\"aliases\":[]}");
    http_reply_end(request, NULL);
}

void rest_handle_collection_exists(struct http_request *request)
{
    bool exists = config_collection_find(rest_of(request)->config, request->parts[0]);

    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"exists\":%s}", exists ? "true" : "false");
    http_reply_end(request, NULL);
}

const char *rest_metric_name(enum vector_metric metric)
{
    static const char *const names[] = {
        [VECTOR_METRIC_COSINE] = "Cosine",
        [VECTOR_METRIC_DOT] = "Dot",
        [VECTOR_METRIC_L2] = "Euclid",
        /* Of values 0 and 1 the same number; Qdrant has no Hamming. */
        [VECTOR_METRIC_HAMMING] = "Manhattan"};

    return names[metric];
}

/* Collections that come and go. */

static const struct rest_collections *offered(struct http_request *request, struct error *error)
{
    const struct rest_options *rest = rest_of(request);

    if (rest->collections.create && rest->config->http_allow_create == CONFIG_TRUE)
        return &rest->collections;
    (void)error_set(error, ERROR_UNSUPPORTED,
                    "Collections are defined in windrow.yaml: change it and restart, or set "
                    "`http.allow_create: true` there");
    return NULL;
}

static void reply_true(struct http_request *request)
{
    http_reply_begin(request);
    buffer_append_text(&request->reply, "true");
    http_reply_end(request, NULL);
}

/* {"windrow": {...}}, which clients without a key of that name send inside `metadata`. */
static const struct doc *settings_of(const struct doc *body)
{
    const struct doc *settings = doc_get(body, "windrow");

    return settings ? settings : doc_get(doc_get(body, "metadata"), "windrow");
}

/* Whoever asks for Manhattan has other values than 0 and 1: it is not what Hamming is shown as. */
static int parse_metric(const struct doc *distance, enum vector_metric *metric)
{
    for (enum vector_metric each = 0; each <= VECTOR_METRIC_HAMMING; each++)
        if (doc_string_equals(distance,
                              each == VECTOR_METRIC_HAMMING ? "Hamming" : rest_metric_name(each))) {
            *metric = each;
            return 0;
        }
    return ERROR_INVALID;
}

static int check_name(const char *name, struct error *error)
{
    size_t length = strlen(name);

    if (length > NAME_MAX_BYTES)
        return error_set(error, ERROR_INVALID,
                         "Validation error in path parameters: [collection_name: value of %zu "
                         "characters invalid, must be of %d or fewer]",
                         length, NAME_MAX_BYTES);
    if (length >= 1 && strspn(name, NAME_CHARACTERS) == length)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Wrong input: a collection's name has 1 to 100 letters, digits, - and _");
}

static void name_sparse_vectors(struct arena *arena, const struct doc *body,
                                struct rest_collection_wish *wish)
{
    const struct doc *sparse = doc_get(body, "sparse_vectors");
    struct doc *names = doc_items(arena, sparse ? sparse->count : 0);

    for (uint32_t i = 0; sparse && i < sparse->count; i++)
        names[i] = sparse->items[2 * i];
    wish->sparse_vectors =
        (struct doc){.type = DOC_ARRAY, .count = sparse ? sparse->count : 0, .items = names};
}

/* Of the one vector, or of all. */
static int parse_hnsw(const struct doc *hnsw, struct rest_collection_wish *wish,
                      struct error *error)
{
    if (doc_get(hnsw, "m") &&
        parse_u32(hnsw, "hnsw_config.m", 0, UINT32_MAX, &wish->hnsw_m, error) != 0)
        return error->code;
    if (!doc_get(hnsw, "ef_construct"))
        return 0;
    return parse_u32(hnsw, "hnsw_config.ef_construct", 0, UINT32_MAX, &wish->hnsw_ef_construct,
                     error);
}

/* Parameters of a vector without a name, or vectors by their names. */
static int check_vectors(const struct doc *vectors, const struct doc *own, struct error *error)
{
    bool parameters = false, names = false;

    for (uint32_t i = 0; vectors && i < vectors->count; i++) {
        const bool parameter = client_settings_is_parameter(&vectors->items[2 * i]);
        parameters |= parameter;
        names |= !parameter;
    }
    if (names && parameters)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.vectors: expected `size` and "
                         "`distance`, or a vector with its name, not both");
    if (names ? own != NULL : !doc_get(vectors, "multivector_config"))
        return 0;
    return error_set(error, ERROR_UNSUPPORTED,
                     "windrow does not support this `multivector_config` ($.vectors): a collection "
                     "has one dense vector that is no list, and lists beside it");
}

static int wish_vector(const struct doc *params, uint32_t *dim, enum vector_metric *metric,
                       struct error *error)
{
    const struct doc *distance = doc_get(params, "distance");

    if (!doc_get(params, "size") || !distance)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.vectors: expected `size` and `distance`");
    if (parse_metric(distance, metric) != 0)
        return ERROR_INVALID;
    return parse_u32(params, "vectors.size", 0, CONFIG_DIM_MAX, dim, error);
}

static int check_placed(const struct doc *params, const char *path, const char *name,
                        uint32_t name_bytes, struct error *error)
{
    const struct doc *memory = doc_get(params, "memory");

    if (!memory || !doc_string_equals(memory, "pinned"))
        return 0;
    return error_set(
        error, ERROR_INVALID,
        "Validation error in JSON body: [%s%.*s.memory: value \"pinned\" invalid, must "
        "be cold or cached: the page cache holds what is read]",
        path, (int)(name_bytes < 200 ? name_bytes : 200), name);
}

/* Vectors and payloads stay in files. As in Qdrant, graphs and codes may be called pinned. */
static int check_placement(const struct doc *body, struct error *error)
{
    const struct doc *vectors = doc_get(body, "vectors"), *params = doc_get(body, "params");
    int code = check_placed(vectors, "vectors", "", 0, error);

    for (uint32_t i = 0; vectors && i < vectors->count && code == 0; i++) {
        const struct doc *key = &vectors->items[2 * i];
        if (!client_settings_is_parameter(key))
            code = check_placed(&key[1], "vectors.", key->string, key->count, error);
    }
    if (code == 0)
        code = check_placed(doc_get(body, "payload"), "payload", "", 0, error);
    return code == 0 ? check_placed(doc_get(params, "payload"), "params.payload", "", 0, error)
                     : code;
}

/* Vectors beside the collection's own, as windrow.yaml has them. */
static int wish_extra_vectors(struct arena *arena, const struct doc *vectors, const struct doc *own,
                              struct rest_collection_wish *wish, struct error *error)
{
    struct doc *pairs = doc_items(arena, 2 * vectors->count);
    struct doc extras = {.type = DOC_MAP, .items = pairs};

    for (uint32_t i = 0; own && i < vectors->count; i++) {
        const struct doc *key = &vectors->items[2 * i];
        struct doc extra = doc_map(arena, 3);
        enum vector_metric metric;
        uint32_t dim;
        if (key == own)
            continue;
        if (wish_vector(&key[1], &dim, &metric, error) != 0)
            return error->code;
        if (metric == VECTOR_METRIC_HAMMING || key->count == 0)
            return error_set(error, ERROR_UNSUPPORTED,
                             "windrow does not support this `%.*s` ($.vectors): vectors beside the "
                             "first one have a name, and Cosine, Dot or Euclid",
                             (int)(key->count < 200 ? key->count : 200), key->string);
        doc_put(&extra, "dim", doc_integer(dim));
        doc_put(&extra, "metric", doc_string(arena, vector_metric_name(metric)));
        if (doc_get(&key[1], "multivector_config"))
            doc_put(&extra, "multivector", doc_string(arena, "max_sim"));
        pairs[2 * extras.count] = *key;
        pairs[2 * extras.count++ + 1] = extra;
    }
    wish->extra_vectors = extras;
    return 0;
}

static int parse_wish(struct arena *arena, const char *name, const struct doc *body,
                      struct rest_collection_wish *wish, struct error *error)
{
    const struct doc kept = client_settings_take(arena, body, NULL);
    const struct doc *vectors = doc_get(body, "vectors");
    const struct doc *own = client_settings_own(vectors, NULL);
    const struct doc *params = own ? &own[1] : vectors;

    *wish = (struct rest_collection_wish){.name = name, .settings = settings_of(body)};
    if (own && own->count > 0)
        wish->vector_name = *own;
    name_sparse_vectors(arena, body, wish);
    if (check_name(name, error) != 0 || check_vectors(vectors, own, error) != 0 ||
        check_placement(body, error) != 0 ||
        client_settings_write(arena, &kept, &wish->client_settings, error) != 0 ||
        wish_vector(params, &wish->dim, &wish->metric, error) != 0 ||
        wish_extra_vectors(arena, vectors, own, wish, error) != 0 ||
        parse_u32(body, "shard_number", 0, PARTITIONS_MAX, &wish->partitions, error) != 0 ||
        parse_u32(body, "replication_factor", 0, PARTITIONS_MAX, &wish->replication, error) != 0)
        return error->code;
    return parse_hnsw(doc_get(body, "hnsw_config"), wish, error) != 0
               ? error->code
               : parse_hnsw(doc_get(params, "hnsw_config"), wish, error);
}

/* A change of collections waits for Kafka and for shards. */
static int begin_change(struct http_request *request, struct error *error)
{
    request->stop.deadline_ns =
        request->complete_ns + parse_timeout_ms(request, CHANGE_TIMEOUT_MS) * INT64_C(1000000);
    return http_request_wait_begin(request)
               ? 0
               : error_set(error, ERROR_BUSY, "Too many requests wait");
}

void rest_handle_collection_create(struct http_request *request)
{
    const char *name = request->parts[0];
    const struct rest_collections *collections = NULL;
    struct rest_collection_wish wish;
    struct error error = {0};
    struct doc body;
    int code = http_request_body(request, &body, &error);

    if (code == 0 && config_collection_find(rest_of(request)->config, name))
        code = error_set(&error, ERROR_EXISTS, "Wrong input: Collection `%.200s` already exists!",
                         name);
    if (code == 0 && (!(collections = offered(request, &error)) ||
                      parse_wish(&request->arena, name, &body, &wish, &error) != 0))
        code = error.code;
    if (code == 0 && (code = begin_change(request, &error)) == 0) {
        code = collections->create(collections->context, &wish, &request->stop, &error);
        http_request_wait_end(request);
    }
    if (code == 0)
        reply_true(request);
    else
        http_reply_from_error(request, &error);
}

/* What a PATCH changes. It merges with what is kept where no other change can come in between. */
static int parse_changes(struct arena *arena, const struct config_collection *collection,
                         const struct doc *body, struct doc *changes, struct error *error)
{
    const struct doc *settings = settings_of(body);
    const struct doc *ttl = doc_get(settings, "ttl"), *sparse = doc_get(body, "sparse_vectors");
    const struct doc changed = client_settings_take(arena, body, config_vector_name(collection));
    const struct doc *vectors = doc_get(body, "vectors");

    *changes = doc_map(arena, 2);
    if (settings && (!ttl || settings->count > 1))
        return error_set(error, ERROR_UNSUPPORTED,
                         "Of the settings only `ttl` changes while the service runs");
    for (uint32_t i = 0; sparse && i < sparse->count; i++)
        if (!config_sparse_vector(collection, sparse->items[2 * i].string,
                                  sparse->items[2 * i].count))
            return parse_no_such_vector(&sparse->items[2 * i], error);
    for (uint32_t i = 0; vectors && i < vectors->count; i++) {
        const struct doc *key = &vectors->items[2 * i];
        if (!client_settings_is_parameter(key) &&
            !config_is_dense_vector(collection, key->string, key->count) &&
            !config_extra_vector(collection, key->string, key->count))
            return parse_no_such_vector(key, error);
    }
    if (check_placement(body, error) != 0)
        return error->code;
    if (ttl)
        doc_put(changes, "ttl", *ttl);
    if (changed.count > 0)
        doc_put(changes, "client_settings", changed);
    return 0;
}

void rest_handle_collection_update(struct http_request *request)
{
    const struct config_collection *collection;
    const struct rest_collections *collections = NULL;
    struct doc body, changes = {.type = DOC_MAP};
    struct error error = {0};
    int code = 0;

    if (rest_request_collection(request, &collection, &error) != 0 ||
        http_request_body(request, &body, &error) != 0 ||
        !(collections = offered(request, &error)) ||
        parse_changes(&request->arena, collection, &body, &changes, &error) != 0)
        code = error.code;
    if (code == 0 && changes.count > 0)
        code = collections->change(collections->context, collection, &changes, &error);
    if (code == 0)
        reply_true(request);
    else
        http_reply_from_error(request, &error);
}

/* Frameworks delete what is not there before they begin; that is no failure. */
void rest_handle_collection_delete(struct http_request *request)
{
    const struct config_collection *collection;
    const struct rest_collections *collections;
    struct error error = {0};
    int code;

    if (rest_request_collection(request, &collection, &error) != 0) {
        http_reply_begin(request);
        buffer_append_text(&request->reply, "false");
        http_reply_end(request, NULL);
        return;
    }
    collections = offered(request, &error);
    code = collections ? begin_change(request, &error) : error.code;
    if (code == 0) {
        code = collections->remove(collections->context, collection, &request->stop, &error);
        http_request_wait_end(request);
    }
    if (code == 0)
        reply_true(request);
    else
        http_reply_from_error(request, &error);
}

void rest_handle_collection_aliases(struct http_request *request)
{
    const struct config_collection *collection;
    struct error error = {0};

    if (rest_request_collection(request, &collection, &error) != 0)
        http_reply_from_error(request, &error);
    else
        rest_handle_aliases(request);
}

/* Payload indexes. */

static void reply_index_done(struct http_request *request)
{
    const char *wait = http_request_argument(request, "wait");

    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"operation_id\":0,\"status\":\"%s\"}",
                         wait && strcmp(wait, "true") == 0 ? "completed" : "acknowledged");
    http_reply_end(request, NULL);
}

static bool is_false(const struct doc *flag)
{
    return flag && !flag->boolean;
}

/* Of an integer index Qdrant wants one of two uses. */
static int check_index(const struct doc *schema, struct error *error)
{
    const struct doc *type = schema && schema->type == DOC_MAP ? doc_get(schema, "type") : NULL;

    if (!type || !doc_string_equals(type, "integer") || !is_false(doc_get(schema, "lookup")) ||
        !is_false(doc_get(schema, "range")))
        return 0;
    return error_set(
        error, ERROR_INVALID,
        "Validation error in JSON body: [$.field_schema: `lookup` and `range` are both "
        "false, one must be true]");
}

void rest_handle_index_create(struct http_request *request)
{
    const struct config_collection *collection;
    const struct doc *schema;
    struct error error = {0};
    struct doc body;
    int code = rest_request_collection(request, &collection, &error);

    if (code == 0)
        code = http_request_body(request, &body, &error);
    if (code == 0) {
        schema = doc_get(&body, "field_schema");
        if (!schema)
            schema = doc_get(&body, "field_type");
        code = check_index(schema, &error);
        if (code == 0)
            code = payload_indexes_check_name(doc_get(&body, "field_name"), &error);
        if (code == 0 && schema) /* of no type: Qdrant finds it out from the points */
            code = payload_indexes_set(request, collection, doc_get(&body, "field_name"), schema,
                                       &error);
    }
    if (code == 0)
        reply_index_done(request);
    else
        http_reply_from_error(request, &error);
}

void rest_handle_index_delete(struct http_request *request)
{
    const struct config_collection *collection;
    const struct doc field = doc_string(&request->arena, request->parts[1]);
    struct error error = {0};
    int code = rest_request_collection(request, &collection, &error);

    if (code == 0)
        code = payload_indexes_set(request, collection, &field, NULL, &error);
    if (code == 0)
        reply_index_done(request);
    else
        http_reply_from_error(request, &error);
}

/* Routes that only say no. */

static void refuse(struct http_request *request, const char *why)
{
    http_reply_error(request, 501, "windrow does not offer %s %s: %s", request->method,
                     request->path, why);
}

void rest_handle_no_aliases(struct http_request *request)
{
    refuse(request, "there are no aliases, a collection has one name");
}

void rest_handle_no_shards(struct http_request *request)
{
    refuse(request,
           "shards are the partitions of a topic, and Kafka's consumer group shares them out");
}

void rest_handle_no_peers(struct http_request *request)
{
    refuse(request, "nodes find each other over NATS and need no consensus of their own; "
                    "GET /cluster lists them");
}

void rest_handle_no_named_vectors(struct http_request *request)
{
    refuse(request,
           "a collection's vectors are declared when it is made, dense and sparse ones: by "
           "PUT /collections/NAME");
}

void rest_handle_no_quotas(struct http_request *request)
{
    refuse(request,
           "there are no quotas; `max_bytes` bounds a collection, `store.memory_max_bytes` "
           "and `http.memory_max_bytes` bound memory");
}

/* A backup has all collections of a process, and restoring one needs it stopped. */
void rest_handle_snapshots(struct http_request *request)
{
    http_reply_error(
        request, 501,
        "There are no snapshots of single collections: `windrow backup DEST` copies the "
        "data of this process while it runs, `windrow restore` brings it back");
}

/* Windows. */

struct listed_window {
    const struct query_shard_doc *shard;
    const struct doc *doc;
    int64_t start_ms;
};

static int by_start(const void *a, const void *b)
{
    const struct listed_window *left = a;
    const struct listed_window *right = b;

    if (left->start_ms != right->start_ms)
        return left->start_ms < right->start_ms ? -1 : 1;
    return strverscmp(left->shard->shard, right->shard->shard);
}

static size_t list_windows(struct arena *arena, const struct query_shard_doc *shards,
                           size_t shard_count, struct listed_window **windows)
{
    size_t count = 0;

    for (size_t i = 0; i < shard_count; i++)
        count += doc_get(&shards[i].doc, "windows")->count;
    *windows = memory_checked(arena_calloc(arena, count + 1, sizeof(**windows)));
    count = 0;
    for (size_t i = 0; i < shard_count; i++) {
        const struct doc *list = doc_get(&shards[i].doc, "windows");
        for (uint32_t k = 0; k < list->count; k++) {
            struct listed_window *window = &(*windows)[count++];
            *window = (struct listed_window){.shard = &shards[i], .doc = &list->items[k]};
            (void)doc_as_i64(doc_get(window->doc, "start_ms"), &window->start_ms);
        }
    }
    qsort(*windows, count, sizeof(**windows), by_start);
    return count;
}

/* Names of vectors that no segment has, whatever the window's. */
static struct doc scanned_vectors(struct arena *arena, const struct config_collection *collection)
{
    const uint32_t count = (uint32_t)collection->extra_vector_count;
    struct doc *names = doc_items(arena, count);

    for (uint32_t i = 0; i < count; i++)
        names[i] = doc_string(arena, collection->extra_vectors[i].name);
    return (struct doc){.type = DOC_ARRAY, .count = count, .items = names};
}

/* What the node sent, behind what is known of it here. */
static void append_window(struct http_request *request, const struct config_collection *collection,
                          const struct listed_window *window)
{
    const char *node = window->shard->node ? window->shard->node : rest_of(request)->config->node;
    struct doc map = doc_map(&request->arena, window->doc->count + 4);
    static const char *const known[] = {"collection", "shard", "node"};

    doc_put(&map, known[0], doc_string(&request->arena, collection->name));
    doc_put(&map, known[1], doc_string(&request->arena, window->shard->shard));
    doc_put(&map, known[2], doc_string(&request->arena, node));
    doc_merge(&map, window->doc);
    if (collection->extra_vector_count > 0)
        doc_put(&map, "scanned_vectors", scanned_vectors(&request->arena, collection));
    doc_write_json(&request->reply, &map);
}

static const struct config_collection *asked_collection(struct http_request *request)
{
    const char *name = http_request_argument(request, "collection");
    const struct config *config = rest_of(request)->config;
    const struct config_collection *collection = name ? config_collection_find(config, name) : NULL;

    if (!name && config->collection_count == 1 && !config->collections[0].removed)
        collection = &config->collections[0];
    if (!collection && name)
        http_reply_error(request, 404, "Not found: Collection `%.200s` doesn't exist!", name);
    else if (!collection)
        http_reply_error(request, 400, "Wrong input: which collection? ?collection=NAME");
    if (collection && collection->refused) {
        http_reply_error(request, 503, "Collection `%.200s` is refused: %s", collection->name,
                         collection->refused);
        return NULL;
    }
    return collection;
}

/* A report, not an answer: what is missing is named, also where searches are refused for it. */
void rest_handle_windows(struct http_request *request)
{
    const struct config_collection *collection = asked_collection(request);
    const char *local = http_request_argument(request, "local");
    struct query_view_options options = {.collection = collection,
                                         .timeout_ms = WINDOWS_TIMEOUT_MS};
    struct query_shard_doc *shards;
    struct listed_window *windows;
    struct query_view *view = NULL;
    struct error error = {0};
    size_t count;

    if (!collection)
        return;
    if (parse_open_view(request, &options, local && strcmp(local, "true") == 0, &view, &error) !=
            0 ||
        query_describe(view, &request->arena, &shards, &count, &error) != 0) {
        query_view_close(view);
        http_reply_from_error(request, &error);
        return;
    }
    count = list_windows(&request->arena, shards, count, &windows);
    http_reply_plain(request, 200, HTTP_TYPE_JSON);
    buffer_append_text(&request->reply, "{\"windows\":[");
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buffer_append_byte(&request->reply, ',');
        append_window(request, collection, &windows[i]);
    }
    buffer_append_text(&request->reply, "],");
    render_coverage(request, query_view_coverage(view), false, &request->reply);
    buffer_append_byte(&request->reply, '}');
    query_view_close(view);
}
