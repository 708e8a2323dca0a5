/* describe: nodes and their shards as GET /cluster tells of them. Inside the room only. */
#ifndef CLUSTER_DESCRIBE_H
#define CLUSTER_DESCRIBE_H

#include "cluster/lag.h"
#include "cluster/node.h"

/** {"node", "address", "self", ..., "shards": [{"collection", "shard", "next_offset", "watermark_ms", "generation", and as
 * lags_describe}, ...], "claims"}, in the arena. */
struct doc describe_node(const struct node *node, int64_t now_ns, bool self,
                         const struct lags *lags, struct arena *arena);

#endif
