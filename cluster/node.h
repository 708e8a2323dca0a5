/* node: another process of the cluster, as it last announced itself. Inside the room only; under the lock of nodes.
 *
 * Heard     its last announcement is less than three seconds old.
 * Silent    it is older. The node may be dead, or NATS between the two may be. It is asked where no node that is heard
 *           answers for a shard, and each answer proves that it lives. After a request that failed it is left alone for
 *           three seconds, so that a dead node costs few searches anything.
 * Gone      neither an announcement nor an answer came for half a minute in which this process could hear others. */
#ifndef CLUSTER_NODE_H
#define CLUSTER_NODE_H

#include "base/arena.h"
#include "base/doc.h"

enum { NODE_SILENCE_MS = 3000 };

/* Everything lies in its arena; it is replaced as a whole. */
struct node {
    struct node *next;
    struct arena arena;
    const char *name, *address, *version, *replica_set;
    const char *group; /* consumer group; NULL: it did not say */
    uint64_t incarnation;
    int64_t heard_ns;
    int64_t answered_ns, failed_ns; /* of requests to it while it was silent; 0: none */
    bool silent;
    bool same_host;
    bool draining;    /* gives its shards up */
    bool understands; /* requests of this process; else it is never asked */
    int64_t oldest_protocol, protocol;
    struct doc roles;
    const struct doc *collections; /* an array, checked */
};

/** What became of an announcement. */
enum node_outcome {
    NODE_TAKEN,
    NODE_MALFORMED,
    NODE_FOREIGN,   /* of another cluster */
    NODE_VERSION,   /* of an unknown version */
    NODE_DUPLICATE, /* of the name of another node */
    NODE_OUTCOMES
};

struct node *node_new(void);
void node_delete(struct node *node);

/** Whether what was announced of a collection is of the one that begins there (begin_identity of the config): one that was
 * deleted and made again has the same name. */
bool node_means(const struct doc *announced, uint64_t begin);
/** What it announced of the collection that begins there; NULL: nothing, or it does not understand what it would be
 * asked. */
const struct doc *node_collection(const struct node *node, const char *collection, uint64_t begin);
/** The entry of a shard in that; NULL: none. */
const struct doc *node_shard_in(const struct doc *collection, const char *shard);
const struct doc *node_shard(const struct node *node, const char *collection, uint64_t begin,
                             const char *shard);
/** Whether it reads Kafka, so that it has shards, or will have some. */
bool node_reads(const struct node *node);
/** Whether it is heard, reads Kafka for that replica set (NULL: for the one without a name) and does not drain. */
bool node_is_successor(const struct node *node, const char *replica_set);

/** Whether its time as a silent node is over. `deaf_ns`: when this process last could not hear anybody. */
bool node_is_gone(const struct node *node, int64_t deaf_ns, int64_t now_ns);
/** Whether it is silent, and its last request failed. */
bool node_has_failed(const struct node *node);
/** Whether it may be asked. */
bool node_may_answer(const struct node *node, int64_t now_ns);
/** Whether an answer to what it was asked then is worth waiting for. */
bool node_is_expected(const struct node *node, int64_t asked_ns, int64_t now_ns);

#endif
