/* What the files of the pool share. Private to indexer/worker. */
#ifndef INDEXER_WORKER_POOL_H
#define INDEXER_WORKER_POOL_H

#include <pthread.h>
#include <stdatomic.h>

#include "indexer/index/index.h"
#include "indexer/worker/job_tracker.h"
#include "indexer/worker/queue.h"
#include "indexer/worker/worker.h"

/* One job in the hands of a thread. */
struct worker_task {
    struct worker_pool *pool;
    struct worker_delivery *delivery;
    const struct config_collection *collection;
    struct store_lease lease;
    atomic_bool cancel;  /* set by the monitor, the builder looks at it: worker_task_cancelled */
    int64_t reported_ns; /* last in-progress */
    struct worker_task *next;
};

struct upload_session;

struct worker_pool {
    char address[WORKER_OWNER_BYTES]; /* of this process's HTTP server; empty: not reachable */
    pthread_mutex_t upload_lock;      /* over sessions */
    struct upload_session *sessions;  /* segments on their way in: remote_owner.c */
    struct worker_pool_options options;
    pthread_t *threads;
    uint32_t thread_count;
    pthread_t monitor;
    bool monitor_runs;
    _Atomic bool stopping;
    _Atomic bool monitor_stops; /* after the workers, whose builds it cancels */
    pthread_mutex_t lock;       /* over active */
    struct worker_task *active;
    _Atomic uint32_t building; /* tasks inside a build */
    uint64_t memory_bytes;     /* that builds have taken: memory.c; under the lock */
    struct metric *memory;
    struct job_tracker tracker;
    struct metric *queue_depth;
};

static inline bool worker_task_cancelled(const struct worker_task *task)
{
    return atomic_load(&task->cancel);
}

/* What a task came to. */
enum worker_outcome {
    WORKER_DONE,       /* a segment is attached, or there is nothing to do */
    WORKER_LOW_RECALL, /* built, measured, not good enough: the window stays scanned */
    WORKER_REFUSED,    /* takes more memory than builds may: likewise */
    WORKER_NOT_HERE,   /* the shard is not open in this process, or is being closed */
    WORKER_POSTPONED,  /* no space or memory just now */
    WORKER_FAILED
};

/** Carries one task out. The lease is taken and given back inside. */
enum worker_outcome worker_task_run(struct worker_task *task, struct error *error);

/** Builds the segment of the job's file, whose shard is leased, and attaches it. ERROR_CANCELLED,
 * ERROR_NOT_FOUND when the file is no longer part of the shard; *low_recall when it was built but
 * not attached. */
int worker_build(struct worker_task *task, bool *low_recall, struct error *error);

/** The kind that the segment of the job's file should be of at that wall clock time; "flat": none.
 */
const char *worker_job_kind(const struct config *config, const struct config_collection *collection,
                            const struct worker_job *job, int64_t now_ms);
/** Whether a file of the window, its sealed run or one of its chunks, should have a segment and has
 * none of the wanted kind. *too_large when it has none because no build of it fits the memory. */
bool worker_file_lacks_segment(const struct config *config,
                               const struct config_collection *collection,
                               const struct store_window_info *window,
                               const struct store_file_info *file, int64_t now_ms, bool *too_large);

/** Forgets all segments on their way in. */
void worker_remote_close(struct worker_pool *pool);

enum index_metric worker_index_metric(const struct config_collection *collection);

#endif
