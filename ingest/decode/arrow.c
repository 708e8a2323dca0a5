/* The rows of a stream become points: a row is the document that it would be in JSON in the flat shape,
 * or with a column `payload` the record shape, and goes the same way from there (point.c). The vector
 * goes on as the bytes of the message. */
#include "ingest/decode/arrow.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ingest/decode/decode_internal.h"
#include "store/files/key.h"
#include "store/files/record.h"

enum {
    ROW_MAX_BYTES = 64 * 1024 * 1024, /* of a row's document */
    /* Of all documents of a message. Lists may overlap and dictionaries are shared, so that a message
     * could stand for far more than it holds. */
    ROWS_MAX_BYTES = 12 * DECODE_MESSAGE_MAX_BYTES,
    CELLS_MAX = 32 * 1024 * 1024,
    TEXT_BYTES = 160
};

struct rows {
    struct decode *decode;
    struct arrow_stream stream;
    struct arrow_batch batch;
    uint32_t batch_index;
    int64_t vector; /* the column of lists that are vectors, -1: no column is known to be it */
    enum vector_type type; /* of its items */
    struct arena row;      /* what a row's document is made of */
    uint64_t bytes;        /* of the rows so far */
    uint64_t cells;
};

static bool has_name(const struct arrow_field *field, const char *name)
{
    return name && field->name_length == strlen(name) &&
           memcmp(field->name, name, field->name_length) == 0;
}

/* Whether a column is lists whose items are bytes of a type. */
static bool is_list_of(const struct arrow_field *field, enum vector_type *type)
{
    const struct arrow_field *items = field->children;

    if ((field->type != ARROW_LIST && field->type != ARROW_LARGE_LIST &&
         field->type != ARROW_FIXED_SIZE_LIST) ||
        field->has_dictionary || items->has_dictionary)
        return false;
    if (items->type == ARROW_FLOAT && items->width == sizeof(float))
        *type = VECTOR_TYPE_FLOAT32;
    else if (items->type == ARROW_FLOAT && items->width == sizeof(uint16_t))
        *type = VECTOR_TYPE_FLOAT16;
    else if (items->type == ARROW_INT && items->width == sizeof(int8_t) && items->is_signed)
        *type = VECTOR_TYPE_INT8;
    else
        return false;
    return true;
}

/* `vector`, or else the only one that can be it. Others are arrays of numbers, as in JSON. */
static int64_t find_vector(struct rows *rows)
{
    const struct arrow_stream *stream = &rows->stream;
    int64_t found = -1;

    for (uint32_t i = 0; i < stream->field_count; i++)
        if (has_name(&stream->fields[i], "vector"))
            return is_list_of(&stream->fields[i], &rows->type) ? (int64_t)i : -1;
    for (uint32_t i = 0; i < stream->field_count; i++) {
        const struct arrow_field *field = &stream->fields[i];
        enum vector_type type;
        if (!is_list_of(field, &type) || field->type != ARROW_FIXED_SIZE_LIST ||
            field->list_size != rows->decode->collection->dim)
            continue;
        if (found >= 0)
            return -1;
        found = i;
        rows->type = type;
    }
    return found;
}

/* Values of a row. */

/* The bytes of the vector where they lie. False: some item is null, or the list is broken. */
static bool vector_bytes(struct rows *rows, const struct arrow_column *column, uint64_t row,
                         struct doc *value)
{
    const struct arrow_column *items = &column->children[0];
    const unsigned width = items->field->width;
    uint64_t begin, count;

    if (!arrow_list_range(column, row, &begin, &count) || count > UINT32_MAX / width)
        return false;
    for (uint64_t i = 0; items->validity.data && i < count; i++)
        if (arrow_is_null(items, begin + i))
            return false;
    *value =
        decode_typed_bytes(rows->decode, rows->type,
                           count > 0 ? items->values.data + begin * width : (const uint8_t *)"",
                           (uint32_t)(count * width), NULL);
    return true;
}

/* A timestamp in the unit that the collection's event time has. */
static bool event_time(const struct arrow_column *column, uint64_t row, enum config_time_unit unit,
                       struct doc *value)
{
    static const int64_t per_second[] = {[ARROW_SECOND] = 1,
                                         [ARROW_MILLISECOND] = 1000,
                                         [ARROW_MICROSECOND] = 1000000,
                                         [ARROW_NANOSECOND] = 1000000000};
    int64_t from = per_second[column->field->unit];
    int64_t to = unit == CONFIG_TIME_S    ? 1
                 : unit == CONFIG_TIME_US ? 1000000
                 : unit == CONFIG_TIME_NS ? 1000000000
                                          : 1000;
    int64_t number;

    memcpy(&number, column->values.data + row * sizeof(number), sizeof(number));
    if (from <= to && __builtin_mul_overflow(number, to / from, &number))
        return false;
    if (from > to)
        number = number / (from / to) - (number % (from / to) < 0);
    *value = doc_integer(number);
    return true;
}

/* The text of a column `payload` is an object in JSON. */
static int payload_value(struct rows *rows, struct doc *value, char text[TEXT_BYTES])
{
    const struct doc_limits limits = {.max_bytes = DECODE_MESSAGE_MAX_BYTES,
                                      .max_depth = DECODE_DEPTH_MAX};
    const struct doc json = *value;
    struct error error = {0};

    /* The parser has no way to go on without memory; it takes up to twelve times the text. */
    if (json.count > ROW_MAX_BYTES / 16) {
        (void)snprintf(text, TEXT_BYTES, "the row is too large");
        return ERROR_INVALID;
    }
    rows->row.limit_bytes = SIZE_MAX;
    if (doc_parse_json(&rows->row, json.string, json.count, &limits, value, &error) == 0)
        return 0;
    (void)snprintf(text, TEXT_BYTES, "%.150s", error.text);
    return ERROR_INVALID;
}

/* A column has one type: numbers among texts are written in digits, as in Kafka's keys. */
static bool digits_are_number(const struct decode *decode)
{
    const char *kind = decode->message->id_kind;

    return kind ? strcmp(kind, store_id_kind_name(STORE_ID_TEXT)) != 0
                : decode->collection->key != CONFIG_KEY_TEXT;
}

static int cell(struct rows *rows, uint32_t index, uint64_t row, struct doc *value,
                char text[TEXT_BYTES])
{
    const struct config_collection *collection = rows->decode->collection;
    const struct arrow_column *column = &rows->batch.columns[index];
    const struct arrow_field *field = column->field;
    uint64_t number;
    int code;

    if (!arrow_is_null(column, row)) {
        if (index == rows->vector && vector_bytes(rows, column, row, value))
            return 0;
        if (field->type == ARROW_TIMESTAMP && !field->has_dictionary &&
            has_name(field, collection->event_time_field) &&
            collection->event_time_unit != CONFIG_TIME_RFC3339 &&
            event_time(column, row, collection->event_time_unit, value))
            return 0;
    }
    rows->row.limit_bytes = ROW_MAX_BYTES;
    code = arrow_value(column, row, &rows->row, value, text, TEXT_BYTES);
    if (code == 0 && value->type == DOC_STRING && has_name(field, "id") &&
        digits_are_number(rows->decode) &&
        text_parse_u64(value->string, value->count, &number) == 0)
        *value = (struct doc){.type = number > INT64_MAX ? DOC_UINT : DOC_INT,
                              .unsigned_integer = number};
    if (code == 0 && value->type == DOC_STRING && has_name(field, "payload"))
        code = payload_value(rows, value, text);
    rows->row.limit_bytes = SIZE_MAX;
    return code;
}

/* The row as a map; a column that cannot be read is left out, and is the reason of a reject. False then. */
static bool row_document(struct rows *rows, uint64_t row, struct doc *map, uint32_t *bad,
                         char text[TEXT_BYTES])
{
    const uint32_t count = rows->stream.field_count;
    struct doc *items = doc_items(&rows->row, 2 * count);
    bool good = true;

    *map = (struct doc){.type = DOC_MAP, .items = items};
    for (uint32_t i = 0; i < count; i++) {
        const struct arrow_field *field = &rows->stream.fields[i];
        char other[TEXT_BYTES] = "";
        struct doc value;
        if (cell(rows, i, row, &value, good ? text : other) != 0) {
            *bad = good ? i : *bad;
            good = false;
            continue;
        }
        items[2 * map->count] =
            (struct doc){.type = DOC_STRING, .count = field->name_length, .string = field->name};
        items[2 * map->count++ + 1] = value;
    }
    return good;
}

/* A row as a message of its own. MessagePack keeps what JSON would lose: a vector's NaN. */
static struct decode_source as_message(const struct doc *map, struct arena *arena)
{
    struct buffer out = {0};
    struct decode_source source;

    doc_write_msgpack(&out, map);
    source = (struct decode_source){
        .value = (const uint8_t *)memory_checked(arena_copy(arena, out.data, out.size)),
        .value_bytes = out.size};
    buffer_destroy(&out);
    return source;
}

static void decode_row(struct rows *rows, uint32_t row)
{
    struct decode *decode = rows->decode;
    struct decode_result *out = decode->out;
    const size_t records = out->record_count, rejects = out->reject_count;
    struct decode_part part = {
        .batch = true, .bytes = decode->message->value, .size_bytes = decode->message->value_bytes};
    char text[TEXT_BYTES];
    uint32_t bad = 0;
    struct doc map;

    (void)snprintf(part.path, sizeof(part.path), "$.batches[%u].rows[%u]", rows->batch_index, row);
    if (row_document(rows, row, &map, &bad, text))
        decode_point(decode, &map, &part);
    else
        decode_reject_add(decode, &part, "syntax", "%s.%.*s: %s", part.path,
                          (int)(rows->stream.fields[bad].name_length < 48
                                    ? rows->stream.fields[bad].name_length
                                    : 48),
                          rows->stream.fields[bad].name, text);
    if (out->reject_count > rejects) {
        struct decode_source own = as_message(&map, decode->arena);
        rows->bytes += own.value_bytes + 2 * sizeof(*out->rejects);
        out->rejects[rejects].value = own.value;
        out->rejects[rejects].value_bytes = own.value_bytes;
    }
    if (out->record_count > records) {
        rows->bytes += out->records[records].payload_bytes;
        out->sources[records].is_row = true;
        out->sources[records].batch = rows->batch_index;
        out->sources[records].row = row;
    }
}

/* False: the message stands for more than a message may. */
static bool decode_batch(struct rows *rows)
{
    struct arena *scratch = rows->decode->scratch;
    bool fits = true;

    rows->cells += rows->batch.row_count * (rows->stream.field_total + 1);
    if (rows->cells > CELLS_MAX)
        return false;
    rows->decode->scratch = &rows->row;
    for (uint64_t row = 0; fits && row < rows->batch.row_count; row++) {
        decode_row(rows, (uint32_t)row);
        rows->bytes += rows->row.used_bytes;
        arena_reset(&rows->row);
        fits = rows->bytes <= ROWS_MAX_BYTES || row + 1 == rows->batch.row_count;
    }
    rows->decode->scratch = scratch;
    return fits;
}

static void begin(struct rows *rows, const struct decode_message *message, struct arena *scratch)
{
    rows->stream = (struct arrow_stream){
        .data = message->value, .size = message->value_bytes, .arena = scratch};
    arena_create(&rows->row, 0);
}

void decode_arrow(struct decode *decode, const struct decode_part *whole)
{
    struct rows *rows = memory_new(1, sizeof(*rows));
    int code;

    rows->decode = decode;
    begin(rows, decode->message, decode->scratch);
    while ((code = arrow_stream_next(&rows->stream, &rows->batch)) == 1) {
        rows->vector = find_vector(rows);
        if (!decode_batch(rows)) {
            decode_reject_add(decode, whole, "size",
                              "$.batches[%u]: the rows are larger than %d bytes, or more than %d "
                              "values; what follows was not read",
                              rows->batch_index, ROWS_MAX_BYTES, CELLS_MAX);
            break;
        }
        rows->batch_index++;
    }
    if (code < 0)
        decode_reject_add(decode, whole, "syntax", "Arrow: byte %zu ($.batches[%u]): %s",
                          rows->stream.at, rows->batch_index, rows->stream.text);
    arena_destroy(&rows->row);
    free(rows);
}

bool decode_looks_arrow(const uint8_t *value, size_t size_bytes)
{
    uint32_t prefix[2];

    if (size_bytes < sizeof(prefix))
        return false;
    memcpy(prefix, value, sizeof(prefix));
    return prefix[0] == ARROW_CONTINUATION && prefix[1] > 0 && prefix[1] % ARROW_ALIGNMENT == 0 &&
           prefix[1] <= size_bytes - sizeof(prefix);
}

struct decode_source decode_source_whole(const struct config_collection *collection,
                                         const struct decode_message *message,
                                         const struct decode_source *source, struct arena *arena)
{
    struct decode decode = {.collection = collection, .message = message};
    const struct decode_part whole = {.path = "$"};
    struct decode_source own = *source;
    char text[TEXT_BYTES];
    struct rows *rows;
    struct doc map;
    uint32_t bad;

    if (!source->is_row || decode_vector_type(&decode, &whole) != 0)
        return own;
    rows = memory_new(1, sizeof(*rows));
    rows->decode = &decode;
    begin(rows, message, arena);
    decode.scratch = &rows->row;
    while (arrow_stream_next(&rows->stream, &rows->batch) == 1) {
        if (rows->batch_index++ != source->batch)
            continue;
        rows->vector = find_vector(rows);
        (void)row_document(rows, source->row, &map, &bad, text);
        own = as_message(&map, arena);
        break;
    }
    arena_destroy(&rows->row);
    free(rows);
    return own;
}
