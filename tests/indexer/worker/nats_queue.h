/* A queue on a real nats-server. */
#ifndef TESTS_INDEXER_WORKER_NATS_QUEUE_H
#define TESTS_INDEXER_WORKER_NATS_QUEUE_H

#include <stdint.h>

struct metrics;
struct worker_queue;

/** The queue of the stream TEST of the server at `url`. What a worker keeps longer than `ack_wait_ms` is delivered
 * again. */
struct worker_queue *nats_queue_open(const char *url, int64_t ack_wait_ms, struct metrics *metrics);

#endif
