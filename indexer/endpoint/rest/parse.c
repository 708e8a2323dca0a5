#include "indexer/endpoint/rest/parse.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "indexer/endpoint/rest/words.h"
#include "store/files/key.h"
#include "store/files/parts.h"

enum { TIMEOUT_DEFAULT_MS = 30000, TIMEOUT_MAX_MS = 600000, MIN_OFFSETS_MAX = 4096 };

static int parse_time(const struct doc *map, const char *key, int64_t *time_ms, struct error *error)
{
    const struct doc *doc = doc_get(map, key);

    if (!doc || doc_as_i64(doc, time_ms))
        return 0;
    if (doc->type == DOC_STRING && text_parse_time_ms(doc->string, doc->count, time_ms, error) == 0)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: $.windrow.%s: expected RFC 3339 text or "
                     "milliseconds since the epoch",
                     key);
}

static int parse_recall(const struct doc *map, double *recall, struct error *error)
{
    const struct doc *doc = doc_get(map, "recall");

    if (!doc || (doc_as_double(doc, recall) && *recall >= CONFIG_RECALL_MIN &&
                 *recall <= CONFIG_RECALL_MAX))
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: $.windrow.recall: expected a number from %g to %g",
                     CONFIG_RECALL_MIN, CONFIG_RECALL_MAX);
}

static int parse_half_life(struct arena *arena, const struct doc *map, int64_t *half_life_ms,
                           struct error *error)
{
    const struct doc *doc = doc_get(map, "half_life");
    const char *text;
    struct error inner;

    if (!doc)
        return 0;
    text = arena_copy(arena, doc->string, doc->count);
    if (text_parse_duration_ms(text, half_life_ms, &inner) == 0 && *half_life_ms > 0)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: $.windrow.half_life: expected a duration like "
                     "\"6h\"");
}

static int parse_min_offsets(struct arena *arena, const struct doc *map,
                             struct parse_extras *extras, struct error *error)
{
    const struct doc *doc = doc_get(map, "min_offsets");

    if (!doc)
        return 0;
    if (doc->count > MIN_OFFSETS_MAX)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.windrow.min_offsets: expected an object "
                         "like {\"0\": 1234}");
    extras->min_offsets =
        memory_checked(arena_calloc(arena, doc->count + 1, sizeof(*extras->min_offsets)));
    for (uint32_t i = 0; i < doc->count; i++) {
        struct query_min_offset *entry = &extras->min_offsets[i];
        const struct doc *key = &doc->items[2 * i];
        entry->shard = arena_copy(arena, key->string, key->count);
        if (!doc_as_i64(&doc->items[2 * i + 1], &entry->offset) || entry->offset < 0)
            return error_set(error, ERROR_INVALID,
                             "Format error in JSON body: $.windrow.min_offsets.%s: expected an "
                             "offset",
                             entry->shard);
    }
    extras->min_offset_count = doc->count;
    return 0;
}

int64_t parse_timeout_ms(struct http_request *request, int64_t otherwise_ms)
{
    const char *argument = http_request_argument(request, "timeout");
    uint64_t seconds;

    if (!argument || text_parse_u64(argument, strlen(argument), &seconds) != 0)
        return otherwise_ms;
    return seconds > TIMEOUT_MAX_MS / 1000 ? TIMEOUT_MAX_MS : (int64_t)seconds * 1000;
}

static void parse_timeout(struct http_request *request, const struct doc *map,
                          struct parse_extras *extras)
{
    const struct doc *doc = doc_get(map, "timeout_ms");

    extras->timeout_ms = parse_timeout_ms(request, TIMEOUT_DEFAULT_MS);
    if (doc && (!doc_as_i64(doc, &extras->timeout_ms) || extras->timeout_ms > TIMEOUT_MAX_MS))
        extras->timeout_ms = TIMEOUT_MAX_MS;
}

/* One node answers for a shard. Where that is the only copy, it is also a majority, a quorum and all. */
static int check_consistency(struct http_request *request, struct error *error)
{
    const char *asked = http_request_argument(request, "consistency");
    bool one_copy = !rest_of(request)->config->cluster_replica_set;
    bool words = asked && (strcmp(asked, "majority") == 0 || strcmp(asked, "quorum") == 0 ||
                           strcmp(asked, "all") == 0);
    uint64_t copies;

    if (!asked || strcmp(asked, "1") == 0 || (words && one_copy))
        return 0;
    if (!words && (text_parse_u64(asked, strlen(asked), &copies) != 0 || copies == 0))
        return error_set(error, ERROR_INVALID,
                         "Wrong input: query parameter `consistency`: expected a number of copies, "
                         "1 or larger, `majority`, `quorum` or `all`");
    return error_set(error, ERROR_UNSUPPORTED,
                     "windrow does not support this `consistency`: %s; to read what was written, "
                     "use wait=true or `min_offsets`",
                     one_copy ? "a shard has one copy" : "one copy of a shard answers");
}

static bool is_true(const struct doc *map, const char *key)
{
    const struct doc *flag = doc_get(map, key);

    return flag && flag->boolean;
}

int parse_extras(struct http_request *request, const struct doc *body, struct parse_extras *extras,
                 struct error *error)
{
    const struct doc *map = doc_get(body, "windrow");

    *extras = (struct parse_extras){.from_ms = INT64_MIN, .to_ms = INT64_MAX};
    parse_timeout(request, map, extras);
    if (check_consistency(request, error) != 0 ||
        parse_time(map, "from", &extras->from_ms, error) != 0 ||
        parse_time(map, "to", &extras->to_ms, error) != 0 ||
        parse_half_life(&request->arena, map, &extras->half_life_ms, error) != 0 ||
        parse_recall(map, &extras->recall, error) != 0 ||
        parse_min_offsets(&request->arena, map, extras, error) != 0)
        return error->code;
    extras->explain = is_true(map, "explain");
    extras->local = is_true(map, "local");
    extras->partial = is_true(map, "partial");
    extras->complete = doc_get(map, "require"); /* "complete" */
    return 0;
}

/* Selectors, numbers, filters. */

int parse_path(const struct doc *path, const char *where, struct error *error)
{
    if (doc_path_is_valid(path->string, path->count))
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: %s: expected a payload path such as a.b, a[].b or "
                     "\"a.b\"",
                     where);
}

static int check_paths(const struct doc *paths, const char *where, struct error *error)
{
    char place[64];

    for (uint32_t i = 0; paths && i < paths->count; i++) {
        (void)snprintf(place, sizeof(place), "%s[%u]", where, i);
        if (parse_path(&paths->items[i], place, error) != 0)
            return error->code;
    }
    return 0;
}

static int parse_payload_selector(const struct doc *doc, struct parse_selector *selector,
                                  struct error *error)
{
    bool is_list = doc->type == DOC_ARRAY;

    selector->payload = doc->type != DOC_BOOL || doc->boolean;
    selector->include = is_list ? doc : doc_get(doc, "include");
    selector->exclude = doc_get(doc, "exclude");
    if (check_paths(selector->include, is_list ? "$.with_payload" : "$.with_payload.include",
                    error) != 0)
        return error->code;
    return check_paths(selector->exclude, "$.with_payload.exclude", error);
}

int parse_no_such_vector(const struct doc *name, struct error *error)
{
    return error_set(error, ERROR_INVALID, "Wrong input: Not existing vector name error: %.*s",
                     (int)(name->count < 200 ? name->count : 200), name->string);
}

int parse_no_unnamed_vector(const struct config_collection *collection, struct error *error)
{
    return error_set(error, ERROR_INVALID,
                     "Wrong input: Not existing vector name error: none was given, and the vector "
                     "of collection `%s` is called `%s`",
                     collection->name, config_vector_name(collection));
}

void parse_select_vectors(const struct config_collection *collection,
                          struct parse_selector *selector)
{
    selector->vector = true;
    selector->parts = config_has_parts(collection);
}

/* A list names vectors: the collection's own and those beside it. */
static int parse_vector_selector(const struct config_collection *collection, const struct doc *doc,
                                 struct parse_selector *selector, struct error *error)
{
    if (doc->type == DOC_BOOL && doc->boolean)
        parse_select_vectors(collection, selector);
    if (doc->type == DOC_BOOL)
        return 0;
    selector->names = doc;
    for (uint32_t i = 0; i < doc->count; i++) {
        const struct doc *name = &doc->items[i];
        if (config_is_dense_vector(collection, name->string, name->count))
            selector->vector = true;
        else if (config_part(collection, name->string, name->count))
            selector->parts = true;
        else
            return parse_no_such_vector(name, error);
    }
    return 0;
}

int parse_selector(const struct config_collection *collection, const struct doc *body,
                   bool payload_default, struct parse_selector *selector, struct error *error)
{
    const struct doc *payload = doc_get(body, "with_payload");
    const struct doc *vector = doc_get(body, "with_vector");

    if (!vector)
        vector = doc_get(body, "with_vectors");
    *selector = (struct parse_selector){.payload = payload_default,
                                        .place = is_true(doc_get(body, "windrow"), "place")};
    if (payload && parse_payload_selector(payload, selector, error) != 0)
        return error->code;
    return vector ? parse_vector_selector(collection, vector, selector, error) : 0;
}

int parse_u32(const struct doc *body, const char *key, uint32_t fallback, uint32_t max,
              uint32_t *value, struct error *error)
{
    const char *dot = strrchr(key, '.');
    const struct doc *doc = doc_get(body, dot ? dot + 1 : key);
    struct buffer text = {0};
    uint64_t given;

    *value = fallback;
    if (!doc)
        return 0;
    if (!doc_as_u64(doc, &given) || given > max) {
        doc_write_json(&text, doc);
        (void)error_set(error, ERROR_INVALID,
                        "Validation error in JSON body: [$.%s: value %.40s invalid, must be %u or "
                        "smaller]",
                        key, buffer_text(&text), max);
        buffer_destroy(&text);
        return error->code;
    }
    *value = (uint32_t)given;
    return 0;
}

int parse_limit(const struct doc *body, uint32_t fallback, uint32_t *limit, struct error *error)
{
    return parse_u32(body, "limit", fallback, QUERY_LIMIT_MAX, limit, error);
}

int parse_filter(struct http_request *request, const struct doc *body,
                 const struct query_filter **filter, struct error *error)
{
    struct error inner = {0};

    if (query_filter_compile(doc_get(body, "filter"), config_vector_name(request->collection),
                             &request->arena, filter, &inner) == 0)
        return 0;
    return parse_filter_fault(&inner, error);
}

int parse_filter_fault(const struct error *fault, struct error *error)
{
    if (strstr(fault->text, QUERY_FILTER_NO_CONDITION) ||
        strstr(fault->text, QUERY_FILTER_NO_SLICE))
        return error_set(error, fault->code, "Validation error in JSON body: [$.%s]", fault->text);
    return error_set(error, fault->code, "Format error in JSON body: $.%s", fault->text);
}

/* Ids and vectors. */

int parse_id(const struct doc *doc, struct store_key *key, struct error *error)
{
    struct error inner = {0};

    if (store_key_from_doc(doc, key, &inner) == 0)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: not a valid point ID: %s (valid values are "
                     "unsigned integers, UUIDs and strings up to %d bytes)",
                     inner.text, STORE_ID_TEXT_MAX_BYTES);
}

static int parse_values(const struct doc *doc, const char *where,
                        const struct config_vector *vector, float *values, struct error *error)
{
    const uint32_t dim = vector->dim;
    uint32_t bad = dim;

    if (!doc_is_list(doc))
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: %s: expected an array of numbers", where);
    if (doc->count != dim)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: Vector dimension error: expected dim: %u, got %u", dim,
                         doc->count);
    for (uint32_t i = 0; i < dim; i++) {
        double number = doc->type == DOC_FLOATS ? (double)doc->floats[i] : 0;
        if (doc->type == DOC_ARRAY && !doc_as_double(&doc->items[i], &number))
            return error_set(error, ERROR_INVALID,
                             "Format error in JSON body: %s[%u]: expected a number", where, i);
        values[i] = (float)number;
        if (!isfinite(values[i]))
            return error_set(error, ERROR_INVALID,
                             "Format error in JSON body: %s[%u]: too large for a float32", where,
                             i);
    }
    if (vector->metric == VECTOR_METRIC_HAMMING)
        bad = vector_first_not_bit(values, dim);
    if (bad < dim)
        return error_set(error, ERROR_INVALID,
                         "Wrong input: %s[%u]: %g is not 0 or 1, and it is compared by hamming",
                         where, bad, (double)values[bad]);
    if (vector_check_length(vector->metric, vector_squared_length(values, dim), error) != 0)
        return error_wrap(error, "Wrong input: %s", where);
    return 0;
}

int parse_vector(struct arena *arena, const struct doc *doc, const char *where,
                 const struct config_vector *vector, const float **values, struct error *error)
{
    float *copy = memory_checked(arena_alloc(arena, vector->dim * sizeof(float), 64));

    if (doc->type == DOC_MAP && doc->count == 1 && doc_string_equals(&doc->items[0], "") &&
        *vector->name == '\0')
        doc = &doc->items[1];
    *values = copy;
    return parse_values(doc, where, vector, copy, error);
}

int parse_vector_list(struct arena *arena, const struct doc *doc, const char *where,
                      const struct config_vector *vector, const float **values, uint32_t *rows,
                      struct error *error)
{
    const uint32_t most = PARTS_LIST_MAX_VALUES / vector->dim;
    float *copy;

    if (doc->type != DOC_ARRAY || doc->count == 0 || doc->count > most ||
        !doc_is_list(&doc->items[0]))
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: %s: expected a list of 1 to %u vectors", where,
                         most);
    copy = memory_checked(arena_alloc(arena, (size_t)doc->count * vector->dim * sizeof(float), 64));
    for (uint32_t i = 0; i < doc->count; i++)
        if (parse_values(&doc->items[i], where, vector, copy + (size_t)i * vector->dim, error) != 0)
            return error->code;
    *values = copy;
    *rows = doc->count;
    return 0;
}

/* Order and view. */

int parse_order_by(const struct doc *order_by, struct arena *arena, struct query_scroll *scroll,
                   struct error *error)
{
    const struct doc *direction = doc_get(order_by, "direction");
    const struct doc *key = order_by;

    if (!order_by)
        return 0;
    if (order_by->type == DOC_MAP)
        key = doc_get(order_by, "key");
    if (parse_path(key, "$.order_by", error) != 0)
        return error->code;
    scroll->start_from = doc_get(order_by, "start_from");
    scroll->descending = direction && doc_string_equals(direction, "desc");
    scroll->order_by = arena_copy(arena, key->string, key->count);
    return 0;
}

void parse_ordered_selector(struct query_scroll *scroll, struct parse_selector *selector)
{
    scroll->wants = parse_wants(selector);
    selector->order_by = scroll->order_by;
    if (scroll->order_by && scroll->order_by[0] != '@')
        scroll->wants.payload = true;
}

static int open_view(struct http_request *request, const struct config_collection *collection,
                     const struct parse_extras *extras, bool whole, struct query_view **view,
                     struct error *error)
{
    struct query_view_options options = {
        .collection = collection,
        .min_offsets = extras->min_offsets,
        .min_offset_count = extras->min_offset_count,
        .timeout_ms = extras->timeout_ms,
        .whole = whole,
    };

    return parse_open_view(request, &options, extras->local, view, error);
}

static int open_asked_view(struct http_request *request, const struct config_collection *collection,
                           const struct parse_extras *extras, struct query_view **view,
                           struct error *error)
{
    bool whole =
        extras->complete || rest_of(request)->config->cluster_partial == CONFIG_PARTIAL_REFUSE;

    return open_view(request, collection, extras, whole, view, error);
}

int parse_view(struct http_request *request, const struct doc *body,
               const struct config_collection *collection, struct parse_extras *extras,
               struct query_view **view, struct error *error)
{
    if (parse_extras(request, body, extras, error) != 0)
        return error->code;
    return open_asked_view(request, collection, extras, view, error);
}

int parse_whole_view(struct http_request *request, const struct config_collection *collection,
                     const struct parse_extras *extras, struct query_view **view,
                     struct error *error)
{
    return open_view(request, collection, extras, true, view, error);
}

/* All of a request's views end together. */
static struct stop *parse_stop(struct http_request *request, int64_t timeout_ms)
{
    int64_t deadline_ns;

    if (timeout_ms == 0)
        timeout_ms = TIMEOUT_DEFAULT_MS;
    deadline_ns = request->complete_ns + timeout_ms * 1000000;
    if (request->stop.deadline_ns > deadline_ns)
        request->stop.deadline_ns = deadline_ns;
    return &request->stop;
}

int parse_open_view(struct http_request *request, struct query_view_options *options, bool local,
                    struct query_view **view, struct error *error)
{
    const struct rest_options *rest = rest_of(request);
    int code;

    options->registry = rest->registry;
    if (!local)
        options->peers = rest->peers;
    options->io = rest->io;
    options->pool = http_request_pool(request);
    options->describer = rest->describer;
    options->stop = parse_stop(request, options->timeout_ms);
    if (options->peers && http_request_needs_pool(request))
        return error_set(error, ERROR_BUSY, "Answers of other nodes are waited for in the pool");
    if (options->min_offset_count == 0)
        return query_view_open(options, view, error);
    if (!http_request_wait_begin(request))
        return error_set(error, ERROR_BUSY, "Too many requests wait for offsets");
    code = query_view_open(options, view, error);
    http_request_wait_end(request);
    return code;
}

int rest_request_collection(struct http_request *request,
                            const struct config_collection **collection, struct error *error)
{
    const char *name = request->parts[0];

    if (!request->collection)
        request->collection =
            config_collection_find(http_server_options(request->server)->config, name);
    *collection = request->collection;
    if (*collection)
        return (*collection)->refused
                   ? error_set(error, ERROR_UNAVAILABLE, "Collection `%.200s` is refused: %s", name,
                               (*collection)->refused)
                   : 0;
    return error_set(error, ERROR_NOT_FOUND, "Not found: Collection `%.200s` doesn't exist!", name);
}

int parse_open(struct http_request *request, struct doc *body,
               const struct config_collection **collection, struct parse_extras *extras,
               struct query_view **view, struct error *error)
{
    if (rest_request_collection(request, collection, error) != 0 ||
        http_request_body(request, body, error) != 0 ||
        parse_extras(request, body, extras, error) != 0)
        return error->code;
    (void)parse_stop(request, extras->timeout_ms);
    /* Before the view: it shall see what was stored while the embedder was waited for. */
    if (words_to_vectors(request, body, *collection, error) != 0)
        return error->code;
    return open_asked_view(request, *collection, extras, view, error);
}
