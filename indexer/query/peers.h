/* peers: shards that other processes serve.
 *
 * A view (query.h) runs an operation on the shards that are open here and, at the same time, asks
 * peers for the rest. Who they are and how they are reached is not known here: query_peers is
 * implemented elsewhere, and a process that is asked calls query_answer.
 *
 *     operation -> query_peers.start -> one request to each node  ->  query_answer there
 *               -> local shards                                        |
 *               -> query_peers.finish -> accept(answer) for each node <-
 *               -> merged as shards of one process are
 *
 * Requests and answers are MessagePack (wire.h). An answer that is not sound is refused by accept,
 * and another owner of its shards is asked. */
#ifndef INDEXER_QUERY_PEERS_H
#define INDEXER_QUERY_PEERS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"
#include "base/error.h"
#include "base/stop.h"
#include "base/thread_pool.h"
#include "config/config.h"

/* Versions of the exchange (wire.h) that this process understands. It asks in the newest that all nodes
 * understand, and an answer has the version of its request: so a cluster is upgraded node by node.
 *
 *     2    several searches in one exchange ("searches"), windows and states of shards ("describe")
 *     3    searches by several examples ("scorer"), samples ("sample"), geo conditions of filters
 *     4    examples with weights ("weights")
 *
 * What needs a version that some node does not have is refused (wire.h: "needs"), and not answered in
 * part: an older node would leave it out without a word. */
enum {
    QUERY_PROTOCOL_OLDEST = 1,
    QUERY_PROTOCOL_SEARCHES = 2,
    QUERY_PROTOCOL_EXAMPLES = 3,
    QUERY_PROTOCOL_WEIGHTS = 4,
    QUERY_PROTOCOL_EXTRAS = 5,
    QUERY_PROTOCOL = 5
};

/* What one node answered. */
struct query_peer_answer {
    const char *node;
    const char *const *shards; /* that it was asked for */
    size_t shard_count;
    const void *body;
    size_t body_bytes;
    bool *served; /* by shard, all false: accept says which ones the answer has */
    /* Whether somebody else answers by now for the shard at that place in a newer generation of the node's consumer group
     * than the answer does: it is of no use then. Called for each shard that the answer has. NULL: nobody is known. */
    bool (*superseded)(void *asker, size_t place, int32_t generation);
    void *asker;
};

/* One exchange with every node that is needed. Stays as it is until finish has returned. */
struct query_peer_call {
    const struct config_collection *collection;
    const char *const *shards; /* names of the shards that are wanted */
    size_t shard_count;
    const void *body; /* of the request, the same for every node */
    size_t body_bytes;
    int64_t deadline_ns; /* of io_monotonic_ns */
    /* How long the next owner of a shard is waited for that everybody who could be asked has left or lost, this process
     * included; 0: only for the moment that an announcement takes. */
    int64_t patient_until_ns;
    /* Whether the caller can go on waiting for such a shard; NULL: yes. */
    bool (*may_wait)(void *context);
    struct stop *stop;        /* of the request; may be NULL */
    struct thread_pool *pool; /* whose place is given away while finish sleeps; may be NULL */
    /* Not 0: the answer is of no use, somebody else is asked. Called by finish, on its thread. */
    int (*accept)(void *context, const struct query_peer_answer *answer, struct error *error);
    void *context;
};

struct query_peer_counts {
    uint32_t asked, answered, hedged; /* requests to nodes */
};

struct query_exchange;

struct query_peers {
    void *context;
    /* Whether somebody has the shard who is not behind. */
    bool (*serves)(void *context, const struct config_collection *collection, const char *shard);
    /* Whether one of them has the shard beyond `offset`, or goes on with it: not where all of them gave it up before. */
    bool (*reaches)(void *context, const struct config_collection *collection, const char *shard,
                    int64_t offset);
    /* The newest version that everybody who may be asked understands, QUERY_PROTOCOL at most. */
    int (*protocol)(void *context);
    /* Sends and returns at once: local work goes on meanwhile. Never NULL. */
    struct query_exchange *(*start)(void *context, const struct query_peer_call *call);
    /* Waits until each shard has an answer, or nobody is left to ask, or the deadline has passed.
     * Adds to *counts. `cancel`: nobody waits for answers any more. */
    void (*finish)(struct query_exchange *exchange, bool cancel, struct query_peer_counts *counts);
};

/** Appends the body to send to a node that is asked for these shards. */
void query_peer_request(const struct query_peer_call *call, const char *const *shards,
                        size_t shard_count, struct buffer *out);

struct query_view_options;

/** Answers such a body from the shards that are open here. `options` without shards, offsets and peers, and with a
 * collection only where `config`, in which it is looked up else, is NULL; the caller is a task of its pool. Appends the answer. ERROR_INVALID: the body is not one, or of another version
 * of the protocol; ERROR_NOT_FOUND: no such collection; else as the operations. */
int query_answer(const struct config *config, const struct query_view_options *options,
                 const void *body, size_t body_bytes, struct buffer *out, struct error *error);

#endif
