/* Documents into messages: the structs of libprotobuf-c are filled by their descriptors, then packed. */
#include <string.h>

#include "base/memory.h"
#include "indexer/endpoint/grpc/translate.h"

struct writer {
    struct arena *arena;
    const struct buffer *vectors;
};

static bool message_fits(const struct grpc_message *message, const struct doc *doc);

static bool is_of_type(const struct grpc_field *field, const struct doc *doc)
{
    const struct doc *type = doc_get(doc, "type"), expected = grpc_field_type(field);

    return type && doc_equal(type, &expected);
}

/* Whether the document is a value of that type. */
static bool value_fits(const struct grpc_field *field, const struct doc *doc)
{
    if (field->typed && !is_of_type(field, doc))
        return false;
    if (field->floats)
        return doc->type == DOC_INT; /* the vector's place */
    if (field->wire->label == PROTOBUF_C_LABEL_REPEATED)
        return doc->type == (field->message && field->message->is_entry ? DOC_MAP : DOC_ARRAY);
    switch (field->wire->type) {
    case PROTOBUF_C_TYPE_BOOL:
        return doc->type == DOC_BOOL;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_UINT64:
        return doc->type == DOC_UINT || (doc->type == DOC_INT && doc->integer >= 0);
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_INT64:
        return doc->type == DOC_INT;
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE: /* integers that are too large for others */
        return doc->type == DOC_DOUBLE || doc->type == DOC_UINT;
    case PROTOBUF_C_TYPE_BYTES:
        return doc->type == DOC_STRING;
    case PROTOBUF_C_TYPE_ENUM:
        return doc->type == DOC_NULL;
    default:
        return message_fits(field->message, doc);
    }
}

/* Messages of which one field is always there are told from maps by it: a VectorParams from a VectorParamsMap. */
static bool has_first_key(const struct grpc_message *message, const struct doc *doc)
{
    const struct grpc_field *first = &message->fields[0];
    const struct doc *value;

    if (message->wire->n_fields == 0 || !first->always)
        return true;
    value = doc_get(doc, first->key);
    return value && value_fits(first, value);
}

static bool message_fits(const struct grpc_message *message, const struct doc *doc)
{
    bool fits = !message->has_bare && doc->type == DOC_MAP && has_first_key(message, doc);

    for (unsigned i = 0; i < message->wire->n_fields && !fits; i++)
        fits = message->fields[i].form == GRPC_BARE && value_fits(&message->fields[i], doc);
    return fits;
}

/* "green" and "Green" are Green, "wait_timeout" is WaitTimeout. */
static int enum_value(const ProtobufCEnumDescriptor *wire, const struct doc *doc)
{
    for (unsigned i = 0; doc->type == DOC_STRING && i < wire->n_values; i++) {
        const char *name = wire->values[i].name;
        uint32_t at = 0;
        for (; *name && at < doc->count; name++, at++) {
            at += doc->string[at] == '_' && at + 1 < doc->count;
            if ((*name | 0x20) != (doc->string[at] | 0x20))
                break;
        }
        if (!*name && at == doc->count)
            return wire->values[i].value;
    }
    return 0;
}

static ProtobufCMessage *write_message(struct writer *writer, const struct grpc_message *message,
                                       const struct doc *doc);

/* One value into `member`. */
static void write_value(struct writer *writer, const struct grpc_field *field,
                        const struct doc *doc, void *member)
{
    double number = 0;
    uint64_t natural = 0;
    int64_t integer = 0;

    (void)doc_as_double(doc, &number);
    (void)doc_as_u64(doc, &natural);
    (void)doc_as_i64(doc, &integer);
    switch (field->wire->type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)member = doc->type == DOC_BOOL && doc->boolean;
        break;
    case PROTOBUF_C_TYPE_UINT32:
        *(uint32_t *)member = (uint32_t)natural;
        break;
    case PROTOBUF_C_TYPE_UINT64:
        *(uint64_t *)member = natural;
        break;
    case PROTOBUF_C_TYPE_INT32:
        *(int32_t *)member = (int32_t)integer;
        break;
    case PROTOBUF_C_TYPE_INT64:
        *(int64_t *)member = integer;
        break;
    case PROTOBUF_C_TYPE_FLOAT:
        *(float *)member = (float)number;
        break;
    case PROTOBUF_C_TYPE_DOUBLE:
        *(double *)member = number;
        break;
    case PROTOBUF_C_TYPE_ENUM:
        *(int *)member = enum_value(field->wire->descriptor, doc);
        break;
    case PROTOBUF_C_TYPE_BYTES:
        if (doc->type == DOC_STRING)
            *(ProtobufCBinaryData *)member =
                (ProtobufCBinaryData){doc->count, (uint8_t *)doc->string};
        break;
    default:
        *(ProtobufCMessage **)member = write_message(writer, field->message, doc);
        break;
    }
}

static ProtobufCMessage *write_entry(struct writer *writer, const struct grpc_message *entry,
                                     const struct doc *pair)
{
    struct doc items[] = {{.type = DOC_STRING, .count = 3, .string = "key"},
                          pair[0],
                          {.type = DOC_STRING, .count = 5, .string = "value"},
                          pair[1]};
    const struct doc doc = {.type = DOC_MAP, .count = 2, .items = items};

    return write_message(writer, entry, &doc);
}

/* The count and the floats that http_call_add_vector put there. */
static void write_floats(struct writer *writer, const struct doc *doc, size_t *count, void **list)
{
    const uint8_t *at = writer->vectors->data + doc->integer;
    uint32_t floats;

    memcpy(&floats, at, sizeof(floats));
    *count = floats;
    *list = (void *)(at + sizeof(floats));
}

/* Lists of other types are in no reply. */
static void write_numbers(struct writer *writer, const struct grpc_field *field,
                          const struct doc *doc, size_t *count, void **list)
{
    size_t size = field->wire->type == PROTOBUF_C_TYPE_FLOAT    ? sizeof(float)
                  : field->wire->type == PROTOBUF_C_TYPE_UINT32 ? sizeof(uint32_t)
                  : field->wire->type == PROTOBUF_C_TYPE_UINT64 ? sizeof(uint64_t)
                                                                : 0;

    if (size == 0 || doc->type != DOC_ARRAY)
        return;
    *list = memory_checked(arena_calloc(writer->arena, doc->count + 1, size));
    *count = doc->count;
    for (uint32_t i = 0; i < doc->count; i++)
        write_value(writer, field, &doc->items[i], (char *)*list + i * size);
}

static void write_list(struct writer *writer, const struct grpc_field *field, const struct doc *doc,
                       char *wire)
{
    size_t *count = (size_t *)(void *)(wire + field->wire->quantifier_offset);
    void **list = (void **)(void *)(wire + field->wire->offset);
    bool is_map = field->message && field->message->is_entry;
    ProtobufCMessage **items;

    if (field->floats) {
        write_floats(writer, doc, count, list);
        return;
    }
    if (!field->message) {
        write_numbers(writer, field, doc, count, list);
        return;
    }
    if (!value_fits(field, doc))
        return;
    items = memory_checked(arena_calloc(writer->arena, doc->count + 1, sizeof(*items)));
    for (uint32_t i = 0; i < doc->count; i++)
        items[i] = is_map ? write_entry(writer, field->message, &doc->items[2 * i])
                          : write_message(writer, field->message, &doc->items[i]);
    *count = doc->count;
    *list = (void *)items;
}

static void write_field(struct writer *writer, const struct grpc_field *field,
                        const struct doc *doc, char *wire)
{
    const ProtobufCFieldDescriptor *of = field->wire;

    if (of->label == PROTOBUF_C_LABEL_REPEATED) {
        write_list(writer, field, doc, wire);
        return;
    }
    write_value(writer, field, doc, wire + of->offset);
    if (of->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
        *(uint32_t *)(void *)(wire + of->quantifier_offset) = of->id;
    else if (of->type != PROTOBUF_C_TYPE_MESSAGE)
        *(protobuf_c_boolean *)(void *)(wire + of->quantifier_offset) = true;
}

/* The text "ok" for a message that has a flag of that name. */
static const struct doc *value_of(const struct grpc_field *field, const struct doc *doc)
{
    static const struct doc yes = {.type = DOC_BOOL, .boolean = true};

    if (doc->type == DOC_STRING && field->wire->type == PROTOBUF_C_TYPE_BOOL)
        return doc_string_equals(doc, field->key) ? &yes : NULL;
    return doc_get(doc, field->key);
}

static ProtobufCMessage *write_message(struct writer *writer, const struct grpc_message *message,
                                       const struct doc *doc)
{
    ProtobufCMessage *wire =
        memory_checked(arena_calloc(writer->arena, 1, message->wire->sizeof_message));

    message->wire->message_init(wire);
    for (unsigned i = 0; i < message->wire->n_fields; i++) {
        const struct grpc_field *field = &message->fields[i];
        const struct doc *value;
        if (field->form == GRPC_BARE) {
            if (!value_fits(field, doc))
                continue;
            write_field(writer, field, doc, (char *)wire);
            break;
        }
        value = value_of(field, doc);
        if (value && (value->type != DOC_NULL || message->is_entry))
            write_field(writer, field, value, (char *)wire);
    }
    return wire;
}

void grpc_write(const struct grpc_message *message, const struct doc *doc,
                const struct buffer *vectors, struct arena *arena, struct buffer *out)
{
    struct writer writer = {arena, vectors};
    ProtobufCMessage *wire = write_message(&writer, message, doc);
    size_t size = protobuf_c_message_get_packed_size(wire);

    (void)protobuf_c_message_pack(wire, buffer_reserve(out, size));
    out->size += size;
}
