/* moved: folders of shards that moved to other nodes. They are counted, and removed when another node of the replica
 * set has served the shard for cluster.keep_moved, as far as the folder goes. A node that is alone, or hears nobody,
 * removes nothing. */
#ifndef WINDROW_MOVED_H
#define WINDROW_MOVED_H

struct service;
struct moved;

struct moved *moved_new(struct service *service);
/** NULL is allowed. */
void moved_delete(struct moved *moved);
/** Main thread, about twice a second: looks every few seconds. */
void moved_tick(struct moved *moved);

#endif
