/* builds: the builds of segments in this process: the queue of jobs and the threads that work on them.
 *
 * The manifest is truth, the queue is delivery: at the start and now and then every sealed run without a segment is found
 * and queued again (builds_reconcile). */
#ifndef WINDROW_DAEMON_BUILDS_H
#define WINDROW_DAEMON_BUILDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "store/describe.h"
#include "store/registry.h"
#include "store/store.h"

struct builds;
struct http_server;

struct builds_options {
    const struct config *config;
    struct store_registry *registry;
    struct metrics *metrics;
    struct io *io;
    unsigned roles; /* of this process, CONFIG_ROLE_* */
};

/** Starts queue and threads. NATS that does not answer is retried in the background. */
int builds_start(const struct builds_options *options, struct builds **builds, struct error *error);
/** The first step of stopping: builds are cancelled. Shards may be closed after it. NULL is allowed. */
void builds_quiesce(struct builds *builds);
/** Ends the threads, closes the queue. The HTTP server must have stopped. NULL is allowed. */
void builds_stop(struct builds *builds);

/** Routes of builders on other machines. Before the server starts. */
void builds_add_routes(struct builds *builds, struct http_server *server);
/** HOST:PORT, where builders on other machines find this process. */
void builds_set_address(struct builds *builds, const char *address);

/** The work queue and the workers, for /status: {"queue", "connected", "why", "depth", "threads",
 * "building", "build_memory_bytes", "build_memory_max_bytes"}. May ask the NATS server. */
void builds_status(const struct builds *builds, struct arena *arena, struct doc *out);
/** Whether the queue is reached, or why not. Any thread. */
bool builds_connected(const struct builds *builds, char *why, size_t why_bytes);
/** Why a sealed window has no index and gets none for now; false: there is no such reason. */
bool builds_why_scanned(const struct builds *builds, struct store_shard *shard,
                        const struct store_window_info *window, char *why, size_t why_bytes);
/** Builds under way in this process. */
uint32_t builds_running(const struct builds *builds);

/** A shard was opened: maps the segments its manifest knows and queues sealed runs without one. */
int builds_shard_opened(struct builds *builds, struct store_shard *shard, struct error *error);
/** A window was sealed: publishes the job. A failure is only a delay (reconciliation finds the
 * run). */
void builds_window_sealed(struct builds *builds, struct store_shard *shard,
                          const struct store_window_info *window);
/** Compares what is sealed, or large and open, with what is indexed and queues what is missing;
 * makes what payload_index names and is missing. Returns whether something is still missing. Called
 * as struct compaction_scheduler_options says. */
bool builds_reconcile(struct builds *builds);

#endif
