#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "ingest/decode/arrow.h"

static int fail(struct arrow_stream *stream, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int fail(struct arrow_stream *stream, const char *format, ...)
{
    va_list arguments;
    size_t length;

    va_start(arguments, format);
    (void)vsnprintf(stream->text, sizeof(stream->text), format, arguments);
    va_end(arguments);
    /* A name may have been cut inside a character. */
    length = strlen(stream->text);
    stream->text[text_utf8_valid(stream->text, length)] = '\0';
    return ERROR_INVALID;
}

const char *arrow_type_name(enum arrow_type type)
{
    static const char *const names[ARROW_TYPES_END] = {
        [ARROW_NULL] = "null",
        [ARROW_INT] = "int",
        [ARROW_FLOAT] = "float",
        [ARROW_BINARY] = "binary",
        [ARROW_UTF8] = "utf8",
        [ARROW_BOOL] = "bool",
        [ARROW_DECIMAL] = "decimal",
        [ARROW_DATE] = "date",
        [ARROW_TIME] = "time",
        [ARROW_TIMESTAMP] = "timestamp",
        [ARROW_INTERVAL] = "interval",
        [ARROW_LIST] = "list",
        [ARROW_STRUCT] = "struct",
        [ARROW_UNION] = "union",
        [ARROW_FIXED_SIZE_BINARY] = "fixed_size_binary",
        [ARROW_FIXED_SIZE_LIST] = "fixed_size_list",
        [ARROW_MAP] = "map",
        [ARROW_DURATION] = "duration",
        [ARROW_LARGE_BINARY] = "large_binary",
        [ARROW_LARGE_UTF8] = "large_utf8",
        [ARROW_LARGE_LIST] = "large_list",
        [ARROW_RUN_END_ENCODED] = "run_end_encoded",
        [ARROW_BINARY_VIEW] = "binary_view",
        [ARROW_UTF8_VIEW] = "utf8_view",
        [ARROW_LIST_VIEW] = "list_view",
        [ARROW_LARGE_LIST_VIEW] = "large_list_view",
    };

    return type < ARROW_TYPES_END && names[type] ? names[type] : "unknown";
}

bool arrow_is_binary(enum arrow_type type)
{
    return type == ARROW_BINARY || type == ARROW_LARGE_BINARY || type == ARROW_BINARY_VIEW ||
           type == ARROW_FIXED_SIZE_BINARY;
}

/* Schema. */

static int unsupported(struct arrow_stream *stream, const struct arrow_field *field)
{
    return fail(stream,
                "column %.*s: the type %s cannot be stored (cast it to a number, a text, a "
                "time, a list or a struct)",
                (int)(field->name_length < 100 ? field->name_length : 100), field->name,
                arrow_type_name(field->type));
}

static bool is_width(int64_t bits)
{
    return bits == 8 || bits == 16 || bits == 32 || bits == 64;
}

static int read_integer_type(struct arrow_stream *stream, struct flatbuffer *buffer, size_t type,
                             unsigned *width, bool *is_signed)
{
    int64_t bits = flatbuffer_integer(buffer, type, ARROW_INT_BITS, 4, 0);

    if (!is_width(bits))
        return fail(stream, "schema: an integer of %lld bits", (long long)bits);
    *width = (unsigned)bits / 8;
    *is_signed = flatbuffer_integer(buffer, type, ARROW_INT_SIGNED, 1, 0) != 0;
    return 0;
}

static int read_type(struct arrow_stream *stream, struct flatbuffer *buffer, size_t type,
                     struct arrow_field *field)
{
    static const unsigned widths[] = {[ARROW_HALF] = 2, [ARROW_SINGLE] = 4, [ARROW_DOUBLE] = 8};
    int64_t number;

    switch (field->type) {
    case ARROW_NULL:
    case ARROW_BOOL:
    case ARROW_UTF8_VIEW:
    case ARROW_BINARY_VIEW:
    case ARROW_STRUCT:
        return 0;
    case ARROW_INT:
        return read_integer_type(stream, buffer, type, &field->width, &field->is_signed);
    case ARROW_FLOAT:
        number = flatbuffer_integer(buffer, type, ARROW_FLOAT_PRECISION, 2, ARROW_HALF);
        if (number < ARROW_HALF || number > ARROW_DOUBLE)
            return fail(stream, "schema: a float of an unknown precision");
        field->width = widths[number];
        return 0;
    case ARROW_DATE:
        number = flatbuffer_integer(buffer, type, ARROW_DATE_UNIT, 2, ARROW_DATE_MILLISECOND);
        field->width = number == ARROW_DATE_DAY ? 4 : 8;
        return 0;
    case ARROW_TIMESTAMP:
        number = flatbuffer_integer(buffer, type, ARROW_TIMESTAMP_UNIT, 2, ARROW_SECOND);
        if (number < ARROW_SECOND || number > ARROW_NANOSECOND)
            return fail(stream, "schema: a timestamp of an unknown unit");
        field->unit = (enum arrow_time_unit)number;
        field->width = 8;
        return 0;
    case ARROW_UTF8:
    case ARROW_BINARY:
    case ARROW_LIST:
        field->width = 4;
        return 0;
    case ARROW_FIXED_SIZE_BINARY:
        number = flatbuffer_integer(buffer, type, ARROW_BINARY_BYTES, 4, 0);
        if (number < 0)
            return fail(stream, "schema: a binary of a negative size");
        field->width = (unsigned)number;
        return 0;
    case ARROW_LARGE_UTF8:
    case ARROW_LARGE_BINARY:
    case ARROW_LARGE_LIST:
        field->width = 8;
        return 0;
    case ARROW_FIXED_SIZE_LIST:
        number = flatbuffer_integer(buffer, type, ARROW_LIST_SIZE, 4, 0);
        if (number < 0)
            return fail(stream, "schema: a list of a negative size");
        field->list_size = (uint32_t)number;
        return 0;
    default:
        return unsupported(stream, field);
    }
}

/* Registers the dictionary of a field. Several fields may share one. */
static int read_dictionary(struct arrow_stream *stream, struct flatbuffer *buffer, size_t table,
                           struct arrow_field *field)
{
    size_t index = flatbuffer_table(buffer, table, ARROW_DICTIONARY_INDEX_TYPE);
    struct arrow_field *values;

    field->has_dictionary = true;
    field->dictionary = flatbuffer_integer(buffer, table, ARROW_DICTIONARY_ID, 8, 0);
    field->index_width = 4;
    field->index_signed = true;
    if (index != 0 &&
        read_integer_type(stream, buffer, index, &field->index_width, &field->index_signed) != 0)
        return ERROR_INVALID;
    for (uint32_t i = 0; i < stream->dictionary_count; i++)
        if (stream->dictionaries[i].field->dictionary == field->dictionary)
            return 0;
    if (stream->dictionary_count == ARROW_DICTIONARIES_MAX)
        return fail(stream, "schema: more than %d dictionaries", ARROW_DICTIONARIES_MAX);
    values = memory_checked(arena_calloc(stream->arena, 1, sizeof(*values)));
    *values = *field;
    values->has_dictionary = false;
    stream->dictionaries[stream->dictionary_count++] = (struct arrow_dictionary){values, NULL};
    return 0;
}

static int read_fields(struct arrow_stream *stream, struct flatbuffer *buffer,
                       const struct flatbuffer_vector *tables, unsigned depth,
                       struct arrow_field **fields);

static int read_field(struct arrow_stream *stream, struct flatbuffer *buffer, size_t table,
                      unsigned depth, struct arrow_field *field)
{
    struct flatbuffer_vector name = flatbuffer_vector(buffer, table, ARROW_FIELD_NAME, 1);
    struct flatbuffer_vector children = flatbuffer_vector(buffer, table, ARROW_FIELD_CHILDREN, 4);
    size_t dictionary = flatbuffer_table(buffer, table, ARROW_FIELD_DICTIONARY);
    bool is_list;

    field->name = (const char *)buffer->data + name.items;
    field->name_length = name.count;
    field->type =
        (enum arrow_type)(flatbuffer_integer(buffer, table, ARROW_FIELD_TYPE_TYPE, 1, 0) & 0xff);
    if (name.count > ARROW_NAME_MAX_BYTES) /* each row repeats it */
        return fail(stream, "schema: the name of a column is longer than %d bytes",
                    ARROW_NAME_MAX_BYTES);
    if (text_utf8_valid(field->name, name.count) != name.count)
        return fail(stream, "schema: the name of a column is not UTF-8");
    if (read_type(stream, buffer, flatbuffer_table(buffer, table, ARROW_FIELD_TYPE), field) != 0)
        return ERROR_INVALID;
    /* A payload has no word for bytes. */
    if (arrow_is_binary(field->type) &&
        (depth > 1 || name.count != 6 || memcmp(field->name, "vector", 6) != 0))
        return unsupported(stream, field);
    is_list = field->type == ARROW_LIST || field->type == ARROW_LARGE_LIST ||
              field->type == ARROW_FIXED_SIZE_LIST;
    if (is_list ? children.count != 1 : field->type != ARROW_STRUCT && children.count > 0)
        return fail(stream, "schema: a %s with %u children", arrow_type_name(field->type),
                    children.count);
    field->child_count = children.count;
    if (children.count > 0 &&
        read_fields(stream, buffer, &children, depth + 1, &field->children) != 0)
        return ERROR_INVALID;
    return dictionary != 0 ? read_dictionary(stream, buffer, dictionary, field) : 0;
}

static int read_fields(struct arrow_stream *stream, struct flatbuffer *buffer,
                       const struct flatbuffer_vector *tables, unsigned depth,
                       struct arrow_field **fields)
{
    /* Tables may be shared, so that few bytes could stand for very many fields. */
    if (tables->count > ARROW_FIELDS_MAX - stream->field_total)
        return fail(stream, "schema: more than %d columns", ARROW_FIELDS_MAX);
    if (depth > ARROW_DEPTH_MAX)
        return fail(stream, "schema: nested deeper than %d", ARROW_DEPTH_MAX);
    stream->field_total += tables->count;
    *fields = memory_checked(arena_calloc(stream->arena, tables->count + 1, sizeof(**fields)));
    for (uint32_t i = 0; i < tables->count; i++)
        if (read_field(stream, buffer, flatbuffer_table_at(buffer, tables, i), depth,
                       &(*fields)[i]) != 0)
            return ERROR_INVALID;
    return 0;
}

static int read_schema(struct arrow_stream *stream, struct flatbuffer *buffer, size_t schema)
{
    struct flatbuffer_vector tables = flatbuffer_vector(buffer, schema, ARROW_SCHEMA_FIELDS, 4);
    struct arrow_field *fields;

    if (stream->fields)
        return fail(stream, "a second schema");
    if (flatbuffer_integer(buffer, schema, ARROW_SCHEMA_ENDIANNESS, 2, 0) != 0)
        return fail(stream, "schema: numbers are big-endian");
    if (read_fields(stream, buffer, &tables, 1, &fields) != 0)
        return ERROR_INVALID;
    if (buffer->broken)
        return fail(stream, "the schema is broken");
    stream->fields = fields;
    stream->field_count = tables.count;
    return 0;
}

/* Batches. */

struct batch_reader {
    struct arrow_stream *stream;
    struct flatbuffer *buffer;
    struct arrow_bytes body;
    struct flatbuffer_vector nodes, buffers, variadic;
    uint32_t node, place, view; /* the next ones */
};

enum { NODE_BYTES = 16, PLACE_BYTES = 16, VIEW_BYTES = 16 };

static int next_node(struct batch_reader *reader, uint64_t *length, uint64_t *nulls)
{
    size_t at = reader->nodes.items + NODE_BYTES * (size_t)reader->node;

    if (reader->node++ >= reader->nodes.count)
        return fail(reader->stream, "the batch describes fewer columns than the schema");
    *length = (uint64_t)flatbuffer_number(reader->buffer, at, 8);
    *nulls = (uint64_t)flatbuffer_number(reader->buffer, at + 8, 8);
    return 0;
}

static int next_bytes(struct batch_reader *reader, struct arrow_bytes *bytes)
{
    size_t at = reader->buffers.items + PLACE_BYTES * (size_t)reader->place;
    uint64_t offset, size;

    if (reader->place++ >= reader->buffers.count)
        return fail(reader->stream, "the batch has fewer buffers than its columns need");
    offset = (uint64_t)flatbuffer_number(reader->buffer, at, 8);
    size = (uint64_t)flatbuffer_number(reader->buffer, at + 8, 8);
    if (offset > reader->body.size || size > reader->body.size - offset)
        return fail(reader->stream, "buffer %u lies outside of its batch", reader->place - 1);
    *bytes = (struct arrow_bytes){reader->body.data + offset, (size_t)size};
    return 0;
}

/* Whether the bytes hold `count` values of `bits` each. */
static int check_room(struct batch_reader *reader, const struct arrow_field *field,
                      const struct arrow_bytes *bytes, uint64_t count, uint64_t bits)
{
    uint64_t needed;

    if (!__builtin_mul_overflow(count, bits, &needed) && needed <= (uint64_t)bytes->size * 8)
        return 0;
    return fail(reader->stream, "column %.*s: %zu bytes do not hold %" PRIu64 " values",
                (int)(field->name_length < 100 ? field->name_length : 100), field->name,
                bytes->size, count);
}

static int open_views(struct batch_reader *reader, struct arrow_column *column)
{
    uint64_t count;

    if (next_bytes(reader, &column->values) != 0 ||
        check_room(reader, column->field, &column->values, column->length, 8 * VIEW_BYTES) != 0)
        return ERROR_INVALID;
    if (reader->view >= reader->variadic.count)
        return fail(reader->stream, "the batch does not say how many buffers its texts have");
    count = (uint64_t)flatbuffer_number(reader->buffer,
                                        reader->variadic.items + 8 * (size_t)reader->view++, 8);
    if (count > reader->buffers.count)
        return fail(reader->stream, "the batch has fewer buffers than its texts need");
    column->piece_count = (uint32_t)count;
    column->pieces =
        memory_checked(arena_calloc(reader->stream->arena, count + 1, sizeof(*column->pieces)));
    for (uint32_t i = 0; i < count; i++)
        if (next_bytes(reader, &column->pieces[i]) != 0)
            return ERROR_INVALID;
    return 0;
}

static int open_column(struct batch_reader *reader, const struct arrow_field *field,
                       struct arrow_column *column);

static int open_children(struct batch_reader *reader, struct arrow_column *column)
{
    const struct arrow_field *field = column->field;
    uint64_t needed = field->type == ARROW_STRUCT ? column->length : 0;

    column->children = memory_checked(
        arena_calloc(reader->stream->arena, field->child_count + 1, sizeof(*column->children)));
    if (field->type == ARROW_FIXED_SIZE_LIST &&
        __builtin_mul_overflow(column->length, (uint64_t)field->list_size, &needed))
        return fail(reader->stream, "a list has too many items");
    for (uint32_t i = 0; i < field->child_count; i++) {
        if (open_column(reader, &field->children[i], &column->children[i]) != 0)
            return ERROR_INVALID;
        if (column->children[i].length < needed)
            return fail(reader->stream, "column %.*s: fewer items than its length says",
                        (int)(field->name_length < 100 ? field->name_length : 100), field->name);
    }
    return 0;
}

/* Behind validity: the buffers of the type, and the children. */
static int open_values(struct batch_reader *reader, struct arrow_column *column)
{
    const struct arrow_field *field = column->field;
    uint64_t bits = field->has_dictionary       ? 8 * (uint64_t)field->index_width
                    : field->type == ARROW_BOOL ? 1
                                                : 8 * (uint64_t)field->width;

    if (!field->has_dictionary) {
        if (field->type == ARROW_UTF8_VIEW || field->type == ARROW_BINARY_VIEW)
            return open_views(reader, column);
        if (field->type == ARROW_STRUCT || field->type == ARROW_FIXED_SIZE_LIST)
            return open_children(reader, column);
        if (field->type == ARROW_UTF8 || field->type == ARROW_LARGE_UTF8 ||
            field->type == ARROW_BINARY || field->type == ARROW_LARGE_BINARY ||
            field->type == ARROW_LIST || field->type == ARROW_LARGE_LIST) {
            /* Without values there may be no offsets either. */
            if (next_bytes(reader, &column->offsets) != 0 ||
                (column->length > 0 &&
                 check_room(reader, field, &column->offsets, column->length + 1, bits) != 0))
                return ERROR_INVALID;
            return field->child_count > 0 ? open_children(reader, column)
                                          : next_bytes(reader, &column->values);
        }
    }
    if (next_bytes(reader, &column->values) != 0)
        return ERROR_INVALID;
    return check_room(reader, field, &column->values, column->length, bits);
}

static int find_dictionary(struct batch_reader *reader, struct arrow_column *column)
{
    struct arrow_stream *stream = reader->stream;

    for (uint32_t i = 0; i < stream->dictionary_count; i++)
        if (stream->dictionaries[i].field->dictionary == column->field->dictionary)
            column->dictionary = stream->dictionaries[i].values;
    if (column->dictionary || column->length == 0)
        return 0;
    return fail(stream, "column %.*s: its dictionary has not come before it",
                (int)(column->field->name_length < 100 ? column->field->name_length : 100),
                column->field->name);
}

static int open_column(struct batch_reader *reader, const struct arrow_field *field,
                       struct arrow_column *column)
{
    uint64_t nulls = 0;

    column->field = field;
    if (next_node(reader, &column->length, &nulls) != 0)
        return ERROR_INVALID;
    if (column->length > INT32_MAX)
        return fail(reader->stream, "more values than a message holds");
    if (field->type == ARROW_NULL && !field->has_dictionary)
        return 0;
    if (next_bytes(reader, &column->validity) != 0)
        return ERROR_INVALID;
    if (nulls == 0)
        column->validity = (struct arrow_bytes){0};
    else if (check_room(reader, field, &column->validity, column->length, 1) != 0)
        return ERROR_INVALID;
    if (field->has_dictionary && find_dictionary(reader, column) != 0)
        return ERROR_INVALID;
    return open_values(reader, column);
}

/* The columns of a batch, which is described by the table `records`. */
static int open_batch(struct batch_reader *reader, size_t records, const struct arrow_field *fields,
                      uint32_t count, struct arrow_column **columns, uint64_t *row_count)
{
    struct arrow_stream *stream = reader->stream;
    struct flatbuffer *buffer = reader->buffer;

    *row_count = (uint64_t)flatbuffer_integer(buffer, records, ARROW_RECORDS_LENGTH, 8, 0);
    reader->nodes = flatbuffer_vector(buffer, records, ARROW_RECORDS_NODES, NODE_BYTES);
    reader->buffers = flatbuffer_vector(buffer, records, ARROW_RECORDS_BUFFERS, PLACE_BYTES);
    reader->variadic = flatbuffer_vector(buffer, records, ARROW_RECORDS_VARIADIC_COUNTS, 8);
    if (flatbuffer_table(buffer, records, ARROW_RECORDS_COMPRESSION) != 0)
        return fail(stream, "compressed buffers are not supported (let Kafka compress: "
                            "compression.type)");
    if (buffer->broken)
        return fail(stream, "the description of the batch is broken");
    *columns = memory_checked(arena_calloc(stream->arena, (size_t)count + 1, sizeof(**columns)));
    for (uint32_t i = 0; i < count; i++) {
        if (open_column(reader, &fields[i], &(*columns)[i]) != 0)
            return ERROR_INVALID;
        if ((*columns)[i].length != *row_count)
            return fail(stream,
                        "column %.*s has %" PRIu64 " values, the batch has %" PRIu64 " rows",
                        (int)(fields[i].name_length < 100 ? fields[i].name_length : 100),
                        fields[i].name, (*columns)[i].length, *row_count);
    }
    return 0;
}

static int read_dictionary_batch(struct batch_reader *reader, size_t table)
{
    struct arrow_stream *stream = reader->stream;
    struct flatbuffer *buffer = reader->buffer;
    int64_t id = flatbuffer_integer(buffer, table, ARROW_DICTIONARY_BATCH_ID, 8, 0);
    size_t records = flatbuffer_table(buffer, table, ARROW_DICTIONARY_BATCH_DATA);
    struct arrow_column *values;
    uint64_t count;

    if (flatbuffer_integer(buffer, table, ARROW_DICTIONARY_BATCH_IS_DELTA, 1, 0) != 0)
        return fail(stream, "a dictionary that grows is not supported (send each one whole)");
    for (uint32_t i = 0; i < stream->dictionary_count; i++) {
        if (stream->dictionaries[i].field->dictionary != id)
            continue;
        if (open_batch(reader, records, stream->dictionaries[i].field, 1, &values, &count) != 0)
            return ERROR_INVALID;
        stream->dictionaries[i].values = values;
        return 0;
    }
    return fail(stream, "a dictionary that no column has");
}

/* Messages. */

/* 1: metadata and body of the next message are there; 0: the stream has ended. */
static int next_message(struct arrow_stream *stream, struct flatbuffer *metadata,
                        struct arrow_bytes *body, size_t *root)
{
    uint32_t prefix[2];
    size_t left = stream->size - stream->at;
    int64_t body_bytes, version;

    if (left == 0)
        return 0;
    if (left < sizeof(prefix))
        return fail(stream, "the stream ends inside a message");
    memcpy(prefix, stream->data + stream->at, sizeof(prefix));
    if (prefix[0] != ARROW_CONTINUATION)
        return fail(stream, "no Arrow message begins here");
    stream->at += sizeof(prefix);
    left -= sizeof(prefix);
    if (prefix[1] == 0)
        return left == 0 ? 0 : fail(stream, "bytes behind the end of the stream");
    if (prefix[1] > left)
        return fail(stream, "the stream ends inside a message");
    *metadata = (struct flatbuffer){.data = stream->data + stream->at, .size = prefix[1]};
    *root = flatbuffer_root(metadata);
    version = flatbuffer_integer(metadata, *root, ARROW_MESSAGE_VERSION, 2, 0);
    body_bytes = flatbuffer_integer(metadata, *root, ARROW_MESSAGE_BODY_BYTES, 8, 0);
    stream->at += prefix[1];
    left -= prefix[1];
    if (metadata->broken)
        return fail(stream, "the description of the message is broken");
    if (version != ARROW_METADATA_V4 && version != ARROW_METADATA_V5)
        return fail(stream, "version V%lld of Arrow's metadata is not supported",
                    (long long)version + 1);
    if (body_bytes < 0 || (uint64_t)body_bytes > left)
        return fail(stream, "the stream ends inside a message");
    *body = (struct arrow_bytes){stream->data + stream->at, (size_t)body_bytes};
    stream->at += (size_t)body_bytes;
    return 1;
}

int arrow_stream_next(struct arrow_stream *stream, struct arrow_batch *batch)
{
    for (;;) {
        struct flatbuffer metadata;
        struct batch_reader reader = {.stream = stream, .buffer = &metadata};
        size_t start = stream->at, root = 0, header;
        int code = next_message(stream, &metadata, &reader.body, &root);

        if (code == 0 && !stream->fields)
            code = fail(stream, "the stream has no schema");
        if (code <= 0) {
            stream->at = start;
            return code;
        }
        header = flatbuffer_table(&metadata, root, ARROW_MESSAGE_HEADER);
        switch (flatbuffer_integer(&metadata, root, ARROW_MESSAGE_HEADER_TYPE, 1, 0)) {
        case ARROW_HEADER_SCHEMA:
            code = read_schema(stream, &metadata, header);
            break;
        case ARROW_HEADER_DICTIONARY:
            code = read_dictionary_batch(&reader, header);
            break;
        case ARROW_HEADER_RECORDS:
            if (!stream->fields)
                code = fail(stream, "a batch comes before the schema");
            else
                code = open_batch(&reader, header, stream->fields, stream->field_count,
                                  &batch->columns, &batch->row_count);
            if (code == 0)
                return 1;
            break;
        default:
            code = fail(stream, "a message of an unknown kind");
            break;
        }
        if (code != 0) {
            stream->at = start;
            return code;
        }
    }
}
