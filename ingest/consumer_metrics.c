#include "ingest/consumer.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct metric *late(struct partition *partition, const char *outcome)
{
    struct metric_label labels[] = {{"collection", partition->collection->name},
                                    {"outcome", outcome}};

    return metrics_counter(
        partition->ingest->metrics, "windrow_records_late_total",
        "Records behind the watermark or already expired, by what became of them", labels, 2);
}

static const char *const wait_names[] = {
    [WAIT_NONE] = "",       [WAIT_DEAD_LETTERS] = "dead_letters",
    [WAIT_STORE] = "store", [WAIT_SPACE] = "space",
    [WAIT_CLOCK] = "clock",
};

void partition_metrics_create(struct partition *partition)
{
    struct metrics *metrics = partition->ingest->metrics;
    struct partition_metrics *series = &partition->metrics;
    struct metric_label labels[] = {{"collection", partition->collection->name},
                                    {"shard", partition->shard_name}};

    series->ingested = metrics_counter(metrics, "windrow_records_ingested_total",
                                       "Records made durable and searchable", labels, 2);
    series->superseded = metrics_counter(
        metrics, "windrow_records_superseded_total",
        "Records of a batch that a later one of the same id in it replaced", labels, 2);
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
                                      "Time a partition waited for memory, disk space, the clock "
                                      "or the acknowledgement of dead letters",
                                      labels, 2);
    series->stopped = metrics_gauge(metrics, "windrow_partition_stopped",
                                    "1 while the partition is stopped by an error that only an "
                                    "operator can resolve",
                                    labels, 2);
    series->next_offset = metrics_gauge(metrics, "windrow_kafka_next_offset",
                                        "Offset behind the last durable record", labels, 2);
    series->begin_offset = metrics_gauge(metrics, "windrow_kafka_begin_offset",
                                         "Oldest offset that Kafka still has", labels, 2);
    series->end_offset = metrics_gauge(metrics, "windrow_kafka_end_offset",
                                       "Last stable offset of the partition", labels, 2);
    series->freshness =
        metrics_histogram(metrics, "windrow_freshness_seconds", "Kafka timestamp to searchable",
                          labels, 1, metrics_seconds_bounds, metrics_seconds_bound_count);
    metric_set(series->stopped, 0);
    for (enum partition_wait why = WAIT_NONE + 1; why < WAIT_COUNT; why++) {
        struct metric_label with_reason[] = {labels[0], labels[1], {"reason", wait_names[why]}};
        series->waiting[why] = metrics_gauge(
            metrics, "windrow_partition_waiting",
            "1 while the partition waits for longer than a moment, by what for", with_reason, 3);
        metric_set(series->waiting[why], 0);
    }
}

void partition_metrics_remove(struct partition *partition)
{
    struct metrics *metrics = partition->ingest->metrics;
    struct partition_metrics *series = &partition->metrics;

    metrics_remove(metrics, series->lag_records);
    metrics_remove(metrics, series->lag_seconds);
    metrics_remove(metrics, series->watermark);
    metrics_remove(metrics, series->stopped);
    metrics_remove(metrics, series->next_offset);
    metrics_remove(metrics, series->begin_offset);
    metrics_remove(metrics, series->end_offset);
    for (enum partition_wait why = WAIT_NONE + 1; why < WAIT_COUNT; why++)
        metrics_remove(metrics, series->waiting[why]);
}

void partition_count_reject(struct partition *partition, const char *reason)
{
    struct partition_counts *counts = &partition->group->counts;
    size_t i = 0;

    while (i < counts->reason_count && strcmp(counts->rejects[i].reason, reason) != 0)
        i++;
    assert(i < REJECT_REASONS_MAX);
    if (i == counts->reason_count)
        counts->rejects[counts->reason_count++].reason = reason;
    counts->rejects[i].count++;
}

static int by_key(const void *a, const void *b)
{
    const struct store_record *left = a;
    const struct store_record *right = b;
    size_t size = left->key_bytes < right->key_bytes ? left->key_bytes : right->key_bytes;
    int order = memcmp(left->key, right->key, size);

    return order ? order
                 : (left->key_bytes > right->key_bytes) - (left->key_bytes < right->key_bytes);
}

/* Records of one batch that a later one of the same id replaced. The group is not needed any more:
 * it may be sorted. */
static size_t superseded_count(struct store_record *records, size_t count)
{
    size_t superseded = 0;

    for (size_t from = 0, to; from < count; from = to) {
        for (to = from + 1; to < count && records[to].offset == records[from].offset;)
            to++;
        if (to - from == 1)
            continue;
        qsort(records + from, to - from, sizeof(*records), by_key);
        for (size_t i = from + 1; i < to; i++)
            superseded += by_key(&records[i - 1], &records[i]) == 0;
    }
    return superseded;
}

static void count_rejects(const struct partition *partition, const struct partition_counts *counts)
{

    for (size_t i = 0; i < counts->reason_count; i++) {
        struct metric_label labels[] = {{"collection", partition->collection->name},
                                        {"reason", counts->rejects[i].reason}};
        metric_add(metrics_counter(partition->ingest->metrics, "windrow_records_rejected_total",
                                   "Records that could not be stored", labels, 2),
                   (double)counts->rejects[i].count);
    }
}

void partition_count_durable(struct partition *partition, struct partition_group *group,
                             int64_t wall_ms)
{
    const struct partition_metrics *series = &partition->metrics;
    const struct partition_counts *counts = &group->counts;
    size_t deleted = 0;
    size_t superseded;

    for (size_t i = 0; i < group->record_count; i++) {
        int64_t age_ms = wall_ms - group->timestamps_ms[i];
        deleted += group->records[i].is_delete;
        if (group->timestamps_ms[i] > 0)
            metric_observe(series->freshness, age_ms > 0 ? (double)age_ms / 1e3 : 0);
    }
    superseded = superseded_count(group->records, group->record_count);
    metric_add(series->deleted, (double)deleted);
    metric_add(series->superseded, (double)superseded);
    metric_add(series->ingested, (double)(group->record_count - deleted - superseded));
    metric_add(series->late_accepted, (double)counts->late_accepted);
    metric_add(series->late_dropped, (double)counts->late_dropped);
    metric_add(series->late_dead_letter, (double)counts->late_dead_letter);
    metric_add(series->expired, (double)counts->expired);
    count_rejects(partition, counts);
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
        metric_set(partition->metrics.next_offset, (double)partition->shared.next_offset);
        metric_set(partition->metrics.begin_offset, (double)partition->shared.begin_offset);
        metric_set(partition->metrics.end_offset, (double)partition->shared.end_offset);
        metric_set(partition->metrics.lag_seconds, lag > 0 && newest_ms > 0 && wall_ms > newest_ms
                                                       ? (double)(wall_ms - newest_ms) / 1e3
                                                       : 0);
    }
    pthread_mutex_unlock(&ingest->lock);
}
