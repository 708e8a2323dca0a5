/* Finds producers that disagree about the partitioner: they send versions of one id to two
 * partitions, where none can replace the other. A sample of the ids taken is looked for in the other
 * shards of the collection, ten a second at most; that finds it soon without a lookup for each
 * record. Consumer thread only. Private to ingest/. */
#ifndef INGEST_DUPLICATE_IDS_H
#define INGEST_DUPLICATE_IDS_H

#include "base/io.h"
#include "base/logger.h"
#include "base/metrics.h"
#include "ingest/topics.h"

struct store_record;
struct store_registry;
struct store_shard;

struct duplicate_ids {
    struct store_registry *registry;
    struct metrics *metrics;
    struct io *io;
    int64_t sampled_ns;        /* when an id was last looked for */
    struct logger_limit limit; /* of lines about ids that were found */
};

/** Perhaps looks for the record's id, which was just stored in `own`. */
void duplicate_ids_sample(struct duplicate_ids *sample, const struct topic_partition *name,
                          const struct store_shard *own, const struct store_record *record);

/** Its series; made with the partition, so that the first id is seen as a step. */
struct metric *duplicate_ids_metric(struct metrics *metrics, const char *collection);

#endif
