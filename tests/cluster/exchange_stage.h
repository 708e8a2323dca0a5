/* A node that asks others, which behave or do not, over real sockets and a real NATS server. */
#ifndef TESTS_CLUSTER_EXCHANGE_STAGE_H
#define TESTS_CLUSTER_EXCHANGE_STAGE_H

#include "net/http/http.h"
#include "tests/cluster/asker.h"

enum { NODES = 3, SHARDS = 3, TIMEOUT_MS = 20000, LATE_MS = 300 };

enum behaviour {
    GOOD,
    GARBAGE,
    UNAVAILABLE,
    OVERLOADED,
    TOO_LATE, /* its queue is longer than the time it is given */
    SLOW, /* answers when it is released; so much later that whoever asks looks for another one */
    SLOW_ONCE,
    MOVED,  /* its shards are elsewhere by now */
    PARTLY, /* has the first shard that it is asked for */
    BEHAVIOURS
};

struct fake {
    struct asker *asker; /* who asks */
    struct config config;
    struct metrics *metrics;
    struct http_server *server;
    _Atomic enum behaviour behaviour;
    atomic_uint asked;
    atomic_bool released;  /* a slow one answers */
    atomic_int ended;      /* why a slow one gave up; enum error_code */
    atomic_int timeout_ms; /* that it was given */
};

struct stage {
    struct asker asker;
    struct cluster *cluster;
    struct fake fakes[NODES];
    int64_t protocols[NODES][2]; /* oldest and newest that they announce; {0, 0}: nothing */
    int version;                 /* of announcements; 0: 1 */
    const char *address;         /* in them, a format for the port; NULL: as it is */
    int patient_ms;              /* of calls */
    atomic_bool closes;          /* a shard of the caller has to close: it cannot wait */
    /* Called when an answer without shards was taken; may be NULL. */
    void (*moved)(struct stage *stage);
    /* In which nodes announce their shards, and under which n0 and the others answer for them; 0: they do not say. */
    int32_t generation, answered_generations[2];
    void (*answered)(struct stage *stage); /* called once, before an answer is taken; may be NULL */
};

struct fake_node {
    const char *name;
    int64_t next_offset;
    uint32_t first, count;
};

/* What a call took. */
struct taken {
    struct stage *stage;
    unsigned answers, shards;
    unsigned own_shards; /* that the asking node answered for itself */
};

void stage_open(struct stage *stage);
void stage_close(struct stage *stage);

/** Starts the server of a fake node again. */
void fake_start(struct fake *fake);
void fake_close(struct fake *fake);

/** As a node of that name would announce itself, with `count` shards from `first` on. */
void stage_announce(struct stage *stage, const char *cluster, const char *node, uint16_t port,
                    int64_t next_offset, uint32_t first, uint32_t count);
/** Announces a fake under that name. */
void stage_announce_fake(struct stage *stage, int fake, struct fake_node node);
/** Announces nodes until they are heard: fake number i under the name in nodes[i]. */
void stage_announce_nodes(struct stage *stage, const struct fake_node *nodes, int count);
/** Two nodes with all shards; the first one is the freshest, so it is asked first. */
void stage_announce_both(struct stage *stage);
/** How many announcements came to that. */
int stage_outcomes(struct stage *stage, const char *outcome);
/** A metric without labels. */
int stage_gauge(struct stage *stage, const char *name);

/** Asks for all shards. The clock is stopped: nobody is slow but those who are said to be. */
struct query_peer_counts stage_call(struct stage *stage, struct taken *taken);
struct query_peer_counts stage_call_until(struct stage *stage, struct taken *taken,
                                          struct stop *stop);
/** Moves the clock while the call waits. */
struct query_peer_counts stage_call_while_time_passes(struct stage *stage, struct taken *taken);

#endif
