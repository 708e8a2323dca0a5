/* One partition. Happy path: message -> records in the group -> one append, which makes records,
 * next offset and clock durable together.
 *
 * Failure modes. A bad record goes to the dead letters, and the group waits for their
 * acknowledgement. ERROR_BUSY, ERROR_MEMORY and ERROR_NO_SPACE leave the group as it is, to be
 * tried again. Any other failure of the store stops the partition; what is in the group was not
 * acknowledged to anyone and is read again from Kafka by the next owner. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/logger.h"
#include "base/text.h"
#include "ingest/consumer.h"
#include "ingest/decode.h"

#define RETRY_MEMORY_NS  (5 * NS_PER_MS)
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
    return partition->weight_records >= CONSUMER_GROUP_RECORDS ||
           partition->weight_bytes >= CONSUMER_GROUP_BYTES;
}

bool partition_pending(const struct partition *partition)
{
    return partition->position > partition->next_offset && !partition->stopped;
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
    pthread_mutex_unlock(&ingest->lock);
    if (partition->clock.watermark_ms != TWCS_NO_TIME)
        metric_set(partition->metrics.watermark, (double)partition->clock.watermark_ms / 1e3);
}

/* One huge message must not keep its memory for ever. */
static void arena_shrink(struct arena *arena)
{
    if (arena->reserved_bytes > (size_t)4 * CONSUMER_GROUP_BYTES) {
        arena_destroy(arena);
        arena_create(arena, 0);
    }
    arena_reset(arena);
}

static void group_forget(struct partition *partition)
{
    partition->record_count = 0;
    partition->weight_records = 0;
    partition->weight_bytes = 0;
    partition->started_ns = 0;
    arena_shrink(&partition->arena);
    if (partition->ticket && partition->ticket->outstanding > 0) {
        dead_letter_ticket_delete(partition->ticket);
        partition->ticket = NULL;
    }
}

void partition_stop(struct partition *partition, const char *format, ...)
{
    struct ingest *ingest = partition->ingest;
    char text[sizeof(partition->shared.stopped)];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    log_error("ingest", PARTITION_FORMAT " stopped: %s", PARTITION_NAME(partition), text);
    partition->stopped = true;
    partition->pause_pending = true;
    partition->wait = WAIT_NONE;
    group_forget(partition);
    pthread_mutex_lock(&ingest->lock);
    memcpy(partition->shared.stopped, text, sizeof(text));
    pthread_mutex_unlock(&ingest->lock);
    metric_set(partition->metrics.stopped, 1);
}

static void group_grow(struct partition *partition)
{
    size_t capacity = partition->record_capacity ? 2 * partition->record_capacity : 64;

    partition->records = realloc(partition->records, capacity * sizeof(*partition->records));
    partition->timestamps_ms =
        realloc(partition->timestamps_ms, capacity * sizeof(*partition->timestamps_ms));
    if (!partition->records || !partition->timestamps_ms)
        abort();
    partition->record_capacity = capacity;
}

static void group_add(struct partition *partition, const struct store_record *record,
                      int64_t timestamp_ms)
{
    if (partition->record_count == partition->record_capacity)
        group_grow(partition);
    partition->timestamps_ms[partition->record_count] = timestamp_ms;
    partition->records[partition->record_count++] = *record;
    partition->weight_records++;
    partition->weight_bytes += (size_t)record->key_bytes + record->payload_bytes +
                               (record->vector ? partition->collection->dim * sizeof(float) : 0);
}

/* A record that cannot be stored. False when there is no dead-letter topic: then nothing happened.
 */
static bool bury(struct partition *partition, const rd_kafka_message_t *message,
                 const struct ingest_part *part, const char *stage, const char *reason,
                 const char *text)
{
    struct dead_letter letter = {message, part->value, part->value_bytes, stage, reason, text};

    if (!partition->ingest->letters)
        return false;
    if (!partition->ticket)
        partition->ticket = dead_letter_ticket_new();
    partition->weight_records++;
    partition->weight_bytes += part->value_bytes;
    partition_count_reject(partition, reason);
    dead_letters_send(partition->ingest->letters, partition->ticket, &letter);
    return true;
}

static bool bury_unfit(struct partition *partition, const rd_kafka_message_t *message,
                       const struct ingest_part *part, int64_t event_time_ms, bool future)
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
                  const struct store_record *record, const struct ingest_part *part,
                  int64_t timestamp_ms, int64_t wall_ms)
{
    struct partition_metrics *metrics = &partition->metrics;

    /* A delete has no event time: it is never late. */
    if (record->is_delete) {
        group_add(partition, record, timestamp_ms);
        return true;
    }
    partition->policy.ttl_ms = partition->collection->ttl_ms; /* a reload may have changed it */
    switch (
        twcs_judge(&partition->policy, &partition->clock, record->event_time_ms, record->ttl_ms)) {
    case TWCS_ACCEPT_LATE:
        metric_add(metrics->late_accepted, 1);
        break;
    case TWCS_ACCEPT:
        break;
    case TWCS_DROP_LATE:
        metric_add(metrics->late_dropped, 1);
        return true;
    case TWCS_EXPIRED:
        metric_add(metrics->expired, 1);
        return true;
    case TWCS_DEAD_LETTER_LATE:
        if (!bury_unfit(partition, message, part, record->event_time_ms, false))
            return false;
        metric_add(metrics->late_dead_letter, 1);
        return true;
    case TWCS_FUTURE:
        return bury_unfit(partition, message, part, record->event_time_ms, true);
    }
    twcs_clock_observe(&partition->clock, record->event_time_ms, wall_ms);
    group_add(partition, record, timestamp_ms);
    return true;
}

static bool take_parts(struct partition *partition, const rd_kafka_message_t *message,
                       const struct ingest_decoded *decoded, int64_t timestamp_ms)
{
    int64_t wall_ms = io_wall_ms(partition->ingest->io);

    twcs_clock_tick(&partition->clock, wall_ms, false);
    for (size_t i = 0; i < decoded->reject_count; i++) {
        const struct ingest_reject *reject = &decoded->rejects[i];
        struct ingest_part part = {reject->value, reject->value_bytes};
        if (!bury(partition, message, &part,
                  strcmp(reject->reason, "id") == 0 ? "KEY_CONVERTER" : "VALUE_CONVERTER",
                  reject->reason, reject->text))
            return false;
    }
    for (size_t i = 0; i < decoded->record_count; i++)
        if (!judge(partition, message, &decoded->records[i], &decoded->parts[i], timestamp_ms,
                   wall_ms))
            return false;
    return true;
}

static const char *content_type(const rd_kafka_message_t *message)
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t size_bytes;

    if (rd_kafka_message_headers(message, &headers) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    /* librdkafka terminates header values with a zero. */
    if (rd_kafka_header_get_last(headers, "content-type", &value, &size_bytes) !=
            RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, "Content-Type", &value, &size_bytes) !=
            RD_KAFKA_RESP_ERR_NO_ERROR)
        return NULL;
    return value;
}

/* Without a dead-letter topic the first bad record stops its partition; all before it are kept. */
static void stop_at_bad_record(struct partition *partition, const rd_kafka_message_t *message,
                               const struct ingest_decoded *decoded)
{
    const char *text =
        decoded->reject_count > 0 ? decoded->rejects[0].text : "its event time is out of bounds";
    char copy[sizeof(decoded->rejects[0].text)];

    snprintf(copy, sizeof(copy), "%s", text); /* lies in the arena that the append resets */
    partition_drain(partition, CONSUMER_HAND_OVER_NS);
    partition_stop(partition,
                   "bad record at offset %lld, and kafka.dead_letters names no topic: %s",
                   (long long)message->offset, copy);
}

void partition_take(struct partition *partition, const rd_kafka_message_t *message)
{
    struct ingest *ingest = partition->ingest;
    const size_t record_count = partition->record_count;
    const struct twcs_clock clock = partition->clock;
    rd_kafka_timestamp_type_t type;
    int64_t now_ns;
    struct ingest_decoded decoded;
    struct ingest_message decodable = {
        .topic = partition->topic,
        .partition = partition->number,
        .offset = message->offset,
        .timestamp_ms = rd_kafka_message_timestamp(message, &type),
        .key = message->key,
        .key_bytes = message->key_len,
        .value = message->payload,
        .value_bytes = message->len,
    };

    /* An offset that was read before is in the group or durable. */
    if (partition->stopped || message->offset < partition->position)
        return;
    if (partition->collection->format == CONFIG_FORMAT_AUTO)
        decodable.content_type = content_type(message);
    arena_shrink(&ingest->scratch);
    decode_message(partition->collection, &decodable, &ingest->scratch, &partition->arena,
                   &decoded);
    if (!take_parts(partition, message, &decoded, decodable.timestamp_ms)) {
        partition->record_count = record_count;
        partition->clock = clock;
        stop_at_bad_record(partition, message, &decoded);
        return;
    }
    now_ns = io_monotonic_ns(ingest->io);
    if (partition->started_ns == 0 || partition->started_ns > now_ns)
        partition->started_ns = now_ns;
    partition->position = message->offset + 1;
    partition->at_end = false;
    if (decodable.timestamp_ms > 0)
        partition->last_timestamp_ms = decodable.timestamp_ms;
}

void partition_take_end(struct partition *partition, int64_t offset)
{
    if (partition->stopped)
        return;
    partition->at_end = true;
    if (offset <= partition->position)
        return;
    partition->position = offset;
    /* Nobody waits for a gap: it may start its wait later than now. */
    if (partition->started_ns == 0)
        partition->started_ns =
            io_monotonic_ns(partition->ingest->io) + CONSUMER_GAP_NS - CONSUMER_LINGER_NS;
}

/* The group stays as it is. */
static void wait_for(struct partition *partition, enum partition_wait why, int64_t retry_in_ns,
                     const char *text)
{
    int64_t now_ns = io_monotonic_ns(partition->ingest->io);

    if (partition->wait == WAIT_NONE) {
        partition->wait_since_ns = now_ns;
        /* Short waits for memory and acknowledgements are normal; a full disk never is. */
        partition->complained_ns = why == WAIT_SPACE ? now_ns - CONSUMER_COMPLAIN_NS : now_ns;
    }
    partition->wait = why;
    partition->retry_ns = now_ns + retry_in_ns;
    if (now_ns - partition->complained_ns >= CONSUMER_COMPLAIN_NS) {
        log_warning("ingest", PARTITION_FORMAT " waits at offset %lld: %s",
                    PARTITION_NAME(partition), (long long)partition->next_offset, text);
        partition->complained_ns = now_ns;
    }
}

static void wait_ended(struct partition *partition)
{
    int64_t waited_ns;

    if (partition->wait == WAIT_NONE)
        return;
    waited_ns = io_monotonic_ns(partition->ingest->io) - partition->wait_since_ns;
    metric_add(partition->metrics.stalled, (double)waited_ns / 1e9);
    if (partition->wait == WAIT_SPACE || waited_ns >= CONSUMER_COMPLAIN_NS)
        log_info("ingest", PARTITION_FORMAT " goes on after %.1f s", PARTITION_NAME(partition),
                 (double)waited_ns / 1e9);
    partition->wait = WAIT_NONE;
}

static void append_done(struct partition *partition)
{
    int64_t wall_ms = io_wall_ms(partition->ingest->io);
    size_t deleted = 0;

    wait_ended(partition);
    for (size_t i = 0; i < partition->record_count; i++) {
        int64_t age_ms = wall_ms - partition->timestamps_ms[i];
        deleted += partition->records[i].is_delete;
        if (partition->timestamps_ms[i] > 0)
            metric_observe(partition->metrics.freshness, age_ms > 0 ? (double)age_ms / 1e3 : 0);
    }
    metric_add(partition->metrics.deleted, (double)deleted);
    metric_add(partition->metrics.ingested, (double)(partition->record_count - deleted));
    partition->next_offset = partition->position;
    partition->persisted_watermark_ms = partition->clock.watermark_ms;
    partition->idle_persisted_ns = io_monotonic_ns(partition->ingest->io);
    group_forget(partition);
    partition_publish(partition);
}

static void append_group(struct partition *partition)
{
    struct store_group group = {
        .records = partition->records,
        .record_count = partition->record_count,
        .next_offset = partition->position,
        .clock = {partition->clock.watermark_ms, partition->clock.last_record_wall_ms,
                  partition->clock.safe_wall_ms},
    };
    struct error error = {0};
    int code = store_shard_append(partition->shard, &group, &error);
    bool busy = code == ERROR_BUSY || code == ERROR_MEMORY;

    if (code == 0)
        append_done(partition);
    else if ((busy || code == ERROR_NO_SPACE) && !partition_pending(partition))
        return; /* only the clock moved: the next tick tells it */
    else if (busy)
        wait_for(partition, WAIT_MEMORY, RETRY_MEMORY_NS, error.text);
    else if (code == ERROR_NO_SPACE)
        wait_for(partition, WAIT_SPACE, RETRY_SPACE_NS, error.text);
    else
        partition_stop(partition, "the store does not take offset %lld: %s",
                       (long long)partition->next_offset, error.text);
}

void partition_append(struct partition *partition)
{
    if (!partition_pending(partition))
        return;
    if (partition->ticket && partition->ticket->outstanding > 0)
        wait_for(partition, WAIT_DEAD_LETTERS, RETRY_LETTERS_NS,
                 "dead letters are not acknowledged");
    else
        append_group(partition);
}

void partition_drain(struct partition *partition, int64_t limit_ns)
{
    struct ingest *ingest = partition->ingest;
    int64_t end_ns = io_monotonic_ns(ingest->io) + limit_ns;

    partition_append(partition);
    while (partition_pending(partition) && io_monotonic_ns(ingest->io) < end_ns) {
        if (ingest->letters)
            dead_letters_poll(ingest->letters, 5);
        else
            usleep(5000);
        if (ingest->host.alive)
            ingest->host.alive(ingest->host.context);
        partition_append(partition);
    }
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

    if (!partition->at_end || partition_pending(partition) || partition->stopped)
        return false;
    pthread_mutex_lock(&ingest->lock);
    known = partition->shared.end_offset >= 0 &&
            partition->shared.end_offset <= partition->next_offset &&
            now_ns - partition->shared.end_seen_ns < 5 * NS_PER_S;
    pthread_mutex_unlock(&ingest->lock);
    return known;
}

void partition_tick(struct partition *partition, int64_t wall_ms)
{
    int64_t now_ns = io_monotonic_ns(partition->ingest->io);

    if (partition->stopped)
        return;
    twcs_clock_tick(&partition->clock, wall_ms, false);
    if (!is_idle(partition, now_ns))
        return;
    if (twcs_clock_idle(&partition->clock, &partition->policy) &&
        worth_persisting(partition, now_ns))
        append_group(partition);
}
