/* Protobuf to documents and back, by the rules of the catalog: no call has code of its own here. */
#ifndef INDEXER_ENDPOINT_GRPC_TRANSLATE_H
#define INDEXER_ENDPOINT_GRPC_TRANSLATE_H

#include "indexer/endpoint/grpc/catalog.h"

enum { GRPC_PARTS_MAX = 2, GRPC_ARGUMENTS_MAX = 8 };

/* A request as REST would have it. */
struct grpc_input {
    struct doc body;
    const char *parts[GRPC_PARTS_MAX]; /* of the path */
    size_t part_count;
    struct http_argument arguments[GRPC_ARGUMENTS_MAX];
    size_t argument_count;
};

/** Reads a message. Everything is in the arena; vectors stay in one piece. ERROR_INVALID for what is no such message,
 * holds unknown fields or is nested too deep; ERROR_MEMORY when reading it takes many times its size. */
int grpc_read(const struct grpc_message *message, const void *bytes, size_t size,
              struct arena *arena, struct grpc_input *input, struct error *error);

/** Appends a message made from a document; what it has no fields for is left out. `vectors` as in struct http_call. */
void grpc_write(const struct grpc_message *message, const struct doc *doc,
                const struct buffer *vectors, struct arena *arena, struct buffer *out);

#endif
