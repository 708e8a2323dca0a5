/* What the port serves, told to tools that ask (reflection.proto). */
#ifndef INDEXER_ENDPOINT_GRPC_REFLECTION_H
#define INDEXER_ENDPOINT_GRPC_REFLECTION_H

#include "base/buffer.h"
#include "base/error.h"

enum { GRPC_REFLECTION_MAX_BYTES = 4096 }; /* of a request */

/** Appends the answer to one ServerReflectionRequest. ERROR_INVALID: it is none. */
int grpc_reflection_answer(const void *request, size_t size, struct buffer *reply,
                           struct error *error);

#endif
