/* A range of a partition, read again beside the consumer: for windows that are rebuilt.
 *
 * A client of its own with the partition assigned by hand: it joins no group and commits nothing.
 * The range ends where the next message lies behind it, or at the partition's end (control records
 * and aborted transactions take offsets that are never delivered). Reading begins earlier, for the
 * records that expect a version: recent_ids.h. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "ingest/decode_pool.h"
#include "ingest/ingest.h"
#include "ingest/kafka_conf.h"
#include "ingest/recent_ids.h"
#include "ingest/topic_fingerprint.h"
#include "ingest/topics.h"
#include "twcs/compaction/compaction.h"

enum { ASK_TIMEOUT_MS = 15000, POLL_MS = 100, SILENCE_MAX_MS = 60000 };

struct replay_job {
    const struct ingest_replay *replay;
    ingest_replay_function take;
    void *context;
    rd_kafka_t *client;
    struct topic_partition name;
    struct twcs_policy policy;
    struct twcs_clock clock; /* as it was when the messages came, as far as they tell */
    struct recent_ids recent;
    int64_t begin_offset; /* of reading: at or before the range */
    int64_t next_offset;
    struct arena arena;
    struct store_record *records; /* of one message that were taken */
    size_t capacity;
};

static int open_client(struct replay_job *job, struct error *error)
{
    rd_kafka_conf_t *conf;
    int code = kafka_conf_new(job->replay->config, KAFKA_CONSUMER, job, &conf, error);

    if (code == 0)
        code = kafka_client_new(RD_KAFKA_CONSUMER, conf, &job->client, error);
    if (code == 0)
        (void)rd_kafka_poll_set_consumer(job->client);
    return code;
}

static int check_range(struct replay_job *job, struct error *error)
{
    const struct ingest_replay *replay = job->replay;
    int64_t low = -1, high = -1;
    struct config_begin begin;
    rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
        job->client, job->name.topic, job->name.number, &low, &high, ASK_TIMEOUT_MS);

    if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        return error_set(error, ERROR_PEER, "%s [%d]: %s", job->name.topic, job->name.number,
                         rd_kafka_err2str(code));
    if (low > replay->from_offset)
        return error_set(error, ERROR_NOT_FOUND,
                         "%s [%d]: offset %lld is needed, but Kafka begins at %lld (retention "
                         "passed it)",
                         job->name.topic, job->name.number, (long long)replay->from_offset,
                         (long long)low);
    if (high < replay->to_offset)
        return error_set(error, ERROR_NOT_FOUND,
                         "%s [%d]: offsets up to %lld are needed, but Kafka ends at %lld (was the "
                         "topic recreated?)",
                         job->name.topic, job->name.number, (long long)replay->to_offset,
                         (long long)high);
    job->begin_offset = replay->from_offset - DECODE_EXPECTS_DISTANCE_MAX;
    if (config_begin_find(replay->collection, job->name.number, &begin) &&
        begin.offset <= replay->from_offset && job->begin_offset < begin.offset)
        job->begin_offset = begin.offset; /* of a former collection */
    if (job->begin_offset < low)
        job->begin_offset = low;
    return 0;
}

static int assign(const struct replay_job *job, struct error *error)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t code;

    rd_kafka_topic_partition_list_add(list, job->name.topic, job->name.number)->offset =
        job->begin_offset;
    code = rd_kafka_assign(job->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? 0
               : error_set(error, ERROR_PEER, "%s [%d]: %s", job->name.topic, job->name.number,
                           rd_kafka_err2str(code));
}

/* Whether ingestion took it. */
static bool was_taken(struct replay_job *job, const struct store_record *record, int64_t stamp_ms)
{
    if (record->is_delete)
        return recent_ids_take(&job->recent, record);
    switch (
        twcs_judge(&job->policy, &job->clock, record->event_time_ms, record->ttl_ms, stamp_ms)) {
    case TWCS_ACCEPT:
    case TWCS_ACCEPT_LATE:
        twcs_clock_observe(&job->clock, &job->policy, record->event_time_ms, stamp_ms,
                           job->clock.safe_wall_ms);
        return recent_ids_take(&job->recent, record);
    case TWCS_DROP_LATE:
    case TWCS_DEAD_LETTER_LATE:
    case TWCS_EXPIRED:
    case TWCS_FUTURE:
        break;
    }
    return false;
}

/* A delete of two ids hits the first if it lived, else the second. An id that came before what is
 * remembered may have lived or not: then both go, which is right unless both lived. Returns how many
 * records there are now. */
static size_t split_delete(const struct replay_job *job, const struct store_record *record,
                           struct store_record out[2])
{
    bool first = record->other_key && recent_ids_lives(&job->recent, record);

    out[0] = out[1] = *record;
    out[0].other_key = out[1].other_key = NULL;
    if (!record->other_key || first)
        return 1;
    out[1].key = record->other_key;
    out[1].key_bytes = record->other_key_bytes;
    return 2;
}

/* Another topic of that name: what was read belongs to nothing that is stored. */
static int check_topic(const struct replay_job *job, const rd_kafka_message_t *message,
                       struct error *error)
{
    const struct store_topic_fingerprint *topic = &job->replay->topic;

    if (topic_fingerprint_matches(topic, message))
        return 0;
    return error_set(error, ERROR_NOT_FOUND,
                     "%s [%d]: the record at offset %lld is not the one that was read there: the "
                     "topic was recreated or its log was cut",
                     job->name.topic, job->name.number, (long long)topic->offset);
}

static int take_message(struct replay_job *job, const rd_kafka_message_t *message,
                        struct error *error)
{
    const struct decode_message decodable =
        decode_message_of(job->replay->collection, job->name.topic, message);
    struct decode_result decoded;
    size_t count = 0;
    int64_t stamp_ms;
    int code = check_topic(job, message, error);

    if (code != 0)
        return code;
    arena_reset(&job->arena);
    decode_message(job->replay->collection, &decodable, &job->arena, &job->arena, &decoded);
    if (decodable.timestamp_ms >= 0)
        (void)twcs_clock_tick(&job->clock, decodable.timestamp_ms, true);
    stamp_ms =
        twcs_clock_stamp(&job->clock, &job->policy, decodable.timestamp_ms, job->replay->wall_ms);
    if (decoded.record_count + 1 > job->capacity) {
        job->capacity = decoded.record_count + 1; /* a delete may become two */
        free(job->records);
        job->records = memory_new(job->capacity, sizeof(*job->records));
    }
    for (size_t i = 0; i < decoded.record_count; i++) {
        struct store_record parts[2];
        size_t part_count = split_delete(job, &decoded.records[i], parts);
        for (size_t part = 0; part < part_count; part++)
            if (was_taken(job, &parts[part], stamp_ms))
                job->records[count++] = parts[part];
    }
    if (message->offset < job->replay->from_offset)
        return 0;
    job->next_offset = message->offset + 1;
    return job->take(job->context, job->records, count, job->next_offset, error);
}

static bool is_cancelled(const struct ingest_replay *replay)
{
    return (replay->cancelled[0] && atomic_load(replay->cancelled[0])) ||
           (replay->cancelled[1] && atomic_load(replay->cancelled[1]));
}

/* One message or event; *done when the range ends. */
static int take_next(struct replay_job *job, const rd_kafka_message_t *message, bool *done,
                     struct error *error)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        *done = message->offset >= job->replay->to_offset;
        return *done ? 0 : take_message(job, message, error);
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        *done = message->offset >= job->replay->to_offset;
        return 0;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
        return error_set(error, ERROR_NOT_FOUND,
                         "%s [%d]: Kafka no longer has what follows offset %lld", job->name.topic,
                         job->name.number, (long long)job->next_offset);
    default:
        return 0; /* brokers that are away: silence ends it */
    }
}

static int read_range(struct replay_job *job, struct error *error)
{
    const struct ingest_replay *replay = job->replay;
    int64_t silent_ms = 0;
    bool done = job->next_offset >= replay->to_offset;
    int code = 0;

    while (!done && code == 0) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(job->client, POLL_MS);
        if (is_cancelled(replay))
            code = error_set(error, ERROR_CANCELLED, "reading %s again was cancelled",
                             job->name.topic);
        else if (message)
            code = take_next(job, message, &done, error);
        silent_ms = message && !message->err ? 0 : silent_ms + POLL_MS;
        if (code == 0 && silent_ms > SILENCE_MAX_MS)
            code = error_set(error, ERROR_PEER, "%s [%d]: no answer for %d s", job->name.topic,
                             job->name.number, SILENCE_MAX_MS / 1000);
        done = done || job->next_offset >= replay->to_offset;
        if (message)
            rd_kafka_message_destroy(message);
    }
    /* What the range ends with may be no record. */
    if (code == 0 && job->next_offset < replay->to_offset)
        code = job->take(job->context, NULL, 0, replay->to_offset, error);
    return code;
}

int ingest_replay(const struct ingest_replay *replay, ingest_replay_function take, void *context,
                  struct error *error)
{
    struct replay_job job = {.replay = replay,
                             .take = take,
                             .context = context,
                             .policy = compaction_policy(replay->collection),
                             .clock = TWCS_CLOCK_NONE,
                             .recent = {.distance = DECODE_EXPECTS_DISTANCE_MAX},
                             .next_offset = replay->from_offset};
    int code;

    if (replay->from_offset >= replay->to_offset)
        return 0;
    arena_create(&job.arena, 0);
    code = topic_partition_parse(replay->collection, replay->shard, &job.name, error);
    if (code == 0)
        code = open_client(&job, error);
    if (code == 0)
        code = check_range(&job, error);
    if (code == 0)
        code = assign(&job, error);
    if (code == 0)
        code = read_range(&job, error);
    if (job.client) {
        (void)rd_kafka_consumer_close(job.client);
        (void)kafka_client_end(job.client, 0);
    }
    free(job.records);
    recent_ids_destroy(&job.recent);
    arena_destroy(&job.arena);
    return code;
}
