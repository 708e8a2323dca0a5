/* claims: which node has a shard in which generation of its consumer group. Inside the room only.
 *
 * In an announcement, beside what announcement.h draws:
 *
 *     "group"     the consumer group; generations of different groups say nothing about each other
 *     shards      a fourth field, the generation, 0: not known; a fifth one, whether it is handed over: the node
 *                 gives it up, and answers until the next owner does; a sixth one, the end of the partition; a seventh
 *                 one, whether the node knows that others have more of it (store/registry_freshness.c)
 *     "claims"    of a collection: [[shard, generation, state, next offset, end], ...], what the node has and does not answer for:
 *                 "behind": it has not read yet what Kafka had when it came; "fenced": another node has it in a newer
 *                 generation; "unconfirmed": the node stood still, and Kafka has not answered since, or nobody else was heard
 *
 * Older versions of windrow send none of it and skip it. Of two nodes of one group the newer generation is asked.
 * Where one of the two is not known, both are, as before.
 *
 * Nothing here is remembered: a claim counts as long as it is heard. So when a group begins anew at generation 1,
 * what somebody claimed in a later one of the group before it counts until that node, whom the broker no longer
 * knows, has learnt that from it: one heartbeat. */
#ifndef CLUSTER_CLAIMS_H
#define CLUSTER_CLAIMS_H

#include "base/arena.h"
#include "base/doc.h"
#include "cluster/cluster.h"
#include "cluster/lag.h"

/* What one node has of a shard. */
struct claim {
    const char *group;  /* NULL: it did not say */
    int32_t generation; /* 0: not known */
    bool serves;        /* answers for it */
    bool handed_over;   /* is given up, and answered for until the next owner does */
};

/** Whether another claim on the same shard takes this one's place. */
bool claims_superseded(const struct claim *claims, size_t count, size_t which);

/** Whether a collection of an announcement is sound, as far as it is drawn above. */
bool claims_are_sound(const struct doc *collection);
/** The generation in an entry of "shards"; 0: not known. */
int32_t claims_generation(const struct doc *shard);
/** Whether that entry is handed over. */
bool claims_handed_over(const struct doc *shard);
/** Whether its node says that others have more. */
bool claims_late(const struct doc *shard);
/** That in which the node waits to answer for the shard; 0: it does not. */
int32_t claims_waiting(const struct doc *collection, const char *shard);

/** "claims" of this process, in `arena`. */
struct doc claims_own(const struct cluster_options *options, const char *collection,
                      struct arena *arena);
/** Fences what is claimed here in an older generation than in those collections, until then, and what is handed over
 * when they serve it. */
void claims_fence(struct store_registry *registry, const struct doc *collections, int64_t until_ns);

/** How far a node that is heard has what it serves counts until then. */
void claims_note_others(const struct cluster_options *options, const struct doc *collections,
                        int64_t until_ns);

/** How far what the node has of a claim goes; -1: nowhere, or it did not say. */
int64_t claims_next_offset(const struct doc *claim);
/** The end that Kafka told it of the partition; -1 and 0: not known. */
int64_t claims_end(const struct doc *claim);
/** [{"collection", "shard", "generation", "state", and as lags_describe}, ...] of a node's collections. */
struct doc claims_describe(const struct doc *collections, const struct lags *lags,
                           struct arena *arena);

#endif
