/* Where a partition is read from. A shard that stored something goes on at its own next offset, and
 * looks at the record before it first (consumer_mark.c). One that never did, or whose folder was
 * lost, is replayed.
 *
 * When the event time is the Kafka timestamp, records older than the TTL have expired whatever they
 * say, and the broker finds the first record that is not older: it compares every timestamp, so
 * that order does not matter. What lies before it are expired versions and deletes of such
 * versions. When the event time is a field of the record, its Kafka timestamp says nothing about
 * it: a record may be sent long before or after the time it carries. Then, without a TTL, and when
 * the broker does not answer, the replay starts at the beginning, and what has expired is dropped
 * on arrival. */
#include "base/logger.h"
#include "base/text.h"
#include "ingest/consumer.h"
#include "ingest/kafka_offsets.h"

enum { QUERY_TIMEOUT_MS = 5000 };

/* Whether time can tell what need not be read. */
static bool can_skip_expired(const struct config_collection *collection)
{
    return collection->ttl_ms > 0 &&
           (!collection->event_time_field || collection->format == CONFIG_FORMAT_RAW);
}

static bool ask(struct ingest *ingest, rd_kafka_topic_partition_t *place, int64_t from_ms,
                int64_t *offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *asked =
        rd_kafka_topic_partition_list_add(list, place->topic, place->partition);
    rd_kafka_resp_err_t code;

    asked->offset = from_ms;
    code = rd_kafka_offsets_for_times(ingest->consumer, list, QUERY_TIMEOUT_MS);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        code = asked->err;
    *offset = asked->offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return true;
    log_warning("ingest",
                "%s [%d]: its first unexpired offset is not known (%s): read from the "
                "beginning",
                place->topic, place->partition, rd_kafka_err2str(code));
    return false;
}

/* When every record has expired, the end as it was before that was found out: a record that comes
 * in between is not passed over. */
static int64_t replay_start(struct ingest *ingest, const struct partition *partition,
                            rd_kafka_topic_partition_t *place)
{
    int64_t from_ms = io_wall_ms(ingest->io) - partition->collection->ttl_ms;
    char text[TEXT_TIME_BYTES];
    int64_t begin, end, offset;

    if (!can_skip_expired(partition->collection) || from_ms <= 0)
        return RD_KAFKA_OFFSET_BEGINNING;
    if (kafka_query_offsets(ingest->consumer, place->topic, place->partition, &begin, &end,
                            QUERY_TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        end <= begin || !ask(ingest, place, from_ms, &offset))
        return RD_KAFKA_OFFSET_BEGINNING;
    if (offset < 0)
        offset = end;
    if (offset > begin)
        log_info("ingest",
                 PARTITION_FORMAT " begins at offset %lld of %lld to %lld: what lies "
                                  "before was written before %s and has expired",
                 PARTITION_NAME(partition), (long long)offset, (long long)begin, (long long)end,
                 text_format_time(from_ms, text));
    return offset;
}

void consumer_set_starts(struct ingest *ingest, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *place = &list->elems[i];
        struct partition *partition = partition_find(ingest, place->topic, place->partition);
        if (!partition)
            continue;
        place->offset = partition_mark_start(partition);
        if (place->offset < 0)
            place->offset = replay_start(ingest, partition, place);
        if (ingest->host.alive)
            ingest->host.alive(ingest->host.context);
    }
}

/* Reads on from the partition's position, or from where a replay begins. */
int consumer_assign_again(struct partition *partition, struct error *error)
{
    rd_kafka_t *client = partition->ingest->consumer;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_error_t *failed;
    int code = 0;

    rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
    failed = rd_kafka_incremental_unassign(client, list);
    if (!failed) {
        consumer_set_starts(partition->ingest, list);
        failed = rd_kafka_incremental_assign(client, list);
    }
    if (failed) {
        code = error_set(error, ERROR_PEER, "kafka: %s", rd_kafka_error_string(failed));
        rd_kafka_error_destroy(failed);
    }
    rd_kafka_topic_partition_list_destroy(list);
    return code;
}
