/* rest: Qdrant's REST dialect. Handlers turn JSON into the structs of query.h and results into JSON;
 * they hold no state of their own.
 *
 * Reads are answered from snapshots (indexer/query). Writes become records of Kafka, one a point:
 * whoever produces them brings a writer. */
#ifndef INDEXER_REST_REST_H
#define INDEXER_REST_REST_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"
#include "store/registry.h"

struct http_server;
struct query_peers;
struct rest;

/* One point or delete on its way into Kafka. */
struct rest_write {
    const char *key; /* the id's text */
    size_t key_bytes;
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

struct rest_options {
    const struct config *config;
    struct store_registry *registry;
    struct metrics *metrics;
    struct io *io;
    struct rest_writer writer;
    const struct query_peers *peers; /* who is asked for shards that are not open here, or NULL */
    const struct query_describer *describer; /* of the shards of this process; may be NULL */
};

struct rest *rest_new(const struct rest_options *options);
/** The server must have stopped. NULL is allowed. */
void rest_delete(struct rest *rest);
/** Before the server starts. */
void rest_add_routes(struct rest *rest, struct http_server *server);

#endif
