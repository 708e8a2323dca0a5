/* By the clock of the lane, whose log part moves with each message: what is stored depends on the
 * partition's records, and not on when they are read (twcs.h). */
#include "ingest/judge.h"

#include <stdio.h>
#include <string.h>

#include "base/text.h"

/* A record that cannot be stored. False when there is no dead-letter topic: then nothing happened.
 */
static bool bury(struct lane *lane, const rd_kafka_message_t *message,
                 const struct decode_source *source, const char *stage, const char *reason,
                 const char *text)
{
    struct dead_letter letter = {message, source->value, source->value_bytes, stage, reason, text};

    if (!lane->pipeline->letters)
        return false;
    if (!lane->ticket)
        lane->ticket = dead_letter_ticket_new();
    record_group_reject(lane->group, reason, source->value_bytes);
    record_group_refuse(lane->group, message->offset, reason);
    dead_letters_send(lane->pipeline->letters, lane->ticket, &letter);
    if (lane->pipeline->host.buried)
        lane->pipeline->host.buried(
            lane->pipeline->host.context,
            &(struct ingest_bad_record){.topic = rd_kafka_topic_name(message->rkt),
                                        .partition = message->partition,
                                        .offset = message->offset,
                                        .reason = reason,
                                        .text = text,
                                        .value = source->value,
                                        .value_bytes = source->value_bytes});
    return true;
}

static bool bury_unfit(struct lane *lane, const rd_kafka_message_t *message,
                       const struct decode_source *source, int64_t event_time_ms, bool future)
{
    char time[TEXT_TIME_BYTES];
    char limit[TEXT_TIME_BYTES];
    char text[256];
    const struct config_collection *collection = lane->name->collection;
    const struct decode_message decodable =
        decode_message_of(collection, rd_kafka_topic_name(message->rkt), message);
    struct decode_source own;
    struct arena arena;
    bool buried;

    text_format_time(event_time_ms, time);
    if (future)
        snprintf(text, sizeof(text),
                 "event time %s lies further in the future than max_future (%s)", time,
                 text_format_duration(lane->policy.max_future_ms, limit));
    else
        snprintf(text, sizeof(text), "event time %s is late: the watermark is %s", time,
                 text_format_time(lane->clock.watermark_ms, limit));
    arena_create(&arena, 0);
    own = decode_source_whole(collection, &decodable, source, &arena);
    buried = bury(lane, message, &own, "TASK_PUT", future ? "future" : "late", text);
    arena_destroy(&arena);
    return buried;
}

/* What is known of the time of a message. */
struct taken_time {
    int64_t timestamp_ms; /* Kafka's */
    int64_t stamp_ms;     /* of twcs_clock_stamp */
    int64_t wall_ms;      /* when it is read */
};

/* The lane's clock moves with it. The system's clock is asked only about a timestamp that is later than
 * the safe one, which may be frozen. */
static struct taken_time stamp(struct lane *lane, int64_t timestamp_ms, int64_t wall_ms)
{
    int64_t latest_ms = twcs_clock_follow(&lane->clock, wall_ms);

    if (timestamp_ms > latest_ms) {
        int64_t system_ms = io_wall_ms(lane->pipeline->wall);
        latest_ms = system_ms > latest_ms ? system_ms : latest_ms;
    }
    return (struct taken_time){
        timestamp_ms, twcs_clock_stamp(&lane->clock, &lane->policy, timestamp_ms, latest_ms),
        wall_ms};
}

/* False when the record needs a dead-letter topic and there is none. */
static bool judge(struct lane *lane, const rd_kafka_message_t *message,
                  const struct store_record *record, const struct decode_source *source,
                  const struct taken_time *time)
{
    struct record_outcomes *outcomes = &lane->group->outcomes;
    uint32_t dim = lane->name->collection->dim;
    int64_t log_time_ms = twcs_log_time(&lane->clock, time->stamp_ms);

    /* A delete has no event time: it is never late. */
    if (record->is_delete) {
        record_group_add(lane->group, record, dim, time->timestamp_ms, log_time_ms);
        return true;
    }
    lane->policy.ttl_ms = lane->name->collection->ttl_ms; /* a reload may have changed it */
    switch (twcs_judge(&lane->policy, &lane->clock, record->event_time_ms, record->ttl_ms,
                       time->stamp_ms)) {
    case TWCS_ACCEPT_LATE:
        outcomes->late_accepted++;
        break;
    case TWCS_ACCEPT:
        break;
    case TWCS_DROP_LATE:
        outcomes->late_dropped++;
        record_group_refuse(lane->group, message->offset, "late_dropped");
        return true;
    case TWCS_EXPIRED:
        outcomes->expired++;
        record_group_refuse(lane->group, message->offset, "expired");
        return true;
    case TWCS_DEAD_LETTER_LATE:
        if (!bury_unfit(lane, message, source, record->event_time_ms, false))
            return false;
        outcomes->late_dead_letter++;
        return true;
    case TWCS_FUTURE:
        return bury_unfit(lane, message, source, record->event_time_ms, true);
    }
    twcs_clock_observe(&lane->clock, &lane->policy, record->event_time_ms, time->stamp_ms,
                       time->wall_ms);
    record_group_add(lane->group, record, dim, time->timestamp_ms, log_time_ms);
    return true;
}

void judge_skipped(struct lane *lane, int64_t timestamp_ms, int64_t wall_ms)
{
    (void)stamp(lane, timestamp_ms, wall_ms);
}

bool judge_parts(struct lane *lane, const rd_kafka_message_t *message,
                 const struct decode_result *decoded, int64_t timestamp_ms, int64_t wall_ms)
{
    const struct taken_time time = stamp(lane, timestamp_ms, wall_ms);

    for (size_t i = 0; i < decoded->reject_count; i++) {
        const struct decode_reject *reject = &decoded->rejects[i];
        struct decode_source source = {.value = reject->value, .value_bytes = reject->value_bytes};
        if (!bury(lane, message, &source,
                  strcmp(reject->reason, "id") == 0 ? "KEY_CONVERTER" : "VALUE_CONVERTER",
                  reject->reason, reject->text))
            return false;
    }
    for (size_t i = 0; i < decoded->record_count; i++)
        if (!judge(lane, message, &decoded->records[i], &decoded->sources[i], &time))
            return false;
    return true;
}
