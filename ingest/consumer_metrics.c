#include "ingest/consumer.h"

static struct metric *late(struct partition *partition, const char *outcome)
{
    struct metric_label labels[] = {{"collection", partition->collection->name},
                                    {"outcome", outcome}};

    return metrics_counter(
        partition->ingest->metrics, "windrow_records_late_total",
        "Records behind the watermark or already expired, by what became of them", labels, 2);
}

void partition_metrics_create(struct partition *partition)
{
    struct metrics *metrics = partition->ingest->metrics;
    struct partition_metrics *series = &partition->metrics;
    struct metric_label labels[] = {{"collection", partition->collection->name},
                                    {"shard", partition->shard_name}};

    series->ingested = metrics_counter(metrics, "windrow_records_ingested_total",
                                       "Records made durable and searchable", labels, 2);
    series->deleted = metrics_counter(metrics, "windrow_records_deleted_total",
                                      "Tombstones made durable", labels, 2);
    series->late_accepted = late(partition, "accepted");
    series->late_dropped = late(partition, "dropped");
    series->late_dead_letter = late(partition, "dead_letter");
    series->expired = late(partition, "expired");
    series->lag_records = metrics_gauge(metrics, "windrow_kafka_lag_records",
                                        "Records between the durable offset and the last stable "
                                        "offset of the partition",
                                        labels, 2);
    series->lag_seconds =
        metrics_gauge(metrics, "windrow_kafka_lag_seconds",
                      "Age of the newest record read while the partition lags", labels, 2);
    series->watermark =
        metrics_gauge(metrics, "windrow_watermark_seconds",
                      "Event time that the shard has reached, since the epoch", labels, 2);
    series->stalled = metrics_counter(metrics, "windrow_ingest_wait_seconds_total",
                                      "Time a partition waited for memory, disk space or the "
                                      "acknowledgement of dead letters",
                                      labels, 2);
    series->stopped = metrics_gauge(metrics, "windrow_partition_stopped",
                                    "1 while the partition is stopped by an error that only an "
                                    "operator can resolve",
                                    labels, 2);
    series->freshness =
        metrics_histogram(metrics, "windrow_freshness_seconds", "Kafka timestamp to searchable",
                          labels, 1, metrics_seconds_bounds, metrics_seconds_bound_count);
    metric_set(series->stopped, 0);
}

void partition_metrics_remove(struct partition *partition)
{
    struct metrics *metrics = partition->ingest->metrics;
    struct partition_metrics *series = &partition->metrics;

    metrics_remove(metrics, series->lag_records);
    metrics_remove(metrics, series->lag_seconds);
    metrics_remove(metrics, series->watermark);
    metrics_remove(metrics, series->stopped);
}

void partition_count_reject(struct partition *partition, const char *reason)
{
    struct metric_label labels[] = {{"collection", partition->collection->name},
                                    {"reason", reason}};

    metric_add(metrics_counter(partition->ingest->metrics, "windrow_records_rejected_total",
                               "Records that could not be stored", labels, 2),
               1);
}

void consumer_metrics_refresh(struct ingest *ingest)
{
    int64_t wall_ms = io_wall_ms(ingest->io);

    pthread_mutex_lock(&ingest->lock);
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        int64_t lag = partition_lag(partition);
        int64_t newest_ms = partition->shared.last_timestamp_ms;
        if (lag < 0)
            continue;
        metric_set(partition->metrics.lag_records, (double)lag);
        metric_set(partition->metrics.lag_seconds, lag > 0 && newest_ms > 0 && wall_ms > newest_ms
                                                       ? (double)(wall_ms - newest_ms) / 1e3
                                                       : 0);
    }
    pthread_mutex_unlock(&ingest->lock);
}
