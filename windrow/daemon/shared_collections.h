/* Collections that come and go over HTTP in a cluster: every node comes to serve the same ones.
 *
 * A change is one conditional write to the bucket of definitions (cluster/definitions.h). Whoever
 * wins it has made the change, and only then is anything done here. Each node watches the bucket, and does
 * what definition_decide says of each entry, at its start and after every time without NATS, too. A node
 * that is asked for a change does the same with the entry it wrote: there is one way for all of them.
 *
 *     PUT     check the settings, make the topic, write the entry (409: another node was faster), serve it,
 *             wait until each partition has an owner that answers
 *     PATCH   write the entry with another TTL, apply it
 *     DELETE  write the entry without settings, which stays; drop it here
 *
 * Failure modes: NATS is away: 503, and nothing is changed, except that a topic may have been made. The
 * node dies after the write, or has no room: the change is made all the same, by the others at once and by
 * this one when it looks again (every minute, and 3 s after a failure). */
#ifndef WINDROW_SHARED_COLLECTIONS_H
#define WINDROW_SHARED_COLLECTIONS_H

#include "base/error.h"
#include "indexer/endpoint/rest/rest.h"

struct service;
struct shared_collections;

/** Follows the cluster from now on, when `http.allow_create` is on: the service reads already. */
int shared_collections_start(struct service *service, struct shared_collections *shared,
                             struct error *error);
/** Whoever waits gives up. Before ingestion stops. */
void shared_collections_stop(struct shared_collections *shared);

/** NULL: the process is alone. */
struct shared_collections *shared_collections_new(struct service *service);
/** Nobody may be in its functions any more. NULL is allowed. */
void shared_collections_delete(struct shared_collections *shared);

/** What HTTP handlers call. */
struct rest_collections shared_collections_rest(struct shared_collections *shared);

#endif
