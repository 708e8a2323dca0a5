/* Payload indexes that clients made. No answer needs one here: filters on any key are exact, with
 * `payload_index` of the configuration or without. They are remembered because clients ask for them,
 * in DATA_DIR/COLLECTION.indexes: {"field": "keyword" or {"type": ...}, ...} as JSON. */
#ifndef INDEXER_ENDPOINT_REST_PAYLOAD_INDEXES_H
#define INDEXER_ENDPOINT_REST_PAYLOAD_INDEXES_H

#include "base/doc.h"
#include "indexer/query/query.h"
#include "net/http/http.h"

/** The indexes of a collection, as the file has them, in the request's arena. */
int payload_indexes_read(struct http_request *request, const struct config_collection *collection,
                         struct doc *indexes, struct error *error);
/** ERROR_INVALID: `field` is no payload path, or is too long to be kept. */
int payload_indexes_check_name(const struct doc *field, struct error *error);
/** Puts one in, or with `schema` NULL takes it out. Durable when it returns. */
int payload_indexes_set(struct http_request *request, const struct config_collection *collection,
                        const struct doc *field, const struct doc *schema, struct error *error);
/** Appends {"field": {"data_type", "params"?, "points"}}; the points of the view that have a value there
 * are counted. Names that are no payload path are left out. */
int payload_indexes_render(struct query_view *view, const struct doc *indexes, struct arena *arena,
                           struct buffer *out, struct error *error);

#endif
