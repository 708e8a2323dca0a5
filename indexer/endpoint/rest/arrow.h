/* Results as a stream of Arrow record batches, for clients that ask for it (Accept).
 *
 *     id       utf8, or with ids=uint64 uint64
 *     score    float32                          of a query
 *     time     timestamp[ms, UTC]
 *     vector   fixed_size_list<float32>[dim]    with_vector
 *     payload  utf8, JSON                       with_payload
 *     shard    utf8, offset int64, window_start timestamp[ms, UTC]   windrow.place
 *
 * Ids are text by default, because a collection may hold numbers and texts, and the schema of one page
 * must be that of all. The `windrow` key of a JSON reply is the schema's metadata of that name. */
#ifndef INDEXER_ENDPOINT_REST_ARROW_H
#define INDEXER_ENDPOINT_REST_ARROW_H

#include "indexer/endpoint/rest/parse.h"
#include "indexer/query/query.h"
#include "net/http/http.h"

/** Whether the client asks for Arrow. */
bool arrow_wanted(const struct http_request *request);

/** Fills the reply. `next_key` (or NULL) goes into a header, as JSON. ERROR_INVALID: too large, or an id
 * that is not a number where the client wants numbers. */
int arrow_reply(struct http_request *request, const struct query_view *view,
                const struct query_result *result, bool scored,
                const struct parse_selector *selector, const uint8_t *next_key,
                size_t next_key_bytes, struct error *error);

#endif
