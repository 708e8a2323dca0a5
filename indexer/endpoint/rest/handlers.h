/* What the handlers of this folder share. */
#ifndef INDEXER_ENDPOINT_REST_HANDLERS_H
#define INDEXER_ENDPOINT_REST_HANDLERS_H

#include "indexer/endpoint/rest/rest.h"
#include "net/http/http.h"

/** The options of the rest that the request's route belongs to. */
const struct rest_options *rest_of(const struct http_request *request);

/** Observes one search that began at `start_ns` (monotonic). */
void rest_count_search(struct http_request *request, const struct config_collection *collection,
                       uint32_t windows_searched, int64_t start_ns);

/** Qdrant's name of a metric. */
const char *rest_metric_name(enum vector_metric metric);

void rest_handle_collections(struct http_request *request);
void rest_handle_aliases(struct http_request *request);
void rest_handle_collection(struct http_request *request);
void rest_handle_collection_exists(struct http_request *request);
void rest_handle_collection_create(struct http_request *request);
void rest_handle_collection_update(struct http_request *request);
void rest_handle_collection_delete(struct http_request *request);
void rest_handle_collection_aliases(struct http_request *request);
void rest_handle_index_create(struct http_request *request);
void rest_handle_index_delete(struct http_request *request);
void rest_handle_no_aliases(struct http_request *request);
void rest_handle_no_shards(struct http_request *request);
void rest_handle_no_peers(struct http_request *request);
void rest_handle_no_named_vectors(struct http_request *request);
void rest_handle_no_quotas(struct http_request *request);
void rest_handle_optimizations(struct http_request *request);
void rest_handle_collection_cluster(struct http_request *request);
void rest_handle_shard_keys(struct http_request *request);
void rest_handle_snapshots(struct http_request *request);
void rest_handle_windows(struct http_request *request);

void rest_handle_query(struct http_request *request);
void rest_handle_query_batch(struct http_request *request);
void rest_handle_query_groups(struct http_request *request);
void rest_handle_search(struct http_request *request);
void rest_handle_search_batch(struct http_request *request);
void rest_handle_search_groups(struct http_request *request);
void rest_handle_recommend(struct http_request *request);
void rest_handle_recommend_batch(struct http_request *request);
void rest_handle_recommend_groups(struct http_request *request);
void rest_handle_discover(struct http_request *request);
void rest_handle_discover_batch(struct http_request *request);
void rest_handle_matrix_pairs(struct http_request *request);
void rest_handle_matrix_offsets(struct http_request *request);
void rest_handle_scroll(struct http_request *request);
void rest_handle_count(struct http_request *request);
void rest_handle_facet(struct http_request *request);
void rest_handle_retrieve(struct http_request *request);
void rest_handle_point(struct http_request *request);

void rest_handle_upsert(struct http_request *request);
void rest_handle_delete(struct http_request *request);
void rest_handle_repair(struct http_request *request);
void rest_handle_write_batch(struct http_request *request);
void rest_handle_payload_set(struct http_request *request);
void rest_handle_payload_overwrite(struct http_request *request);
void rest_handle_payload_delete(struct http_request *request);
void rest_handle_payload_clear(struct http_request *request);
void rest_handle_vectors_update(struct http_request *request);
void rest_handle_vectors_delete(struct http_request *request);

#endif
