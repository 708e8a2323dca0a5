/* One document becomes one record. Three shapes, told apart by `payload`:
 *
 *     record   {"id", "vector", "payload": {...}, "time_ms"?, "ttl"?}
 *     qdrant   the same with "collection_name"
 *     flat     {"id", VECTOR, other fields...}, as the Milvus sink reads it: without a payload, the
 *              fields that are not reserved are the payload; the vector is "vector" or else the
 *              only array of numbers of the collection's dimension
 *
 * A point without its dense vector says so, by a map that has none: {"vector": {}}.
 * In the first two, fields that have no meaning here are left out, as Qdrant does. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "ingest/decode/decode_internal.h"
#include "store/files/key.h"
#include "store/files/parts.h"
#include "store/files/record.h"

static const char *const reserved[] = {"id",      "vector", "collection_name",
                                       "payload", "ttl",    "time_ms"};

bool decode_is_reserved(const struct doc *name)
{
    for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
        if (doc_string_equals(name, reserved[i]))
            return true;
    return false;
}

void decode_set_key(struct decode *decode, const struct store_key *key, struct store_record *record)
{
    record->key = (const uint8_t *)arena_copy(decode->arena, key->bytes, key->size_bytes);
    record->key_bytes = key->size_bytes;
}

static int key_from_doc(struct decode *decode, const struct decode_part *part, const struct doc *id,
                        const char *where, struct store_key *key)
{
    struct error error = {0};

    if (id->type == DOC_STRING && id->count > STORE_ID_TEXT_MAX_BYTES)
        error_set(&error, ERROR_INVALID, "%u bytes, an id has at most %d", id->count,
                  STORE_ID_TEXT_MAX_BYTES);
    else if (store_key_from_doc(id, key, &error) == 0)
        return 0;
    decode_reject_add(decode, part, "id", "%s.id: %s", where, error.text);
    return ERROR_INVALID;
}

static int point_id(struct decode *decode, const struct decode_part *part, const struct doc *point,
                    struct store_key *key)
{
    const struct doc *id = doc_get(point, "id");

    if (id && id->type != DOC_NULL)
        return key_from_doc(decode, part, id, part->path, key);
    if (part->batch) {
        decode_reject_add(decode, part, "id", "%s.id: missing (points of a batch share no key)",
                          part->path);
        return ERROR_INVALID;
    }
    return decode_key(decode, part, key);
}

/* Index of the vector's name among the point's items, or -1 after a reject. */
static int32_t vector_field(struct decode *decode, const struct decode_part *part,
                            const struct doc *point, bool flat)
{
    int32_t found = -1;
    uint32_t fitting = 0;
    uint32_t candidates = 0;

    for (uint32_t i = 0; i < point->count; i++)
        if (doc_string_equals(&point->items[2 * i], "vector"))
            found = (int32_t)(2 * i); /* the last one wins */
    if (found >= 0)
        return found;
    for (uint32_t i = 0; flat && i < point->count; i++) {
        const struct doc *value = &point->items[2 * i + 1];
        bool fits;
        if (decode_is_reserved(&point->items[2 * i]) ||
            !decode_vector_candidate(decode, value, &fits))
            continue;
        candidates++;
        if (fits) {
            fitting++;
            found = (int32_t)(2 * i);
        } else if (fitting == 0) {
            found = (int32_t)(2 * i);
        }
    }
    if (fitting == 1 || (fitting == 0 && candidates == 1))
        return found;
    if (fitting > 1)
        decode_reject_add(decode, part, "vector",
                          "%s: %u fields could be the vector, name it \"vector\"", part->path,
                          fitting);
    else
        decode_reject_add(decode, part, "vector", "%s.vector: missing", part->path);
    return -1;
}

static struct doc flat_payload(struct decode *decode, const struct doc *point, int32_t vector)
{
    struct doc payload = {.type = DOC_MAP};
    struct doc *items = doc_items(decode->scratch, 2 * point->count);

    for (uint32_t i = 0; items && i < point->count; i++) {
        if ((int32_t)(2 * i) == vector || decode_is_reserved(&point->items[2 * i]))
            continue;
        memcpy(&items[2 * payload.count++], &point->items[2 * i], 2 * sizeof(struct doc));
    }
    payload.items = items;
    return payload;
}

/* One pair of that map: the collection's own vector, one of those beside it, or a sparse one. */
static int take_part(struct decode *decode, const struct decode_part *part, const char *path,
                     const struct doc *name, const struct doc **dense, struct doc *parts)
{
    const struct config_collection *collection = decode->collection;
    const struct config_vector *extra = config_extra_vector(collection, name->string, name->count);
    const char *declared = config_part(collection, name->string, name->count);
    struct error error = {0};
    struct doc taken = name[1];

    if (config_is_dense_vector(collection, name->string, name->count)) {
        *dense = name[1].type == DOC_NULL ? NULL : &name[1];
    } else if (!declared) {
        decode_reject_add(decode, part, "vector", "%s: the collection has no vector \"%.*s\"", path,
                          (int)(name->count < 48 ? name->count : 48), name->string);
        return ERROR_INVALID;
    } else if (name[1].type == DOC_NULL) {
        return 0;
    } else if (extra) {
        if (decode_extra_vector(decode, part, extra, &name[1], path, &taken) != 0)
            return ERROR_INVALID;
        doc_put(parts, declared, taken);
    } else if (parts_check_sparse(&name[1], decode->scratch, &error) != 0) {
        decode_reject_add(decode, part, "vector", "%s.%.48s%s", path, declared, error.text);
        return ERROR_INVALID;
    } else {
        doc_put(parts, declared, name[1]);
    }
    return 0;
}

/* A map of vectors by name: the dense one, which becomes *vector (NULL: it has none), and others, which the
 * collection declares. Other forms are those of a dense vector alone, which needs no name: they stay as they are. */
static int take_parts(struct decode *decode, const struct decode_part *part, const char *path,
                      const struct doc **vector, struct doc *parts)
{
    const char *own = config_vector_name(decode->collection);
    const bool by_names = config_has_parts(decode->collection) || *own || (*vector)->count == 0;
    const struct doc *map = *vector, *dense = NULL;

    *parts = (struct doc){.type = DOC_MAP};
    if (map->type != DOC_MAP || !by_names || (!doc_get(map, own) && decode_vector_is_typed(map)))
        return 0;
    *parts = doc_map(decode->scratch, map->count);
    for (uint32_t i = 0; i < map->count; i++)
        if (take_part(decode, part, path, &map->items[2 * i], &dense, parts) != 0)
            return ERROR_INVALID;
    *vector = dense;
    return 0;
}

static int set_payload(struct decode *decode, const struct decode_part *part,
                       const struct doc *payload, const struct doc *parts,
                       struct store_record *record)
{
    if (payload->count == 0 && parts->count == 0)
        return 0;
    decode->payload->size = 0;
    doc_write_msgpack(decode->payload, payload);
    if (decode->payload->size > DECODE_PAYLOAD_MAX_BYTES) {
        decode_reject_add(decode, part, "payload",
                          "%s.payload: %zu bytes as MessagePack, at most %d", part->path,
                          decode->payload->size, DECODE_PAYLOAD_MAX_BYTES);
        return ERROR_INVALID;
    }
    record->has_parts = parts->count > 0;
    if (record->has_parts)
        parts_write(parts, decode->scratch, decode->payload);
    record->payload =
        (const uint8_t *)arena_copy(decode->arena, decode->payload->data, decode->payload->size);
    record->payload_bytes = (uint32_t)decode->payload->size;
    if (record->payload)
        return 0;
    decode_reject_add(decode, part, "memory", "%s.payload: does not fit the memory limit",
                      part->path);
    return ERROR_MEMORY;
}

/* A record for another collection must not end in this one because a topic was set up wrong. */
static int check_collection(struct decode *decode, const struct decode_part *part,
                            const struct doc *point)
{
    const struct doc *name = doc_get(point, "collection_name");

    if (!name || name->type == DOC_NULL || doc_string_equals(name, decode->collection->name))
        return 0;
    decode_reject_add(decode, part, "collection",
                      "%s.collection_name: not \"%s\", which this topic belongs to", part->path,
                      decode->collection->name);
    return ERROR_INVALID;
}

/* The vector's path for texts: long field names are cut. */
static void vector_path(const struct decode_part *part, const struct doc *name,
                        char path[DECODE_PATH_BYTES])
{
    snprintf(path, DECODE_PATH_BYTES, "%s.%.*s", part->path,
             (int)(name->count < 48 ? name->count : 48), name->string);
}

void decode_point(struct decode *decode, const struct doc *point, const struct decode_part *part)
{
    struct store_record record = {.offset = decode->message->offset};
    struct store_record *added;
    const struct doc *payload, *dense;
    struct doc flat_doc, parts;
    struct store_key key;
    char path[DECODE_PATH_BYTES];
    int32_t vector;
    bool flat;

    if (point->type != DOC_MAP) {
        decode_reject_add(decode, part, "syntax", "%s: expected an object (byte %u)", part->path,
                          point->place);
        return;
    }
    payload = doc_get(point, "payload");
    flat = !payload || payload->type == DOC_NULL;
    if (!flat && payload->type != DOC_MAP) {
        decode_reject_add(decode, part, "payload", "%s.payload: expected an object (byte %u)",
                          part->path, payload->place);
        return;
    }
    if (check_collection(decode, part, point) != 0 || point_id(decode, part, point, &key) != 0)
        return;
    vector = vector_field(decode, part, point, flat);
    if (vector < 0)
        return;
    vector_path(part, &point->items[vector], path);
    dense = &point->items[vector + 1];
    if (take_parts(decode, part, path, &dense, &parts) != 0)
        return;
    if (dense && !(record.vector = decode_vector(decode, part, dense, path)))
        return;
    if (decode_event_time(decode, part, point, flat ? point : payload, &record.event_time_ms) != 0)
        return;
    if (decode_ttl(decode, part, point, &record.ttl_ms) != 0)
        return;
    if (flat) {
        flat_doc = flat_payload(decode, point, vector);
        payload = &flat_doc;
    }
    if (set_payload(decode, part, payload, &parts, &record) != 0)
        return;
    decode_set_key(decode, &key, &record);
    added = decode_record_add(decode, part);
    if (added)
        *added = record;
}

/* Years 1 to 9999: what RFC 3339 can write. Anything beyond is a wrong unit, and sums of times and
 * durations cannot overflow inside. */
#define TIME_MIN_MS INT64_C(-62135596800000)
#define TIME_MAX_MS INT64_C(253402300799999)

static const char *unit_name(enum config_time_unit unit)
{
    switch (unit) {
    case CONFIG_TIME_S:
        return "seconds";
    case CONFIG_TIME_US:
        return "microseconds";
    case CONFIG_TIME_NS:
        return "nanoseconds";
    case CONFIG_TIME_RFC3339:
        return "RFC 3339 text";
    case CONFIG_TIME_MS:
    default:
        return "milliseconds";
    }
}

static int64_t floor_divide(int64_t value, int64_t by)
{
    return value / by - (value % by < 0);
}

/* False when the value is no time in this unit. */
static bool to_milliseconds(const struct doc *doc, enum config_time_unit unit, int64_t *time_ms)
{
    int64_t whole;
    double number;

    if (unit == CONFIG_TIME_RFC3339)
        return doc->type == DOC_STRING &&
               text_parse_time_ms(doc->string, doc->count, time_ms, ERROR_IGNORED) == 0;
    if (doc->type == DOC_INT) {
        whole = doc->integer;
        switch (unit) {
        case CONFIG_TIME_S:
            return !__builtin_mul_overflow(whole, 1000, time_ms);
        case CONFIG_TIME_US:
            *time_ms = floor_divide(whole, 1000);
            return true;
        case CONFIG_TIME_NS:
            *time_ms = floor_divide(whole, 1000000);
            return true;
        case CONFIG_TIME_MS:
        case CONFIG_TIME_RFC3339:
        default:
            *time_ms = whole;
            return true;
        }
    }
    if (doc->type != DOC_DOUBLE)
        return false;
    number = doc->number * (unit == CONFIG_TIME_S    ? 1e3
                            : unit == CONFIG_TIME_US ? 1e-3
                            : unit == CONFIG_TIME_NS ? 1e-6
                                                     : 1.0);
    if (!(number >= (double)TIME_MIN_MS && number <= (double)TIME_MAX_MS))
        return false;
    *time_ms = (int64_t)floor(number);
    return true;
}

static bool keep_first(void *context, const struct doc *value)
{
    *(const struct doc **)context = value;
    return true;
}

int decode_event_time(struct decode *decode, const struct decode_part *part,
                      const struct doc *point, const struct doc *payload, int64_t *time_ms)
{
    const char *field = decode->collection->event_time_field;
    enum config_time_unit unit = decode->collection->event_time_unit;
    const struct doc *found = NULL;
    const char *inside = "";

    if (!field || !point) {
        *time_ms = decode->message->timestamp_ms;
        if (*time_ms >= 0)
            return 0;
        decode_reject_add(decode, part, "time", "%s: the Kafka record has no timestamp",
                          part->path);
        return ERROR_INVALID;
    }
    found = doc_get(point, field);
    if (!found && payload) {
        (void)doc_visit_path(payload, field, strlen(field), keep_first, &found);
        inside = payload == point ? "" : ".payload";
    }
    if (!found || found->type == DOC_NULL) {
        decode_reject_add(decode, part, "time",
                          "%s: no event time in \"%s\", neither in the record nor in its payload",
                          part->path, field);
        return ERROR_INVALID;
    }
    if (to_milliseconds(found, unit, time_ms) && *time_ms >= TIME_MIN_MS && *time_ms <= TIME_MAX_MS)
        return 0;
    decode_reject_add(decode, part, "time",
                      "%s%s.%s: expected a time in %s between years 1 and 9999", part->path, inside,
                      field, unit_name(unit));
    return ERROR_INVALID;
}

int decode_ttl(struct decode *decode, const struct decode_part *part, const struct doc *point,
               int64_t *ttl_ms)
{
    const struct doc *ttl = doc_get(point, "ttl");
    char text[32];

    *ttl_ms = 0;
    if (!ttl || ttl->type == DOC_NULL)
        return 0;
    if (ttl->type == DOC_STRING && ttl->count < sizeof(text)) {
        memcpy(text, ttl->string, ttl->count);
        text[ttl->count] = '\0';
        if (text_parse_duration_ms(text, ttl_ms, ERROR_IGNORED) == 0 && *ttl_ms > 0)
            return 0;
    } else if (doc_as_i64(ttl, ttl_ms) && *ttl_ms > 0) {
        return 0;
    }
    decode_reject_add(decode, part, "ttl",
                      "%s.ttl: expected a duration (\"90m\") or milliseconds, above zero",
                      part->path);
    return ERROR_INVALID;
}
