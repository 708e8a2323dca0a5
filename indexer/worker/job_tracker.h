/* What this process knows of jobs: which it has published, is building, or has given up. Keeps
 * reconciliation from queueing the same work again and again. Private to indexer/worker. */
#ifndef INDEXER_WORKER_JOB_TRACKER_H
#define INDEXER_WORKER_JOB_TRACKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "indexer/worker/worker.h"

enum job_state {
    JOB_NONE,
    JOB_PUBLISHED, /* at time_ms */
    JOB_BUILDING,
    JOB_GIVEN_UP /* until time_ms */
};

/* Why a job was given up. */
enum job_reason { JOB_LOW_RECALL, JOB_IMPOSSIBLE, JOB_FAILED };

struct job_entry {
    uint64_t id_hash;
    int64_t time_ms;
    enum job_state state;
    enum job_reason reason; /* of JOB_GIVEN_UP */
    float recall;           /* of JOB_LOW_RECALL; 0: not known, another process built */
    enum segment_kind kind; /* of the job that the state is of */
};

enum job_claim {
    JOB_CLAIMED,
    JOB_SAME, /* another thread has a copy of the job */
    JOB_OTHER /* another thread builds another kind for the same file */
};

/* Open addressing over hashes of what is built (worker_job_file). Two files of one hash share a
 * fate: an index that comes late. Thread-safe. */
struct job_tracker {
    pthread_mutex_t lock;
    struct job_entry *entries;
    size_t capacity; /* a power of two */
    size_t count;
};

void job_tracker_create(struct job_tracker *tracker);
void job_tracker_destroy(struct job_tracker *tracker);

void job_tracker_set(struct job_tracker *tracker, const struct worker_job *job,
                     enum job_state state, int64_t time_ms);
void job_tracker_give_up(struct job_tracker *tracker, const struct worker_job *job,
                         int64_t until_ms, enum job_reason reason, double recall);
/** What was published or given up of another kind says nothing about this job; a build does, of
 * whatever kind. */
struct job_entry job_tracker_get(struct job_tracker *tracker, const struct worker_job *job);
/** Marks as being built unless another thread has done so. */
enum job_claim job_tracker_claim(struct job_tracker *tracker, const struct worker_job *job);

#endif
