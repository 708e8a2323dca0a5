/* Writes over REST: points become Kafka messages, one a point, keyed by id. Kafka stays the single
 * log; with wait=true the reply comes when the write is searchable. Everything is checked before
 * the first message is sent, so a bad request changes nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "indexer/rest/parse.h"
#include "indexer/rest/render.h"

enum { POINTS_MAX = 100000, FILTER_PAGE = 1000, LOCATE_AT_ONCE = 50000 };

struct write_list {
    struct rest_write *writes;
    struct query_key *ids; /* of the writes */
    size_t count;
    size_t capacity;
};

static struct rest_write *list_add(struct arena *arena, struct write_list *list)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct rest_write *writes = arena_calloc(arena, capacity, sizeof(*writes));
        struct query_key *ids = arena_calloc(arena, capacity, sizeof(*ids));
        if (!writes || !ids)
            abort();
        if (list->count) {
            memcpy(writes, list->writes, list->count * sizeof(*writes));
            memcpy(ids, list->ids, list->count * sizeof(*ids));
        }
        list->writes = writes;
        list->ids = ids;
        list->capacity = capacity;
    }
    return &list->writes[list->count++];
}

/* A write of that id. The message key is digits for numbers, the canonical text otherwise. */
static struct rest_write *list_add_id(struct arena *arena, struct write_list *list,
                                      const uint8_t *key, size_t key_bytes)
{
    struct rest_write *write = list_add(arena, list);
    struct doc id = store_key_to_doc(key, key_bytes, arena);
    struct buffer text = {0};

    if (id.type == DOC_STRING)
        buffer_append(&text, id.string, id.count);
    else
        doc_write_json(&text, &id);
    write->key = arena_copy(arena, text.data, text.size);
    write->key_bytes = text.size;
    buffer_destroy(&text);
    list->ids[list->count - 1] = (struct query_key){
        .bytes = (const uint8_t *)arena_copy(arena, key, key_bytes), .size_bytes = key_bytes};
    return write;
}

/* Upsert. */

static double event_time_now(const struct config_collection *collection, int64_t now_ms)
{
    switch (collection->event_time_unit) {
    case CONFIG_TIME_S:
        return (double)now_ms / 1e3;
    case CONFIG_TIME_US:
        return (double)now_ms * 1e3;
    case CONFIG_TIME_NS:
        return (double)now_ms * 1e6;
    case CONFIG_TIME_MS:
    case CONFIG_TIME_RFC3339:
        break;
    }
    return (double)now_ms;
}

struct found_value {
    bool found;
};

static bool note_value(void *context, const struct doc *value)
{
    struct found_value *found = context;

    found->found = value->type != DOC_NULL;
    return found->found;
}

/* A point without the collection's event time field happened now. */
static void append_event_time(struct http_request *request,
                              const struct config_collection *collection, const struct doc *payload,
                              struct buffer *out)
{
    const char *field = collection->event_time_field;
    int64_t now_ms = io_wall_ms(rest_of(request)->io);
    struct found_value found = {false};
    char text[TEXT_TIME_BYTES];

    if (!field)
        return;
    if (payload)
        (void)doc_visit_path(payload, field, strlen(field), note_value, &found);
    if (found.found)
        return;
    buffer_append_byte(out, ',');
    doc_write_json_string(out, field, strlen(field));
    buffer_append_byte(out, ':');
    if (collection->event_time_unit == CONFIG_TIME_RFC3339) {
        text_format_time(now_ms, text);
        doc_write_json_string(out, text, strlen(text));
    } else {
        buffer_append_format(out, "%.0f", event_time_now(collection, now_ms));
    }
}

/* What ingest would make a dead letter is refused here, while somebody listens. */
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

static int add_point(struct http_request *request, const struct config_collection *collection,
                     const struct doc *id, const struct doc *vector, const struct doc *payload,
                     struct write_list *list, struct error *error)
{
    struct arena *arena = &request->arena;
    struct rest_write *write;
    struct buffer value = {0};
    struct store_key key;
    const float *values;
    struct doc id_doc;

    if (parse_id(id, &key, error) != 0 ||
        parse_vector(arena, vector, "vector", collection->dim, &values, error) != 0 ||
        check_vector(collection, values, error) != 0)
        return error->code;
    write = list_add_id(arena, list, key.bytes, key.size_bytes);
    id_doc = store_key_to_doc(key.bytes, key.size_bytes, arena);
    buffer_append_text(&value, "{\"id\":");
    doc_write_json(&value, &id_doc);
    buffer_append_text(&value, ",\"vector\":[");
    for (uint32_t i = 0; i < collection->dim; i++) {
        if (i > 0)
            buffer_append_byte(&value, ',');
        doc_write_json_float(&value, values[i]);
    }
    buffer_append_byte(&value, ']');
    if (payload && payload->type == DOC_MAP) {
        buffer_append_text(&value, ",\"payload\":");
        doc_write_json(&value, payload);
    }
    append_event_time(request, collection, payload, &value);
    buffer_append_byte(&value, '}');
    write->value = arena_copy(arena, value.data, value.size);
    write->value_bytes = value.size;
    buffer_destroy(&value);
    return 0;
}

static int add_points(struct http_request *request, const struct config_collection *collection,
                      const struct doc *points, struct write_list *list, struct error *error)
{
    if (points->count > POINTS_MAX)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.points: expected an array of at most %d "
                         "points",
                         POINTS_MAX);
    for (uint32_t i = 0; i < points->count; i++) {
        const struct doc *point = &points->items[i];
        if (add_point(request, collection, doc_get(point, "id"), doc_get(point, "vector"),
                      doc_get(point, "payload"), list, error) != 0)
            return error->code;
    }
    return 0;
}

/* {"batch": {"ids", "vectors", "payloads"}}: the same as columns. */
static int add_batch(struct http_request *request, const struct config_collection *collection,
                     const struct doc *batch, struct write_list *list, struct error *error)
{
    const struct doc *ids = doc_get(batch, "ids");
    const struct doc *vectors = doc_get(batch, "vectors");
    const struct doc *payloads = doc_get(batch, "payloads");

    if (vectors->type == DOC_MAP)
        vectors = doc_get(vectors, "");
    if (!vectors || vectors->count != ids->count || ids->count > POINTS_MAX ||
        (payloads && payloads->count != ids->count))
        return error_set(
            error, ERROR_INVALID,
            "Format error in JSON body: $.batch: expected equally many ids, vectors and payloads");
    for (uint32_t i = 0; i < ids->count; i++) {
        if (add_point(request, collection, &ids->items[i], &vectors->items[i],
                      payloads ? &payloads->items[i] : NULL, list, error) != 0)
            return error->code;
    }
    return 0;
}

/* Delete. */

static int add_deletes(struct http_request *request, const struct doc *ids, struct write_list *list,
                       struct error *error)
{
    if (ids->count > POINTS_MAX)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.points: expected an array of at most %d "
                         "point ids",
                         POINTS_MAX);
    for (uint32_t i = 0; i < ids->count; i++) {
        struct store_key key;
        if (parse_id(&ids->items[i], &key, error) != 0)
            return error->code;
        (void)list_add_id(&request->arena, list, key.bytes, key.size_bytes);
    }
    return 0;
}

/* A filter is resolved to the ids that match now; each becomes a delete. */
static int add_matching(struct http_request *request, struct query_view *view,
                        const struct doc *body, struct write_list *list, struct error *error)
{
    struct query_scroll scroll = {.limit = FILTER_PAGE, .arena = &request->arena};

    if (parse_filter(request, body, &scroll.filter, error) != 0)
        return error->code;
    for (;;) {
        struct query_result page = {0};
        const uint8_t *next = NULL;
        size_t next_bytes = 0;
        if (query_scroll_run(view, &scroll, &page, &next, &next_bytes, error) != 0)
            return error->code;
        for (size_t i = 0; i < page.hit_count; i++) {
            const struct query_row *row = &page.hits[i].row;
            size_t key_bytes;
            const uint8_t *key = query_row_key(row, &key_bytes);
            (void)list_add_id(&request->arena, list, key, key_bytes);
        }
        if (!next)
            return 0;
        scroll.from_key = next;
        scroll.from_key_bytes = next_bytes;
    }
}

/* Sending and waiting. */

/* Reads and writes agree on where an id lives. Whoever filled the topic may have used another
 * partitioner than ours: an id that is stored goes to the partition that holds it, a new one where
 * its key says. A delete goes to every partition that holds the id. */
static void send_to(const struct config_collection *collection, const char *shard,
                    struct rest_write *write)
{
    if (!config_shard_partition(collection, shard, &write->topic, &write->partition))
        write->topic = NULL; /* a topic that was taken out of the configuration */
}

static void route_one(struct http_request *request, const struct config_collection *collection,
                      const struct query_holders *holders, struct write_list *list, size_t i)
{
    const struct query_key id = list->ids[i];

    if (holders->count == 0)
        return;
    send_to(collection, holders->shards[0], &list->writes[i]);
    for (size_t k = 1; k < holders->count && !list->writes[i].value; k++) {
        struct rest_write *copy = list_add(&request->arena, list);
        *copy = list->writes[i];
        list->ids[list->count - 1] = id;
        send_to(collection, holders->shards[k], copy);
    }
}

/* With peers, every shard has to answer: a version that nobody asked about would outlive the write.
 * Without, a process knows no better than its own shards and the key. */
static int route(struct http_request *request, const struct config_collection *collection,
                 struct write_list *list, int64_t timeout_ms, struct error *error)
{
    const bool peers = rest_of(request)->peers != NULL;
    struct query_view_options options = {
        .collection = collection, .timeout_ms = timeout_ms, .whole = peers};
    struct query_view *view = NULL;
    size_t count = list->count, shard_count = 0;
    int code = parse_open_view(request, &options, false, &view, error);

    if (code == 0)
        (void)query_view_freshness(view, &shard_count);
    if (code == 0 && shard_count == 1 && query_view_whole(view))
        count = 0; /* there is only one place */
    for (size_t first = 0; first < count && code == 0; first += LOCATE_AT_ONCE) {
        size_t some = count - first < LOCATE_AT_ONCE ? count - first : LOCATE_AT_ONCE;
        struct query_holders *holders;
        code = query_locate(view, list->ids + first, some, &request->arena, &holders, error);
        for (size_t i = 0; i < some && code == 0; i++)
            route_one(request, collection, &holders[i], list, first + i);
    }
    query_view_close(view);
    return code == ERROR_UNAVAILABLE && !peers ? 0 : code;
}

static size_t topic_number(const struct config_collection *collection, const char *topic)
{
    size_t number = 0;

    while (topic && number < collection->topic_count &&
           strcmp(collection->topics[number], topic) != 0)
        number++;
    return number;
}

/* One entry a shard: its last offset. */
static size_t last_offsets(struct arena *arena, const struct query_written *written, size_t count,
                           struct query_min_offset **out)
{
    struct query_min_offset *offsets =
        memory_checked(arena_calloc(arena, count + 1, sizeof(*offsets)));
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        size_t k = 0;
        while (k < used && strcmp(offsets[k].shard, written[i].shard) != 0)
            k++;
        if (k == used)
            offsets[used++].shard = written[i].shard;
        if (written[i].offset > offsets[k].offset)
            offsets[k].offset = written[i].offset;
    }
    *out = offsets;
    return used;
}

static struct query_written *written_of(struct arena *arena,
                                        const struct config_collection *collection,
                                        const struct write_list *list)
{
    struct query_written *written =
        memory_checked(arena_calloc(arena, list->count + 1, sizeof(*written)));

    for (size_t i = 0; i < list->count; i++) {
        const struct rest_write *write = &list->writes[i];
        char name[CONFIG_SHARD_NAME_BYTES];
        config_shard_name(collection, topic_number(collection, write->topic), write->partition,
                          name);
        written[i].shard = arena_copy(arena, name, strlen(name));
        written[i].offset = write->offset;
    }
    return written;
}

/* What ingestion's word for it means to who wrote the point. */
static const char *refusal_text(const char *reason)
{
    static const char *const texts[][2] = {
        {"expired", "it had expired on arrival: its event time is older than the TTL"},
        {"late_dropped", "it came late, behind the watermark, and late records are dropped"},
        {"late", "it came late, behind the watermark, and is a dead letter"},
        {"future",
         "its event time is further in the future than `max_future`: it is a dead letter"},
        {"time", "its event time cannot be read: it is a dead letter"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(reason, texts[i][0]) == 0)
            return texts[i][1];
    return "it is a dead letter";
}

/* Everything is searchable that was stored; the first point that was not is named. */
static int check_stored(const struct write_list *list, const struct query_written *written,
                        struct error *error)
{
    size_t refused = 0, first = 0;

    for (size_t i = list->count; i-- > 0;) {
        if (!written[i].refused)
            continue;
        refused++;
        first = i;
    }
    if (refused == 0)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "Wrong input: %zu of %zu points were not stored, the others are searchable. "
                     "The first is %.*s: %s (%s)",
                     refused, list->count, (int)list->writes[first].key_bytes,
                     list->writes[first].key, refusal_text(written[first].refused),
                     written[first].refused);
}

/* With peers, the owner of every shard has to say what became of its records. */
static int wait_searchable(struct http_request *request, const struct config_collection *collection,
                           const struct write_list *list, int64_t timeout_ms, struct error *error)
{
    struct query_view_options options = {.collection = collection,
                                         .timeout_ms = timeout_ms,
                                         .whole = rest_of(request)->peers != NULL};
    struct query_written *written = written_of(&request->arena, collection, list);
    struct query_min_offset *offsets;
    struct query_view *view = NULL;
    int code;

    options.min_offset_count = last_offsets(&request->arena, written, list->count, &offsets);
    options.min_offsets = offsets;
    code = parse_open_view(request, &options, false, &view, error);
    if (code == 0)
        code = query_view_wait(view, written, list->count, error);
    if (code == 0)
        code = check_stored(list, written, error);
    query_view_close(view);
    return code;
}

/* Returns when Kafka has answered for every message. */
static int produce(struct http_request *request, const struct config_collection *collection,
                   struct write_list *list, struct error *error)
{
    const struct rest_writer *writer = &rest_of(request)->writer;
    int code;

    if (!writer->write)
        return error_set(error, ERROR_UNSUPPORTED, "This process does not produce to Kafka");
    if (!http_request_wait_begin(request))
        return error_set(error, ERROR_BUSY, "Too many writes wait for Kafka");
    code = writer->write(writer->context, collection, list->writes, list->count, error);
    http_request_wait_end(request);
    return code;
}

/* Sends, and waits if it is wanted. `operation` is the largest offset. */
static int commit(struct http_request *request, const struct config_collection *collection,
                  struct write_list *list, int64_t timeout_ms, int64_t *operation,
                  const char **status, struct error *error)
{
    const char *wait = http_request_argument(request, "wait");
    int code = route(request, collection, list, timeout_ms, error);

    if (code == 0)
        code = produce(request, collection, list, error);
    *operation = 0;
    *status = "acknowledged";
    if (code != 0)
        return code;
    for (size_t i = 0; i < list->count; i++)
        *operation = list->writes[i].offset > *operation ? list->writes[i].offset : *operation;
    if (!wait || strcmp(wait, "true") != 0)
        return 0;
    code = wait_searchable(request, collection, list, timeout_ms, error);
    *status = code == 0 ? "completed" : "wait_timeout";
    return code == ERROR_TIMEOUT ? 0 : code;
}

static void send_writes(struct http_request *request, const struct config_collection *collection,
                        struct write_list *list, int64_t timeout_ms)
{
    struct error error = {0};
    const char *status;
    int64_t operation;

    if (commit(request, collection, list, timeout_ms, &operation, &status, &error) != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_format(&request->reply, "{\"operation_id\":%lld,\"status\":\"%s\"}",
                         (long long)operation, status);
    http_reply_end(request, NULL);
}

static int open_write(struct http_request *request, const struct config_collection **collection,
                      struct doc *body, struct parse_extras *extras, struct error *error)
{
    if (http_request_collection(request, collection, error) != 0 ||
        http_request_body(request, body, error) != 0)
        return error->code;
    return parse_extras(request, body, extras, error);
}

static int add_upsert(struct http_request *request, const struct config_collection *collection,
                      const struct doc *body, struct write_list *list, struct error *error)
{
    const struct doc *points = doc_get(body, "points");
    const struct doc *batch = doc_get(body, "batch");

    if (points)
        return add_points(request, collection, points, list, error);
    if (batch)
        return add_batch(request, collection, batch, list, error);
    return error_set(error, ERROR_INVALID,
                     "Format error in JSON body: $: expected `points` or `batch`");
}

void rest_handle_upsert(struct http_request *request)
{
    const struct config_collection *collection;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = open_write(request, &collection, &body, &extras, &error);

    if (code == 0)
        code = add_upsert(request, collection, &body, &list, &error);
    if (code == 0)
        send_writes(request, collection, &list, extras.timeout_ms);
    else
        http_reply_from_error(request, &error);
}

void rest_handle_delete(struct http_request *request)
{
    const struct config_collection *collection;
    struct query_view *view = NULL;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct doc body;
    int code = open_write(request, &collection, &body, &extras, &error);

    if (code == 0) {
        const struct doc *points = doc_get(&body, "points");
        if (points && extras.min_offset_count > 0)
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.windrow.min_offsets: expected beside "
                             "`filter` only");
        else if (points)
            code = add_deletes(request, points, &list, &error);
        else if (!doc_get(&body, "filter"))
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $: expected `points` or `filter`");
        else if ((code = parse_whole_view(request, collection, &extras, &view, &error)) == 0)
            code = add_matching(request, view, &body, &list, &error);
    }
    query_view_close(view);
    if (code == 0)
        send_writes(request, collection, &list, extras.timeout_ms);
    else
        http_reply_from_error(request, &error);
}

/* Several operations, and what is not offered. */

static int add_operation(struct http_request *request, const struct config_collection *collection,
                         const struct doc *operation, uint32_t i, struct write_list *list,
                         struct error *error)
{
    if (operation->count != 1)
        return error_set(error, ERROR_INVALID,
                         "Format error in JSON body: $.operations[%u]: expected an object with "
                         "one operation",
                         i);
    if (doc_get(operation, "upsert"))
        return add_upsert(request, collection, doc_get(operation, "upsert"), list, error);
    return add_deletes(request, doc_get(doc_get(operation, "delete"), "points"), list, error);
}

/* All operations are checked before the first message is sent; messages keep their order. */
void rest_handle_write_batch(struct http_request *request)
{
    const struct config_collection *collection;
    const struct doc *operations = NULL;
    struct write_list list = {0};
    struct parse_extras extras;
    struct error error = {0};
    const char *status;
    int64_t last_offset;
    struct doc body;
    int code = open_write(request, &collection, &body, &extras, &error);

    if (code == 0) {
        operations = doc_get(&body, "operations");
        if (operations->count > POINTS_MAX)
            code = error_set(&error, ERROR_INVALID,
                             "Format error in JSON body: $.operations: expected an array of at "
                             "most %d operations",
                             POINTS_MAX);
    }
    for (uint32_t i = 0; code == 0 && i < operations->count; i++)
        code = add_operation(request, collection, &operations->items[i], i, &list, &error);
    if (code == 0)
        code = commit(request, collection, &list, extras.timeout_ms, &last_offset, &status, &error);
    if (code != 0) {
        http_reply_from_error(request, &error);
        return;
    }
    http_reply_begin(request);
    buffer_append_byte(&request->reply, '[');
    for (uint32_t i = 0; i < operations->count; i++)
        buffer_append_format(&request->reply, "%s{\"operation_id\":%lld,\"status\":\"%s\"}",
                             i > 0 ? "," : "", (long long)last_offset, status);
    buffer_append_byte(&request->reply, ']');
    http_reply_end(request, NULL);
}

void rest_handle_partial_update(struct http_request *request)
{
    const struct config_collection *collection;
    struct error error = {0};

    if (http_request_collection(request, &collection, &error) == 0)
        (void)error_set(&error, ERROR_UNSUPPORTED,
                        "windrow does not change parts of a point (%.200s): upsert the whole point "
                        "with its vector and payload",
                        request->path);
    http_reply_from_error(request, &error);
}

/* Ids in several shards. */

/* A tombstone for each version but the newest. Partitions of a topic that left the configuration
 * cannot be written to. */
static void add_old_versions(struct http_request *request,
                             const struct config_collection *collection,
                             const struct query_row *row, const struct query_holders *holders,
                             struct write_list *list)
{
    size_t key_bytes;
    const uint8_t *key = query_row_key(row, &key_bytes);

    for (size_t i = 1; i < holders->count; i++) {
        struct rest_write *write = list_add_id(&request->arena, list, key, key_bytes);
        send_to(collection, holders->shards[i], write);
        if (!write->topic)
            list->count--;
    }
}

/* What a page of ids brings to light. */
struct repair {
    struct write_list list;
    size_t scanned, found;
    const uint8_t *next;
    size_t next_bytes;
};

static int look_for_old_versions(struct http_request *request,
                                 const struct config_collection *collection,
                                 struct query_view *view, const struct query_scroll *scroll,
                                 struct repair *repair, struct error *error)
{
    struct query_result page = {0};
    struct query_holders *holders;

    if (query_scroll_run(view, scroll, &page, &repair->next, &repair->next_bytes, error) != 0)
        return error->code;
    if (query_locate_hits(view, page.hits, page.hit_count, &request->arena, &holders, error) != 0)
        return error->code;
    repair->scanned = page.hit_count;
    for (size_t i = 0; i < page.hit_count; i++)
        if (holders[i].count > 1) {
            repair->found++;
            add_old_versions(request, collection, &page.hits[i].row, &holders[i], &repair->list);
        }
    return 0;
}

static void reply_repair(struct http_request *request, const struct repair *repair, bool removed)
{
    http_reply_begin(request);
    buffer_append_format(&request->reply,
                         "{\"scanned\":%zu,\"found\":%zu,\"removed\":%zu,\"next_page_offset\":",
                         repair->scanned, repair->found, removed ? repair->list.count : 0);
    if (repair->next) {
        struct doc id = store_key_to_doc(repair->next, repair->next_bytes, &request->arena);
        doc_write_json(&request->reply, &id);
    } else {
        buffer_append_text(&request->reply, "null");
    }
    buffer_append_byte(&request->reply, '}');
    http_reply_end(request, NULL);
}

/* One page. A version that comes between the look and the tombstone would go with the old ones: who
 * repairs has stopped the producer that writes to other partitions. */
void rest_handle_repair(struct http_request *request)
{
    struct query_scroll scroll = {.arena = &request->arena};
    const struct config_collection *collection;
    const struct doc *offset, *dry_run;
    struct query_view *view = NULL;
    struct repair repair = {0};
    struct parse_extras extras;
    struct error error = {0};
    struct store_key from;
    struct doc body;
    bool removes;
    int code = open_write(request, &collection, &body, &extras, &error);

    if (code == 0)
        code = parse_limit(&body, FILTER_PAGE, &scroll.limit, &error);
    offset = code == 0 ? doc_get(&body, "offset") : NULL;
    if (offset && (code = parse_id(offset, &from, &error)) == 0) {
        scroll.from_key = from.bytes;
        scroll.from_key_bytes = from.size_bytes;
    }
    if (code == 0)
        code = parse_whole_view(request, collection, &extras, &view, &error);
    if (code == 0)
        code = look_for_old_versions(request, collection, view, &scroll, &repair, &error);
    query_view_close(view);
    dry_run = code == 0 ? doc_get(&body, "dry_run") : NULL;
    removes = repair.list.count > 0 && !(dry_run && dry_run->boolean);
    if (code == 0 && removes)
        code = produce(request, collection, &repair.list, &error);
    if (code == 0)
        reply_repair(request, &repair, removes);
    else
        http_reply_from_error(request, &error);
}
