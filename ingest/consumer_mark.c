/* Whether a topic is still the one that was read. Kafka tells topics of one name apart by an id
 * that librdkafka 2.0.2 does not show. A topic that was deleted, made anew and filled past our next
 * offset takes that offset as if nothing had happened, and what lies below would never be read.
 *
 * So the store keeps, with the next offset, a mark: the offset and a fingerprint of the last record
 * that was taken, whatever became of it. A partition that is assigned is read from the mark on,
 * when it is near: behind it lie only control records and aborted transactions. The record is
 * compared, and dropped with all else below the next offset.
 *
 *     the same           goes on
 *     another            the partition stops, as for offsets that Kafka does not have
 *     none any more      (retention, compaction) no verdict: read from the next offset on */
#include "ingest/consumer.h"
#include "ingest/fingerprint.h"

enum { MARK_NEAR_OFFSETS = 1000 };

void partition_mark_drop(struct partition_group *group)
{
    if (group->last)
        rd_kafka_message_destroy(group->last);
    group->last = NULL;
}

void partition_mark_keep(struct partition *partition, rd_kafka_message_t *message)
{
    partition_mark_drop(partition->group);
    partition->group->last = message;
}

struct store_topic_fingerprint partition_mark_make(struct partition *partition)
{
    const rd_kafka_message_t *last = partition->group->last;
    struct store_topic_fingerprint mark = partition->mark;

    if (last)
        mark = (struct store_topic_fingerprint){last->offset, ingest_fingerprint(last)};
    partition_mark_drop(partition->group); /* it holds all of what was fetched with it */
    return mark;
}

int64_t partition_mark_start(struct partition *partition)
{
    const struct store_topic_fingerprint *mark = &partition->mark;
    bool look = partition->check == CHECK_DUE && mark->hash != 0 &&
                partition->next_offset - mark->offset <= MARK_NEAR_OFFSETS;

    partition->check = look ? CHECK_MARK : CHECK_DONE;
    return look ? mark->offset : partition->next_offset;
}

bool partition_mark_behind(const struct partition *partition)
{
    return !partition->stopped &&
           (partition->check == CHECK_MARK || partition->check == CHECK_BEHIND);
}

/* The stop names Kafka's offsets: it waits for the broker to tell them. */
static void fail(struct partition *partition)
{
    partition->check = CHECK_FAILED;
    partition->out_of_range_ns = io_monotonic_ns(partition->ingest->io);
    consumer_observe_soon(partition->ingest);
}

bool partition_mark_check(struct partition *partition, const rd_kafka_message_t *message)
{
    const struct store_topic_fingerprint *mark = &partition->mark;

    if (partition->check == CHECK_FAILED)
        return false;
    if (partition->check == CHECK_MARK && message->offset >= mark->offset) {
        partition->check = CHECK_BEHIND;
        if (message->offset == mark->offset && ingest_fingerprint(message) != mark->hash) {
            fail(partition);
            return false;
        }
    }
    if (message->offset >= partition->read_offset)
        partition->check = CHECK_DONE;
    return true;
}
