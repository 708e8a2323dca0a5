/* The document behind GET /status and `windrow status`:
 *
 *   {"node", "version", "uptime_seconds", "ready", "why": text when not ready,
 *    "clock": {"safe_ms", "wall_ms", "stands", "advice": what to do when it stands, or null},
 *    "collections": [
 *      {"name", "dim", "metric", "window_ms", "paused" (by an operator), "ttl_ms",
 *       "shards": [
 *         {"shard", "topic", "partition", "next_offset", "begin_offset", "end_offset",
 * "lag_records" (-1 unknown), "watermark_ms" (null: none yet), "last_timestamp_ms", "paused",
 * "stopped" (text or null), "waiting" (for what, or null), "damage" (text or null),
 * "memtable_bytes", "log_bytes", "total_bytes",
 * "windows":
 * [{"start_ms", "end_ms", "state", "rows", "bytes", "generation", "segment": {"kind", "bytes",
 * "recall"} or null, "drop_blocked_by": text or null}]}]}]}
 *
 * topic, partition, end_offset, lag_records and paused are null for a shard that is on disk but
 * that Kafka has not assigned (yet). */
#ifndef WINDROW_STATUS_H
#define WINDROW_STATUS_H

#include "base/arena.h"
#include "base/doc.h"

struct service;

/** Builds the document in `arena`. Any thread. */
void status_build(struct service *service, struct arena *arena, struct doc *out);

/** Registers windrow_windows{collection,state}, counted at each rendering of the metrics. The last
 * rendering must end before the registry of shards goes. */
void status_register_metrics(struct service *service);

#endif
