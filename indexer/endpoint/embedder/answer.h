/* answer: the JSON that goes to an embeddings endpoint and comes back. Nothing of what comes is trusted.
 *
 *     {"model": "M", "input": ["one text", "another"]}
 *     {"data": [{"index": 0, "embedding": [0.1, 0.2]}, {"index": 1, "embedding": [0.3, 0.4]}]}  */
#ifndef INDEXER_ENDPOINT_EMBEDDER_ANSWER_H
#define INDEXER_ENDPOINT_EMBEDDER_ANSWER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "indexer/endpoint/embedder/cache.h"

/** Appends the request for texts of one model, which is left out when it has no name. */
void answer_write_request(struct cached *const *texts, size_t count, struct buffer *body);

/** Reads a vector of `dim` numbers for each of `count` texts; each is the caller's (malloc). All or none:
 * ERROR_UPSTREAM says what is wrong, as the end of a sentence about the embedder. */
int answer_read(const void *bytes, size_t size_bytes, uint32_t dim, size_t count, float **vectors,
                struct error *error);

/** Why the endpoint refused, from the body beside its status: its message, or the beginning of its text. */
void answer_read_reason(const void *bytes, size_t size_bytes, struct buffer *reason);

#endif
