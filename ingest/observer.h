/* Asks the brokers, on a thread of its own, once a second and when it is told to: where each
 * partition begins and ends, which topics exist and how many partitions they have. A query may take
 * as long as a broker is away, and the poll must never wait for it.
 *
 * What it learns goes to `shared` of each partition, to the topics and to the session's view. It
 * also creates the dead-letter topic. Private to ingest/. */
#ifndef INGEST_OBSERVER_H
#define INGEST_OBSERVER_H

#include "ingest/coverage.h"
#include "ingest/partition.h"

struct observer;

/** `coverage` hears of new metadata. */
struct observer *observer_new(const struct config *config, struct topics *topics,
                              struct coverage *coverage, struct partition_list *partitions,
                              struct io *io);
/** Starts the thread. */
int observer_run(struct observer *observer, struct kafka_session *session, struct error *error);
/** Ends the thread, if there is one. NULL is allowed. */
void observer_delete(struct observer *observer);

/** Asks soon instead of within a second. With `wake`, wakes the session when that is done. Any
 * thread. */
void observer_ask(struct observer *observer, bool wake);

#endif
