/* One partition: from messages to records in its group. Messages are read into tasks, decoded on
 * any thread, and taken in the order of reading: judged, then put into the group, dropped, or sent
 * to the dead letters. Nothing is taken while the group is full and waits, nor behind a message
 * that waits for the clock. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "ingest/consumer.h"

static void group_grow(struct partition_group *group)
{
    size_t capacity = group->record_capacity ? 2 * group->record_capacity : 64;

    group->records = realloc(group->records, capacity * sizeof(*group->records));
    group->timestamps_ms = realloc(group->timestamps_ms, capacity * sizeof(*group->timestamps_ms));
    if (!group->records || !group->timestamps_ms)
        abort();
    group->record_capacity = capacity;
}

static void group_add(struct partition *partition, const struct store_record *record,
                      int64_t timestamp_ms)
{
    struct partition_group *group = partition->group;

    if (group->record_count == group->record_capacity)
        group_grow(group);
    group->timestamps_ms[group->record_count] = timestamp_ms;
    group->records[group->record_count++] = *record;
    group->weight_records++;
    group->weight_bytes += (size_t)record->key_bytes + record->payload_bytes +
                           (record->vector ? partition->collection->dim * sizeof(float) : 0);
}

/* A record that cannot be stored. False when there is no dead-letter topic: then nothing happened.
 */
static bool bury(struct partition *partition, const rd_kafka_message_t *message,
                 const struct decode_source *part, const char *stage, const char *reason,
                 const char *text)
{
    struct dead_letter letter = {message, part->value, part->value_bytes, stage, reason, text};

    if (!partition->ingest->letters)
        return false;
    if (!partition->ticket)
        partition->ticket = dead_letter_ticket_new();
    partition->group->weight_records++;
    partition->group->weight_bytes += part->value_bytes;
    partition_count_reject(partition, reason);
    dead_letters_send(partition->ingest->letters, partition->ticket, &letter);
    return true;
}

static bool bury_unfit(struct partition *partition, const rd_kafka_message_t *message,
                       const struct decode_source *part, int64_t event_time_ms, bool future)
{
    char time[TEXT_TIME_BYTES];
    char limit[TEXT_TIME_BYTES];
    char text[256];

    text_format_time(event_time_ms, time);
    if (future)
        snprintf(text, sizeof(text),
                 "event time %s lies further in the future than max_future (%s)", time,
                 text_format_duration(partition->policy.max_future_ms, limit));
    else
        snprintf(text, sizeof(text), "event time %s is late: the watermark is %s", time,
                 text_format_time(partition->clock.watermark_ms, limit));
    return bury(partition, message, part, "TASK_PUT", future ? "future" : "late", text);
}

/* One good record: into the group, dropped, or to the dead letters. False when that needs a
 * dead-letter topic and there is none. */
static bool judge(struct partition *partition, const rd_kafka_message_t *message,
                  const struct store_record *record, const struct decode_source *part,
                  int64_t timestamp_ms, int64_t wall_ms)
{
    struct partition_counts *counts = &partition->group->counts;

    /* A delete has no event time: it is never late. */
    if (record->is_delete) {
        group_add(partition, record, timestamp_ms);
        return true;
    }
    partition->policy.ttl_ms = partition->collection->ttl_ms; /* a reload may have changed it */
    switch (
        twcs_judge(&partition->policy, &partition->clock, record->event_time_ms, record->ttl_ms)) {
    case TWCS_ACCEPT_LATE:
        counts->late_accepted++;
        break;
    case TWCS_ACCEPT:
        break;
    case TWCS_DROP_LATE:
        counts->late_dropped++;
        return true;
    case TWCS_EXPIRED:
        counts->expired++;
        return true;
    case TWCS_DEAD_LETTER_LATE:
        if (!bury_unfit(partition, message, part, record->event_time_ms, false))
            return false;
        counts->late_dead_letter++;
        return true;
    case TWCS_FUTURE:
        return bury_unfit(partition, message, part, record->event_time_ms, true);
    }
    twcs_clock_observe(&partition->clock, record->event_time_ms, wall_ms);
    group_add(partition, record, timestamp_ms);
    return true;
}

static bool take_parts(struct partition *partition, const rd_kafka_message_t *message,
                       const struct decode_result *decoded, int64_t timestamp_ms, int64_t wall_ms)
{
    twcs_clock_follow(&partition->clock, wall_ms);
    for (size_t i = 0; i < decoded->reject_count; i++) {
        const struct decode_reject *reject = &decoded->rejects[i];
        struct decode_source part = {reject->value, reject->value_bytes};
        if (!bury(partition, message, &part,
                  strcmp(reject->reason, "id") == 0 ? "KEY_CONVERTER" : "VALUE_CONVERTER",
                  reject->reason, reject->text))
            return false;
    }
    for (size_t i = 0; i < decoded->record_count; i++)
        if (!judge(partition, message, &decoded->records[i], &decoded->sources[i], timestamp_ms,
                   wall_ms))
            return false;
    return true;
}

/* Without a dead-letter topic the first bad record stops its partition; all before it are kept, if
 * not now then when it goes on. */
static void stop_at_bad_record(struct partition *partition, int64_t offset,
                               const struct decode_result *decoded)
{
    const char *text =
        decoded->reject_count > 0 ? decoded->rejects[0].text : "its event time is out of bounds";

    partition_append_for(partition, CONSUMER_HAND_OVER_NS);
    partition->bad_offset = offset;
    partition_stop(partition, STOP_RECORD,
                   "bad record at offset %lld, and kafka.dead_letters names no topic: %s "
                   "(`windrow resume --shard %s --skip` goes on behind it)",
                   (long long)offset, text, partition->shard_name);
}

/* Without a dead-letter topic nothing of a message with a bad part is kept. */
static bool all_or_nothing(struct partition *partition, const rd_kafka_message_t *message,
                           const struct decode_result *decoded, int64_t timestamp_ms,
                           int64_t wall_ms)
{
    struct partition_group *group = partition->group;
    const size_t record_count = group->record_count;
    const struct twcs_clock clock = partition->clock;
    const struct partition_counts counts = group->counts;

    if (take_parts(partition, message, decoded, timestamp_ms, wall_ms))
        return true;
    group->record_count = record_count;
    group->counts = counts;
    partition->clock = clock;
    stop_at_bad_record(partition, message->offset, decoded);
    return false;
}

static void take_message(struct partition *partition, const rd_kafka_message_t *message,
                         const struct decode_result *decoded, int64_t wall_ms)
{
    struct partition_group *group = partition->group;
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);

    if (message->offset == partition->skip_offset) {
        partition->skip_offset = -1;
    } else if (partition->ingest->letters) {
        bool taken = take_parts(partition, message, decoded, timestamp_ms, wall_ms);
        assert(taken);
        (void)taken;
    } else if (!all_or_nothing(partition, message, decoded, timestamp_ms, wall_ms)) {
        return;
    }
    if (group->started_ns == 0 || group->gap) {
        group->started_ns = io_monotonic_ns(partition->ingest->io);
        group->gap = false;
    }
    partition->position = message->offset + 1;
    partition->at_end = false;
    if (timestamp_ms > 0)
        partition->last_timestamp_ms = timestamp_ms;
}

/* Everything below `offset` has been read: what lies in between are control records or aborted
 * transactions. */
static void take_end(struct partition *partition, int64_t offset)
{
    struct partition_group *group = partition->group;

    partition->at_end = true;
    if (offset <= partition->position)
        return;
    partition->position = offset;
    /* Nobody waits for a gap: it may start its wait later than now. */
    if (group->started_ns == 0) {
        group->started_ns = io_monotonic_ns(partition->ingest->io) + CONSUMER_GAP_NS;
        group->gap = true;
    }
}

/* ---- tasks */

/* The last task, while it is open. */
static struct decode_task *task_for(struct partition *partition)
{
    struct decode_task *task = partition->last_task;

    if (task && !partition->submitted)
        return task;
    task = decode_task_new(partition->ingest->pool);
    task->collection = partition->collection;
    task->topic = partition->topic;
    task->partition = partition->number;
    if (partition->last_task)
        partition->last_task->next = task;
    else
        partition->tasks = task;
    partition->last_task = task;
    partition->submitted = false;
    return task;
}

void partition_submit(struct partition *partition)
{
    if (!partition->last_task || partition->submitted)
        return;
    partition->submitted = true;
    decode_pool_submit(partition->ingest->pool, partition->last_task);
}

bool partition_read(struct partition *partition, rd_kafka_message_t *message)
{
    struct decode_task *task;

    if (partition->stopped ||
        (partition->check != CHECK_DONE && !partition_mark_check(partition, message)))
        return false;
    /* An offset that was read before is in a task, in the group, or durable. */
    if (message->offset < partition->read_offset)
        return false;
    partition->read_offset = message->offset + 1;
    task = task_for(partition);
    partition->ingest->decoding_bytes += message->len + message->key_len;
    decode_task_add(task, message);
    if (decode_task_full(task))
        partition_submit(partition);
    return true;
}

void partition_read_end(struct partition *partition, int64_t offset)
{
    if (partition->stopped || partition->check == CHECK_FAILED)
        return;
    partition->check = CHECK_DONE;
    if (!partition->tasks) {
        take_end(partition, offset);
    } else {
        task_for(partition)->end_offset = offset;
        partition_submit(partition);
    }
    if (offset > partition->read_offset)
        partition->read_offset = offset;
}

/* The first task goes: into the group, which needs its records, or away. */
static void task_leave(struct partition *partition, bool keep)
{
    struct decode_task *task = partition->tasks;

    partition->tasks = task->next;
    if (!partition->tasks)
        partition->last_task = NULL;
    partition->ingest->decoding_bytes -= task->bytes;
    if (keep) {
        task->next = partition->group->tasks;
        partition->group->tasks = task;
    } else {
        decode_task_delete(partition->ingest->pool, task);
    }
}

void partition_drop_tasks(struct partition *partition)
{
    while (partition->tasks) {
        decode_pool_finish(partition->ingest->pool, partition->tasks);
        task_leave(partition, false);
    }
}

/* The first task is done. False when the rest has to wait. */
static bool take_task(struct partition *partition)
{
    struct decode_task *task = partition->tasks;
    int64_t wall_ms = io_wall_ms(partition->ingest->io);

    while (task->taken_count < task->message_count) {
        if (partition_full(partition) && partition->wait == WAIT_NONE)
            partition_append(partition);
        if (partition_full(partition) || partition->stopped)
            return false;
        if (partition_wait_for_clock(partition, task->messages[task->taken_count]->offset,
                                     &task->decoded[task->taken_count]))
            return false;
        take_message(partition, task->messages[task->taken_count],
                     &task->decoded[task->taken_count], wall_ms);
        if (partition->stopped)
            return false;
        partition_mark_keep(partition, decode_task_take(task));
    }
    if (task->end_offset >= 0)
        take_end(partition, task->end_offset);
    task_leave(partition, true);
    return true;
}

static void take_done(struct partition *partition, bool finish)
{
    struct decode_pool *pool = partition->ingest->pool;

    while (partition->tasks && !partition->stopped) {
        if (finish) {
            partition->submitted |= partition->tasks == partition->last_task;
            decode_pool_finish(pool, partition->tasks);
        } else if (!decode_pool_is_done(partition->tasks)) {
            break;
        }
        if (!take_task(partition))
            break;
    }
    if (partition->stopped)
        partition_drop_tasks(partition);
    if (partition_full(partition) && partition->wait == WAIT_NONE)
        partition_append(partition);
}

void partition_take(struct partition *partition)
{
    take_done(partition, false);
}

void partition_finish(struct partition *partition)
{
    take_done(partition, true);
}
