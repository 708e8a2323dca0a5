/* Collections that come and go over HTTP while the service runs. Each is a file of its own beside the
 * configuration, which the next start reads like the others.
 *
 * Here is what this process does about it. In a cluster shared_collections.h decides when. */
#ifndef WINDROW_COLLECTIONS_H
#define WINDROW_COLLECTIONS_H

#include "indexer/endpoint/rest/rest.h"
#include "windrow/daemon/definition.h"

struct collections;
struct service;

struct collections *collections_new(struct service *service);
/** Nobody may be in its functions any more. NULL is allowed. */
void collections_delete(struct collections *collections);
/** Listens to the registry, which must exist. */
void collections_listen(struct collections *collections);
void collections_unlisten(struct collections *collections);

/** What HTTP handlers call in a process that is alone. */
struct rest_collections collections_rest(struct collections *collections);

/** One change at a time: the functions below, except of collections_wait, are called in between. */
void collections_begin_change(struct collections *collections);
void collections_end_change(struct collections *collections);

/** The settings that a wish asks for, in the arena. */
struct doc collections_settings(const struct rest_collection_wish *wish, struct arena *arena);
/** What this process has under the name. `mine` is filled for DEFINITION_SHARED and _HALF. */
enum definition_local collections_look(struct collections *collections, const char *name,
                                       struct arena *arena, struct definition *mine);
/** Checks the definition as the next start would. ERROR_INVALID with what is wrong; ERROR_EXISTS: a file of
 * the operator has the name of the one to be written. */
int collections_check(struct collections *collections, const char *name,
                      const struct definition *definition, struct error *error);
/** The same, and makes the topic if it is missing; *made: it was. */
int collections_make_topic(struct collections *collections, const struct rest_collection_wish *wish,
                           const struct definition *definition, bool *made, struct error *error);
/** Writes the file and serves the collection. Errors as above; ERROR_BUSY: too many. */
int collections_make(struct collections *collections, const char *name,
                     const struct definition *definition, struct error *error);
/** Writes the file and applies what changes while running: the TTL. */
int collections_alter(struct collections *collections, const char *name,
                      const struct definition *definition, struct error *error);
/** Serves it no more, and removes data and file. May be called again after a failure. */
int collections_drop(struct collections *collections, const char *name, struct stop *stop,
                     struct error *error);
/** Returns when it can be searched and written through this process: in a cluster each partition has an owner
 * that answers, alone all are here and caught up. */
int collections_wait(struct collections *collections, const char *name, struct stop *stop,
                     struct error *error);

#endif
