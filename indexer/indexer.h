/* indexer: builds segments for sealed windows in the background, swaps them in, answers searches.
 *
 *     index/   what a segment is: kernels, HNSW, IVF-PQ; build, search, file format
 *     worker/  the work queue (NATS JetStream or in process), build workers, reconciliation
 *     query/   a request over snapshots: prune, search, filter, merge, re-rank
 *     http/    the server: connections, limits, keys, routes, pages
 *     rest/    Qdrant's REST dialect: collections, points, searches
 *     cluster/ other processes: who is here, and their shards in an answer
 *
 * The manifest is truth, the queue is delivery: on start and periodically every sealed run without
 * a segment is found and queued again. A segment hangs on its run inside the store's version, so a
 * snapshot sees a window from exactly one generation. */
#ifndef INDEXER_INDEXER_H
#define INDEXER_INDEXER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "indexer/endpoint/rest/rest.h"
#include "net/http/http.h"
#include "store/registry.h"
#include "store/store.h"

struct cluster;
struct indexer;

struct indexer_options {
    const struct config *config;
    struct store_registry *registry;
    /* Comes with the routes of its owner; those of rest/ and worker/ are added here. Started and
     * stopped here, deleted by its owner after indexer_stop. */
    struct http_server *http;
    struct rest_writer writer;               /* of points that come over HTTP */
    struct rest_collections collections;     /* that come and go over HTTP */
    const struct query_describer *describer; /* of shards, for /windows and /status; may be NULL */
    struct metrics *metrics;
    struct io *io;         /* NULL: io_posix() */
    uint32_t worker_count; /* build threads; 0: the config's */
    unsigned roles;        /* of this process, CONFIG_ROLE_* */
};

/** Starts queue, workers and the HTTP server. NATS that does not answer is retried in the
 * background. */
int indexer_start(const struct indexer_options *options, struct indexer **indexer,
                  struct error *error);
/** The first step of stopping: no new requests, builds are cancelled. Shards may be closed after
 * it. */
void indexer_stop_accepting(struct indexer *indexer);
/** Stops HTTP (requests under way finish), cancels builds, closes the queue. */
void indexer_stop(struct indexer *indexer);

/** The cluster that this process is part of, or NULL. */
struct cluster *indexer_cluster(const struct indexer *indexer);

/** The work queue and the workers, for /status: {"queue", "connected", "why", "depth", "threads",
 * "building", "build_memory_bytes", "build_memory_max_bytes"}. May ask the NATS server. */
void indexer_status(const struct indexer *indexer, struct arena *arena, struct doc *out);

/** Whether NATS is reached, where it is configured; else why not, and what that means. Any thread. */
bool indexer_connected(const struct indexer *indexer, char *why, size_t why_bytes);

/** Why a sealed window has no index and gets none for now; false: there is no such reason. */
bool indexer_why_scanned(const struct indexer *indexer, struct store_shard *shard,
                         const struct store_window_info *window, char *why, size_t why_bytes);

/** Builds under way in this process. */
uint32_t indexer_builds(const struct indexer *indexer);

/** Whom views ask for the shards that are not open here; NULL: this process is alone. */
const struct query_peers *indexer_peers(const struct indexer *indexer);

/** A shard was opened: maps the segments its manifest knows and queues sealed runs without one. */
int indexer_shard_opened(struct indexer *indexer, struct store_shard *shard, struct error *error);

/** A window was sealed: publishes the job. A failure is only a delay (reconciliation finds the
 * run). */
void indexer_window_sealed(struct indexer *indexer, struct store_shard *shard,
                           const struct store_window_info *window);

/** Compares what is sealed, or large and open, with what is indexed and queues what is missing;
 * makes what payload_index names and is missing. Returns whether something is still missing. Called
 * as struct compaction_scheduler_options says. */
bool indexer_reconcile(struct indexer *indexer);

#endif
