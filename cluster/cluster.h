/* cluster: processes that answer as one.
 *
 *     members.c    announcements on NATS, once a second; nodes.c is the table of who is here
 *     exchange.c   asks the owners of shards, implements struct query_peers
 *     cluster.c    the routes /internal/query and /cluster, and this header
 *
 * Nobody is told a list of nodes. A node announces itself, what it serves and how fresh that is;
 * silence of three seconds removes it. A node only calls addresses that were announced under its own
 * cluster's name. */
#ifndef CLUSTER_CLUSTER_H
#define CLUSTER_CLUSTER_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/io.h"
#include "base/metrics.h"
#include "config/config.h"
#include "indexer/query/query.h"

struct cluster;
struct http_server;

struct cluster_options {
    const struct config *config; /* with cluster.name and nats.url */
    unsigned roles;              /* of this process, CONFIG_ROLE_* */
    struct store_registry *registry;
    struct metrics *metrics;
    struct io *io;
    const struct query_describer *describer; /* of the shards of this process; may be NULL */
};

/** Connects to NATS in the background; a server that does not answer is retried for ever. */
int cluster_open(const struct cluster_options *options, struct cluster **cluster,
                 struct error *error);
/** Before the server starts. */
void cluster_add_routes(struct cluster *cluster, struct http_server *server);
/** Tells the others about this process. `port`: where it listens. */
int cluster_announce(struct cluster *cluster, uint16_t port, struct error *error);
/** Says goodbye: the others ask somebody else from now on. */
void cluster_leave(struct cluster *cluster);
/** Whether NATS is reached. Any thread. */
bool cluster_connected(const struct cluster *cluster);
/** Whether there is somebody to ask: a node that reads Kafka is heard, or one that was heard answers still. Any thread. */
bool cluster_reaches_readers(const struct cluster *cluster);
/** Whether this process can hand its shards over: ERROR_INVALID with the reason when nobody is there for it. From
 * then on it says that it drains. Any thread. */
int cluster_drain(struct cluster *cluster, struct error *error);
/** Other nodes that may take shards of this one over. Any thread. */
size_t cluster_successors(struct cluster *cluster);
/** Whether one of them serves the shard up to `next_offset` at least. Any thread. */
bool cluster_taken_over(struct cluster *cluster, const char *collection, const char *shard,
                        int64_t next_offset);
/** Whether a node of any replica set serves the shard, goes on with it, and has something from `next_offset` on. Any
 * thread. */
bool cluster_ahead(struct cluster *cluster, const char *collection, const char *shard,
                   int64_t next_offset);
/* A copy of a shard that is wanted from another node. */
struct cluster_fetch {
    const struct config_collection *collection;
    const char *shard;
    int64_t next_offset;       /* what is here already ends there; -1: nothing is */
    const atomic_bool *cancel; /* true: it ends within a second */
};

/** The offset that another node has reached which is so far ahead (cluster.snapshot_records) that its copy
 * should be fetched; -1: none is. Any thread. */
int64_t cluster_fetch_worth(struct cluster *cluster, const char *collection, const char *shard,
                            int64_t next_offset);
/** Fetches and verifies the copy of the freshest owner, or of the next one. `folder` (PATH_MAX) is for
 * store_shard_install, or store_folder_remove. ERROR_NOT_FOUND and others: no copy can be used, and the
 * log says of each why. Any thread. */
int cluster_fetch_shard(struct cluster *cluster, const struct cluster_fetch *fetch, char *folder,
                        struct error *error);
/** About twice a second: removes copies that were made for other nodes which do not ask for them any more. Any thread. */
void cluster_tick(struct cluster *cluster);
/** The HTTP server must have stopped. NULL is allowed. */
void cluster_close(struct cluster *cluster);

/** Whom views ask for the shards that are not open here; valid until close. */
const struct query_peers *cluster_peers(const struct cluster *cluster);

#endif
