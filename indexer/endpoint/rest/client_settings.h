/* Settings of Qdrant's that change nothing here, as clients sent them with PUT and PATCH of a collection: they
 * are kept to be shown (collections.NAME.client_settings of the config, as JSON).
 *
 *     {"vectors": {"on_disk", "memory", "quantization_config", "hnsw_config"}, "extra_vectors": {NAME: the same},
 *      "sparse_vectors": {NAME: {...}},
 *      "params": {"shard_number", "replication_factor", "on_disk_payload", ...}, "hnsw_config", "optimizers_config",
 *      "wal_config", "quantization_config", "metadata"} */
#ifndef INDEXER_ENDPOINT_REST_CLIENT_SETTINGS_H
#define INDEXER_ENDPOINT_REST_CLIENT_SETTINGS_H

#include "base/doc.h"
#include "config/config.h"

enum { CLIENT_SETTINGS_MAX_BYTES = 65536 };

/** Those of a collection. */
struct doc client_settings_read(struct arena *arena, const struct config_collection *collection);
/** Whether a key in `vectors` of a body is a parameter of the vector without a name, not the name of one. */
bool client_settings_is_parameter(const struct doc *key);
/** The key in `vectors`, which may be NULL, of the collection's own vector: the one that is called `own`. NULL for `own`:
 * of a new collection, the first that is no list. NULL: no such vector is named. */
const struct doc *client_settings_own(const struct doc *vectors, const char *own);
/** Those of a body of PUT or PATCH that fits its schema; a null where it has "Disabled". `own` as above. */
struct doc client_settings_take(struct arena *arena, const struct doc *body, const char *own);
/** `kept` with what `changed` has. Sections change key by key, quantization as a whole, and the value of a key is
 * replaced as a whole; a null takes its key away. */
struct doc client_settings_merge(struct arena *arena, const struct doc *kept,
                                 const struct doc *changed);
/** The text that the config keeps; DOC_NULL: there is nothing. ERROR_INVALID: too large. */
int client_settings_write(struct arena *arena, const struct doc *settings, struct doc *text,
                          struct error *error);
/** `config` of GET /collections/NAME. */
struct doc client_settings_describe(struct arena *arena, const struct config_collection *collection,
                                    const char *distance, size_t shard_count);
/** `warnings` of GET /collections/NAME: [{"message"}, ...] for settings that have no effect in Qdrant either. */
struct doc client_settings_warnings(struct arena *arena,
                                    const struct config_collection *collection);

#endif
