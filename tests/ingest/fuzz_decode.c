/* Any bytes as a message. The first byte chooses metric, event time, whether there is a key, the type of
 * vectors that come as bytes, and the format unless FUZZ_FORMAT names it (a target a format, so that none starves another); nothing
 * may crash, and what comes out must be what the store may be given: keys within bounds, finite
 * vectors, payloads that parse, parts inside the message. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ingest/decode/decode.h"
#include "store/files/key.h"
#include "store/files/record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { DIM = 4 };

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* The row of an Arrow batch, which has no bytes of its own in the message. */
static void check_row(const uint8_t *value, size_t size, struct arena *arena)
{
    struct doc row;

    const struct doc_limits limits = {.max_depth = 128};

    CHECK(doc_parse_msgpack(arena, value, size, &limits, &row, ERROR_IGNORED) == 0);
    CHECK(row.type == DOC_MAP);
}

static bool is_part(const struct decode_message *message, const uint8_t *value)
{
    return value >= message->value && value <= message->value + message->value_bytes;
}

static void check_part(const struct decode_message *message, const uint8_t *value, size_t size)
{
    if (!value) {
        CHECK(!message->value);
        return;
    }
    CHECK(value >= message->value);
    CHECK(size <= message->value_bytes);
    CHECK(value + size <= message->value + message->value_bytes);
}

static void check_record(const struct config_collection *collection,
                         const struct store_record *record, struct arena *arena)
{
    struct doc payload;
    double length = 0;

    CHECK(record->key_bytes > 0 && record->key_bytes <= STORE_KEY_MAX_BYTES);
    CHECK(record->offset == 7 && record->ttl_ms >= 0);
    if (record->is_delete) {
        CHECK(!record->vector && record->payload_bytes == 0);
        return;
    }
    for (int i = 0; i < DIM; i++) {
        CHECK(isfinite(record->vector[i]));
        length += (double)record->vector[i] * (double)record->vector[i];
    }
    if (collection->metric == VECTOR_METRIC_COSINE)
        CHECK(fabs(length - 1) < 1e-4);
    if (record->payload_bytes > 0) {
        CHECK(doc_parse_msgpack(arena, record->payload, record->payload_bytes, NULL, &payload,
                                ERROR_IGNORED) == 0);
        CHECK(payload.type == DOC_MAP);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
#ifdef FUZZ_FORMAT
    static const enum config_format formats[] = {FUZZ_FORMAT};
#else
    static const enum config_format formats[] = {CONFIG_FORMAT_AUTO, CONFIG_FORMAT_JSON,
                                                 CONFIG_FORMAT_MSGPACK, CONFIG_FORMAT_PROTOBUF,
                                                 CONFIG_FORMAT_RAW};
#endif
    static const enum vector_type types[] = {VECTOR_TYPE_FLOAT32, VECTOR_TYPE_FLOAT16,
                                             VECTOR_TYPE_INT8, VECTOR_TYPE_BINARY};
    struct config_collection collection = {.name = "c", .dim = DIM, .window_ms = 1000};
    struct decode_message message = {.topic = "t", .offset = 7, .timestamp_ms = 1700000000000};
    struct decode_result decoded;
    struct arena arena;

    if (size == 0)
        return 0;
    collection.format = formats[data[0] % (sizeof(formats) / sizeof(formats[0]))];
    collection.metric = data[0] & 0x40 ? VECTOR_METRIC_COSINE : VECTOR_METRIC_L2;
    collection.messages = types[data[0] >> 3 & 3];
    if (data[0] & 0x20)
        collection.event_time_field = "time_ms";
    message.value = data + 1;
    message.value_bytes = size - 1;
    if (data[0] & 0x80) {
        message.key = data + 1;
        message.key_bytes = (size - 1) / 2;
        message.value += message.key_bytes;
        message.value_bytes -= message.key_bytes;
    }
    arena_create(&arena, 0);
    decode_message(&collection, &message, &arena, &arena, &decoded);
    for (size_t i = 0; i < decoded.record_count; i++) {
        check_record(&collection, &decoded.records[i], &arena);
        check_part(&message, decoded.sources[i].value, decoded.sources[i].value_bytes);
        if (decoded.sources[i].is_row && i < 16) {
            const struct decode_source row =
                decode_source_whole(&collection, &message, &decoded.sources[i], &arena);
            check_row(row.value, row.value_bytes, &arena);
        }
    }
    for (size_t i = 0; i < decoded.reject_count; i++) {
        CHECK(decoded.rejects[i].text[0] != '\0');
        if (collection.format == CONFIG_FORMAT_ARROW &&
            !is_part(&message, decoded.rejects[i].value))
            check_row(decoded.rejects[i].value, decoded.rejects[i].value_bytes, &arena);
        else
            check_part(&message, decoded.rejects[i].value, decoded.rejects[i].value_bytes);
    }
    arena_destroy(&arena);
    return 0;
}
