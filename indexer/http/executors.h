/* executors: the threads that run requests. Few may compute at a time, many may wait.
 *
 * A request that waits for somebody else (an offset, Kafka's acknowledgement) says so and gives its
 * turn away, so that a handful of waiting clients cannot hold up everybody's searches. Threads are
 * made when they are needed and stay. */
#ifndef INDEXER_HTTP_EXECUTORS_H
#define INDEXER_HTTP_EXECUTORS_H

#include <stdatomic.h>
#include <stdbool.h>

/* One piece of work; lies inside what it belongs to. */
struct executors_job {
    struct executors_job *next;
};

struct executors;

typedef void (*executors_run_function)(struct executors_job *job);

/** `run` is called on one of the threads, once for each job. */
struct executors *executors_new(executors_run_function run);

/** False when the queue is full or executors_stop was called; the job is then the caller's.
 * `accepted` (with its context) runs before any thread can see the job. Any thread. */
bool executors_submit(struct executors *executors, struct executors_job *job,
                      void (*accepted)(struct executors_job *job));

/** The calling job waits for something from now on: another one may run in its place. False when
 * too many wait already; it must not wait then. */
bool executors_wait_begin(struct executors *executors);
void executors_wait_end(struct executors *executors);

/** True once executors_stop was called: jobs that wait or search give up. */
const atomic_bool *executors_cancelled(const struct executors *executors);

/** Runs what is queued and returns when all threads have ended; nothing is taken after it. */
void executors_stop(struct executors *executors);
void executors_delete(struct executors *executors);

#endif
