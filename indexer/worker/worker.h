/* worker: from a sealed window to a served segment.
 *
 *     seal -> queue (NATS JetStream work queue, or in process)
 *          -> build, check recall, write, fsync, rename, attach to the run (the swap) -> ack
 *
 * Delivery is at least once. (collection, shard, window, generation, kind) makes the work
 * idempotent: a job whose generation is no longer current, or that is indexed already, is
 * acknowledged without work. */
#ifndef INDEXER_WORKER_WORKER_H
#define INDEXER_WORKER_WORKER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "indexer/index/index.h"

struct store_registry;
struct store_shard;

struct store_window_info;

/* The queue. */

enum { WORKER_OWNER_BYTES = 280 };

/* What a seal says; JSON on the wire, on subject PREFIX.seal.<collection>.<shard> (nats.prefix). It names the
 * shard and the consumer group whose copy of the shard is meant; who has that now is asked for when
 * it is built (locate). Without a
 * generation the job is of an unsealed file of the window (a chunk), told by its number; with a
 * tier it is of a span over a group of windows, told by a hash of their runs (run_checksum). */
struct worker_job {
    char collection[104];
    char shard[300];
    int64_t window_start_ms, window_length_ms;
    uint64_t generation; /* of the sealed run; 0: a chunk, or a span */
    uint64_t run_file_number;
    uint64_t run_checksum;
    uint64_t rows, bytes;
    int64_t min_offset, max_offset;
    uint8_t span_tier;              /* 0: no span */
    enum segment_kind kind;         /* of the segment; SEGMENT_NONE: not told */
    enum segment_kind chosen;       /* that `kind: auto` chose instead; SEGMENT_NONE: as `kind` */
    struct index_choice choice;     /* why; a trial: the builder finds out what to choose */
    uint32_t attempts_before;       /* failed attempts of former copies of this message */
    uint32_t passes;                /* how often it was passed on, see worker_queue_operations */
    char group[CONFIG_GROUP_BYTES]; /* empty: a job of windrow 0.2 or before */
    char owner[WORKER_OWNER_BYTES]; /* "host:port" of who has the shard; empty: not known */
};

void worker_job_encode(const struct worker_job *job, struct buffer *out);
int worker_job_decode(const void *bytes, size_t size_bytes, struct worker_job *job,
                      struct error *error);
/** "group/collection/shard/start/generation", or ".../start/chunk-number", or
 * ".../start/span-tier-hash": what is built, of whatever kind. */
void worker_job_file(const struct worker_job *job, char *out, size_t out_bytes);
/** The same with "/kind" behind it: the message id that JetStream deduplicates by. A window whose
 * kind changes with its age is another job, which must not wait until the former is forgotten. */
void worker_job_id(const struct worker_job *job, char *out, size_t out_bytes);

struct worker_queue;
struct worker_delivery;

/* What the owner of a job's shard says of it. */
enum worker_claim {
    WORKER_NOT_MINE, /* the shard is not open here, or is on its way to somebody else */
    WORKER_UNWANTED, /* it is, and nothing is to be built */
    WORKER_MINE      /* the job is as its owner has it now, with its address */
};
typedef enum worker_claim (*worker_claim_function)(void *context, struct worker_job *job);

struct worker_queue_operations {
    /** Asks who has the shard of a job that this process cannot build from its own: fills the job as its owner
     * has it. ERROR_NOT_FOUND: it is wanted no more; ERROR_BUSY: nobody has the shard now. NULL: no
     * other process takes part. */
    int (*locate)(struct worker_queue *queue, struct worker_job *job, struct error *error);
    /** From now on other processes' locate is answered by `claim`, on any thread, until a NULL takes
     * it back. Nothing where `locate` is NULL. */
    int (*answer)(struct worker_queue *queue, worker_claim_function claim, void *context,
                  struct error *error);
    /** Queues a job unless the same id is queued already or was within the dedupe window. */
    int (*publish)(struct worker_queue *queue, const struct worker_job *job, struct error *error);
    /** Waits up to timeout_ms, or until *stop (may be NULL) is true; ERROR_TIMEOUT when there is
     * nothing. */
    int (*fetch)(struct worker_queue *queue, int timeout_ms, const atomic_bool *stop,
                 struct worker_delivery **delivery, struct error *error);
    /** After a stop flag was set: fetches that wait look at it. */
    void (*wake)(struct worker_queue *queue);
    /** Done: acknowledged, gone. As after `retry` the delivery is no longer the caller's, whatever
     * the return. */
    int (*ack)(struct worker_delivery *delivery, struct error *error);
    /** Failed: again after the delay; after the last attempt it goes to the dead-letter subject. */
    int (*retry)(struct worker_delivery *delivery, int64_t delay_ms, const char *why,
                 struct error *error);
    /** Not for this process, whose shards do not include the job's: for somebody else after a
     * while. Does not count as an attempt. A job that nobody wants is forgotten in the end (its
     * owner's reconciliation queues it again). Gives the delivery back in any case. */
    int (*pass)(struct worker_delivery *delivery, struct error *error);
    /** Still at it: restarts the acknowledgement timer. */
    int (*in_progress)(struct worker_delivery *delivery, struct error *error);
    /** Jobs waiting or under way; -1 unknown. */
    int64_t (*depth)(struct worker_queue *queue);
    /** False with a reason while the server cannot be reached. */
    bool (*connected)(struct worker_queue *queue, char *why, size_t why_bytes);
    void (*close)(struct worker_queue *queue);
};

/* Implementations embed this as their first member. */
struct worker_queue {
    const struct worker_queue_operations *operations;
    int64_t ack_wait_ms; /* a job is somebody else's after so long a silence; 0: never */
};
struct worker_delivery {
    struct worker_queue *queue;
    struct worker_job job;
    uint32_t attempt; /* 1 for the first delivery */
};

enum { WORKER_ATTEMPTS_MAX = 5 };

/** The in-process queue: same contract, lost with the process (reconciliation makes up for it). */
int worker_queue_local(struct metrics *metrics, struct worker_queue **queue, struct error *error);
/** JetStream: stream and consumer are created when missing. Connects in the background; until then
 * publish and fetch fail with ERROR_PEER. */
int worker_queue_nats(const struct config *config, struct metrics *metrics,
                      struct worker_queue **queue, struct error *error);

/* The pool. */

struct worker_pool;
struct http_server;

struct worker_pool_options {
    const struct config *config;
    struct store_registry *registry;
    struct worker_queue *queue; /* not owned */
    struct metrics *metrics;
    struct io *io;
    uint32_t thread_count;
    bool build; /* false: only publish */
};

/** Makes the series that count a collection's failures, before the first one. */
void worker_metrics_begin(struct metrics *metrics, const char *collection);

int worker_pool_start(const struct worker_pool_options *options, struct worker_pool **pool,
                      struct error *error);
/** Where other machines' builders reach this process over HTTP ("host:port"): they are told from then
 * on. */
void worker_pool_set_address(struct worker_pool *pool, const char *address);
/** Registers /internal/run, /internal/epoch and /internal/segment: what builders on other machines
 * ask of this process. Before the server starts; it must have stopped before the pool stops. */
void worker_pool_add_routes(struct worker_pool *pool, struct http_server *server);
/** Cancels builds and waits for the threads: no shard is leased after it. Jobs may still be
 * submitted. */
void worker_pool_quiesce(struct worker_pool *pool);
/** Quiesces and frees. */
void worker_pool_stop(struct worker_pool *pool);
/** Fills a job from a sealed window and publishes it. Chunks are left to reconciliation. */
int worker_pool_submit(struct worker_pool *pool, struct store_shard *shard,
                       const struct store_window_info *window, struct error *error);
/** Finds sealed runs and large chunks that should have a segment and have none (or one of the wrong
 * kind), and queues them unless they are queued or being built. Returns whether there were such:
 * they are worth another look. */
bool worker_pool_reconcile(struct worker_pool *pool);
/** Why a sealed window has no segment and gets none for now. False: it has one, needs none or will get one. */
bool worker_pool_why_scanned(struct worker_pool *pool, struct store_shard *shard,
                             const struct store_window_info *window, char *why, size_t why_bytes);
/** A round over one shard, which the caller keeps open. */
void worker_pool_reconcile_shard(struct worker_pool *pool, struct store_shard *shard);
/** Threads that build, how many of them do so now, and the memory their builds have taken. */
void worker_pool_describe(struct worker_pool *pool, uint32_t *threads, uint32_t *building,
                          uint64_t *memory_bytes);

/* A build under way. */
struct worker_build_info {
    char collection[104];
    char shard[300];
    int64_t window_start_ms;
    uint32_t rows, rows_done; /* rows_done == rows: it is written, measured and attached */
};

/** The builds that have begun to insert rows, at most `room` of them. Returns how many. */
uint32_t worker_pool_builds(struct worker_pool *pool, struct worker_build_info *builds,
                            uint32_t room);
/** Maps the segments the manifest of a freshly opened shard knows; forgets damaged ones. */
int worker_pool_load_segments(struct worker_pool *pool, struct store_shard *shard,
                              struct error *error);

/** Which kind a run of that many rows gets now: SEGMENT_FLAT: none is built. */
enum segment_kind worker_wanted_kind(const struct config_collection *collection, uint64_t rows,
                                     int64_t age_ms);
/** The same for an unsealed file. */
enum segment_kind worker_chunk_kind(const struct config_collection *collection, uint64_t rows);

#endif
