/* REST writes on their way into Kafka: one idempotent producer for the process, made on first use.
 */
#ifndef WINDROW_WRITER_H
#define WINDROW_WRITER_H

#include "base/error.h"
#include "base/metrics.h"
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

/** Creates the topic when it is missing; `replication` 0: the broker's default. */
int writer_create_topic(struct writer *writer, const char *topic, int partitions, int replication,
                        struct error *error);

#endif
