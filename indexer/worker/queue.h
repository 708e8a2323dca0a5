/* What both queues share. Private to indexer/worker. */
#ifndef INDEXER_WORKER_QUEUE_H
#define INDEXER_WORKER_QUEUE_H

#include "indexer/worker/worker.h"

/* group + collection + shard + two numbers + separators + a suffix of the queue's own */
enum { WORKER_JOB_ID_BYTES = 512 + CONFIG_GROUP_BYTES };

/** Whether segments of that kind are built. */
bool worker_is_kind(enum segment_kind kind);

/** What tells the job from others of the same file or group of windows: the generation of a run, for
 * a span the hash of its runs. As in struct worker_run. */
uint64_t worker_job_generation(const struct worker_job *job);

/** Counts jobs that were given up after their last attempt. */
struct metric *worker_queue_dead(struct metrics *metrics, const char *collection);

struct queue_nats_options {
    const char *url;                             /* several with commas */
    const struct config_nats_security *security; /* NULL: none */
    const char *stream;                          /* dead letters: <stream>_DEAD */
    const char *name;   /* of the connection, for the server's monitoring */
    const char *prefix; /* of subjects */
    const char *group;  /* consumer group of this process */
    uint32_t replicas;
    int64_t ack_wait_ms;   /* how long a silent worker keeps a job */
    int64_t pass_delay_ms; /* first delay of a job that is passed on; 0: 250 ms */
    struct metrics *metrics;
};

/** As worker_queue_nats, with times that tests shorten. */
int queue_nats_open(const struct queue_nats_options *options, struct worker_queue **queue,
                    struct error *error);

#endif
