/* Results into JSON. */
#ifndef INDEXER_ENDPOINT_REST_RENDER_H
#define INDEXER_ENDPOINT_REST_RENDER_H

#include "indexer/endpoint/rest/parse.h"
#include "indexer/query/query.h"
#include "net/http/http.h"

struct store_coverage;

/** One point: id, payload and vector as selected. A damaged block is an error. */
int render_point(struct http_request *request, const struct query_row *row,
                 const struct parse_selector *selector, struct buffer *out, struct error *error);

/** Appends the row's payload, as selected, as JSON. */
int render_payload(struct http_request *request, const struct query_row *row,
                   const struct parse_selector *selector, struct buffer *out, struct error *error);

/** ERROR_INVALID when a reply of so many bytes is too large to be made. */
int render_check_size(size_t bytes, struct error *error);

/** "[point, ...]"; scored ones with version and score. */
int render_hits(struct http_request *request, const struct query_result *result, bool scored,
                const struct parse_selector *selector, struct buffer *out, struct error *error);

/** `"partial":...,"missing":[...]`, and the header for clients that do not read it. "missing" is null
 * while nobody has told which partitions there are. `damaged`: the answer leaves out something of
 * the shards that are there. */
void render_coverage(struct http_request *request, const struct store_coverage *coverage,
                     bool damaged, struct buffer *out);

/** `,"windrow":{"offsets","watermarks_ms","windows","partial","explain"}` as text in the arena.
 * `result` may be NULL. */
const char *render_windrow(struct http_request *request, const struct query_view *view,
                           const struct query_result *result);

#endif
