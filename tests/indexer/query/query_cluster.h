/* query_cluster: the same records in one world, and split over several that are joined by requests and
 * answers as they travel, without a network. A node may spoil what it answers. */
#ifndef TESTS_INDEXER_QUERY_QUERY_CLUSTER_H
#define TESTS_INDEXER_QUERY_QUERY_CLUSTER_H

#include <stdatomic.h>

#include "tests/indexer/query/query_world.h"

enum { SHARDS = 4, DIM = 8, IDS = 500, RECORDS = 1500, NODES_MAX = 5 };
/* Up to which others have announced a shard of which there is a late copy. */
enum { KNOWN_OFFSET = 1000000 };

static const int64_t hour_ms = 3600000;
static const int64_t start_ms = 1700000000000 / 3600000 * 3600000;

/* What a peer does to its answer. */
enum damage {
    SOUND,
    SILENT,       /* nobody answers */
    GARBAGE,      /* bytes of no meaning */
    HALF,         /* the first half of the answer */
    FLIPPED,      /* one bit of it */
    OTHER_SHARDS, /* an answer about other shards than were asked for */
    REFUSING,     /* an older version, for which the request is wrong */
    DAMAGES,
    LYING,  /* sound but for what the describer changes */
    CHANGED /* sound but for what `change` does to answers that have hits */
};

struct node {
    struct world world;
    bool owns[SHARDS];
    enum damage damage;
    int64_t clock_ahead_ms;
    bool out_of_time; /* when it is asked */
};

struct cluster {
    struct world whole; /* one process with every shard */
    struct node nodes[NODES_MAX];
    size_t node_count;
    size_t asking; /* the node whose views are tested; it asks the others */
    uint32_t refused;
    struct config config;
    struct query_peers peers;
    atomic_bool moves;        /* all who have a shard gave it up */
    atomic_bool lost;         /* nobody else has any shard */
    int protocol;             /* 0: the newest */
    int32_t newer_generation; /* somebody else has each shard in it; 0: nobody has */
    uint32_t asked;           /* nodes, with each question */
    uint32_t requests;        /* of them those that own a shard that the question is about */
    const struct query_describer *describer; /* of the nodes that are asked */
    void (*change)(struct doc *answer, struct arena *arena);
    void (*before_ask)(struct cluster *cluster); /* each node; NULL: nothing happens */
    uint64_t random;
};

uint64_t cluster_random(struct cluster *cluster);
void cluster_open(struct cluster *cluster, size_t node_count, enum vector_metric metric,
                  uint64_t seed);
/** Filled, of five nodes. Node 0 has an old copy of shard "0", by what node 4 has announced. */
void cluster_open_late(struct cluster *cluster);
void cluster_close(struct cluster *cluster);
/** Of every node, plus what each one is ahead. */
void cluster_set_clock(struct cluster *cluster, int64_t now_ms);
/** Some ids are written to two shards, as producers with two partitioners do; equal vectors make equal
 * scores. */
void cluster_fill(struct cluster *cluster);
/** world_upsert_near in both worlds that have the shard. */
void cluster_upsert_near(struct cluster *cluster, size_t shard, uint64_t id, float near);
/** The node that has the shard. */
struct node *cluster_owner(struct cluster *cluster, size_t shard);
/** Of the node that asks. `whole`: an answer without a shard is an error. */
struct query_view *cluster_view(struct cluster *cluster, bool whole);

#endif
