/* The document behind GET /status and `windrow status`:
 *
 *   {"node", "version", "cluster": its name or null, "uptime_seconds", "ready", "why": text when not
 *    ready, "clock": {"safe_ms", "wall_ms", "stands", "advice": what to do when it stands, or null},
 *    "workers": as builds_status, "collections": [
 *      {"name", "refused": why nobody reads or writes it, or null, "dim", "metric", "window_ms", "paused" (by an operator, here), "ttl_ms",
 *       "partial", "missing": partitions without a live owner, or null: not known,
 *       "shards": [
 *         {"node" (that serves it), "shard", "topic", "partition", "next_offset", "begin_offset",
 *          "end_offset", "lag_records" (-1 unknown), "watermark_ms" (null: none yet),
 *          "last_timestamp_ms", "paused", "stopped" (text or null), "waiting" (for what, or null),
 *          "damage" (text or null), "memtable_bytes", "log_bytes", "total_bytes",
 *          "windows": [as struct query_shard_doc, "drop_blocked_by": text or null]}]}]}
 *
 * In a cluster the shards are those of all nodes, each as its owner describes it; the rest is of the
 * node that is asked. topic, partition, end_offset, lag_records and paused are null for a shard that
 * is on disk but that Kafka has not assigned (yet). */
#ifndef WINDROW_STATUS_H
#define WINDROW_STATUS_H

#include "base/arena.h"
#include "base/doc.h"
#include "base/stop.h"
#include "base/thread_pool.h"
#include "indexer/query/query.h"

struct service;

struct status_request {
    bool local;               /* this process alone */
    struct stop *stop;        /* when nobody waits any more */
    struct thread_pool *pool; /* whose place is given away while peers are asked */
};

/** Builds the document in `arena`. Any thread. */
void status_build(struct service *service, const struct status_request *request,
                  struct arena *arena, struct doc *out);

/** Describes shards of this process, also for the nodes that ask for them. */
struct query_describer status_describer(struct service *service);

#endif
