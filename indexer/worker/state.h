/* state: what the files of the worker share. Private to indexer/worker. */
#ifndef INDEXER_WORKER_STATE_H
#define INDEXER_WORKER_STATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/thread_pool.h"
#include "indexer/worker/build.h"
#include "indexer/worker/job_tracker.h"
#include "indexer/worker/worker.h"
#include "store/lease.h"
#include "store/registry.h"

struct store_file_info;
struct store_window_info;

/* One job in the hands of this process. */
struct worker_task {
    struct thread_task work; /* first: in the pool */
    struct worker_pool *pool;
    struct worker_delivery *delivery;
    const struct config_collection *collection;
    atomic_bool cancel; /* the build looks at it */
    struct build_progress progress;
    double recall; /* of the segment that was built; 0: none, or by another process */
    /* Under the pool's lock: */
    struct store_lease lease;
    int64_t reported_ms; /* last in-progress */
    struct worker_task *next;
};

struct upload_session;

struct worker_pool {
    struct worker_pool_options options;
    char address[WORKER_OWNER_BYTES]; /* of this process's HTTP server; empty: not reachable */
    char group[CONFIG_GROUP_BYTES];   /* whose copies of shards are open here */
    uint32_t thread_count;            /* jobs at a time; 0: only publishes */
    struct thread_pool *threads;      /* of the jobs; NULL: only publishes */
    pthread_t monitor;
    bool monitor_runs;
    struct store_registry_listener listener;

    pthread_mutex_t lock;   /* guards the next three */
    pthread_cond_t changed; /* a job was answered, or the pool stops; on the monotonic clock */
    struct worker_task *active;
    uint32_t unanswered;  /* jobs that were fetched and not answered */
    atomic_bool stopping; /* written under the lock */

    atomic_uint building; /* tasks inside a build */
    struct build_memory memory;
    struct job_tracker tracker;
    struct metric *queue_depth, *queue_connected;

    pthread_mutex_t upload_lock;     /* guards sessions */
    struct upload_session *sessions; /* segments on their way in: remote_owner.c */
};

/* What a task came to. */
enum worker_outcome {
    WORKER_DONE,       /* a segment is attached, or there is nothing to do */
    WORKER_LOW_RECALL, /* built, measured, not good enough: the window stays scanned */
    WORKER_REFUSED,    /* takes more memory than builds may: likewise */
    WORKER_NOT_HERE,   /* the shard is not open in this process, or is being closed */
    WORKER_POSTPONED,  /* no space or memory just now */
    WORKER_FAILED
};

/** The job of a file as the pool has it. */
void worker_fill_job(struct worker_job *job, const struct worker_pool *pool,
                     const struct config_collection *collection, struct store_shard *shard,
                     const struct store_window_info *window, const struct store_file_info *file);
/** A worker_claim_function of a pool. */
enum worker_claim worker_claim_job(void *pool, struct worker_job *job);

/** Carries one task out. The lease it takes is given back by the caller. */
enum worker_outcome worker_task_run(struct worker_task *task, struct error *error);

/** How long builds of the collection took, of spans or of windows and chunks. */
struct metric *worker_build_seconds(struct metrics *metrics, const char *collection, bool span);

/** A build for the task; idle workers' share of the threads goes to the builds that run. */
static inline struct build worker_task_build(struct worker_task *task)
{
    struct worker_pool *pool = task->pool;
    uint32_t building = atomic_load(&pool->building);
    uint32_t share = pool->thread_count / (building ? building : 1);

    return (struct build){.io = pool->options.io,
                          .metrics = pool->options.metrics,
                          .collection = task->collection,
                          .shard = task->delivery->job.shard,
                          .window_start_ms = task->delivery->job.window_start_ms,
                          .cancel = &task->cancel,
                          .pool = pool->threads,
                          .thread_count = share ? share : 1,
                          .memory = &pool->memory,
                          .progress = &task->progress,
                          .registry = pool->options.registry,
                          .directory = pool->options.config->data_dir,
                          .seed = task->delivery->job.run_checksum};
}

#endif
