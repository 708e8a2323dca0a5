/* Failure modes of an append. A shortage (error_is_shortage) leaves the sent group as it is, to be tried again. Any other failure of the store stops the lane; what is in the group was
 * not acknowledged to anyone, and the next owner reads it again from Kafka. */
#include "ingest/pipeline.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/logger.h"
#include "base/text.h"
#include "ingest/judge.h"
#include "ingest/topic_fingerprint.h"
#include "store/append.h"
#include "store/listen.h"
#include "twcs/compaction/compaction.h"

enum {
    DECODING_BYTES = 8 * 1024 * 1024,
    /* A group of this size waits for no others: its page of the log is nearly all records. */
    GROUP_WORTH_BYTES = 32 * 1024,
    LETTERS_FLUSH_MS = 2000,
};

/* A lone record is appended at once, and what comes while that is under way goes with the next
 * append. A small one begins this long after the one before: each takes a whole page of the log,
 * however few records it has. */
#define LINGER_NS NS_PER_MS
/* Without records (control records, aborted transactions) the offset moves less often. */
#define GAP_NS (200 * NS_PER_MS)
/* A refused group is tried again as soon as the store says that it has room, which wakes the
 * consumer, as acknowledged letters do. Nobody says that the disk or the system has room. */
#define RETRY_NS NS_PER_S

int pipeline_create(struct pipeline *pipeline, const struct ingest_options *options,
                    void (*wake)(void *context), void (*sleep)(void *context, int64_t limit_ns),
                    void *context, struct error *error)
{
    *pipeline = (struct pipeline){.duplicates = {.registry = options->registry,
                                                 .metrics = options->metrics,
                                                 .io = options->io},
                                  .host = options->host,
                                  .io = options->io,
                                  .wall = options->wall,
                                  .decoders = decode_pool_new(options->config->decode_threads),
                                  .appends = append_pool_new(options->io, wake, context),
                                  .sleep = sleep,
                                  .context = context};
    if (!options->config->kafka_dead_letters)
        return 0;
    return dead_letters_new(options->config, options->metrics, options->io, wake, context,
                            &pipeline->letters, error);
}

void pipeline_destroy(struct pipeline *pipeline)
{
    dead_letters_delete(pipeline->letters, LETTERS_FLUSH_MS);
    append_pool_delete(pipeline->appends);
    decode_pool_delete(pipeline->decoders);
}

bool pipeline_is_full(const struct pipeline *pipeline)
{
    return pipeline->decoding_bytes > DECODING_BYTES;
}

static int64_t now_of(const struct lane *lane)
{
    return io_monotonic_ns(lane->pipeline->io);
}

void lane_create(struct lane *lane, struct pipeline *pipeline, const struct topic_partition *name,
                 const struct partition_metrics *metrics)
{
    *lane = (struct lane){.pipeline = pipeline,
                          .name = name,
                          .metrics = metrics,
                          .policy = compaction_policy(name->collection),
                          .clock = TWCS_CLOCK_NONE,
                          .group = &lane->groups[0],
                          .read.offset = -1,
                          .position = -1,
                          .skip_offset = -1,
                          .appended_ns = INT64_MIN / 2,
                          .durable.next_offset = -1};
}

void lane_open(struct lane *lane, struct store_shard *shard)
{
    int64_t next_offset = store_shard_next_offset(shard);
    struct store_clock clock = store_shard_clock(shard);

    lane->shard = shard;
    lane->durable.next_offset = lane->position = lane->read.offset = next_offset;
    lane->durable.topic = store_shard_topic_fingerprint(shard);
    /* A shard that never stored anything has no clock yet. */
    lane->clock = next_offset < 0 ? TWCS_CLOCK_NONE : compaction_clock(&clock);
    lane->durable.watermark_ms = lane->clock.watermark_ms;
    twcs_clock_tick(&lane->clock, io_wall_ms(lane->pipeline->io), true);
}

/* What the lane waits for. */

/* The group cannot go: it stays as it is. */
static void wait_for(struct lane *lane, enum wait_reason reason, int64_t retry_in_ns,
                     const char *text)
{
    int64_t now_ns = now_of(lane);

    if (lane->wait.reason == WAIT_NONE) {
        lane->wait.since_ns = now_ns;
        /* Short waits for memory and acknowledgements are normal; a full disk never is. */
        lane->wait.complained_ns = reason == WAIT_SPACE ? now_ns - LANE_COMPLAIN_NS : now_ns;
    }
    lane->wait.reason = reason;
    lane->wait.retry_ns = retry_in_ns == INT64_MAX ? INT64_MAX : now_ns + retry_in_ns;
    snprintf(lane->wait.text, sizeof(lane->wait.text), "%s", text);
    if (now_ns - lane->wait.complained_ns < LANE_COMPLAIN_NS)
        return;
    lane->wait.complained_ns = now_ns;
    logger_write_event(LOGGER_WARNING, "ingest", "partition_waits",
                       PARTITION_FORMAT " waits at offset %lld: %s", PARTITION_NAME(lane->name),
                       (long long)lane->durable.next_offset, text);
}

static void count_wait(const struct lane *lane, int64_t since_ns, bool say)
{
    int64_t waited_ns = now_of(lane) - since_ns;

    metric_add(lane->metrics->stalled, (double)waited_ns / 1e9);
    if (say || waited_ns >= LANE_COMPLAIN_NS)
        logger_write_event(LOGGER_INFO, "ingest", "partition_continues",
                           PARTITION_FORMAT " continues after it waited %.1f s",
                           PARTITION_NAME(lane->name), (double)waited_ns / 1e9);
}

static void wait_ended(struct lane *lane)
{
    if (lane->wait.reason != WAIT_NONE)
        count_wait(lane, lane->wait.since_ns, lane->wait.reason == WAIT_SPACE);
    lane->wait.reason = WAIT_NONE;
}

/* The first record that is in the future by the lane's clock and not by `wall_ms`, or NULL. */
static const struct store_record *find_future(const struct lane *lane, int64_t wall_ms,
                                              const struct decode_result *decoded)
{
    for (size_t i = 0; i < decoded->record_count; i++)
        if (!decoded->records[i].is_delete &&
            twcs_future_waits(&lane->policy, &lane->clock, decoded->records[i].event_time_ms,
                              wall_ms))
            return &decoded->records[i];
    return NULL;
}

static void clock_wait_begins(struct lane *lane, int64_t offset, int64_t event_time_ms,
                              int64_t wall_ms)
{
    char event[TEXT_TIME_BYTES];
    char safe[TEXT_TIME_BYTES];
    char wall[TEXT_TIME_BYTES];

    snprintf(
        lane->clock_text, sizeof(lane->clock_text),
        "the record at offset %lld has event time %s. That is right by the system clock (%s) but "
        "in the future by the clock frozen at %s. It waits: correct the system clock, or run "
        "`windrow trust-clock` if it is right",
        (long long)offset, text_format_time(event_time_ms, event), text_format_time(wall_ms, wall),
        text_format_time(lane->clock.safe_wall_ms, safe));
    lane->clock_since_ns = now_of(lane);
    log_warning("ingest", PARTITION_FORMAT " waits: %s", PARTITION_NAME(lane->name),
                lane->clock_text);
}

/* Whether this message has to wait for the clock: by the wall clock its event time is fine, but the
 * clock is frozen and by that it lies in the future. As a dead letter it would be lost although
 * nothing is wrong with it. */
static bool waits_for_clock(struct lane *lane, int64_t offset, const struct decode_result *decoded)
{
    const struct store_record *record = NULL;
    int64_t wall_ms = INT64_MAX;

    /* Seldom true, so that usually no clock is read: the lane's own is never ahead. */
    if (find_future(lane, wall_ms, decoded)) {
        (void)twcs_clock_follow(&lane->clock, io_wall_ms(lane->pipeline->io));
        wall_ms = io_wall_ms(lane->pipeline->wall);
        record = find_future(lane, wall_ms, decoded);
    }
    if (record && lane->clock_since_ns == 0)
        clock_wait_begins(lane, offset, record->event_time_ms, wall_ms);
    if (!record && lane->clock_since_ns != 0) {
        count_wait(lane, lane->clock_since_ns, true);
        lane->clock_since_ns = 0;
    }
    return record != NULL;
}

/* Taking. */

static void drain(struct lane *lane, bool finish, int64_t limit_ns);

static void fail(struct lane *lane, enum lane_failure_cause cause, int64_t offset)
{
    lane->failure.cause = cause;
    lane->failure.offset = offset;
    lane_stop(lane);
}

/* Without a dead-letter topic nothing of a message with a bad part is kept, and the first one stops
 * its partition; all before it are kept, if not now then when it continues. */
static bool all_or_nothing(struct lane *lane, const rd_kafka_message_t *message,
                           const struct decode_result *decoded, int64_t timestamp_ms,
                           int64_t wall_ms)
{
    struct record_group *group = lane->group;
    const size_t record_count = group->record_count;
    const struct twcs_clock clock = lane->clock;
    const struct record_outcomes outcomes = group->outcomes;

    if (judge_parts(lane, message, decoded, timestamp_ms, wall_ms))
        return true;
    group->record_count = record_count;
    group->outcomes = outcomes;
    lane->clock = clock;
    drain(lane, false, LANE_HAND_OVER_NS);
    if (lane->stopped)
        return false; /* the store failed meanwhile */
    snprintf(lane->failure.text, sizeof(lane->failure.text),
             "bad record at offset %lld, and kafka.dead_letters names no topic: %.280s "
             "(`windrow resume --shard %.80s --skip` continues after it)",
             (long long)message->offset,
             decoded->reject_count > 0 ? decoded->rejects[0].text
                                       : "its event time is out of bounds",
             lane->name->shard);
    fail(lane, LANE_BAD_RECORD, message->offset);
    return false;
}

static void take_message(struct lane *lane, const rd_kafka_message_t *message,
                         const struct decode_result *decoded, int64_t wall_ms)
{
    rd_kafka_timestamp_type_t type;
    int64_t timestamp_ms = rd_kafka_message_timestamp(message, &type);

    if (message->offset == lane->skip_offset) {
        lane->skip_offset = -1;
        judge_skipped(lane, timestamp_ms, wall_ms);
    } else if (lane->pipeline->letters) {
        bool taken = judge_parts(lane, message, decoded, timestamp_ms, wall_ms);
        assert(taken);
        (void)taken;
    } else if (!all_or_nothing(lane, message, decoded, timestamp_ms, wall_ms)) {
        return;
    }
    if (lane->group->started_ns == 0 || lane->group->gap) {
        lane->group->started_ns = now_of(lane);
        lane->group->gap = false;
    }
    lane->position = message->offset + 1;
    lane->at_end = false;
    if (timestamp_ms > 0)
        lane->last_timestamp_ms = timestamp_ms;
}

static void take_end(struct lane *lane, int64_t offset)
{
    struct record_group *group = lane->group;

    lane->at_end = true;
    if (offset <= lane->position)
        return;
    lane->position = offset;
    /* Nobody waits for a gap: it may start its wait later than now. */
    if (group->started_ns == 0) {
        group->started_ns = now_of(lane) + GAP_NS;
        group->gap = true;
    }
}

/* Reading into tasks, and taking what they decoded. */

/* The last task, while it is open. */
static struct decode_task *open_task(struct lane *lane)
{
    struct decode_task *task = lane->read.last;

    if (task && !lane->read.submitted)
        return task;
    task = decode_task_new(lane->pipeline->decoders);
    task->collection = lane->name->collection;
    task->topic = lane->name->topic;
    task->partition = lane->name->number;
    if (lane->read.last)
        lane->read.last->next = task;
    else
        lane->read.tasks = task;
    lane->read.last = task;
    lane->read.submitted = false;
    return task;
}

void lane_submit(struct lane *lane)
{
    if (!lane->read.last || lane->read.submitted)
        return;
    lane->read.submitted = true;
    decode_pool_submit(lane->pipeline->decoders, lane->read.last);
}

bool lane_read(struct lane *lane, rd_kafka_message_t *message)
{
    struct decode_task *task;

    /* An offset that was read before is in a task, in a group, or durable. */
    if (lane->stopped || message->offset < lane->read.offset)
        return false;
    lane->read.offset = message->offset + 1;
    task = open_task(lane);
    lane->pipeline->decoding_bytes += message->len + message->key_len;
    decode_task_add(task, message);
    if (decode_task_full(task))
        lane_submit(lane);
    return true;
}

void lane_read_end(struct lane *lane, int64_t offset)
{
    if (lane->stopped)
        return;
    if (!lane->read.tasks) {
        take_end(lane, offset);
    } else {
        open_task(lane)->end_offset = offset;
        lane_submit(lane);
    }
    if (offset > lane->read.offset)
        lane->read.offset = offset;
}

/* The first task goes: into the group, which needs its records, or away. */
static void task_leave(struct lane *lane, bool keep)
{
    struct decode_task *task = lane->read.tasks;

    lane->read.tasks = task->next;
    if (!lane->read.tasks)
        lane->read.last = NULL;
    lane->pipeline->decoding_bytes -= task->bytes;
    if (keep) {
        task->next = lane->group->tasks;
        lane->group->tasks = task;
    } else {
        decode_task_delete(lane->pipeline->decoders, task);
    }
}

static void drop_tasks(struct lane *lane)
{
    while (lane->read.tasks) {
        decode_pool_finish(lane->pipeline->decoders, lane->read.tasks);
        task_leave(lane, false);
    }
}

/* The first task is decoded. False when the rest has to wait. */
static bool take_task(struct lane *lane)
{
    struct decode_task *task = lane->read.tasks;
    int64_t wall_ms = io_wall_ms(lane->pipeline->io);

    while (task->taken_count < task->message_count) {
        if (lane_full(lane) && lane->wait.reason == WAIT_NONE)
            lane_append(lane);
        if (lane_full(lane) || lane->stopped)
            return false;
        if (waits_for_clock(lane, task->messages[task->taken_count]->offset,
                            &task->decoded[task->taken_count]))
            return false;
        take_message(lane, task->messages[task->taken_count], &task->decoded[task->taken_count],
                     wall_ms);
        if (lane->stopped)
            return false;
        record_group_set_last(lane->group, decode_task_take(task));
    }
    if (task->end_offset >= 0)
        take_end(lane, task->end_offset);
    task_leave(lane, true);
    return true;
}

void lane_take(struct lane *lane, bool finish)
{
    struct decode_pool *decoders = lane->pipeline->decoders;

    while (lane->read.tasks && !lane->stopped) {
        if (finish) {
            lane->read.submitted |= lane->read.tasks == lane->read.last;
            decode_pool_finish(decoders, lane->read.tasks);
        } else if (!decode_pool_is_done(lane->read.tasks)) {
            break;
        }
        if (!take_task(lane))
            break;
    }
    if (lane->stopped)
        drop_tasks(lane);
    if (lane_full(lane) && lane->wait.reason == WAIT_NONE)
        lane_append(lane);
}

/* Appending. */

bool lane_full(const struct lane *lane)
{
    return record_group_full(lane->group);
}

bool lane_blocked(const struct lane *lane)
{
    return lane->wait.reason != WAIT_NONE || lane->appending;
}

/* Whether the group that gathers has something. */
static bool gathered(const struct lane *lane)
{
    int64_t sent = lane->sent ? lane->sent->next_offset : lane->durable.next_offset;

    return lane->position > sent && !lane->stopped;
}

/* Whether something was taken that is not durable. */
static bool pending(const struct lane *lane)
{
    return lane->position > lane->durable.next_offset && !lane->stopped;
}

bool lane_unfinished(const struct lane *lane)
{
    return pending(lane) || (lane->read.tasks && !lane->stopped);
}

static bool letters_outstanding(const struct lane *lane)
{
    return lane->ticket && lane->ticket->outstanding > 0;
}

int64_t lane_due_ns(const struct lane *lane)
{
    const struct record_group *group = lane->group;
    int64_t after_ns = lane->appended_ns + LINGER_NS;

    if (lane->appending || lane->stopped)
        return INT64_MAX;
    if (lane->wait.reason == WAIT_DEAD_LETTERS)
        return letters_outstanding(lane) ? INT64_MAX : 0;
    if (lane->wait.reason == WAIT_STORE && store_shard_room_changed(lane->shard))
        return 0;
    if (lane->wait.reason != WAIT_NONE)
        return lane->wait.retry_ns;
    if (!gathered(lane))
        return INT64_MAX;
    if (group->weight_bytes >= GROUP_WORTH_BYTES || group->started_ns > after_ns)
        return group->started_ns;
    return after_ns;
}

/* The sent group is durable. */
static void append_done(struct lane *lane)
{
    struct record_group *group = lane->sent;

    delete_outcomes_note(&lane->pipeline->deletes, lane->metrics->registry, lane->name,
                         &lane->job.deletes);
    record_group_count(group, &lane->job.unmet, lane->metrics, lane->job.done_wall_ms);
    lane->durable.next_offset = group->next_offset;
    lane->durable.topic = group->topic;
    lane->durable.watermark_ms = group->clock.watermark_ms;
    lane->durable.since_ns = lane->appended_ns;
    lane->sent = NULL;
    record_group_clear(group, lane->pipeline->decoders);
}

static void append_failed(struct lane *lane)
{
    const char *text = lane->job.error.text;

    switch (lane->job.code) {
    case ERROR_BUSY:
    case ERROR_MEMORY:
    case ERROR_NO_SPACE:
    case ERROR_NO_FILES:
        /* The clock of an idle lane does not wait: the next tick persists it. */
        if (lane->sent->next_offset == lane->durable.next_offset) {
            record_group_clear(lane->sent, lane->pipeline->decoders);
            lane->sent = NULL;
        } else {
            wait_for(lane, lane->job.code == ERROR_NO_SPACE ? WAIT_SPACE : WAIT_STORE, RETRY_NS,
                     text);
        }
        break;
    default:
        snprintf(lane->failure.text, sizeof(lane->failure.text),
                 "the store does not take offset %lld: %.400s",
                 (long long)lane->durable.next_offset, text);
        fail(lane, LANE_STORE, -1);
        break;
    }
}

void lane_take_appended(struct lane *lane)
{
    if (!lane->appending || !append_pool_is_done(lane->pipeline->appends, &lane->job))
        return;
    lane->appending = false;
    lane->appended_ns = now_of(lane);
    if (lane->job.code != 0) {
        append_failed(lane);
        return;
    }
    if (lane->sent->record_count > 0)
        duplicate_ids_sample(&lane->pipeline->duplicates, lane->name, lane->shard,
                             &lane->sent->records[lane->sent->record_count - 1]);
    wait_ended(lane);
    append_done(lane);
}

static void submit(struct lane *lane)
{
    const struct record_group *group = lane->sent;
    size_t refusal_count = group->outcomes.refusal_count;

    if (refusal_count > STORE_REFUSALS_MAX)
        refusal_count = STORE_REFUSALS_MAX;
    lane->appending = true;
    lane->submitted_ns = now_of(lane);
    lane->job.shard = lane->shard;
    lane->job.group = (struct store_group){.records = group->records,
                                           .record_count = group->record_count,
                                           .next_offset = group->next_offset,
                                           .topic = group->topic,
                                           .clock = compaction_store_clock(&group->clock),
                                           .refusals = group->refusals,
                                           .refusal_count = refusal_count,
                                           .unmet = &lane->job.unmet,
                                           .deletes = &lane->job.deletes};
    append_pool_submit(lane->pipeline->appends, &lane->job);
}

/* The group that gathers is sent as it is; the other one gathers from now on. */
static void send_group(struct lane *lane, int64_t next_offset)
{
    struct record_group *group = lane->group;

    group->next_offset = next_offset;
    group->clock = lane->clock;
    group->topic = lane->durable.topic;
    if (group->last)
        group->topic =
            (struct store_topic_fingerprint){group->last->offset, topic_fingerprint(group->last)};
    record_group_set_last(group, NULL); /* it holds all of what was fetched with it */
    lane->sent = group;
    lane->group = &lane->groups[group == &lane->groups[0]];
    submit(lane);
}

void lane_append(struct lane *lane)
{
    if (lane->appending || lane->stopped)
        return;
    if (lane->sent)
        submit(lane);
    else if (gathered(lane) && letters_outstanding(lane))
        wait_for(lane, WAIT_DEAD_LETTERS, INT64_MAX, "dead letters are not acknowledged");
    else if (gathered(lane))
        send_group(lane, lane->position);
}

void lane_persist_clock(struct lane *lane)
{
    if (!lane->sent && !lane->stopped && !gathered(lane))
        send_group(lane, lane->durable.next_offset);
}

int lane_move(struct lane *lane, int64_t next_offset, struct error *error)
{
    const struct store_group group = {.next_offset = next_offset,
                                      .clock = compaction_store_clock(&lane->clock)};
    int code;

    assert(lane->stopped);
    code = store_shard_append(lane->shard, &group, error);
    if (code != 0)
        return code;
    lane->durable.next_offset = lane->position = next_offset;
    lane->durable.topic = group.topic;
    return 0;
}

static void drain(struct lane *lane, bool finish, int64_t limit_ns)
{
    int64_t end_ns = now_of(lane) + limit_ns;

    for (;;) {
        int64_t left_ns;
        if (finish)
            lane_take(lane, true);
        lane_append(lane);
        if (lane->appending)
            append_pool_wait(lane->pipeline->appends, &lane->job);
        lane_take_appended(lane);
        left_ns = end_ns - now_of(lane);
        if (left_ns <= 0 ||
            !(finish && lane->clock_since_ns == 0 ? lane_unfinished(lane) : pending(lane)))
            return;
        if (lane->wait.reason == WAIT_NONE)
            continue;
        if (lane_due_ns(lane) != INT64_MAX && lane_due_ns(lane) - now_of(lane) < left_ns)
            left_ns = lane_due_ns(lane) - now_of(lane);
        if (left_ns > 0)
            lane->pipeline->sleep(lane->pipeline->context, left_ns);
    }
}

void lane_drain(struct lane *lane, int64_t limit_ns)
{
    drain(lane, true, limit_ns);
}

void lane_stop(struct lane *lane)
{
    lane->stopped = true;
    lane->wait.reason = WAIT_NONE;
    lane->clock_since_ns = 0;
    if (lane->appending) {
        /* It cannot be called back: what it makes durable stays so, and nobody else counts it. */
        append_pool_wait(lane->pipeline->appends, &lane->job);
        lane->appending = false;
        if (lane->job.code == 0)
            append_done(lane);
    }
    lane->sent = NULL;
    for (size_t i = 0; i < 2; i++)
        record_group_clear(&lane->groups[i], lane->pipeline->decoders);
    if (letters_outstanding(lane)) {
        dead_letter_ticket_delete(lane->ticket);
        lane->ticket = NULL;
    }
}

void lane_resume(struct lane *lane)
{
    drop_tasks(lane);
    lane->stopped = false;
    lane->failure.cause = LANE_WELL;
    lane->at_end = false;
    lane->read.offset = lane->position;
}

void lane_destroy(struct lane *lane)
{
    lane_stop(lane);
    drop_tasks(lane);
    dead_letter_ticket_delete(lane->ticket);
    for (size_t i = 0; i < 2; i++)
        record_group_destroy(&lane->groups[i], lane->pipeline->decoders);
}
