/* Collections that come and go over HTTP while the service runs. Each is a file of its own beside the
 * configuration, which the next start reads like the others. */
#ifndef WINDROW_COLLECTIONS_H
#define WINDROW_COLLECTIONS_H

#include "indexer/rest/rest.h"

struct collections;
struct service;

struct collections *collections_new(struct service *service);
/** Nobody may be in its functions any more. NULL is allowed. */
void collections_delete(struct collections *collections);
/** Listens to the registry, which must exist. */
void collections_listen(struct collections *collections);
void collections_unlisten(struct collections *collections);

/** What HTTP handlers call. */
struct rest_collections collections_rest(struct collections *collections);

#endif
