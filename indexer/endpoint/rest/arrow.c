#include "indexer/endpoint/rest/arrow.h"

#include <string.h>
#include <strings.h>

#include "base/arrow_format.h"
#include "base/bytes.h"
#include "base/flatbuffer.h"
#include "indexer/endpoint/rest/render.h"
#include "store/files/key.h"

enum column_name { ID, SCORE, TIME, VECTOR, PAYLOAD, SHARD, OFFSET, WINDOW_START, COLUMNS };

struct column {
    const char *name;
    enum arrow_type type;
    bool present;
    struct buffer offsets; /* of ARROW_UTF8: where each text begins, and the end of the last */
    struct buffer valid;   /* of VECTOR: a bit a row, least first; used when some are null */
    int64_t nulls;
    struct buffer values;
};

struct batch {
    struct column columns[COLUMNS];
    uint32_t dim;
    size_t rows;
};

/* The media type as a token of the Accept header; its parameters, up to a comma, go to *parameters. */
static bool find_type(const char *accept, const char **parameters)
{
    const size_t length = strlen(ARROW_STREAM_TYPE);

    for (const char *at = accept; *at; at += *at == ',') {
        at += strspn(at, " \t");
        if (strncasecmp(at, ARROW_STREAM_TYPE, length) == 0 && strchr(",; \t", at[length])) {
            *parameters = at + length;
            return true;
        }
        at += strcspn(at, ",");
    }
    return false;
}

bool arrow_wanted(const struct http_request *request)
{
    const char *parameters;

    return find_type(request->accept, &parameters);
}

/* Whether ids are wanted as numbers. What else may stand there is refused: it would change nothing. */
static int parse_ids(const struct http_request *request, bool *numbers, struct error *error)
{
    const char *at = "";

    *numbers = false;
    (void)find_type(request->accept, &at);
    for (at += strspn(at, " \t"); *at == ';'; at += strspn(at, " \t")) {
        size_t length;
        at += 1 + strspn(at + 1, " \t");
        length = strcspn(at, ",; \t");
        if (length == 10 && strncasecmp(at, "ids=uint64", length) == 0)
            *numbers = true;
        else if (strncasecmp(at, "q=", 2) != 0 &&
                 !(length == 8 && strncasecmp(at, "ids=utf8", length) == 0))
            return error_set(error, ERROR_INVALID,
                             "Wrong input: Accept: " ARROW_STREAM_TYPE
                             ": expected ids=uint64 or ids=utf8, got %.*s",
                             length < 100 ? (int)length : 100, at);
        at += length;
    }
    return 0;
}

static void begin(struct batch *batch, struct http_request *request, bool scored, bool numbers,
                  const struct parse_selector *selector)
{
    const struct column columns[COLUMNS] = {
        [ID] = {.name = "id", .type = numbers ? ARROW_INT : ARROW_UTF8, .present = true},
        [SCORE] = {.name = "score", .type = ARROW_FLOAT, .present = scored},
        [TIME] = {.name = "time", .type = ARROW_TIMESTAMP, .present = true},
        [VECTOR] = {.name = "vector", .type = ARROW_FIXED_SIZE_LIST, .present = selector->vector},
        [PAYLOAD] = {.name = "payload", .type = ARROW_UTF8, .present = selector->payload},
        [SHARD] = {.name = "shard", .type = ARROW_UTF8, .present = selector->place},
        [OFFSET] = {.name = "offset", .type = ARROW_INT, .present = selector->place},
        [WINDOW_START] = {.name = "window_start",
                          .type = ARROW_TIMESTAMP,
                          .present = selector->place},
    };

    *batch = (struct batch){.dim = request->collection->dim};
    memcpy(batch->columns, columns, sizeof(columns));
    for (int i = 0; i < COLUMNS; i++)
        if (columns[i].type == ARROW_UTF8)
            buffer_append(&batch->columns[i].offsets, &(int32_t){0}, sizeof(int32_t));
}

static void end(struct batch *batch)
{
    for (int i = 0; i < COLUMNS; i++) {
        buffer_destroy(&batch->columns[i].offsets);
        buffer_destroy(&batch->columns[i].valid);
        buffer_destroy(&batch->columns[i].values);
    }
}

/* Rows into columns. */

/* The text of this row is complete. */
static void end_text(struct column *column)
{
    int32_t size = (int32_t)column->values.size;

    buffer_append(&column->offsets, &size, sizeof(size));
}

static int add_id(struct batch *batch, struct http_request *request, const struct query_row *row,
                  struct error *error)
{
    struct column *column = &batch->columns[ID];
    struct doc id = query_row_id(row, &request->arena);
    uint64_t number = 0;

    if (column->type == ARROW_INT) {
        if (!doc_as_u64(&id, &number))
            return error_set(error, ERROR_INVALID,
                             "Wrong input: the id `%.*s` is not a number: ask without ids=uint64",
                             (int)(id.count < 255 ? id.count : 255), id.string);
        buffer_append(&column->values, &number, sizeof(number));
        return 0;
    }
    if (id.type == DOC_STRING)
        buffer_append(&column->values, id.string, id.count);
    else
        doc_write_json(&column->values, &id);
    end_text(column);
    return 0;
}

static int add_vector(struct batch *batch, struct http_request *request,
                      const struct query_row *row, struct error *error)
{
    struct column *column = &batch->columns[VECTOR];
    const size_t bytes = batch->dim * sizeof(float);
    const float *vector;

    if (query_row_vector(row, &request->arena, &vector, error) != 0)
        return error->code;
    if (batch->rows % 8 == 0)
        buffer_append_byte(&column->valid, 0);
    if (vector) {
        column->valid.data[batch->rows / 8] |= (uint8_t)(1U << batch->rows % 8);
        buffer_append(&column->values, vector, bytes);
    } else {
        memset(buffer_reserve(&column->values, bytes), 0, bytes);
        column->values.size += bytes;
        column->nulls++;
    }
    return 0;
}

static void add_place(struct batch *batch, const struct query_row *row)
{
    int64_t offset = query_row_offset(row), start_ms = query_row_window_ms(row);

    buffer_append_text(&batch->columns[SHARD].values, row->shard);
    end_text(&batch->columns[SHARD]);
    buffer_append(&batch->columns[OFFSET].values, &offset, sizeof(offset));
    buffer_append(&batch->columns[WINDOW_START].values, &start_ms, sizeof(start_ms));
}

static int add_row(struct batch *batch, struct http_request *request, const struct query_hit *hit,
                   const struct parse_selector *selector, struct error *error)
{
    struct column *columns = batch->columns;
    int64_t time_ms = query_row_time_ms(&hit->row);

    if (add_id(batch, request, &hit->row, error) != 0)
        return error->code;
    if (columns[SCORE].present)
        buffer_append(&columns[SCORE].values, &hit->score, sizeof(hit->score));
    buffer_append(&columns[TIME].values, &time_ms, sizeof(time_ms));
    if (selector->vector && add_vector(batch, request, &hit->row, error) != 0)
        return error->code;
    if (selector->payload) {
        if (render_payload(request, &hit->row, selector, &columns[PAYLOAD].values, error) != 0)
            return error->code;
        end_text(&columns[PAYLOAD]);
    }
    if (selector->place)
        add_place(batch, &hit->row);
    batch->rows++;
    return render_check_size(columns[ID].values.size + columns[VECTOR].values.size +
                                 columns[PAYLOAD].values.size,
                             error);
}

static int add_rows(struct batch *batch, struct http_request *request,
                    const struct query_result *result, const struct parse_selector *selector,
                    struct error *error)
{
    enum { STEPS_A_ROW = 100 };
    struct stop_meter meter = {.stop = result->partial ? NULL : &request->stop};

    for (size_t i = 0; i < result->hit_count; i++)
        if (stop_meter_add(&meter, STEPS_A_ROW, error) != 0 ||
            add_row(batch, request, &result->hits[i], selector, error) != 0)
            return error->code;
    return 0;
}

/* Metadata. */

static size_t write_type(struct buffer *out, enum column_name name, const struct column *column,
                         uint32_t dim)
{
    const struct flatbuffer_value integer[] = {{ARROW_INT_BITS, 4, 64},
                                               {ARROW_INT_SIGNED, 1, name == OFFSET}};
    const struct flatbuffer_value precision[] = {{ARROW_FLOAT_PRECISION, 2, ARROW_SINGLE}};
    const struct flatbuffer_value size[] = {{ARROW_LIST_SIZE, 4, dim}};
    const struct flatbuffer_value stamp[] = {{ARROW_TIMESTAMP_UNIT, 2, ARROW_MILLISECOND},
                                             {ARROW_TIMESTAMP_ZONE, 4, 0}};
    size_t places[FLATBUFFER_SLOTS_MAX];
    size_t table;

    switch (column->type) {
    case ARROW_INT:
        return flatbuffer_write_table(out, integer, 2, NULL);
    case ARROW_FLOAT:
        return flatbuffer_write_table(out, precision, 1, NULL);
    case ARROW_FIXED_SIZE_LIST:
        return flatbuffer_write_table(out, size, 1, NULL);
    case ARROW_TIMESTAMP:
        table = flatbuffer_write_table(out, stamp, 2, places);
        flatbuffer_link(out, places[ARROW_TIMESTAMP_ZONE], flatbuffer_write_string(out, "UTC", 3));
        return table;
    default:
        return flatbuffer_write_table(out, NULL, 0, NULL);
    }
}

static size_t write_field(struct buffer *out, enum column_name name, const struct column *column,
                          uint32_t dim)
{
    static const struct column item = {.name = "item", .type = ARROW_FLOAT};
    const bool list = column->type == ARROW_FIXED_SIZE_LIST; /* points may lack their vector */
    const struct flatbuffer_value values[] = {{ARROW_FIELD_NAME, 4, 0},
                                              {ARROW_FIELD_NULLABLE, 1, list},
                                              {ARROW_FIELD_TYPE_TYPE, 1, column->type},
                                              {ARROW_FIELD_TYPE, 4, 0},
                                              {ARROW_FIELD_CHILDREN, 4, 0}};
    size_t places[FLATBUFFER_SLOTS_MAX];
    size_t table = flatbuffer_write_table(out, values, 5, places);
    size_t children;

    flatbuffer_link(out, places[ARROW_FIELD_NAME],
                    flatbuffer_write_string(out, column->name, strlen(column->name)));
    flatbuffer_link(out, places[ARROW_FIELD_TYPE], write_type(out, name, column, dim));
    children = flatbuffer_write_vector(out, NULL, list ? 1 : 0, 4);
    flatbuffer_link(out, places[ARROW_FIELD_CHILDREN], children);
    if (list)
        flatbuffer_link(out, children + 4, write_field(out, name, &item, dim));
    return table;
}

static size_t write_metadata(struct buffer *out, const char *windrow)
{
    const struct flatbuffer_value values[] = {{ARROW_PAIR_KEY, 4, 0}, {ARROW_PAIR_VALUE, 4, 0}};
    size_t vector = flatbuffer_write_vector(out, NULL, 1, 4);
    size_t places[FLATBUFFER_SLOTS_MAX];

    flatbuffer_link(out, vector + 4, flatbuffer_write_table(out, values, 2, places));
    flatbuffer_link(out, places[ARROW_PAIR_KEY], flatbuffer_write_string(out, "windrow", 7));
    flatbuffer_link(out, places[ARROW_PAIR_VALUE],
                    flatbuffer_write_string(out, windrow, strlen(windrow)));
    return vector;
}

/* The root of a message; returns the place of the offset of its header. */
static size_t write_message(struct buffer *out, enum arrow_header header, size_t body_bytes)
{
    const struct flatbuffer_value values[] = {
        {ARROW_MESSAGE_VERSION, 2, ARROW_METADATA_V5},
        {ARROW_MESSAGE_HEADER_TYPE, 1, header},
        {ARROW_MESSAGE_HEADER, 4, 0},
        {ARROW_MESSAGE_BODY_BYTES, 8, (int64_t)body_bytes},
    };
    size_t places[FLATBUFFER_SLOTS_MAX];

    flatbuffer_begin(out);
    flatbuffer_link(out, 0, flatbuffer_write_table(out, values, 4, places));
    return places[ARROW_MESSAGE_HEADER];
}

static void write_schema(struct buffer *out, const struct batch *batch, const char *windrow)
{
    const struct flatbuffer_value values[] = {{ARROW_SCHEMA_ENDIANNESS, 2, 0},
                                              {ARROW_SCHEMA_FIELDS, 4, 0},
                                              {ARROW_SCHEMA_METADATA, 4, 0}};
    size_t header = write_message(out, ARROW_HEADER_SCHEMA, 0);
    size_t places[FLATBUFFER_SLOTS_MAX];
    uint32_t count = 0;
    size_t fields;

    for (int i = 0; i < COLUMNS; i++)
        count += batch->columns[i].present;
    flatbuffer_link(out, header, flatbuffer_write_table(out, values, 3, places));
    fields = flatbuffer_write_vector(out, NULL, count, 4);
    flatbuffer_link(out, places[ARROW_SCHEMA_FIELDS], fields);
    for (int i = 0; i < COLUMNS; i++)
        if (batch->columns[i].present)
            flatbuffer_link(out, fields += 4,
                            write_field(out, (enum column_name)i, &batch->columns[i], batch->dim));
    flatbuffer_link(out, places[ARROW_SCHEMA_METADATA], write_metadata(out, windrow));
}

struct node {
    int64_t length, nulls;
};

struct place {
    int64_t offset, bytes;
};

enum { NODES_MAX = COLUMNS + 1, PLACES_MAX = 3 * COLUMNS };

struct layout {
    struct node nodes[NODES_MAX];
    struct place places[PLACES_MAX];
    uint32_t node_count, place_count;
    size_t body_bytes;
};

static void lay_buffer(struct layout *layout, size_t bytes)
{
    layout->places[layout->place_count++] =
        (struct place){(int64_t)layout->body_bytes, (int64_t)bytes};
    layout->body_bytes += bytes_align(bytes, ARROW_ALIGNMENT);
}

/* Where nothing is null the buffer of validity is empty. */
static void lay_column(struct layout *layout, const struct batch *batch,
                       const struct column *column)
{
    const int64_t rows = (int64_t)batch->rows;

    layout->nodes[layout->node_count++] = (struct node){rows, column->nulls};
    lay_buffer(layout, column->nulls > 0 ? column->valid.size : 0);
    if (column->type == ARROW_FIXED_SIZE_LIST) {
        layout->nodes[layout->node_count++] = (struct node){rows * batch->dim, 0};
        lay_buffer(layout, 0);
    } else if (column->type == ARROW_UTF8) {
        lay_buffer(layout, column->offsets.size);
    }
    lay_buffer(layout, column->values.size);
}

static void write_records(struct buffer *out, const struct batch *batch,
                          const struct layout *layout)
{
    const struct flatbuffer_value values[] = {{ARROW_RECORDS_LENGTH, 8, (int64_t)batch->rows},
                                              {ARROW_RECORDS_NODES, 4, 0},
                                              {ARROW_RECORDS_BUFFERS, 4, 0}};
    size_t header = write_message(out, ARROW_HEADER_RECORDS, layout->body_bytes);
    size_t places[FLATBUFFER_SLOTS_MAX];

    flatbuffer_link(out, header, flatbuffer_write_table(out, values, 3, places));
    flatbuffer_link(
        out, places[ARROW_RECORDS_NODES],
        flatbuffer_write_vector(out, layout->nodes, layout->node_count, sizeof(struct node)));
    flatbuffer_link(
        out, places[ARROW_RECORDS_BUFFERS],
        flatbuffer_write_vector(out, layout->places, layout->place_count, sizeof(struct place)));
}

/* The stream. */

static void append_padded(struct buffer *out, const struct buffer *bytes)
{
    static const uint8_t zeros[ARROW_ALIGNMENT];

    if (bytes->size > 0)
        buffer_append(out, bytes->data, bytes->size);
    buffer_append(out, zeros, bytes_align(bytes->size, ARROW_ALIGNMENT) - bytes->size);
}

static void append_message(struct buffer *out, const struct buffer *metadata)
{
    const uint32_t prefix[] = {ARROW_CONTINUATION,
                               (uint32_t)bytes_align(metadata->size, ARROW_ALIGNMENT)};

    buffer_append(out, prefix, sizeof(prefix));
    append_padded(out, metadata);
}

static void append_records(struct buffer *out, const struct batch *batch, struct buffer *scratch)
{
    struct layout layout = {0};

    for (int i = 0; i < COLUMNS; i++)
        if (batch->columns[i].present)
            lay_column(&layout, batch, &batch->columns[i]);
    write_records(scratch, batch, &layout);
    append_message(out, scratch);
    (void)buffer_reserve(out, layout.body_bytes + ARROW_PREFIX_BYTES);
    for (int i = 0; i < COLUMNS; i++) {
        if (!batch->columns[i].present)
            continue;
        if (batch->columns[i].nulls > 0)
            append_padded(out, &batch->columns[i].valid);
        append_padded(out, &batch->columns[i].offsets);
        append_padded(out, &batch->columns[i].values);
    }
}

static void append_stream(struct buffer *out, const struct batch *batch, const char *windrow)
{
    const uint32_t end_of_stream[] = {ARROW_CONTINUATION, 0};
    struct buffer scratch = {0};

    write_schema(&scratch, batch, windrow);
    append_message(out, &scratch);
    if (batch->rows > 0)
        append_records(out, batch, &scratch);
    buffer_append(out, end_of_stream, sizeof(end_of_stream));
    buffer_destroy(&scratch);
}

/* Headers are ASCII: what is beyond is escaped as UTF-16 (RFC 8259, 7). */
static const char *ascii_json(struct arena *arena, const struct doc *doc)
{
    struct buffer json = {0}, out = {0};
    const char *text;

    doc_write_json(&json, doc);
    for (size_t i = 0; i < json.size;) {
        uint32_t byte = json.data[i++];
        uint32_t more = byte < 0x80 ? 0 : byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
        uint32_t point = more == 0 ? byte : byte & (0x3fU >> more);
        for (; more > 0; more--)
            point = point << 6 | (json.data[i++] & 0x3fU);
        if (point < 0x80)
            buffer_append_byte(&out, (uint8_t)point);
        else if (point < 0x10000)
            buffer_append_format(&out, "\\u%04x", point);
        else
            buffer_append_format(&out, "\\u%04x\\u%04x", 0xd800 + ((point - 0x10000) >> 10),
                                 0xdc00 + ((point - 0x10000) & 0x3ff));
    }
    text = arena_copy(arena, out.data, out.size);
    buffer_destroy(&json);
    buffer_destroy(&out);
    return text;
}

int arrow_reply(struct http_request *request, const struct query_view *view,
                const struct query_result *result, bool scored,
                const struct parse_selector *selector, const uint8_t *next_key,
                size_t next_key_bytes, struct error *error)
{
    static const char key[] = ",\"windrow\":";
    struct batch batch;
    bool numbers;
    int code = parse_ids(request, &numbers, error);

    if (code != 0)
        return code;
    begin(&batch, request, scored, numbers, selector);
    code = add_rows(&batch, request, result, selector, error);
    if (code == 0) {
        http_reply_plain(request, 200, ARROW_STREAM_TYPE);
        append_stream(&request->reply, &batch, render_windrow(request, view, result) + strlen(key));
    }
    if (code == 0 && next_key) {
        struct doc next = store_key_to_doc(next_key, next_key_bytes, &request->arena);
        request->next_page = ascii_json(&request->arena, &next);
    }
    end(&batch);
    return code;
}
