/* rest: Qdrant's REST dialect. Handlers turn JSON into the structs of query.h and results into JSON;
 * they hold no state of their own.
 *
 * Reads are answered from snapshots (indexer/query). Writes become records of Kafka, one a point:
 * whoever produces them brings a writer. */
#ifndef INDEXER_ENDPOINT_REST_REST_H
#define INDEXER_ENDPOINT_REST_REST_H

#include <stddef.h>
#include <stdint.h>

#include "base/doc.h"
#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "base/stop.h"
#include "config/config.h"
#include "store/files/key.h"

struct store_registry;

struct http_request;
struct http_server;
struct embedder;
struct query_peers;
struct rest;

/* One point or delete on its way into Kafka. */
struct rest_write {
    const char *key; /* the id, as store_key_to_message has it */
    size_t key_bytes;
    enum store_id_kind id_kind;
    const void *value; /* JSON, or NULL: delete */
    size_t value_bytes;
    const char *topic;    /* where it has to go; NULL: the first topic's partition of its key */
    int32_t partition;    /* with `topic`; else filled: where it went */
    int64_t timestamp_ms; /* of the record, 0: now */
    bool
        expects; /* it counts only while its id has the version at `expected_offset`, or has none: -1 */
    int64_t expected_offset;
    int64_t read_at; /* the next offset when that was read, -1: unknown */
    int64_t offset;  /* filled */
    int code;        /* filled: 0 or enum error_code */
};

struct rest_writer {
    void *context;
    /** Produces to the collection's topics and returns when every write has its outcome; 0 only if
     * all are in. Any thread. NULL: this process cannot write. */
    int (*write)(void *context, const struct config_collection *collection,
                 struct rest_write *writes, size_t count, struct error *error);
};

/* A collection that a request asks for. */
struct rest_collection_wish {
    const char *name; /* [A-Za-z0-9_-]{1,100} */
    uint32_t dim;
    enum vector_metric metric;
    uint32_t partitions, replication;   /* of its topic; 0: one, as many as the broker likes */
    uint32_t hnsw_m, hnsw_ef_construct; /* 0: the default */
    const struct doc *settings;         /* keys of collections.NAME in windrow.yaml; NULL: none */
    struct doc vector_name;             /* of the dense vector; DOC_NULL: it has none */
    struct doc sparse_vectors;          /* an array of names */
    struct doc extra_vectors;           /* a map as of windrow.yaml */
    struct doc client_settings;         /* JSON text of what tunes nothing here; DOC_NULL: none */
};

/* Collections that come and go. Any thread. */
struct rest_collections {
    void *context;
    /** Returns when it can be searched and written. ERROR_EXISTS; ERROR_INVALID: the settings are
     * wrong; ERROR_UNSUPPORTED: not in this process; ERROR_TIMEOUT: it is there, but not ready. */
    int (*create)(void *context, const struct rest_collection_wish *wish, struct stop *stop,
                  struct error *error);
    /** `changes`: another value of the key `ttl`, as in windrow.yaml, and below `client_settings` what changes of them;
     * rest_changes_settle makes the text of them. ERROR_UNSUPPORTED: it was not made by `create`. */
    int (*change)(void *context, const struct config_collection *collection,
                  const struct doc *changes, struct error *error);
    /** Takes it and its data away; its topic stays. Errors as above. */
    int (*remove)(void *context, const struct config_collection *collection, struct stop *stop,
                  struct error *error);
};

/** Changes as keys of windrow.yaml, in the arena; a null takes a key away. `kept` is the text of `client_settings` that
 * they change, NULL or DOC_NULL: none. Where nobody else can change it meanwhile: keys that another request set would
 * be lost. ERROR_INVALID: the settings become too large. */
int rest_changes_settle(struct arena *arena, const struct doc *changes, const struct doc *kept,
                        struct doc *settled, struct error *error);

struct rest_options {
    const struct config *config;
    struct store_registry *registry;
    struct metrics *metrics;
    struct io *io;
    struct rest_writer writer;
    struct rest_collections collections;
    const struct query_peers *peers; /* who is asked for shards that are not open here, or NULL */
    const struct query_describer *describer; /* of the shards of this process; may be NULL */
    struct embedder *embedder;               /* of words in queries; NULL: they are refused */
};

struct rest *rest_new(const struct rest_options *options);
/** The server must have stopped. NULL is allowed. */
void rest_delete(struct rest *rest);
/** Before the server starts. */
void rest_add_routes(struct rest *rest, struct http_server *server);

/** The collection that parts[0] names: "Not found: Collection `x` doesn't exist!" It is looked for once
 * in a request: another one may have its name by the time of a second look. Rows of a config live as long
 * as the service, also those of collections that were removed. Other folders' routes use it, too. */
int rest_request_collection(struct http_request *request,
                            const struct config_collection **collection, struct error *error);

#endif
