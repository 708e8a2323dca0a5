/* A stage for component tests: librdkafka's mock cluster (a real TCP broker on loopback) and any
 * number of nodes, each with the real store in a folder of its own. */
#ifndef TESTS_INGEST_STAGE_H
#define TESTS_INGEST_STAGE_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <stdatomic.h>

#include "ingest/ingest.h"
#include "tests/support/test_main.h"

struct store;
struct store_shard;

enum { STAGE_DIM = 4, STAGE_WAIT_MS = 30000 };

/* Mock cluster, producer for tests and the config that all nodes share. */
struct stage {
    rd_kafka_t *client; /* idempotence off: offsets are in the order of sending */
    rd_kafka_mock_cluster_t *cluster;
    const char *topics[2];
    struct config_collection collection;
    struct config config;
    atomic_int owners[64]; /* nodes that have this shard open: never two, unless shards are kept */
    bool keeps;            /* nodes of a cluster keep what they give back */
};

/* One process's worth: store, metrics, ingest. */
struct node {
    struct stage *stage;
    struct config config; /* a copy of the stage's; may be changed before node_start */
    const char *data_dir;
    struct io *io;
    struct store *store;
    struct store_registry *registry;
    struct metrics *metrics;
    struct ingest *ingest;
    struct ingest_host copies;      /* its `fetch_worth` and `fetch` count; set before node_start */
    struct store_shard *shards[64]; /* open ones, NULL otherwise */
    atomic_int openings;            /* of shards */
    atomic_int flushes;             /* partitions given back */
    atomic_int losses;              /* lost */
};

/** Topic "points" with partitions, collection "points" of it, dead letters to "dead". */
void stage_create(struct stage *stage, int partition_count);
void stage_destroy(struct stage *stage);

/** Sends one message and waits for its acknowledgement. Headers are name, value pairs up to NULL.
 */
void stage_send(struct stage *stage, const char *topic, int partition, const char *key,
                const char *value, const char *const *headers);
/** Points with ids [from, to), spread over partitions by id; payload {"n": id}. */
void stage_send_points(struct stage *stage, int partition_count, int from, int to);

/** A store in `data_dir` and no ingest yet. */
void node_create(struct node *node, struct stage *stage, const char *data_dir);
/** Without ingest: for another node->io. */
void node_close_store(struct node *node);
/** Opens the store again, after node_close_store and a change of node->io. */
void node_open_store(struct node *node);
/** Starts ingesting; an error is a failed test. */
void node_start(struct node *node);
/** Stops ingesting; the store stays open. */
void node_stop(struct node *node);
/** Closes the store. Shards must be closed: node_stop came before. */
void node_destroy(struct node *node);

/** A data folder below the test's own, by name. */
const char *stage_directory(const char *name);

/** Polls until `done` says so; fails the test after STAGE_WAIT_MS with `what`. */
void stage_wait(bool (*done)(void *context), void *context, const char *what);
/** Until the node is ready, with everything in Kafka ingested. */
void node_wait_ready(struct node *node);
/** Until partition `number` has this durable offset. */
void node_wait_offset(struct node *node, int number, int64_t offset);
/** Status of one partition of topic "points"; false when it is not assigned. */
bool node_partition(struct node *node, int number, struct ingest_partition_status *status);
/** Waits for a partition to stop and copies why. */
void node_wait_stopped(struct node *node, int number, char text[512]);

/** Value of a counter or gauge by its full name with labels, as /metrics has it; -1: no such. */
double node_metric(struct node *node, const char *series);

/** Visible rows of the shards that lie in the node's store, read after node_stop. */
size_t node_count_rows(struct node *node, int partition_count);

#endif
