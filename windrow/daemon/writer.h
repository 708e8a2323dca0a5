/* REST writes on their way into Kafka: one idempotent producer for the process, made on first use.
 */
#ifndef WINDROW_WRITER_H
#define WINDROW_WRITER_H

#include "base/error.h"
#include "base/metrics.h"
#include "base/stop.h"
#include "config/config.h"
#include "indexer/endpoint/rest/rest.h"

struct writer;

struct writer *writer_new(const struct config *config, struct metrics *metrics);
/** Whoever waits for Kafka gets ERROR_CANCELLED, now and from now on. What was handed to the client
 * may still arrive. Any thread. */
void writer_interrupt(struct writer *writer);
/** Nobody may be in writer_write any more. Waits a moment for what is under way. */
void writer_delete(struct writer *writer);

/** What HTTP handlers write with. ERROR_INVALID, and nothing is sent, when the consumer could not
 * store one of the points. Several calls at once share the producer. */
struct rest_writer writer_rest(struct writer *writer);

/** Waits until Kafka has answered for all writes to the collection that had begun before: what came of them is below
 * the end of its topic. Errors of stop_check. */
int writer_settle(struct writer *writer, const struct config_collection *collection,
                  struct stop *stop, struct error *error);

/** Creates the topic when it is missing; `replication` 0: the broker's default. *made: it was missing. */
int writer_create_topic(struct writer *writer, const char *topic, int partitions, int replication,
                        bool *made, struct error *error);

#endif
