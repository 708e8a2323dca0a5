/* Messages into documents. libprotobuf-c takes the bytes apart; descriptors and rules say what its structs hold.
 *
 * The library nests its calls as messages nest and allocates what the sender's counts ask for, so both have a bound: its
 * allocator says no when the stack or the memory is used up, and it gives up with that. */
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "indexer/endpoint/grpc/translate.h"

enum {
    STACK_MAX_BYTES = 256 * 1024, /* of nested calls: far more than the depth that is taken */
    MEMORY_FACTOR = 16,           /* structs for bytes: lists of points without vectors take 12 */
    MEMORY_BASE_BYTES = 256 * 1024,
    TIME_BYTES = 48
};

struct limited {
    struct arena *arena;
    size_t left_bytes;
    const char *stack;
    bool full, deep;
};

static void *limited_alloc(void *context, size_t size)
{
    struct limited *limited = context;
    const char *here = __builtin_frame_address(0);

    limited->deep |= (size_t)(limited->stack - here) > STACK_MAX_BYTES;
    limited->full |= size > limited->left_bytes;
    if (limited->deep || limited->full)
        return NULL;
    limited->left_bytes -= size;
    return memory_checked(arena_alloc(limited->arena, size ? size : 1, 16));
}

static void limited_free(void *context, void *memory)
{
    (void)context;
    (void)memory;
}

/* The pairs of an object while they come together. */
struct pairs {
    struct doc *items;
    uint32_t count, room;
};

struct reader {
    struct arena *arena;
    struct grpc_input *input;
    unsigned depth;
    struct error *error;
};

static void add_pair(struct reader *reader, struct pairs *pairs, struct doc key, struct doc value)
{
    if (pairs->count == pairs->room) {
        uint32_t room = pairs->room ? 2 * pairs->room : 8;
        struct doc *items = doc_items(reader->arena, 2 * room);
        if (pairs->count > 0)
            memcpy(items, pairs->items, 2 * pairs->count * sizeof(*items));
        pairs->items = items;
        pairs->room = room;
    }
    pairs->items[2 * pairs->count] = key;
    pairs->items[2 * pairs->count++ + 1] = value;
}

/* {"type": "text", ...} of text_index_params */
static struct doc with_type(struct reader *reader, const struct grpc_field *field,
                            const struct doc *value)
{
    struct doc typed = doc_map(reader->arena, value->count + 1);

    doc_put(&typed, "type", grpc_field_type(field));
    doc_merge(&typed, value);
    return typed;
}

/* A type under a key, and an object of that type, are the object. */
static bool replace_type(struct pairs *pairs, const char *key, const struct doc *typed)
{
    const struct doc *type = doc_get(typed, "type");

    for (uint32_t i = 0; type && i < pairs->count; i++) {
        struct doc *value = &pairs->items[2 * i + 1];
        if (!doc_string_equals(&pairs->items[2 * i], key) || !doc_equal(value, type))
            continue;
        *value = *typed;
        return true;
    }
    return false;
}

/* Two lists under one key are one list: examples that are ids, and those that are vectors. */
static bool append_list(struct reader *reader, const struct pairs *pairs, const char *key,
                        const struct doc *more)
{
    for (uint32_t i = 0; more->type == DOC_ARRAY && i < pairs->count; i++) {
        struct doc *list = &pairs->items[2 * i + 1];
        struct doc *items;
        if (list->type != DOC_ARRAY || !doc_string_equals(&pairs->items[2 * i], key))
            continue;
        items = doc_items(reader->arena, list->count + more->count);
        memcpy(items, list->items, list->count * sizeof(*items));
        memcpy(items + list->count, more->items, more->count * sizeof(*items));
        list->items = items;
        list->count += more->count;
        return true;
    }
    return false;
}

static struct doc key_doc(const char *key)
{
    return (struct doc){.type = DOC_STRING, .count = (uint32_t)strlen(key), .string = key};
}

static struct doc map_doc(const struct pairs *pairs)
{
    return (struct doc){.type = DOC_MAP, .count = pairs->count, .items = pairs->items};
}

/* Names. */

/* AverageVector -> average_vector, RRF -> rrf, FieldTypeKeyword of FieldType -> keyword */
static const char *enum_text(struct arena *arena, const ProtobufCEnumDescriptor *wire,
                             const char *name)
{
    size_t prefix = strlen(wire->short_name), used = 0;
    char *text;

    if (strncmp(name, wire->short_name, prefix) == 0 && name[prefix])
        name += prefix;
    text = memory_checked(arena_alloc(arena, 2 * strlen(name) + 1, 1));
    for (size_t i = 0; name[i]; i++) {
        bool upper = name[i] >= 'A' && name[i] <= 'Z';
        if (upper && i > 0 && name[i - 1] >= 'a' && name[i - 1] <= 'z')
            text[used++] = '_';
        text[used++] = (char)(upper ? name[i] - 'A' + 'a' : name[i]);
    }
    text[used] = '\0';
    return text;
}

static int read_enum(struct reader *reader, const struct grpc_field *field, int value,
                     struct doc *out)
{
    const ProtobufCEnumDescriptor *wire = field->wire->descriptor;
    const ProtobufCEnumValue *known = protobuf_c_enum_descriptor_get_value(wire, value);

    if (!known)
        return error_set(reader->error, ERROR_INVALID,
                         "Wrong input: `%s`: there is no value %d of %s", field->wire->name, value,
                         wire->name);
    if (strcmp(wire->short_name, "NullValue") == 0)
        *out = doc_null();
    else
        *out = key_doc(field->verbatim ? known->name : enum_text(reader->arena, wire, known->name));
    return 0;
}

static int read_string(struct reader *reader, const struct grpc_field *field,
                       const ProtobufCBinaryData *bytes, struct doc *out)
{
    *out = (struct doc){.type = DOC_STRING,
                        .count = (uint32_t)bytes->len,
                        .string = bytes->len ? (const char *)bytes->data : ""};
    if (text_utf8_valid(out->string, bytes->len) == bytes->len)
        return 0;
    return error_set(reader->error, ERROR_INVALID, "Wrong input: `%s`: not valid UTF-8",
                     field->wire->name);
}

static int read_message(struct reader *reader, const struct grpc_message *message,
                        const ProtobufCMessage *wire, struct doc *out);

/* Times. */

static int read_time(struct reader *reader, const ProtobufCMessage *wire, struct doc *out)
{
    const ProtobufCFieldDescriptor *fields = wire->descriptor->fields;
    int64_t seconds = *(const int64_t *)((const char *)wire + fields[0].offset);
    int32_t nanos = *(const int32_t *)((const char *)wire + fields[1].offset);
    char *text = memory_checked(arena_alloc(reader->arena, TIME_BYTES, 1));
    char *point;

    if (seconds < -62135596800 || seconds > 253402300799 || nanos < 0 || nanos > 999999999)
        return error_set(reader->error, ERROR_INVALID,
                         "Wrong input: a timestamp is from year 1 to 9999, and its nanos are 0 to "
                         "999999999");
    (void)text_format_time(seconds * 1000, text);
    point = strchr(text,
                   '.'); /* all nine digits: a page that starts behind the last time must move on */
    snprintf(point, TIME_BYTES - (size_t)(point - text), ".%09dZ", nanos);
    *out = key_doc(text);
    return 0;
}

/* Fields. */

/* One value of the field's type at `member`. */
static int read_value(struct reader *reader, const struct grpc_field *field, const void *member,
                      struct doc *out)
{
    switch (field->wire->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *out = doc_bool(*(const protobuf_c_boolean *)member);
        return 0;
    case PROTOBUF_C_TYPE_INT32:
        *out = doc_integer(*(const int32_t *)member);
        return 0;
    case PROTOBUF_C_TYPE_UINT32:
        *out = doc_integer(*(const uint32_t *)member);
        return 0;
    case PROTOBUF_C_TYPE_INT64:
        *out = doc_integer(*(const int64_t *)member);
        return 0;
    case PROTOBUF_C_TYPE_UINT64: {
        uint64_t value = *(const uint64_t *)member;
        *out = value > INT64_MAX ? (struct doc){.type = DOC_UINT, .unsigned_integer = value}
                                 : doc_integer((int64_t)value);
        return 0;
    }
    case PROTOBUF_C_TYPE_FLOAT:
        *out = doc_number((double)*(const float *)member);
        return 0;
    case PROTOBUF_C_TYPE_DOUBLE:
        *out = doc_number(*(const double *)member);
        return 0;
    case PROTOBUF_C_TYPE_ENUM:
        return read_enum(reader, field, *(const int *)member, out);
    case PROTOBUF_C_TYPE_BYTES:
        return read_string(reader, field, member, out);
    default:
        return read_message(reader, field->message, *(const ProtobufCMessage *const *)member, out);
    }
}

static size_t size_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return 8;
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    default:
        return 4;
    }
}

/* A message with `key` and `value` into one pair. */
static int read_entry(struct reader *reader, const struct grpc_message *entry,
                      const ProtobufCMessage *wire, struct pairs *pairs)
{
    const struct grpc_field *value_field = &entry->fields[1];
    const void *value_member = (const char *)wire + value_field->wire->offset;
    struct doc key, value = doc_null();

    if (read_string(reader, &entry->fields[0],
                    (const void *)((const char *)wire + entry->fields[0].wire->offset), &key) != 0)
        return reader->error->code;
    if (*(const void *const *)value_member &&
        read_value(reader, value_field, value_member, &value) != 0)
        return reader->error->code;
    add_pair(reader, pairs, key, value);
    return 0;
}

static int read_list(struct reader *reader, const struct grpc_field *field, const char *wire,
                     struct doc *out)
{
    size_t count = *(const size_t *)(wire + field->wire->quantifier_offset);
    const char *items = *(const char *const *)(wire + field->wire->offset);
    size_t item_bytes = size_of(field->wire->type);
    struct pairs pairs = {0};
    struct doc *list;

    if (field->floats) {
        *out = (struct doc){.type = DOC_FLOATS,
                            .count = (uint32_t)count,
                            .floats = (const float *)(const void *)items};
        return 0;
    }
    if (field->message && field->message->is_entry) {
        for (size_t i = 0; i < count; i++)
            if (read_entry(reader, field->message,
                           ((ProtobufCMessage *const *)(const void *)items)[i], &pairs) != 0)
                return reader->error->code;
        *out = map_doc(&pairs);
        return 0;
    }
    list = doc_items(reader->arena, (uint32_t)count);
    for (size_t i = 0; i < count; i++)
        if (read_value(reader, field, items + i * item_bytes, &list[i]) != 0)
            return reader->error->code;
    *out = (struct doc){.type = DOC_ARRAY, .count = (uint32_t)count, .items = list};
    return 0;
}

static bool is_there(const struct grpc_field *field, const char *wire)
{
    const ProtobufCFieldDescriptor *of = field->wire;

    if (of->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        return *(const uint32_t *)(const void *)(wire + of->quantifier_offset) == of->id;
    if (field->always && of->type != PROTOBUF_C_TYPE_MESSAGE)
        return true;
    if (of->label == PROTOBUF_C_LABEL_REPEATED)
        return field->always || *(const size_t *)(const void *)(wire + of->quantifier_offset) > 0;
    if (of->type == PROTOBUF_C_TYPE_MESSAGE)
        return *(const void *const *)(const void *)(wire + of->offset) != NULL;
    return *(const protobuf_c_boolean *)(const void *)(wire + of->quantifier_offset);
}

static int read_field(struct reader *reader, const struct grpc_field *field, const char *wire,
                      struct doc *out)
{
    if (field->word) {
        *out = key_doc(field->key);
        return 0;
    }
    return field->wire->label == PROTOBUF_C_LABEL_REPEATED
               ? read_list(reader, field, wire, out)
               : read_value(reader, field, wire + field->wire->offset, out);
}

/* Calls. */

static int add_argument(struct reader *reader, const struct grpc_field *field,
                        const struct doc *value)
{
    struct grpc_input *input = reader->input;
    struct buffer text = {0};

    if (value->type == DOC_STRING)
        buffer_append(&text, value->string, value->count);
    else
        doc_write_json(&text, value);
    input->arguments[input->argument_count++] =
        (struct http_argument){field->key, arena_copy(reader->arena, text.data, text.size)};
    buffer_destroy(&text);
    return 0;
}

/* The searches of a batch name the collection again. */
static int add_part(struct reader *reader, const struct grpc_field *field, const struct doc *value)
{
    struct grpc_input *input = reader->input;
    const char *text = memory_checked(arena_copy(reader->arena, value->string, value->count));

    if (memchr(text, '\0', value->count))
        return error_set(reader->error, ERROR_INVALID,
                         "Wrong input: `%s` must not hold the character NUL", field->wire->name);
    if (reader->depth == 1) {
        input->parts[input->part_count++] = text;
        return 0;
    }
    if (*text == '\0' || (input->part_count > 0 && strcmp(text, input->parts[0]) == 0))
        return 0;
    return error_set(reader->error, ERROR_INVALID,
                     "Wrong input: all parts of a batch concern one collection, not `%.200s` too",
                     text);
}

static int take(struct reader *reader, const struct grpc_field *field, struct doc value,
                struct doc *bare, struct pairs *pairs)
{
    switch (field->form) {
    case GRPC_BARE:
        *bare = value;
        return 0;
    case GRPC_FLAT:
        for (uint32_t i = 0; value.type == DOC_MAP && i < value.count; i++)
            add_pair(reader, pairs, value.items[2 * i], value.items[2 * i + 1]);
        return 0;
    case GRPC_PART:
        return add_part(reader, field, &value);
    case GRPC_ARGUMENT:
        if (reader->depth == 1)
            return add_argument(reader, field, &value);
        break;
    case GRPC_KEY:
        break;
    }
    if (strcmp(field->key, field->wire->name) == 0 ||
        (!append_list(reader, pairs, field->key, &value) &&
         !replace_type(pairs, field->key, &value)))
        add_pair(reader, pairs, key_doc(field->key), value);
    return 0;
}

static int read_fields(struct reader *reader, const struct grpc_message *message,
                       const ProtobufCMessage *wire, struct doc *out)
{
    struct pairs pairs = {0};
    bool found = false;

    *out = doc_null();
    for (unsigned i = 0; i < message->wire->n_fields; i++) {
        const struct grpc_field *field = &message->fields[i];
        const char *base = (const char *)wire;
        struct doc value;
        if (!is_there(field, base))
            continue;
        if (read_field(reader, field, base, &value) != 0 ||
            take(reader, field, value, out, &pairs) != 0)
            return reader->error->code;
        if (field->typed)
            *out = with_type(reader, field, out);
        found |= field->form == GRPC_BARE;
    }
    if (!found && message->bare_list)
        return read_list(reader, message->bare_list, (const char *)wire, out);
    if (!found && (!message->has_bare || pairs.count > 0))
        *out = map_doc(&pairs);
    return 0;
}

static int read_message(struct reader *reader, const struct grpc_message *message,
                        const ProtobufCMessage *wire, struct doc *out)
{
    int code;

    if (message->is_refused) {
        *out = (struct doc){.type = DOC_MAP};
        return 0;
    }
    if (wire->n_unknown_fields > 0)
        return error_set(reader->error, ERROR_INVALID,
                         "Wrong input: windrow does not know field %u of %s",
                         wire->unknown_fields[0].tag, message->wire->name);
    if (message->is_timestamp)
        return read_time(reader, wire, out);
    if (++reader->depth > 2 * HTTP_JSON_DEPTH_MAX) /* a list in a list is two messages each */
        return error_set(reader->error, ERROR_INVALID,
                         "Wrong input: the message is nested too deep");
    code = read_fields(reader, message, wire, out);
    reader->depth--;
    return code;
}

int grpc_read(const struct grpc_message *message, const void *bytes, size_t size,
              struct arena *arena, struct grpc_input *input, struct error *error)
{
    struct limited limited = {.arena = arena,
                              .left_bytes = MEMORY_FACTOR * size + MEMORY_BASE_BYTES,
                              .stack = __builtin_frame_address(0)};
    ProtobufCAllocator allocator = {limited_alloc, limited_free, &limited};
    struct reader reader = {.arena = arena, .input = input, .error = error};
    ProtobufCMessage *wire = protobuf_c_message_unpack(message->wire, &allocator, size, bytes);

    *input = (struct grpc_input){0};
    if (!wire && limited.full)
        return error_set(error, ERROR_MEMORY,
                         "Reading this %s takes more than %d times its size: send fewer parts",
                         message->wire->name, MEMORY_FACTOR);
    if (!wire)
        return error_set(error, ERROR_INVALID, "Wrong input: the message is no %s%s",
                         message->wire->name, limited.deep ? ": it is nested too deep" : "");
    if (read_message(&reader, message, wire, &input->body) != 0)
        return error->code;
    if (input->body.type != DOC_MAP)
        input->body = (struct doc){.type = DOC_MAP};
    return 0;
}
