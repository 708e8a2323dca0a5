#include "ingest/decode/decode_internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"
#include "store/files/key.h"
#include "store/files/record.h"

/* Each item keeps its own bytes and its reason, also where no room is left to describe it. */
static const char *reject_text(struct decode *decode, const char *format, va_list arguments)
{
    static const char more[] =
        "one of many bad items of this message: the first ones are described one by one";
    char text[512];
    const char *copy;
    size_t length;

    if (decode->text_bytes >= DECODE_TEXTS_MAX_BYTES)
        return more;
    (void)vsnprintf(text, sizeof(text), format, arguments);
    length = strlen(text);
    decode->text_bytes += length + 1;
    copy = arena_copy(decode->arena, text, length);
    return copy ? copy : more;
}

void decode_reject_add(struct decode *decode, const struct decode_part *part, const char *reason,
                       const char *format, ...)
{
    struct decode_result *out = decode->out;
    struct decode_reject *reject;
    va_list arguments;

    if (out->reject_count == decode->reject_capacity) {
        size_t capacity = decode->reject_capacity ? 2 * decode->reject_capacity : 1;
        struct decode_reject *grown = arena_calloc(decode->arena, capacity, sizeof(*grown));
        if (!grown) {
            /* Past the arena's limit there is no room for texts either: the last one stands for the
             * rest. The consumer's arenas have no limit; its messages do. */
            return;
        }
        if (out->reject_count > 0)
            memcpy(grown, out->rejects, out->reject_count * sizeof(*grown));
        out->rejects = grown;
        decode->reject_capacity = capacity;
    }
    reject = &out->rejects[out->reject_count++];
    reject->reason = reason;
    reject->value = part->bytes;
    reject->value_bytes = part->size_bytes;
    va_start(arguments, format);
    reject->text = reject_text(decode, format, arguments);
    va_end(arguments);
}

struct store_record *decode_record_add(struct decode *decode, const struct decode_part *part)
{
    struct decode_result *out = decode->out;
    size_t count = out->record_count;

    if (count == decode->record_capacity) {
        size_t capacity = count ? 2 * count : 1;
        struct store_record *records = arena_calloc(decode->arena, capacity, sizeof(*records));
        struct decode_source *sources = arena_calloc(decode->arena, capacity, sizeof(*sources));
        if (!records || !sources) {
            decode_reject_add(decode, part, "memory", "%s: does not fit the memory limit",
                              part->path);
            return NULL;
        }
        if (count > 0) {
            memcpy(records, out->records, count * sizeof(*records));
            memcpy(sources, out->sources, count * sizeof(*sources));
        }
        out->records = records;
        out->sources = sources;
        decode->record_capacity = capacity;
    }
    out->sources[count] =
        (struct decode_source){.value = part->bytes, .value_bytes = part->size_bytes};
    return &out->records[out->record_count++];
}

/* Behind a value that the parser has found valid. */
static size_t json_value_end(const uint8_t *text, size_t size_bytes, size_t at)
{
    unsigned depth = 0;

    for (; at < size_bytes; at++) {
        switch (text[at]) {
        case '"':
            for (at++; at < size_bytes && text[at] != '"'; at++)
                at += text[at] == '\\';
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            if (depth == 0)
                return at;
            depth--;
            break;
        case ',':
        case ' ':
        case '\t':
        case '\n':
        case '\r':
            if (depth == 0)
                return at;
            continue;
        default:
            continue;
        }
        if (depth == 0)
            return at + 1;
    }
    return size_bytes;
}

/* Where a point of a batch ends: JSON is scanned; MessagePack values follow one another, so the
 * next one's place, or that of what follows the batch (`end`), is the end. */
static size_t point_end(const struct decode *decode, const struct doc *points, uint32_t index,
                        bool json, size_t end)
{
    const struct decode_message *message = decode->message;

    if (json)
        return json_value_end(message->value, message->value_bytes, points->items[index].place);
    return index + 1 < points->count ? points->items[index + 1].place : end;
}

static void decode_batch(struct decode *decode, const struct doc *points, const char *prefix,
                         bool json, size_t end)
{
    for (uint32_t i = 0; i < points->count; i++) {
        const struct doc *point = &points->items[i];
        struct decode_part part = {.batch = true};
        snprintf(part.path, sizeof(part.path), "%s[%u]", prefix, i);
        part.bytes = decode->message->value + point->place;
        part.size_bytes = point_end(decode, points, i, json, end) - point->place;
        decode_point(decode, point, &part);
    }
}

static void decode_doc(struct decode *decode, const struct decode_part *whole,
                       const struct doc *doc, bool json)
{
    size_t end = decode->message->value_bytes;
    const struct doc *points = NULL;

    if (doc->type == DOC_ARRAY) {
        decode_batch(decode, doc, "$", json, end);
        return;
    }
    if (doc->type == DOC_MAP && !doc_get(doc, "id") && !doc_get(doc, "vector"))
        points = doc_get(doc, "points");
    if (!points || points->type != DOC_ARRAY) {
        decode_point(decode, doc, whole);
        return;
    }
    if (points + 1 < doc->items + 2 * (size_t)doc->count)
        end = points[1].place;
    decode_batch(decode, points, "$.points", json, end);
}

static void decode_tombstone(struct decode *decode, const struct decode_part *whole)
{
    struct store_record record = {.offset = decode->message->offset, .is_delete = true};
    struct store_record *added;
    struct store_key key, other;

    if (decode_delete_key(decode, whole, &key, &other) != 0)
        return;
    record.is_foreign = decode->message->id_kind == NULL;
    if (other.size_bytes > 0) {
        record.other_key =
            (const uint8_t *)arena_copy(decode->arena, other.bytes, other.size_bytes);
        record.other_key_bytes = other.size_bytes;
    }
    /* A delete has no vector and no event time of its own: Kafka's will do. */
    record.event_time_ms = decode->message->timestamp_ms < 0 ? 0 : decode->message->timestamp_ms;
    decode_set_key(decode, &key, &record);
    added = decode_record_add(decode, whole);
    if (added)
        *added = record;
}

static void decode_document(struct decode *decode, const struct decode_part *whole, bool json)
{
    const struct doc_limits limits = {.max_bytes = DECODE_MESSAGE_MAX_BYTES,
                                      .max_depth = DECODE_DEPTH_MAX};
    const struct decode_message *message = decode->message;
    struct error error = {0};
    struct doc doc;
    int code;

    if (json)
        code = doc_parse_json(decode->scratch, (const char *)message->value, message->value_bytes,
                              &limits, &doc, &error);
    else
        code = doc_parse_msgpack(decode->scratch, message->value, message->value_bytes, &limits,
                                 &doc, &error);
    if (code != 0)
        decode_reject_add(decode, whole, "syntax", "%s: %s", json ? "JSON" : "MessagePack",
                          error.text);
    else if (json &&
             doc.type == DOC_NULL) /* what Kafka Connect's JsonConverter makes of no value */
        decode_tombstone(decode, whole);
    else
        decode_doc(decode, whole, &doc, json);
}

static void decode_raw(struct decode *decode, const struct decode_part *whole)
{
    const struct decode_message *message = decode->message;
    const struct doc bytes = {.type = DOC_BYTES,
                              .count = (uint32_t)message->value_bytes,
                              .string = (const char *)message->value};
    struct store_record record = {.offset = message->offset};
    struct store_record *added;
    struct store_key key;

    if (decode_key(decode, whole, &key) != 0)
        return;
    record.vector = decode_vector_typed(decode, whole, &bytes, "raw");
    if (!record.vector || decode_event_time(decode, whole, NULL, NULL, &record.event_time_ms) != 0)
        return;
    decode_set_key(decode, &key, &record);
    added = decode_record_add(decode, whole);
    if (added)
        *added = record;
}

static bool is_type(const char *content_type, const char *wanted)
{
    size_t length = strcspn(content_type, "; \t");

    return length == strlen(wanted) && strncasecmp(content_type, wanted, length) == 0;
}

/* CONFIG_FORMAT_AUTO when the header says nothing that is known here. */
static enum config_format format_from_header(const char *content_type)
{
    static const struct {
        const char *name;
        enum config_format format;
    } types[] = {
        {"application/json", CONFIG_FORMAT_JSON},
        {"text/json", CONFIG_FORMAT_JSON},
        {"application/msgpack", CONFIG_FORMAT_MSGPACK},
        {"application/x-msgpack", CONFIG_FORMAT_MSGPACK},
        {"application/vnd.msgpack", CONFIG_FORMAT_MSGPACK},
        {"application/protobuf", CONFIG_FORMAT_PROTOBUF},
        {"application/x-protobuf", CONFIG_FORMAT_PROTOBUF},
        {"application/vnd.google.protobuf", CONFIG_FORMAT_PROTOBUF},
        {"application/vnd.apache.arrow.stream", CONFIG_FORMAT_ARROW},
        {"application/x-float32", CONFIG_FORMAT_RAW},
        {"application/x-float32-le", CONFIG_FORMAT_RAW},
    };

    for (size_t i = 0; content_type && i < sizeof(types) / sizeof(types[0]); i++)
        if (is_type(content_type, types[i].name))
            return types[i].format;
    return CONFIG_FORMAT_AUTO;
}

static bool is_msgpack_container(uint8_t byte)
{
    return (byte >= 0x80 && byte <= 0x9f) || (byte >= 0xdc && byte <= 0xdf);
}

/* A raw vector may start with any byte. What gives it away is its size. No other format holds `dim` values
 * of 8 bits, or bits, in as many bytes. Of 16 bits and more, arrays of small numbers may. */
static bool is_raw_by_size(const struct decode *decode)
{
    enum vector_type type = decode->vector_type;

    return (type == VECTOR_TYPE_INT8 || type == VECTOR_TYPE_BINARY) &&
           decode->message->value_bytes == vector_type_bytes(type, decode->collection->dim);
}

/* No text of that size is a vector unless it is not text. */
static bool looks_raw(struct decode *decode)
{
    const struct decode_message *message = decode->message;
    const char *text = (const char *)message->value;
    struct doc doc;

    if (message->value_bytes != vector_type_bytes(decode->vector_type, decode->collection->dim))
        return false;
    if (is_msgpack_container(message->value[0]))
        return doc_parse_msgpack(decode->scratch, message->value, message->value_bytes, NULL, &doc,
                                 ERROR_IGNORED) != 0;
    return memchr(text, '\0', message->value_bytes) ||
           text_utf8_valid(text, message->value_bytes) != message->value_bytes;
}

static enum config_format format_from_bytes(struct decode *decode)
{
    const struct decode_message *message = decode->message;
    size_t at = 0;

    if (is_raw_by_size(decode))
        return CONFIG_FORMAT_RAW;
    if (decode_looks_arrow(message->value, message->value_bytes))
        return CONFIG_FORMAT_ARROW;
    if (looks_raw(decode))
        return CONFIG_FORMAT_RAW;
    if (is_msgpack_container(message->value[0]))
        return CONFIG_FORMAT_MSGPACK;
    while (at < message->value_bytes && memchr(" \t\r\n", message->value[at], 4))
        at++;
    if (at < message->value_bytes && (message->value[at] == '{' || message->value[at] == '['))
        return CONFIG_FORMAT_JSON;
    if (message->value_bytes - at >= 4 && memcmp(&message->value[at], "null", 4) == 0)
        return CONFIG_FORMAT_JSON;
    if (decode_looks_protobuf(message->value, message->value_bytes))
        return CONFIG_FORMAT_PROTOBUF;
    return CONFIG_FORMAT_AUTO;
}

static void decode_value(struct decode *decode, const struct decode_part *whole)
{
    enum config_format format = decode->collection->format;

    if (decode_vector_type(decode, whole) != 0)
        return;
    if (format == CONFIG_FORMAT_AUTO) {
        format = format_from_header(decode->message->content_type);
        if (format == CONFIG_FORMAT_RAW &&
            !decode->message->vector_type) /* application/x-float32 */
            decode->vector_type = VECTOR_TYPE_FLOAT32;
    }
    if (format == CONFIG_FORMAT_AUTO)
        format = format_from_bytes(decode);
    switch (format) {
    case CONFIG_FORMAT_JSON:
    case CONFIG_FORMAT_MSGPACK:
        decode_document(decode, whole, format == CONFIG_FORMAT_JSON);
        break;
    case CONFIG_FORMAT_RAW:
        decode_raw(decode, whole);
        break;
    case CONFIG_FORMAT_PROTOBUF:
        decode_protobuf(decode, whole);
        break;
    case CONFIG_FORMAT_ARROW:
        decode_arrow(decode, whole);
        break;
    case CONFIG_FORMAT_AUTO:
    default:
        decode_reject_add(
            decode, whole, "format",
            "byte 0: 0x%02x starts no format that is known here (set the collection's "
            "format or a content-type header)",
            decode->message->value[0]);
        break;
    }
}

/* `OFFSET` or `none`, and `/OFFSET` behind it. */
static bool parse_expects(const char *text, int64_t *expected, int64_t *read_at)
{
    size_t length = strcspn(text, "/");
    uint64_t number;

    *expected = STORE_EXPECT_NONE;
    *read_at = -1;
    if (length != 4 || memcmp(text, "none", 4) != 0) {
        if (text_parse_u64(text, length, &number) != 0 || number > INT64_MAX)
            return false;
        *expected = (int64_t)number;
    }
    if (text[length] == '\0')
        return true;
    text += length + 1;
    if (text_parse_u64(text, strlen(text), &number) != 0 || number > INT64_MAX)
        return false;
    *read_at = (int64_t)number;
    return true;
}

/* What the header asks for holds for every record of the message. */
static void take_expected(struct decode *decode, const struct decode_part *whole)
{
    const struct decode_message *message = decode->message;
    struct decode_result *decoded = decode->out;
    int64_t expected, read_at;

    if (!message->expects)
        return;
    if (!parse_expects(message->expects, &expected, &read_at)) {
        decoded->record_count = 0;
        decode_reject_add(decode, whole, "syntax",
                          "header " DECODE_EXPECTS_HEADER
                          ": expected an offset or `none`, got \"%.40s\"",
                          message->expects);
        return;
    }
    if (read_at >= 0 && message->offset - read_at > DECODE_EXPECTS_DISTANCE_MAX)
        expected = STORE_EXPECT_NEVER;
    for (size_t i = 0; i < decoded->record_count; i++) {
        decoded->records[i].expects = true;
        decoded->records[i].expected_offset = expected;
    }
}

void decode_message(const struct config_collection *collection,
                    const struct decode_message *message, struct arena *scratch,
                    struct arena *arena, struct decode_result *decoded)
{
    struct buffer payload = {0};
    struct decode decode = {.collection = collection,
                            .message = message,
                            .scratch = scratch,
                            .arena = arena,
                            .payload = &payload,
                            .out = decoded};
    struct decode_part whole = {
        .path = "$", .bytes = message->value, .size_bytes = message->value_bytes};

    *decoded = (struct decode_result){0};
    if (!message->value)
        decode_tombstone(&decode, &whole);
    else if (message->value_bytes == 0)
        decode_reject_add(&decode, &whole, "syntax",
                          "byte 0: an empty value (a delete has a null one)");
    else if (message->value_bytes > DECODE_MESSAGE_MAX_BYTES)
        decode_reject_add(&decode, &whole, "size", "byte %d: %zu bytes, at most %d",
                          DECODE_MESSAGE_MAX_BYTES, message->value_bytes, DECODE_MESSAGE_MAX_BYTES);
    else
        decode_value(&decode, &whole);
    take_expected(&decode, &whole);
    buffer_destroy(&payload);
}

const char *decode_complaint(const struct config_collection *collection,
                             const struct decode_message *message, int64_t now_ms,
                             struct arena *arena, struct decode_result *decoded)
{
    char time[TEXT_TIME_BYTES];
    char limit[TEXT_TIME_BYTES];
    char text[160];

    decode_message(collection, message, arena, arena, decoded);
    if (decoded->reject_count > 0)
        return decoded->rejects[0].text;
    for (size_t i = 0; i < decoded->record_count; i++) {
        const struct store_record *record = &decoded->records[i];
        if (record->is_delete || record->event_time_ms - collection->max_future_ms <= now_ms)
            continue;
        snprintf(text, sizeof(text),
                 "event time %s lies further in the future than max_future (%s)",
                 text_format_time(record->event_time_ms, time),
                 text_format_duration(collection->max_future_ms, limit));
        return arena_copy(arena, text, strlen(text));
    }
    return NULL;
}
