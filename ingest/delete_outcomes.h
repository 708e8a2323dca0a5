/* What deletes hit: counts it, and warns of deletes from others that named nothing, or could mean two ids.
 * windrow's own messages say exactly which id they mean: they are counted only. Consumer thread only.
 * Private to ingest/. */
#ifndef INGEST_DELETE_OUTCOMES_H
#define INGEST_DELETE_OUTCOMES_H

#include "base/logger.h"
#include "base/metrics.h"
#include "ingest/topics.h"
#include "store/files/record.h"

/* Of the process. All zero at first. */
struct delete_outcomes {
    struct logger_limit no_such_id, ambiguous; /* of lines, one a minute each */
};

/** The series of one outcome. */
struct metric *delete_outcomes_metric(struct metrics *metrics, const char *collection,
                                      enum store_delete_outcome outcome);

/** Takes note of a group that became durable; its records are as they went to the store. */
void delete_outcomes_note(struct delete_outcomes *outcomes, struct metrics *metrics,
                          const struct topic_partition *name, const struct store_deletes *deletes);

#endif
