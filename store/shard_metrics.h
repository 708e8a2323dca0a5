/* The metric series of a shard. All are NULL without a registry, which costs nothing. */
#ifndef STORE_SHARD_METRICS_H
#define STORE_SHARD_METRICS_H

#include "base/metrics.h"

struct shard_metrics {
    struct metrics *registry;
    const char *collection, *shard; /* labels */
    struct metric *bytes_log;
    struct metric *bytes_chunk;
    struct metric *bytes_run;
    struct metric *bytes_mask;
    struct metric *bytes_manifest;
    struct metric *user_bytes;
    struct metric *fsync_seconds;
    struct metric *stall_memory_seconds;
    struct metric *stall_compaction_seconds;
    struct metric *stall_held_seconds;
    struct metric *stall_cap_seconds;
    struct metric *memtable_bytes;
    struct metric *tables;
    struct metric *compactions;
    struct metric *write_amplification;
    struct metric *space_amplification;
    struct metric *lookups;
    struct metric *lookup_reads;
};

/** The labels stay valid as long as the metrics. `registry` may be NULL. */
void shard_metrics_create(struct shard_metrics *metrics, struct metrics *registry,
                          const char *collection, const char *shard);
void shard_metrics_remove(struct shard_metrics *metrics);
/** Windows dropped for this cause ("ttl", "fifo"). */
struct metric *shard_metrics_drops(const struct shard_metrics *metrics, const char *cause);

#endif
