/* deletion: where the topic of a collection ended when the collection was deleted over HTTP. Its topic stays, and a
 * collection of that name that is made again must not have its records.
 *
 *     {"topic": "news", "begin_offsets": ["20/19/9ae16a3b2f90404f", "0"]}
 *
 * The offsets are those of all partitions, as `begin_offsets` of a definition has them (config_begin_find). The
 * next collection of that name takes them over if it reads the same topic. In a cluster they are part of the entry
 * that says that the collection is deleted (definition.h). A process that is alone keeps them in
 * DATA_DIR/conf.d/NAME.deleted until the name is used again. */
#ifndef WINDROW_DELETION_H
#define WINDROW_DELETION_H

#include "base/arena.h"
#include "base/doc.h"
#include "base/error.h"
#include "base/stop.h"

struct service;

/** Asks Kafka where the topic ends, once what this process writes to the collection has arrived; in the arena. Null:
 * there is no such topic, or nothing was ever in it. ERROR_PEER: Kafka does not tell: the collection must not be
 * deleted now, for nobody could tell its records from later ones. */
int deletion_find(struct service *service, const char *name, const char *topic, struct stop *stop,
                  struct arena *arena, struct doc *ends, struct error *error);

/** Writes what was found to the file; null takes the file away. */
int deletion_keep(struct service *service, const char *name, const struct doc *ends,
                  struct error *error);
/** Reads the file, if there is one; else null. A file that cannot be understood is an error. */
int deletion_read(struct service *service, const char *name, struct arena *arena, struct doc *ends,
                  struct error *error);

#endif
