/* The JetStream side of the queue: streams and consumer. Private to indexer/worker. */
#ifndef INDEXER_WORKER_NATS_STREAM_H
#define INDEXER_WORKER_NATS_STREAM_H

#include <nats/nats.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "indexer/worker/queue.h"
#include "net/nats/connection.h"

enum { NATS_STREAM_FORMER_MAX = 64 };

struct nats_stream {
    struct queue_nats_options options;
    char *dead_name;                     /* own copy, as options.stream */
    char *seal_subjects, *dead_subjects; /* PREFIX.seal.>, PREFIX.dead.> */
    struct nats_connection *connection;
    _Atomic(jsCtx *) context;
    uint64_t generation; /* of the connection, that the context belongs to; under the lock */
    jsCtx *former[NATS_STREAM_FORMER_MAX]; /* that other threads may be using; under the lock */
    size_t former_count;
    pthread_mutex_t lock;       /* over checked_ms and trouble, held while setting up */
    int64_t checked_ms;         /* when the server last confirmed streams and consumer; 0 never */
    bool consumer_agreed;       /* the consumer was given our ack wait, once; under the lock */
    char trouble[256];          /* last failure of setting up, for connected() */
    _Atomic uint64_t consumers; /* how often the consumer had to be made */
};

/** Starts connecting in the background, for ever. */
int nats_stream_open(const struct queue_nats_options *options, struct nats_stream *stream,
                     struct error *error);
void nats_stream_close(struct nats_stream *stream);

/** Makes sure that both streams and the consumer exist on the server. Cheap when nothing gave
 * reason for doubt. ERROR_PEER while that cannot be had. */
int nats_stream_ensure(struct nats_stream *stream, struct error *error);

/** A new pull subscription, bound to the consumer. */
int nats_stream_subscribe(struct nats_stream *stream, natsSubscription **subscription,
                          struct error *error);

/** Messages in the work queue, -1 unknown. */
int64_t nats_stream_depth(struct nats_stream *stream);

#endif
