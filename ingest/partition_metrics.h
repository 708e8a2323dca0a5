/* The series of one partition. Handles are made once, when the partition is assigned; updates are
 * atomic, so any thread may make them. Private to ingest/. */
#ifndef INGEST_PARTITION_METRICS_H
#define INGEST_PARTITION_METRICS_H

#include "base/metrics.h"
#include "ingest/topics.h"

/* What a partition waits for. */
enum wait_reason {
    WAIT_NONE,
    WAIT_DEAD_LETTERS, /* the broker has not acknowledged them */
    WAIT_STORE,        /* flush or compaction is behind, or the byte cap is passed */
    WAIT_SPACE,        /* the disk is full */
    WAIT_CLOCK,        /* the next record is newer than the frozen clock allows */
    WAIT_COUNT
};

struct partition_metrics {
    struct metrics *registry;
    const char *collection;
    struct metric *ingested, *superseded, *deleted, *unmet;
    struct metric *late_accepted, *late_dropped, *late_dead_letter, *expired;
    struct metric *lag_records, *lag_seconds, *watermark, *stalled, *stopped;
    struct metric *next_offset, *begin_offset, *end_offset;
    struct metric *waiting[WAIT_COUNT]; /* WAIT_NONE has none */
    struct metric *freshness;
};

/* Why a record may become a dead letter: the labels `reason` of windrow_records_rejected_total and
 * windrow_dead_letters_total. There are no others. */
extern const char *const record_reject_reasons[];
extern const size_t record_reject_reason_count;

bool record_reject_reason_known(const char *reason);

void partition_metrics_create(struct partition_metrics *series, struct metrics *registry,
                              const struct topic_partition *name);
/** Takes the gauges away: another process has the partition now. Counters stay. */
void partition_metrics_remove(struct partition_metrics *series);

/** Shows what the partition waits for. */
void partition_metrics_wait(const struct partition_metrics *series, enum wait_reason reason);
/** Records that could not be stored, by reason (a literal). */
void partition_metrics_rejected(const struct partition_metrics *series, const char *reason,
                                size_t count);

#endif
