/* Tells the registry which shards each collection has: one a partition of its topics. With that a
 * process knows what it does not serve.
 *
 * Kafka's metadata is the truth. The last word of it is kept in DATA_DIR/COLLECTION.partitions, one
 * line a topic ("COUNT NAME"), so that a start without a broker knows as much. A topic that goes
 * away keeps its shards: their records can still be searched. Private to ingest/. */
#ifndef INGEST_COVERAGE_H
#define INGEST_COVERAGE_H

#include "base/io.h"
#include "ingest/topics.h"

struct store_registry;

struct coverage;

/** Tells what the files say. `topics` must be filled. */
struct coverage *coverage_new(const struct config *config, struct store_registry *registry,
                              struct topics *topics, struct io *io);
/** NULL is allowed. */
void coverage_delete(struct coverage *coverage);
/** Metadata came: tells and keeps what is new. One thread at a time. */
void coverage_update(struct coverage *coverage);

#endif
