/* What operators ask of the consumer: pause and resume a collection, resume a stopped partition.
 *
 * An HTTP thread leaves a request and sleeps; the consumer thread, which owns all partitions,
 * serves it between two polls. One request at a time. A paused collection is a file
 * DATA_DIR/COLLECTION.paused, so that a restart does not resume what an operator stopped.
 * Private to ingest/. */
#ifndef INGEST_CONTROL_H
#define INGEST_CONTROL_H

#include "ingest/ingest.h"
#include "ingest/partition.h"

struct control;

/** Finds out which collections were paused when the process last ran. */
struct control *control_new(const struct config *config, struct io *io);
/** After control_close, or without a consumer. NULL is allowed. */
void control_delete(struct control *control);

/** Looks whether an operator paused a collection that the config has now, before it is read. Any thread. */
void control_add(struct control *control, const struct config_collection *collection);
/** See ingest_pause and ingest_resume_stopped. `session` is woken. Any thread. */
int control_pause(struct control *control, struct kafka_session *session, const char *collection,
                  bool pause, struct error *error);
int control_resume_stopped(struct control *control, struct kafka_session *session,
                           const char *collection, const char *shard, enum ingest_resume how,
                           struct error *error);
/** Whether an operator paused it. Any thread. */
bool control_is_held(struct control *control, const struct config_collection *collection);

/** Serves the request that waits; false when there is none. Consumer thread. */
bool control_serve(struct control *control, struct partition_list *partitions);
/** The consumer ends: whoever waits is told so, and nobody waits any more when this returns. */
void control_close(struct control *control);

#endif
