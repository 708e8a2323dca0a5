/* Reflection: services and the files that describe them, from the descriptors that protoc made of the .proto files here.
 * They lie in the binary as one FileDescriptorSet, and are walked as they are.
 *
 *     FileDescriptorSet    1: file, each a FileDescriptorProto
 *     FileDescriptorProto  1: name  2: package  4: messages  5: enums  6: services
 *     of a message         1: name  3: messages  4: enums      of a service  1: name  2: methods */
#include "indexer/endpoint/grpc/reflection.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

__asm__(".section .rodata\ngrpc_descriptors:\n.incbin \"" DESCRIPTORS_PATH
        "\"\ngrpc_descriptors_end:\n.byte 0\n.text\n");
extern const uint8_t grpc_descriptors[], grpc_descriptors_end[];

enum { NOT_FOUND = 5, WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

/* Bytes of a message, or a field of it. */
struct part {
    const uint8_t *at, *end;
};

struct field {
    uint32_t number;
    struct part bytes; /* empty of one that has none */
};

static bool next_varint(struct part *message, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; message->at < message->end && shift < 64; shift += 7) {
        uint8_t byte = *message->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool skip(struct part *message, size_t size)
{
    if ((size_t)(message->end - message->at) < size)
        return false;
    message->at += size;
    return true;
}

/* False at the end, and with `broken` where no field is. */
static bool next_field(struct part *message, struct field *field, bool *broken)
{
    uint64_t key, value;
    bool good = false;

    if (message->at == message->end)
        return false;
    *field = (struct field){0};
    if (next_varint(message, &key)) {
        field->number = (uint32_t)(key >> 3);
        field->bytes.at = message->at;
        if ((key & 7) == WIRE_VARINT)
            good = next_varint(message, &value);
        else if ((key & 7) == WIRE_FIXED64)
            good = skip(message, 8);
        else if ((key & 7) == WIRE_FIXED32)
            good = skip(message, 4);
        else if ((key & 7) == WIRE_BYTES && next_varint(message, &value)) {
            field->bytes.at = message->at;
            good = value <= SIZE_MAX && skip(message, (size_t)value);
        }
        field->bytes.end = message->at;
    }
    *broken = !good;
    return good;
}

static struct part find(struct part message, uint32_t number)
{
    struct field field;
    bool broken;

    while (next_field(&message, &field, &broken))
        if (field.number == number)
            return field.bytes;
    return (struct part){0};
}

/* Takes `name` and a dot, or all of the rest, from the front of a symbol. */
static bool takes(struct part *symbol, struct part name)
{
    size_t size = (size_t)(name.end - name.at), left = (size_t)(symbol->end - symbol->at);

    if (size == 0 || size > left || memcmp(symbol->at, name.at, size) != 0 ||
        (size < left && symbol->at[size] != '.'))
        return false;
    symbol->at += size + (size < left);
    return true;
}

/* Whether what is left of a symbol names something in a message or service: `inner` are its fields that have names. */
static bool names_part(struct part message, struct part symbol, const uint32_t *inner)
{
    static const uint32_t of_message[] = {3, 4, 0}, of_enum[] = {0};
    struct field field;
    bool broken;

    if (!takes(&symbol, find(message, 1)))
        return false;
    if (symbol.at == symbol.end)
        return true;
    while (next_field(&message, &field, &broken))
        for (const uint32_t *number = inner; *number; number++)
            if (field.number == *number &&
                names_part(field.bytes, symbol, *number == 3 ? of_message : of_enum))
                return true;
    return false;
}

static bool describes(struct part file, struct part symbol)
{
    static const uint32_t of_message[] = {3, 4, 0}, of_enum[] = {0}, of_service[] = {2, 0};
    struct field field;
    bool broken;

    if (!takes(&symbol, find(file, 2)))
        return false;
    while (next_field(&file, &field, &broken))
        if ((field.number == 4 && names_part(field.bytes, symbol, of_message)) ||
            (field.number == 5 && names_part(field.bytes, symbol, of_enum)) ||
            (field.number == 6 && names_part(field.bytes, symbol, of_service)))
            return true;
    return false;
}

static bool is_file(struct part file, struct part name)
{
    struct part own = find(file, 1);
    size_t size = (size_t)(name.end - name.at);

    return (size_t)(own.end - own.at) == size && memcmp(own.at, name.at, size) == 0;
}

/* Answers. */

static void put_varint(struct buffer *out, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        buffer_append_byte(out, (uint8_t)(value | 0x80));
    buffer_append_byte(out, (uint8_t)value);
}

static void put_bytes(struct buffer *out, uint32_t number, const void *bytes, size_t size)
{
    put_varint(out, (uint64_t)number << 3 | WIRE_BYTES);
    put_varint(out, size);
    buffer_append(out, bytes, size);
}

static void put_part(struct buffer *out, uint32_t number, struct part part)
{
    put_bytes(out, number, part.at, (size_t)(part.end - part.at));
}

static void put_error(struct buffer *out, const char *text)
{
    struct buffer error = {0};

    put_varint(&error, 1 << 3 | WIRE_VARINT);
    put_varint(&error, NOT_FOUND);
    put_bytes(&error, 2, text, strlen(text));
    put_bytes(out, 7, error.data, error.size);
    buffer_destroy(&error);
}

/* The files import nothing: one describes what is in it. */
static void put_file(struct buffer *out, struct part wanted, bool (*fits)(struct part, struct part))
{
    struct part files = {grpc_descriptors, grpc_descriptors_end};
    struct buffer answer = {0};
    struct field file;
    bool broken;

    while (answer.size == 0 && next_field(&files, &file, &broken))
        if (fits(file.bytes, wanted))
            put_part(&answer, 1, file.bytes);
    if (answer.size > 0)
        put_bytes(out, 4, answer.data, answer.size);
    else
        put_error(out, "windrow serves nothing of this name");
    buffer_destroy(&answer);
}

static void put_service(struct buffer *out, struct part package, struct part name)
{
    struct buffer full = {0}, service = {0};

    buffer_append(&full, package.at, (size_t)(package.end - package.at));
    buffer_append_byte(&full, '.');
    buffer_append(&full, name.at, (size_t)(name.end - name.at));
    put_bytes(&service, 1, full.data, full.size);
    put_bytes(out, 1, service.data, service.size);
    buffer_destroy(&full);
    buffer_destroy(&service);
}

static void put_services(struct buffer *out)
{
    struct part files = {grpc_descriptors, grpc_descriptors_end};
    struct buffer services = {0};
    struct field file, field;
    bool broken;

    while (next_field(&files, &file, &broken)) {
        struct part package = find(file.bytes, 2);
        while (next_field(&file.bytes, &field, &broken))
            if (field.number == 6)
                put_service(&services, package, find(field.bytes, 1));
    }
    put_bytes(out, 6, services.data, services.size);
    buffer_destroy(&services);
}

int grpc_reflection_answer(const void *request, size_t size, struct buffer *reply,
                           struct error *error)
{
    struct part whole = {request, (const uint8_t *)request + size}, left = whole;
    struct field field, asked = {0};
    bool broken = false;

    while (next_field(&left, &field, &broken)) {
        if (field.number == 1)
            put_part(reply, 1, field.bytes);
        if (field.number >= 3 && field.number <= 7)
            asked = field; /* of several the last one counts, as everywhere in Protobuf */
    }
    if (broken || asked.number == 0)
        return error_set(error, ERROR_INVALID, "The message is no ServerReflectionRequest");
    put_part(reply, 2, whole);
    if (asked.number == 3)
        put_file(reply, asked.bytes, is_file);
    else if (asked.number == 4)
        put_file(reply, asked.bytes, describes);
    else if (asked.number == 7)
        put_services(reply);
    else
        put_error(reply, "The messages have no extensions");
    return 0;
}
