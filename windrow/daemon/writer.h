/* REST writes on their way into Kafka: one idempotent producer for the process, made on first use.
 */
#ifndef WINDROW_WRITER_H
#define WINDROW_WRITER_H

#include "base/error.h"
#include "base/metrics.h"
#include "config/config.h"
#include "indexer/indexer.h"

struct writer;

struct writer *writer_new(const struct config *config, struct metrics *metrics);
/** Whoever waits for Kafka gets ERROR_CANCELLED, now and from now on. What was handed to the client
 * may still arrive. Any thread. */
void writer_interrupt(struct writer *writer);
/** Nobody may be in writer_write any more. Waits a moment for what is under way. */
void writer_delete(struct writer *writer);

/** As indexer_host.write. ERROR_INVALID, and nothing is sent, when the consumer could not store one
 * of them. Any thread; several at once share the producer. */
int writer_write(struct writer *writer, const struct config_collection *collection,
                 struct indexer_write *writes, size_t count, struct error *error);

#endif
