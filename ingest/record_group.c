#include "ingest/record_group.h"
#include "base/bytes.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "store/append.h"

static void grow(struct record_group *group)
{
    size_t capacity = group->record_capacity ? 2 * group->record_capacity : 64;

    group->records = realloc(group->records, capacity * sizeof(*group->records));
    group->timestamps_ms = realloc(group->timestamps_ms, capacity * sizeof(*group->timestamps_ms));
    if (!group->records || !group->timestamps_ms)
        abort();
    group->record_capacity = capacity;
}

void record_group_add(struct record_group *group, const struct store_record *record, uint32_t dim,
                      int64_t timestamp_ms, int64_t log_time_ms)
{
    if (group->record_count == group->record_capacity)
        grow(group);
    group->timestamps_ms[group->record_count] = timestamp_ms;
    group->records[group->record_count] = *record;
    group->records[group->record_count++].log_time_ms = log_time_ms;
    group->weight_records++;
    group->weight_bytes += (size_t)record->key_bytes + record->payload_bytes +
                           (record->is_delete ? 0 : dim * sizeof(float));
}

void record_group_refuse(struct record_group *group, int64_t offset, const char *reason)
{
    if (!group->refusals)
        group->refusals = memory_new(STORE_REFUSALS_MAX, sizeof(*group->refusals));
    group->refusals[group->outcomes.refusal_count++ % STORE_REFUSALS_MAX] =
        (struct store_refusal){offset, reason};
}

void record_group_reject(struct record_group *group, const char *reason, size_t size_bytes)
{
    struct record_outcomes *outcomes = &group->outcomes;
    size_t i = 0;

    assert(record_reject_reason_known(reason));
    while (i < outcomes->reason_count && strcmp(outcomes->rejects[i].reason, reason) != 0)
        i++;
    assert(i < REJECT_REASONS_MAX);
    if (i == outcomes->reason_count)
        outcomes->rejects[outcomes->reason_count++].reason = reason;
    outcomes->rejects[i].count++;
    group->weight_records++;
    group->weight_bytes += size_bytes;
}

void record_group_set_last(struct record_group *group, rd_kafka_message_t *message)
{
    if (group->last)
        rd_kafka_message_destroy(group->last);
    group->last = message;
}

bool record_group_full(const struct record_group *group)
{
    return group->weight_records >= RECORD_GROUP_RECORDS ||
           group->weight_bytes >= RECORD_GROUP_BYTES;
}

static int by_key(const void *a, const void *b)
{
    const struct store_record *left = a;
    const struct store_record *right = b;

    return bytes_compare(left->key, left->key_bytes, right->key, right->key_bytes);
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

void record_group_count(struct record_group *group, const struct store_unmet *unmet,
                        const struct partition_metrics *series, int64_t wall_ms)
{
    const struct record_outcomes *outcomes = &group->outcomes;
    size_t deleted = 0;
    size_t superseded;

    for (size_t i = 0; i < group->record_count; i++) {
        int64_t age_ms = wall_ms - group->timestamps_ms[i];
        deleted += group->records[i].is_delete;
        if (group->timestamps_ms[i] > 0)
            metric_observe(series->freshness, age_ms > 0 ? (double)age_ms / 1e3 : 0);
    }
    superseded = superseded_count(group->records, group->record_count);
    metric_add(series->deleted, (double)(deleted - unmet->deletes));
    metric_add(series->superseded, (double)superseded);
    metric_add(series->unmet, (double)unmet->records);
    metric_add(series->ingested, (double)(group->record_count - deleted - superseded -
                                          (unmet->records - unmet->deletes)));
    metric_add(series->late_accepted, (double)outcomes->late_accepted);
    metric_add(series->late_dropped, (double)outcomes->late_dropped);
    metric_add(series->late_dead_letter, (double)outcomes->late_dead_letter);
    metric_add(series->expired, (double)outcomes->expired);
    for (size_t i = 0; i < outcomes->reason_count; i++)
        partition_metrics_rejected(series, outcomes->rejects[i].reason, outcomes->rejects[i].count);
}

void record_group_clear(struct record_group *group, struct decode_pool *decoders)
{
    record_group_set_last(group, NULL);
    while (group->tasks) {
        struct decode_task *task = group->tasks;
        group->tasks = task->next;
        decode_task_delete(decoders, task);
    }
    group->outcomes = (struct record_outcomes){0};
    group->record_count = group->weight_records = group->weight_bytes = 0;
    group->started_ns = 0;
    group->gap = false;
}

void record_group_destroy(struct record_group *group, struct decode_pool *decoders)
{
    record_group_clear(group, decoders);
    free(group->records);
    free(group->timestamps_ms);
    free(group->refusals);
}
