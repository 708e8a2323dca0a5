#include "ingest/partition_metrics.h"

#include <string.h>

#include "ingest/delete_outcomes.h"
#include "ingest/duplicate_ids.h"

static const char *const wait_names[] = {
    [WAIT_NONE] = "",       [WAIT_DEAD_LETTERS] = "dead_letters",
    [WAIT_STORE] = "store", [WAIT_SPACE] = "space",
    [WAIT_CLOCK] = "clock",
};

const char *const record_reject_reasons[] = {
    "collection", "dimension", "format", "future", "id",  "late",   "memory",      "not_finite",
    "payload",    "size",      "syntax", "time",   "ttl", "vector", "zero_vector",
};
const size_t record_reject_reason_count =
    sizeof(record_reject_reasons) / sizeof(record_reject_reasons[0]);

bool record_reject_reason_known(const char *reason)
{
    size_t i = 0;

    while (i < record_reject_reason_count && strcmp(record_reject_reasons[i], reason) != 0)
        i++;
    return i < record_reject_reason_count;
}

static struct metric *late(const struct partition_metrics *series, const char *outcome)
{
    struct metric_label labels[] = {{"collection", series->collection}, {"outcome", outcome}};

    return metrics_counter(
        series->registry, "windrow_records_late_total",
        "Records behind the watermark or already expired, by what became of them", labels, 2);
}

static struct metric *rejected(const struct partition_metrics *series, const char *reason)
{
    struct metric_label labels[] = {{"collection", series->collection}, {"reason", reason}};

    return metrics_counter(series->registry, "windrow_records_rejected_total",
                           "Records that could not be stored", labels, 2);
}

void partition_metrics_create(struct partition_metrics *series, struct metrics *registry,
                              const struct topic_partition *name)
{
    struct metric_label labels[] = {{"collection", name->collection->name}, {"shard", name->shard}};

    series->registry = registry;
    series->collection = name->collection->name;
    series->ingested = metrics_counter(registry, "windrow_records_ingested_total",
                                       "Records made durable and searchable", labels, 2);
    series->superseded = metrics_counter(
        registry, "windrow_records_superseded_total",
        "Records of a batch that a later one of the same id in it replaced", labels, 2);
    series->deleted = metrics_counter(registry, "windrow_records_deleted_total",
                                      "Tombstones made durable", labels, 2);
    series->unmet =
        metrics_counter(registry, "windrow_records_unmet_total",
                        "Records that expected another version of their id than there was, and "
                        "were not stored",
                        labels, 2);
    series->late_accepted = late(series, "accepted");
    series->late_dropped = late(series, "dropped");
    series->late_dead_letter = late(series, "dead_letter");
    series->expired = late(series, "expired");
    series->lag_records = metrics_gauge(registry, "windrow_kafka_lag_records",
                                        "Records between the durable offset and the last stable "
                                        "offset of the partition",
                                        labels, 2);
    series->lag_seconds =
        metrics_gauge(registry, "windrow_kafka_lag_seconds",
                      "Age of the newest record read while the partition lags", labels, 2);
    series->watermark =
        metrics_gauge(registry, "windrow_watermark_seconds",
                      "Event time that the shard has reached, since the epoch", labels, 2);
    series->stalled = metrics_counter(registry, "windrow_ingest_wait_seconds_total",
                                      "Time a partition waited for memory, disk space, the clock "
                                      "or the acknowledgement of dead letters",
                                      labels, 2);
    series->stopped = metrics_gauge(registry, "windrow_partition_stopped",
                                    "1 while the partition is stopped by an error that only an "
                                    "operator can resolve",
                                    labels, 2);
    series->next_offset = metrics_gauge(registry, "windrow_kafka_next_offset",
                                        "Offset behind the last durable record", labels, 2);
    series->begin_offset = metrics_gauge(registry, "windrow_kafka_begin_offset",
                                         "Oldest offset that Kafka still has", labels, 2);
    series->end_offset = metrics_gauge(registry, "windrow_kafka_end_offset",
                                       "Last stable offset of the partition", labels, 2);
    series->freshness =
        metrics_histogram(registry, "windrow_freshness_seconds", "Kafka timestamp to searchable",
                          labels, 1, metrics_seconds_bounds, metrics_seconds_bound_count);
    metric_set(series->stopped, 0);
    for (size_t i = 0; i < record_reject_reason_count; i++)
        (void)rejected(series, record_reject_reasons[i]);
    (void)duplicate_ids_metric(registry, series->collection);
    for (enum store_delete_outcome outcome = 0; outcome < STORE_DELETE_OUTCOMES; outcome++)
        (void)delete_outcomes_metric(registry, series->collection, outcome);
    for (enum wait_reason why = WAIT_NONE + 1; why < WAIT_COUNT; why++) {
        struct metric_label with_reason[] = {labels[0], labels[1], {"reason", wait_names[why]}};
        series->waiting[why] = metrics_gauge(
            registry, "windrow_partition_waiting",
            "1 while the partition waits for longer than a moment, by what for", with_reason, 3);
        metric_set(series->waiting[why], 0);
    }
}

void partition_metrics_remove(struct partition_metrics *series)
{
    struct metric *const gauges[] = {series->lag_records, series->lag_seconds, series->watermark,
                                     series->stopped,     series->next_offset, series->begin_offset,
                                     series->end_offset};

    for (size_t i = 0; i < sizeof(gauges) / sizeof(gauges[0]); i++)
        metrics_remove(series->registry, gauges[i]);
    for (enum wait_reason why = WAIT_NONE + 1; why < WAIT_COUNT; why++)
        metrics_remove(series->registry, series->waiting[why]);
}

void partition_metrics_wait(const struct partition_metrics *series, enum wait_reason reason)
{
    for (enum wait_reason other = WAIT_NONE + 1; other < WAIT_COUNT; other++)
        metric_set(series->waiting[other], other == reason);
}

void partition_metrics_rejected(const struct partition_metrics *series, const char *reason,
                                size_t count)
{
    metric_add(rejected(series, reason), (double)count);
}
