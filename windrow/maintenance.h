/* Carries out what twcs decides: one thread flushes, the others seal, reseal, tier and drop.
 *
 *     describe (store) -> decide (twcs) -> carry out (store) -> tell the indexer what was sealed
 *
 * The watermark is ingest's: it alone knows whether a silent partition is idle or merely
 * unreachable. */
#ifndef WINDROW_MAINTENANCE_H
#define WINDROW_MAINTENANCE_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/metrics.h"
#include "indexer/indexer.h"
#include "store/registry.h"
#include "twcs/twcs.h"

struct maintenance;

struct maintenance_options {
    struct store_registry *registry;
    struct indexer *indexer;
    struct metrics *metrics;
    struct io *io;
    uint32_t job_count;              /* threads beside the flush thread */
    _Atomic int64_t *flush_alive_ns; /* heartbeat of the flush thread, for the watchdog */
};

/** A window was sealed or resealed in `seconds`: counts it and tells the indexer. Any thread. */
void maintenance_announce_seal(struct maintenance *maintenance, struct store_shard *shard,
                               const struct store_window_info *window, double seconds);

int maintenance_start(const struct maintenance_options *options, struct maintenance **maintenance,
                      struct error *error);
/** Cancels what is under way (nothing is half done) and joins the threads. */
void maintenance_stop(struct maintenance *maintenance);

#endif
