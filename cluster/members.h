/* members: this process among the nodes of its cluster, over NATS. It announces itself once a second, and at once when a
 * shard comes, goes, or has read what it lacked; what others announce goes into the table (nodes.h). Inside the room only. */
#ifndef CLUSTER_MEMBERS_H
#define CLUSTER_MEMBERS_H

#include "base/arena.h"
#include "base/doc.h"
#include "cluster/cluster.h"
#include "cluster/nodes.h"

struct members;

int members_open(const struct cluster_options *options, struct members **members,
                 struct error *error);
int members_announce(struct members *members, uint16_t port, struct error *error);
void members_leave(struct members *members);
/** NULL is allowed. */
void members_close(struct members *members);

/** The other nodes. Valid as long as `members`. */
struct nodes *members_nodes(const struct members *members);

/** From now on announcements say that this node gives its shards up. Any thread. */
void members_set_draining(struct members *members);
/** Whether NATS is reached: others hear this process, and it hears them. Any thread. */
bool members_connected(struct members *members);

/** GET /cluster: {"name", "connected", "nodes": [...], "gaps": [...]}. Any thread. */
void members_describe(struct members *members, struct arena *arena, struct doc *out);

#endif
