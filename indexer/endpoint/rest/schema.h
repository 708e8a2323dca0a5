/* What each route of the dialect takes (net/http/schema.h). Every key that stock clients know is
 * listed: those that windrow does not offer with the reason. docs/http.md tells which values of the
 * others change nothing here, and why they may be accepted. */
#ifndef INDEXER_ENDPOINT_REST_SCHEMA_H
#define INDEXER_ENDPOINT_REST_SCHEMA_H

#include "net/http/http.h"

extern const struct http_schema rest_schema_windows, rest_schema_telemetry, rest_schema_state,
    rest_schema_collection, rest_schema_collection_update, rest_schema_collection_delete,
    rest_schema_index_create, rest_schema_index_delete, rest_schema_facet, rest_schema_retrieve,
    rest_schema_point, rest_schema_upsert, rest_schema_delete, rest_schema_repair,
    rest_schema_query, rest_schema_query_batch, rest_schema_query_groups, rest_schema_search,
    rest_schema_search_batch, rest_schema_search_groups, rest_schema_matrix, rest_schema_recommend,
    rest_schema_recommend_batch, rest_schema_recommend_groups, rest_schema_discover,
    rest_schema_discover_batch, rest_schema_scroll, rest_schema_count, rest_schema_write_batch,
    rest_schema_payload_set, rest_schema_payload_delete, rest_schema_payload_clear,
    rest_schema_vectors_update, rest_schema_vectors_delete, rest_schema_not_offered;

#endif
