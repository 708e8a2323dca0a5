/* Kafka stays the single log: a write becomes a message, keyed by id. */
#include "indexer/endpoint/rest/write.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "store/append.h"
#include "store/files/key.h"

enum { LOCATE_AT_ONCE = 50000 };

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

struct rest_write *write_add(struct arena *arena, struct write_list *list, const uint8_t *key,
                             size_t key_bytes)
{
    struct rest_write *write = list_add(arena, list);
    struct store_message_key message;

    store_key_to_message(key, key_bytes, &message);
    write->key = arena_copy(arena, message.bytes, message.size_bytes);
    write->key_bytes = message.size_bytes;
    write->id_kind = message.kind;
    list->ids[list->count - 1] = (struct query_key){
        .bytes = (const uint8_t *)arena_copy(arena, key, key_bytes), .size_bytes = key_bytes};
    return write;
}

/* Records. */

struct found_value {
    bool found;
};

static bool note_value(void *context, const struct doc *value)
{
    struct found_value *found = context;

    found->found = value->type != DOC_NULL;
    return found->found;
}

/* The collection's event time field, as a document in its unit; none when the payload has it. */
static bool event_time(const struct config_collection *collection,
                       const struct write_record *record, int64_t now_ms, struct arena *arena,
                       struct doc *time)
{
    const char *field = collection->event_time_field;
    int64_t time_ms = record->time_ms == WRITE_NOW ? now_ms : record->time_ms;
    struct found_value found = {false};
    char text[TEXT_TIME_BYTES];

    if (!field)
        return false;
    if (record->payload)
        (void)doc_visit_path(record->payload, field, strlen(field), note_value, &found);
    if (found.found)
        return false;
    if (collection->event_time_unit == CONFIG_TIME_RFC3339)
        *time = doc_string(arena, text_format_time(time_ms, text));
    else if (collection->event_time_unit == CONFIG_TIME_S)
        *time = doc_number((double)time_ms / 1e3);
    else
        *time = doc_integer(time_ms * (collection->event_time_unit == CONFIG_TIME_US   ? 1000
                                       : collection->event_time_unit == CONFIG_TIME_NS ? 1000000
                                                                                       : 1));
    return true;
}

/* Whether JSON has no word for something in it. A payload's depth is bounded where it is parsed. */
static bool has_binary(const struct doc *doc)
{
    uint32_t items = doc->type == DOC_ARRAY ? doc->count
                     : doc->type == DOC_MAP ? 2 * doc->count
                                            : 0;

    if (doc->type == DOC_BYTES || (doc->type == DOC_DOUBLE && !isfinite(doc->number)))
        return true;
    for (uint32_t i = 0; i < items; i++)
        if (has_binary(&doc->items[i]))
            return true;
    return false;
}

/* `more`: behind others. */
static void append_pairs(const struct doc *map, bool more, struct buffer *out)
{
    for (uint32_t i = 0; map && i < map->count; i++) {
        if (more || i > 0)
            buffer_append_byte(out, ',');
        doc_write_json(out, &map->items[2 * i]);
        buffer_append_byte(out, ':');
        doc_write_json(out, &map->items[2 * i + 1]);
    }
}

/* By their names where there is not just a dense vector without one. */
static bool is_by_names(const struct config_collection *collection,
                        const struct write_record *record)
{
    return !config_is_dense_vector(collection, "", 0) || !record->vector ||
           (record->parts && record->parts->count > 0);
}

static void append_numbers(const float *vector, uint32_t dim, struct buffer *out)
{
    for (uint32_t i = 0; i < dim; i++) {
        buffer_append_byte(out, i > 0 ? ',' : '[');
        doc_write_json_float(out, vector[i]);
    }
    buffer_append_byte(out, ']');
}

static void append_json(const struct config_collection *collection, const struct doc *map,
                        const struct write_record *record, struct buffer *out)
{
    const char *name = config_vector_name(collection);
    const struct doc *parts = record->parts;
    bool more = false;

    buffer_append_text(out, "{\"vector\":");
    if (!is_by_names(collection, record)) {
        append_numbers(record->vector, collection->dim, out);
        append_pairs(map, true, out);
        buffer_append_byte(out, '}');
        return;
    }
    buffer_append_byte(out, '{');
    if (record->vector) {
        doc_write_json_string(out, name, strlen(name));
        buffer_append_byte(out, ':');
        append_numbers(record->vector, collection->dim, out);
        more = true;
    }
    append_pairs(parts, more, out);
    buffer_append_byte(out, '}');
    append_pairs(map, true, out);
    buffer_append_byte(out, '}');
}

/* A payload is always there, so that no other field can be taken for one (ingest/decode/point.c). */
static int append_record(struct arena *arena, const struct config_collection *collection,
                         const struct write_record *record, int64_t now_ms, struct buffer *out,
                         struct error *error)
{
    static const struct doc empty = {.type = DOC_MAP};
    const struct doc *payload = record->payload ? record->payload : &empty;
    struct doc map = doc_map(arena, 5), time, vector;
    bool binary = has_binary(payload);

    doc_put(&map, "id", store_key_to_doc(record->id.bytes, record->id.size_bytes, arena));
    doc_put(&map, "payload", *payload);
    if (event_time(collection, record, now_ms, arena, &time))
        doc_put(&map, collection->event_time_field, time);
    if (record->ttl_ms > 0)
        doc_put(&map, "ttl", doc_integer(record->ttl_ms));
    if (collection->format != CONFIG_FORMAT_MSGPACK &&
        !((binary || record->packed) && collection->format == CONFIG_FORMAT_AUTO)) {
        if (binary)
            return error_set(error, ERROR_UNSUPPORTED,
                             "The payload has bytes or numbers that JSON cannot hold, and "
                             "collection `%s` takes no MessagePack",
                             collection->name);
        append_json(collection, &map, record, out);
        return 0;
    }
    if (record->vector)
        vector = vector_to_message(arena, record->vector, collection->dim, collection->messages);
    if (is_by_names(collection, record)) {
        struct doc named = doc_map(arena, 1 + (record->parts ? record->parts->count : 0));
        if (record->vector)
            doc_put(&named, config_vector_name(collection), vector);
        if (record->parts)
            doc_merge(&named, record->parts);
        vector = named;
    }
    doc_put(&map, "vector", vector);
    doc_write_msgpack(out, &map);
    return 0;
}

int write_add_record(struct http_request *request, struct arena *arena,
                     const struct config_collection *collection, const struct write_record *record,
                     struct write_list *list, struct rest_write **write, struct error *error)
{
    struct buffer value = {0};
    struct rest_write *added;
    int code =
        append_record(arena, collection, record, io_wall_ms(rest_of(request)->io), &value, error);

    if (code == 0) {
        added = write_add(arena, list, record->id.bytes, record->id.size_bytes);
        added->value = arena_copy(arena, value.data, value.size);
        added->value_bytes = value.size;
        if (!collection->event_time_field && record->time_ms != WRITE_NOW)
            added->timestamp_ms = record->time_ms;
        if (write)
            *write = added;
    }
    buffer_destroy(&value);
    return code;
}

/* Sending and waiting. */

/* Reads and writes agree on where an id lives. Whoever filled the topic may have used another
 * partitioner than ours: an id that is stored goes to the partition that holds it, a new one where
 * its key says. A delete goes to every partition that holds the id. */
bool write_send_to(const struct config_collection *collection, const char *shard,
                   struct rest_write *write)
{
    if (config_shard_partition(collection, shard, &write->topic, &write->partition))
        return true;
    write->topic = NULL;
    return false;
}

static int64_t next_offset_of(const struct query_view *view, const char *shard)
{
    size_t count;
    const struct query_shard_freshness *freshness = query_view_freshness(view, &count);

    for (size_t i = 0; i < count; i++)
        if (strcmp(freshness[i].shard, shard) == 0)
            return freshness[i].next_offset;
    return -1;
}

void write_expect(struct rest_write *write, const struct query_view *view, const char *shard,
                  int64_t offset)
{
    write->expects = true;
    write->expected_offset = offset;
    write->read_at = shard ? next_offset_of(view, shard) : -1;
}

bool write_is_superseded(const char *refused)
{
    return refused && (strcmp(refused, "superseded") == 0 || strcmp(refused, "exists") == 0 ||
                       strcmp(refused, STORE_REFUSAL_UNKNOWN) == 0);
}

static void route_one(struct http_request *request, const struct config_collection *collection,
                      const struct query_holders *holders, struct write_list *list, size_t i)
{
    const struct query_key id = list->ids[i];

    if (holders->count == 0)
        return;
    (void)write_send_to(collection, holders->versions[0].shard, &list->writes[i]);
    for (size_t k = 1; k < holders->count && !list->writes[i].value; k++) {
        struct rest_write *copy = list_add(&request->arena, list);
        *copy = list->writes[i];
        list->ids[list->count - 1] = id;
        (void)write_send_to(collection, holders->versions[k].shard, copy);
    }
}

bool write_has_one_place(const struct query_view *view)
{
    size_t shard_count;

    (void)query_view_freshness(view, &shard_count);
    return shard_count == 1 && query_view_whole(view);
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
    size_t count = list->count;
    int code = parse_open_view(request, &options, false, &view, error);

    if (code == 0 && write_has_one_place(view))
        count = 0;
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
int write_check_stored(const struct write_list *list, const struct query_written *written,
                       struct error *error)
{
    size_t refused = 0, first = 0;

    for (size_t i = list->count; i-- > 0;) {
        if (!written[i].refused || strcmp(written[i].refused, STORE_REFUSAL_UNKNOWN) == 0)
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
int write_wait(struct http_request *request, const struct config_collection *collection,
               const struct write_list *list, int64_t timeout_ms, struct query_written **out,
               struct error *error)
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
    /* The view's memory holds what peers said. */
    for (size_t i = 0; i < list->count; i++)
        if (code == 0 && written[i].refused)
            written[i].refused =
                arena_copy(&request->arena, written[i].refused, strlen(written[i].refused));
    query_view_close(view);
    *out = written;
    return code;
}

int write_produce(struct http_request *request, const struct config_collection *collection,
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

int write_commit(struct http_request *request, const struct config_collection *collection,
                 struct write_list *list, bool wait, int64_t timeout_ms, int64_t *operation,
                 const char **status, struct error *error)
{
    struct query_written *written = NULL;
    int code = route(request, collection, list, timeout_ms, error);

    if (code == 0)
        code = write_produce(request, collection, list, error);
    *operation = 0;
    *status = "acknowledged";
    if (code != 0)
        return code;
    for (size_t i = 0; i < list->count; i++)
        *operation = list->writes[i].offset > *operation ? list->writes[i].offset : *operation;
    if (!wait)
        return 0;
    code = write_wait(request, collection, list, timeout_ms, &written, error);
    if (code == 0)
        code = write_check_stored(list, written, error);
    *status = code == 0 ? "completed" : "wait_timeout";
    return code == ERROR_TIMEOUT ? 0 : code;
}
