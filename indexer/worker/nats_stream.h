/* The JetStream side of the queue: connection, streams, consumer. Private to indexer/worker. */
#ifndef INDEXER_WORKER_NATS_STREAM_H
#define INDEXER_WORKER_NATS_STREAM_H

#include <nats/nats.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "indexer/worker/queue.h"

#define NATS_STREAM_SEAL_SUBJECTS "windrow.seal.>"
#define NATS_STREAM_DEAD_SUBJECTS "windrow.dead.>"

/* What the library's callback thread writes. It calls for a moment longer than the connection
 * lives; the closed callback is the last. */
struct nats_watch {
    atomic_bool doubtful; /* a reconnect or an error: look before use */
    atomic_bool closing;  /* a lost connection is wanted */
    sem_t closed;
};

struct nats_stream {
    struct queue_nats_options options;
    char *url, *name, *dead_name; /* own copies */
    natsOptions *connect_options;
    natsConnection *connection;
    struct nats_watch *watch;
    jsCtx *context;
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

bool nats_stream_connected(const struct nats_stream *stream);

/** Makes sure that both streams and the consumer exist on the server. Cheap when nothing gave
 * reason for doubt. ERROR_PEER while that cannot be had. */
int nats_stream_ensure(struct nats_stream *stream, struct error *error);

/** A new pull subscription, bound to the consumer. */
int nats_stream_subscribe(struct nats_stream *stream, natsSubscription **subscription,
                          struct error *error);

/** Somebody met an error that a lost stream may explain. */
void nats_stream_doubt(struct nats_stream *stream);

/** Messages in the work queue, -1 unknown. */
int64_t nats_stream_depth(struct nats_stream *stream);

/** Fills an error from a NATS status. */
int nats_stream_error(struct error *error, natsStatus status, jsErrCode code, const char *what);

#endif
