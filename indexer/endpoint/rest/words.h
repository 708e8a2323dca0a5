/* words: {"text": "...", "model": "..."} where a query has a vector. */
#ifndef INDEXER_ENDPOINT_REST_WORDS_H
#define INDEXER_ENDPOINT_REST_WORDS_H

#include "base/doc.h"
#include "net/http/http.h"

/** Puts vectors in the place of all words of a body that its schema has accepted: of its query, its
 * examples, its prefetches, each of its searches. All go to the embedder together, and others are served
 * meanwhile; the request's stop ends the wait. ERROR_INVALID when the collection has no embedder or
 * another model. */
int words_to_vectors(struct http_request *request, struct doc *body,
                     const struct config_collection *collection, struct error *error);

#endif
