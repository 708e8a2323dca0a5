/* One partition: its group gets durable. Happy path: one append, on a thread of the pool, which
 * makes records, next offset and clock durable together; the other group gathers meanwhile.
 *
 * Failure modes. The group waits for the acknowledgement of its dead letters. ERROR_BUSY,
 * ERROR_MEMORY and ERROR_NO_SPACE leave the sent group as it is, to be tried again. Any other
 * failure of the store stops the partition; what is in the group was not acknowledged to anyone and
 * is read again from Kafka by the next owner. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "ingest/consumer.h"

#define RETRY_STORE_NS   (5 * NS_PER_MS)
#define RETRY_LETTERS_NS (2 * NS_PER_MS)
#define RETRY_SPACE_NS   NS_PER_S

struct partition *partition_find(struct ingest *ingest, const char *topic, int32_t number)
{
    struct partition *last = ingest->last;

    if (last && last->number == number && strcmp(last->topic, topic) == 0)
        return last;
    for (size_t i = 0; i < ingest->partition_count; i++) {
        struct partition *partition = ingest->partitions[i];
        if (partition->number == number && strcmp(partition->topic, topic) == 0) {
            ingest->last = partition;
            return partition;
        }
    }
    return NULL;
}

bool partition_full(const struct partition *partition)
{
    return partition->group->weight_records >= CONSUMER_GROUP_RECORDS ||
           partition->group->weight_bytes >= CONSUMER_GROUP_BYTES;
}

bool partition_blocked(const struct partition *partition)
{
    return partition->wait != WAIT_NONE || partition->appending;
}

/* Whether the group that gathers has something. */
static bool partition_gathered(const struct partition *partition)
{
    int64_t sent = partition->sent ? partition->sent->next_offset : partition->next_offset;

    return partition->position > sent && !partition->stopped;
}

int64_t partition_due_ns(const struct partition *partition)
{
    const struct partition_group *group = partition->group;
    int64_t after_ns = partition->appended_ns + CONSUMER_LINGER_NS;

    if (partition->appending || partition->stopped)
        return INT64_MAX;
    if (partition->wait != WAIT_NONE)
        return partition->retry_ns;
    if (!partition_gathered(partition))
        return INT64_MAX;
    if (group->weight_bytes >= CONSUMER_GROUP_WORTH_BYTES || group->started_ns > after_ns)
        return group->started_ns;
    return after_ns;
}

bool partition_pending(const struct partition *partition)
{
    return partition->position > partition->next_offset && !partition->stopped;
}

/* Whether something was read that is not durable, decoded or not. */
static bool partition_unfinished(const struct partition *partition)
{
    return partition_pending(partition) || (partition->tasks && !partition->stopped);
}

int64_t partition_lag(const struct partition *partition)
{
    const struct partition_shared *shared = &partition->shared;
    int64_t from = shared->next_offset;

    if (shared->end_offset < 0)
        return -1;
    if (from < 0)
        from = shared->begin_offset < 0 ? 0 : shared->begin_offset;
    return shared->end_offset > from ? shared->end_offset - from : 0;
}

void partition_publish(struct partition *partition)
{
    struct ingest *ingest = partition->ingest;

    pthread_mutex_lock(&ingest->lock);
    partition->shared.next_offset = partition->next_offset;
    partition->shared.last_timestamp_ms = partition->last_timestamp_ms;
    partition->shared.paused = partition->paused;
    metric_set(partition->metrics.next_offset, (double)partition->next_offset);
    pthread_mutex_unlock(&ingest->lock);
    if (partition->clock.watermark_ms != TWCS_NO_TIME)
        metric_set(partition->metrics.watermark, (double)partition->clock.watermark_ms / 1e3);
}

static void group_empty(struct partition *partition, struct partition_group *group)
{
    partition_mark_drop(group);
    while (group->tasks) {
        struct decode_task *task = group->tasks;
        group->tasks = task->next;
        decode_task_delete(partition->ingest->pool, task);
    }
    group->record_count = 0;
    group->counts = (struct partition_counts){0};
    group->weight_records = 0;
    group->weight_bytes = 0;
    group->started_ns = 0;
    group->gap = false;
}

/* All that is not durable. An append cannot be called back: what it makes durable stays so, and is
 * counted, because nobody reads it again. */
static void groups_forget(struct partition *partition)
{
    if (partition->appending) {
        append_pool_wait(partition->ingest->appends, &partition->job);
        partition->appending = false;
        if (partition->job.code == 0) {
            partition_count_durable(partition, partition->sent, partition->job.done_wall_ms);
            partition->next_offset = partition->sent->next_offset;
            partition->mark = partition->sent->mark;
        }
    }
    partition->sent = NULL;
    group_empty(partition, &partition->groups[0]);
    group_empty(partition, &partition->groups[1]);
    if (partition->ticket && partition->ticket->outstanding > 0) {
        dead_letter_ticket_delete(partition->ticket);
        partition->ticket = NULL;
    }
}

void partition_stop(struct partition *partition, enum partition_stop_cause cause,
                    const char *format, ...)
{
    struct ingest *ingest = partition->ingest;
    char text[sizeof(partition->shared.stopped)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log_error("ingest", PARTITION_FORMAT " stopped: %s", PARTITION_NAME(partition), text);
    partition->stopped = true;
    partition->stop_cause = cause;
    partition->pause_pending = true;
    partition_wait_forget(partition);
    groups_forget(partition);
    pthread_mutex_lock(&ingest->lock);
    memcpy(partition->shared.stopped, text, sizeof(text));
    metric_set(partition->metrics.stopped, 1);
    pthread_mutex_unlock(&ingest->lock);
}

void partition_forget(struct partition *partition)
{
    partition_wait_forget(partition);
    groups_forget(partition);
    partition_drop_tasks(partition);
}

void partition_go_on(struct partition *partition)
{
    struct ingest *ingest = partition->ingest;

    partition->stopped = false;
    partition->stop_cause = STOP_NONE;
    partition->at_end = false;
    partition->read_offset = partition->position;
    pthread_mutex_lock(&ingest->lock);
    partition->shared.stopped[0] = '\0';
    partition->shared.target_offset = -1;
    metric_set(partition->metrics.stopped, 0);
    pthread_mutex_unlock(&ingest->lock);
    partition_publish(partition);
}

bool partition_held(const struct partition *partition)
{
    const struct ingest *ingest = partition->ingest;

    return ingest->held[partition->collection - ingest->config->collections];
}

/* Producers that disagree about the partitioner send versions of one id to two partitions, where
 * none can replace the other. A sample finds that soon without a lookup for each record. */
static void look_elsewhere(struct partition *partition, const struct store_record *record)
{
    struct ingest *ingest = partition->ingest;
    int64_t now_ns = io_monotonic_ns(ingest->io);
    struct metric_label label = {"collection", partition->collection->name};
    struct buffer id = {0};
    struct arena arena;
    struct doc doc;
    char name[300];

    if (!ingest->host.id_elsewhere || record->is_delete ||
        now_ns - ingest->sampled_ns < CONSUMER_SAMPLE_NS)
        return;
    ingest->sampled_ns = now_ns;
    if (!ingest->host.id_elsewhere(ingest->host.context, partition->collection, partition->shard,
                                   record->key, record->key_bytes, name, sizeof(name)))
        return;
    metric_add(metrics_counter(ingest->metrics, "windrow_ids_in_two_shards_total",
                               "Sampled ids that another shard of the collection holds too", &label,
                               1),
               1);
    if (ingest->twice_said_ns != 0 && now_ns - ingest->twice_said_ns < CONSUMER_COMPLAIN_NS)
        return;
    ingest->twice_said_ns = now_ns;
    arena_create(&arena, 0);
    doc = store_key_to_doc(record->key, record->key_bytes, &arena);
    doc_write_json(&id, &doc);
    log_warning("ingest",
                PARTITION_FORMAT " holds id %s, and so does shard %s: neither version replaces the "
                                 "other; producers must agree on the partitioner",
                PARTITION_NAME(partition), buffer_text(&id), name);
    buffer_destroy(&id);
    arena_destroy(&arena);
}

static struct store_clock store_clock_of(const struct twcs_clock *clock)
{
    return (struct store_clock){clock->watermark_ms, clock->last_record_wall_ms,
                                clock->safe_wall_ms};
}

static void append_done(struct partition *partition)
{
    struct partition_group *group = partition->sent;

    if (group->record_count > 0)
        look_elsewhere(partition, &group->records[group->record_count - 1]);
    partition_wait_ended(partition);
    partition_count_durable(partition, group, partition->job.done_wall_ms);
    partition->next_offset = group->next_offset;
    partition->mark = group->mark;
    partition->persisted_watermark_ms = group->clock.watermark_ms;
    partition->idle_persisted_ns = partition->appended_ns;
    partition->sent = NULL;
    group_empty(partition, group);
    partition_publish(partition);
}

static void append_failed(struct partition *partition, int code, const char *text)
{
    if (code == ERROR_BUSY || code == ERROR_MEMORY)
        partition_wait_for(partition, WAIT_STORE, RETRY_STORE_NS, text);
    else if (code == ERROR_NO_SPACE)
        partition_wait_for(partition, WAIT_SPACE, RETRY_SPACE_NS, text);
    else
        partition_stop(partition, STOP_STORE, "the store does not take offset %lld: %s",
                       (long long)partition->next_offset, text);
}

void partition_appended(struct partition *partition)
{
    struct append_job *job = &partition->job;

    if (!partition->appending || !append_pool_is_done(partition->ingest->appends, job))
        return;
    partition->appending = false;
    partition->appended_ns = io_monotonic_ns(partition->ingest->io);
    if (job->code == 0)
        append_done(partition);
    else
        append_failed(partition, job->code, job->error.text);
}

static void submit(struct partition *partition)
{
    const struct partition_group *group = partition->sent;

    partition->appending = true;
    partition->submitted_ns = io_monotonic_ns(partition->ingest->io);
    partition->job.shard = partition->shard;
    partition->job.group = (struct store_group){.records = group->records,
                                                .record_count = group->record_count,
                                                .next_offset = group->next_offset,
                                                .topic = group->mark,
                                                .clock = store_clock_of(&group->clock)};
    append_pool_submit(partition->ingest->appends, &partition->job);
}

/* Moves offset, mark and clock without a record; nothing may be on its way. */
static int append_nothing(struct partition *partition, int64_t next_offset,
                          struct store_topic_fingerprint mark, struct error *error)
{
    const struct store_group group = {
        .next_offset = next_offset, .topic = mark, .clock = store_clock_of(&partition->clock)};

    return store_shard_append(partition->shard, &group, error);
}

int partition_move(struct partition *partition, int64_t next_offset, struct error *error)
{
    const struct store_topic_fingerprint none = {0};
    int code;

    groups_forget(partition);
    code = append_nothing(partition, next_offset, none, error);
    if (code != 0)
        return code;
    partition->next_offset = partition->position = next_offset;
    partition->mark = none;
    partition_publish(partition);
    return 0;
}

void partition_append(struct partition *partition)
{
    struct partition_group *group = partition->group;

    if (partition->appending || partition->stopped)
        return;
    if (partition->sent) {
        submit(partition);
        return;
    }
    if (!partition_gathered(partition))
        return;
    if (partition->ticket && partition->ticket->outstanding > 0) {
        partition_wait_for(partition, WAIT_DEAD_LETTERS, RETRY_LETTERS_NS,
                           "dead letters are not acknowledged");
        return;
    }
    group->next_offset = partition->position;
    group->mark = partition_mark_make(partition);
    group->clock = partition->clock;
    partition->sent = group;
    partition->group = &partition->groups[group == &partition->groups[0]];
    submit(partition);
}

static void wait_a_moment(struct ingest *ingest)
{
    if (ingest->letters)
        dead_letters_poll(ingest->letters, 5);
    else
        usleep(5000);
    if (ingest->host.alive)
        ingest->host.alive(ingest->host.context);
}

/* The group, or the one before, is durable or waits when this returns. */
static void append_and_wait(struct partition *partition)
{
    partition_append(partition);
    if (!partition->appending)
        return;
    append_pool_wait(partition->ingest->appends, &partition->job);
    partition_appended(partition);
}

static void append_until(struct partition *partition, bool finish, int64_t limit_ns)
{
    int64_t end_ns = io_monotonic_ns(partition->ingest->io) + limit_ns;

    for (;;) {
        if (finish)
            partition_finish(partition);
        append_and_wait(partition);
        /* What waits for the clock is not waited for. */
        if (!(finish && partition->clock_wait_ns == 0 ? partition_unfinished(partition)
                                                      : partition_pending(partition)) ||
            io_monotonic_ns(partition->ingest->io) >= end_ns)
            return;
        if (partition->wait != WAIT_NONE)
            wait_a_moment(partition->ingest);
    }
}

void partition_append_for(struct partition *partition, int64_t limit_ns)
{
    append_until(partition, false, limit_ns);
}

void partition_drain(struct partition *partition, int64_t limit_ns)
{
    append_until(partition, true, limit_ns);
}

/* An idle shard whose watermark reached a window's end tells the store, so that the window closes;
 * in between seldom, because each telling is a synced write. */
static bool worth_persisting(const struct partition *partition, int64_t now_ns)
{
    const struct twcs_policy *policy = &partition->policy;
    int64_t before_ms = partition->persisted_watermark_ms;
    int64_t now_ms = partition->clock.watermark_ms;

    if (now_ms == before_ms || before_ms == TWCS_NO_TIME)
        return now_ms != before_ms;
    return now_ns - partition->idle_persisted_ns >= CONSUMER_IDLE_PERSIST_NS ||
           twcs_window_start(now_ms - policy->late_allowed_ms, policy->window_ms) !=
               twcs_window_start(before_ms - policy->late_allowed_ms, policy->window_ms);
}

/* Whether nothing is left to read, as far as anyone knows: silence while the broker is away or a
 * backlog is being read is not idleness, and the watermark must not run ahead of that backlog. */
static bool is_idle(struct partition *partition, int64_t now_ns)
{
    struct ingest *ingest = partition->ingest;
    bool known;

    if (!partition->at_end || partition_unfinished(partition) || partition->stopped)
        return false;
    pthread_mutex_lock(&ingest->lock);
    known = partition->shared.end_offset >= 0 &&
            partition->shared.end_offset <= partition->next_offset &&
            now_ns - partition->shared.end_seen_ns < 5 * NS_PER_S;
    pthread_mutex_unlock(&ingest->lock);
    return known;
}

static void persist_clock(struct partition *partition, int64_t now_ns)
{
    struct error error = {0};
    int code = append_nothing(partition, partition->next_offset, partition->mark, &error);

    if (code == 0) {
        partition->persisted_watermark_ms = partition->clock.watermark_ms;
        partition->idle_persisted_ns = now_ns;
    } else if (code != ERROR_BUSY && code != ERROR_MEMORY && code != ERROR_NO_SPACE) {
        append_failed(partition, code, error.text);
    }
    /* Else the next tick tells it. */
}

void partition_tick(struct partition *partition, int64_t wall_ms)
{
    int64_t now_ns = io_monotonic_ns(partition->ingest->io);

    if (partition->stopped)
        return;
    twcs_clock_follow(&partition->clock, wall_ms);
    if (!is_idle(partition, now_ns))
        return;
    if (twcs_clock_idle(&partition->clock, &partition->policy) &&
        worth_persisting(partition, now_ns))
        persist_clock(partition, now_ns);
}
