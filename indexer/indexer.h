/* indexer: builds segments for sealed windows in the background, swaps them in, answers searches.
 *
 *     rooms   index/   what a segment is: kernels, HNSW, IVF-PQ; build, search, file format
 *             worker/  the work queue (NATS JetStream or in process), build workers, reconciliation
 *             query/   a request over snapshots: prune, search, filter, merge, re-rank
 *             http/    the Qdrant REST dialect, metrics, health, dashboard
 *
 * The manifest is truth, the queue is delivery: on start and periodically every sealed run without
 * a segment is found and queued again. A segment hangs on its run inside the store's version, so a
 * snapshot sees a window from exactly one generation. */
#ifndef INDEXER_INDEXER_H
#define INDEXER_INDEXER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "store/registry.h"
#include "store/store.h"

struct indexer;

/* One point or delete on its way into Kafka. */
struct indexer_write {
    const char *key; /* the id's text */
    size_t key_bytes;
    const void *value; /* JSON, or NULL: delete */
    size_t value_bytes;
    int32_t partition; /* filled: where it went */
    int64_t offset;
    int code; /* filled: 0 or enum error_code */
};

/* Which windows of a collection an operator means. */
struct indexer_window_choice {
    bool has_time; /* the window that holds time_ms; else all of them */
    int64_t time_ms;
    const char *shard;            /* NULL: all */
    const atomic_bool *cancelled; /* nobody waits for the answer any more */
};

/** Does something to windows and appends what was done to `out`, as one JSON value. */
typedef int (*indexer_window_function)(void *context, const struct config_collection *collection,
                                       const struct indexer_window_choice *choice,
                                       struct buffer *out, struct error *error);

/* What an operator asks of ingestion. */
enum indexer_control {
    INDEXER_CONTROL_PAUSE,
    INDEXER_CONTROL_RESUME,
    INDEXER_CONTROL_SKIP,   /* a stopped shard goes on behind what Kafka lost */
    INDEXER_CONTROL_REBUILD /* a stopped shard is read anew */
};

struct indexer_host {
    void *context;
    /** False with a reason while not caught up. */
    bool (*ready)(void *context, char *why, size_t why_bytes);
    /** Adds the rest of the program's part (ingest offsets, lag, blockers) to /status: a document.
     */
    void (*status)(void *context, struct arena *arena, struct doc *out);
    /** Whether the process's loops are alive (/livez). */
    bool (*alive)(void *context);
    /** Produces writes to the collection's first topic and returns when every one has an answer;
     * NULL when this process cannot. Each write gets its own outcome; the return is 0 only if all
     * are in. */
    int (*write)(void *context, const struct config_collection *collection,
                 struct indexer_write *writes, size_t count, struct error *error);
    /** Seals, reseals or merges now; NULL when this process keeps no windows. */
    indexer_window_function compact;
    /** Reads one window again from Kafka and swaps it in; NULL when this process cannot. */
    indexer_window_function rebuild;
    /** Puts all open shards into a folder that was begun with the token and appends what is there
     * to `out`, as one JSON value; NULL when this process has none. */
    int (*backup)(void *context, const char *folder, const char *token,
                  const atomic_bool *cancelled, struct buffer *out, struct error *error);
    /** Pauses or resumes the ingestion of a collection, or of one stopped shard of it; NULL when
     * this process does not ingest. */
    int (*control)(void *context, const struct config_collection *collection, const char *shard,
                   enum indexer_control control, struct error *error);
    /** The operator confirms the system clock. Fills the service's time before and after; returns
     * whether its clock was frozen. */
    bool (*trust_clock)(void *context, int64_t *before_ms, int64_t *now_ms);
};

struct indexer_options {
    const struct config *config;
    struct store_registry *registry;
    struct indexer_host host;
    struct metrics *metrics;
    struct io *io;         /* NULL: io_posix() */
    uint32_t worker_count; /* build threads; 0: the config's */
    bool build;            /* this process builds segments (role indexer) */
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

/** The port HTTP listens on (for `listen: 127.0.0.1:0`). */
uint16_t indexer_http_port(const struct indexer *indexer);

/** The work queue and the workers, for /status: {"queue", "connected", "why", "depth", "threads",
 * "building", "build_memory_bytes", "build_memory_max_bytes"}. May ask the NATS server. */
void indexer_status(const struct indexer *indexer, struct arena *arena, struct doc *out);

/** A shard was opened: maps the segments its manifest knows and queues sealed runs without one. */
int indexer_shard_opened(struct indexer *indexer, struct store_shard *shard, struct error *error);

/** A window was sealed: publishes the job. A failure is only a delay (reconciliation finds the
 * run). */
void indexer_window_sealed(struct indexer *indexer, struct store_shard *shard,
                           const struct store_window_info *window);

/** Compares what is sealed, or large and open, with what is indexed and queues what is missing;
 * makes what payload_index names and is missing. Called periodically. */
void indexer_reconcile(struct indexer *indexer);

#endif
