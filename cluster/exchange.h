/* exchange: asks the owners of shards and waits for their answers. Inside the room only.
 *
 * One request goes to each node that is needed, for all shards that it is asked for. libcurl keeps
 * connections alive; a call takes a set of them from the pool and gives it back. A node that cannot
 * be reached, fails or sends an answer of no use is passed over at once: the next owner of each of
 * its shards is asked. A node that takes longer than nearly all of its recent answers did is hedged:
 * another node that has the same shards is asked, too, and the first answer counts. Hedges are a
 * small share of all requests, so that an overloaded cluster is not asked for more. */
#ifndef CLUSTER_EXCHANGE_H
#define CLUSTER_EXCHANGE_H

#include "cluster/nodes.h"

struct exchanger;

struct exchanger *exchanger_new(const struct cluster_options *options, struct nodes *nodes);
/** No exchange may be under way. NULL is allowed. */
void exchanger_delete(struct exchanger *exchanger);
const struct query_peers *exchanger_peers(const struct exchanger *exchanger);

#endif
